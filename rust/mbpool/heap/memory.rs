// SPDX-License-Identifier: GPL-2.0

//! What a heap gives: bytes, or a value of a type.

use super::{
    later::{
        Large,
        Later, //
    },
    Heap, //
};
use crate::{
    dma,
    pool::Buffer, //
};
use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ops::{
        Deref,
        DerefMut, //
    },
    ptr::{
        self,
        NonNull, //
    },
    slice, //
};
use kernel::{
    alloc::Flags,
    dma::{
        DataDirection,
        DmaAddress, //
    },
    page::PAGE_SIZE,
    prelude::*,
    transmute::{
        AsBytes,
        FromBytes, //
    }, //
};

/// Bytes of DMA memory, as many as were asked for.
///
/// It derefs to them, and goes home when it is dropped, in any context but NMI. Pages that it has for
/// itself are given back later, in process context.
///
/// A device may write to the bytes as long as this exists. While it may, read and write them through
/// [`as_mut_ptr`](Self::as_mut_ptr), with volatile accesses, and not through references.
///
/// # Invariants
///
/// `cpu` and `dma` are where `memory` is, of which the first `len` bytes are initialised and nobody
/// else's.
pub struct DmaSlice<'heap> {
    later: &'heap Later,
    memory: ManuallyDrop<Memory<'heap>>,
    cpu: NonNull<u8>,
    dma: DmaAddress,
    len: usize,
}

/// Where the bytes are from.
enum Memory<'heap> {
    Chunk { class: usize, buffer: Buffer<'heap> },
    Pages(KBox<Large>),
}

// SAFETY: It owns its bytes as a `KBox<[u8]>` does. A `Buffer`, a `Large` and a `Later` may be used by any
// thread.
unsafe impl Send for DmaSlice<'_> {}
// SAFETY: As above; through a shared reference the bytes are only read.
unsafe impl Sync for DmaSlice<'_> {}

impl<'heap> DmaSlice<'heap> {
    /// The first `len` bytes of a chunk of a class, which holds that many.
    pub(super) fn of_chunk(
        later: &'heap Later,
        mut buffer: Buffer<'heap>,
        class: usize,
        len: usize,
    ) -> Self {
        later.counters.out(class, len);
        let bytes: &mut [u8] = &mut buffer;
        // INVARIANT: A buffer's bytes are initialised, and it stays in `memory`, where nobody uses it.
        Self {
            cpu: NonNull::from(bytes).cast(),
            dma: buffer.dma_address(),
            memory: ManuallyDrop::new(Memory::Chunk { class, buffer }),
            later,
            len,
        }
    }

    /// The first `len` bytes of pages that hold that many.
    pub(super) fn of_pages(later: &'heap Later, large: KBox<Large>, len: usize) -> Self {
        later.counters.large_out(len, large.given());
        let (cpu, dma) = large.page().addresses();
        // INVARIANT: Pages are allocated zeroed, and stay in `memory`.
        Self {
            later,
            memory: ManuallyDrop::new(Memory::Pages(large)),
            cpu,
            dma,
            len,
        }
    }

    /// The bytes' address for the device.
    #[inline]
    pub fn dma_address(&self) -> DmaAddress {
        self.dma
    }

    /// The bytes' address for the CPU, to access what the device may write to.
    #[inline]
    pub fn as_mut_ptr(&self) -> *mut u8 {
        self.cpu.as_ptr()
    }

    /// Orders accesses to the bytes against the device's: with [`DataDirection::FromDevice`] between
    /// what says that the device has written and reading, with [`DataDirection::ToDevice`] between
    /// writing and telling the device.
    #[inline]
    pub fn sync(&self, direction: DataDirection) {
        dma::barrier(direction);
    }
}

impl Deref for DmaSlice<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: By the type invariant. A device that writes meanwhile is not kept from it by the CPU's
        // rules; that is the driver's work, and the IOMMU's.
        unsafe { slice::from_raw_parts(self.cpu.as_ptr(), self.len) }
    }
}

impl DerefMut for DmaSlice<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: As for `deref`, and we are borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.cpu.as_ptr(), self.len) }
    }
}

impl Drop for DmaSlice<'_> {
    #[inline]
    fn drop(&mut self) {
        let counters = &self.later.counters;
        // SAFETY: We are dropped once, and nobody looks at `memory` after us.
        match unsafe { ManuallyDrop::take(&mut self.memory) } {
            Memory::Chunk { class, buffer } => {
                counters.home(class, self.len);
                drop(buffer);
            }
            Memory::Pages(large) => {
                counters.large_home(self.len, large.given());
                self.later.free(large);
            }
        }
    }
}

/// A value in DMA memory.
///
/// It derefs to the value. When it is dropped, so is the value, and then its memory goes home, in any
/// context but NMI that the value's own drop may run in. While a device may write to it, the same holds
/// as for a [`DmaSlice`].
///
/// # Invariants
///
/// `bytes` are as many as a `T` has, aligned as one is.
pub struct DmaBox<'heap, T: AsBytes + FromBytes> {
    bytes: DmaSlice<'heap>,
    _value: PhantomData<T>,
}

impl<'heap, T: AsBytes + FromBytes> DmaBox<'heap, T> {
    fn alloc(heap: &'heap Heap<'_>, gfp: Flags) -> Result<DmaSlice<'heap>> {
        const {
            assert!(size_of::<T>() != 0, "nothing is no value of a device's");
            assert!(align_of::<T>() <= PAGE_SIZE, "pages are aligned to pages");
        }
        heap.alloc(size_of::<T>(), gfp)
    }

    pub(super) fn new(heap: &'heap Heap<'_>, gfp: Flags) -> Result<Self> {
        // INVARIANT: A type's size is a multiple of its alignment, which thus divides it and is at most a
        // page, as just checked: the heap aligns to that.
        Ok(Self {
            bytes: Self::alloc(heap, gfp)?,
            _value: PhantomData,
        })
    }

    pub(super) fn init<E>(heap: &'heap Heap<'_>, init: impl Init<T, E>, gfp: Flags) -> Result<Self>
    where
        Error: From<E>,
    {
        let bytes = Self::alloc(heap, gfp)?;
        // SAFETY: The bytes are ours, and a `T` fits there, see `new`. If this fails, they go home and
        // no value is dropped.
        unsafe { pin_init::raw_try_init(bytes.as_mut_ptr().cast::<T>(), init)? };
        // INVARIANT: As in `new`.
        Ok(Self {
            bytes,
            _value: PhantomData,
        })
    }

    /// The value's address for the device.
    #[inline]
    pub fn dma_address(&self) -> DmaAddress {
        self.bytes.dma_address()
    }

    /// The value's address for the CPU, to access what the device may write to.
    #[inline]
    pub fn as_mut_ptr(&self) -> *mut T {
        self.bytes.as_mut_ptr().cast()
    }

    /// Orders accesses to the value against the device's, as [`DmaSlice::sync`].
    #[inline]
    pub fn sync(&self, direction: DataDirection) {
        self.bytes.sync(direction);
    }
}

impl<T: AsBytes + FromBytes> Deref for DmaBox<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: By the type invariants the memory is initialised, ours, and large and aligned enough;
        // and a `T` may have any bytes.
        unsafe { &*self.as_mut_ptr() }
    }
}

impl<T: AsBytes + FromBytes> DerefMut for DmaBox<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: As for `deref`, and we are borrowed mutably.
        unsafe { &mut *self.as_mut_ptr() }
    }
}

impl<T: AsBytes + FromBytes> Drop for DmaBox<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: As for `deref_mut`; nobody looks at the value after us.
        unsafe { ptr::drop_in_place(self.as_mut_ptr()) };
    }
}
