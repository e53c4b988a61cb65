// SPDX-License-Identifier: GPL-2.0

//! Background: grows a pool before it runs dry, gives back pages that it has too many of, and looks
//! after what is lent.
//!
//! Three work items, and a shrinker of the kernel's, whose FFI is in this file. All of them call
//! the DMA API, so they run only while the device is bound: they are stopped before anything else when
//! the pool ends ([`Works`](super::life::Works)).

use super::{
    shared::Shared,
    Pool, //
};
use crate::{
    core::marks::Due,
    work::Work, //
};
use core::{
    marker::PhantomPinned,
    ptr, //
};
use kernel::{
    bindings,
    container_of,
    prelude::*,
    sync::{
        atomic::Relaxed,
        rcu::synchronize_rcu, //
    }, //
};

/// How long to wait before memory is asked for again, when there was none.
const RETRY_MS: u32 = 100;

/// How often what is lent is looked at.
const LOOK_MS: u32 = 10;

/// The most pages that are given back between two grace periods of RCU.
const BATCH: usize = 32;

/// The work items and the shrinker of one pool.
///
/// # Invariants
///
/// Is the field `background` of a [`Shared`].
#[pin_data]
pub(super) struct Background {
    #[pin]
    grow: Work,
    #[pin]
    shrink: Work,
    #[pin]
    look: Work,
    grace_ms: u32,
    #[pin]
    _pin: PhantomPinned,
}

impl Background {
    pub(super) fn new(grace_ms: u32) -> impl PinInit<Self> {
        // SAFETY: Here and below: the functions take a work item of a `Background`, which the pool stops
        // before anything else goes.
        let grow = unsafe {
            Work::new(
                Self::grow,
                c"mbpool::grow",
                kernel::static_lock_class!(),
                kernel::static_lock_class!(),
            )
        };
        // SAFETY: See above.
        let shrink = unsafe {
            Work::new(
                Self::shrink,
                c"mbpool::shrink",
                kernel::static_lock_class!(),
                kernel::static_lock_class!(),
            )
        };
        // SAFETY: See above.
        let look = unsafe {
            Work::new(
                Self::look,
                c"mbpool::look",
                kernel::static_lock_class!(),
                kernel::static_lock_class!(),
            )
        };
        pin_init!(Self {
            grow <- grow,
            shrink <- shrink,
            look <- look,
            grace_ms,
            _pin: PhantomPinned,
        })
    }

    /// Starts what is due, which nearly always is nothing. Any context but NMI.
    #[inline]
    pub(super) fn start(&self, due: Due) {
        if !due.is_nothing() {
            self.start_it(due);
        }
    }

    #[cold]
    fn start_it(&self, due: Due) {
        if due.grow {
            self.grow.queue(0);
        }
        if due.shrink {
            self.shrink.queue(self.grace_ms);
        }
    }

    /// Sees to it that what is lent is looked at soon.
    pub(super) fn look_later(&self) {
        self.look.queue(LOOK_MS);
    }

    /// Stops all for good, and waits for what is running. Process context.
    pub(super) fn stop(&self) {
        for work in [&self.grow, &self.shrink, &self.look] {
            work.stop();
        }
    }

    /// # Safety
    ///
    /// Called by the workqueue with the work item `grow` of a `Background`.
    unsafe extern "C" fn grow(work: *mut bindings::work_struct) {
        // SAFETY: It is the field of the field of a `Background`, which is the field of a `Shared`; the
        // pool stops the work item before either goes.
        let shared = unsafe {
            let background = container_of!(Work::from_raw(work), Self, grow);
            &*container_of!(background, Shared, background)
        };
        loop {
            {
                let mut guarded = shared.guarded.lock();
                if guarded.depot.free() >= guarded.marks().low() {
                    guarded.with_marks(|marks, _| marks.grown());
                    return;
                }
                if guarded.depot.is_at_limit() {
                    // As long as no page goes there is nothing to be tried again: `marks` is told of
                    // the end when one does.
                    return;
                }
            }
            // SAFETY: The pool exists, so the device is bound.
            if unsafe { shared.grow(GFP_KERNEL | __GFP_NOWARN) }.is_err() {
                return shared.background.grow.queue(RETRY_MS);
            }
        }
    }

    /// # Safety
    ///
    /// Called by the workqueue with the work item `shrink` of a `Background`.
    unsafe extern "C" fn shrink(work: *mut bindings::work_struct) {
        // SAFETY: As in `grow`.
        let shared = unsafe {
            let background = container_of!(Work::from_raw(work), Self, shrink);
            &*container_of!(background, Shared, background)
        };
        loop {
            // Whether there is nothing more is found under the lock: what comes after that starts us anew.
            let keep = {
                let mut guarded = shared.guarded.lock();
                guarded.shrinks_to(shared.held.load(Relaxed))
            };
            let Some(keep) = keep else {
                return;
            };
            // SAFETY: The pool exists, so the device is bound.
            unsafe { shared.give_back(keep, BATCH) };
        }
    }

    /// # Safety
    ///
    /// Called by the workqueue with the work item `look` of a `Background`.
    unsafe extern "C" fn look(work: *mut bindings::work_struct) {
        // SAFETY: As in `grow`.
        let shared = unsafe {
            let background = container_of!(Work::from_raw(work), Self, look);
            &*container_of!(background, Shared, background)
        };
        shared.reap(u32::MAX);
        if !shared.guarded.lock().lent.is_empty() {
            shared.background.look_later();
        }
    }
}

impl Pool<'_> {
    /// Gives back all pages of which no chunk is out, beyond what the pool keeps under memory pressure.
    /// Answers how many went, those among them that another was giving back. Process context; may
    /// sleep.
    pub(crate) fn trim(&self) -> usize {
        let mut all = 0;
        loop {
            // SAFETY: The device is bound, as the pool's lifetime says.
            let some = unsafe { self.shared.give_back(self.shared.floor, BATCH) };
            all += some;
            if some < BATCH {
                break;
            }
        }
        // Their memory is not there before they are done, and it is what the caller wants.
        let mut guarded = self.shared.guarded.lock();
        // CAST: `u32` to `usize`, which is no smaller on any machine that runs Linux.
        all += guarded.returning as usize;
        while guarded.returning > 0 {
            self.shared.wait(&mut guarded);
        }
        all
    }
}

impl Shared {
    /// Gives back up to `most` pages that are all free, as long as `keep` chunks stay free. Answers how
    /// many went. Process context; may sleep.
    ///
    /// # Safety
    ///
    /// The device is bound.
    unsafe fn give_back(&self, keep: u32, most: usize) -> usize {
        let mut numbers = [0; BATCH];
        let mut count = 0;
        for number in numbers.iter_mut().take(most) {
            let retired = {
                let mut guarded = self.guarded.lock();
                // Read under the lock: see `keep`.
                let held = self.held.load(Relaxed);
                guarded.retire(keep.max(held))
            };
            let Some(retired) = retired else {
                break;
            };
            self.slots.vanish(retired);
            *number = retired;
            count += 1;
        }
        if count == 0 {
            return 0;
        }
        // Who looked at a chunk while the card had it may still be looking.
        synchronize_rcu();
        for number in numbers.iter().take(count) {
            // SAFETY: The device is bound. All chunks of the page are absent since before the grace
            // period, and the page is reserved by us.
            unsafe { self.pages.free(*number, &self.geometry) };
            self.guarded.lock().gave_back(*number);
            self.grown.notify_all();
        }
        count
    }
}

/// The pool's part in giving memory back when the machine runs out of it.
///
/// # Invariants
///
/// The shrinker is registered, and its private data is a [`Shared`] that outlives it.
pub(super) struct Shrinker(ptr::NonNull<bindings::shrinker>);

// SAFETY: A shrinker may be freed by any thread.
unsafe impl Send for Shrinker {}
// SAFETY: There is nothing to be done with a shared reference.
unsafe impl Sync for Shrinker {}

impl Shrinker {
    /// Registers a shrinker. Process context; may sleep.
    ///
    /// # Safety
    ///
    /// `shared` outlives the shrinker, and the device is bound as long as it exists.
    pub(super) unsafe fn new(shared: &Shared) -> Result<Self> {
        // SAFETY: The format takes one string.
        let shrinker = unsafe {
            bindings::shrinker_alloc(0, c"mbpool-%s".as_char_ptr(), shared.name().as_char_ptr())
        };
        let shrinker = ptr::NonNull::new(shrinker).ok_or(ENOMEM)?;
        // SAFETY: The shrinker is ours until it is registered.
        unsafe {
            (*shrinker.as_ptr()).count_objects = Some(Self::count);
            (*shrinker.as_ptr()).scan_objects = Some(Self::scan);
            (*shrinker.as_ptr()).private_data = ptr::from_ref(shared).cast_mut().cast();
            bindings::shrinker_register(shrinker.as_ptr());
        }
        // INVARIANT: As it says.
        Ok(Self(shrinker))
    }

    /// # Safety
    ///
    /// `shrinker` is one of ours.
    unsafe fn shared<'a>(shrinker: *mut bindings::shrinker) -> &'a Shared {
        // SAFETY: By the type invariant.
        unsafe { &*(*shrinker).private_data.cast_const().cast() }
    }

    /// # Safety
    ///
    /// Called by memory reclaim with a shrinker of ours.
    unsafe extern "C" fn count(
        shrinker: *mut bindings::shrinker,
        _control: *mut bindings::shrink_control,
    ) -> c_ulong {
        // SAFETY: The shrinker is ours.
        let shared = unsafe { Self::shared(shrinker) };
        let free = shared.guarded.lock().depot.free();
        let keep = shared.floor.max(shared.held.load(Relaxed));
        // Pages that might be all free: an upper bound, which is what reclaim wants.
        // CAST: `u32` to `unsigned long`, which is no smaller on any machine that runs Linux.
        let pages = free
            .saturating_sub(keep)
            .checked_div(shared.geometry.chunks());
        pages.unwrap_or(0) as c_ulong
    }

    /// # Safety
    ///
    /// Called by memory reclaim, which may sleep, with a shrinker of ours.
    unsafe extern "C" fn scan(
        shrinker: *mut bindings::shrinker,
        control: *mut bindings::shrink_control,
    ) -> c_ulong {
        // SAFETY: The shrinker is ours, and the control block is there during the call.
        let (shared, wanted) = unsafe { (Self::shared(shrinker), (*control).nr_to_scan) };
        let most = wanted.min(BATCH);
        // SAFETY: The device is bound as long as the shrinker exists.
        match unsafe { shared.give_back(shared.floor, most) } {
            // SHRINK_STOP
            0 => c_ulong::MAX,
            // CAST: At most `BATCH`.
            count => count as c_ulong,
        }
    }
}

impl Drop for Shrinker {
    fn drop(&mut self) {
        // SAFETY: It is registered, by the type invariant; this waits for who is in it.
        unsafe { bindings::shrinker_free(self.0.as_ptr()) };
    }
}
