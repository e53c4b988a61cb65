// SPDX-License-Identifier: GPL-2.0

//! Size classes: which sizes of chunks a heap has, and which one a size belongs to.
//!
//! Up to 64 bytes there is a class every 16; from there on four to each doubling, 80, 96, 112, 128,
//! 160, ..., up to the page, from which on there are no classes. A size goes to the smallest class that
//! holds it, so it never takes 16 bytes more than asked, or never a quarter more.
//!
//! A class is aligned to the largest power of two that divides it. So a size is aligned to the largest
//! power of two that divides *it*, at least, as it is by `kmalloc()`: one that is a power of two to
//! itself, and any Rust type to what the compiler wants.

use super::geometry::MAX_PAGE_SIZE;

/// The largest size of all.
pub const MAX_SIZE: usize = MAX_PAGE_SIZE;

/// Distance of the lowest classes.
const STEP: usize = 16;

/// The largest size that lies on the lowest classes' line.
const LINE: usize = 64;

/// Classes to each doubling beyond that, and their number on the line.
const PARTS: usize = 4;

/// Where a size belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the class of this index.
    Class(usize),
    /// In pages of its own.
    Pages,
}

/// Why a size belongs nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// There is nothing of no bytes.
    Zero,
    /// It is larger than [`MAX_SIZE`].
    TooLarge,
}

/// The classes of one machine.
///
/// # Invariants
///
/// `below` is one less than a power of two.
#[derive(Clone, Copy, Debug)]
pub struct Classes {
    below: usize,
    count: usize,
}

impl Classes {
    /// The classes below a machine's page of `page` bytes, a power of two, for buffers of which no two
    /// share `align` bytes that are aligned so.
    ///
    /// If `align` is more than 16 bytes, classes that are not multiples of it stay without use.
    pub const fn new(align: usize, page: usize) -> Self {
        // INVARIANT: What is no power of two is made one.
        Self {
            below: align.next_power_of_two() - 1,
            count: Self::count(page),
        }
    }

    /// How many classes there are below a page of `page` bytes, at least 128.
    pub const fn count(page: usize) -> usize {
        // `PARTS` to each doubling from the line to the page, of which the last is the page itself.
        PARTS + (page / LINE).trailing_zeros() as usize * PARTS - 1
    }

    /// Where a size belongs.
    #[inline]
    pub const fn place(&self, size: usize) -> Result<Place, Misfit> {
        if size == 0 {
            return Err(Misfit::Zero);
        }
        if size > MAX_SIZE {
            return Err(Misfit::TooLarge);
        }
        // The last byte, of a multiple of the alignment, whose class is then a multiple of it, too.
        let last = (size - 1) | self.below;
        let index = if last < LINE {
            last / STEP
        } else {
            // Which doubling, and which part of it: the next two bits under the highest.
            let bits = last.ilog2();
            let part = last >> (bits - 2) & (PARTS - 1);
            PARTS + (bits - LINE.ilog2()) as usize * PARTS + part
        };
        if index < self.count {
            Ok(Place::Class(index))
        } else {
            Ok(Place::Pages)
        }
    }

    /// Bytes of a chunk of the class `index`, one of those below the page.
    pub const fn size(index: usize) -> usize {
        match index.checked_sub(PARTS) {
            None => (index + 1) * STEP,
            Some(above) => (PARTS + 1 + above % PARTS) * (LINE / PARTS) << (above / PARTS),
        }
    }

    /// What the address of a chunk of the class is a multiple of: the largest power of two that
    /// divides its size.
    pub const fn align(index: usize) -> usize {
        1 << Self::size(index).trailing_zeros()
    }
}
