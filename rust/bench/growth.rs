// SPDX-License-Identifier: GPL-2.0

//! Growth: what an allocation costs that takes a page, and what of it is the pool's own.
//!
//! Each is timed alone, with no page given back meanwhile, and sixteen make a round, for a clock that ticks
//! slowly. Off the raw figures goes what reading the clock costs. Who reads the log takes off the DMA call, which is a row
//! of its own, and the allocation that need not grow.

use crate::{
    meter::{
        timed,
        Cost,
        Label,
        Meter,
        Of, //
    },
    peers::{
        measure_event,
        Event, //
    },
    rows::pages, //
};
use kernel::{
    alloc::KVVec,
    device::{
        Bound,
        Device, //
    },
    page::PAGE_SIZE,
    prelude::*, //
};
use mbpool::{
    Config,
    Pool, //
};

/// Events in a round.
const EVENTS: u32 = 16;

/// Measures rounds of [`EVENTS`] events, each of which answers its nanoseconds.
pub(crate) fn events(meter: &mut Meter, mut event: impl FnMut() -> Result<u64>) -> Result<Cost> {
    meter.measure(EVENTS, |_| {
        let mut passed = 0;
        for _ in 0..EVENTS {
            passed += event()?;
        }
        Ok(passed)
    })
}

/// How many events the rounds of a row have.
pub(crate) fn count(meter: &Meter) -> u32 {
    meter.rounds().saturating_mul(EVENTS)
}

/// Growth of a pool that may have `buffers` chunks, by one page each time.
pub(crate) fn measure(dev: &Device<Bound>, meter: &mut Meter, size: usize, buffers: u32) -> Result {
    let clock = clock(meter)?;
    let most = pages(size, buffers)?.max(count(meter));
    let config = Config::new(c"bench-grow", size)
        .page_size(PAGE_SIZE)
        .max_pages(most);
    let pool = Pool::new(dev, config, GFP_KERNEL)?;
    let chunks = PAGE_SIZE.checked_div(size).ok_or(EINVAL)?;
    let mut out = KVVec::new();

    let grow = events(meter, || {
        let mut got = None;
        let passed = timed(|| {
            got = Some(pool.alloc(GFP_ATOMIC)?);
            Ok(())
        })?;
        if let Some(buffer) = got {
            out.push(buffer, GFP_KERNEL)?;
        }
        for _ in 1..chunks {
            out.push(pool.alloc(GFP_KERNEL)?, GFP_KERNEL)?;
        }
        Ok(passed)
    })?;
    out.clear();
    let alloc = events(meter, || {
        let mut got = None;
        timed(|| {
            got = Some(pool.alloc(GFP_ATOMIC)?);
            Ok(())
        })
    })?;
    grow.report(
        Label {
            name: "pool.grow",
            size,
            of: Of::Buffers(buffers),
        },
        clock,
    );
    alloc.report(
        Label {
            name: "pool.grow.alloc",
            size,
            of: Of::Buffers(buffers),
        },
        clock,
    );
    Ok(())
}

fn clock(meter: &mut Meter) -> Result<Cost> {
    events(meter, || timed(|| Ok(())))
}

/// The same of dma_pool, and the DMA call itself.
pub(crate) fn measure_peers(dev: &Device<Bound>, meter: &mut Meter) -> Result {
    let clock = measure_event(dev, meter, Event::Nothing)?;
    for (event, name, size) in [
        (Event::DmaAlloc, "grow.dma_alloc_coherent", PAGE_SIZE),
        (Event::DmaPoolGrow, "dma_pool.grow", 256),
        (Event::DmaPoolAlloc, "dma_pool.grow.alloc", 256),
    ] {
        let cost = measure_event(dev, meter, event)?;
        cost.report(
            Label {
                name,
                size,
                of: Of::Buffers(0),
            },
            clock,
        );
    }
    Ok(())
}
