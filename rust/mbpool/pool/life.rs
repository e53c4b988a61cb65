// SPDX-License-Identifier: GPL-2.0

//! The life of a pool: what goes on beside its methods, and the end of all of it.
//!
//! Work items, the shrinker and sysfs use the pool on their own account, and some of them call the DMA
//! API; they must be gone before the device is unbound. A [`Pool`](super::Pool) that is dropped sees to
//! that, but a value may as well be forgotten. So they belong to the device, as a managed resource, of
//! which the pool holds the end: if it never lets go, the device does when it is unbound. Managed
//! resources are released after the driver's data was dropped, and while the DMA API still works.

use super::{
    alarm::Targets,
    background::Shrinker,
    shared::Shared, //
};
use crate::{
    may_be_unloaded,
    stay_loaded,
    sysfs, //
};
use core::{
    marker::PhantomData,
    mem,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    error::to_result,
    prelude::*,
    sync::Arc,
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

/// How often a pool that ends looks whether its buffers are home.
const LOOK_MS: u32 = 10;

/// What goes on beside a pool's methods. Dropping it is the pool's end: it waits for buffers that are out,
/// with a bound, frees what nobody has, and reports and leaks the rest. Process context; sleeps.
///
/// # Invariants
///
/// The device is bound as long as this exists, and nobody pops from the depot of `shared` when it is
/// dropped.
pub(super) struct Works {
    shared: Arc<Shared>,
    entry: Option<sysfs::Entry>,
    shrinker: Option<Shrinker>,
}

impl Works {
    /// The works of a new pool: nothing but its end.
    ///
    /// # Safety
    ///
    /// The type invariant holds until the value is dropped.
    pub(super) unsafe fn new(shared: Arc<Shared>) -> Result<KBox<Self>> {
        // INVARIANT: As the caller promises.
        let works = Self {
            shared,
            entry: None,
            shrinker: None,
        };
        Ok(KBox::new(works, GFP_KERNEL)?)
    }

    /// Shows the pool in sysfs and, if it `shrinks`, has it called when memory runs out. Sleeps.
    pub(super) fn start(&mut self, shrinks: bool) -> Result {
        self.entry = Some(sysfs::publish(self.shared.clone())?);
        if shrinks {
            // SAFETY: Our drop drops the shrinker before it lets go of `shared`; until then the device is
            // bound, by the type invariant.
            self.shrinker = Some(unsafe { Shrinker::new(&self.shared) }?);
        }
        Ok(())
    }

    /// Waits for what C owners and stacks have, with a bound.
    fn wait_for_others(&self) {
        let mut left = self.shared.wait_ms;
        while self.shared.out() != 0 {
            self.shared.reap(u32::MAX);
            if self.shared.slots.count().used == 0 || left == 0 {
                return;
            }
            let step = left.min(LOOK_MS);
            fsleep(Delta::from_millis(step.into()));
            left -= step;
        }
    }
}

impl Drop for Works {
    fn drop(&mut self) {
        // Nobody looks, grows or shrinks any more once these are gone.
        drop(self.shrinker.take());
        drop(self.entry.take());
        self.shared.background.stop();
        // Nor is told of anything: who listens may be in a module that goes after us.
        self.shared.guarded.lock().targets = Targets::default();

        // The compiler knows that the driver's own buffers are home. Others may have some.
        self.wait_for_others();
        let (lent, oldest) = self.shared.give_up_loans();
        if lent != 0 {
            self.shared.report_loans(lent, oldest);
        }

        // A C owner may be giving a buffer back right now; it does so under this lock, so if all are
        // back, nobody is in there any more.
        let out = self.shared.out();
        if out != 0 {
            self.shared.report_leak();
            // What is out refers to the shared part and to functions of this module: both stay.
            mem::forget(self.shared.clone());
            stay_loaded();
        }
        for number in 0..self.shared.geometry.max_pages() {
            if self.shared.slots.is_there(number) && self.shared.slots.is_idle(number) {
                // SAFETY: The device is bound. Nobody has a chunk of the page, and nobody gets one, since
                // nobody pops any more, both by the type invariant; but a claimant that was forgotten, of
                // which nobody can get anything.
                unsafe { self.shared.pages.free(number, &self.shared.geometry) };
            }
        }
    }
}

/// A pool's end of its works, which are the device's. They end when this is dropped, or else when the
/// device is unbound.
///
/// # Invariants
///
/// `works` was given to the device with [`Life::release`] as the function that ends it, and this module
/// stays loaded until that was called or `self` dropped.
pub(super) struct Life<'bound> {
    dev: &'bound Device<Bound>,
    works: NonNull<Works>,
    _owned: PhantomData<Works>,
}

// SAFETY: `Works` may be dropped by any thread; nothing else is done with it.
unsafe impl Send for Life<'_> {}
// SAFETY: Through a shared reference only the entry in sysfs is reached, which is `Sync`.
unsafe impl Sync for Life<'_> {}

impl<'bound> Life<'bound> {
    /// Gives `works` to the device. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: no memory; the works have ended.
    pub(super) fn new(dev: &'bound Device<Bound>, works: KBox<Works>) -> Result<Self> {
        let works = KBox::into_raw(works);
        // SAFETY: The device is bound. `works` is valid until `release` takes it, which is called once.
        let added = to_result(unsafe {
            bindings::__devm_add_action(
                as_raw(dev),
                Some(Self::release),
                works.cast(),
                c"mbpool".as_char_ptr(),
            )
        });
        if let Err(error) = added {
            // SAFETY: It comes from `KBox::into_raw` above, and the device has not got it.
            drop(unsafe { KBox::from_raw(works) });
            return Err(error);
        }
        // The device may be another's than the caller's module's, and outlive that.
        stay_loaded();
        // INVARIANT: As it says.
        Ok(Self {
            dev,
            // SAFETY: A box is never null.
            works: unsafe { NonNull::new_unchecked(works) },
            _owned: PhantomData,
        })
    }

    /// The pool's place in sysfs, which it has as long as it exists.
    pub(super) fn entry(&self) -> Option<&sysfs::Entry> {
        // SAFETY: The device is bound, as `'bound` says, so it has not released the works; they are not
        // changed any more.
        unsafe { self.works.as_ref() }.entry.as_ref()
    }

    /// Ends the works of a pool that was forgotten. This module stays loaded from then on: nobody is
    /// there to say when its last function has returned.
    ///
    /// # Safety
    ///
    /// Called by the device when it is unbound, with what [`Life::new`] gave it.
    unsafe extern "C" fn release(works: *mut c_void) {
        // SAFETY: It comes from `KBox::into_raw` in `new`. If the pool were to be dropped, it would no
        // longer find it with the device.
        let works = unsafe { KBox::from_raw(works.cast::<Works>()) };
        works.shared.report_forgotten();
        drop(works);
    }
}

impl Drop for Life<'_> {
    fn drop(&mut self) {
        let works = self.works.as_ptr();
        // SAFETY: The device is bound, so it can be asked.
        let found = unsafe {
            bindings::devm_remove_action_nowarn(as_raw(self.dev), Some(Self::release), works.cast())
        };
        // If it is not there, the device has released it.
        if found == 0 {
            // SAFETY: By the type invariant the works were the device's, which has them no more, so they
            // are ours. They come from `KBox::into_raw` in `new`.
            drop(unsafe { KBox::from_raw(works) });
            // SAFETY: `new` had it stay. Who drops a pool refers to this module's symbols.
            unsafe { may_be_unloaded() };
        }
    }
}

fn as_raw(dev: &Device) -> *mut bindings::device {
    ptr::from_ref(dev).cast_mut().cast()
}
