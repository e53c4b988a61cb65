// SPDX-License-Identifier: GPL-2.0

//! Slots: the state of each chunk.
//!
//! One word a chunk: its generation and one of five states. Who may change a word follows from the
//! state alone, so no lock is needed:
//!
//! - absent -> free, free -> absent: who grows or shrinks the pool, and has the page reserved;
//! - free -> used, free -> on card: who popped the index from the depot;
//! - used -> on card, used -> lent, used -> free: who owns the buffer;
//! - lent -> free: whoever wins the compare and exchange, with the receipt of this very loan;
//! - on card -> used, on card -> free: whoever wins the compare and exchange. This is the one place
//!   where a number that a card wrote decides, and where two may ask for the same chunk.
//!
//! The words live as long as the pool and outside DMA memory, so a handle of any age and origin can
//! be looked up without a lock and without fear that a card rewrote what it is checked against.

use super::{
    geometry::Geometry,
    handle::{
        Handle,
        HandleError,
        Layout, //
    }, //
};
use crate::facade::{
    array_with,
    AllocError,
    Array,
    AtomicU32,
    Ordering::{
        AcqRel,
        Acquire,
        Relaxed,
        Release, //
    }, //
};

/// The chunk's page is not there.
const ABSENT: u32 = 0;
/// In the depot.
const FREE: u32 = 1;
/// The driver owns it.
const USED: u32 = 2;
/// The card owns it.
const CARD: u32 = 3;
/// The driver lent it to an owner who has a receipt. Not `USED`, or an old receipt would do for a
/// chunk that was allocated anew.
const LENT: u32 = 4;

const STATE_BITS: u32 = 3;
const STATE_MASK: u32 = (1 << STATE_BITS) - 1;

#[inline]
const fn word(generation: u32, state: u32) -> u32 {
    generation << STATE_BITS | state
}

#[inline]
const fn generation(word: u32) -> u32 {
    word >> STATE_BITS
}

/// How many chunks are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// The driver owns them, or lent them.
    pub used: usize,
    /// The card holds them.
    pub card: usize,
    /// They are in the pool.
    pub free: usize,
}

/// The state words of one pool, by chunk index.
pub struct Slots {
    words: Array<AtomicU32>,
    layout: Layout,
}

impl Slots {
    /// One word for each index of the geometry, all absent.
    pub fn new(geometry: &Geometry) -> Result<Self, AllocError> {
        Ok(Self {
            words: array_with(geometry.indices(), |_| AtomicU32::new(ABSENT))?,
            layout: geometry.layout(),
        })
    }

    #[inline]
    fn slot(&self, index: u32) -> Option<&AtomicU32> {
        // CAST: `u32` to `usize`, which is no smaller on any machine that runs Linux.
        self.words.get(index as usize)
    }

    /// The chunk's page is there now: absent -> free. For who grows the pool.
    pub fn appear(&self, index: u32) {
        if let Some(slot) = self.slot(index) {
            slot.store(word(generation(slot.load(Relaxed)), FREE), Release);
        }
    }

    /// The chunk's page goes away: free -> absent. For who retired the page from the depot.
    pub fn vanish(&self, index: u32) {
        if let Some(slot) = self.slot(index) {
            slot.store(word(generation(slot.load(Relaxed)), ABSENT), Release);
        }
    }

    /// Free -> used. For who popped `index` from the depot.
    #[inline]
    pub fn claim(&self, index: u32) {
        if let Some(slot) = self.slot(index) {
            slot.store(word(generation(slot.load(Relaxed)), USED), Relaxed);
        }
    }

    /// Free or used -> on card, as the next generation. For who popped or owns the chunk.
    #[inline]
    pub fn post(&self, index: u32) -> Handle {
        self.advance(index, CARD)
    }

    /// Used -> lent, as the next generation: the handle is a receipt that [`Slots::redeem`] takes
    /// once. For who owns the chunk.
    pub fn lend(&self, index: u32) -> Handle {
        self.advance(index, LENT)
    }

    #[inline]
    fn advance(&self, index: u32, state: u32) -> Handle {
        let Some(slot) = self.slot(index) else {
            return self.layout.encode(index, 0);
        };
        let next = self.layout.next(generation(slot.load(Relaxed)));
        slot.store(word(next, state), Release);
        self.layout.encode(index, next)
    }

    /// Used -> free. For who owns the chunk, before it pushes it to the depot.
    #[inline]
    pub fn release(&self, index: u32) {
        if let Some(slot) = self.slot(index) {
            slot.store(word(generation(slot.load(Relaxed)), FREE), Release);
        }
    }

    /// On card -> used, if the card holds the chunk under this very handle. Answers its index.
    #[inline]
    pub fn take(&self, handle: Handle) -> Result<u32, HandleError> {
        self.swap(handle, CARD, USED)
    }

    /// Lent -> free, if the chunk was lent under this very handle. Answers its index.
    pub fn redeem(&self, handle: Handle) -> Result<u32, HandleError> {
        self.swap(handle, LENT, FREE)
    }

    #[inline]
    fn swap(&self, handle: Handle, from: u32, to: u32) -> Result<u32, HandleError> {
        let (index, generation) = self.layout.decode(handle);
        let slot = self.slot(index).ok_or(HandleError::OutOfRange)?;
        match slot.compare_exchange(
            word(generation, from),
            word(generation, to),
            AcqRel,
            Relaxed,
        ) {
            Ok(_) => Ok(index),
            Err(found) => Err(Self::refuse(found, from)),
        }
    }

    /// The index of a chunk that the card holds under this very handle, and keeps.
    #[inline]
    pub fn peek(&self, handle: Handle) -> Result<u32, HandleError> {
        let (index, generation) = self.layout.decode(handle);
        let slot = self.slot(index).ok_or(HandleError::OutOfRange)?;
        let found = slot.load(Acquire);
        if found == word(generation, CARD) {
            Ok(index)
        } else {
            Err(Self::refuse(found, CARD))
        }
    }

    /// What is wrong with a handle whose word was `found` and not as expected.
    #[cold]
    fn refuse(found: u32, expected: u32) -> HandleError {
        match found & STATE_MASK {
            ABSENT => HandleError::OutOfRange,
            state if state == expected => HandleError::Stale,
            _ => HandleError::WrongState,
        }
    }

    /// On card -> free, if it is on card. `true` obliges the caller to push it to the depot.
    pub fn reclaim(&self, index: u32) -> bool {
        let Some(slot) = self.slot(index) else {
            return false;
        };
        let found = slot.load(Relaxed);
        found & STATE_MASK == CARD
            && slot
                .compare_exchange(found, word(generation(found), FREE), AcqRel, Relaxed)
                .is_ok()
    }

    /// Whether the chunk is neither with the driver nor on the card.
    pub fn is_idle(&self, index: u32) -> bool {
        match self.slot(index) {
            Some(slot) => matches!(slot.load(Acquire) & STATE_MASK, ABSENT | FREE),
            None => true,
        }
    }

    /// Counts the states, one look at each word: every chunk is counted once, in the state that it
    /// had when it was looked at. Takes time in proportion to the pool's size.
    pub fn count(&self) -> Count {
        let mut count = Count::default();
        for slot in self.words.iter() {
            match slot.load(Relaxed) & STATE_MASK {
                FREE => count.free += 1,
                USED | LENT => count.used += 1,
                CARD => count.card += 1,
                _ => {}
            }
        }
        count
    }
}
