// SPDX-License-Identifier: GPL-2.0

//! A plain mempool over a pool, as a driver would make one without [`mbpool::Reserve`], to compare with.

use core::ptr::{
    self,
    NonNull, //
};
use kernel::{
    bindings,
    prelude::*, //
};
use mbpool::{
    Buffer,
    Pool, //
};

/// A mempool of boxed buffers.
pub(crate) struct Plain<'pool> {
    mempool: NonNull<bindings::mempool>,
    _pool: &'pool Pool<'pool>,
}

// SAFETY: A mempool has a lock of its own, and may be used from any thread.
unsafe impl Sync for Plain<'_> {}

/// # Safety
///
/// Called by a mempool of a [`Plain`], with its private data.
unsafe extern "C" fn alloc(_: bindings::gfp_t, pool: *mut c_void) -> *mut c_void {
    // SAFETY: It is the pool, which the `Plain` borrows.
    let pool = unsafe { &*pool.cast_const().cast::<Pool<'_>>() };
    match pool
        .alloc(GFP_NOWAIT)
        .and_then(|buffer| Ok(KBox::new(buffer, GFP_NOWAIT)?))
    {
        Ok(buffer) => KBox::into_raw(buffer).cast(),
        Err(_) => ptr::null_mut(),
    }
}

/// # Safety
///
/// Called by a mempool of a [`Plain`], with an element of its own.
unsafe extern "C" fn free(element: *mut c_void, _: *mut c_void) {
    // SAFETY: `alloc` made it of a box.
    drop(unsafe { KBox::from_raw(element.cast::<Buffer<'_>>()) });
}

impl<'pool> Plain<'pool> {
    /// Sets `min` buffers aside.
    pub(crate) fn new(pool: &'pool Pool<'_>, min: c_int) -> Result<Self> {
        // SAFETY: The functions do what a mempool expects of them.
        let mempool = unsafe {
            bindings::mempool_create_node_noprof(
                min,
                Some(alloc),
                Some(free),
                ptr::from_ref(pool).cast_mut().cast(),
                bindings::GFP_KERNEL,
                bindings::NUMA_NO_NODE,
            )
        };
        Ok(Self {
            mempool: NonNull::new(mempool).ok_or(ENOMEM)?,
            _pool: pool,
        })
    }

    /// Takes a buffer, and waits for it.
    pub(crate) fn alloc(&self) -> Taken<'_> {
        // SAFETY: The mempool exists. With these flags it does not fail.
        let element =
            unsafe { bindings::mempool_alloc_noprof(self.mempool.as_ptr(), bindings::GFP_KERNEL) };
        Taken {
            plain: self,
            element,
        }
    }
}

impl Drop for Plain<'_> {
    fn drop(&mut self) {
        // SAFETY: The mempool is ours, and nothing of it is out.
        unsafe { bindings::mempool_destroy(self.mempool.as_ptr()) };
    }
}

/// A buffer that goes back to its mempool when it is dropped.
pub(crate) struct Taken<'a> {
    plain: &'a Plain<'a>,
    element: *mut c_void,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        // SAFETY: The element is of this mempool.
        unsafe { bindings::mempool_free(self.element, self.plain.mempool.as_ptr()) };
    }
}
