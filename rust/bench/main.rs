// SPDX-License-Identifier: GPL-2.0

//! What the pool costs, beside what the kernel's own allocators cost, in one boot.
//!
//! All is measured when the module is loaded, and reported to the kernel log, one row a line:
//!
//! ```text
//! mbpool_bench: row pool.alloc_free size=256 buffers=64 min=118000 median=118004 max=131337 loop=3210
//! ```
//!
//! Costs are in thousandths of a nanosecond for one round of what the name says, see [`meter`]. To add a
//! row is to add a line to [`ROWS`].

mod contend;
mod growth;
mod metadata;
mod meter;
mod peers;
mod rows;

use kernel::{
    device::{
        Bound,
        Device, //
    },
    faux,
    prelude::*, //
};
use meter::{
    Effort,
    Label,
    Meter,
    Of, //
};

module! {
    type: Module,
    name: "mbpool_bench",
    authors: ["The mbpool authors"],
    description: "What mbpool costs, beside its peers",
    license: "GPL",
    params: {
        iterations: u32 {
            default: 1000,
            description: "Iterations in a round",
        },
        rounds: u32 {
            default: 101,
            description: "Rounds of a row",
        },
        contend: u8 {
            default: 0,
            description: "1: measure one CPU against two, and nothing else",
        },
    },
}

/// A row: its name, how many buffers are handled for one round of costs, and who measures it.
struct Row {
    name: &'static str,
    run: rows::Measure,
}

/// What is measured of the pool, each in pools of all [`SHAPES`].
const ROWS: &[Row] = &[
    Row {
        name: "pool.alloc_free",
        run: rows::pool::alloc_free,
    },
    Row {
        name: "pool.post_take_free",
        run: rows::pool::post_take_free,
    },
    Row {
        name: "pool.take",
        run: rows::pool::take,
    },
    Row {
        name: "pool.peek",
        run: rows::pool::peek,
    },
    Row {
        name: "pool.peek_under",
        run: rows::pool::peek_under,
    },
    Row {
        name: "pool.bulk64",
        run: rows::pool::bulk,
    },
    Row {
        name: "reserve.alloc_free",
        run: rows::reserve::alloc_free,
    },
    Row {
        name: "cache.alloc_free",
        run: rows::cache::alloc_free,
    },
    Row {
        name: "cache.post_take_free",
        run: rows::cache::post_take_free,
    },
    Row {
        name: "cache.take",
        run: rows::cache::take,
    },
    Row {
        name: "cache.peek",
        run: rows::cache::peek,
    },
    Row {
        name: "cache.bulk64",
        run: rows::cache::bulk,
    },
];

/// Bytes of a chunk, and how many there are.
const SHAPES: &[(usize, u32)] = &[(64, 64), (256, 64), (2048, 64), (256, 131_072)];

struct Module;

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let registration = faux::Registration::new(c"mbpool_bench", None)?;
        let device: &faux::Device<Bound> = registration.as_ref();
        let dev: &Device<Bound> = device.as_ref();
        // SAFETY: The device is new: nobody allocates yet.
        unsafe { peers::set_mask(dev) }?;

        let mut meter = Meter::new(Effort {
            iterations: module_parameters::iterations.value().max(1),
            rounds: module_parameters::rounds.value().max(1),
        })?;
        if module_parameters::contend.value() != 0 {
            contend::measure(dev, &mut meter)?;
            pr_info!("done\n");
            return Ok(Self);
        }
        calibrate(&mut meter)?;
        peers::measure_all(dev, &mut meter)?;
        let loops = rows::Loops::measure(&mut meter)?;
        for (size, buffers) in SHAPES {
            for row in ROWS {
                let label = Label {
                    name: row.name,
                    size: *size,
                    of: Of::Buffers(*buffers),
                };
                (row.run)(dev, &mut meter, &loops, label)?;
            }
            growth::measure(dev, &mut meter, *size, *buffers)?;
        }
        growth::measure_peers(dev, &mut meter)?;
        metadata::measure(dev)?;
        pr_info!("done\n");
        Ok(Self)
    }
}

/// Says whether the clock counts instructions: what a step of a loop of a known number costs.
fn calibrate(meter: &mut Meter) -> Result {
    let mut instructions = 0;
    let cost = meter.measure(meter.iterations(), |n| {
        // Reading the clock is in both.
        let once = meter::timed(|| {
            instructions = peers::count(n);
            Ok(())
        })?;
        let twice = meter::timed(|| {
            peers::count(n.saturating_mul(2));
            Ok(())
        })?;
        Ok(twice.saturating_sub(once))
    })?;
    pr_info!("clock instructions={} {}\n", instructions, cost);
    Ok(())
}
