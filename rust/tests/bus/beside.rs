// SPDX-License-Identifier: GPL-2.0

//! A card writes into memory that is free: the same bytes into a C `dma_pool`, whose list of free blocks
//! lies in that memory, and into a pool of ours. Theirs then gives out memory of the card's choice. So this
//! runs apart, in a guest that is thrown away; what theirs is made to give out is a page of ours, and nothing is
//! harmed.

use super::edu::{
    on_edu,
    Engine,
    BITS, //
};
use crate::{
    check,
    check_eq,
    coexist::CPool,
    devices::Fixture,
    ktap::Outcome,
    support::QUIET,
    tests, //
};
use core::ops::Range;
use kernel::{
    device::Core,
    dma::{
        Device as _,
        DmaAddress,
        DmaMask, //
    },
    page::PAGE_SIZE,
    pci,
    prelude::*, //
};
use mbpool::{
    Buffer,
    Config,
    Pool, //
};

tests![
    a_c_pool_gives_out_what_the_card_wrote,
    ours_gives_out_what_it_has,
];

/// Bytes of a block and of a chunk; of a page, that many.
const SIZE: usize = 256;
const BLOCKS: usize = PAGE_SIZE / SIZE;

/// Memory of the kernel that no pool has anything to do with.
///
/// As a block on the list of free ones it would be the last: its first word is zero.
fn elsewhere() -> Result<KVec<u64>> {
    let mut words = KVec::from_elem(SECRET, PAGE_SIZE / 8, GFP_KERNEL)?;
    if let Some(first) = words.first_mut() {
        *first = 0;
    }
    Ok(words)
}

const SECRET: u64 = 0x5ec2_e75e_c2e7_5ec2;

/// Has the card hold `word`, over and over, to be written somewhere.
fn load(dev: &pci::Device<Core<'_>>, engine: &Engine<'_>, word: u64) -> Outcome {
    let pool = Pool::new(
        dev.as_ref(),
        Config::new(c"word", PAGE_SIZE).max_pages(1),
        GFP_KERNEL,
    )?;
    let mut buffer = pool.alloc(GFP_KERNEL)?;
    for bytes in buffer.chunks_exact_mut(8) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    engine.fetch(buffer.dma_address(), PAGE_SIZE)
}

fn a_c_pool_gives_out_what_the_card_wrote(_: &Fixture<'_>) -> Outcome {
    on_edu(theirs)
}

fn theirs(dev: &pci::Device<Core<'_>>, engine: &Engine<'_>) -> Outcome {
    // SAFETY: The device is being probed: nobody allocates yet.
    unsafe { dev.dma_set_mask_and_coherent(DmaMask::new::<BITS>())? };
    let target = elsewhere()?;
    let word = u64::try_from(target.as_ptr().addr())?;
    load(dev, engine, word)?;

    let pool = CPool::new(dev.as_ref(), c"theirs")?;
    let first = pool.alloc()?;
    pool.free(first);
    // The card has given the block back, or so it was thought: it writes to it once more.
    engine.store(first.1, SIZE)?;
    // The block is given out with an address for DMA that the card chose,
    let again = pool.alloc()?;
    // and after it memory that was never the pool's. It may have been zeroed, too.
    let other = pool.alloc()?;
    let zeroed = target.iter().filter(|word| **word != SECRET).count() * 8;
    pr_info!(
        "# dma_pool_alloc() gave a block with a DMA address of the card's, then memory of the card's \
         choice, of which it zeroed {zeroed} bytes\n"
    );
    let found = (again, other.0.addr().get());
    // The one does not belong, but both count, and the pool is not to be thought busy.
    pool.free(again);
    pool.free(other);
    check_eq!(found.0 .0, first.0);
    check_eq!(found.0 .1, word);
    check_eq!(found.1, target.as_ptr().addr());
    Ok(())
}

fn ours_gives_out_what_it_has(_: &Fixture<'_>) -> Outcome {
    on_edu(ours)
}

fn ours(dev: &pci::Device<Core<'_>>, engine: &Engine<'_>) -> Outcome {
    // SAFETY: The device is being probed: nobody allocates yet.
    unsafe { dev.dma_set_mask_and_coherent(DmaMask::new::<BITS>())? };
    let target = elsewhere()?;
    load(dev, engine, u64::try_from(target.as_ptr().addr())?)?;

    let config = Config::new(c"ours", SIZE)
        .page_size(PAGE_SIZE)
        .max_pages(1)
        .initial_pages(1);
    let pool = Pool::new(dev.as_ref(), config, GFP_KERNEL)?;
    let before = all(&pool)?;
    let page = before.iter().map(|chunk| chunk.0).min().ok_or(EINVAL)?;
    // All of it is free, and the card writes over all of it.
    engine.store(page, PAGE_SIZE)?;

    check!(same(&before, &all(&pool)?));
    // And by way of the card.
    let mut handles = KVec::with_capacity(BLOCKS, GFP_KERNEL)?;
    for _ in 0..BLOCKS {
        handles.push(pool.post(GFP_KERNEL)?.handle, GFP_KERNEL)?;
    }
    engine.store(page, PAGE_SIZE)?;
    let mut taken = KVec::with_capacity(BLOCKS, GFP_KERNEL)?;
    for handle in &handles {
        taken.push(place(&pool.take(*handle)?), GFP_KERNEL)?;
    }
    check!(same(&before, &taken));
    check_eq!(pool.count().free, BLOCKS);
    check!(target.iter().skip(1).all(|word| *word == SECRET));
    Ok(())
}

/// Where a buffer lies, for the card and for the CPU.
type Place = (DmaAddress, Range<*const u8>);

fn place(buffer: &Buffer<'_>) -> Place {
    (buffer.dma_address(), buffer.as_ptr_range())
}

/// Takes all that a pool has, and gives it back.
fn all(pool: &Pool<'_>) -> Outcome<KVec<Place>> {
    let mut buffers = KVec::with_capacity(BLOCKS, GFP_KERNEL)?;
    let mut places = KVec::with_capacity(BLOCKS, GFP_KERNEL)?;
    while let Ok(buffer) = pool.alloc(GFP_KERNEL | QUIET) {
        places.push(place(&buffer), GFP_KERNEL)?;
        buffers.push(buffer, GFP_KERNEL)?;
    }
    check_eq!(places.len(), BLOCKS);
    Ok(places)
}

/// Whether two are the same places in any order, each once.
fn same(one: &[Place], other: &[Place]) -> bool {
    let once = |place, of: &[Place]| of.iter().filter(|found| *found == place).count() == 1;
    one.len() == other.len()
        && one
            .iter()
            .all(|place| once(place, one) && once(place, other))
}
