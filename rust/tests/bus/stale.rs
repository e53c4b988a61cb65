// SPDX-License-Identifier: GPL-2.0

//! A card that writes where it may not any more. Behind an IOMMU that is a fault of the card's, and nothing
//! changes in memory. The fault is in the kernel log, so these tests run apart.

use super::edu::{
    on_edu,
    Engine,
    BITS,
    OWN_SIZE, //
};
use crate::{
    check,
    check_eq,
    devices::Fixture,
    ktap::Outcome,
    support::holds,
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
    Backing,
    Config,
    Pool, //
};

tests![a_lent_page_is_out_of_reach_once_the_pool_is_gone];

/// The memory is ours by then, so it can be looked at.
fn a_lent_page_is_out_of_reach_once_the_pool_is_gone(_: &Fixture<'_>) -> Outcome {
    on_edu(write_late)
}

fn write_late(dev: &pci::Device<Core<'_>>, engine: &Engine<'_>) -> Outcome {
    // SAFETY: The device is being probed: nobody allocates yet.
    unsafe { dev.dma_set_mask_and_coherent(DmaMask::new::<BITS>())? };
    let config = Config::new(c"late", OWN_SIZE)
        .max_pages(1)
        .backing(Backing::Streaming(DataDirection::FromDevice))
        .lending()
        .wait_ms(0);
    let pool = Pool::new(dev.as_ref(), config, GFP_KERNEL)?;
    let mut buffer = pool.alloc(GFP_KERNEL)?;
    let dma = buffer.dma_address();

    // The card's own buffer differs from what will be there, or nothing would be seen.
    buffer.fill(0);
    buffer.sync(0, OWN_SIZE, DataDirection::ToDevice)?;
    engine.store(dma, OWN_SIZE)?;
    buffer.sync(0, OWN_SIZE, DataDirection::FromDevice)?;
    check!(buffer.iter().any(|byte| *byte != 0x5a));

    buffer.fill(0x5a);
    let page = buffer.into_page().map_err(|_| EIO)?;
    check_eq!(page.len(), OWN_SIZE);
    drop(pool);
    engine.store(dma, OWN_SIZE)?;
    check!(holds(&page, 0x5a));
    Ok(())
}
