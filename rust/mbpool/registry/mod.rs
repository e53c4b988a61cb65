// SPDX-License-Identifier: GPL-2.0

//! The registry: pools that several drivers share.
//!
//! There is one shared pool for each device that does DMA and each thing that may be asked of it. The
//! first client makes it, the last one destroys it; what each of them gets is in
//! [`ledger`](crate::core::ledger).
//!
//! # Locks
//!
//! [`POOLS`] guards which shared pools there are and how many leases of each. Nothing else is locked
//! while it is held, no DMA memory is allocated and no directory removed: a pool that is being made or
//! destroyed is marked so, and who wants it waits for the end of that.
//!
//! Each shared pool has a lock of its own, that of its [`Books`]: IRQ-safe, held for a few instructions,
//! taken before the depot's and never after.
//!
//! # Lifetimes
//!
//! A shared pool borrows no device of one client's: it outlives any of them but the last. What lets it
//! call the DMA API is the invariant of [`Lease`].

mod client;
mod commons;

pub(crate) use self::commons::Books;
pub use self::{
    client::{
        Client,
        ClientBuffer, //
    },
    commons::Yield, //
};

use self::commons::Commons;
use super::{
    config::{
        Backing,
        Config,
        Tide, //
    },
    core::geometry::Geometry,
    pool::check, //
};
use core::{
    marker::PhantomData,
    mem,
    ops::Deref,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    alloc::Flags,
    device::{
        Bound,
        Device, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        Completion, //
    }, //
};

kernel::sync::global_lock! {
    // SAFETY: Initialised by `init`, which the module calls before anything else.
    /// All shared pools.
    unsafe(uninit) static POOLS: Mutex<KVec<Entry>> = KVec::new();
}

/// Makes the registry ready.
///
/// # Safety
///
/// Called once, before any other function of this file.
pub(crate) unsafe fn init() {
    // SAFETY: As the caller promises.
    unsafe { POOLS.init() };
}

/// Gives back the memory of the registry, which is empty when the module goes: a static is never dropped.
/// Process context; may sleep.
pub(crate) fn exit() {
    *POOLS.lock() = KVec::new();
}

/// What two that ask must have in common to get the same pool: the device that does the DMA, and all
/// that can be asked for but the name and how long to wait.
#[derive(Clone)]
struct Key {
    master: ARef<Device>,
    geometry: Geometry,
    backing: Backing,
    tide: Tide,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(&*self.master, &*other.master)
            && self.geometry == other.geometry
            && self.backing == other.backing
            && self.tide == other.tide
    }
}

enum State {
    /// The pool is being made.
    Making,
    /// It is there, with so many leases, at least one.
    Ready(KBox<Commons>, usize),
    /// It is being destroyed.
    Ending,
}

struct Entry {
    key: Key,
    /// Sets pools of one device and one chunk size apart.
    number: u32,
    state: State,
    signs: Signs,
}

/// What those wait for who find a pool that is not ready.
#[derive(Clone)]
struct Signs {
    /// It was made, or could not be.
    made: Arc<Completion>,
    /// It is gone.
    gone: Arc<Completion>,
}

impl Signs {
    fn new() -> Result<Self> {
        Ok(Self {
            made: Arc::pin_init(Completion::new(), GFP_KERNEL)?,
            gone: Arc::pin_init(Completion::new(), GFP_KERNEL)?,
        })
    }
}

/// One of those who keep a shared pool.
///
/// # Invariants
///
/// - The registry has the `Commons` that is pointed to as [`State::Ready`], and counts this lease. So it
///   stays where it is until the last lease goes.
/// - While there is a lease, the device that does the pool's DMA is bound: the lease's `'bound` is that of
///   this device or of a descendant, and a bus removes a device's children when it unbinds the device.
struct Lease<'bound> {
    _dev: PhantomData<&'bound Device<Bound>>,
    commons: NonNull<Commons>,
}

// SAFETY: A lease is used as a shared reference, and may be dropped by any thread that may sleep.
unsafe impl Send for Lease<'_> where Commons: Send + Sync {}
// SAFETY: As above.
unsafe impl Sync for Lease<'_> where Commons: Sync {}

impl Deref for Lease<'_> {
    type Target = Commons;

    #[inline]
    fn deref(&self) -> &Commons {
        // SAFETY: By the type invariant it stays while there is this lease.
        unsafe { self.commons.as_ref() }
    }
}

impl<'bound> Lease<'bound> {
    /// A lease of the pool that `config` describes, which is made if there is none. Process context; may
    /// sleep. Errors as for [`Pool::new`](crate::Pool::new).
    fn new(dev: &'bound Device<Bound>, config: &Config<'_>, gfp: Flags) -> Result<Self> {
        let (master, geometry) = check(dev, config)?;
        if config.lending {
            dev_err!(
                dev,
                "mbpool {}: lending: a shared pool cannot\n",
                config.name
            );
            return Err(EINVAL);
        }
        let key = Key {
            master: master.into(),
            geometry,
            backing: config.backing,
            tide: config.tide,
        };
        let (number, signs) = match Self::find(&key)? {
            Found::Ready(lease) => return Ok(lease),
            Found::Nothing(number, signs) => (number, signs),
        };

        // SAFETY: What is made is dropped with the last lease, so the device is bound as long as it exists.
        let commons = unsafe { Commons::new(master, config, number, gfp) };
        let commons = commons.and_then(|commons| Ok(KBox::new(commons, GFP_KERNEL)?));
        let mut pools = POOLS.lock();
        let result = match (commons, pools.iter_mut().find(|entry| entry.key == key)) {
            (Ok(commons), Some(entry)) => {
                // INVARIANT: It is ready with one lease, this one. `dev` does its DMA through `master`, and is
                // bound as long as `'bound`.
                let lease = Self {
                    _dev: PhantomData,
                    commons: NonNull::from(&*commons),
                };
                entry.state = State::Ready(commons, 1);
                Ok(lease)
            }
            (Err(error), _) => {
                pools.retain(|entry| entry.key != key);
                Err(error)
            }
            // Not reached: nobody takes out what is being made.
            (Ok(_), None) => Err(ENODEV),
        };
        drop(pools);
        signs.made.complete_all();
        result
    }

    /// A lease of the pool that is there, or the place where the caller has to make one.
    fn find(key: &Key) -> Result<Found<'bound>> {
        // Before anything is locked.
        let signs = Signs::new()?;
        loop {
            let mut pools = POOLS.lock();
            let Some(entry) = pools.iter_mut().find(|entry| entry.key == *key) else {
                let number = free_number(&pools, key);
                let entry = Entry {
                    key: key.clone(),
                    number,
                    state: State::Making,
                    signs: signs.clone(),
                };
                pools.push(entry, GFP_KERNEL)?;
                return Ok(Found::Nothing(number, signs));
            };
            let sign = match &mut entry.state {
                State::Ready(commons, leases) => {
                    *leases += 1;
                    // INVARIANT: It is ready, and we were counted. The key has the device that does the DMA for
                    // the caller's, which is bound as long as `'bound`.
                    return Ok(Found::Ready(Self {
                        _dev: PhantomData,
                        commons: NonNull::from(&**commons),
                    }));
                }
                State::Making => entry.signs.made.clone(),
                State::Ending => entry.signs.gone.clone(),
            };
            drop(pools);
            sign.wait_for_completion();
        }
    }
}

/// What [`Lease::find`] finds.
enum Found<'bound> {
    Ready(Lease<'bound>),
    /// A place in the registry, marked as being filled by the caller, and who waits for that.
    Nothing(u32, Signs),
}

/// The lowest number that no pool of this device and chunk size has.
fn free_number(pools: &[Entry], key: &Key) -> u32 {
    let is_taken = |number: &u32| {
        pools.iter().any(|entry| {
            ptr::eq(&*entry.key.master, &*key.master)
                && entry.key.geometry.size() == key.geometry.size()
                && entry.number == *number
        })
    };
    // There are fewer pools than numbers.
    (0..).find(|number| !is_taken(number)).unwrap_or(0)
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut pools = POOLS.lock();
        let is_ours = |entry: &Entry| match &entry.state {
            State::Ready(commons, _) => ptr::eq(&**commons, self.commons.as_ptr()),
            State::Making | State::Ending => false,
        };
        let Some(at) = pools.iter().position(is_ours) else {
            return;
        };
        let Some(entry) = pools.get_mut(at) else {
            return;
        };
        if let State::Ready(_, leases @ 2..) = &mut entry.state {
            *leases -= 1;
            return;
        }
        // The last one. Nobody else can have a reference: who wants a lease waits from now on.
        let (key, gone) = (entry.key.clone(), entry.signs.gone.clone());
        let commons = mem::replace(&mut entry.state, State::Ending);
        drop(pools);
        // Our device is still bound, and so is the one that does the DMA.
        drop(commons);
        POOLS.lock().retain(|entry| entry.key != key);
        gone.complete_all();
    }
}
