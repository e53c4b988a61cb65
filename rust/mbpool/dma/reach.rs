// SPDX-License-Identifier: GPL-2.0

//! Reach: pages that a device can be given, chosen before they are mapped.
//!
//! `dma_map_page()` answers a page beyond the device's mask with a warning and a backtrace. It is not a
//! fault of the kernel's that a card has 28 address bits, so such a page is never mapped: memory is
//! looked for lower, and if there is none the caller gets an error.

use super::{
    as_raw,
    bytes_of, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    prelude::*, //
};

const DMA32: bindings::gfp_t = 1 << bindings::___GFP_DMA32_BIT;
const DMA: bindings::gfp_t = 1 << bindings::___GFP_DMA_BIT;
const NOWARN: bindings::gfp_t = 1 << bindings::___GFP_NOWARN_BIT;

/// Where memory is looked for, from the top down, as `dma_alloc_coherent()` does it. The first is of no
/// use to a device of 32 bits or fewer. A zone that the machine lacks is the next one that it has.
const ZONES: [bindings::gfp_t; 3] = [0, DMA32, DMA];

/// Inline functions of C.
mod helpers {
    use kernel::prelude::*;

    extern "C" {
        pub(super) fn mbpool_dma_is_direct(dev: *mut c_void) -> bool;
        pub(super) fn mbpool_dma_reaches(dev: *mut c_void, page: *mut c_void, size: usize) -> bool;
        pub(super) fn mbpool_dma_must_bounce(dev: *mut c_void) -> bool;
        pub(super) fn mbpool_dma_can_bounce(dev: *mut c_void) -> bool;
    }
}

/// Allocates `1 << order` pages that can be mapped for `dev`. Sleeps if, and only if, `flags` allow it.
///
/// Pages within reach are preferred to those that would be bounced. Behind an IOMMU each page is
/// within reach.
pub(super) fn alloc_pages(
    dev: &Device<Bound>,
    order: c_uint,
    flags: bindings::gfp_t,
) -> Option<NonNull<bindings::page>> {
    let raw = as_raw(dev);
    // SAFETY: The device is valid, and its mask is not changed while pages are allocated for it.
    let (mask, limit) = unsafe { ((*raw).dma_mask, (*raw).bus_dma_limit) };
    if mask.is_null() {
        // It does coherent DMA alone.
        return None;
    }
    // SAFETY: Not null, and as above.
    let mask = unsafe { *mask };
    // SAFETY: The device is valid.
    let (direct, must_bounce, can_bounce) = unsafe {
        (
            helpers::mbpool_dma_is_direct(raw.cast()),
            helpers::mbpool_dma_must_bounce(raw.cast()),
            helpers::mbpool_dma_can_bounce(raw.cast()),
        )
    };
    if !direct {
        return alloc(flags, order);
    }
    if !must_bounce {
        let low = u64::from(u32::MAX);
        let limited = mask <= low || (1..=low).contains(&limit);
        let quiet = if can_bounce { NOWARN } else { 0 };
        for zone in ZONES.iter().skip(limited.into()) {
            // What is not there in a zone is not there in a lower one.
            let Some(page) = alloc(flags | zone | quiet, order) else {
                break;
            };
            // SAFETY: Device and pages are valid.
            if unsafe {
                helpers::mbpool_dma_reaches(raw.cast(), page.as_ptr().cast(), bytes_of(order))
            } {
                return Some(page);
            }
            // SAFETY: The pages are ours.
            unsafe { bindings::__free_pages(page.as_ptr(), order) };
        }
    }
    if can_bounce {
        alloc(flags, order)
    } else {
        None
    }
}

fn alloc(flags: bindings::gfp_t, order: c_uint) -> Option<NonNull<bindings::page>> {
    // SAFETY: May be called with any flags and order; it sleeps only if the flags allow it.
    NonNull::new(unsafe { bindings::alloc_pages(flags, order) })
}
