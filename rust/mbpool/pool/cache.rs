// SPDX-License-Identifier: GPL-2.0

//! Cache: a queue's own stock of a pool's chunks, which it alone uses.
//!
//! What a cache has posted is on the card under the cache's number ([`Owner`]), and only that cache
//! believes its handle. So another queue's word, forged or true, meets a chunk of its own or none.
//!
//! This file has the stock and whose it is; what is done with it is in [`lane`](super::lane).

use super::{
    lane::Lane,
    shared::Shared,
    Pool, //
};
use crate::core::{
    magazine::Magazine,
    own::Own,
    slots::Owner, //
};
use core::{
    cell::UnsafeCell,
    ptr::NonNull,
    sync::atomic::{
        AtomicUsize,
        Ordering::Relaxed, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// The most caches of one pool.
const CACHES: usize = 64;

/// What a cache counts: written by its user alone, and read by whoever looks at the pool.
#[derive(Default)]
pub(super) struct Figures {
    /// Chunks that were allocated or posted.
    allocations: AtomicUsize,
}

impl Figures {
    #[inline]
    pub(super) fn count(&self, allocations: usize) {
        let before = self.allocations.load(Relaxed);
        self.allocations
            .store(before.wrapping_add(allocations), Relaxed);
    }

    fn allocations(&self) -> u64 {
        // CAST: `usize` to `u64`, which is no smaller on any machine that runs Linux.
        self.allocations.load(Relaxed) as u64
    }
}

/// What a cache keeps: in a box, since a kilobyte is too much for what is moved about on kernel stacks, and in
/// one, so that a lane has one address of it.
#[derive(Default)]
pub(super) struct Stock {
    /// Whoever has the cache as `&mut` uses it, and nobody else.
    pub(super) magazine: UnsafeCell<Magazine>,
    pub(super) figures: Figures,
}

// SAFETY: Figures may be read from any thread. The magazine may be used by any thread, and is used by one at a
// time, who has the cache as `&mut`.
unsafe impl Sync for Stock {}

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
    pub(super) loaded: u64,
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

/// A queue's own stock of a pool's free chunks, which it alone uses.
///
/// A queue keeps it beside its ring, and lays it over the pool with [`Cache::on`] when it is served.
/// Dropping it gives all that it holds back to the pool; what it has on the card stays there, under the
/// same handles, for [`Pool::take`] and [`Pool::reclaim_card`]. It may outlive the pool, and is of no
/// use then.
///
/// Up to 128 chunks of a cache are out of the reach of others: see [`Lane::flush`].
///
/// # Invariants
///
/// - The chunks in the magazine of `stock` are free, and nobody else has them.
/// - `owner`, the one of number `number`, is ours alone, so nobody else touches a chunk that is on the card
///   for it.
///
/// # Examples
///
/// ```
/// use kernel::prelude::*;
/// use mbpool::{Cache, Handle, Pool};
///
/// /// The queue's side of a card's ring.
/// struct Queue<'bound> {
///     pool: Pool<'bound>,
///     cache: Cache,
/// }
///
/// impl<'bound> Queue<'bound> {
///     fn new(pool: Pool<'bound>) -> Result<Self> {
///         Ok(Self { cache: pool.cache()?, pool })
///     }
///
///     /// The card wrote `word`: look at the frame, and give the card another buffer.
///     fn receive(&mut self, word: u32) -> Result {
///         let mut rx = self.cache.on(&self.pool)?;
///         let buffer = rx.take(Handle::from_raw(word))?;
///         pr_info!("first byte {}\n", buffer.first().copied().unwrap_or(0));
///         rx.free(buffer);
///         let posted = rx.post(GFP_ATOMIC)?;
///         pr_info!("next: {:#x}\n", posted.handle.into_raw());
///         Ok(())
///     }
/// }
/// # let _ = Queue::new;
/// # let _ = Queue::receive;
/// ```
pub struct Cache {
    shared: Arc<Shared>,
    owner: Owner,
    stock: KBox<Stock>,
    number: usize,
}

impl Pool<'_> {
    /// A cache for one queue, empty. Process context; may sleep.
    ///
    /// # Errors
    ///
    /// - `ENOSPC`: the pool has 64 caches.
    /// - `ENOMEM`.
    pub fn cache(&self) -> Result<Cache> {
        let stock = KBox::new(Stock::default(), GFP_KERNEL)?;
        let mut guarded = self.shared.guarded.lock();
        let mut entries = guarded.caches.entries.iter_mut().enumerate();
        let (number, entry) = entries.find(|(_, entry)| entry.is_none()).ok_or(ENOSPC)?;
        let owner = u32::try_from(number).ok().and_then(Owner::other);
        let owner = owner.ok_or(ENOSPC)?;
        // INVARIANT: The cache that we answer owns the figures.
        *entry = Some(Entry(NonNull::from(&stock.figures)));
        drop(guarded);
        // INVARIANT: The magazine is empty; the number was nobody's.
        Ok(Cache {
            shared: self.shared.clone(),
            owner,
            stock,
            number,
        })
    }
}

impl Cache {
    /// Lays the cache over its pool. A few instructions: do it for each frame, or once for a whole poll.
    ///
    /// # Errors
    ///
    /// `EINVAL`: it is another pool's.
    #[inline]
    pub fn on<'cache, 'pool>(
        &'cache mut self,
        pool: &'pool Pool<'_>,
    ) -> Result<Lane<'cache, 'pool>> {
        if !Arc::ptr_eq(&self.shared, &pool.shared) {
            return Err(EINVAL);
        }
        // SAFETY: We are borrowed mutably, and the pool's, which is borrowed for `'pool`.
        Ok(unsafe { Lane::new(&self.stock, &pool.shared, self.owner) })
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        let magazine = self.stock.magazine.get_mut();
        self.shared
            .push_many(core::iter::from_fn(|| magazine.pop()));
        let own = Own::new(&self.shared.slots, self.owner);
        for index in 0..self.shared.geometry.indices() {
            own.make_over(index);
        }
        // Nothing is on the card for our number any more: another cache may have it.
        let mut guarded = self.shared.guarded.lock();
        guarded.caches.gone += self.stock.figures.allocations();
        if let Some(entry) = guarded.caches.entries.get_mut(self.number) {
            *entry = None;
        }
    }
}
