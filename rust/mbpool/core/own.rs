// SPDX-License-Identifier: GPL-2.0

//! Own: what one [`Owner`] has on the card.
//!
//! The owner's callers exclude each other, and nobody else touches a word that is on the card for it.
//! So nothing here is atomic: a word is looked at, and then written. All that it takes is held by value,
//! so that a loop over many chunks has it in registers.

use super::{
    handle::{
        Handle,
        Layout, //
    },
    slots::{
        Owner,
        Slot,
        Slots, //
    }, //
};

/// One owner's side of the state words of a pool.
#[derive(Clone, Copy)]
pub struct Own<'slots> {
    words: &'slots [Slot],
    layout: Layout,
    owner: Owner,
    /// What is to be added to a generation when the chunk comes back.
    used_next: u32,
}

impl<'slots> Own<'slots> {
    /// The side of `owner`, who is not the pool.
    pub fn new(slots: &'slots Slots, owner: Owner) -> Self {
        Self {
            words: slots.words(),
            layout: *slots.layout(),
            owner,
            used_next: slots.used_next(),
        }
    }

    #[inline]
    fn slot(&self, index: u32) -> Option<&'slots Slot> {
        // CAST: `u32` to `usize`, which is no smaller on any machine that runs Linux.
        self.words.get(index as usize)
    }

    /// All words, for who has an index from where it was checked.
    #[inline]
    pub fn words(&self) -> &'slots [Slot] {
        self.words
    }

    /// Free -> on card. `slot` is that of the chunk `index`, which is free and the caller's.
    #[inline]
    pub fn post_free(&self, slot: &Slot, index: u32) -> Handle {
        let generation = slot.post_free(self.owner);
        self.layout.encode(index, generation)
    }

    /// Used -> on card. `slot` is that of the chunk `index`, which the caller owns.
    #[inline]
    pub fn post(&self, slot: &Slot, index: u32) -> Handle {
        slot.post(&self.layout, index, self.owner)
    }

    /// On card -> used, if the card holds the chunk under this very handle. Answers its index; what is
    /// wrong if there is none [`Slots::why_not`] tells.
    #[inline]
    pub fn take(&self, handle: Handle) -> Option<u32> {
        let (index, generation) = self.layout.decode(handle);
        let slot = self.slot(index)?;
        if !slot.is_on_card(self.owner, generation) {
            return None;
        }
        slot.take_own(generation, self.used_next);
        Some(index)
    }

    /// The index of a chunk that the card holds under this very handle, and keeps; what is wrong if there
    /// is none [`Slots::why_not`] tells.
    #[inline]
    pub fn peek(&self, handle: Handle) -> Option<u32> {
        let (index, generation) = self.layout.decode(handle);
        self.slot(index)?
            .is_on_card(self.owner, generation)
            .then_some(index)
    }

    /// Whose side it is.
    #[inline]
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// On card -> free, if the card has it for us. `true` obliges the caller to put it somewhere.
    pub fn reclaim(&self, index: u32) -> bool {
        self.slot(index)
            .is_some_and(|slot| slot.reclaim_own(&self.layout, self.owner))
    }

    /// On card -> on card for the pool, under the same handle, if the card has it for us.
    pub fn make_over(&self, index: u32) {
        if let Some(slot) = self.slot(index) {
            slot.make_over(self.owner);
        }
    }
}
