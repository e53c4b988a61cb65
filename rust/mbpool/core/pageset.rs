// SPDX-License-Identifier: GPL-2.0

//! A set of page numbers of which the lowest is found in constant time.
//!
//! One bit a page, and one bit for each word of those, in four words more: there are at most
//! [`MAX_PAGES`](super::geometry::MAX_PAGES) pages.

use super::geometry::MAX_PAGES;
use crate::facade::{
    array_with,
    AllocError,
    Array, //
};

const BITS: u32 = u64::BITS;
const SUMMARY: usize = MAX_PAGES.div_ceil(BITS * BITS) as usize;

/// A set of page numbers.
///
/// # Invariants
///
/// A bit of `summary` is set if, and only if, the word of its number is not zero.
pub struct PageSet {
    words: Array<u64>,
    summary: [u64; SUMMARY],
}

/// Number of the word and the bit in it.
#[inline]
const fn place(number: u32) -> (usize, u64) {
    // CAST: `u32` to `usize`, which is no smaller on any machine that runs Linux.
    ((number / BITS) as usize, 1 << (number % BITS))
}

impl PageSet {
    /// An empty set for the numbers below `pages`, at most `MAX_PAGES`.
    pub fn new(pages: u32) -> Result<Self, AllocError> {
        Ok(Self {
            words: array_with(pages.div_ceil(BITS), |_| 0)?,
            summary: [0; SUMMARY],
        })
    }

    /// Puts `number` in. One beyond what the set is for is not.
    #[inline]
    pub fn insert(&mut self, number: u32) {
        let (at, bit) = place(number);
        let (above, mark) = place(number / BITS);
        if let (Some(word), Some(summary)) = (self.words.get_mut(at), self.summary.get_mut(above)) {
            // INVARIANT: The word is not zero, and marked.
            *word |= bit;
            *summary |= mark;
        }
    }

    /// Takes `number` out.
    #[inline]
    pub fn remove(&mut self, number: u32) {
        let (at, bit) = place(number);
        let (above, mark) = place(number / BITS);
        if let (Some(word), Some(summary)) = (self.words.get_mut(at), self.summary.get_mut(above)) {
            *word &= !bit;
            // INVARIANT: A word that became zero loses its mark.
            if *word == 0 {
                *summary &= !mark;
            }
        }
    }

    /// Takes out the lowest number.
    #[inline]
    pub fn take_first(&mut self) -> Option<u32> {
        let mut summary = (0..).zip(self.summary.iter_mut());
        let (above, marks) = summary.find(|(_, marks)| **marks != 0)?;
        let at = above * BITS + marks.trailing_zeros();
        let word = self.words.get_mut(at as usize)?;
        let bit = word.trailing_zeros();
        *word &= word.wrapping_sub(1);
        // INVARIANT: A word that became zero loses its mark.
        if *word == 0 {
            *marks &= marks.wrapping_sub(1);
        }
        Some(at * BITS + bit)
    }

    /// The lowest number.
    #[inline]
    pub fn first(&self) -> Option<u32> {
        let mut summary = (0..).zip(self.summary.iter());
        let (above, marks) = summary.find(|(_, marks)| **marks != 0)?;
        let at = above * BITS + marks.trailing_zeros();
        let word = self.words.get(at as usize)?;
        Some(at * BITS + word.trailing_zeros())
    }
}
