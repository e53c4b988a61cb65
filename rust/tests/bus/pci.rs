// SPDX-License-Identifier: GPL-2.0

//! A PCI device that does real DMA: QEMU's `edu`, which copies between memory and a buffer of its own.
//! With a virtual IOMMU in front of it, it is the IOMMU that gives the addresses.

use super::{
    leave,
    probe_of,
    works_on, //
};
use crate::{
    check,
    check_eq,
    devices::Fixture,
    heap,
    ktap::{
        Outcome,
        Stop, //
    },
    support::{
        count,
        is_marked,
        mark, //
    },
    tests, //
};
use kernel::{
    device::Core,
    dma::{
        DataDirection,
        Device as _,
        DmaMask, //
    },
    io::Io,
    pci,
    prelude::*,
    time::{
        delay::fsleep,
        Delta, //
    }, //
};
use mbpool::{
    Config,
    Pool, //
};

tests![a_pci_device_that_does_dma];

struct Driver;

/// The device, whose vendor is none that the kernel crate knows, so it is found by its class: others.
const VENDOR: u16 = 0x1234;
const DEVICE: u16 = 0x11e8;
const CLASS: u32 = 0x00_ff00;
const CLASS_MASK: u32 = 0xff_ff00;

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

/// The device's registers for DMA, as QEMU's documentation of it has them.
const SOURCE: usize = 0x80;
const TARGET: usize = 0x88;
const COUNT: usize = 0x90;
const COMMAND: usize = 0x98;
const START: u32 = 1;
const TO_MEMORY: u32 = 2;
/// Where the device has its own buffer, and of what size.
const OWN: u64 = 0x40000;
const OWN_SIZE: usize = 4096;

type Bar<'a> = pci::Bar<'a, 0x100>;

/// Has the device copy `len` bytes, and waits for it.
fn copy(bar: &Bar<'_>, source: u64, target: u64, len: usize, command: u32) -> Outcome {
    // The registers are of 64 bits, but addresses of 28: a write of 32 bits clears the rest.
    bar.write32(u32::try_from(source)?, SOURCE);
    bar.write32(u32::try_from(target)?, TARGET);
    bar.write32(u32::try_from(len)?, COUNT);
    bar.write32(command | START, COMMAND);
    for _ in 0..1000 {
        if bar.read32(COMMAND) & START == 0 {
            return Ok(());
        }
        fsleep(Delta::from_millis(5));
    }
    Err(Stop::failed("the device copied", fmt!("{len} bytes")))
}

fn probed(dev: &pci::Device<Core<'_>>) -> Outcome {
    dev.enable_device_mem()?;
    dev.set_master();
    // What the device has: it drops the address bits above.
    // SAFETY: The device is being probed: nobody allocates yet.
    unsafe { dev.dma_set_mask_and_coherent(DmaMask::new::<28>())? };
    works_on(dev.as_ref())?;
    heap::contexts::drops_in_each_context(dev.as_ref())?;

    let bar = dev.iomap_region_sized::<0x100>(0, c"mbpool_test")?;
    let config = Config::new(c"edu", OWN_SIZE).align(OWN_SIZE).max_pages(8);
    let pool = Pool::new(dev.as_ref(), config, GFP_KERNEL)?;
    for name in 0..4 {
        // To the card: a buffer that the driver wrote.
        let mut buffer = pool.alloc(GFP_KERNEL)?;
        mark(&mut buffer, name);
        buffer.sync(0, OWN_SIZE, DataDirection::ToDevice)?;
        let sent = buffer.post();
        copy(&bar, sent.dma, OWN, OWN_SIZE, 0)?;
        drop(pool.take(sent.handle)?);

        // From the card: into the second of three chunks that it holds, half of it.
        let held: [_; 3] = [
            pool.post(GFP_KERNEL | __GFP_ZERO)?,
            pool.post(GFP_KERNEL | __GFP_ZERO)?,
            pool.post(GFP_KERNEL | __GFP_ZERO)?,
        ];
        let [before, received, after] = held;
        let half = OWN_SIZE / 2;
        copy(&bar, OWN, received.dma, half, TO_MEMORY)?;
        let buffer = pool.take(received.handle)?;
        buffer.sync(0, OWN_SIZE, DataDirection::FromDevice)?;
        let (written, rest) = buffer.split_at(half);
        check!(is_marked(written, name), "frame {name}");
        check!(rest.iter().all(|byte| *byte == 0), "frame {name}");
        for other in [before, after] {
            let other = pool.take(other.handle)?;
            check!(other.iter().all(|byte| *byte == 0), "frame {name}");
        }
    }
    let all = pool.count();
    check_eq!(all, count(0, 0, all.free));
    Ok(())
}

fn a_pci_device_that_does_dma(_: &Fixture<'_>) -> Outcome {
    let verdict = probe_of::<pci::Adapter<Driver>, _>(|| Ok(()))?;
    verdict.unwrap_or(Err(Stop::Skipped("no edu device")))
}
