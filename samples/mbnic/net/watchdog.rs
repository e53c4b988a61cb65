// SPDX-License-Identifier: GPL-2.0

//! What happens when a card completes no frame for too long: a reset, from process context.
//!
//! The stack notices that the transmit queue has been stopped for five seconds and says so in softirq,
//! where a reset cannot be done.

use super::bindings;
use core::{
    marker::PhantomPinned,
    mem::offset_of,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    types::Opaque, //
};

/// Resets a network device in process context, under the RTNL.
///
/// # Invariants
///
/// `work` is initialized, with [`Watchdog::run`] as its function. `reset` may be called with `dev` until
/// [`Watchdog::cancel`] has returned.
#[pin_data]
pub(super) struct Watchdog {
    #[pin]
    work: Opaque<bindings::work_struct>,
    dev: NonNull<bindings::net_device>,
    reset: unsafe fn(NonNull<bindings::net_device>),
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: The C functions on the work synchronize themselves; the rest does not change.
unsafe impl Send for Watchdog {}
// SAFETY: As above.
unsafe impl Sync for Watchdog {}

impl Watchdog {
    /// # Safety
    ///
    /// `reset` may be called with `dev`, in process context and under the RTNL, until
    /// [`Watchdog::cancel`] was called, which the caller does before it drops the value.
    pub(super) unsafe fn new(
        dev: NonNull<bindings::net_device>,
        reset: unsafe fn(NonNull<bindings::net_device>),
    ) -> impl PinInit<Self> {
        // INVARIANT: The work is initialized with `run`; the rest by the requirements of this
        // function.
        pin_init!(Self {
            // SAFETY: The slot is memory for a work item that nobody knows yet.
            work <- Opaque::ffi_init(|work| unsafe {
                bindings::mbnic_init_work(work, Some(Self::run))
            }),
            dev,
            reset,
            _pin: PhantomPinned,
        })
    }

    /// Has the device reset soon. Any context.
    pub(super) fn schedule(&self) {
        // SAFETY: The work is initialized by the type invariant.
        unsafe { bindings::mbnic_schedule_work(self.work.get()) };
    }

    /// Waits for a reset that is under way, and calls off one that is not. Sleeps; not under the RTNL.
    pub(super) fn cancel(&self) {
        // SAFETY: The work is initialized by the type invariant.
        unsafe { bindings::cancel_work_sync(self.work.get()) };
    }

    extern "C" fn run(work: *mut bindings::work_struct) {
        let this = work
            .wrapping_byte_sub(offset_of!(Self, work))
            .cast_const()
            .cast::<Self>();
        // SAFETY: By the type invariant this is the function of a work inside of a `Watchdog`, which is
        // not dropped before it was called off.
        let this = unsafe { &*this };
        // SAFETY: This is process context, and the RTNL not held; so the invariant lets us call `reset`.
        unsafe {
            bindings::rtnl_lock();
            (this.reset)(this.dev);
            bindings::rtnl_unlock();
        }
    }
}
