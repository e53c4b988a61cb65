// SPDX-License-Identifier: GPL-2.0

//! Alarms: a call when buffers come back.
//!
//! What drivers lack who poll with a timer after an allocation failed. The decision is made in
//! [`Marks`](crate::core::marks::Marks), under the pool's lock, and so is the call: after an alarm was
//! disarmed or dropped nobody is in its callback.

use super::{
    shared::Shared,
    Pool, //
};
use crate::core::marks::ALARMS;
use core::{
    mem,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// What is told that buffers came back.
pub trait Notify: Send + Sync {
    /// Enough chunks are free.
    ///
    /// Called with the pool's lock held and interrupts off, in whatever context the buffer came back:
    /// schedule something (NAPI, a work item, a task), and do not call into the pool.
    fn available(&self);
}

/// The callbacks of one pool, by number of the alarm.
#[derive(Default)]
pub(super) struct Targets([Option<Target>; ALARMS]);

/// # Invariants
///
/// Points to what an [`Alarm`] owns that was not dropped yet.
#[derive(Clone, Copy)]
struct Target(NonNull<dyn Notify>);

// SAFETY: `Notify` is `Send` and `Sync`, and so is a pointer that is used as a shared reference.
unsafe impl Send for Target {}

impl Targets {
    /// Calls those of whom the bit is set.
    #[cold]
    pub(super) fn ring(&self, alarms: u16) {
        for (number, target) in self.0.iter().enumerate() {
            if let (true, Some(target)) = (alarms & 1 << number != 0, target) {
                // SAFETY: By the invariant of `Target` the callback is there; it goes only after its
                // alarm has taken the pool's lock, which the caller holds.
                unsafe { target.0.as_ref() }.available();
            }
        }
    }
}

/// An alarm: calls its target once when enough chunks are free.
///
/// Register it once, and arm it each time that the pool has run dry. It may outlive the pool, and is
/// silent then; so a driver can keep the two side by side.
pub struct Alarm<T: Notify> {
    shared: Arc<Shared>,
    number: usize,
    target: KBox<T>,
}

impl Pool<'_> {
    /// Registers an alarm, not armed, with a target that borrows nothing. Process context; may sleep.
    ///
    /// # Errors
    ///
    /// - `ENOSPC`: the pool has 16 alarms.
    /// - `ENOMEM`.
    pub fn alarm_for<T: Notify + 'static>(&self, target: T) -> Result<Alarm<T>> {
        // SAFETY: The target borrows nothing. If the alarm is forgotten, the target is leaked with it, and
        // nobody calls it once the pool is gone.
        unsafe { self.alarm(target) }
    }

    /// Registers an alarm, not armed. Process context; may sleep.
    ///
    /// # Safety
    ///
    /// The alarm must be dropped before what `target` borrows ends: it must not be forgotten.
    ///
    /// # Errors
    ///
    /// As for [`Pool::alarm_for`].
    pub unsafe fn alarm<T: Notify>(&self, target: T) -> Result<Alarm<T>> {
        let shared = self.shared.clone();
        let target = KBox::new(target, GFP_KERNEL)?;
        let pointer: NonNull<dyn Notify + '_> = NonNull::from(&*target);
        // SAFETY: Only the lifetime of what the target borrows is forgotten. As the caller promises, the
        // alarm is dropped before that ends, and then nobody has the pointer.
        let pointer =
            unsafe { mem::transmute::<NonNull<dyn Notify + '_>, NonNull<dyn Notify>>(pointer) };

        let mut guarded = shared.guarded.lock();
        let mut targets = guarded.targets.0.iter_mut().enumerate();
        let (number, entry) = targets.find(|(_, entry)| entry.is_none()).ok_or(ENOSPC)?;
        // INVARIANT: The alarm that we answer owns the target.
        *entry = Some(Target(pointer));
        drop(guarded);
        Ok(Alarm {
            shared,
            number,
            target,
        })
    }
}

impl<T: Notify> Alarm<T> {
    /// Asks to be told once when at least `threshold` chunks are free. Any context but NMI.
    ///
    /// `false`: they are free already; nobody will be told, try again. `true`: the call comes, from the
    /// very operation that brings the last one. Arming again changes the threshold.
    #[must_use = "if it is false, nobody will be told"]
    pub fn arm(&self, threshold: u32) -> bool {
        let mut guarded = self.shared.guarded.lock();
        guarded.with_marks(|marks, free| marks.arm(self.number, threshold, free))
    }

    /// Takes it back. Once this returns, the target is not called until the next [`Alarm::arm`]. Any
    /// context but NMI.
    pub fn disarm(&self) {
        let mut guarded = self.shared.guarded.lock();
        guarded.with_marks(|marks, _| marks.disarm(self.number));
    }

    /// What is called.
    pub fn target(&self) -> &T {
        &self.target
    }
}

impl<T: Notify> Drop for Alarm<T> {
    fn drop(&mut self) {
        let mut guarded = self.shared.guarded.lock();
        guarded.with_marks(|marks, _| marks.disarm(self.number));
        if let Some(entry) = guarded.targets.0.get_mut(self.number) {
            *entry = None;
        }
    }
}
