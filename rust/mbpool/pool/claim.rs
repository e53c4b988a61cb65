// SPDX-License-Identifier: GPL-2.0

//! The first claim: a layer over the pool that takes chunks as they become free, before anybody else
//! sees them, by whatever way they came home.
//!
//! It is asked under the pool's lock, by the very operation that brings a chunk, while it wants any. At
//! other times it costs nothing: the mark at which the pool looks up is out of reach then.

use super::shared::{
    Guarded,
    Shared, //
};
use crate::core::marks::Due;
use core::ptr::NonNull;
use kernel::prelude::*;

/// Who has the first claim on what becomes free.
pub(crate) trait Claim: Send + Sync {
    /// Takes free chunks with `pop` until it has enough, `false`, or there are no more, `true`: then it
    /// is asked again when the next one comes.
    ///
    /// A chunk from `pop` is the callee's to claim in the slots, and to give back. Called with the
    /// pool's lock held and interrupts off, so it must not call into the pool.
    fn claim(&self, pop: &mut dyn FnMut() -> Option<u32>) -> bool;
}

/// # Invariants
///
/// Points to what stays until [`Shared::withdraw`], or for ever.
#[derive(Clone, Copy)]
pub(super) struct Claimant(NonNull<dyn Claim>);

// SAFETY: `Claim` is `Send` and `Sync`, and so is a pointer that is used as a shared reference.
unsafe impl Send for Claimant {}

impl Guarded {
    /// Asks the claimant, if there is one.
    pub(super) fn claim(&mut self) -> Due {
        let Some(claimant) = self.claimant else {
            return Due::default();
        };
        let depot = &mut self.depot;
        // SAFETY: By its invariant the target is there; it goes only after it was withdrawn under the
        // pool's lock, which the caller holds.
        let more = unsafe { claimant.0.as_ref() }.claim(&mut || depot.pop());
        self.with_marks(|marks, free| {
            marks.claim(more);
            marks.fallen(free)
        })
    }
}

impl Shared {
    /// Gives `target` the first claim. It is asked when [`Shared::stir`] is called, and from then on
    /// as long as it wants more. Any context but NMI, as all that follows.
    ///
    /// # Safety
    ///
    /// `target` stays where it is until [`Shared::withdraw`], or for ever.
    ///
    /// # Errors
    ///
    /// `EEXIST`: somebody has it.
    pub(crate) unsafe fn set_claimant(&self, target: NonNull<dyn Claim>) -> Result {
        let mut guarded = self.guarded.lock();
        if guarded.claimant.is_some() {
            return Err(EEXIST);
        }
        // INVARIANT: As the caller promises.
        guarded.claimant = Some(Claimant(target));
        Ok(())
    }

    /// Takes the claim away. Once this returns, nobody is in the target.
    pub(crate) fn withdraw(&self) {
        let mut guarded = self.guarded.lock();
        guarded.claimant = None;
        guarded.with_marks(|marks, _| marks.claim(false));
    }

    /// The claimant wants chunks: gives it those that are free, and then those that come.
    pub(crate) fn stir(&self) {
        let due = self.guarded.lock().claim();
        self.background.start(due);
    }
}
