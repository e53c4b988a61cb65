// SPDX-License-Identifier: GPL-2.0

//! Slots: the state of each chunk.
//!
//! One word a chunk: its generation, one of four states and, while it is on the card, for whom it is
//! there. Who may change a word follows from the word alone, so no lock is needed:
//!
//! - free -> used, free -> on card: who popped the index from the depot;
//! - used -> on card, used -> lent, used -> free: who owns the buffer;
//! - lent -> free: whoever wins the compare and exchange, with the receipt of this very loan;
//! - on card -> used, on card -> free: for the pool, whoever wins the compare and exchange. This is the
//!   one place where a number that a card wrote decides, and where two may ask for the same chunk;
//! - the same for another [`Owner`]: that one. If it is one caller at a time, it needs no atomic for
//!   it ([`Own`](super::own::Own)); if it is several, they ask as for the pool.
//!
//! The words live as long as the pool and outside DMA memory, so a handle of any age and origin can
//! be looked up without a lock and without fear that a card rewrote what it is checked against.
//!
//! A chunk gets its next generation as it comes back, from the card or from where it was lent: from then
//! on the handle that it had there is no good. Until it goes out again the generation is nobody's. The first
//! is 1 and not 0, so that a card which writes zeros has no handle of a new pool.
//!
//! A chunk is absent while its page is not there. Its word says free, so no handle is good for it, and is
//! left as it is when pages come and go: what says that a page is there is a bit of its own, for who
//! counts and for who wants to know what is wrong with a handle.

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

/// In the depot, or in somebody's cache. No bit, so that such a word is a generation and nothing else.
const FREE: u32 = 0;
/// The driver has it. One bit, which [`Slot::claim`] and [`Slot::release`] turn over.
const USED: u32 = 1;
/// The card has it.
const CARD: u32 = 2;
/// The driver lent it to an owner who has a receipt. Not `USED`, or an old receipt would do for a
/// chunk that was allocated anew.
const LENT: u32 = 3;

const STATE_BITS: u32 = 2;
const STATE_MASK: u32 = (1 << STATE_BITS) - 1;
const OWNER_BITS: u32 = 9;

/// The lowest bits of a word: state, and above it the owner, which is not 0 only on the card. The
/// generation is at the top, where [`Layout`] has it.
pub(super) const TAG_BITS: u32 = STATE_BITS + OWNER_BITS;
const TAG_MASK: u32 = (1 << TAG_BITS) - 1;

/// For whom a chunk is on the card: the pool, or one who has a number which nobody else has.
///
/// It is the tag of what is on the card for that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner(u32);

impl Owner {
    /// The pool, which anybody may ask.
    pub const POOL: Self = Self(CARD);

    /// How many others there can be.
    pub const OTHERS: u32 = (1 << OWNER_BITS) - 1;

    /// The owner of that number, less than [`Owner::OTHERS`].
    pub fn other(number: u32) -> Option<Self> {
        (number < Self::OTHERS).then_some(Self((number + 1) << STATE_BITS | CARD))
    }
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

/// The state word of one chunk. Its methods are for who may change it, and who has its chunk's index
/// from where it was checked.
#[repr(transparent)]
pub struct Slot(AtomicU32);

impl Slot {
    /// Free -> used. For who popped the chunk from the depot.
    #[inline]
    pub fn claim(&self) {
        self.0.store(self.0.load(Relaxed) ^ USED, Relaxed);
    }

    /// Used -> free. For who owns the chunk, before it pushes it to the depot.
    #[inline]
    pub fn release(&self) {
        self.0.store(self.0.load(Relaxed) ^ USED, Release);
    }

    /// Free or used -> on card for `owner`. For who popped or owns the chunk, which is that of `index`.
    #[inline]
    pub fn post(&self, layout: &Layout, index: u32, owner: Owner) -> Handle {
        self.send(layout, index, owner.0)
    }

    /// Free -> on card for `owner`. For who popped the chunk. Answers the generation.
    #[inline]
    pub(super) fn post_free(&self, owner: Owner) -> u32 {
        let generation = self.0.load(Relaxed);
        // Read anew, which makes it one instruction; nobody else writes.
        self.0.store(self.0.load(Relaxed) | owner.0, Release);
        generation
    }

    /// On card -> used, where it was just seen in `generation`. For its owner; `next` is from
    /// [`Slots::used_next`].
    #[inline]
    pub(super) fn take_own(&self, generation: u32, next: u32) {
        self.0.store(generation.wrapping_add(next), Relaxed);
    }

    /// Whether it is on card for `owner` in this generation.
    #[inline]
    pub(super) fn is_on_card(&self, owner: Owner, generation: u32) -> bool {
        // To say it like this keeps neither side of the comparison in a register.
        self.0.load(Acquire) ^ owner.0 == generation
    }

    /// On card for `owner` -> free, if it is. For `owner`.
    pub(super) fn reclaim_own(&self, layout: &Layout, owner: Owner) -> bool {
        let word = self.0.load(Relaxed);
        let mine = word & TAG_MASK == owner.0;
        if mine {
            self.0.store(layout.next(word), Release);
        }
        mine
    }

    /// On card for `owner` -> on card for the pool, under the same handle, if it is. For `owner`.
    pub(super) fn make_over(&self, owner: Owner) {
        if self.0.load(Relaxed) & TAG_MASK == owner.0 {
            self.put(Owner::POOL.0);
        }
    }

    /// Into the state of `tag`, under the handle that is answered.
    #[inline]
    fn send(&self, layout: &Layout, index: u32, tag: u32) -> Handle {
        let generation = layout.generation_of(self.0.load(Relaxed));
        self.0.store(generation | tag, Release);
        layout.encode(index, generation)
    }

    /// Puts the chunk into a state, with its generation and for no owner.
    #[inline]
    fn put(&self, state: u32) {
        self.0
            .store(self.0.load(Relaxed) & !TAG_MASK | state, Release);
    }
}

/// The state words of one pool, by chunk index.
pub struct Slots {
    words: Array<Slot>,
    /// A bit for each page, set if it is there. Changed by who grows or shrinks the pool, and has the page
    /// reserved.
    there: Array<AtomicU32>,
    layout: Layout,
    chunks: u32,
}

impl Slots {
    /// One word for each index of the geometry, all absent.
    pub fn new(geometry: &Geometry) -> Result<Self, AllocError> {
        let layout = geometry.layout();
        let new = layout.next(0);
        let bits = geometry.max_pages().div_ceil(u32::BITS);
        Ok(Self {
            words: array_with(geometry.indices(), |_| Slot(AtomicU32::new(new)))?,
            there: array_with(bits, |_| AtomicU32::new(0))?,
            layout,
            chunks: geometry.chunks(),
        })
    }

    /// All words.
    #[inline]
    pub fn words(&self) -> &[Slot] {
        &self.words
    }

    /// How handles are laid out.
    #[inline]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    #[inline]
    fn slot(&self, index: u32) -> Option<&Slot> {
        // CAST: `u32` to `usize`, which is no smaller on any machine that runs Linux.
        self.words.get(index as usize)
    }

    /// The word in which a page has its bit, and the bit.
    #[inline]
    fn place(&self, page: u32) -> Option<(&AtomicU32, u32)> {
        // CAST: `u32` to `usize`, which is no smaller on any machine that runs Linux.
        let word = self.there.get((page / u32::BITS) as usize)?;
        Some((word, 1 << (page % u32::BITS)))
    }

    /// A page is there now, and all its chunks are free. For who grows the pool.
    #[inline]
    pub fn appear(&self, page: u32) {
        if let Some((word, bit)) = self.place(page) {
            word.fetch_or(bit, Release);
        }
    }

    /// A page goes away, of which all chunks are free. For who retired it from the depot.
    pub fn vanish(&self, page: u32) {
        if let Some((word, bit)) = self.place(page) {
            word.fetch_and(!bit, Release);
        }
    }

    /// Whether a page is there.
    pub fn is_there(&self, page: u32) -> bool {
        self.place(page)
            .is_some_and(|(word, bit)| word.load(Acquire) & bit != 0)
    }

    /// The words of a page's chunks.
    fn page(&self, page: u32) -> &[Slot] {
        // CAST: `u32` to `usize`, which is no smaller on any machine that runs Linux.
        let first = page.wrapping_shl(self.layout.chunk_bits()) as usize;
        self.words
            .get(first..first.wrapping_add(self.chunks as usize))
            .unwrap_or_default()
    }

    /// What is to be added to a generation for the word of a chunk that came back to the driver.
    pub(super) fn used_next(&self) -> u32 {
        self.layout.step() | USED
    }

    /// Lent -> free. For who knows by other means than a receipt that it came back.
    pub fn repay(&self, index: u32) {
        if let Some(Slot(word)) = self.slot(index) {
            word.store(self.layout.next(word.load(Relaxed)), Release);
        }
    }

    /// Used -> lent: the handle is a receipt that [`Slots::redeem`] takes once. For who owns the chunk.
    pub fn lend(&self, index: u32) -> Handle {
        match self.slot(index) {
            Some(slot) => slot.send(&self.layout, index, LENT),
            None => self.layout.encode(index, 0),
        }
    }

    /// On card for the pool -> used, if the card holds the chunk under this very handle. Answers its
    /// index; what is wrong if there is none [`Slots::why_not`] tells.
    #[inline]
    pub fn take(&self, handle: Handle) -> Option<u32> {
        self.take_for(handle, Owner::POOL)
    }

    /// The same for any owner, for whom several may ask at once.
    #[inline]
    pub fn take_for(&self, handle: Handle, owner: Owner) -> Option<u32> {
        self.swap(handle, owner.0, USED)
    }

    /// Lent -> free, if the chunk was lent under this very handle. Answers its index.
    pub fn redeem(&self, handle: Handle) -> Result<u32, HandleError> {
        self.swap(handle, LENT, FREE)
            .ok_or_else(|| self.refused(handle, LENT))
    }

    /// Back from `from`, as the next generation.
    #[inline]
    fn swap(&self, handle: Handle, from: u32, to: u32) -> Option<u32> {
        let (index, generation) = self.layout.decode(handle);
        let Slot(word) = self.slot(index)?;
        // A generation that overflows does so at the top of the word.
        let next = generation.wrapping_add(self.layout.step());
        word.compare_exchange(generation | from, next | to, AcqRel, Relaxed)
            .ok()?;
        Some(index)
    }

    /// The index of a chunk that the card holds for the pool under this very handle, and keeps; what is
    /// wrong if there is none [`Slots::why_not`] tells.
    #[inline]
    pub fn peek(&self, handle: Handle) -> Option<u32> {
        self.peek_for(handle, Owner::POOL)
    }

    /// The same for any owner.
    #[inline]
    pub fn peek_for(&self, handle: Handle, owner: Owner) -> Option<u32> {
        let (index, generation) = self.layout.decode(handle);
        self.slot(index)?
            .is_on_card(owner, generation)
            .then_some(index)
    }

    /// Why a handle was not believed for `owner`. Looks again, so if the chunk has moved meanwhile the
    /// answer is of where it is now.
    #[cold]
    pub fn why_not(&self, handle: Handle, owner: Owner) -> HandleError {
        self.refused(handle, owner.0)
    }

    /// What is wrong with a handle whose chunk was not tagged as expected.
    #[cold]
    fn refused(&self, handle: Handle, expected: u32) -> HandleError {
        let (index, _) = self.layout.decode(handle);
        let page = index.wrapping_shr(self.layout.chunk_bits());
        let chunk = index & self.layout.chunk_mask();
        match self.slot(index) {
            Some(Slot(word)) if chunk < self.chunks && self.is_there(page) => {
                if word.load(Relaxed) & TAG_MASK == expected {
                    HandleError::Stale
                } else {
                    HandleError::WrongState
                }
            }
            _ => HandleError::OutOfRange,
        }
    }

    /// On card for the pool -> free, if it is. `true` obliges the caller to push it to the depot.
    pub fn reclaim(&self, index: u32) -> bool {
        self.reclaim_for(index, Owner::POOL)
    }

    /// The same for any owner, for whom several may ask at once.
    pub fn reclaim_for(&self, index: u32, owner: Owner) -> bool {
        let Some(Slot(word)) = self.slot(index) else {
            return false;
        };
        let found = word.load(Relaxed);
        found & TAG_MASK == owner.0
            && word
                .compare_exchange(found, self.layout.next(found), AcqRel, Relaxed)
                .is_ok()
    }

    /// Whether no chunk of a page is with the driver or on the card.
    pub fn is_idle(&self, page: u32) -> bool {
        let mut words = self.page(page).iter();
        words.all(|Slot(word)| word.load(Acquire) & STATE_MASK == FREE)
    }

    /// Counts the states, one look at each word: every chunk is counted once, in the state that it
    /// had when it was looked at. Takes time in proportion to the pool's size.
    pub fn count(&self) -> Count {
        let mut count = Count::default();
        // CAST: The number of indices is a `u32`.
        let pages = 0..(self.words.len() as u32).wrapping_shr(self.layout.chunk_bits());
        for page in pages.filter(|page| self.is_there(*page)) {
            for Slot(word) in self.page(page) {
                match word.load(Relaxed) & STATE_MASK {
                    FREE => count.free += 1,
                    CARD => count.card += 1,
                    _ => count.used += 1,
                }
            }
        }
        count
    }
}
