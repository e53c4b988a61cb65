// SPDX-License-Identifier: GPL-2.0

//! The pool: making one, growing it, and what a driver does with it.
//!
//! # Locks
//!
//! A pool has one lock, that of the depot ([`shared::Guarded`]). It is IRQ-safe, it is held for a few
//! instructions, and never across a page allocation. The mutexes of [`sysfs`](crate::sysfs) are taken
//! before it, never after; so is the lock of the books of a pool that clients share
//! ([`registry`](crate::registry)). Who is called with it held, an alarm's target or a [`Claim`], may
//! take locks of its own, and does not call the pool.
//!
//! # Lifetimes
//!
//! DMA memory can be freed only while its device is bound, so a [`Pool`] borrows the bound device, and
//! a [`Buffer`] borrows its pool. What the compiler cannot see (chunks on the card, buffers in the
//! hands of a C owner, buffers that were forgotten) is counted; when a pool goes while such are out,
//! it says so and leaks them. A pool that is itself forgotten ends when its device is unbound ([`life`]).

mod alarm;
mod background;
mod batch;
mod buffer;
mod cache;
mod claim;
mod ext;
mod keep;
mod lane;
mod lend;
mod life;
mod shared;
mod supply;

pub use self::{
    alarm::{
        Alarm,
        Notify, //
    },
    batch::Batch,
    buffer::{
        Buffer,
        Peek,
        Posted, //
    },
    cache::Cache,
    ext::Ext,
    lane::Lane,
    lend::PageRef, //
};
pub(crate) use self::{
    claim::Claim,
    shared::Shared, //
};

use self::life::{
    Life,
    Works, //
};
use super::{
    config::Config,
    core::{
        geometry::Geometry,
        handle::{
            Handle,
            HandleError, //
        },
        marks::Due,
        slots::{
            Count,
            Owner, //
        }, //
    },
    dma,
    sysfs, //
};
use kernel::{
    alloc::Flags,
    device::{
        Bound,
        Device, //
    },
    page::PAGE_SIZE,
    prelude::*,
    str::CStr,
    sync::{
        rcu,
        Arc, //
    }, //
};

/// Chunks that [`Pool::reclaim_card`] looks at in one go, with interrupts off.
const RECLAIM_BATCH: u32 = 256;

/// Checks what is asked of a pool for `dev`, and says in the kernel log what is wrong. Answers the device
/// that does the DMA, and how pages are cut.
///
/// # Errors
///
/// - `EINVAL`: a parameter makes no sense.
/// - `ENODEV`: the device does no DMA.
pub(crate) fn check<'a>(
    dev: &'a Device<Bound>,
    config: &Config<'_>,
) -> Result<(&'a Device<Bound>, Geometry)> {
    if let Some(refusal) = config.refusal() {
        dev_err!(dev, "mbpool {}: {}\n", config.name, refusal);
        return Err(EINVAL);
    }
    let Some(master) = dma::master_of(dev) else {
        dev_err!(
            dev,
            "mbpool {}: neither the device nor one above it does DMA\n",
            config.name
        );
        return Err(ENODEV);
    };
    let geometry = Geometry::new(&config.request, PAGE_SIZE).map_err(|refusal| {
        dev_err!(dev, "mbpool {}: {}\n", config.name, refusal);
        EINVAL
    })?;
    Ok((master, geometry))
}

/// A pool of equal chunks of DMA memory, bound to a device.
///
/// All methods take `&self` and may be called from several CPUs at once, in any context but NMI, where
/// nothing else is said. None but [`Pool::new`] and dropping the pool sleeps unless its `gfp` flags
/// allow it.
///
/// Stop the card and call [`Pool::reclaim_card`] before dropping a pool. If chunks are out when it
/// is dropped, it says so in the kernel log, and their pages are leaked: nothing is freed under anyone.
/// A pool that is never dropped ends in the same way when the device is unbound, with a line in the log.
///
/// # Invariants
///
/// Nobody but this object pops from the depot of `shared`, and whoever has the first claim on it and no
/// bound device: what that one got is not looked into once the pool has ended. The pages of `shared` were
/// allocated for the device.
pub struct Pool<'bound> {
    shared: Arc<Shared>,
    life: Life<'bound>,
}

impl<'bound> Pool<'bound> {
    /// Makes a pool for `dev`. Process context; may sleep whatever `gfp` says, which is for the pages
    /// that are allocated at once.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: a parameter makes no sense. A line in the kernel log says which one and why;
    ///   nothing was allocated.
    /// - `ENODEV`: the device does no DMA; a line in the kernel log says so.
    /// - `EEXIST`: the device has a pool of that name.
    /// - `ENOMEM`: no memory for the initial pages or the tables.
    pub fn new(dev: &'bound Device<Bound>, config: Config<'_>, gfp: Flags) -> Result<Self> {
        let (master, geometry) = check(dev, &config)?;

        let shared = Arc::pin_init(Shared::new(dev, master, &config, &geometry), GFP_KERNEL)?;
        // SAFETY: The works are dropped here, or by the pool, or by the device that is being unbound: while
        // it is bound, and when nobody can call the pool's methods, which alone pop.
        let mut works = unsafe { Works::new(shared.clone()) }?;
        for _ in 0..geometry.initial_pages() {
            // SAFETY: The device is bound, as `'bound` says.
            unsafe { shared.grow(gfp) }?;
        }
        works.start(!config.tide.strict)?;
        // INVARIANT: No page was popped from yet, and all pops are in methods of `Self`.
        let pool = Self {
            shared,
            life: Life::new(dev, works)?,
        };
        // If there are fewer than the low mark already, nobody else would notice before the next pop.
        let due = pool.shared.guarded.lock().fallen();
        pool.shared.background.start(due);
        Ok(pool)
    }

    /// The pool's name.
    pub fn name(&self) -> &CStr {
        self.shared.name()
    }

    /// Bytes of a chunk.
    #[inline]
    pub fn chunk_size(&self) -> usize {
        self.shared.geometry.size()
    }

    /// Takes a buffer: free -> used.
    ///
    /// The content is whatever it was, unless `gfp` has `__GFP_ZERO`. The pool grows by a page if it
    /// has no free chunk; the flags go down to that page allocation. A caller who may sleep waits for
    /// another's growth that is under way and, at the limit, for pages that are just being given back.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: all chunks are out and the pool is at its limit, or there was no memory for a page. To a
    /// caller who may not sleep a page counts until it was given back.
    #[inline]
    pub fn alloc(&self, gfp: Flags) -> Result<Buffer<'_>> {
        // SAFETY: The device is bound, as `'bound` says.
        let index = unsafe { self.shared.pop(gfp) }?;
        // SAFETY: The chunk was popped.
        unsafe { self.shared.slot(index) }.claim();
        // INVARIANT: The chunk was popped and claimed.
        let mut buffer = Buffer::new(&self.shared, index);
        if gfp.contains(__GFP_ZERO) {
            buffer.fill(0);
        }
        Ok(buffer)
    }

    /// Takes a chunk straight for the card: free -> on card. Flags and errors are those of
    /// [`Pool::alloc`].
    ///
    /// Make the descriptor visible to the card in the card's own way, for instance with a write
    /// barrier and a doorbell; from then on the chunk may change at any time.
    #[inline]
    pub fn post(&self, gfp: Flags) -> Result<Posted> {
        if gfp.contains(__GFP_ZERO) {
            return self.alloc(gfp).map(Buffer::post);
        }
        // SAFETY: The device is bound, as `'bound` says.
        let index = unsafe { self.shared.pop(gfp) }?;
        // INVARIANT: The chunk was popped.
        Ok(Buffer::new(&self.shared, index).post())
    }

    /// Takes back a chunk that the card returned: on card -> used.
    ///
    /// Constant time, no lock. A wrong handle costs nothing but itself: it is counted, and the first
    /// one of a pool is reported in the kernel log.
    ///
    /// # Errors
    ///
    /// - [`HandleError::OutOfRange`]: there is no such page or chunk.
    /// - [`HandleError::Stale`]: the chunk is on the card, but was posted again since.
    /// - [`HandleError::WrongState`]: the chunk is not on the card.
    #[inline]
    pub fn take(&self, handle: Handle) -> Result<Buffer<'_>, HandleError> {
        match self.shared.slots.take(handle) {
            // INVARIANT: The chunk went from on card to used, by nobody's hand but ours.
            Some(index) => Ok(Buffer::new(&self.shared, index)),
            None => Err(self.shared.refused_for(handle, Owner::POOL)),
        }
    }

    /// Looks at a chunk that the card holds, and leaves it there. Errors as for [`Pool::take`].
    #[inline]
    pub fn peek(&self, handle: Handle) -> Result<Peek<'_>, HandleError> {
        self.peek_with(handle, rcu::read_lock())
    }

    /// The same for who looks at many, or is under RCU already: entering and leaving that is dearer than the
    /// look.
    ///
    /// # Examples
    ///
    /// ```
    /// use kernel::{prelude::*, sync::rcu};
    /// use mbpool::{Handle, Pool};
    ///
    /// /// How many of the frames on the card begin with `byte` now.
    /// fn count(pool: &Pool<'_>, handles: &[Handle], byte: u8) -> Result<usize> {
    ///     let rcu = rcu::read_lock();
    ///     let mut count = 0;
    ///     for handle in handles {
    ///         let mut first = [0];
    ///         pool.peek_under(*handle, &rcu)?.read(0, &mut first)?;
    ///         count += usize::from(first == [byte]);
    ///     }
    ///     Ok(count)
    /// }
    /// ```
    #[inline]
    pub fn peek_under<'a>(
        &'a self,
        handle: Handle,
        rcu: &'a rcu::Guard,
    ) -> Result<Peek<'a, &'a rcu::Guard>, HandleError> {
        self.peek_with(handle, rcu)
    }

    /// `hold` is or borrows an RCU read-side section.
    #[inline]
    fn peek_with<Hold>(&self, handle: Handle, hold: Hold) -> Result<Peek<'_, Hold>, HandleError> {
        match self.shared.slots.peek(handle) {
            // INVARIANT: Just seen on card, and who gives its page back waits for who is under RCU.
            Some(index) => Ok(Peek::new(&self.shared, index, hold)),
            None => Err(self.shared.refused_for(handle, Owner::POOL)),
        }
    }

    /// Takes back all that the card holds: on card -> free. Answers how many chunks that were.
    ///
    /// The card must have been stopped, or it goes on writing into chunks that are somebody else's by
    /// then. The handles that it had are refused from now on. Takes time in proportion to the pool.
    pub fn reclaim_card(&self) -> usize {
        let all = self.shared.geometry.indices();
        let mut reclaimed = 0;
        let mut from = 0;
        while from < all {
            let to = all.min(from + RECLAIM_BATCH);
            let mut guarded = self.shared.guarded.lock();
            let mut due = Due::default();
            for index in from..to {
                if self.shared.slots.reclaim(index) {
                    due = due | guarded.push(index);
                    reclaimed += 1;
                }
            }
            drop(guarded);
            self.shared.background.start(due);
            from = to;
        }
        reclaimed
    }

    /// How many chunks are used, on card and free. Each chunk is looked at once; takes time in
    /// proportion to the pool.
    pub fn count(&self) -> Count {
        self.shared.slots.count()
    }

    /// The handle with the caller's bits set, to be written into a descriptor.
    ///
    /// # Errors
    ///
    /// `EINVAL`: they do not fit in the bits that [`Config::user_bits`] kept.
    #[inline]
    pub fn with_user_bits(&self, handle: Handle, high: u32, low: u32) -> Result<Handle> {
        let layout = self.shared.geometry.layout();
        layout.with_user_bits(handle, high, low).ok_or(EINVAL)
    }

    /// The caller's bits of a handle: high and low.
    #[inline]
    pub fn user_bits(&self, handle: Handle) -> (u32, u32) {
        self.shared.geometry.layout().user_bits_of(handle)
    }

    /// Whether the pool has all the pages that it may have.
    pub(crate) fn is_at_limit(&self) -> bool {
        self.shared.guarded.lock().depot.is_at_limit()
    }
}

/// What a layer over the pool uses of it.
impl Pool<'_> {
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The pool's place in sysfs, which it has as long as it exists.
    pub(crate) fn entry(&self) -> Option<&sysfs::Entry> {
        self.life.entry()
    }

    /// Adds one page. Sleeps if `gfp` allows it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: the pool is at its limit, or there is no memory.
    pub(crate) fn grow(&self, gfp: Flags) -> Result {
        // SAFETY: The device is bound, as `'bound` says.
        unsafe { self.shared.grow(gfp) }
    }
}

impl From<HandleError> for Error {
    /// `ERANGE` for a handle out of range, `ESTALE` for a stale one, `EINVAL` for a wrong state.
    fn from(error: HandleError) -> Self {
        match error {
            HandleError::OutOfRange => ERANGE,
            HandleError::Stale => ESTALE,
            HandleError::WrongState => EINVAL,
        }
    }
}
