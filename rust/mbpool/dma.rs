// SPDX-License-Identifier: GPL-2.0

//! The page source: the one place that calls the DMA API.
//!
//! It upholds that a page, once a chunk of it can be seen, stays where it is until the pool says that
//! nobody has one, and that nothing is ever given back to the DMA API by accident: a page that
//! nobody freed by number is leaked.

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

/// The bytes of `1 << order` pages of the machine.
fn bytes_of(order: c_uint) -> usize {
    // CAST: `u32` to `usize`, which is no smaller on any machine that runs Linux.
    1 << (order as usize + PAGE_SHIFT)
}

/// Coherent memory that is not cut into chunks.
pub(crate) struct Page {
    cpu: NonNull<u8>,
    memory: Coherent<[u8]>,
}

// SAFETY: Memory belongs to no thread.
unsafe impl Send for Page {}

impl Page {
    /// Allocates `size` bytes, zeroed. The DMA address is aligned as `dma_alloc_coherent` does it: to the
    /// smallest power of two that is not below `size`, and to a machine page at least. Sleeps if, and only if,
    /// `gfp` allows it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn coherent(dev: &Device<Bound>, size: usize, gfp: Flags) -> Result<Self> {
        let memory = Coherent::<u8>::zeroed_slice(dev, size, gfp)?;
        Ok(Self {
            cpu: NonNull::new(memory.as_mut_ptr().cast()).ok_or(ENOMEM)?,
            memory,
        })
    }

    /// Where the page is, for the CPU and for the device.
    pub(crate) fn addresses(&self) -> (NonNull<u8>, DmaAddress) {
        (self.cpu, self.memory.dma_address())
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

/// A page for a pool, from [`Pages::alloc`] to [`Pages::fill`]. Dropping it leaks it.
pub(crate) struct Fresh {
    cpu: NonNull<u8>,
    dma: DmaAddress,
    /// The first machine page, if the backing is streaming.
    page: *mut bindings::page,
}

/// The pages of one pool, by number.
///
/// Where a page is stands in arrays of their own, since that is all that the hot paths want: the
/// address for the device where a chunk is posted, that for the CPU where it is looked at. There is one for
/// each run of chunks that are equally far apart ([`Spacing`]), with the run's origin added.
///
/// With what all pages have in common that is also all that the DMA API wants to have them back. So there is
/// no [`Coherent`] for each, which would be thrice as much, and a reference to the device.
///
/// # Invariants
///
/// - What belongs to a page, in all arrays, changes only while all chunks of the page are absent and
///   nobody looks at one under RCU, by whoever has the page reserved in the depot.
/// - All is filled before any chunk of the page can be popped, with where the page lies: `size`
///   bytes that were allocated for `master`; if the backing is streaming, by mapping in its direction the
///   machine pages at the entry of `pages`, to which we hold a reference.
/// - A page that is there stays until [`Pages::free`].
pub(crate) struct Pages {
    master: ARef<Device>,
    backing: Backing,
    size: usize,
    /// What a page's address must be a multiple of, less one.
    below: DmaAddress,
    spacing: Spacing,
    cpu: Array<UnsafeCell<*mut u8>>,
    dma: Array<UnsafeCell<DmaAddress>>,
    /// Empty if the backing is coherent.
    pages: Array<UnsafeCell<*mut bindings::page>>,
}

// SAFETY: By the type invariant nothing is written while others may read it.
unsafe impl Sync for Pages {}
// SAFETY: Pages and mappings belong to no thread.
unsafe impl Send for Pages {}

impl Pages {
    /// Room for the pages that the geometry allows, none of them there. `master` is a device that does DMA.
    pub(crate) fn new(master: &Device, backing: Backing, geometry: &Geometry) -> Result<Self> {
        let runs = geometry.runs();
        let pages = match backing {
            Backing::Coherent => 0,
            Backing::Streaming(_) => geometry.max_pages(),
        };
        // INVARIANT: All pages are absent.
        Ok(Self {
            master: master.into(),
            backing,
            size: geometry.page_size(),
            below: DmaAddress::try_from(geometry.base_align() - 1)?,
            spacing: geometry.spacing(),
            cpu: array_with(runs, |_| UnsafeCell::new(ptr::null_mut()))?,
            dma: array_with(runs, |_| UnsafeCell::new(0))?,
            pages: array_with(pages, |_| UnsafeCell::new(ptr::null_mut()))?,
        })
    }

    /// Machine pages of a page, as a power of two; of use if the backing is streaming.
    fn order(&self) -> c_uint {
        (self.size.next_power_of_two() >> PAGE_SHIFT).trailing_zeros()
    }

    /// Allocates a page. Sleeps if, and only if, `gfp` allows it.
    ///
    /// # Safety
    ///
    /// The device is bound.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: there is no memory, or it cannot be mapped, or the DMA layer gave memory that is not
    /// aligned as it promises to.
    pub(crate) unsafe fn alloc(&self, gfp: Flags) -> Result<Fresh> {
        // SAFETY: As the caller promises.
        let fresh = unsafe {
            match self.backing {
                Backing::Coherent => self.alloc_coherent(gfp)?,
                Backing::Streaming(direction) => self.alloc_mapped(direction, gfp)?,
            }
        };
        // That no chunk crosses a boundary rests on the page's address, which is the work of whatever
        // IOMMU driver or reserved memory the device has. Look, rather than trust.
        if fresh.dma & self.below != 0 {
            pr_warn_once!("the DMA layer gave a page that is not aligned to its size\n");
            // Coherent memory cannot be freed where one may not sleep, and is leaked there.
            if Kind::of(gfp) == Kind::Sleep || self.backing != Backing::Coherent {
                // SAFETY: The device is bound, and nobody else has the page.
                unsafe { self.give_back(fresh) };
            }
            return Err(ENOMEM);
        }
        Ok(fresh)
    }

    /// # Safety
    ///
    /// The device is bound.
    unsafe fn alloc_coherent(&self, gfp: Flags) -> Result<Fresh> {
        let mut dma = 0;
        // Zeroed: nobody is to see what was there before.
        // SAFETY: The device is bound, as the caller promises.
        let cpu = unsafe {
            bindings::dma_alloc_attrs(
                as_raw(&self.master),
                self.size,
                &mut dma,
                gfp::raw(gfp | __GFP_ZERO),
                0,
            )
        };
        Ok(Fresh {
            cpu: NonNull::new(cpu.cast()).ok_or(ENOMEM)?,
            dma,
            page: ptr::null_mut(),
        })
    }

    /// # Safety
    ///
    /// The device is bound.
    unsafe fn alloc_mapped(&self, direction: DataDirection, gfp: Flags) -> Result<Fresh> {
        let order = self.order();
        // Zeroed, as the other backing's is. Not from high memory: the pool wants an address for the CPU.
        // Compound, so that several machine pages have one reference count.
        let compound = if order > 0 {
            1 << bindings::___GFP_COMP_BIT
        } else {
            0
        };
        let attrs = if gfp.contains(__GFP_NOWARN) {
            // CAST: A bit of a C `unsigned long`.
            bindings::DMA_ATTR_NO_WARN as c_ulong
        } else {
            0
        };
        let flags = gfp::raw((gfp | __GFP_ZERO) & !__GFP_HIGHMEM) | compound;
        // SAFETY: The device is bound, as the caller promises.
        let master = unsafe { self.master.as_bound() };
        let page = reach::alloc_pages(master, order, flags).ok_or(ENOMEM)?;
        // SAFETY: The device is bound, and the pages are ours.
        let dma = unsafe {
            bindings::dma_map_page_attrs(
                as_raw(master),
                page.as_ptr(),
                0,
                bytes_of(order),
                direction.into(),
                attrs,
            )
        };
        // SAFETY: The device is valid.
        if unsafe { helpers::mbpool_dma_mapping_error(as_raw(master).cast(), dma) } {
            // SAFETY: The pages are ours.
            unsafe { bindings::__free_pages(page.as_ptr(), order) };
            return Err(ENOMEM);
        }
        // SAFETY: The page is ours and not in high memory, so it has an address.
        let cpu = unsafe {
            NonNull::new_unchecked(helpers::mbpool_page_address(page.as_ptr().cast()).cast())
        };
        Ok(Fresh {
            cpu,
            dma,
            page: page.as_ptr(),
        })
    }

    /// Frees a page. Process context if it is coherent.
    ///
    /// # Safety
    ///
    /// The device is bound. The page is one of [`Pages::alloc`], nobody else uses it, nor frees it.
    unsafe fn give_back(&self, page: Fresh) {
        let master = as_raw(&self.master);
        match self.backing {
            // SAFETY: The memory was allocated so, and nobody uses it.
            Backing::Coherent => unsafe {
                bindings::dma_free_attrs(master, self.size, page.cpu.as_ptr().cast(), page.dma, 0);
            },
            // SAFETY: The pages are mapped so, and we have a reference, which goes: if somebody up a stack has
            // another one, the memory stays until that goes, too.
            Backing::Streaming(direction) => unsafe {
                let (order, direction) = (self.order(), direction.into());
                bindings::dma_unmap_page_attrs(master, page.dma, bytes_of(order), direction, 0);
                bindings::__free_pages(page.page, order);
            },
        }
    }

    /// Puts a page in its place.
    ///
    /// # Safety
    ///
    /// The caller has page `number` reserved in the depot, and all its chunks are absent; `page` is from
    /// [`Pages::alloc`] of this object, and `geometry` the one that this was made for.
    pub(crate) unsafe fn fill(&self, number: u32, page: Fresh, geometry: &Geometry) {
        // CAST: `u32` to `usize` here and below, which is no smaller on any machine that runs Linux.
        for run in geometry.runs_of(number) {
            let origin = geometry.origin(run);
            if let (Some(cpu), Some(dma)) = (self.cpu.get(run as usize), self.dma.get(run as usize))
            {
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
        if let Some(entry) = self.pages.get(number as usize) {
            // SAFETY: As above.
            unsafe { *entry.get() = page.page };
        }
    }

    /// The first machine page of page `number`, to which we hold a reference; null if the backing is coherent.
    ///
    /// # Safety
    ///
    /// As for [`Pages::cpu`], of a chunk of the page.
    unsafe fn page(&self, number: u32) -> *mut bindings::page {
        match self.pages.get(number as usize) {
            // SAFETY: By the type invariant the entry is filled and not being written.
            Some(entry) => unsafe { *entry.get() },
            None => ptr::null_mut(),
        }
    }

    /// Where a chunk is for the CPU.
    ///
    /// # Safety
    ///
    /// The caller has popped the chunk `index`, or seen that it had an owner, which was ordered before this
    /// call, and its page stays while the address is used: the chunk has an owner, or we are in the
    /// RCU read-side section in which it was seen.
    #[inline]
    pub(crate) unsafe fn cpu(&self, index: u32) -> NonNull<u8> {
        let run = self.spacing.run_of(index);
        // SAFETY: The chunk has or had an owner, so it is one, and there is an entry for each run; by the type
        // invariant it is filled and not being written. What was subtracted when the page was filled comes
        // back, so the sum points into the page.
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

    /// Gives bytes of a chunk to the CPU or to the device.
    ///
    /// # Safety
    ///
    /// As for [`Pages::cpu`], the range lies in the chunk, and the device is bound.
    #[inline]
    pub(crate) unsafe fn sync(
        &self,
        index: u32,
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
        match self.backing {
            Backing::Coherent => barrier(direction),
            // The DMA API knows no mapping of no bytes, and DMA_API_DEBUG says so.
            Backing::Streaming(_) if len == 0 => {}
            Backing::Streaming(mapped) => {
                let dev = as_raw(&self.master);
                let dir: bindings::dma_data_direction = mapped.into();
                // SAFETY: As the caller promises.
                let chunk = unsafe { self.dma(index) };
                // CAST: An offset in a chunk is at most `MAX_PAGE_SIZE`, which a DMA address holds. The sum is
                // an address in the page, so it does not wrap.
                let dma = chunk.wrapping_add(offset as DmaAddress);
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
    /// As for [`Pages::cpu`], of a chunk of the page.
    pub(crate) unsafe fn share(&self, number: u32) -> Option<NonNull<bindings::page>> {
        // SAFETY: As the caller promises.
        let page = NonNull::new(unsafe { self.page(number) })?;
        // SAFETY: We hold a reference.
        unsafe { helpers::mbpool_get_page(page.as_ptr().cast()) };
        Some(page)
    }

    /// Whether somebody else has a reference to the `struct page` of page `number`.
    ///
    /// # Safety
    ///
    /// As for [`Pages::cpu`], of a chunk of the page.
    pub(crate) unsafe fn is_shared(&self, number: u32) -> bool {
        // SAFETY: As the caller promises.
        let page = unsafe { self.page(number) };
        // SAFETY: We hold a reference if there is a page.
        !page.is_null() && unsafe { helpers::mbpool_page_ref_count(page.cast()) > 1 }
    }

    /// Frees page `number`. Process context; may sleep.
    ///
    /// # Safety
    ///
    /// The device is bound. The page is there, and the caller is entitled to change what belongs to it by the
    /// type invariant; or the pool itself is gone, and no chunk of the page is with the driver or on the card.
    /// `geometry` is the one that this was made for.
    pub(crate) unsafe fn free(&self, number: u32, geometry: &Geometry) {
        let first = number.wrapping_shl(geometry.layout().chunk_bits());
        // SAFETY: The page is there, and begins with its first chunk. Nobody has a chunk of it, and nobody can
        // get one.
        unsafe {
            self.give_back(Fresh {
                cpu: self.cpu(first),
                dma: self.dma(first),
                page: self.page(number),
            });
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
