// SPDX-License-Identifier: GPL-2.0

//! A pool that clients share, and the books of who has what.
//!
//! It upholds that so many chunks are free as the ledger owes to its members. All ways of a chunk out of
//! the pool and home go through this file, with the books locked: the ledger is asked, then the pool,
//! then the ledger is told. Between driver and card a chunk goes without it: it stays the client's.

use super::super::{
    config::Config,
    core::{
        account::Account,
        ledger::{
            Answer,
            Ledger,
            CLIENTS, //
        },
        quota::Quota,
        slots::Owner, //
    },
    facade::{
        array_with,
        Array, //
    },
    lock::{
        new_irq_lock,
        IrqLock, //
    },
    pool::{
        Buffer,
        Pool, //
    },
    sysfs, //
};
use core::mem;
use kernel::{
    alloc::Flags,
    device::{
        Bound,
        Device, //
    },
    prelude::*,
    str::{
        CStr,
        CString, //
    },
    sync::Arc,
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

/// Chunks that are looked at in one go, with interrupts off, when all of a client's are reclaimed.
const RECLAIM_BATCH: u32 = 256;

/// How often one who is joining looks whether its minimum is there.
const LOOK_MS: u32 = 10;

/// What is told that others want what a client has beyond its share.
pub trait Yield: Send + Sync {
    /// Give `chunks` back soon, if that can be done: a ring that is not refilled for a while, a cache that is
    /// emptied. Nothing is taken away by force, but who wants them goes first.
    ///
    /// Called with the lock of the pool's ledger held and interrupts off, in whatever context the other one
    /// asked: schedule something, and do not call into the pool.
    fn give_back(&self, chunks: u32);
}

/// Who a client is.
struct Seat {
    name: CString,
    target: Option<KBox<dyn Yield>>,
}

/// The books of a shared pool: who the clients are, and what each of them has and may have.
///
/// # Invariants
///
/// Whenever the lock is taken, at least `ledger.owed()` chunks of the pool are free, and the pool holds
/// `ledger.held()`.
pub(crate) struct Books {
    pub(crate) ledger: Ledger,
    seats: Array<Option<Seat>>,
}

impl Books {
    fn new(pool: &Pool<'_>) -> Result<Self> {
        // INVARIANT: Nothing is owed, and nothing was taken.
        Ok(Self {
            ledger: Ledger::new(pool.limit())?,
            seats: array_with(CLIENTS, |_| None)?,
        })
    }

    fn seat(&mut self, client: u8) -> Option<&mut Option<Seat>> {
        self.seats.get_mut(usize::from(client))
    }

    /// A chunk of `client` is going home.
    fn returning(&mut self, pool: &Pool<'_>, client: u8) {
        self.ledger.returning(client);
        // Before the chunk is free, or its page could be given back although it is owed.
        pool.hold(self.ledger.held());
    }

    fn ask_to_yield(&self, client: u8, chunks: u32) {
        let seat = self.seats.get(usize::from(client)).and_then(Option::as_ref);
        if let Some(target) = seat.and_then(|seat| seat.target.as_ref()) {
            target.give_back(chunks);
        }
    }
}

/// A pool that clients share.
pub(super) struct Commons {
    // Before the pool, in whose directory it is.
    directory: sysfs::Clients,
    pool: Pool<'static>,
    books: Arc<IrqLock<Books>>,
}

impl Commons {
    /// Makes the pool that `config` describes, but for its name. Process context; may sleep. Errors as for
    /// [`Pool::new`].
    ///
    /// # Safety
    ///
    /// `master` is bound until what is made has been dropped.
    pub(super) unsafe fn new(
        master: &Device<Bound>,
        config: &Config<'_>,
        number: u32,
        gfp: Flags,
    ) -> Result<Self> {
        let size = config.request.size;
        let name = match number {
            0 => CString::try_from_fmt(fmt!("shared-{size}")),
            _ => CString::try_from_fmt(fmt!("shared-{size}.{number}")),
        }?;
        // SAFETY: The pool has a reference of its own to the device, and uses the lifetime for nothing but
        // that the device is bound, which the caller promises.
        let master = unsafe { mem::transmute::<&Device<Bound>, &'static Device<Bound>>(master) };
        let config = Config {
            name: &name,
            ..*config
        };
        let pool = Pool::new(master, config, gfp)?;
        let books = Books::new(&pool)?;
        let books = Arc::pin_init(new_irq_lock!(books, "mbpool::ledger"), GFP_KERNEL)?;
        let entry = pool.entry().ok_or(ENODEV)?;
        // SAFETY: The directory goes before the pool does.
        let directory = unsafe { sysfs::Clients::new(entry, books.clone()) }?;
        Ok(Self {
            directory,
            pool,
            books,
        })
    }

    pub(super) fn pool(&self) -> &Pool<'static> {
        &self.pool
    }

    /// Makes a client. Answers its number once its minimum is there. Process context; may sleep.
    pub(super) fn join(&self, name: CString, quota: Quota, gfp: Flags) -> Result<u8> {
        let client = {
            let mut books = self.books.lock();
            let mut seats = books.seats.iter().flatten();
            if seats.any(|seat| *seat.name == *name) {
                return Err(EEXIST);
            }
            let client = books.ledger.enter(quota).ok_or(ENOSPC)?;
            if let Some(seat) = books.seat(client) {
                *seat = Some(Seat { name, target: None });
            }
            // From now on nobody takes what is gathered, neither a client nor the machine.
            self.pool.hold(books.ledger.held());
            client
        };
        let result = self.gather(client, gfp);
        if result.is_err() {
            self.leave(client);
        }
        result.map(|()| client)
    }

    /// Finds the chunks of a minimum: what is free, what growth brings, what others give back.
    fn gather(&self, client: u8, gfp: Flags) -> Result {
        let mut left = self.pool.wait_ms();
        let mut asked = false;
        loop {
            let keep = {
                let mut books = self.books.lock();
                // It does not become less meanwhile: chunks are taken under the lock that we have, and pages
                // given back only over what is held.
                let free = self.pool.free();
                if books.ledger.seat(client, free) {
                    return Ok(());
                }
                books.ledger.held().saturating_sub(1)
            };
            match self.pool.grow_over(keep, gfp) {
                Ok(()) => continue,
                Err(error) if error != ENOSPC || left == 0 => return Err(error),
                Err(_) => {}
            }
            if !asked {
                asked = true;
                self.ask_all();
            }
            let step = left.min(LOOK_MS);
            fsleep(Delta::from_millis(step.into()));
            left -= step;
        }
    }

    /// Asks each client for its part of what is held and not there.
    fn ask_all(&self) {
        let mut books = self.books.lock();
        let free = self.pool.free();
        // CAST: A small constant.
        for client in 0..CLIENTS as u8 {
            let part = books.ledger.part(client, free);
            if part > 0 {
                books.ask_to_yield(client, part);
            }
        }
    }

    /// Ends what [`Commons::join`] began. Process context.
    pub(super) fn leave(&self, client: u8) {
        let mut books = self.books.lock();
        let out = books.ledger.leave(client);
        self.pool.hold(books.ledger.held());
        let seat = books.seat(client).and_then(Option::take);
        drop(books);
        self.pool.let_go();
        if let (1.., Some(seat)) = (out, &seat) {
            dev_err!(
                self.pool.dev(),
                "mbpool {}: client {} left with {} chunks out; nobody gets them\n",
                self.pool.name(),
                &*seat.name,
                out
            );
        }
    }

    /// Sets what is called when others want what the client has; answers what was before.
    pub(super) fn set_target(
        &self,
        client: u8,
        target: Option<KBox<dyn Yield>>,
    ) -> Option<KBox<dyn Yield>> {
        let mut books = self.books.lock();
        let seat = books.seat(client).and_then(Option::as_mut)?;
        mem::replace(&mut seat.target, target)
    }

    /// A number of a client's account.
    pub(super) fn account(&self, client: u8, number: impl FnOnce(&Account) -> u32) -> u32 {
        let books = self.books.lock();
        books.ledger.account(client).map_or(0, number)
    }

    /// Makes a client's directory.
    ///
    /// # Safety
    ///
    /// It is dropped before `self`.
    pub(super) unsafe fn show(&self, name: &CStr, client: u8) -> Result<sysfs::ClientEntry> {
        // SAFETY: As the caller promises.
        unsafe { self.directory.show(name, self.books.clone(), client) }
    }

    /// Takes a chunk for a client, which is charged with it: free -> used.
    pub(super) fn alloc(&self, client: u8, gfp: Flags) -> Result<Buffer<'_>> {
        loop {
            let keep = {
                let mut books = self.books.lock();
                let Answer::Over { keep } = books.ledger.ask(client) else {
                    books.ledger.refused(client);
                    return Err(ENOSPC);
                };
                if let Some(buffer) = self.pool.alloc_over(keep) {
                    // INVARIANT: If one that was owed is free no more, it is not owed any more. What is
                    // held is written after the chunk was taken.
                    books.ledger.taken(client);
                    self.pool.hold(books.ledger.held());
                    return Ok(buffer);
                }
                keep
            };
            if self.pool.grow_over(keep, gfp).is_err() {
                self.pool.failed(gfp);
                let mut books = self.books.lock();
                if let Some(other) = books.ledger.refused(client) {
                    books.ask_to_yield(other, 1);
                }
                return Err(ENOMEM);
            }
        }
    }

    /// Takes home a chunk that a client owns: used -> free.
    pub(super) fn free(&self, client: u8, buffer: Buffer<'_>) {
        let mut books = self.books.lock();
        books.returning(&self.pool, client);
        drop(buffer);
    }

    /// Takes back all that the card holds of a client: on card -> free. Answers how many chunks that were.
    pub(super) fn reclaim_card(&self, client: u8) -> usize {
        let all = self.pool.indices();
        let mut reclaimed = 0;
        let mut from = 0;
        while from < all {
            let to = all.min(from + RECLAIM_BATCH);
            let mut books = self.books.lock();
            self.pool.reclaim_for(from..to, owner(client), || {
                books.returning(&self.pool, client);
                reclaimed += 1;
            });
            drop(books);
            from = to;
        }
        reclaimed
    }
}

/// For whom the card has a client's chunks. A number is a client's until all of them are home, and a shared
/// pool has no caches, who would have numbers, too.
pub(super) fn owner(client: u8) -> Owner {
    const { assert!(CLIENTS <= Owner::OTHERS) };
    Owner::other(client.into()).unwrap_or(Owner::POOL)
}
