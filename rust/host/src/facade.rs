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

pub use std::sync::atomic::{AtomicU32, Ordering};
