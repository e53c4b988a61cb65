// SPDX-License-Identifier: GPL-2.0

//! Handles: the 32-bit names that a card knows buffers by.
//!
//! From the top: the caller's high bits, page, chunk, generation, the caller's low bits. Page and
//! chunk take what the geometry needs, the caller what it asked for, and the generation all that is
//! left, so that a handle from an earlier trip of the same chunk is told from the present one.
//! Nothing in a handle is believed before [`Slots`](super::slots::Slots) has checked it.

use super::geometry::Refusal;

/// The most generation bits: the rest of a state word holds the owner and the state.
const MAX_GENERATION_BITS: u32 = u32::BITS - super::slots::TAG_BITS;

/// The 32-bit name of a chunk that a card holds.
///
/// It is what is written into a ring's descriptor, and what the card writes back. A `Handle` is only
/// a number: one that was made up or kept too long is refused by the pool with a
/// [`HandleError`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Handle(u32);

impl Handle {
    /// The handle that a card returned.
    #[inline]
    pub const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    /// The number to write into a descriptor.
    #[inline]
    pub const fn into_raw(self) -> u32 {
        self.0
    }
}

/// Why a pool does not take a handle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HandleError {
    /// It names a page or a chunk that the pool does not have.
    OutOfRange,
    /// The chunk is on the card, but on a later trip than this handle's.
    Stale,
    /// The chunk is not on the card: it is free, or the driver has it.
    WrongState,
}

/// Which bits of a handle mean what.
///
/// Handles are resolved on the hottest path there is, so what that takes is worked out once: a handle
/// that is rotated right by `turn` has its generation at the top and its index at the bottom, where a
/// state word has the one and an array wants the other.
///
/// # Invariants
///
/// - `high <= 31` and `generation <= MAX_GENERATION_BITS`.
/// - `low + generation <= 31`, and that sum plus `high` plus the bits of each valid index is at most 32.
/// - `turn` is `low + generation`; `chunk_mask` has the lowest `chunk` bits set, `index_mask` has the lowest `32 - high - low - generation` bits set,
///   which are fewer than 32, `generation_mask` the topmost `generation` ones; `step` is the lowest bit
///   of the latter, or 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    high: u32,
    chunk: u32,
    chunk_mask: u32,
    generation: u32,
    low: u32,
    turn: u32,
    index_mask: u32,
    generation_mask: u32,
    step: u32,
}

/// How many bits tell `count` things apart.
fn bits_for(count: u32) -> u32 {
    u32::BITS - count.saturating_sub(1).leading_zeros()
}

/// The lowest `bits` bits set; `bits < 32`.
#[inline]
const fn mask(bits: u32) -> u32 {
    1u32.wrapping_shl(bits).wrapping_sub(1)
}

impl Layout {
    /// Shares out the 32 bits.
    pub(super) fn new(pages: u32, chunks: u32, high: u32, low: u32) -> Result<Self, Refusal> {
        let page = bits_for(pages);
        let chunk = bits_for(chunks);
        let user = high.saturating_add(low);
        let refusal = Refusal::HandleBits { page, chunk, user };

        if high > 31 || low > 31 {
            return Err(refusal);
        }
        let left = u32::BITS.checked_sub(page + chunk + user).ok_or(refusal)?;
        // INVARIANT: `left` is what the others leave of 32; the two other limits are applied here. The
        // index has what nobody else took: not all 32 bits, since where there is no generation, page and
        // chunk alone would have to need them, and together they need 30 at most.
        let generation = left.min(MAX_GENERATION_BITS).min(31 - low);
        let generation_mask = !u32::MAX.checked_shr(generation).unwrap_or(0);
        Ok(Self {
            high,
            chunk,
            chunk_mask: mask(chunk),
            generation,
            low,
            turn: low + generation,
            index_mask: mask(u32::BITS - high - low - generation),
            generation_mask,
            step: generation_mask & generation_mask.wrapping_neg(),
        })
    }

    /// Bits of the chunk number: an index is `page << chunk_bits | chunk`.
    #[inline]
    pub fn chunk_bits(&self) -> u32 {
        self.chunk
    }

    /// What of an index is the chunk's number.
    #[inline]
    pub fn chunk_mask(&self) -> u32 {
        self.chunk_mask
    }

    /// Bits of the generation: a stale handle passes for a fresh one after 2 to that many trips.
    #[inline]
    pub fn generation_bits(&self) -> u32 {
        self.generation
    }

    /// Bits of the caller at the top and at the bottom.
    #[inline]
    pub fn user_bits(&self) -> (u32, u32) {
        (self.high, self.low)
    }

    /// The generation after that of `word`, at the top, where a state word has it: the word of a free chunk.
    /// What else the word holds is ignored.
    #[inline]
    pub(super) fn next(&self, word: u32) -> u32 {
        word.wrapping_add(self.step) & self.generation_mask
    }

    /// The generation of `word`, where it is.
    #[inline]
    pub(super) fn generation_of(&self, word: u32) -> u32 {
        word & self.generation_mask
    }

    /// One generation, where a state word has it.
    #[inline]
    pub(super) fn step(&self) -> u32 {
        self.step
    }

    /// The handle of a valid index, with a generation where a state word has it and the caller's bits zero.
    #[inline]
    pub(super) fn encode(&self, index: u32, generation: u32) -> Handle {
        Handle((generation | index).rotate_left(self.turn))
    }

    /// Index and generation of a handle, of which the index may be anything.
    #[inline]
    pub(super) fn decode(&self, handle: Handle) -> (u32, u32) {
        let turned = handle.0.rotate_right(self.turn);
        (turned & self.index_mask, self.generation_of(turned))
    }

    /// The handle with the caller's bits set, or `None` when they do not fit.
    #[inline]
    pub fn with_user_bits(&self, handle: Handle, high: u32, low: u32) -> Option<Handle> {
        if high > mask(self.high) || low > mask(self.low) {
            return None;
        }
        let own = handle.0 & (u32::MAX >> self.high) & !mask(self.low);
        // `high` is zero when there are no high bits, whatever it is shifted by.
        Some(Handle(own | low | high.wrapping_shl(u32::BITS - self.high)))
    }

    /// The caller's bits of a handle, high and low.
    #[inline]
    pub fn user_bits_of(&self, handle: Handle) -> (u32, u32) {
        let high = handle.0.checked_shr(u32::BITS - self.high).unwrap_or(0);
        (high, handle.0 & mask(self.low))
    }
}
