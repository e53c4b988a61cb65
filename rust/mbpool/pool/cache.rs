// SPDX-License-Identifier: GPL-2.0

//! Cache: a queue's own stock of a pool's chunks, which it alone uses.
//!
//! A ring is served by one CPU at a time, which a driver in Rust can prove: it has the ring's state as
//! `&mut`. A cache takes that proof, so posting, taking and freeing need neither a lock nor an atomic.
//! Chunks move between its magazine and the depot by halves, in one round of the pool's lock.
//!
//! What a cache has posted is on the card under the cache's number ([`Owner`]), and only that cache
//! believes its handle. So another queue's word, forged or true, meets a chunk of its own or none.

use super::{
    batch::Batch,
    buffer::{
        Buffer,
        Peek,
        Posted, //
    },
    shared::Shared,
    Pool, //
};
use crate::{
    core::{
        geometry::Geometry,
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
    dma::Addresses, //
};
use core::{
    ptr::{
        self,
        NonNull, //
    },
    sync::atomic::{
        AtomicUsize,
        Ordering::Relaxed, //
    }, //
};
use kernel::{
    alloc::Flags,
    prelude::*, //
};

/// The most caches of one pool.
const CACHES: usize = 64;

/// What a cache counts: written by its user alone, and read by whoever looks at the pool.
#[derive(Default)]
struct Figures {
    /// Chunks that were allocated or posted.
    allocations: AtomicUsize,
}

impl Figures {
    #[inline]
    fn count(&self, allocations: usize) {
        let before = self.allocations.load(Relaxed);
        self.allocations
            .store(before.wrapping_add(allocations), Relaxed);
    }

    fn allocations(&self) -> u64 {
        // CAST: `usize` to `u64`, which is no smaller on any machine that runs Linux.
        self.allocations.load(Relaxed) as u64
    }
}

/// The figures of one cache.
///
/// # Invariants
///
/// Points to the figures of a [`Cache`] that was not dropped yet.
#[derive(Clone, Copy)]
struct Entry(NonNull<Figures>);

// SAFETY: Figures may be read from any thread.
unsafe impl Send for Entry {}

/// The caches of one pool, by number.
pub(super) struct Caches {
    entries: [Option<Entry>; CACHES],
    /// Chunks that the depot gave to caches, and which are no allocations yet.
    loaded: u64,
    /// Allocations of the caches that are gone.
    gone: u64,
}

impl Default for Caches {
    fn default() -> Self {
        Self {
            entries: [None; CACHES],
            loaded: 0,
            gone: 0,
        }
    }
}

impl Caches {
    /// The allocations in all, where so many chunks were popped from the depot.
    pub(super) fn allocations(&self, popped: u64) -> u64 {
        let entries = self.entries.iter().flatten();
        // SAFETY: By the invariant of `Entry`: a cache takes its entry out, under the lock that the caller
        // holds, before its figures go.
        let live = entries.map(|entry| unsafe { entry.0.as_ref() }.allocations());
        popped - self.loaded + self.gone + live.sum::<u64>()
    }
}

/// What posting and taking look at: by value, so that a loop has it in registers.
#[derive(Clone, Copy)]
struct View<'pool> {
    own: Own<'pool>,
    addresses: Addresses<'pool>,
    geometry: &'pool Geometry,
    stride: usize,
    chunk_bits: u32,
}

impl<'pool> View<'pool> {
    fn new(shared: &'pool Shared, owner: Owner) -> Self {
        Self {
            own: Own::new(&shared.slots, owner),
            addresses: shared.pages.addresses(),
            geometry: &shared.geometry,
            stride: shared.geometry.even_stride(),
            chunk_bits: shared.geometry.layout().chunk_bits(),
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
        let position = match self.stride {
            0 => self.geometry.position_in_window(index),
            // CAST: As in `Geometry::position`, which this is.
            stride => u64::from(index).wrapping_mul(stride as u64),
        };
        // SAFETY: A chunk that is free is not absent, so its page is there, and it stays while the chunk is
        // the caller's.
        let dma = unsafe {
            self.addresses
                .get(index.wrapping_shr(self.chunk_bits), position)
        };
        // SAFETY: The chunk is one of the pool.
        let slot = unsafe { self.slot(index) };
        Posted {
            handle: self.own.post_free(slot, index),
            dma,
        }
    }
}

/// A queue's own stock of chunks.
///
/// Its methods take `&mut self` and cost neither a lock nor an atomic but when the stock runs out or
/// over, which exchanges 64 chunks with the pool. It belongs to who serves the queue: call it in any
/// context but NMI, one at a time. Dropping it gives all that it holds back to the pool; what it
/// has on the card stays there, under the same handles, for [`Pool::take`] and [`Pool::reclaim_card`].
///
/// Up to 128 chunks of a cache are out of the reach of others: see [`Cache::flush`].
///
/// # Invariants
///
/// - The chunks in `magazine` are free, and nobody else has them.
/// - `view` is that of the pool's owner `number`, which is ours alone, so nobody else touches a chunk that
///   is on the card for it.
///
/// # Examples
///
/// ```
/// use kernel::prelude::*;
/// use mbpool::{Cache, Handle, Pool};
///
/// /// The queue's side of a card's ring.
/// struct Queue<'pool> {
///     rx: Cache<'pool>,
/// }
///
/// impl<'pool> Queue<'pool> {
///     fn new(pool: &'pool Pool<'_>) -> Result<Self> {
///         Ok(Self { rx: pool.cache()? })
///     }
///
///     /// The card wrote `word`: look at the frame, and give the card another buffer.
///     fn receive(&mut self, word: u32) -> Result {
///         let buffer = self.rx.take(Handle::from_raw(word))?;
///         pr_info!("first byte {}\n", buffer.first().copied().unwrap_or(0));
///         self.rx.free(buffer);
///         let posted = self.rx.post(GFP_ATOMIC)?;
///         pr_info!("next: {:#x}\n", posted.handle.into_raw());
///         Ok(())
///     }
/// }
/// # let _ = Queue::new;
/// # let _ = Queue::receive;
/// ```
pub struct Cache<'pool> {
    shared: &'pool Shared,
    view: View<'pool>,
    magazine: Magazine,
    figures: KBox<Figures>,
    number: usize,
}

// SAFETY: By the type invariant what a cache refers to is its own or may be used from any thread.
unsafe impl Send for Cache<'_> {}

impl Pool<'_> {
    /// A cache for one queue, empty. Process context; may sleep.
    ///
    /// # Errors
    ///
    /// - `ENOSPC`: the pool has 64 caches.
    /// - `ENOMEM`.
    pub fn cache(&self) -> Result<Cache<'_>> {
        let shared = &*self.shared;
        let figures = KBox::new(Figures::default(), GFP_KERNEL)?;
        let mut guarded = shared.guarded.lock();
        let mut entries = guarded.caches.entries.iter_mut().enumerate();
        let (number, entry) = entries.find(|(_, entry)| entry.is_none()).ok_or(ENOSPC)?;
        let owner = u32::try_from(number).ok().and_then(Owner::other);
        let owner = owner.ok_or(ENOSPC)?;
        // INVARIANT: The cache that we answer owns the figures.
        *entry = Some(Entry(NonNull::from(&*figures)));
        drop(guarded);
        // INVARIANT: The magazine is empty; the number was nobody's.
        Ok(Cache {
            shared,
            view: View::new(shared, owner),
            magazine: Magazine::new(),
            figures,
            number,
        })
    }
}

impl<'pool> Cache<'pool> {
    /// Takes a buffer: free -> used. As [`Pool::alloc`], and with its errors.
    #[inline]
    pub fn alloc(&mut self, gfp: Flags) -> Result<Buffer<'pool>> {
        let index = self.pop(gfp)?;
        self.figures.count(1);
        // SAFETY: The chunk was in the magazine.
        unsafe { self.view.slot(index) }.claim();
        // INVARIANT: The chunk was ours and free, and is claimed.
        let mut buffer = Buffer::new(self.shared, index);
        if gfp.contains(__GFP_ZERO) {
            buffer.fill(0);
        }
        Ok(buffer)
    }

    /// Takes a chunk straight for the card: free -> on card. As [`Pool::post`], and with its errors.
    ///
    /// Only this cache takes it back.
    #[inline]
    pub fn post(&mut self, gfp: Flags) -> Result<Posted> {
        if gfp.contains(__GFP_ZERO) {
            let buffer = self.alloc(gfp)?;
            return Ok(self.post_buffer(buffer));
        }
        let index = self.pop(gfp)?;
        self.figures.count(1);
        // SAFETY: By the type invariant the chunk, which was in the magazine, is free and ours.
        Ok(unsafe { self.view.post_free(index) })
    }

    /// Posts up to `most` chunks and gives each to `put`. Answers how many those were: fewer than
    /// `most` if there are no more. `__GFP_ZERO` is not for this; other flags, and errors, are those of
    /// [`Pool::post`].
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
        let view = self.view;
        let mut posted = 0;
        while posted < most {
            if self.magazine.is_empty() {
                match self.load(gfp) {
                    Ok(()) => {}
                    Err(_) if posted > 0 => break,
                    Err(error) => return Err(error),
                }
            }
            let chunks = self.magazine.pop_many(most - posted);
            posted += chunks.len();
            self.figures.count(chunks.len());
            for index in chunks {
                // SAFETY: By the type invariant the chunks in the magazine are free and ours.
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

    /// Takes back a chunk that the card returned: on card -> used. Constant time, and as [`Pool::take`]
    /// otherwise.
    ///
    /// # Errors
    ///
    /// As for [`Pool::take`]. What this cache did not post is in the wrong state.
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

    /// Looks at a chunk that the card holds, and leaves it there. Errors as for [`Cache::take`].
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
        for index in self.magazine.push_many(chunks) {
            self.keep(*index);
        }
    }

    /// Takes back all that the card holds of this cache: on card -> free. Answers how many chunks
    /// that were. The card must have been stopped, as for [`Pool::reclaim_card`]; takes time in proportion
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
        let magazine = &mut self.magazine;
        self.shared
            .push_many(core::iter::from_fn(|| magazine.pop()));
    }

    /// Takes a free chunk out of the cache.
    #[inline]
    fn pop(&mut self, gfp: Flags) -> Result<u32> {
        match self.magazine.pop() {
            Some(index) => Ok(index),
            None => self.load_and_pop(gfp),
        }
    }

    #[cold]
    fn load_and_pop(&mut self, gfp: Flags) -> Result<u32> {
        self.load(gfp)?;
        self.magazine.pop().ok_or(ENOMEM)
    }

    /// Fetches chunks from the pool, at least one, when there is none.
    #[cold]
    fn load(&mut self, gfp: Flags) -> Result {
        let magazine = &mut self.magazine;
        let put = |index| {
            // There is room for a half in what is empty.
            let _ = magazine.push(index);
        };
        // SAFETY: We borrow the pool, and while there is one its device is bound.
        let loaded = unsafe { self.shared.pop_many(HALF, gfp, put) }?;
        // CAST: At most `HALF`.
        self.shared.guarded.lock().caches.loaded += loaded as u64;
        Ok(())
    }

    /// Puts a free chunk into the cache.
    #[inline]
    fn keep(&mut self, index: u32) {
        if !self.magazine.push(index) {
            self.unload(index);
        }
    }

    /// The magazine is full: takes half of it to the pool, and puts a chunk in.
    #[cold]
    fn unload(&mut self, index: u32) {
        let mut out = [index; HALF];
        let mut slots = out.iter_mut();
        self.magazine.unload(|old| {
            if let Some(slot) = slots.next() {
                *slot = old;
            }
        });
        self.shared.push_many(out.into_iter());
        let _ = self.magazine.push(index);
    }
}

/// A buffer of another pool goes home. Out of line, so that one which does not is never in memory.
#[cold]
fn send_home(shared: &Shared, index: u32) {
    // INVARIANT: The caller has taken this apart from its owner.
    drop(Buffer::new(shared, index));
}

impl Drop for Cache<'_> {
    fn drop(&mut self) {
        self.flush();
        for index in 0..self.shared.geometry.indices() {
            self.view.own.make_over(index);
        }
        // Nothing is on the card for our number any more: another cache may have it.
        let mut guarded = self.shared.guarded.lock();
        guarded.caches.gone += self.figures.allocations();
        if let Some(entry) = guarded.caches.entries.get_mut(self.number) {
            *entry = None;
        }
    }
}
