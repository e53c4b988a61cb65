// SPDX-License-Identifier: GPL-2.0

//! Contention: what a pair costs where two CPUs use one pool, against one CPU alone.
//!
//! A row has the nanoseconds of a pair on one CPU, or of a pair on each of two which go on at once; one whose
//! name ends in `belt` those of a pair of which one CPU does the first half and another the second. On an emulator only what they are to each other means something.

use crate::{
    meter::{
        Cost,
        Label,
        Meter,
        Of, //
    },
    peers::{
        on_cpus,
        Quiet,
        Rival,
        Rivals, //
    }, //
};
use core::{
    hint::spin_loop,
    sync::atomic::{
        AtomicU64,
        Ordering::{
            Acquire,
            Release, //
        }, //
    },
};
use kernel::{
    device::{
        Bound,
        Device, //
    },
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    sync::Mutex, //
};
use mbpool::{
    Buffer,
    Cache,
    Config,
    Handle,
    Pool, //
};

/// Bytes of a chunk.
const SIZE: usize = 2048;

/// Pairs with softirqs off at once, as in a poll function.
const BUDGET: u32 = 64;

/// Handles on their way from one CPU to the other, each with a bit that says that there is one.
struct Belt([AtomicU64; 64]);

const FULL: u64 = 1 << 32;

impl Belt {
    fn new() -> Self {
        Self([const { AtomicU64::new(0) }; 64])
    }

    /// The place of the handle of that number. There are as many as numbers without end ask for.
    fn place(&self, number: u32) -> &AtomicU64 {
        let [first, ..] = &self.0;
        // CAST: `u32` to `usize`, which is no smaller on any machine that runs Linux.
        self.0.get(number as usize % self.0.len()).unwrap_or(first)
    }

    fn put(&self, number: u32, handle: Handle) {
        let place = self.place(number);
        while place.load(Acquire) != 0 {
            spin_loop();
        }
        place.store(FULL | u64::from(handle.into_raw()), Release);
    }

    fn get(&self, number: u32) -> Handle {
        let place = self.place(number);
        loop {
            let found = place.load(Acquire);
            if found != 0 {
                place.store(0, Release);
                // CAST: The lower half is the handle.
                return Handle::from_raw(found as u32);
            }
            spin_loop();
        }
    }
}

/// Does `pair` so many times, with softirqs off for some at a time.
fn repeat(n: u32, mut pair: impl FnMut(u32) -> Result) -> Result {
    let mut number = 0;
    while number < n {
        let _quiet = Quiet::new();
        for _ in 0..BUDGET.min(n - number) {
            pair(number)?;
            number += 1;
        }
    }
    Ok(())
}

/// Measures all.
pub(crate) fn measure(dev: &Device<Bound>, meter: &mut Meter) -> Result {
    let config = Config::new(c"bench-contend", SIZE)
        .page_size(PAGE_SIZE)
        .max_pages(512)
        .initial_pages(512);
    let pool = Pool::new(dev, config, GFP_KERNEL)?;
    let all = |_, n| repeat(n, |_| pool.alloc(GFP_ATOMIC).map(drop));
    pairs(meter, "contend.pool.alloc_free", |cpus, n| {
        on_cpus(cpus, n, &all)
    })?;
    let all = |_, n| {
        repeat(n, |_| {
            let posted = pool.post(GFP_ATOMIC)?;
            drop(pool.take(posted.handle)?);
            Ok(())
        })
    };
    pairs(meter, "contend.pool.post_take_free", |cpus, n| {
        on_cpus(cpus, n, &all)
    })?;
    caches(meter, &pool)?;

    belt(meter, "contend.pool.belt", |n| {
        let belt = Belt::new();
        on_cpus(2, n, &|cpu, n| match cpu {
            0 => repeat(n, |number| {
                belt.put(number, pool.post(GFP_ATOMIC)?.handle);
                Ok(())
            }),
            _ => repeat(n, |number| {
                drop(pool.take(belt.get(number))?);
                Ok(())
            }),
        })
    })?;
    belt(meter, "contend.cache.belt", |n| {
        let belt = Belt::new();
        let cache = KBox::pin_init(new_mutex!(pool.cache()?), GFP_KERNEL)?;
        on_cpus(2, n, &|cpu, n| match cpu {
            0 => {
                let mut cache = cache.lock();
                let mut cache = cache.on(&pool)?;
                repeat(n, |number| {
                    let handle = cache.alloc(GFP_ATOMIC).map(Buffer::post)?.handle;
                    belt.put(number, handle);
                    Ok(())
                })
            }
            _ => repeat(n, |number| {
                drop(pool.take(belt.get(number))?);
                Ok(())
            }),
        })
    })?;

    let rivals = Rivals::new(dev)?;
    for (rival, name, belt_name) in [
        (Rival::DmaPool, "contend.dma_pool", "contend.dma_pool.belt"),
        (
            Rival::KmemCache,
            "contend.kmem_cache",
            "contend.kmem_cache.belt",
        ),
        (
            Rival::PagePool,
            "contend.page_pool_ring",
            "contend.page_pool_ring.belt",
        ),
    ] {
        pairs(meter, name, |cpus, n| rivals.pairs(rival, cpus, n))?;
        belt(meter, belt_name, |n| rivals.belt(rival, n))?;
    }
    Ok(())
}

/// A queue on each CPU, each with its own cache.
fn caches(meter: &mut Meter, pool: &Pool<'_>) -> Result {
    // The mutexes are taken once a round: each CPU has its own.
    let caches: [Pin<KBox<Mutex<Cache>>>; 2] = [
        KBox::pin_init(new_mutex!(pool.cache()?), GFP_KERNEL)?,
        KBox::pin_init(new_mutex!(pool.cache()?), GFP_KERNEL)?,
    ];
    let all = |cpu: u32, n| {
        let [first, second] = &caches;
        let mut cache = if cpu == 0 { first } else { second }.lock();
        let mut cache = cache.on(pool)?;
        repeat(n, |_| {
            let posted = cache.post(GFP_ATOMIC)?;
            let buffer = cache.take(posted.handle)?;
            cache.free(buffer);
            Ok(())
        })
    };
    pairs(meter, "contend.cache.post_take_free", |cpus, n| {
        on_cpus(cpus, n, &all)
    })
}

/// One CPU alone, and two at once.
fn pairs(meter: &mut Meter, name: &str, mut run: impl FnMut(u32, u32) -> Result<u64>) -> Result {
    for cpus in [1, 2] {
        let cost = meter.measure(meter.iterations(), |n| run(cpus, n))?;
        report(cost, name, cpus);
    }
    Ok(())
}

/// One CPU begins what another one ends. They wait for each other, so fewer times will do.
fn belt(meter: &mut Meter, name: &str, mut run: impl FnMut(u32) -> Result<u64>) -> Result {
    let n = meter.iterations().div_ceil(8);
    let cost = meter.measure(n, |_| run(n))?;
    report(cost, name, 2);
    Ok(())
}

fn report(cost: Cost, name: &str, cpus: u32) {
    let label = Label {
        name,
        size: SIZE,
        of: Of::Cpus(cpus),
    };
    cost.report(label, Cost::default());
}
