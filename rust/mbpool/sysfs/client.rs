// SPDX-License-Identifier: GPL-2.0

//! The directories of a shared pool's clients: one value a file.

use super::{
    super::{
        core::account::Account,
        lock::IrqLock,
        registry::Books, //
    },
    device::Entry,
    kobject::{
        Directory,
        File,
        Show, //
    }, //
};
use kernel::{
    prelude::*,
    str::CStr,
    sync::Arc, //
};

/// What the directory `clients` shows itself.
struct All(Arc<IrqLock<Books>>);

impl Show for All {
    const FILES: &'static [File<Self>] = &[
        File::new(c"owed", |all, text| {
            let owed = all.0.lock().ledger.owed();
            text.line(fmt!("{owed}"))
        }),
        File::new(c"held", |all, text| {
            let held = all.0.lock().ledger.held();
            text.line(fmt!("{held}"))
        }),
    ];
}

/// The directory `clients` of a shared pool.
pub(crate) struct Clients(Pin<KBox<Directory<All>>>);

impl Clients {
    /// Makes it. Process context; may sleep.
    ///
    /// # Safety
    ///
    /// It is dropped before `pool`.
    pub(crate) unsafe fn new(pool: &Entry, books: Arc<IrqLock<Books>>) -> Result<Self> {
        let parent = pool.as_parent().ok_or(ENODEV)?;
        // SAFETY: The pool's directory stays until the pool's entry is dropped.
        unsafe { Directory::new(parent, c"clients", Ok(All(books))) }.map(Self)
    }

    /// Makes the directory of one client. Process context; may sleep.
    ///
    /// # Safety
    ///
    /// It is dropped before `self`.
    pub(crate) unsafe fn show(
        &self,
        name: &CStr,
        books: Arc<IrqLock<Books>>,
        client: u8,
    ) -> Result<ClientEntry> {
        let files = Ok(Files { books, client });
        // SAFETY: As the caller promises.
        unsafe { Directory::new(self.0.as_parent(), name, files) }.map(ClientEntry)
    }
}

/// A client's place in sysfs, until it is dropped. Process context; dropping it sleeps.
pub(crate) struct ClientEntry(
    #[expect(dead_code, reason = "held to be dropped")] Pin<KBox<Directory<Files>>>,
);

/// What a client's directory shows.
struct Files {
    books: Arc<IrqLock<Books>>,
    client: u8,
}

/// Files of one number: a name, and where the number comes from.
macro_rules! numbers {
    ($($name:literal: |$account:ident| $value:expr,)*) => {
        &[$(
            File::new($name, |files: &Files, text| {
                let value = files.of_account(|$account| u64::from($value));
                text.line(fmt!("{value}"))
            }),
        )*]
    };
}

impl Files {
    fn of_account(&self, value: impl FnOnce(&Account) -> u64) -> u64 {
        let books = self.books.lock();
        books.ledger.account(self.client).map_or(0, value)
    }
}

impl Show for Files {
    const FILES: &'static [File<Self>] = numbers![
        // What it asked for.
        c"min": |account| account.quota().min,
        c"cap": |account| account.quota().cap,
        c"weight": |account| account.quota().weight,
        // Now.
        c"share": |account| account.share(),
        c"used": |account| account.used(),
        c"wants": |account| account.wants(),
        // Since it joined.
        c"allocations": |account| account.allocations(),
        c"refused": |account| account.refused(),
        c"yields": |account| account.yields(),
    ];
}
