// SPDX-License-Identifier: GPL-2.0

//! Bounce buffers: on a kernel that was booted with `swiotlb=force` each streaming page has a copy that
//! the card sees, so a sync that is left out, or is of too little, shows: one side has stale bytes.

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
    support::{
        is_marked,
        mark,
        QUIET, //
    },
    tests, //
};
use core::ops::Range;
use kernel::{
    bindings,
    device::{
        Bound,
        Core,
        Device, //
    },
    dma::{
        DataDirection::{
            self,
            Bidirectional,
            FromDevice,
            ToDevice, //
        },
        Device as _,
        DmaMask, //
    },
    pci,
    prelude::*, //
};
use mbpool::{
    Backing,
    Buffer,
    Config,
    Pool, //
};

tests![
    the_kernel_bounces,
    the_cpu_sees_what_was_synced,
    the_card_sees_what_was_synced,
    both_see_what_was_synced,
    a_chunk_is_synced_and_not_its_neighbours,
    a_peek_syncs,
    coherent_memory_does_not_bounce,
    bounce_buffers_beyond_reach_are_an_error,
];

/// What is synced when not all is.
const PART: Range<usize> = 1024..1536;

/// What was there before.
const OLD: u32 = 1;
/// What was written since.
const NEW: u32 = 2;

/// The device with its mask, and its engine.
struct Card<'a> {
    dev: &'a Device<Bound>,
    engine: &'a Engine<'a>,
}

impl<'a> Card<'a> {
    fn new(dev: &'a pci::Device<Core<'_>>, engine: &'a Engine<'a>) -> Result<Self> {
        // SAFETY: The device is being probed: nobody allocates yet.
        unsafe { dev.dma_set_mask_and_coherent(DmaMask::new::<BITS>())? };
        let dev = dev.as_ref();
        Ok(Self { dev, engine })
    }

    /// A pool of chunks of `size` bytes.
    fn pool(&self, size: usize, backing: Backing) -> Result<Pool<'a>> {
        let config = Config::new(c"bounce", size).page_size(4096).max_pages(2);
        Pool::new(self.dev, config.backing(backing), GFP_KERNEL)
    }

    /// Fills the card's buffer with a pattern. Through coherent memory, which both always see.
    fn load(&self, name: u32) -> Outcome {
        let pool = Config::new(c"load", OWN_SIZE).max_pages(1);
        let pool = Pool::new(self.dev, pool, GFP_KERNEL)?;
        let mut buffer = pool.alloc(GFP_KERNEL)?;
        mark(&mut buffer, name);
        self.engine.fetch(buffer.dma_address(), OWN_SIZE)
    }

    /// Runs `look` on what the card's buffer holds.
    fn unload(&self, look: impl FnOnce(&[u8]) -> Outcome) -> Outcome {
        let pool = Config::new(c"unload", OWN_SIZE).max_pages(1);
        let pool = Pool::new(self.dev, pool, GFP_KERNEL)?;
        let buffer = pool.alloc(GFP_KERNEL)?;
        self.engine.store(buffer.dma_address(), OWN_SIZE)?;
        look(&buffer)
    }
}

/// The bytes of `range` are those of pattern `inside`, all others those of `outside`.
fn is_mixed(bytes: &[u8], range: Range<usize>, inside: u32, outside: u32) -> Outcome {
    let mut expected = KVec::from_elem(0, bytes.len(), GFP_KERNEL)?;
    mark(&mut expected, outside);
    let mut other = KVec::from_elem(0, bytes.len(), GFP_KERNEL)?;
    mark(&mut other, inside);
    let (to, from) = (expected.get_mut(range.clone()), other.get(range));
    to.ok_or(EINVAL)?.copy_from_slice(from.ok_or(EINVAL)?);
    let differs = expected.iter().zip(bytes).position(|(a, b)| a != b);
    check_eq!(differs, None);
    Ok(())
}

fn the_kernel_bounces(_: &Fixture<'_>) -> Outcome {
    on_edu(|dev, engine| {
        let card = Card::new(dev, engine)?;
        let raw: *const Device<Bound> = card.dev;
        // SAFETY: The device is valid: `Device` is a transparent wrapper of a `struct device`.
        let most = unsafe { bindings::dma_max_mapping_size(raw.cast_mut().cast()) };
        check!(most < usize::MAX);
        Ok(())
    })
}

fn the_cpu_sees_what_was_synced(_: &Fixture<'_>) -> Outcome {
    on_edu(|dev, engine| from_device(&Card::new(dev, engine)?, FromDevice))
}

fn the_card_sees_what_was_synced(_: &Fixture<'_>) -> Outcome {
    on_edu(|dev, engine| to_device(&Card::new(dev, engine)?, ToDevice))
}

fn both_see_what_was_synced(_: &Fixture<'_>) -> Outcome {
    on_edu(|dev, engine| {
        let card = Card::new(dev, engine)?;
        from_device(&card, Bidirectional)?;
        to_device(&card, Bidirectional)
    })
}

fn from_device(card: &Card<'_>, direction: DataDirection) -> Outcome {
    let pool = card.pool(OWN_SIZE, Backing::Streaming(direction))?;
    let mut buffer = pool.alloc(GFP_KERNEL)?;
    mark(&mut buffer, OLD);
    card.load(NEW)?;
    card.engine.store(buffer.dma_address(), OWN_SIZE)?;
    // Nobody has said that it is the CPU's turn.
    check!(is_marked(&buffer, OLD));
    // A sync the other way brings nothing.
    if direction == FromDevice {
        buffer.sync(0, OWN_SIZE, ToDevice)?;
        check!(is_marked(&buffer, OLD));
    }
    buffer.sync(PART.start, PART.len(), FromDevice)?;
    is_mixed(&buffer, PART, NEW, OLD)?;
    buffer.sync(0, OWN_SIZE, FromDevice)?;
    check!(is_marked(&buffer, NEW));
    Ok(())
}

fn to_device(card: &Card<'_>, direction: DataDirection) -> Outcome {
    let pool = card.pool(OWN_SIZE, Backing::Streaming(direction))?;
    let mut buffer = pool.alloc(GFP_KERNEL)?;
    let sees = |buffer: &Buffer<'_>, look: &dyn Fn(&[u8]) -> Outcome| {
        card.engine.fetch(buffer.dma_address(), OWN_SIZE)?;
        card.unload(look)
    };
    mark(&mut buffer, OLD);
    buffer.sync(0, OWN_SIZE, ToDevice)?;
    sees(&buffer, &|bytes| is_mixed(bytes, 0..0, NEW, OLD))?;
    mark(&mut buffer, NEW);
    // Nobody has said that it is the card's turn.
    sees(&buffer, &|bytes| is_mixed(bytes, 0..0, NEW, OLD))?;
    buffer.sync(PART.start, PART.len(), ToDevice)?;
    sees(&buffer, &|bytes| is_mixed(bytes, PART, NEW, OLD))?;
    buffer.sync(0, OWN_SIZE, ToDevice)?;
    sees(&buffer, &|bytes| is_mixed(bytes, 0..OWN_SIZE, NEW, OLD))
}

fn a_chunk_is_synced_and_not_its_neighbours(_: &Fixture<'_>) -> Outcome {
    on_edu(|dev, engine| {
        let card = Card::new(dev, engine)?;
        let pool = card.pool(1024, Backing::Streaming(FromDevice))?;
        let mut chunks = [
            pool.alloc(GFP_KERNEL)?,
            pool.alloc(GFP_KERNEL)?,
            pool.alloc(GFP_KERNEL)?,
        ];
        card.load(NEW)?;
        for chunk in &mut chunks {
            mark(chunk, OLD);
            card.engine.store(chunk.dma_address(), 1024)?;
        }
        let [before, chunk, after] = chunks;
        // No bytes are in no mapping: a kernel with DMA_API_DEBUG would say so on the console.
        chunk.sync(0, 0, FromDevice)?;
        chunk.sync(0, 1024, FromDevice)?;
        check!(is_marked(&chunk, NEW));
        check!(is_marked(&before, OLD) && is_marked(&after, OLD));
        Ok(())
    })
}

fn a_peek_syncs(_: &Fixture<'_>) -> Outcome {
    on_edu(|dev, engine| {
        let card = Card::new(dev, engine)?;
        let pool = card.pool(OWN_SIZE, Backing::Streaming(FromDevice))?;
        card.load(NEW)?;
        let mut buffer = pool.alloc(GFP_KERNEL)?;
        mark(&mut buffer, OLD);
        let posted = buffer.post();
        card.engine.store(posted.dma, OWN_SIZE)?;

        let mut bytes = [0; PART.end - PART.start];
        let peek = pool.peek(posted.handle)?;
        peek.read(0, &mut bytes)?;
        let stale = is_marked(&bytes, OLD);
        peek.sync(0, bytes.len(), FromDevice)?;
        peek.read(0, &mut bytes)?;
        drop(peek);
        check!(stale && is_marked(&bytes, NEW));
        drop(pool.take(posted.handle)?);
        Ok(())
    })
}

fn coherent_memory_does_not_bounce(_: &Fixture<'_>) -> Outcome {
    on_edu(|dev, engine| {
        let card = Card::new(dev, engine)?;
        let pool = card.pool(OWN_SIZE, Backing::Coherent)?;
        let mut buffer = pool.alloc(GFP_KERNEL)?;
        mark(&mut buffer, OLD);
        card.load(NEW)?;
        card.engine.store(buffer.dma_address(), OWN_SIZE)?;
        buffer.sync(0, OWN_SIZE, FromDevice)?;
        check!(is_marked(&buffer, NEW));
        Ok(())
    })
}

/// The bounce buffers lie beyond 24 bits, and nothing may be mapped without one.
fn bounce_buffers_beyond_reach_are_an_error(on: &Fixture<'_>) -> Outcome {
    let config = Config::new(c"beyond", 4096).backing(Backing::Streaming(FromDevice));
    for gfp in [GFP_KERNEL, GFP_ATOMIC] {
        let pool = Pool::new(on.narrow, config, GFP_KERNEL)?;
        check_eq!(pool.alloc(gfp | QUIET).err(), Some(ENOMEM));
    }
    Ok(())
}
