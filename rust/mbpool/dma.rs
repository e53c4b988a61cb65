// SPDX-License-Identifier: GPL-2.0

//! The page source: the one place that calls the DMA API.
//!
//! It upholds that a page, once a chunk of it can be seen, stays where it is until the pool says that
//! nobody has one, and that nothing is ever given back to the DMA API by accident: a page that
//! nobody freed by name is leaked.

use super::{
    core::geometry::Geometry,
    facade::{
        array_with,
        Array, //
    },
    gfp::Kind, //
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
        DmaAddress, //
    },
    pr_warn_once,
    prelude::*, //
};

/// A page of coherent DMA memory.
pub(crate) type Page = Coherent<[u8]>;

/// Whether the device does coherent DMA at all: its bus or driver has set a mask for it.
pub(crate) fn is_capable(dev: &Device<Bound>) -> bool {
    let dev: *const bindings::device = ptr::from_ref(dev).cast();
    // SAFETY: `Device` is a transparent wrapper of a valid `struct device`. The mask is set by who
    // probes the device, before anything allocates.
    unsafe { (*dev).coherent_dma_mask != 0 }
}

/// Allocates a page. Sleeps if, and only if, `gfp` allows it.
///
/// # Errors
///
/// `ENOMEM`: the DMA layer has none, or gave memory that is not aligned as it promises to.
pub(crate) fn allocate(dev: &Device<Bound>, geometry: &Geometry, gfp: Flags) -> Result<Page> {
    let page = Coherent::<u8>::zeroed_slice(dev, geometry.page_size(), gfp)?;
    // That no chunk crosses a boundary rests on the page's address, which is the work of whatever
    // IOMMU driver or reserved memory the device has. Look, rather than trust.
    let below = DmaAddress::try_from(geometry.base_align() - 1)?;
    if page.dma_address() & below != 0 {
        pr_warn_once!("the DMA layer gave a page that is not aligned to its size\n");
        if Kind::of(gfp) != Kind::Sleep {
            // DMA memory cannot be freed where one may not sleep.
            mem::forget(page);
        }
        return Err(ENOMEM);
    }
    Ok(page)
}

/// The pages of one pool, by number.
///
/// # Invariants
///
/// - An entry changes only while all chunks of its page are absent, by whoever has the page reserved
///   in the depot, or, once the pool itself is gone, while none is with the driver or on the card.
/// - An entry is filled before any chunk of its page is seen to be other than absent.
pub(crate) struct Pages {
    entries: Array<UnsafeCell<Option<ManuallyDrop<Page>>>>,
}

// SAFETY: By the type invariant an entry is not written while others may read it; what it holds, a
// `Page`, is `Send` and `Sync`.
unsafe impl Sync for Pages {}

impl Pages {
    /// Room for the pages that the geometry allows, none of them there.
    pub(crate) fn new(geometry: &Geometry) -> Result<Self> {
        // INVARIANT: All pages are absent.
        Ok(Self {
            entries: array_with(geometry.max_pages(), |_| UnsafeCell::new(None))?,
        })
    }

    fn entry(&self, number: u32) -> Option<*mut Option<ManuallyDrop<Page>>> {
        // CAST: `u32` to `usize`, which is no smaller on any machine that runs Linux.
        self.entries.get(number as usize).map(UnsafeCell::get)
    }

    /// Puts a page in its place.
    ///
    /// # Safety
    ///
    /// The caller has page `number` reserved in the depot, and all its chunks are absent.
    pub(crate) unsafe fn fill(&self, number: u32, page: Page) {
        if let Some(entry) = self.entry(number) {
            // SAFETY: The caller is the only one to use the entry, by the safety requirement.
            // INVARIANT: It is filled while all chunks are absent, by who has it reserved.
            unsafe { *entry = Some(ManuallyDrop::new(page)) };
        }
    }

    /// Where `offset` bytes into page `number` are, for the CPU and for the device.
    ///
    /// # Safety
    ///
    /// The caller has seen a chunk of this page that is not absent, which was ordered before this
    /// call, and `offset` lies in the page.
    #[inline]
    pub(crate) unsafe fn locate(&self, number: u32, offset: usize) -> (NonNull<u8>, DmaAddress) {
        // SAFETY: A chunk of the page is or was not absent, so `number` is in range, and by the type
        // invariant the entry is filled and not being written.
        let page = unsafe {
            (*self.entries.get_unchecked(number as usize).get())
                .as_ref()
                .unwrap_unchecked()
        };
        // SAFETY: `offset` lies in the page, whose memory begins at a pointer that is not null.
        let cpu = unsafe { NonNull::new_unchecked(page.as_mut_ptr().cast::<u8>().add(offset)) };
        // CAST: An offset in a page is at most `MAX_PAGE_SIZE`, which a DMA address holds. The sum is an
        // address in the page, so it does not wrap.
        (cpu, page.dma_address().wrapping_add(offset as DmaAddress))
    }

    /// Frees a page. Process context; may sleep.
    ///
    /// # Safety
    ///
    /// The device is bound, the pool is gone, and no chunk of page `number` is with the driver or on
    /// the card.
    pub(crate) unsafe fn free(&self, number: u32) {
        let Some(entry) = self.entry(number) else {
            return;
        };
        // SAFETY: By the safety requirement nobody has a chunk of the page and nobody can get one, so
        // nobody else uses the entry.
        if let Some(page) = unsafe { (*entry).take() } {
            drop(ManuallyDrop::into_inner(page));
        }
    }
}
