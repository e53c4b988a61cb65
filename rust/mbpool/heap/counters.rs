// SPDX-License-Identifier: GPL-2.0

//! What a heap counts, for sysfs: it outlives the heap while somebody reads.

use super::CLASSES;
use crate::core::classes::Classes;
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

/// Buffers that are out, and the bytes that were asked for.
pub(crate) struct Tally {
    pub(crate) buffers: Atomic<i64>,
    pub(crate) asked: Atomic<i64>,
}

impl Tally {
    const fn new() -> Self {
        Self {
            buffers: Atomic::new(0),
            asked: Atomic::new(0),
        }
    }

    /// One more is out.
    #[inline]
    fn out(&self, len: usize) {
        self.buffers.add(1, Relaxed);
        // CAST: A length is at most `classes::MAX_SIZE`.
        self.asked.add(len as i64, Relaxed);
    }

    /// One came home.
    #[inline]
    fn home(&self, len: usize) {
        self.buffers.add(-1, Relaxed);
        // CAST: As above.
        self.asked.add((len as i64).wrapping_neg(), Relaxed);
    }
}

/// The counters of one heap.
///
/// Each class counts for itself: CPUs that are at different classes do not meet here, and those that are
/// at the same one meet at its pool's lock anyhow.
pub(crate) struct Counters {
    classes: [Tally; CLASSES],
    /// Buffers that have pages of their own.
    pub(crate) large: Tally,
    /// Bytes of their pages.
    large_given: Atomic<i64>,
    /// Classes that there are.
    pub(crate) made: Atomic<i64>,
    /// Buffers that were dropped and of whom the pages were not given back yet.
    pub(crate) deferred: Atomic<i64>,
    /// Buffers ever that got pages of their own because their class was not there.
    pub(crate) detours: Atomic<i64>,
    /// Allocations ever that failed.
    pub(crate) failures: Atomic<i64>,
}

impl Counters {
    pub(super) const fn new() -> Self {
        Self {
            classes: [const { Tally::new() }; CLASSES],
            large: Tally::new(),
            large_given: Atomic::new(0),
            made: Atomic::new(0),
            deferred: Atomic::new(0),
            detours: Atomic::new(0),
            failures: Atomic::new(0),
        }
    }

    /// A buffer of a class is out.
    #[inline]
    pub(super) fn out(&self, class: usize, len: usize) {
        if let Some(tally) = self.classes.get(class) {
            tally.out(len);
        }
    }

    /// A buffer of a class came home.
    #[inline]
    pub(super) fn home(&self, class: usize, len: usize) {
        if let Some(tally) = self.classes.get(class) {
            tally.home(len);
        }
    }

    /// A buffer with `given` bytes of pages of its own is out.
    pub(super) fn large_out(&self, len: usize, given: usize) {
        self.large.out(len);
        // CAST: At most `classes::MAX_SIZE`, in whole pages.
        self.large_given.add(given as i64, Relaxed);
    }

    /// A buffer with pages of its own came home.
    pub(super) fn large_home(&self, len: usize, given: usize) {
        self.large.home(len);
        // CAST: As above.
        self.large_given.add((given as i64).wrapping_neg(), Relaxed);
    }

    fn tallies(&self) -> impl Iterator<Item = &Tally> {
        self.classes.iter().chain([&self.large])
    }

    /// Buffers that are out.
    pub(crate) fn buffers(&self) -> i64 {
        self.tallies()
            .map(|tally| tally.buffers.load(Relaxed))
            .sum()
    }

    /// Bytes that were asked for by those who have buffers now.
    pub(crate) fn asked(&self) -> i64 {
        self.tallies().map(|tally| tally.asked.load(Relaxed)).sum()
    }

    /// Bytes of the chunks and pages that they have.
    pub(crate) fn given(&self) -> i64 {
        let chunks = self.classes.iter().enumerate().map(|(class, tally)| {
            // CAST: The size of a class is less than a page.
            tally.buffers.load(Relaxed) * Classes::size(class) as i64
        });
        chunks.sum::<i64>() + self.large_given.load(Relaxed)
    }
}
