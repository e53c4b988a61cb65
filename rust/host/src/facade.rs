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

/// A memory ordering, as the kernel names them.
pub trait Ordering {
    /// For a load, a store, and a read-modify-write.
    const ORDERING: std::sync::atomic::Ordering;
}

macro_rules! orderings {
    ($($(#[$doc:meta])* $name:ident => $ordering:ident),*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name;
        impl Ordering for $name {
            const ORDERING: std::sync::atomic::Ordering = std::sync::atomic::Ordering::$ordering;
        }
    )*};
}

orderings! {
    /// No ordering.
    Relaxed => Relaxed,
    /// What follows stays behind.
    Acquire => Acquire,
    /// What precedes stays before.
    Release => Release,
    /// Both.
    Full => SeqCst
}

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

/// An atomic integer with the kernel's methods. Of the types that the kernel has, `core` uses one.
pub struct Atomic<T>(std::sync::atomic::AtomicU32, std::marker::PhantomData<T>);

impl Atomic<u32> {
    /// An atomic that holds `value`.
    pub const fn new(value: u32) -> Self {
        Self(
            std::sync::atomic::AtomicU32::new(value),
            std::marker::PhantomData,
        )
    }

    /// Reads the value.
    pub fn load<O: Ordering>(&self, _: O) -> u32 {
        others_may_run();
        self.0.load(O::ORDERING)
    }

    /// Writes the value.
    pub fn store<O: Ordering>(&self, value: u32, _: O) {
        others_may_run();
        self.0.store(value, O::ORDERING)
    }

    /// Writes `new` if the value is `old`; answers what it found.
    pub fn cmpxchg<O: Ordering>(&self, old: u32, new: u32, _: O) -> Result<u32, u32> {
        self.0
            .compare_exchange(old, new, O::ORDERING, std::sync::atomic::Ordering::Relaxed)
    }
}
