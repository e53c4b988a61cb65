// SPDX-License-Identifier: GPL-2.0

//! QEMU's `edu`, a PCI card that does real DMA: it copies between memory and a buffer of its own. With
//! a virtual IOMMU in front of it, it is the IOMMU that gives the addresses.

use super::{
    leave,
    probe_of, //
};
use crate::ktap::{
    Outcome,
    Stop, //
};
use kernel::{
    device::Core,
    dma::DmaAddress,
    io::Io,
    pci,
    prelude::*,
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

/// The card, whose vendor is none that the kernel crate knows, so it is found by its class: others.
const VENDOR: u16 = 0x1234;
const DEVICE: u16 = 0x11e8;
const CLASS: u32 = 0x00_ff00;
const CLASS_MASK: u32 = 0xff_ff00;

/// The card's registers for DMA, as QEMU's documentation of it has them.
const SOURCE: usize = 0x80;
const TARGET: usize = 0x88;
const COUNT: usize = 0x90;
const COMMAND: usize = 0x98;
const START: u32 = 1;
const TO_MEMORY: u32 = 2;

/// Where the card has its own buffer, and of what size.
const OWN: u32 = 0x40000;
pub(crate) const OWN_SIZE: usize = 4096;

/// How many address bits the card has: it drops those above.
pub(crate) const BITS: u32 = 28;

struct Driver;

kernel::pci_device_table!(
    TABLE,
    <Driver as pci::Driver>::IdInfo,
    [(pci::DeviceId::from_class(CLASS, CLASS_MASK), ())]
);

impl pci::Driver for Driver {
    type IdInfo = ();
    type Data<'bound> = Self;

    const ID_TABLE: pci::IdTable<Self::IdInfo> = &TABLE;

    fn probe<'bound>(
        dev: &'bound pci::Device<Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Self, Error> + 'bound {
        if (dev.vendor_id().as_raw(), dev.device_id()) != (VENDOR, DEVICE) {
            return Err(ENODEV);
        }
        leave(probed(dev));
        Ok(Self)
    }
}

fn probed(dev: &pci::Device<Core<'_>>) -> Outcome {
    let test = TEST.lock().take();
    dev.enable_device_mem()?;
    dev.set_master();
    let bar = dev.iomap_region_sized(0, c"mbpool_test")?;
    test.ok_or(EINVAL)?(dev, &Engine(bar))
}

/// A test that runs in the card's probe: on the device, before it has a mask, and on its DMA engine.
pub(crate) type Test = fn(&pci::Device<Core<'_>>, &Engine<'_>) -> Outcome;

kernel::sync::global_lock! {
    // SAFETY: Initialised by `init`, which the module calls before anything else.
    /// What the next probe runs.
    unsafe(uninit) static TEST: Mutex<Option<Test>> = None;
}

/// Makes the place for a test.
///
/// # Safety
///
/// Called once, before any other function of this file.
pub(crate) unsafe fn init() {
    // SAFETY: As the caller promises.
    unsafe { TEST.init() };
}

/// Runs a test on the card; skips it if there is none.
pub(crate) fn on_edu(test: Test) -> Outcome {
    *TEST.lock() = Some(test);
    let verdict = probe_of::<pci::Adapter<Driver>, _>(|| Ok(()))?;
    verdict.unwrap_or(Err(Stop::Skipped("no edu device")))
}

/// The card's DMA engine. A copy takes it a tenth of a second.
pub(crate) struct Engine<'a>(pci::Bar<'a, 0x100>);

impl Engine<'_> {
    /// Has the card read `len` bytes of memory to the start of its buffer.
    pub(crate) fn fetch(&self, from: DmaAddress, len: usize) -> Outcome {
        self.copy(u32::try_from(from)?, OWN, len, 0)
    }

    /// Has the card write the first `len` bytes of its buffer to memory.
    pub(crate) fn store(&self, to: DmaAddress, len: usize) -> Outcome {
        self.copy(OWN, u32::try_from(to)?, len, TO_MEMORY)
    }

    fn copy(&self, source: u32, target: u32, len: usize, command: u32) -> Outcome {
        // The registers are of 64 bits, but addresses of fewer: a write of 32 bits clears the rest.
        self.0.write32(source, SOURCE);
        self.0.write32(target, TARGET);
        self.0.write32(u32::try_from(len)?, COUNT);
        self.0.write32(command | START, COMMAND);
        for _ in 0..6000 {
            if self.0.read32(COMMAND) & START == 0 {
                return Ok(());
            }
            fsleep(Delta::from_millis(5));
        }
        Err(Stop::failed("the card copied", fmt!("{len} bytes")))
    }
}
