// SPDX-License-Identifier: GPL-2.0

//! Depot: which chunks are free, page by page.
//!
//! Each page has a stack of the numbers of its free chunks; the pages that have any are linked. What
//! was pushed last is popped first, while it is still in the cache. All operations take constant
//! time but [`Depot::install`], which fills one page's stack. The depot knows nothing of the states
//! in [`Slots`](super::slots::Slots); the pool keeps the two in step and guards this one with its lock.

use super::geometry::Geometry;
use crate::facade::{
    array_with,
    AllocError,
    Array, //
};

/// End of a list of pages.
const NONE: u32 = u32::MAX;

/// One page's part of the depot.
#[derive(Clone, Copy)]
struct Page {
    /// Free chunks: the height of the page's stack.
    free: u32,
    /// The next page of the list that this one is in.
    next: u32,
}

/// The free chunks of one pool.
///
/// # Invariants
///
/// - The pages that are present and have a free chunk are in the list `partial`, once each; those
///   that are absent and not reserved are in the list `absent`, once each; no page is in both.
/// - The first `free` entries of a present page's stack are distinct and less than `chunks`.
/// - `total` is `present * chunks`; `free` is the sum of the pages' `free`, and at most `total`.
pub struct Depot {
    pages: Array<Page>,
    /// The stacks, one after the other: page `p` owns the indices from `p << chunk_bits`.
    stacks: Array<u16>,
    chunk_bits: u32,
    chunks: u32,
    partial: u32,
    absent: u32,
    present: u32,
    total: u32,
    free: u32,
    most_out: u32,
    popped: u64,
}

impl Depot {
    /// A depot with no page.
    pub fn new(geometry: &Geometry) -> Result<Self, AllocError> {
        let pages = geometry.max_pages();
        // INVARIANT: All pages are absent, and linked in order.
        Ok(Self {
            pages: array_with(pages, |page| Page {
                free: 0,
                next: if page + 1 < pages { page + 1 } else { NONE },
            })?,
            stacks: array_with(geometry.indices(), |_| 0)?,
            chunk_bits: geometry.layout().chunk_bits(),
            chunks: geometry.chunks(),
            partial: NONE,
            absent: 0,
            present: 0,
            total: 0,
            free: 0,
            most_out: 0,
            popped: 0,
        })
    }

    /// Free chunks.
    #[inline]
    pub fn free(&self) -> u32 {
        self.free
    }

    /// Pages that the pool has.
    pub fn present(&self) -> u32 {
        self.present
    }

    /// Chunks that the pool has, free or not.
    #[inline]
    pub fn total(&self) -> u32 {
        self.total
    }

    /// The most chunks that were ever out of the depot at once.
    pub fn most_out(&self) -> u32 {
        self.most_out
    }

    /// Chunks popped since the pool was made.
    pub fn popped(&self) -> u64 {
        self.popped
    }

    /// Takes a free chunk and answers its index.
    #[inline]
    pub fn pop(&mut self) -> Option<u32> {
        let number = self.partial;
        // CAST: `u32` to `usize` here and below, which is no smaller on any machine that runs Linux.
        // With the list empty, `number` is `NONE`, which is no page.
        let page = self.pages.get_mut(number as usize)?;
        let height = page.free.checked_sub(1)?;
        let base = number << self.chunk_bits;
        let chunk = *self.stacks.get((base + height) as usize)?;

        // INVARIANT: A page whose last free chunk this was leaves the list, of which it is the head.
        page.free = height;
        if height == 0 {
            self.partial = page.next;
        }
        self.free -= 1;
        self.popped += 1;
        self.most_out = self.most_out.max(self.total - self.free);
        Some(base | u32::from(chunk))
    }

    /// Gives back a chunk that was popped.
    #[inline]
    pub fn push(&mut self, index: u32) {
        let number = index >> self.chunk_bits;
        let base = number << self.chunk_bits;
        let Some(page) = self.pages.get_mut(number as usize) else {
            return;
        };
        let Some(entry) = self.stacks.get_mut((base + page.free) as usize) else {
            return;
        };
        // INVARIANT: The chunk was popped, so it is not in the stack and the stack is not full.
        // CAST: A chunk's number is below `MAX_CHUNKS_PER_PAGE`, which is 2 to the 16.
        *entry = (index - base) as u16;
        page.free += 1;
        if page.free == 1 {
            page.next = self.partial;
            self.partial = number;
        }
        self.free += 1;
    }

    /// Sets an absent page aside for a caller that goes to allocate its memory; `None` at the limit.
    /// The caller owes an [`install`](Self::install) or a [`cancel`](Self::cancel).
    pub fn reserve(&mut self) -> Option<u32> {
        let number = self.absent;
        self.absent = self.pages.get(number as usize)?.next;
        Some(number)
    }

    /// The memory of a reserved page could not be had.
    pub fn cancel(&mut self, number: u32) {
        if let Some(page) = self.pages.get_mut(number as usize) {
            page.next = self.absent;
            self.absent = number;
        }
    }

    /// A reserved page is there: all its chunks are free.
    pub fn install(&mut self, number: u32) {
        let base = (number << self.chunk_bits) as usize;
        let (Some(page), Some(stack)) = (
            self.pages.get_mut(number as usize),
            self.stacks.get_mut(base..base + self.chunks as usize),
        ) else {
            return;
        };
        // INVARIANT: The chunks are distinct, and the page, which was in no list, goes into `partial`.
        // CAST: A chunk's number is below `MAX_CHUNKS_PER_PAGE`, which is 2 to the 16.
        for (entry, chunk) in stack.iter_mut().zip((0..self.chunks).rev()) {
            *entry = chunk as u16;
        }
        page.free = self.chunks;
        page.next = self.partial;
        self.partial = number;
        self.present += 1;
        self.total += self.chunks;
        self.free += self.chunks;
    }
}
