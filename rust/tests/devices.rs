// SPDX-License-Identifier: GPL-2.0

//! Devices to have pools on: those that all tests use.

use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    error::to_result,
    faux,
    prelude::*, //
};

/// What the tests get.
pub(crate) struct Fixture<'a> {
    /// A device that reaches all memory. `/sys/devices/faux/mbpool_test`.
    pub(crate) dev: &'a Device<Bound>,
    /// A device that reaches the lowest 16 MiB alone, so that its memory can be exhausted without
    /// harm to anybody else.
    pub(crate) narrow: &'a Device<Bound>,
    /// The same of one that could reach more, on a bus that passes no more.
    pub(crate) bus_limited: &'a Device<Bound>,
    /// A device that does no DMA.
    pub(crate) maskless: &'a Device<Bound>,
}

/// Where the pools of [`Fixture::dev`] are in sysfs.
pub(crate) const SYSFS: &str = "/sys/devices/faux/mbpool_test/mbpool";

/// The devices of a [`Fixture`].
pub(crate) struct Devices {
    dev: faux::Registration,
    narrow: faux::Registration,
    bus_limited: faux::Registration,
    maskless: faux::Registration,
}

impl Devices {
    pub(crate) fn new() -> Result<Self> {
        let devices = Self {
            dev: faux::Registration::new(c"mbpool_test", None)?,
            narrow: faux::Registration::new(c"mbpool_test_narrow", None)?,
            bus_limited: faux::Registration::new(c"mbpool_test_bus_limited", None)?,
            maskless: faux::Registration::new(c"mbpool_test_maskless", None)?,
        };
        // SAFETY: The devices are new: nobody allocates yet.
        unsafe {
            set_mask(bound(&devices.dev), 64)?;
            set_mask(bound(&devices.narrow), 24)?;
            set_mask(bound(&devices.bus_limited), 64)?;
            (*as_raw(bound(&devices.bus_limited))).bus_dma_limit = (1 << 24) - 1;
        }
        Ok(devices)
    }

    pub(crate) fn fixture(&self) -> Fixture<'_> {
        Fixture {
            dev: bound(&self.dev),
            narrow: bound(&self.narrow),
            bus_limited: bound(&self.bus_limited),
            maskless: bound(&self.maskless),
        }
    }
}

fn as_raw(dev: &Device<Bound>) -> *mut bindings::device {
    core::ptr::from_ref(dev).cast_mut().cast()
}

fn bound(registration: &faux::Registration) -> &Device<Bound> {
    let device: &faux::Device<Bound> = registration.as_ref();
    device.as_ref()
}

/// Says that a device on a bus that sets no mask does DMA with addresses of so many bits, as
/// `dma_coerce_mask_and_coherent()` does for a driver in C.
///
/// # Safety
///
/// Nobody allocates DMA memory for the device meanwhile.
pub(crate) unsafe fn set_mask(dev: &Device<Bound>, bits: u32) -> Result {
    let raw = as_raw(dev);
    let mask = u64::MAX >> (64 - bits);
    // SAFETY: `Device` is a transparent wrapper of a valid `struct device`, and by the safety
    // requirement nobody looks at its masks meanwhile.
    unsafe {
        (*raw).dma_mask = &raw mut (*raw).coherent_dma_mask;
        to_result(bindings::dma_set_mask(raw, mask))?;
        to_result(bindings::dma_set_coherent_mask(raw, mask))
    }
}
