// SPDX-License-Identifier: GPL-2.0

//! Lane: a cache in use, over its pool.
//!
//! A ring is served by one CPU at a time, which a driver in Rust can prove: it has the ring's state as
//! `&mut`, and its cache with it. A lane takes that proof, so posting, taking and freeing need neither a
//! lock nor an atomic. Chunks move between the cache's magazine and the depot by halves, in one round of the
//! pool's lock.

use super::{
    batch::Batch,
    buffer::{
        Buffer,
        Peek,
        Posted, //
    },
    cache::{
        Figures,
        Stock, //
    },
    shared::Shared, //
};
use crate::{
    core::{
        handle::{
            Handle,
            HandleError, //
        },
        magazine::{
            Magazine,
            HALF, //
        },
        own::Own,
        slots::{
            Owner,
            Slot, //
        }, //
    },
    dma::Addresses,
    gfp, //
};
use core::ptr;
use kernel::{
    alloc::Flags,
    prelude::*, //
};

/// What posting and taking look at: by value, so that a loop has it in registers.
#[derive(Clone, Copy)]
struct View<'pool> {
    own: Own<'pool>,
    addresses: Addresses<'pool>,
}

impl<'pool> View<'pool> {
    #[inline]
    fn new(shared: &'pool Shared, owner: Owner) -> Self {
        Self {
            own: Own::new(&shared.slots, owner),
            addresses: shared.pages.addresses(),
        }
    }

    /// The state word of a chunk.
    ///
    /// # Safety
    ///
    /// `index` is that of a chunk of the pool.
    #[inline]
    unsafe fn slot(&self, index: u32) -> &'pool Slot {
        // SAFETY: There is a word for each chunk.
        // CAST: `u32` to `usize`, which is no smaller on any machine that runs Linux.
        unsafe { self.own.words().get_unchecked(index as usize) }
    }

    /// Free -> on card for us.
    ///
    /// # Safety
    ///
    /// `index` is that of a chunk which is free and the caller's.
    #[inline]
    unsafe fn post_free(&self, index: u32) -> Posted {
        // SAFETY: The chunk came out of the depot, so its page is there, and it stays while the chunk is
        // the caller's.
        let dma = unsafe { self.addresses.get(index) };
        // SAFETY: The chunk is one of the pool.
        let slot = unsafe { self.slot(index) };
        Posted {
            handle: self.own.post_free(slot, index),
            dma,
        }
    }
}

/// A [`Cache`](crate::Cache) that is in use.
///
/// Its methods take `&mut self` and cost neither a lock nor an atomic but when the stock runs out or over,
/// which exchanges 64 chunks with the pool. It belongs to who serves the queue: any context but NMI, one at
/// a time. Buffers that it gives may outlive it.
///
/// # Invariants
///
/// `stock` is that of a [`Cache`](crate::Cache) of the pool of `shared`, which is borrowed mutably for `'cache` and
/// exists for `'pool`; `view` is that of its owner.
pub struct Lane<'cache, 'pool> {
    stock: &'cache Stock,
    shared: &'pool Shared,
    view: View<'pool>,
}

impl<'cache, 'pool> Lane<'cache, 'pool> {
    /// A lane of the parts of a cache.
    ///
    /// # Safety
    ///
    /// The cache is borrowed mutably for `'cache`, and is one of the pool, which exists for `'pool`.
    #[inline]
    pub(super) unsafe fn new(stock: &'cache Stock, shared: &'pool Shared, owner: Owner) -> Self {
        // INVARIANT: As the caller promises.
        Self {
            stock,
            shared,
            view: View::new(shared, owner),
        }
    }
}

impl<'pool> Lane<'_, 'pool> {
    /// The chunks at hand, and what is counted.
    #[inline]
    fn parts(&mut self) -> (&mut Magazine, &Figures) {
        // SAFETY: By the type invariant nobody else uses the magazine, and we are borrowed mutably.
        let magazine = unsafe { &mut *self.stock.magazine.get() };
        (magazine, &self.stock.figures)
    }

    #[inline]
    fn magazine(&mut self) -> &mut Magazine {
        self.parts().0
    }

    /// Takes a buffer: free -> used. As [`Pool::alloc`](crate::Pool::alloc), and with its errors.
    #[inline]
    pub fn alloc(&mut self, gfp: Flags) -> Result<Buffer<'pool>> {
        let index = self.pop(gfp)?;
        // SAFETY: The chunk was in the magazine.
        unsafe { self.view.slot(index) }.claim();
        // INVARIANT: The chunk was ours and free, and is claimed.
        let mut buffer = Buffer::new(self.shared, index);
        if gfp.contains(__GFP_ZERO) {
            buffer.fill(0);
        }
        Ok(buffer)
    }

    /// Takes a chunk straight for the card: free -> on card. As [`Pool::post`](crate::Pool::post), and
    /// with its errors.
    ///
    /// Only this cache takes it back.
    #[inline]
    pub fn post(&mut self, gfp: Flags) -> Result<Posted> {
        if gfp.contains(__GFP_ZERO) {
            let buffer = self.alloc(gfp)?;
            return Ok(self.post_buffer(buffer));
        }
        gfp::might_alloc(gfp);
        let (magazine, figures) = self.parts();
        match magazine.pop() {
            Some(index) => {
                figures.count(1);
                // SAFETY: By the invariant of `Cache` the chunk, which was in the magazine, is free and ours.
                Ok(unsafe { self.view.post_free(index) })
            }
            None => self.load_and_post(gfp),
        }
    }

    // With all that comes after it, so that what is at hand goes its way without meeting this.
    #[cold]
    fn load_and_post(&mut self, gfp: Flags) -> Result<Posted> {
        let index = self.load_and_pop(gfp)?;
        // SAFETY: As in `post`.
        Ok(unsafe { self.view.post_free(index) })
    }

    /// Posts up to `most` chunks and gives each to `put`. Answers how many those were: fewer than
    /// `most` if there are no more. `__GFP_ZERO` is not for this; other flags, and errors, are those of
    /// [`Pool::post`](crate::Pool::post).
    ///
    /// # Errors
    ///
    /// `ENOMEM`: there was not one. `EINVAL`: `gfp` has `__GFP_ZERO`.
    #[inline]
    pub fn post_each(
        &mut self,
        most: usize,
        gfp: Flags,
        mut put: impl FnMut(Posted),
    ) -> Result<usize> {
        if gfp.contains(__GFP_ZERO) {
            return Err(EINVAL);
        }
        gfp::might_alloc(gfp);
        let view = self.view;
        let mut posted = 0;
        while posted < most {
            if self.magazine().is_empty() {
                match self.load(gfp) {
                    Ok(()) => {}
                    Err(_) if posted > 0 => break,
                    Err(error) => return Err(error),
                }
            }
            let (magazine, figures) = self.parts();
            let chunks = magazine.pop_many(most - posted);
            posted += chunks.len();
            figures.count(chunks.len());
            for index in chunks {
                // SAFETY: By the invariant of `Cache` the chunks in the magazine are free and ours.
                put(unsafe { view.post_free(*index) });
            }
        }
        Ok(posted)
    }

    /// Gives a buffer of the pool to the card: used -> on card. Only this cache takes it back. A buffer
    /// of another pool is posted for that.
    #[inline]
    pub fn post_buffer(&mut self, buffer: Buffer<'pool>) -> Posted {
        if !ptr::eq(buffer.shared(), self.shared) {
            return buffer.post();
        }
        let dma = buffer.dma_address();
        let (_, index) = buffer.into_parts();
        // SAFETY: We owned the chunk, which is of our pool.
        let slot = unsafe { self.view.slot(index) };
        Posted {
            handle: self.view.own.post(slot, index),
            dma,
        }
    }

    /// Takes back a chunk that the card returned: on card -> used. Constant time, and as
    /// [`Pool::take`](crate::Pool::take) otherwise.
    ///
    /// # Errors
    ///
    /// As for [`Pool::take`](crate::Pool::take). What this cache did not post is in the wrong state.
    #[inline]
    pub fn take(&mut self, handle: Handle) -> Result<Buffer<'pool>, HandleError> {
        match self.view.own.take(handle) {
            // INVARIANT: The chunk went from on card to used, by our hand.
            Some(index) => Ok(Buffer::new(self.shared, index)),
            None => Err(self.shared.refused_for(handle, self.view.own.owner())),
        }
    }

    /// Takes back what the card returned, and adds it to `batch`, up to the room that is there. Answers
    /// how many of `handles` were looked at; the bad ones among them are counted and passed over.
    #[inline]
    pub fn take_many(&mut self, handles: &[Handle], batch: &mut Batch<'pool>) -> usize {
        let own = self.view.own;
        let count = handles.len().min(batch.room_for(self.shared));
        let mut filler = batch.filler();
        for handle in handles.get(..count).unwrap_or_default() {
            match own.take(*handle) {
                // The chunk went from on card to used, by our hand.
                Some(index) => filler.put(index),
                None => _ = self.shared.refused_for(*handle, own.owner()),
            }
        }
        count
    }

    /// Looks at a chunk that the card holds, and leaves it there. Errors as for [`Lane::take`].
    #[inline]
    pub fn peek(&self, handle: Handle) -> Result<Peek<'_, &Self>, HandleError> {
        match self.view.own.peek(handle) {
            // INVARIANT: Just seen on card for us. It leaves the card by our methods alone, all of which
            // take `&mut self`, so the chunk and its page stay while we are borrowed.
            Some(index) => Ok(Peek::new(self.shared, index, self)),
            None => Err(self.shared.refused_for(handle, self.view.own.owner())),
        }
    }

    /// Takes a buffer of the pool home into the cache: used -> free. A buffer of another pool goes home
    /// to that.
    #[inline]
    pub fn free(&mut self, buffer: Buffer<'pool>) {
        let (shared, index) = buffer.into_parts();
        if !ptr::eq(shared, self.shared) {
            return send_home(shared, index);
        }
        // SAFETY: We owned the chunk, which is of our pool.
        unsafe { self.view.slot(index) }.release();
        self.keep(index);
    }

    /// Takes all buffers of a batch home into the cache, if they are of its pool.
    #[inline]
    pub fn free_many(&mut self, batch: &mut Batch<'pool>) {
        if !batch.is_of(self.shared) {
            return;
        }
        let view = self.view;
        let chunks = batch.take_all();
        for index in chunks {
            // SAFETY: The chunk was a buffer's in the batch, which is of our pool.
            unsafe { view.slot(*index) }.release();
        }
        for index in self.magazine().push_many(chunks) {
            self.keep(*index);
        }
    }

    /// Takes back all that the card holds of this cache: on card -> free. Answers how many chunks
    /// that were. The card must have been stopped, as for [`Pool::reclaim_card`](crate::Pool::reclaim_card); takes time in proportion
    /// to the pool.
    pub fn reclaim_card(&mut self) -> usize {
        let mut reclaimed = 0;
        for index in 0..self.shared.geometry.indices() {
            if self.view.own.reclaim(index) {
                self.keep(index);
                reclaimed += 1;
            }
        }
        reclaimed
    }

    /// Gives all that the cache holds to the pool. For a queue that stands still while others run
    /// short.
    pub fn flush(&mut self) {
        let shared = self.shared;
        let magazine = self.magazine();
        shared.push_many(core::iter::from_fn(|| magazine.pop()));
    }

    /// Takes a free chunk out of the cache, and counts that.
    #[inline]
    fn pop(&mut self, gfp: Flags) -> Result<u32> {
        gfp::might_alloc(gfp);
        let (magazine, figures) = self.parts();
        match magazine.pop() {
            Some(index) => {
                figures.count(1);
                Ok(index)
            }
            None => self.load_and_pop(gfp),
        }
    }

    #[cold]
    fn load_and_pop(&mut self, gfp: Flags) -> Result<u32> {
        self.load(gfp)?;
        let (magazine, figures) = self.parts();
        let index = magazine.pop().ok_or(ENOMEM)?;
        figures.count(1);
        Ok(index)
    }

    /// Fetches chunks from the pool, at least one, when there is none.
    #[cold]
    fn load(&mut self, gfp: Flags) -> Result {
        let shared = self.shared;
        let magazine = self.magazine();
        let put = |index| {
            // There is room for a half in what is empty.
            let _ = magazine.push(index);
        };
        // SAFETY: We borrow the pool, and while there is one its device is bound.
        let loaded = unsafe { shared.pop_many(HALF, gfp, put) }?;
        // CAST: At most `HALF`.
        shared.guarded.lock().caches.loaded += loaded as u64;
        Ok(())
    }

    /// Puts a free chunk into the cache.
    #[inline]
    fn keep(&mut self, index: u32) {
        if !self.magazine().push(index) {
            self.unload(index);
        }
    }

    /// The magazine is full: takes half of it to the pool, and puts a chunk in.
    #[cold]
    fn unload(&mut self, index: u32) {
        let mut out = [index; HALF];
        let mut slots = out.iter_mut();
        self.magazine().unload(|old| {
            if let Some(slot) = slots.next() {
                *slot = old;
            }
        });
        self.shared.push_many(out.into_iter());
        let _ = self.magazine().push(index);
    }
}

/// A buffer of another pool goes home. Out of line, so that one which does not is never in memory.
#[cold]
fn send_home(shared: &Shared, index: u32) {
    // INVARIANT: The caller has taken this apart from its owner.
    drop(Buffer::new(shared, index));
}
