// SPDX-License-Identifier: GPL-2.0

//! A PCI device: QEMU's `edu`.

use super::{
    edu::{
        on_edu,
        Engine,
        BITS,
        OWN_SIZE, //
    },
    works_on, //
};
use crate::{
    check,
    check_eq,
    devices::Fixture,
    heap,
    ktap::Outcome,
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
    pci,
    prelude::*, //
};
use mbpool::{
    Config,
    Pool, //
};

tests![a_pci_device_that_does_dma];

fn probed(dev: &pci::Device<Core<'_>>, engine: &Engine<'_>) -> Outcome {
    // SAFETY: The device is being probed: nobody allocates yet.
    unsafe { dev.dma_set_mask_and_coherent(DmaMask::new::<BITS>())? };
    works_on(dev.as_ref())?;
    heap::contexts::drops_in_each_context(dev.as_ref())?;

    let config = Config::new(c"edu", OWN_SIZE).align(OWN_SIZE).max_pages(8);
    let pool = Pool::new(dev.as_ref(), config, GFP_KERNEL)?;
    for name in 0..4 {
        // To the card: a buffer that the driver wrote.
        let mut buffer = pool.alloc(GFP_KERNEL)?;
        mark(&mut buffer, name);
        buffer.sync(0, OWN_SIZE, DataDirection::ToDevice)?;
        let sent = buffer.post();
        engine.fetch(sent.dma, OWN_SIZE)?;
        drop(pool.take(sent.handle)?);

        // From the card: into the second of three chunks that it holds, half of it.
        let held: [_; 3] = [
            pool.post(GFP_KERNEL | __GFP_ZERO)?,
            pool.post(GFP_KERNEL | __GFP_ZERO)?,
            pool.post(GFP_KERNEL | __GFP_ZERO)?,
        ];
        let [before, received, after] = held;
        let half = OWN_SIZE / 2;
        engine.store(received.dma, half)?;
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
    on_edu(probed)
}
