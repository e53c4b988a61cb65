// SPDX-License-Identifier: GPL-2.0

//! A counter that one writes and all may read.

use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

/// Counts events of one queue. Only who has the queue adds, so that an addition takes no atomic
/// operation; two who add at once may lose a count, and nothing else.
pub(crate) struct Counter(Atomic<u64>);

impl Default for Counter {
    fn default() -> Self {
        Self(Atomic::new(0))
    }
}

impl Counter {
    /// Adds `n`.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.get().wrapping_add(n), Relaxed);
    }

    /// Makes it `n`, for what is no sum.
    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// The sum so far.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
