// SPDX-License-Identifier: GPL-2.0

//! Depot: which chunks are free, page by page.
//!
//! Each page has a stack of the numbers of its free chunks. Chunks come from the page with the lowest
//! number that has any: so what is out gathers in the low pages, and the high ones drain and can be
//! given back. In front of the pages there is a magazine, in which what came back last is ready to go
//! again: nearly all traffic stays in it, and the rest moves in bulk. It is emptied when pages are to
//! go, and closed for a while then, so that traffic goes on in the low pages.
//!
//! The pool has marks at which it wants a look at how many chunks are free. They stand in the magazine as
//! its bounds, in terms of what is in it, so that whoever takes or brings one chunk makes one comparison.
//!
//! All operations take constant time but [`Depot::retire`], which looks for a page. The depot knows nothing of the states in
//! [`Slots`](super::slots::Slots); the pool keeps the two in step and guards this one with its lock.

use super::{
    geometry::Geometry,
    magazine::{
        Magazine,
        HALF, //
    },
    pageset::PageSet, //
};
use crate::facade::{
    array_with,
    AllocError,
    Array, //
};

/// For how many chunks the magazine stays closed when pages are to go: enough for a pool of some size to
/// be turned over, and few against what passes until pages are to go again.
const PACKING: u32 = 4096;

/// No page.
const NONE: u32 = u32::MAX;

/// The free chunks of one pool.
///
/// # Invariants
///
/// - A page is absent, and then in the set `absent`; reserved, and then in no set; or present, and then
///   in the set `partial` if it has a free chunk. `current` is the lowest of those, or `NONE`.
/// - `heights` has the number of each page's free chunks, 0 if it is not present; the first so many
///   entries of its stack are distinct and less than `chunks`.
/// - The stack of a page that is not present has all its chunks, in any order.
/// - A free chunk is in the magazine `front` or in its page's stack, not in both. `front` is closed, and
///   empty, while `packing` is not 0.
/// - `total` is `present * chunks`; `paged` is the sum of `heights`, and with what `front` has at most
///   `total`.
/// - `most_out` and `total - least_free()` together are the most chunks that were ever out.
/// - Outside of a method, and but for what `front` has, the bounds of `front` are those that
///   [`Depot::settle`] sets: while they let a chunk pass, `fall` or more are free after a pop, and fewer
///   than `rise` after a push.
pub struct Depot {
    front: Magazine,
    /// For how many chunks more `front` is closed.
    packing: u32,
    heights: Array<u32>,
    /// The stacks, one after the other: page `p` owns the indices from `p << chunk_bits`.
    stacks: Array<u16>,
    partial: PageSet,
    absent: PageSet,
    current: u32,
    chunk_bits: u32,
    chunks: u32,
    present: u32,
    total: u32,
    /// Free chunks in the pages.
    paged: u32,
    /// See [`Depot::mark`].
    fall: u32,
    rise: u32,
    /// The fewest that `front` had since `paged` last changed.
    lowest: u8,
    /// The fewest that were free before that and since `total` last changed.
    least_free: u32,
    /// The most that were out before that.
    most_out: u32,
    popped: u64,
}

/// What a depot wants memory for, and the part of the geometry that goes with it. Apart from the depot, so that
/// it is made where it will be, with nothing left that can fail: as a result it would be on the kernel's
/// stack, a kilobyte for each hand that it goes through.
pub struct Tables {
    heights: Array<u32>,
    stacks: Array<u16>,
    partial: PageSet,
    absent: PageSet,
    chunk_bits: u32,
    chunks: u32,
}

impl Tables {
    /// The tables of a depot with no page.
    pub fn new(geometry: &Geometry) -> Result<Self, AllocError> {
        let pages = geometry.max_pages();
        let mut absent = PageSet::new(pages)?;
        (0..pages).for_each(|number| absent.insert(number));
        Ok(Self {
            heights: array_with(pages, |_| 0)?,
            // CAST: A chunk's number is below `MAX_CHUNKS_PER_PAGE`, which is 2 to the 16; what the gaps
            // between pages hold does not matter. The lowest are on top.
            stacks: array_with(geometry.indices(), |index| {
                geometry.chunks().wrapping_sub(1 + geometry.chunk_of(index)) as u16
            })?,
            partial: PageSet::new(pages)?,
            absent,
            chunk_bits: geometry.layout().chunk_bits(),
            chunks: geometry.chunks(),
        })
    }
}

impl Depot {
    /// A depot with no page.
    #[inline]
    pub fn new(tables: Tables) -> Self {
        // INVARIANT: All pages are absent.
        Self {
            front: Magazine::new(),
            packing: 0,
            heights: tables.heights,
            stacks: tables.stacks,
            partial: tables.partial,
            absent: tables.absent,
            current: NONE,
            chunk_bits: tables.chunk_bits,
            chunks: tables.chunks,
            present: 0,
            total: 0,
            paged: 0,
            fall: 0,
            rise: u32::MAX,
            lowest: 0,
            least_free: 0,
            most_out: 0,
            popped: 0,
        }
    }

    /// Free chunks.
    #[inline]
    pub fn free(&self) -> u32 {
        self.paged + u32::from(self.front.count())
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

    /// The fewest that were free since `total` last changed.
    fn least_free(&self) -> u32 {
        self.least_free.min(self.paged + u32::from(self.lowest))
    }

    /// The most chunks that were ever out of the depot at once.
    pub fn most_out(&self) -> u32 {
        self.most_out.max(self.total - self.least_free())
    }

    /// Chunks popped since the pool was made.
    pub fn popped(&self) -> u64 {
        self.popped
    }

    /// From now on [`pop_ready`](Self::pop_ready) takes no chunk of which fewer than `fall` are free then,
    /// and [`push_ready`](Self::push_ready) none of which `rise` or more are.
    pub fn mark(&mut self, fall: u32, rise: u32) {
        if (self.fall, self.rise) != (fall, rise) {
            (self.fall, self.rise) = (fall, rise);
            self.bound();
        }
    }

    /// Sets the bounds of the front.
    fn bound(&mut self) {
        let most = self.rise.saturating_sub(1);
        self.front.bound(
            self.fall.saturating_sub(self.paged),
            most.saturating_sub(self.paged),
        );
    }

    /// `paged` is about to change.
    fn unsettle(&mut self) {
        self.least_free = self.least_free();
    }

    /// `paged` has changed, or chunks have left the front.
    fn settle(&mut self) {
        self.least_free = self.least_free.min(self.free());
        self.lowest = self.front.count();
        self.bound();
    }

    /// Takes a chunk that is at hand, if one is and none of the marks wants a look.
    #[inline]
    pub fn pop_ready(&mut self) -> Option<u32> {
        let index = self.front.pop()?;
        self.popped = self.popped.wrapping_add(1);
        let left = self.front.count();
        if left < self.lowest {
            self.lowest = left;
        }
        Some(index)
    }

    /// Gives back a chunk that was popped, if there is room at hand and none of the marks wants a look.
    /// `false`: it was not given back.
    #[inline]
    pub fn push_ready(&mut self, index: u32) -> bool {
        self.front.push(index)
    }

    /// Takes a free chunk and answers its index.
    pub fn pop(&mut self) -> Option<u32> {
        self.unsettle();
        let index = match self.front.take() {
            Some(index) => index,
            None => self.reload()?,
        };
        self.popped = self.popped.wrapping_add(1);
        self.settle();
        Some(index)
    }

    /// Gives back a chunk that was popped.
    #[inline]
    pub fn push(&mut self, index: u32) {
        if !self.front.put(index) {
            self.unload(index);
        }
    }

    /// Takes up to `most` free chunks and gives each to `put`. Answers how many there were.
    pub fn pop_many(&mut self, most: usize, mut put: impl FnMut(u32)) -> usize {
        self.unsettle();
        let ready = self.front.pop_many(most);
        let mut popped = ready.len();
        // As if one after the other: what came last goes first.
        ready.iter().rev().copied().for_each(&mut put);
        while popped < most {
            let Some(index) = self.pop_paged() else {
                break;
            };
            put(index);
            popped += 1;
        }
        // CAST: `usize` to `u64`, which is no smaller on any machine that runs Linux.
        self.popped = self.popped.wrapping_add(popped as u64);
        self.settle();
        popped
    }

    /// From now on, and for a while, chunks come from the lowest page and go to their own, so that the
    /// high pages drain.
    pub fn pack(&mut self) {
        // INVARIANT: The magazine is closed, and then emptied.
        self.unsettle();
        self.packing = PACKING;
        self.front.close(true);
        while !self.front.is_empty() {
            self.unload_half();
        }
        self.settle();
    }

    /// Puts the half that has been in the front longest into its pages.
    fn unload_half(&mut self) {
        let mut out = [0; HALF];
        let mut count = 0;
        self.front.unload(|index| {
            if let Some(entry) = out.get_mut(count) {
                *entry = index;
                count += 1;
            }
        });
        for index in out.iter().take(count) {
            self.push_paged(*index);
        }
    }

    /// The front is empty: loads it from the lowest page, and takes one.
    #[cold]
    fn reload(&mut self) -> Option<u32> {
        if self.packing > 0 {
            let index = self.pop_paged()?;
            self.packing -= 1;
            // INVARIANT: The magazine is open again once `packing` is 0.
            self.front.close(self.packing > 0);
            return Some(index);
        }
        let number = self.current;
        // CAST: `u32` to `usize` here and below, which is no smaller on any machine that runs Linux.
        // When there is no page, `number` is `NONE`, which is none.
        let height = self.heights.get_mut(number as usize)?;
        let base = number.wrapping_shl(self.chunk_bits);
        let top = base.wrapping_add(*height) as usize;
        let count = (*height as usize).min(HALF);
        // In the order of the stack, so what would have come from it first comes first now. There is room
        // for a half in what is empty.
        let mut front = self.front.filler();
        for chunk in self.stacks.get(top.wrapping_sub(count)..top)? {
            front.put(base | u32::from(*chunk));
        }
        drop(front);
        // INVARIANT: So many have moved from the stack to the front.
        *height -= count as u32;
        self.paged -= count as u32;
        if *height == 0 {
            self.exhausted(number);
        }
        self.front.take()
    }

    /// The front is full, or closed: makes room in it and puts one in, or puts that into its page.
    #[cold]
    fn unload(&mut self, index: u32) {
        self.unsettle();
        if self.packing == 0 {
            self.unload_half();
        }
        if !self.front.put(index) {
            self.push_paged(index);
        }
        self.settle();
    }

    /// Takes a chunk from the lowest page that has any.
    fn pop_paged(&mut self) -> Option<u32> {
        let number = self.current;
        // CAST: `u32` to `usize` here and below, which is no smaller on any machine that runs Linux.
        // When there is none, `number` is `NONE`, which is no page.
        let height = self.heights.get_mut(number as usize)?;
        let left = height.checked_sub(1)?;
        let base = number.wrapping_shl(self.chunk_bits);
        let chunk = *self.stacks.get(base.wrapping_add(left) as usize)?;

        *height = left;
        self.paged -= 1;
        if left == 0 {
            self.exhausted(number);
        }
        Some(base | u32::from(chunk))
    }

    /// A page has no free chunk any more, or is there no more.
    #[inline]
    fn exhausted(&mut self, number: u32) {
        // INVARIANT: It leaves the set, and `current` becomes the lowest of those that stay.
        self.partial.remove(number);
        if self.current == number {
            self.current = self.partial.first().unwrap_or(NONE);
        }
    }

    /// Puts a chunk into its page's stack.
    fn push_paged(&mut self, index: u32) {
        let number = index.wrapping_shr(self.chunk_bits);
        let base = number.wrapping_shl(self.chunk_bits);
        let Some(height) = self.heights.get_mut(number as usize) else {
            return;
        };
        let Some(entry) = self.stacks.get_mut(base.wrapping_add(*height) as usize) else {
            return;
        };
        // INVARIANT: The chunk is in no stack, so its own is not full.
        // CAST: A chunk's number is below `MAX_CHUNKS_PER_PAGE`, which is 2 to the 16.
        *entry = (index - base) as u16;
        let was = *height;
        *height = was.wrapping_add(1);
        self.paged += 1;
        if was == 0 {
            self.partial.insert(number);
            self.current = self.current.min(number);
        }
    }

    /// Whether there is no page to be added.
    pub fn is_at_limit(&self) -> bool {
        self.absent.first().is_none()
    }

    /// Sets an absent page aside for a caller that goes to allocate its memory; `None` at the limit.
    /// The caller owes an [`install`](Self::install) or a [`cancel`](Self::cancel).
    pub fn reserve(&mut self) -> Option<u32> {
        self.absent.take_first()
    }

    /// The memory of a reserved page could not be had, or that of a retired one was given back.
    pub fn cancel(&mut self, number: u32) {
        self.absent.insert(number);
    }

    /// A reserved page is there: all its chunks are free.
    pub fn install(&mut self, number: u32) {
        self.add(number, self.chunks);
    }

    /// A reserved page is there, and one of its chunks, which is answered, is the caller's at once. The others
    /// are free.
    pub fn install_and_pop(&mut self, number: u32) -> Option<u32> {
        let base = number.wrapping_shl(self.chunk_bits);
        let left = self.chunks.wrapping_sub(1);
        // CAST: `u32` to `usize`, which is no smaller on any machine that runs Linux.
        let chunk = *self.stacks.get(base.wrapping_add(left) as usize)?;
        self.popped = self.popped.wrapping_add(1);
        self.add(number, left);
        Some(base | u32::from(chunk))
    }

    /// Adds a page of whose chunks so many are free.
    #[inline]
    fn add(&mut self, number: u32, free: u32) {
        self.most_out = self.most_out();
        // INVARIANT: Its stack had all its chunks. The page, which was in no set, goes into `partial` if one is
        // free.
        // CAST: `u32` to `usize`, which is no smaller on any machine that runs Linux.
        if let Some(height) = self.heights.get_mut(number as usize) {
            *height = free;
        }
        if free > 0 {
            self.partial.insert(number);
            self.current = self.current.min(number);
        }
        self.present += 1;
        self.total += self.chunks;
        self.paged += free;
        self.least_free = self.free();
        self.settle();
    }

    /// The highest page of which all chunks are free, if at least `keep` chunks stay free without it.
    fn idle(&mut self, keep: u32) -> Option<usize> {
        if self.free().checked_sub(self.chunks)? < keep {
            return None;
        }
        self.pack();
        self.heights
            .iter()
            .rposition(|height| *height == self.chunks)
    }

    /// Whether there is a page that [`retire`](Self::retire) would take out.
    pub fn can_retire(&mut self, keep: u32) -> bool {
        self.idle(keep).is_some()
    }

    /// Takes out the highest page of which all chunks are free, if at least `keep` chunks stay free
    /// without it. The page counts as reserved: the caller owes a [`cancel`](Self::cancel) once its
    /// memory was given back.
    pub fn retire(&mut self, keep: u32) -> Option<u32> {
        let at = self.idle(keep)?;
        // CAST: The array has `max_pages` elements, a `u32`.
        let number = at as u32;
        self.most_out = self.most_out();
        // INVARIANT: All its chunks are in its stack, and stay there.
        if let Some(height) = self.heights.get_mut(at) {
            *height = 0;
        }
        self.exhausted(number);
        self.present -= 1;
        self.total -= self.chunks;
        self.paged -= self.chunks;
        self.least_free = self.free();
        self.settle();
        Some(number)
    }
}
