// SPDX-License-Identifier: GPL-2.0

//! Buffers in the hands of a C-style owner, who gives them back by a plain function.

use super::{
    super::core::handle::Handle,
    buffer::Buffer,
    shared::Shared, //
};
use core::ptr::NonNull;
use kernel::{
    dma::DmaAddress,
    prelude::*, //
};

/// A buffer that was made over to an owner who cannot hold a [`Buffer`], such as an `sk_buff`.
///
/// Whoever ends up with it calls `free(pool, token)`, once, in any context but NMI. A second call with
/// the same token is refused, counted as a handle in the wrong state, and does no harm as long as the
/// pool exists. The pool knows that the buffer is out: if it goes first, it leaks the memory.
pub struct Ext {
    /// The buffer's bytes, as many as the pool's chunks have.
    pub data: NonNull<u8>,
    /// The buffer's address for the device.
    pub dma: DmaAddress,
    /// First argument of `free`.
    pub pool: *mut c_void,
    /// Second argument of `free`.
    pub token: usize,
    /// Gives the buffer back.
    pub free: unsafe extern "C" fn(pool: *mut c_void, token: usize),
}

impl Buffer<'_> {
    /// Makes the buffer over to an owner who gives it back by a plain function.
    pub fn into_ext(self) -> Ext {
        let (shared, index) = self.into_parts();
        // SAFETY: We owned the chunk, so it is not absent.
        let (data, dma) = unsafe { shared.locate(index) };
        Ext {
            data,
            dma,
            pool: core::ptr::from_ref(shared).cast_mut().cast(),
            // CAST: `u32` to `usize`, which is no smaller on any machine that runs Linux.
            token: shared.slots.lend(index).into_raw() as usize,
            free: ext_free,
        }
    }
}

/// Gives back what [`Buffer::into_ext`] made over.
///
/// # Safety
///
/// `pool` and `token` come from one [`Ext`], and either this was not called with them before, or the
/// pool still exists.
unsafe extern "C" fn ext_free(pool: *mut c_void, token: usize) {
    // SAFETY: While the buffer is out, the shared part of its pool stays, even beyond the pool.
    let shared = unsafe { &*pool.cast_const().cast::<Shared>() };
    // A token that is no `u32` names no chunk.
    let handle = Handle::from_raw(u32::try_from(token).unwrap_or(u32::MAX));

    // Both steps under the lock: when the pool is dropped it sees the buffer either out or home, and in
    // the latter case we are done with `shared`.
    let mut guarded = shared.guarded.lock();
    match shared.slots.redeem(handle) {
        Ok(index) => {
            // While the lock is held, the pool is there, and its work items can be started.
            let due = guarded.push(index);
            shared.background.start(due);
        }
        Err(error) => {
            drop(guarded);
            shared.refused(handle, error);
        }
    }
}
