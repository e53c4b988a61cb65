// SPDX-License-Identifier: GPL-2.0

//! Batches: several buffers of one pool, for who deals in more than one at a time.

use super::{
    buffer::{
        Buffer,
        Posted, //
    },
    shared::Shared,
    Pool, //
};
use crate::core::{
    handle::Handle,
    magazine::{
        Filler,
        Magazine,
        CAPACITY, //
    },
    slots::Owner, //
};
use core::{
    mem::ManuallyDrop,
    ptr, //
};
use kernel::{
    alloc::Flags,
    prelude::*, //
};

/// Up to 128 buffers of one pool. They go home when it is dropped, in any context, in one round of
/// the pool's lock.
///
/// It is a kilobyte in size, on whoever's stack it is, and an interrupt has little: have one at a time there.
///
/// # Invariants
///
/// The chunks in `chunks` are used, and this is their only owner.
pub struct Batch<'pool> {
    shared: &'pool Shared,
    chunks: Magazine,
}

impl<'pool> Batch<'pool> {
    /// The most buffers that a batch holds.
    pub const CAPACITY: usize = CAPACITY;

    /// How many buffers there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.chunks.len()
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Takes out the buffer that came last.
    #[inline]
    pub fn pop(&mut self) -> Option<Buffer<'pool>> {
        // INVARIANT: It owns the chunk from now on, we do not.
        self.take_out().map(|index| Buffer::new(self.shared, index))
    }

    /// Puts a buffer in.
    ///
    /// # Errors
    ///
    /// The buffer itself, if there is no room or it is another pool's.
    #[inline]
    pub fn push(&mut self, buffer: Buffer<'pool>) -> Result<(), Buffer<'pool>> {
        if self.room_for(buffer.shared()) == 0 {
            return Err(buffer);
        }
        let (_, index) = buffer.into_parts();
        self.put(index);
        Ok(())
    }

    /// Gives all buffers to the card, and each of them to `put`: used -> on card.
    #[inline]
    pub fn post_each(&mut self, mut put: impl FnMut(Posted)) {
        while let Some(buffer) = self.pop() {
            put(buffer.post());
        }
    }

    #[inline]
    pub(super) fn is_of(&self, shared: &Shared) -> bool {
        ptr::eq(self.shared, shared)
    }

    /// How many more chunks of `shared` there can be.
    #[inline]
    pub(super) fn room_for(&self, shared: &Shared) -> usize {
        if self.is_of(shared) {
            CAPACITY - self.chunks.len()
        } else {
            0
        }
    }

    /// Puts in a chunk of our pool which is used and which the caller owns; there is room.
    #[inline]
    pub(super) fn put(&mut self, index: u32) {
        // INVARIANT: As the caller promises.
        let _ = self.chunks.push(index);
    }

    /// A way to put in several at once; as for [`Batch::put`].
    #[inline]
    pub(super) fn filler(&mut self) -> Filler<'_> {
        self.chunks.filler()
    }

    /// Fills all buffers with zeroes, where they are: a second batch would be a second kilobyte of stack.
    fn zero(&mut self) {
        for index in self.chunks.all() {
            // INVARIANT: The batch, which owns the chunk, is borrowed mutably, and the chunk stays its own.
            let mut buffer = ManuallyDrop::new(Buffer::new(self.shared, *index));
            buffer.fill(0);
        }
    }

    /// Takes out all chunks, which the caller owns from now on.
    #[inline]
    pub(super) fn take_all(&mut self) -> &[u32] {
        self.chunks.take_all()
    }

    /// Takes out a chunk, which the caller owns from now on.
    #[inline]
    pub(super) fn take_out(&mut self) -> Option<u32> {
        self.chunks.pop()
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if self.is_empty() {
            return;
        }
        let chunks = self.chunks.take_all();
        for index in chunks {
            // SAFETY: By the type invariant we own the chunk.
            unsafe { self.shared.slot(*index) }.release();
        }
        self.shared.push_many(chunks.iter().copied());
    }
}

impl Pool<'_> {
    /// An empty batch for buffers of this pool.
    #[inline]
    pub fn batch(&self) -> Batch<'_> {
        // INVARIANT: There is no chunk in it.
        Batch {
            shared: &self.shared,
            chunks: Magazine::new(),
        }
    }

    /// Takes up to `most` buffers, at the most 128, in one round of the lock: free -> used. As
    /// [`Pool::alloc`] for each, but that the pool grows only if there is none, and then by one page.
    ///
    /// # Errors
    ///
    /// As for [`Pool::alloc`], if there is not one.
    pub fn alloc_many(&self, most: usize, gfp: Flags) -> Result<Batch<'_>> {
        let mut batch = self.batch();
        if most > 0 {
            let put = |index| {
                // SAFETY: The chunk was popped.
                unsafe { self.shared.slot(index) }.claim();
                // INVARIANT: The chunk was popped and claimed.
                batch.put(index);
            };
            // SAFETY: The device is bound, as `'bound` says.
            unsafe { self.shared.pop_many(most.min(CAPACITY), gfp, put) }?;
        }
        if gfp.contains(__GFP_ZERO) {
            batch.zero();
        }
        Ok(batch)
    }

    /// Takes up to `most` chunks straight for the card, in one round of the lock: free -> on card. Gives
    /// each to `put` and answers how many there were. Flags and errors are those of
    /// [`Pool::alloc_many`].
    pub fn post_each(&self, most: usize, gfp: Flags, mut put: impl FnMut(Posted)) -> Result<usize> {
        if most == 0 {
            return Ok(0);
        }
        if gfp.contains(__GFP_ZERO) {
            let mut batch = self.alloc_many(most, gfp)?;
            let count = batch.len();
            batch.post_each(put);
            return Ok(count);
        }
        let mut chunks = Magazine::new();
        let mut filler = chunks.filler();
        // SAFETY: The device is bound, as `'bound` says.
        unsafe {
            self.shared
                .pop_many(most.min(CAPACITY), gfp, |index| filler.put(index))
        }?;
        drop(filler);
        let chunks = chunks.take_all();
        for index in chunks {
            // INVARIANT: The chunk was popped.
            put(Buffer::new(&self.shared, *index).post());
        }
        Ok(chunks.len())
    }

    /// Takes back what the card returned, and adds it to `batch`, up to the room that is there: on card
    /// -> used. Answers how many of `handles` were looked at; the bad ones among them are counted and
    /// passed over.
    pub fn take_many<'pool>(&'pool self, handles: &[Handle], batch: &mut Batch<'pool>) -> usize {
        let count = handles.len().min(batch.room_for(&self.shared));
        let mut filler = batch.filler();
        for handle in handles.get(..count).unwrap_or_default() {
            match self.shared.slots.take(*handle) {
                // The chunk went from on card to used, by nobody's hand but ours.
                Some(index) => filler.put(index),
                None => _ = self.shared.refused_for(*handle, Owner::POOL),
            }
        }
        count
    }
}
