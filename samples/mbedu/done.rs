// SPDX-License-Identifier: GPL-2.0

//! A completion that is waited for with a bound, which the kernel crate's is not.

use kernel::{
    bindings,
    prelude::*,
    time::{
        msecs_to_jiffies,
        Msecs, //
    },
    types::Opaque, //
};

/// Says to one who waits that something is done.
///
/// # Invariants
///
/// The completion is initialised.
#[pin_data]
pub(crate) struct Done {
    #[pin]
    inner: Opaque<bindings::completion>,
}

// SAFETY: A completion is for several threads to use.
unsafe impl Send for Done {}
// SAFETY: As above.
unsafe impl Sync for Done {}

impl Done {
    pub(crate) fn new() -> impl PinInit<Self> {
        // INVARIANT: That is what `init_completion` does.
        pin_init!(Self {
            inner <- Opaque::ffi_init(|slot: *mut bindings::completion| {
                // SAFETY: `slot` is valid for writes.
                unsafe { bindings::init_completion(slot) }
            }),
        })
    }

    /// It is done: lets one go who waits, now or later. Any context.
    pub(crate) fn signal(&self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::complete(self.inner.get()) }
    }

    /// Waits for a signal. `false`: there was none in time. Process context.
    #[must_use]
    pub(crate) fn wait(&self, ms: Msecs) -> bool {
        // SAFETY: By the type invariant.
        unsafe {
            bindings::wait_for_completion_timeout(self.inner.get(), msecs_to_jiffies(ms)) != 0
        }
    }
}
