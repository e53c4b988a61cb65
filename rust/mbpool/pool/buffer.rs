// SPDX-License-Identifier: GPL-2.0

//! Buffers: chunks that the driver owns, and a look at those that the card owns.

use super::{
    super::core::{
        handle::Handle,
        slots::Owner, //
    },
    shared::Shared, //
};
use core::{
    mem,
    ops::{
        Deref,
        DerefMut, //
    },
    ptr::NonNull,
    slice, //
};
use kernel::{
    dma::{
        DataDirection,
        DmaAddress, //
    },
    prelude::*,
    sync::rcu, //
};

/// What goes into a card's free-buffer ring: where the chunk is, and the name to give it back by.
#[derive(Clone, Copy, Debug)]
pub struct Posted {
    /// The name, with the caller's bits zero.
    pub handle: Handle,
    /// The chunk's address for the device.
    pub dma: DmaAddress,
}

/// A chunk that the driver owns.
///
/// It derefs to the chunk's bytes, and goes home when it is dropped, in any context.
///
/// # Invariants
///
/// The chunk `index` is used, or popped and on its way to be, and this is its only owner.
pub struct Buffer<'pool> {
    shared: &'pool Shared,
    index: u32,
}

impl<'pool> Buffer<'pool> {
    /// The caller has popped or taken the chunk, and owns it.
    #[inline]
    pub(crate) fn new(shared: &'pool Shared, index: u32) -> Self {
        // INVARIANT: As the caller promises.
        Self { shared, index }
    }

    #[inline]
    fn locate(&self) -> (NonNull<u8>, DmaAddress) {
        // SAFETY: A chunk that somebody owns is not absent.
        unsafe { self.shared.locate(self.index) }
    }

    /// The chunk's address for the device.
    #[inline]
    pub fn dma_address(&self) -> DmaAddress {
        self.locate().1
    }

    /// Gives the chunk to the card: used -> on card. Each time under another handle.
    #[inline]
    pub fn post(self) -> Posted {
        let dma = self.dma_address();
        let (shared, index) = self.into_parts();
        Posted {
            // SAFETY: We owned the chunk.
            handle: unsafe { shared.slot(index) }.post(shared.slots.layout(), index, Owner::POOL),
            dma,
        }
    }

    /// Orders accesses to `len` bytes from `offset` against the device's.
    ///
    /// Call it with [`DataDirection::FromDevice`] between what says that the device has written (a
    /// descriptor, an index) and reading the bytes, and with [`DataDirection::ToDevice`] between
    /// writing them and telling the device. On coherent memory that is the barrier and nothing more; on a
    /// streaming pool it is what makes the bytes arrive, and only the range that is given.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the range does not lie in the buffer.
    #[inline]
    pub fn sync(&self, offset: usize, len: usize, direction: DataDirection) -> Result {
        // SAFETY: We own the chunk; the device is bound while there is a pool, which we borrow.
        unsafe { self.shared.sync(self.index, offset, len, direction) }
    }

    /// What the chunk is of.
    #[inline]
    pub(super) fn shared(&self) -> &'pool Shared {
        self.shared
    }

    /// The parts, without going home.
    #[inline]
    pub(crate) fn into_parts(self) -> (&'pool Shared, u32) {
        let parts = (self.shared, self.index);
        mem::forget(self);
        parts
    }
}

impl Deref for Buffer<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let (data, _) = self.locate();
        // SAFETY: The chunk's `size` bytes are in its page, which was zeroed when it was allocated,
        // and by the type invariant nobody else has them. A device that writes to a chunk which it
        // does not hold is not kept from it by the CPU's rules; that is the IOMMU's work.
        unsafe { slice::from_raw_parts(data.as_ptr(), self.shared.geometry.size()) }
    }
}

impl DerefMut for Buffer<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let (data, _) = self.locate();
        // SAFETY: As for `deref`, and we are borrowed mutably.
        unsafe { slice::from_raw_parts_mut(data.as_ptr(), self.shared.geometry.size()) }
    }
}

impl Drop for Buffer<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariant we own the chunk, and we are going.
        unsafe { self.shared.release(self.index) };
    }
}

/// A look at a chunk that the card holds.
///
/// The card may write while one looks, and another CPU may take the chunk, so the bytes are copied out
/// and never referred to. `Hold` is what keeps the chunk's page from being given back: for
/// [`Pool::peek`](crate::Pool::peek) an RCU read-side section, or a borrow of one, so do not sleep; for
/// [`Lane::peek`](crate::Lane::peek) the borrow of the lane, without which the chunk cannot leave the
/// card.
///
/// # Invariants
///
/// The chunk `index` was seen on card while there was `_hold`, and its page stays until that goes.
pub struct Peek<'pool, Hold = rcu::Guard> {
    shared: &'pool Shared,
    index: u32,
    _hold: Hold,
}

impl<'pool, Hold> Peek<'pool, Hold> {
    /// The caller has seen the chunk on the card, while it had `hold`, which keeps its page.
    #[inline]
    pub(super) fn new(shared: &'pool Shared, index: u32, hold: Hold) -> Self {
        // INVARIANT: As the caller promises.
        Self {
            shared,
            index,
            _hold: hold,
        }
    }

    #[inline]
    fn locate(&self) -> (NonNull<u8>, DmaAddress) {
        // SAFETY: By the type invariant the chunk was on card when we looked, and its page stays.
        unsafe { self.shared.locate(self.index) }
    }

    /// Bytes of the chunk.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "a chunk is never empty")]
    pub fn len(&self) -> usize {
        self.shared.geometry.size()
    }

    /// The chunk's address for the device.
    #[inline]
    pub fn dma_address(&self) -> DmaAddress {
        self.locate().1
    }

    /// Copies what lies at `offset` now into `bytes`.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the range does not lie in the chunk.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> Result {
        self.shared.check_range(offset, bytes.len())?;
        let (data, _) = self.locate();
        // A call into C, and not a copy that the compiler knows of: the device may write meanwhile.
        // SAFETY: The range lies in the chunk, as just checked, and `bytes` is ours.
        unsafe {
            kernel::bindings::memcpy(
                bytes.as_mut_ptr().cast(),
                data.as_ptr().add(offset).cast(),
                bytes.len(),
            )
        };
        Ok(())
    }

    /// Orders accesses against the device's, as [`Buffer::sync`].
    #[inline]
    pub fn sync(&self, offset: usize, len: usize, direction: DataDirection) -> Result {
        // SAFETY: As in `locate`; the device is bound while there is a pool, which we borrow.
        unsafe { self.shared.sync(self.index, offset, len, direction) }
    }
}
