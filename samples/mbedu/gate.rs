// SPDX-License-Identifier: GPL-2.0

//! The gate: lets an open file at the card as long as the driver is bound.
//!
//! A file may be open for longer than that, so it has no reference to what is there only meanwhile, but
//! one to the gate. As with `drm_dev_enter()`, who is through may sleep, and closing the gate waits for all
//! who are.

use core::{
    marker::PhantomData,
    ptr, //
};
use kernel::{
    new_srcu,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        Arc,
        Srcu, //
    },
    types::ForLt, //
};

/// A gate to an `F`, which may be open or not.
///
/// # Invariants
///
/// `behind` is null, or points to an `F` that stays valid until a grace period of `srcu` has gone by after
/// `behind` became null.
#[pin_data]
pub(crate) struct Gate<F: ForLt> {
    #[pin]
    srcu: Srcu,
    behind: Atomic<*mut c_void>,
    _behind: PhantomData<fn() -> F>,
}

impl<F: ForLt> Gate<F> {
    /// A gate that is closed.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        // INVARIANT: There is nothing behind it.
        try_pin_init!(Self {
            srcu <- new_srcu!("mbedu::gate"),
            behind: Atomic::new(ptr::null_mut()),
            _behind: PhantomData,
        })
    }

    /// Goes through and does something with what is behind. Process context. The driver cannot be unbound
    /// until it is done.
    ///
    /// # Errors
    ///
    /// `ENODEV`: the gate is closed.
    pub(crate) fn through<R>(&self, work: impl for<'a> FnOnce(&F::Of<'a>) -> Result<R>) -> Result<R>
    where
        for<'a> F::Of<'a>: Sync,
    {
        let _reader = self.srcu.read_lock();
        let behind = self.behind.load(Acquire).cast::<F::Of<'_>>();
        // SAFETY: By the type invariant it is null or valid until we let go of `_reader`. Whatever the
        // lifetime is, `work` has to do with any.
        let behind = unsafe { behind.as_ref() }.ok_or(ENODEV)?;
        work(behind)
    }
}

/// An open gate. Dropping it closes the gate, and waits for all who are through; sleeps.
pub(crate) struct Opening<F: ForLt>(Arc<Gate<F>>);

impl<F: ForLt> Opening<F> {
    /// Opens a gate to `behind`.
    ///
    /// # Safety
    ///
    /// `behind` stays valid, and where it is, as long as the opening exists, which must not be forgotten.
    pub(crate) unsafe fn new(gate: Arc<Gate<F>>, behind: &F::Of<'_>) -> Self {
        // INVARIANT: The caller promises that it stays until the opening is dropped, which makes the pointer
        // null and waits.
        gate.behind
            .store(ptr::from_ref(behind).cast_mut().cast(), Release);
        Self(gate)
    }
}

impl<F: ForLt> Drop for Opening<F> {
    fn drop(&mut self) {
        self.0.behind.store(ptr::null_mut(), Relaxed);
        self.0.srcu.synchronize();
    }
}
