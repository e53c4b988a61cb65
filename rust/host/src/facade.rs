// SPDX-License-Identifier: GPL-2.0

//! The host's side of `rust/mbpool/facade.rs`: the same names, in terms of `std`.

pub use std::fmt;

/// An allocation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocError;

/// An array whose length is fixed when it is made.
pub type Array<T> = Vec<T>;

/// Makes an array of `len` elements, each from its index.
pub fn array_with<T>(len: u32, element: impl FnMut(u32) -> T) -> Result<Array<T>, AllocError> {
    Ok((0..len).map(element).collect())
}

pub use std::sync::atomic::Ordering;

thread_local! {
    static SHAKEN: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// From now on this thread lets others run before each access to an atomic. What another can do
/// between two accesses is then done at times, however few CPUs there are and however short the moment.
pub fn shake() {
    SHAKEN.set(true);
}

fn others_may_run() {
    if SHAKEN.get() {
        std::thread::yield_now();
    }
}

/// A word that several CPUs change, with those of its methods that `core` uses.
pub struct AtomicU32(std::sync::atomic::AtomicU32);

impl AtomicU32 {
    /// One that holds `value`.
    pub const fn new(value: u32) -> Self {
        Self(std::sync::atomic::AtomicU32::new(value))
    }

    /// Reads the value.
    pub fn load(&self, order: Ordering) -> u32 {
        others_may_run();
        self.0.load(order)
    }

    /// Writes the value.
    pub fn store(&self, value: u32, order: Ordering) {
        others_may_run();
        self.0.store(value, order)
    }

    /// Writes `new` if the value is `old`; answers what it found.
    pub fn compare_exchange(
        &self,
        old: u32,
        new: u32,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u32, u32> {
        self.0.compare_exchange(old, new, success, failure)
    }

    /// Sets bits; answers what it found.
    pub fn fetch_or(&self, bits: u32, order: Ordering) -> u32 {
        self.0.fetch_or(bits, order)
    }

    /// Leaves the bits that are set in both; answers what it found.
    pub fn fetch_and(&self, bits: u32, order: Ordering) -> u32 {
        self.0.fetch_and(bits, order)
    }
}
