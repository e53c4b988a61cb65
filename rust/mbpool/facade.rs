// SPDX-License-Identifier: GPL-2.0

//! All that [`core`](crate::core) uses of the kernel. The host crate `rust/host` has a file of the
//! same name and content in terms of `std`; the two are kept alike.

pub(crate) use kernel::{
    alloc::AllocError,
    fmt, //
};

/// A word that several CPUs change.
///
/// Not `kernel::sync::atomic`, whose operations are calls of out-of-line helpers, each dearer than all
/// of the rest of what is done with a word. Only this crate touches the words, in terms that mean the
/// same in both memory models: relaxed, acquire, release, and a compare and exchange that is both.
pub(crate) use core::sync::atomic::{
    AtomicU32,
    Ordering, //
};

use kernel::{
    alloc::KVVec,
    prelude::*, //
};

/// An array whose length is fixed when it is made.
pub(crate) type Array<T> = KVVec<T>;

/// Makes an array of `len` elements, each from its index. May sleep.
pub(crate) fn array_with<T>(
    len: u32,
    mut element: impl FnMut(u32) -> T,
) -> Result<Array<T>, AllocError> {
    // CAST: `u32` to `usize`, which is no smaller on any machine that runs Linux.
    let mut array = KVVec::with_capacity(len as usize, GFP_KERNEL)?;
    for at in 0..len {
        array.push(element(at), GFP_KERNEL)?;
    }
    Ok(array)
}
