// SPDX-License-Identifier: GPL-2.0

//! Reserve: buffers of a pool set aside, so that an allocation that may sleep never fails.
//!
//! For I/O that must go on when memory has run out, because it is what frees memory. The store is the
//! kernel's `mempool_t`; what it takes to be fair, and to see what comes home by other ways, stands
//! around it.
//!
//! A chunk is not the reserve's by birth. As long as the reserve has fewer than it should, or somebody
//! waits, it has the first claim on what becomes free in the pool: given back by whom and by
//! whatever way, reclaimed from the card, or grown. So buffers are ordinary ones, nothing is lost to
//! the reserve that comes home at all, and nobody overtakes those who wait.
//!
//! # Locks
//!
//! The pool's, then the line's ([`line::Line`]), then that of the mempool; each is a `spinlock_t` that
//! is taken with interrupts off, and none is held across an allocation or a sleep. The mempool calls
//! back into the pool, but not with its lock held, and we call what does so without ours.
//!
//! No wake-up is lost: who finds nothing stands in line under the line's lock, and then asks for what is
//! free under the pool's. Who brings a chunk does so under the pool's lock, too. If that came first, the
//! chunk is there to be found; if it came last, the claim stands and it finds us in line.

mod line;
mod store;

use self::{
    line::{
        Line,
        Waiter, //
    },
    store::Store, //
};
use super::{
    core::handle::{
        Handle,
        HandleError, //
    },
    gfp::{
        self,
        Kind, //
    },
    lock::{
        new_irq_lock,
        IrqLock, //
    },
    pool::{
        Buffer,
        Claim,
        Pool,
        Posted,
        Shared, //
    }, //
};
use core::ptr::NonNull;
use kernel::{
    alloc::Flags,
    prelude::*,
    sync::Arc,
    time::{
        Delta,
        Instant,
        Monotonic,
        Msecs, //
    }, //
};

/// How often who is first in line looks whether the pool can grow by now: nobody tells when memory can
/// be had again.
const LOOK_MS: Msecs = 100;

/// What a [`Reserve`] can stand on: a reference to a pool, or an `Arc` of one, for who keeps the two in
/// one structure.
///
/// # Safety
///
/// The pool stays the same and where it is as long as the implementor exists, wherever that is moved.
pub unsafe trait PoolRef {
    /// The pool.
    fn pool(&self) -> &Pool<'_>;
}

// SAFETY: A reference refers to one place.
unsafe impl PoolRef for &Pool<'_> {
    #[inline]
    fn pool(&self) -> &Pool<'_> {
        self
    }
}

// SAFETY: The value of an `Arc` does not move.
unsafe impl PoolRef for Arc<Pool<'_>> {
    #[inline]
    fn pool(&self) -> &Pool<'_> {
        self
    }
}

/// What the pool and sysfs refer to of a reserve.
#[pin_data]
pub(crate) struct Inner {
    shared: Arc<Shared>,
    store: Store,
    #[pin]
    line: IrqLock<Line>,
}

/// The figures of a reserve.
pub(crate) struct Figures {
    pub(crate) min: c_int,
    pub(crate) current: c_int,
    pub(crate) waiting: u32,
    pub(crate) waits: u64,
    pub(crate) waited: u64,
    pub(crate) longest: u64,
    pub(crate) timeouts: u64,
    pub(crate) failures: u64,
}

impl Inner {
    /// What sysfs shows.
    pub(crate) fn figures(&self) -> Figures {
        let line = self.line.lock();
        Figures {
            min: self.store.min(),
            current: self.store.current(),
            waiting: line.waiting,
            waits: line.waits,
            waited: line.waited,
            longest: line.longest,
            timeouts: line.timeouts,
            failures: line.failures,
        }
    }

    /// Asks for what is missing, if anything is: a chunk was just taken out of the store.
    fn make_up(&self) {
        if self.store.is_short() {
            self.shared.stir();
        }
    }

    /// Takes a chunk, of the pool or of the store, and waits for one if `gfp` allows it.
    fn get(&self, pool: &Pool<'_>, gfp: Flags, timeout: Option<Delta>) -> Result<u32> {
        // While others wait, both are empty: what comes is claimed for them. So this overtakes nobody.
        if let Some(index) = self.store.alloc(gfp) {
            self.make_up();
            return Ok(index);
        }
        if Kind::of(gfp) != Kind::Sleep {
            self.line.lock().failures += 1;
            return Err(ENOMEM);
        }
        self.wait(pool, gfp::modest(gfp), timeout)
    }

    #[cold]
    fn wait(&self, pool: &Pool<'_>, gfp: Flags, timeout: Option<Delta>) -> Result<u32> {
        // Reclaim takes as long as it takes.
        let gfp = match timeout {
            Some(_) => gfp::without_sleep(gfp),
            None => gfp,
        };
        let since = Instant::<Monotonic>::now();
        pin_init::stack_pin_init!(let waiter = Waiter::new(&self.line));
        if let Some(index) = waiter.as_ref().enter(|| self.store.take()) {
            self.make_up();
            return Ok(index);
        }
        self.shared.stir();
        loop {
            // One asks for all. What comes of it goes to whoever is first by then.
            if waiter.is_first() {
                let _ = pool.grow(gfp);
            }
            let left = match timeout {
                // Neither is negative.
                Some(timeout) => (timeout - since.elapsed()).as_millis_ceil(),
                None => i64::MAX,
            };
            let step = Msecs::try_from(left.max(0)).unwrap_or(Msecs::MAX);
            if let Some(index) = waiter.sleep(step.min(LOOK_MS)) {
                return Ok(index);
            }
            if left <= 0 {
                return waiter.give_up().ok_or(ETIMEDOUT);
            }
        }
    }
}

impl Claim for Inner {
    fn claim(&self, pop: &mut dyn FnMut() -> Option<u32>) -> bool {
        let mut line = self.line.lock();
        while !line.is_empty() || self.store.is_short() {
            let Some(index) = pop() else {
                return true;
            };
            // SAFETY: The chunk was popped.
            unsafe { self.shared.slot(index) }.claim();
            if !line.grant(index) {
                // There is room: it was short, and nobody else puts any in.
                self.store.put(index);
            }
        }
        false
    }
}

/// Buffers of a pool that were set aside, and the way to get them.
///
/// All methods may be called from several CPUs at once, in any context but NMI where their flags do not
/// allow them to sleep. What comes out is an ordinary [`Buffer`] of the pool, and may come home in any of
/// the ways that the pool knows: dropped, taken from the card by [`Pool::take`], reclaimed with
/// [`Pool::reclaim_card`], given back by a C owner. As long as the reserve is short, or somebody waits,
/// what comes home goes to it and not to the pool, whoever had it: first to who has waited longest, then
/// into the reserve.
///
/// A pool has at most one reserve. What is set aside counts as used in [`Pool::count`]. When a reserve is
/// dropped (process context), its buffers go back to the pool; those that are on the card by then come
/// home to the pool. One that is forgotten keeps its buffers, and the pool reports and leaks them.
///
/// # Examples
///
/// ```
/// use kernel::{
///     device::{Bound, Device},
///     prelude::*,
///     time::Delta,
/// };
/// use mbpool::{Config, Pool, Reserve};
///
/// fn write_out(dev: &Device<Bound>) -> Result {
///     let pool = Pool::new(dev, Config::new(c"tx", 4096).max_pages(16), GFP_KERNEL)?;
///     let reserve = Reserve::new(&pool, 4)?;
///     // May sleep, so it does not fail.
///     let posted = reserve.post(GFP_KERNEL)?;
///     // May not sleep, so it may fail, with ENOMEM.
///     let in_irq = reserve.alloc(GFP_ATOMIC);
///     // May sleep for so long, and then fails with ETIMEDOUT.
///     let soon = reserve.alloc_timeout(GFP_KERNEL, Delta::from_millis(20));
///     drop((in_irq, soon));
///     drop(reserve.take(posted.handle)?);
///     Ok(())
/// }
/// ```
pub struct Reserve<P: PoolRef> {
    // The first to go: what is in the store goes back to the pool.
    inner: Arc<Inner>,
    pool: P,
}

impl<P: PoolRef> Reserve<P> {
    /// Sets `min` buffers of a pool aside. Process context; may sleep.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: `min` is 0, or more than the pool can ever have.
    /// - `EEXIST`: the pool has a reserve.
    /// - `ENOMEM`: there are not so many buffers to be had now, or there is no memory. None is set
    ///   aside then.
    pub fn new(pool: P, min: u32) -> Result<Self> {
        // SAFETY: `PoolRef` promises that the pool stays where it is while we have `pool`, which is dropped
        // after `inner`. Who forgets a `Reserve` does not use it any more. The claim is withdrawn when
        // the `Reserve` is dropped, also if what follows fails.
        let inner = unsafe { new_inner(pool.pool(), min) }?;
        let reserve = Self { inner, pool };
        if let Some(entry) = reserve.pool.pool().entry() {
            entry.publish_reserve(reserve.inner.clone())?;
        }
        Ok(reserve)
    }

    /// The pool.
    #[inline]
    pub fn pool(&self) -> &Pool<'_> {
        self.pool.pool()
    }

    /// How many wait now. Any context but NMI.
    pub fn waiting(&self) -> u32 {
        self.inner.line.lock().waiting
    }

    /// Takes a buffer, as [`Pool::alloc`], but if the pool has none, and none could be had without
    /// sleeping, one of those set aside.
    ///
    /// If those are out, too, a caller who may sleep waits until one comes home, uninterruptibly, first
    /// come first served. It does not fail. The pool may be grown meanwhile, with the caller's flags, but
    /// without the system's emergency reserves.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: `gfp` does not allow to sleep, and there is none now. Whoever waits already goes first.
    #[inline]
    pub fn alloc(&self, gfp: Flags) -> Result<Buffer<'_>> {
        self.buffer(gfp, None)
    }

    /// As [`Reserve::alloc`], but waits no longer than `timeout`, rounded up to the timer's tick; less
    /// than nothing is nothing. Does not reclaim memory.
    ///
    /// # Errors
    ///
    /// - `ETIMEDOUT`: the time is over.
    /// - `ENOMEM`: `gfp` does not allow to sleep.
    #[inline]
    pub fn alloc_timeout(&self, gfp: Flags, timeout: Delta) -> Result<Buffer<'_>> {
        self.buffer(gfp, Some(timeout.max(Delta::ZERO)))
    }

    /// Takes a chunk for the card, as [`Pool::post`]. Flags, waiting and errors as for
    /// [`Reserve::alloc`].
    #[inline]
    pub fn post(&self, gfp: Flags) -> Result<Posted> {
        self.alloc(gfp).map(Buffer::post)
    }

    /// Takes back a chunk that the card returned: it is [`Pool::take`].
    #[inline]
    pub fn take(&self, handle: Handle) -> Result<Buffer<'_>, HandleError> {
        self.pool().take(handle)
    }

    fn buffer(&self, gfp: Flags, timeout: Option<Delta>) -> Result<Buffer<'_>> {
        let pool = self.pool();
        let index = self.inner.get(pool, gfp, timeout)?;
        // The chunk is used, and was given to us.
        let mut buffer = Buffer::new(pool.shared(), index);
        if gfp.contains(__GFP_ZERO) {
            buffer.fill(0);
        }
        Ok(buffer)
    }
}

impl<P: PoolRef> Drop for Reserve<P> {
    fn drop(&mut self) {
        let pool = self.pool.pool();
        // sysfs lets go of `inner`, too.
        if let Some(entry) = pool.entry() {
            entry.withdraw_reserve();
        }
        pool.shared().withdraw();
    }
}

/// Makes what a reserve consists of, and gives it the first claim on the pool's chunks.
///
/// # Safety
///
/// The pool exists, and stays where it is, until the result is dropped or was used for the last time. Before
/// the result is dropped, the claim is withdrawn.
unsafe fn new_inner(pool: &Pool<'_>, min: u32) -> Result<Arc<Inner>> {
    let shared = pool.shared();
    let most = shared.geometry.max_pages() * shared.geometry.chunks();
    if min == 0 || min > most {
        dev_err!(
            shared.dev(),
            "mbpool {}: reserve: {} buffers, of a pool of at most {}\n",
            shared.name(),
            min,
            most
        );
        return Err(EINVAL);
    }
    // SAFETY: As the caller promises.
    let store = unsafe { Store::new(pool, c_int::try_from(min)?) }?;
    let inner = Arc::pin_init(
        try_pin_init!(Inner {
            shared: shared.clone(),
            store,
            line <- new_irq_lock!(Line::default(), "mbpool::line"),
        }? Error),
        GFP_KERNEL,
    )?;
    let target: NonNull<dyn Claim> = NonNull::from(&*inner);
    // SAFETY: The value of an `Arc` does not move, and the claim is withdrawn before it goes, as the caller
    // promises.
    unsafe { shared.set_claimant(target) }?;
    Ok(inner)
}
