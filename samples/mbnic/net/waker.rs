// SPDX-License-Identifier: GPL-2.0

//! Has a NAPI context polled without an interrupt: when buffers come back, or after a while.

use super::bindings;
use core::ptr;
use kernel::{
    impl_has_hr_timer,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        rcu,
        Arc,
        ArcBorrow, //
    },
    time::{
        hrtimer::{
            ArcHrTimerHandle,
            HrTimer,
            HrTimerCallback,
            HrTimerCallbackContext,
            HrTimerPointer,
            HrTimerRestart,
            RelativeMode, //
        },
        Delta,
        Monotonic, //
    }, //
};

/// Wakes a NAPI context, from any context but NMI. A queue makes one, keeps clones where it likes, and
/// shows it in [`Poll::waker`](super::Poll::waker).
///
/// It does nothing while the context is not attached to a device or its polling is disabled.
#[derive(Clone)]
pub(crate) struct Waker(Arc<Inner>);

/// # Invariants
///
/// `napi` is null, or a context that is attached to a network device. Who reads it is in an RCU read-side
/// section, and the context stays for that long.
#[pin_data]
struct Inner {
    napi: Atomic<*mut bindings::napi_struct>,
    #[pin]
    timer: HrTimer<Self>,
}

impl Waker {
    /// A waker of nothing yet. May sleep.
    pub(crate) fn new() -> Result<Self> {
        // INVARIANT: It is null.
        let inner = pin_init!(Inner {
            napi: Atomic::new(ptr::null_mut()),
            timer <- HrTimer::new(),
        });
        Ok(Self(Arc::pin_init(inner, GFP_KERNEL)?))
    }

    /// Has the context polled.
    pub(crate) fn wake(&self) {
        self.0.wake();
    }

    /// Has the context polled after a while, unless the answer is dropped first. Any context but hard
    /// interrupts.
    pub(crate) fn wake_after(&self, delay: Delta) -> Alarm {
        Alarm(self.0.clone().start(delay))
    }

    /// From now on it wakes this context.
    ///
    /// # Safety
    ///
    /// `napi` is attached. Before it is not any more, [`Waker::disconnect`] is called, and after that a
    /// grace period of RCU passes.
    pub(super) unsafe fn connect(&self, napi: *mut bindings::napi_struct) {
        // INVARIANT: By the requirements of this function.
        self.0.napi.store(napi, Release);
    }

    /// From now on it wakes nothing, but who is about to may still be after a context that was connected.
    pub(super) fn disconnect(&self) {
        // INVARIANT: It is null.
        self.0.napi.store(ptr::null_mut(), Release);
    }
}

/// A call that is to come. Dropping it calls it off; not from a hard interrupt.
pub(crate) struct Alarm(
    #[expect(dead_code, reason = "held to be dropped")] ArcHrTimerHandle<Inner>,
);

impl Inner {
    fn wake(&self) {
        let _rcu = rcu::read_lock();
        let napi = self.napi.load(Acquire);
        if !napi.is_null() {
            // SAFETY: By the type invariant the context is attached and stays so. A disabled one stays
            // as it is.
            unsafe { bindings::mbnic_napi_schedule(napi) };
        }
    }
}

impl_has_hr_timer! {
    impl HasHrTimer<Self> for Inner {
        mode: RelativeMode<Monotonic>, field: self.timer
    }
}

impl HrTimerCallback for Inner {
    type Pointer<'a> = Arc<Self>;

    fn run(this: ArcBorrow<'_, Self>, _: HrTimerCallbackContext<'_, Self>) -> HrTimerRestart {
        this.wake();
        HrTimerRestart::NoRestart
    }
}
