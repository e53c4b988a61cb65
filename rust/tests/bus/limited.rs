// SPDX-License-Identifier: GPL-2.0

//! Cards that reach little: one of 28 address bits, and one that is squeezed into 1 MiB. Pools take all
//! that there is, fail cleanly, and recover; what was set aside is there; the card does DMA into both ends.

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
    ktap::{
        Outcome,
        Stop, //
    },
    support::{
        count,
        is_marked,
        mark,
        QUIET, //
    },
    tests, //
};
use kernel::{
    alloc::{
        Flags,
        KVVec, //
    },
    device::Core,
    dma::{
        DataDirection,
        Device as _,
        DmaMask, //
    },
    pci,
    prelude::*,
    time::Delta, //
};
use mbpool::{
    Backing,
    Buffer,
    Config,
    Pool,
    Reserve, //
};

tests![a_card_of_28_bits, a_card_squeezed_into_1_mib];

/// How much of each chunk holds its name.
const NAME: usize = 64;

/// How many pages are set aside.
const ASIDE: u32 = 4;

fn a_card_of_28_bits(_: &Fixture<'_>) -> Outcome {
    on_edu(|dev, engine| {
        // SAFETY: The device is being probed: nobody allocates yet.
        unsafe { dev.dma_set_mask_and_coherent(DmaMask::new::<BITS>())? };
        // Large pages, or behind an IOMMU a pool would not have the numbers for all of them.
        exhaust(dev, engine, 65536, BITS)
    })
}

fn a_card_squeezed_into_1_mib(_: &Fixture<'_>) -> Outcome {
    on_edu(|dev, engine| {
        // SAFETY: The device is being probed: nobody allocates yet.
        if unsafe { dev.dma_set_mask_and_coherent(DmaMask::new::<20>()) }.is_err() {
            return Err(Stop::Skipped("no IOMMU maps memory below 1 MiB"));
        }
        exhaust(dev, engine, 4096, 20)
    })
}

/// Both backings, one after the other.
fn exhaust(dev: &pci::Device<Core<'_>>, engine: &Engine<'_>, size: usize, bits: u32) -> Outcome {
    for (kind, backing) in [
        ("coherent", Backing::Coherent),
        (
            "streaming",
            Backing::Streaming(DataDirection::Bidirectional),
        ),
    ] {
        let most = take_all(dev, engine, (size, backing), bits)?;
        pr_info!("# limited: {most} {kind} pages of {size} bytes within {bits} bits\n");
        check!(most > 100, "{most} {kind}");
    }
    Ok(())
}

/// Takes all that the card reaches in pages of one chunk, and answers how many those were.
fn take_all(
    dev: &pci::Device<Core<'_>>,
    engine: &Engine<'_>,
    (size, backing): (usize, Backing),
    bits: u32,
) -> Outcome<usize> {
    let make = |name, max, initial| {
        let config = Config::new(name, size).page_size(size).backing(backing);
        let config = config.max_pages(max).initial_pages(initial);
        Pool::new(dev.as_ref(), config, GFP_KERNEL)
    };
    let initial = make(c"initial", 2 * ASIDE, ASIDE)?;
    let reserved = make(c"reserved", 2 * ASIDE, 0)?;
    let reserve = Reserve::new(&reserved, ASIDE)?;
    let pool = make(c"most", 16383, 0)?;

    // Who may not sleep may use what is kept from others, so all ask.
    let mut buffers = KVVec::new();
    for gfp in [GFP_KERNEL, GFP_NOWAIT, GFP_ATOMIC] {
        check_eq!(fill(&pool, &mut buffers, gfp)?, ENOMEM);
    }
    let most = buffers.len();
    check_eq!(pool.count(), count(most, 0, 0));
    let mask = DmaMask::try_new(bits)?.value();
    for buffer in &buffers {
        let last = buffer.dma_address() + u64::try_from(buffer.len() - 1)?;
        check!(last <= mask, "{last:#x}");
    }

    // What was set aside is there, in either way.
    let mut set_aside = KVec::new();
    for _ in 0..ASIDE {
        set_aside.push(initial.alloc(GFP_ATOMIC)?, GFP_KERNEL)?;
        set_aside.push(reserve.alloc(GFP_ATOMIC)?, GFP_KERNEL)?;
    }
    // And no more than that, but for what others gave back to the system meanwhile: the pool's limit ends it.
    let mut found = KVec::new();
    let soon = Delta::from_millis(20);
    let ended = all_of(&mut found, || reserve.alloc(GFP_ATOMIC | QUIET))?;
    check_eq!(ended, ENOMEM);
    let ended = all_of(&mut found, || {
        reserve.alloc_timeout(GFP_KERNEL | QUIET, soon)
    })?;
    check_eq!(ended, ETIMEDOUT);
    // The last one that went comes back, and is had by who may wait.
    drop(set_aside.pop());
    set_aside.push(reserve.alloc(GFP_KERNEL | QUIET)?, GFP_KERNEL)?;
    drop(found);

    // The lowest and the highest chunk, and some that came between.
    let lowest = (0..most).min_by_key(|at| buffers.get(*at).map(Buffer::dma_address));
    let highest = (0..most).max_by_key(|at| buffers.get(*at).map(Buffer::dma_address));
    for at in [lowest, highest, Some(0), Some(most / 2), Some(most - 1)] {
        let buffer = at.and_then(|at| buffers.get_mut(at)).ok_or(EINVAL)?;
        goes_round(engine, buffer)?;
    }
    for buffer in &mut set_aside {
        goes_round(engine, buffer)?;
    }
    for (name, buffer) in (0..).zip(&buffers) {
        check!(is_marked(buffer.get(..NAME).unwrap_or_default(), name));
    }

    // What comes back can be had again; of memory that short some may have been wanted back meanwhile, or be on
    // its way, which who may not sleep does not wait for.
    buffers.truncate(most / 2);
    check_eq!(fill(&pool, &mut buffers, GFP_ATOMIC)?, ENOMEM);
    let again = buffers.len();
    check!(again + most / 8 + 32 >= most, "{again} of {most}");

    // And by others, when the pool gives it back.
    drop(buffers);
    drop(pool);
    for _ in 0..ASIDE {
        set_aside.push(initial.alloc(GFP_KERNEL)?, GFP_KERNEL)?;
        set_aside.push(reserve.alloc(GFP_KERNEL)?, GFP_KERNEL)?;
    }
    Ok(most)
}

/// Takes what there is. Answers how it ended.
fn all_of<'a>(
    buffers: &mut KVec<Buffer<'a>>,
    mut alloc: impl FnMut() -> Result<Buffer<'a>>,
) -> Outcome<Error> {
    loop {
        match alloc() {
            Ok(buffer) => buffers.push(buffer, GFP_KERNEL)?,
            Err(error) => return Ok(error),
        }
    }
}

/// Takes what there is, and names each chunk. Answers how it ended.
fn fill<'a>(pool: &'a Pool<'_>, buffers: &mut KVVec<Buffer<'a>>, gfp: Flags) -> Outcome<Error> {
    loop {
        match pool.alloc(gfp | QUIET) {
            Ok(mut buffer) => {
                let name = u32::try_from(buffers.len())?;
                mark(buffer.get_mut(..NAME).unwrap_or_default(), name);
                buffers.push(buffer, GFP_KERNEL)?;
            }
            Err(error) => return Ok(error),
        }
    }
}

/// The card reads a chunk and writes it back: what it wrote is what there was. Leaves what the chunk held.
fn goes_round(engine: &Engine<'_>, buffer: &mut Buffer<'_>) -> Outcome {
    let mut name = [0; NAME];
    name.copy_from_slice(buffer.get(..NAME).ok_or(EINVAL)?);

    mark(buffer.get_mut(NAME..OWN_SIZE).unwrap_or_default(), 0x5eed);
    buffer.sync(0, OWN_SIZE, DataDirection::ToDevice)?;
    engine.fetch(buffer.dma_address(), OWN_SIZE)?;
    buffer.get_mut(..OWN_SIZE).ok_or(EINVAL)?.fill(0);
    buffer.sync(0, OWN_SIZE, DataDirection::ToDevice)?;
    engine.store(buffer.dma_address(), OWN_SIZE)?;
    buffer.sync(0, OWN_SIZE, DataDirection::FromDevice)?;
    check_eq!(buffer.get(..NAME), Some(&name[..]));
    check!(is_marked(
        buffer.get(NAME..OWN_SIZE).unwrap_or_default(),
        0x5eed
    ));
    Ok(())
}
