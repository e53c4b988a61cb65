// SPDX-License-Identifier: GPL-2.0

//! Lent chunks: which ones went up a stack as pages, in the order in which they went, and when.

use super::geometry::Geometry;
use crate::facade::{
    array_with,
    AllocError,
    Array, //
};

/// A chunk that was lent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loan {
    /// The chunk's index.
    pub index: u32,
    /// When it went, in whatever the caller counts time by.
    pub since: u32,
}

/// A queue with room for all chunks of a pool.
///
/// # Invariants
///
/// `head < loans.len()` unless that is 0, and `len <= loans.len()`.
pub struct Lent {
    loans: Array<Loan>,
    head: u32,
    len: u32,
}

impl Lent {
    /// An empty queue; with `room` false one that takes nothing.
    pub fn new(geometry: &Geometry, room: bool) -> Result<Self, AllocError> {
        let all = if room {
            geometry.max_pages() * geometry.chunks()
        } else {
            0
        };
        Ok(Self {
            loans: array_with(all, |_| Loan::default())?,
            head: 0,
            len: 0,
        })
    }

    fn capacity(&self) -> u32 {
        // CAST: The array was made with a `u32` length.
        self.loans.len() as u32
    }

    /// How many are out.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds one that went. `false`: there is no room.
    pub fn push(&mut self, loan: Loan) -> bool {
        let capacity = self.capacity();
        if self.len >= capacity {
            return false;
        }
        let at = self.head + self.len;
        let at = if at >= capacity { at - capacity } else { at };
        // CAST: `u32` to `usize`, which is no smaller on any machine that runs Linux.
        if let Some(entry) = self.loans.get_mut(at as usize) {
            *entry = loan;
            self.len += 1;
        }
        true
    }

    /// Takes out the one that has been in the queue longest.
    pub fn pop(&mut self) -> Option<Loan> {
        if self.len == 0 {
            return None;
        }
        let loan = *self.loans.get(self.head as usize)?;
        self.head += 1;
        if self.head == self.capacity() {
            self.head = 0;
        }
        self.len -= 1;
        Some(loan)
    }
}
