// SPDX-License-Identifier: GPL-2.0

//! One array of coherent memory, and a list of its buffers that are free.

use core::ptr::NonNull;
use kernel::{
    device::{
        Bound,
        Device, //
    },
    dma::{
        Coherent,
        DataDirection,
        DmaAddress, //
    },
    new_spinlock,
    prelude::*,
    sync::{
        barrier::{
            dma_mb,
            Full,
            Read,
            Write, //
        },
        SpinLock, //
    }, //
};

/// `places` buffers of `size` bytes.
///
/// The lock is for the transmitter's. On the receiver's way from the card and back there, the list is not used.
pub(crate) struct Array {
    memory: Coherent<[u8]>,
    size: usize,
    places: u32,
    free: Pin<KBox<SpinLock<KVec<u32>>>>,
}

impl Array {
    pub(crate) fn new(dev: &Device<Bound>, size: usize, places: u32) -> Result<Self> {
        // CAST: `u32` to `usize`, which is no smaller on any machine that runs Linux.
        let count = places as usize;
        let bytes = size.checked_mul(count).ok_or(EINVAL)?;
        let free = KVec::with_capacity(count, GFP_KERNEL)?;
        let array = Self {
            memory: Coherent::zeroed_slice(dev, bytes, GFP_KERNEL)?,
            size,
            places,
            free: KBox::pin_init(new_spinlock!(free), GFP_KERNEL)?,
        };
        array.reset();
        Ok(array)
    }

    pub(crate) fn pop(&self) -> Option<u32> {
        self.free.lock().pop()
    }

    pub(crate) fn push(&self, place: u32) {
        // There is room for all.
        let _ = self.free.lock().push_within_capacity(place);
    }

    /// All are free.
    pub(crate) fn reset(&self) {
        let mut free = self.free.lock();
        free.clear();
        for place in (0..self.places).rev() {
            let _ = free.push_within_capacity(place);
        }
    }

    /// Where a buffer is, for the CPU and for the device.
    #[inline]
    pub(crate) fn locate(&self, place: u32) -> (NonNull<u8>, DmaAddress) {
        // CAST: As in `new`.
        let offset = (place as usize).wrapping_mul(self.size);
        let data = self.memory.as_mut_ptr().cast::<u8>();
        // SAFETY: The place is one of the array, which is not at 0.
        let data = unsafe { NonNull::new_unchecked(data.wrapping_add(offset)) };
        // CAST: An offset in memory that the device reaches.
        let dma = self.memory.dma_address().wrapping_add(offset as DmaAddress);
        (data, dma)
    }
}

/// What orders accesses to coherent memory against the device's.
#[inline]
pub(crate) fn barrier(direction: DataDirection) {
    match direction {
        DataDirection::FromDevice => dma_mb(Read),
        DataDirection::ToDevice => dma_mb(Write),
        DataDirection::Bidirectional => dma_mb(Full),
        DataDirection::None => {}
    }
}
