// SPDX-License-Identifier: GPL-2.0

//! The page source: the one place that calls the DMA API.
//!
//! It upholds that a page, once a chunk of it can be seen, stays where it is until the pool says that
//! nobody has one, and that nothing is ever given back to the DMA API by accident: a page that
//! nobody freed by name is leaked.

mod reach;

use super::{
    config::Backing,
    core::geometry::{
        Geometry,
        Spacing, //
    },
    facade::{
        array_with,
        Array, //
    },
    gfp::{
        self,
        Kind, //
    }, //
};
use core::{
    cell::UnsafeCell,
    mem::{
        self,
        ManuallyDrop, //
    },
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    alloc::Flags,
    bindings,
    device::{
        Bound,
        Device, //
    },
    dma::{
        Coherent,
        DataDirection,
        DmaAddress, //
    },
    page::PAGE_SHIFT,
    pr_warn_once,
    prelude::*,
    sync::{
        aref::ARef,
        barrier::{
            dma_mb,
            Full,
            Read,
            Write, //
        }, //
    }, //
};

fn as_raw(dev: &Device) -> *mut bindings::device {
    ptr::from_ref(dev).cast_mut().cast()
}

/// The device that does the DMA for `dev`: itself, or the nearest ancestor with a DMA mask, such as
/// the host controller of a USB interface or the PCI device behind an auxiliary one.
pub(crate) fn master_of(dev: &Device<Bound>) -> Option<&Device<Bound>> {
    let mut raw = as_raw(dev);
    while !raw.is_null() {
        // SAFETY: `raw` is `dev` or an ancestor, on which a child holds a reference. Masks and parents
        // are set by who makes and probes the devices, before anybody asks for a pool.
        let (mask, parent) = unsafe { ((*raw).coherent_dma_mask, (*raw).parent) };
        if mask != 0 {
            // SAFETY: The device is valid, as above. It is bound while its descendant is: a bus
            // removes a device's children when it unbinds the device.
            return Some(unsafe { Device::from_raw(raw) });
        }
        raw = parent;
    }
    None
}

/// A page of DMA memory.
pub(crate) struct Page {
    cpu: NonNull<u8>,
    dma: DmaAddress,
    memory: Memory,
}

/// What a page consists of, and how it goes back.
enum Memory {
    Coherent(#[expect(dead_code, reason = "held to be dropped")] Coherent<[u8]>),
    Streaming(Mapping),
}

/// Ordinary pages that are mapped for a device.
///
/// # Invariants
///
/// We hold a reference to the `1 << order` pages at `page`, and they are mapped for `dev` at `dma` in
/// `direction`.
struct Mapping {
    dev: ARef<Device>,
    page: NonNull<bindings::page>,
    order: c_uint,
    dma: DmaAddress,
    direction: DataDirection,
}

/// The bytes of `1 << order` pages of the machine.
fn bytes_of(order: c_uint) -> usize {
    // CAST: `u32` to `usize`, which is no smaller on any machine that runs Linux.
    1 << (order as usize + PAGE_SHIFT)
}

impl Mapping {
    fn new(
        dev: &Device<Bound>,
        size: usize,
        direction: DataDirection,
        flags: Flags,
    ) -> Result<Self> {
        let order = (size.next_power_of_two() >> PAGE_SHIFT).trailing_zeros();
        // Zeroed, as the other backing's is: nobody is to see what was there before. Not from high
        // memory: the pool wants an address for the CPU.
        // Compound, so that several machine pages have one reference count.
        let compound = if order > 0 {
            1 << bindings::___GFP_COMP_BIT
        } else {
            0
        };
        let attrs = if flags.contains(__GFP_NOWARN) {
            // CAST: A bit of a C `unsigned long`.
            bindings::DMA_ATTR_NO_WARN as c_ulong
        } else {
            0
        };
        let flags = gfp::raw((flags | __GFP_ZERO) & !__GFP_HIGHMEM) | compound;
        let page = reach::alloc_pages(dev, order, flags).ok_or(ENOMEM)?;
        // SAFETY: The device is bound, and the pages are ours.
        let dma = unsafe {
            bindings::dma_map_page_attrs(
                as_raw(dev),
                page.as_ptr(),
                0,
                bytes_of(order),
                direction.into(),
                attrs,
            )
        };
        // SAFETY: The device is valid.
        if unsafe { helpers::mbpool_dma_mapping_error(as_raw(dev).cast(), dma) } {
            // SAFETY: The pages are ours.
            unsafe { bindings::__free_pages(page.as_ptr(), order) };
            return Err(ENOMEM);
        }
        // INVARIANT: Just allocated and mapped.
        Ok(Self {
            dev: dev.into(),
            page,
            order,
            dma,
            direction,
        })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the pages are mapped so, and we have a reference, which goes:
        // if somebody up a stack has another one, the memory stays until that goes, too.
        unsafe {
            bindings::dma_unmap_page_attrs(
                as_raw(&self.dev),
                self.dma,
                bytes_of(self.order),
                self.direction.into(),
                0,
            );
            bindings::__free_pages(self.page.as_ptr(), self.order);
        }
    }
}

// SAFETY: Pages and mappings belong to no thread.
unsafe impl Send for Page {}

impl Page {
    /// Allocates a page for a device that does DMA. Sleeps if, and only if, `gfp` allows it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: there is no memory, or it cannot be mapped, or the DMA layer gave memory that is not
    /// aligned as it promises to.
    pub(crate) fn new(
        dev: &Device<Bound>,
        geometry: &Geometry,
        backing: Backing,
        gfp: Flags,
    ) -> Result<Self> {
        let page = match backing {
            Backing::Coherent => Self::coherent(dev, geometry.page_size(), gfp)?,
            Backing::Streaming(direction) => {
                let mapping = Mapping::new(dev, geometry.page_size(), direction, gfp)?;
                // SAFETY: The page is ours and not in high memory.
                let cpu = unsafe { helpers::mbpool_page_address(mapping.page.as_ptr().cast()) };
                Self {
                    cpu: NonNull::new(cpu.cast()).ok_or(ENOMEM)?,
                    dma: mapping.dma,
                    memory: Memory::Streaming(mapping),
                }
            }
        };

        // That no chunk crosses a boundary rests on the page's address, which is the work of whatever
        // IOMMU driver or reserved memory the device has. Look, rather than trust.
        let below = DmaAddress::try_from(geometry.base_align() - 1)?;
        if page.dma & below != 0 {
            pr_warn_once!("the DMA layer gave a page that is not aligned to its size\n");
            if Kind::of(gfp) != Kind::Sleep && matches!(page.memory, Memory::Coherent(_)) {
                // Coherent memory cannot be freed where one may not sleep.
                mem::forget(page);
            }
            return Err(ENOMEM);
        }
        Ok(page)
    }

    /// Allocates `size` bytes of coherent memory, zeroed, that are not cut into chunks. The DMA address
    /// is aligned as `dma_alloc_coherent` does it: to the smallest power of two that is not below
    /// `size`, and to a machine page at least. Sleeps if, and only if, `gfp` allows it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn coherent(dev: &Device<Bound>, size: usize, gfp: Flags) -> Result<Self> {
        let memory = Coherent::<u8>::zeroed_slice(dev, size, gfp)?;
        Ok(Self {
            cpu: NonNull::new(memory.as_mut_ptr().cast()).ok_or(ENOMEM)?,
            dma: memory.dma_address(),
            memory: Memory::Coherent(memory),
        })
    }

    /// Where the page is, for the CPU and for the device.
    pub(crate) fn addresses(&self) -> (NonNull<u8>, DmaAddress) {
        (self.cpu, self.dma)
    }
}

/// Orders accesses to coherent memory against the device's.
#[inline]
pub(crate) fn barrier(direction: DataDirection) {
    match direction {
        DataDirection::FromDevice => dma_mb(Read),
        DataDirection::ToDevice => dma_mb(Write),
        DataDirection::Bidirectional => dma_mb(Full),
        DataDirection::None => {}
    }
}

/// What no two buffers may share if the CPU and the device write to them at the same time, in bytes: a
/// power of two, 1 where the caches see the device's writes.
pub(crate) fn cache_alignment() -> usize {
    // SAFETY: May be called always.
    let alignment = unsafe { helpers::mbpool_dma_get_cache_alignment() };
    usize::try_from(alignment).unwrap_or(1)
}

/// Inline functions of C. A `struct page` is opaque to Rust.
mod helpers {
    use kernel::prelude::*;

    extern "C" {
        pub(super) fn mbpool_dma_mapping_error(
            dev: *mut c_void,
            addr: kernel::dma::DmaAddress,
        ) -> bool;
        pub(super) fn mbpool_page_address(page: *const c_void) -> *mut c_void;
        pub(super) fn mbpool_get_page(page: *mut c_void);
        pub(super) fn mbpool_put_page(page: *mut c_void);
        pub(super) fn mbpool_page_ref_count(page: *const c_void) -> c_int;
        pub(super) fn mbpool_dma_get_cache_alignment() -> c_int;
    }
}

/// Gives up a reference to a page that [`Pages::share`] gave. Any context but NMI.
///
/// # Safety
///
/// The reference is the caller's, who does not use it again.
pub(crate) unsafe fn put_page(page: NonNull<bindings::page>) {
    // SAFETY: As the caller promises.
    unsafe { helpers::mbpool_put_page(page.as_ptr().cast()) };
}

/// The pages of one pool, by number.
///
/// Where a page is stands in arrays of their own, since that is all that the hot paths want: the
/// address for the device where a chunk is posted, that for the CPU where it is looked at. There is one for
/// each run of chunks that are equally far apart ([`Spacing`]), with the run's origin added.
///
/// # Invariants
///
/// - What belongs to a page, in all arrays, changes only while all chunks of the page are absent and
///   nobody looks at one under RCU, by whoever has the page reserved in the depot, or, once the pool
///   itself is gone, while none is with the driver or on the card.
/// - All are filled before any chunk of the page is seen to be other than absent.
pub(crate) struct Pages {
    spacing: Spacing,
    cpu: Array<UnsafeCell<*mut u8>>,
    dma: Array<UnsafeCell<DmaAddress>>,
    memory: Array<UnsafeCell<Option<ManuallyDrop<Memory>>>>,
}

// SAFETY: By the type invariant nothing is written while others may read it; what is reached through
// a shared reference to a `Memory` may be used by several threads at once.
unsafe impl Sync for Pages {}
// SAFETY: Pages and mappings belong to no thread.
unsafe impl Send for Pages {}

impl Pages {
    /// Room for the pages that the geometry allows, none of them there.
    pub(crate) fn new(geometry: &Geometry) -> Result<Self> {
        let (pages, runs) = (geometry.max_pages(), geometry.runs());
        // INVARIANT: All pages are absent.
        Ok(Self {
            spacing: geometry.spacing(),
            cpu: array_with(runs, |_| UnsafeCell::new(ptr::null_mut()))?,
            dma: array_with(runs, |_| UnsafeCell::new(0))?,
            memory: array_with(pages, |_| UnsafeCell::new(None))?,
        })
    }

    /// Puts a page in its place.
    ///
    /// # Safety
    ///
    /// The caller has page `number` reserved in the depot, and all its chunks are absent.
    pub(crate) unsafe fn fill(&self, number: u32, page: Page, geometry: &Geometry) {
        // CAST: `u32` to `usize` here and below, which is no smaller on any machine that runs Linux.
        for run in geometry.runs_of(number) {
            let origin = geometry.origin(run);
            if let (Some(cpu), Some(dma)) = (self.cpu.get(run as usize), self.dma.get(run as usize)) {
                // INVARIANT: All is filled while all chunks are absent, by who has the page reserved.
                // SAFETY: The caller is the only one to use what belongs to the page, by the safety
                // requirement.
                unsafe {
                    // CAST: Where an address has 32 bits, this and what is added later wrap alike.
                    *cpu.get() = page.cpu.as_ptr().wrapping_add(origin as usize);
                    *dma.get() = page.dma.wrapping_add(origin as DmaAddress);
                }
            }
        }
        if let Some(memory) = self.memory.get(number as usize) {
            // SAFETY: As above.
            unsafe { *memory.get() = Some(ManuallyDrop::new(page.memory)) };
        }
    }

    /// What a page that is there consists of.
    ///
    /// # Safety
    ///
    /// The caller has seen a chunk of this page that is not absent, which was ordered before this
    /// call, and the page stays while the reference is used: the chunk has an owner, or we are in the
    /// RCU read-side section in which it was seen.
    unsafe fn memory(&self, number: u32) -> &Memory {
        // SAFETY: A chunk of the page is or was not absent, so `number` is in range, and by the type
        // invariant the entry is filled and not being written.
        unsafe {
            (*self.memory.get_unchecked(number as usize).get())
                .as_ref()
                .unwrap_unchecked()
        }
    }

    /// Where a chunk is for the CPU.
    ///
    /// # Safety
    ///
    /// As for [`Pages::memory`], of the page of the chunk `index`.
    #[inline]
    pub(crate) unsafe fn cpu(&self, index: u32) -> NonNull<u8> {
        let run = self.spacing.run_of(index);
        // SAFETY: As in `memory`; there is an entry for each run. What was subtracted when the page was filled
        // comes back, so the sum points into the page.
        // CAST: As in `fill`.
        unsafe {
            let origin = *self.cpu.get_unchecked(run as usize).get();
            NonNull::new_unchecked(origin.wrapping_add(self.spacing.within(index) as usize))
        }
    }

    /// Where a chunk is for the device.
    ///
    /// # Safety
    ///
    /// As for [`Pages::cpu`].
    #[inline]
    pub(crate) unsafe fn dma(&self, index: u32) -> DmaAddress {
        // SAFETY: As the caller promises.
        unsafe { self.addresses().get(index) }
    }

    /// The addresses for the device alone.
    #[inline]
    pub(crate) fn addresses(&self) -> Addresses<'_> {
        Addresses {
            origins: &self.dma,
            spacing: self.spacing,
        }
    }

    /// Gives bytes of page `number` to the CPU or to the device.
    ///
    /// # Safety
    ///
    /// As for [`Pages::memory`], the range lies in the page, and the device is bound.
    #[inline]
    pub(crate) unsafe fn sync(
        &self,
        number: u32,
        offset: usize,
        len: usize,
        direction: DataDirection,
    ) {
        let (to_cpu, to_device) = match direction {
            DataDirection::FromDevice => (true, false),
            DataDirection::ToDevice => (false, true),
            DataDirection::Bidirectional => (true, true),
            DataDirection::None => return,
        };
        // SAFETY: As the caller promises.
        match unsafe { self.memory(number) } {
            Memory::Coherent(_) => barrier(direction),
            Memory::Streaming(mapping) => {
                let dev = as_raw(&mapping.dev);
                let dir: bindings::dma_data_direction = mapping.direction.into();
                // CAST: An offset in a page is at most `MAX_PAGE_SIZE`, which a DMA address holds. The sum is
                // an address in the page, so it does not wrap.
                let dma = mapping.dma.wrapping_add(offset as DmaAddress);
                // Where all devices are coherent and no memory is out of reach, there is nothing to call.
                #[cfg(not(CONFIG_DMA_NEED_SYNC))]
                let _ = (dev, dma, len, dir, to_cpu, to_device);
                // SAFETY: The range lies in a mapping of this device and direction.
                #[cfg(CONFIG_DMA_NEED_SYNC)]
                unsafe {
                    if to_cpu {
                        bindings::__dma_sync_single_for_cpu(dev, dma, len, dir);
                    }
                    if to_device {
                        bindings::__dma_sync_single_for_device(dev, dma, len, dir);
                    }
                }
            }
        }
    }

    /// The `struct page` of page `number`, with a reference more for the caller, if there is one.
    ///
    /// # Safety
    ///
    /// As for [`Pages::memory`].
    pub(crate) unsafe fn share(&self, number: u32) -> Option<NonNull<bindings::page>> {
        // SAFETY: As the caller promises.
        match unsafe { self.memory(number) } {
            Memory::Coherent(_) => None,
            Memory::Streaming(mapping) => {
                // SAFETY: We hold a reference.
                unsafe { helpers::mbpool_get_page(mapping.page.as_ptr().cast()) };
                Some(mapping.page)
            }
        }
    }

    /// Whether somebody else has a reference to the `struct page` of page `number`.
    ///
    /// # Safety
    ///
    /// As for [`Pages::memory`].
    pub(crate) unsafe fn is_shared(&self, number: u32) -> bool {
        // SAFETY: As the caller promises.
        match unsafe { self.memory(number) } {
            Memory::Coherent(_) => false,
            // SAFETY: We hold a reference.
            Memory::Streaming(mapping) => unsafe {
                helpers::mbpool_page_ref_count(mapping.page.as_ptr().cast()) > 1
            },
        }
    }

    /// Frees a page, if it is there. Process context; may sleep.
    ///
    /// # Safety
    ///
    /// The device is bound, and the caller is entitled to change entry `number` by the type invariant.
    pub(crate) unsafe fn free(&self, number: u32) {
        let Some(memory) = self.memory.get(number as usize) else {
            return;
        };
        // SAFETY: By the safety requirement nobody has a chunk of the page and nobody can get one, so
        // nobody else uses the entry.
        if let Some(memory) = unsafe { (*memory.get()).take() } {
            drop(ManuallyDrop::into_inner(memory));
        }
    }
}

/// Where the pages of a pool are for the device.
#[derive(Clone, Copy)]
pub(crate) struct Addresses<'pages> {
    origins: &'pages [UnsafeCell<DmaAddress>],
    spacing: Spacing,
}

// SAFETY: As for [`Pages`], of which it is a part: nothing is written while others may read it.
unsafe impl Send for Addresses<'_> {}
// SAFETY: As above.
unsafe impl Sync for Addresses<'_> {}

impl Addresses<'_> {
    /// Where a chunk is.
    ///
    /// # Safety
    ///
    /// As for [`Pages::cpu`].
    #[inline]
    pub(crate) unsafe fn get(self, index: u32) -> DmaAddress {
        let run = self.spacing.run_of(index);
        // SAFETY: As in [`Pages::cpu`].
        let origin = unsafe { *self.origins.get_unchecked(run as usize).get() };
        // CAST: As in [`Pages::fill`].
        origin.wrapping_add(self.spacing.within(index) as DmaAddress)
    }
}
