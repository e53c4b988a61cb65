// SPDX-License-Identifier: GPL-2.0

//! Work items: something to be done later, in process context. The FFI of `struct delayed_work`.
//!
//! Not `kernel::workqueue`, whose work items belong to an `Arc` and cannot be stopped: what is done here
//! calls the DMA API, so it must be over before the device is unbound.

use kernel::{
    bindings,
    container_of,
    prelude::*,
    str::CStr,
    sync::LockClassKey,
    time::msecs_to_jiffies,
    types::Opaque, //
};

/// A work item.
///
/// # Invariants
///
/// It is initialised.
#[repr(transparent)]
#[pin_data]
pub(crate) struct Work {
    #[pin]
    work: Opaque<bindings::delayed_work>,
}

// SAFETY: Work items may be queued and stopped from any thread.
unsafe impl Send for Work {}
// SAFETY: As above.
unsafe impl Sync for Work {}

impl Work {
    /// A work item that calls `function`, with what [`Work::from_raw`] takes.
    ///
    /// # Safety
    ///
    /// `function` may be called so from when the work item is queued first until it is stopped, which
    /// its owner does before it goes.
    pub(crate) unsafe fn new(
        function: unsafe extern "C" fn(*mut bindings::work_struct),
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
        timer: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        let init = move |slot: *mut bindings::delayed_work| {
            // SAFETY: `slot` is valid for writes; names and keys are static; this is what
            // INIT_DELAYED_WORK does.
            unsafe {
                bindings::init_work_with_key(
                    &raw mut (*slot).work,
                    Some(function),
                    false,
                    name.as_char_ptr(),
                    key.as_ptr(),
                );
                bindings::timer_init_key(
                    &raw mut (*slot).timer,
                    Some(bindings::delayed_work_timer_fn),
                    bindings::TIMER_IRQSAFE,
                    name.as_char_ptr(),
                    timer.as_ptr(),
                );
            }
        };
        // INVARIANT: As it says.
        pin_init!(Self {
            work <- Opaque::ffi_init(init),
        })
    }

    /// Queues it, if it is not queued yet and not stopped for good. Any context but NMI.
    pub(crate) fn queue(&self, delay_ms: u32) {
        // SAFETY: The work item is initialised, and stopped before it goes, as who made it promised.
        // `system_dfl_wq` exists always.
        unsafe {
            bindings::queue_delayed_work_on(
                // CAST: A small constant.
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                bindings::system_dfl_wq,
                self.work.get(),
                msecs_to_jiffies(delay_ms),
            )
        };
    }

    /// Stops it for good, and waits if it is running. Process context.
    pub(crate) fn stop(&self) {
        // SAFETY: The work item is initialised.
        unsafe { bindings::disable_delayed_work_sync(self.work.get()) };
    }

    /// The work item that a function was called with.
    ///
    /// # Safety
    ///
    /// `work` is what the workqueue called the function of a `Work` with.
    pub(crate) unsafe fn from_raw(work: *mut bindings::work_struct) -> *mut Self {
        // SAFETY: It is the field of the `delayed_work` of a `Work`, which is nothing else.
        unsafe { container_of!(work, bindings::delayed_work, work) }.cast()
    }
}
