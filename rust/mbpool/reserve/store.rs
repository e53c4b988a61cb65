// SPDX-License-Identifier: GPL-2.0

//! Store: the kernel's own `mempool_t`, with chunks of a pool for elements. All of its FFI.
//!
//! A mempool keeps an array of pointers and never looks behind them, unless they come from one of its
//! own allocation functions. So an element is no pointer but a chunk's index, plus one: nothing is
//! written into DMA memory.

use crate::{
    gfp,
    pool::{
        Buffer,
        Pool, //
    }, //
};
use core::ptr::{
    self,
    NonNull, //
};
use kernel::{
    alloc::Flags,
    bindings,
    prelude::*, //
};

/// Chunks that were set aside.
///
/// # Invariants
///
/// The mempool was made by [`Store::new`], and is ours. Its elements are tokens of chunks that are used
/// and that nobody else owns. Its private data is the pool.
pub(super) struct Store(NonNull<bindings::mempool>);

// SAFETY: A mempool may be used and destroyed by any thread.
unsafe impl Send for Store {}
// SAFETY: A mempool has a lock of its own.
unsafe impl Sync for Store {}

/// The element for a chunk.
fn token(index: u32) -> *mut c_void {
    // CAST: `u32` to `usize`, which is no smaller on any machine that runs Linux. There is one
    // more: an index is less than `MAX_CHUNKS`.
    ptr::without_provenance_mut(index as usize + 1)
}

/// The chunk of an element; `None` for a null pointer.
fn index(token: *mut c_void) -> Option<u32> {
    // CAST: It was made of a `u32`.
    token.addr().checked_sub(1).map(|index| index as u32)
}

/// # Safety
///
/// Called by a mempool with its private data.
unsafe extern "C" fn alloc(flags: bindings::gfp_t, pool: *mut c_void) -> *mut c_void {
    // SAFETY: By the invariant of `Store` it is the pool, which is there as `Store::new` was promised.
    let pool = unsafe { &*pool.cast_const().cast::<Pool<'_>>() };
    match pool.alloc(gfp::from_raw(flags)) {
        Ok(buffer) => token(buffer.into_parts().1),
        Err(_) => ptr::null_mut(),
    }
}

/// # Safety
///
/// Called by a mempool with an element of its own that it gives up, and its private data.
unsafe extern "C" fn free(token: *mut c_void, pool: *mut c_void) {
    // SAFETY: As in `alloc`.
    let pool = unsafe { &*pool.cast_const().cast::<Pool<'_>>() };
    if let Some(index) = index(token) {
        // The mempool owned the chunk.
        drop(Buffer::new(pool.shared(), index));
    }
}

impl Store {
    /// Sets `min` chunks aside, at least 1. Process context; may sleep.
    ///
    /// # Safety
    ///
    /// The pool exists, and stays where it is, until the store is dropped or was used for the last time.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: the pool does not have so many, or there is no memory. None is set aside then.
    pub(super) unsafe fn new(pool: &Pool<'_>, min: c_int) -> Result<Self> {
        // SAFETY: The functions do what a mempool expects of them, by their safety requirements the
        // pool is all that they need, and the caller vouches for it.
        let mempool = unsafe {
            bindings::mempool_create_node_noprof(
                min,
                Some(alloc),
                Some(free),
                ptr::from_ref(pool).cast_mut().cast(),
                // As many as the caller likes may be too many: that is no fault to be reported.
                gfp::raw(GFP_KERNEL | __GFP_NOWARN),
                bindings::NUMA_NO_NODE,
            )
        };
        // INVARIANT: Just made so.
        NonNull::new(mempool).map(Self).ok_or(ENOMEM)
    }

    /// Takes a chunk of the pool or, if there is none, of the store, as a mempool does. Any context but
    /// NMI; never sleeps, whatever the flags say.
    pub(super) fn alloc(&self, gfp: Flags) -> Option<u32> {
        let flags = gfp::raw(gfp::without_sleep(gfp) & !__GFP_ZERO);
        // SAFETY: The mempool exists by the type invariant. It does not sleep with such flags.
        index(unsafe { bindings::mempool_alloc_noprof(self.0.as_ptr(), flags) })
    }

    /// Takes a chunk of the store. Does not call the pool.
    pub(super) fn take(&self) -> Option<u32> {
        // SAFETY: The mempool exists by the type invariant.
        index(unsafe { bindings::mempool_alloc_preallocated(self.0.as_ptr()) })
    }

    /// Puts a used chunk, which the caller owns, into the store. `false`: it is full, and the chunk is
    /// still the caller's. Does not call the pool.
    pub(super) fn put(&self, index: u32) -> bool {
        let mut token = token(index);
        // INVARIANT: The chunk is used, and its owner gives it to the mempool.
        // SAFETY: The mempool exists by the type invariant, and there is one element to be had.
        unsafe { bindings::mempool_free_bulk(self.0.as_ptr(), &raw mut token, 1) == 1 }
    }

    /// How many chunks are meant to be in the store.
    pub(super) fn min(&self) -> c_int {
        // SAFETY: The mempool exists by the type invariant, and nobody resizes it.
        unsafe { (*self.0.as_ptr()).min_nr }
    }

    /// How many chunks are in the store.
    pub(super) fn current(&self) -> c_int {
        // SAFETY: The mempool exists by the type invariant. The field is read as mempool reads it, without
        // its lock.
        unsafe { (&raw const (*self.0.as_ptr()).curr_nr).read_volatile() }
    }

    /// Whether a chunk is missing.
    ///
    /// Who has just taken one out sees it, unless it was put back since: see mempool_free().
    pub(super) fn is_short(&self) -> bool {
        self.current() < self.min()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: The mempool is ours. What is in it goes back to the pool.
        unsafe { bindings::mempool_destroy(self.0.as_ptr()) };
    }
}
