// SPDX-License-Identifier: GPL-2.0

//! What allocation flags do: who grows, who fails, under which kind a failure is counted, and zeroing.

use crate::{
    check,
    check_eq,
    devices::Fixture,
    ktap::Outcome,
    support::{
        count,
        is_marked,
        mark,
        QUIET, //
    },
    sysfs,
    tests, //
};
use kernel::{
    alloc::{
        Flags,
        KVVec, //
    },
    device::{
        Bound,
        Device, //
    },
    dma::DataDirection,
    prelude::*, //
};
use mbpool::{
    Backing,
    Config,
    Pool, //
};

tests![
    each_kind_of_flags_grows_the_pool,
    failures_are_counted_by_kind,
    fresh_pages_are_zero,
    zero_clears_a_used_chunk,
    zero_clears_a_chunk_for_the_card,
    flags_that_choose_memory_are_dropped,
    memory_runs_out_and_comes_back,
    streaming_memory_runs_out_and_comes_back,
];

/// Two pages of four chunks at most, none at first.
fn config() -> Config<'static> {
    Config::new(c"gfp", 1024).page_size(4096).max_pages(2)
}

fn each_kind_of_flags_grows_the_pool(on: &Fixture<'_>) -> Outcome {
    for gfp in [GFP_KERNEL, GFP_NOWAIT, GFP_ATOMIC, GFP_KERNEL | QUIET] {
        let pool = Pool::new(on.dev, config(), GFP_KERNEL)?;
        let one = pool.alloc(gfp)?;
        check_eq!(pool.count(), count(1, 0, 3));
        let posted = pool.post(gfp)?;
        check_eq!(pool.count(), count(1, 1, 2));
        sysfs::shows("gfp", &[("grown", 1)])?;
        drop((one, pool.take(posted.handle)?));
    }
    Ok(())
}

fn failures_are_counted_by_kind(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config().max_pages(1), GFP_KERNEL)?;
    let mut buffers = KVec::new();
    for _ in 0..4 {
        buffers.push(pool.alloc(GFP_KERNEL)?, GFP_KERNEL)?;
    }
    let fail = |gfp: Flags, times| -> Outcome {
        for _ in 0..times {
            check_eq!(pool.alloc(gfp).err(), Some(ENOMEM));
            check_eq!(pool.post(gfp).err(), Some(ENOMEM));
        }
        Ok(())
    };
    fail(GFP_ATOMIC, 1)?;
    fail(GFP_NOWAIT, 2)?;
    fail(GFP_KERNEL, 3)?;
    fail(GFP_ATOMIC | __GFP_ZERO | QUIET, 4)?;
    sysfs::shows(
        "gfp",
        &[
            ("failures_atomic", 10),
            ("failures_nowait", 4),
            ("failures_sleep", 6),
        ],
    )
}

fn fresh_pages_are_zero(on: &Fixture<'_>) -> Outcome {
    // Leave something behind in the memory that the pages will be of.
    for _ in 0..2 {
        let pool = Pool::new(on.dev, config(), GFP_KERNEL)?;
        for _ in 0..8 {
            let mut buffer = pool.alloc(GFP_KERNEL)?;
            check!(buffer.iter().all(|byte| *byte == 0));
            buffer.fill(0xa5);
            // On card, so that the next one is another.
            buffer.post();
        }
        check_eq!(pool.reclaim_card(), 8);
    }
    Ok(())
}

fn zero_clears_a_used_chunk(on: &Fixture<'_>) -> Outcome {
    // One chunk, so that the same one comes back.
    let one = Config::new(c"gfp", 4096).max_pages(1);
    let pool = Pool::new(on.dev, one, GFP_KERNEL)?;
    mark(&mut pool.alloc(GFP_KERNEL)?, 5);
    check!(is_marked(&pool.alloc(GFP_KERNEL)?, 5));
    let zeroed = pool.alloc(GFP_ATOMIC | __GFP_ZERO)?;
    check_eq!(zeroed.len(), 4096);
    check!(zeroed.iter().all(|byte| *byte == 0));
    Ok(())
}

fn zero_clears_a_chunk_for_the_card(on: &Fixture<'_>) -> Outcome {
    let one = Config::new(c"gfp", 4096).max_pages(1);
    let pool = Pool::new(on.dev, one, GFP_KERNEL)?;
    mark(&mut pool.alloc(GFP_KERNEL)?, 6);
    let posted = pool.post(GFP_KERNEL)?;
    check!(is_marked(&pool.take(posted.handle)?, 6));
    let posted = pool.post(GFP_KERNEL | __GFP_ZERO)?;
    check!(pool.take(posted.handle)?.iter().all(|byte| *byte == 0));
    Ok(())
}

fn flags_that_choose_memory_are_dropped(on: &Fixture<'_>) -> Outcome {
    for gfp in [__GFP_HIGHMEM, GFP_KERNEL_ACCOUNT] {
        let pool = Pool::new(on.narrow, config(), GFP_KERNEL)?;
        let buffer = pool.alloc(GFP_KERNEL | gfp)?;
        check!(buffer.dma_address() < 1 << 24);
    }
    Ok(())
}

fn memory_runs_out_and_comes_back(on: &Fixture<'_>) -> Outcome {
    let much = Config::new(c"much", 4096).max_pages(16383);
    runs_out(on.narrow, much)?;
    runs_out(on.bus_limited, much)
}

/// Pages that the device does not reach are never mapped, of which the kernel would warn.
fn streaming_memory_runs_out_and_comes_back(on: &Fixture<'_>) -> Outcome {
    let much = Config::new(c"much", 4096).max_pages(16383);
    let much = much.backing(Backing::Streaming(DataDirection::FromDevice));
    runs_out(on.narrow, much)?;
    runs_out(on.bus_limited, much)
}

/// The device reaches 16 MiB.
fn runs_out(dev: &Device<Bound>, much: Config<'_>) -> Outcome {
    let mut most = usize::MAX;
    for gfp in [GFP_KERNEL, GFP_NOWAIT, GFP_ATOMIC] {
        let pool = Pool::new(dev, much, GFP_KERNEL)?;
        let mut buffers = KVVec::new();
        loop {
            match pool.alloc(gfp | QUIET) {
                Ok(mut buffer) => {
                    let name = u32::try_from(buffers.len())?;
                    mark(buffer.get_mut(..64).unwrap_or_default(), name);
                    buffers.push(buffer, GFP_KERNEL)?;
                }
                Err(error) => {
                    check_eq!(error, ENOMEM);
                    break;
                }
            }
        }
        // Nothing is lost of what was there: it can be used, given back, and had again.
        check!(buffers.len() > 100, "{} buffers", buffers.len());
        for (name, buffer) in (0..).zip(buffers.iter()) {
            check!(is_marked(buffer.get(..64).unwrap_or_default(), name));
            check!(buffer.dma_address() < 1 << 24);
        }
        let all = buffers.len();
        check_eq!(pool.count(), count(all, 0, 0));
        drop(buffers);
        // Of memory that short some may have been wanted back meanwhile.
        let home = pool.count();
        check_eq!(home, count(0, 0, home.free.min(all)));
        let mut again = 0;
        while pool.post(gfp | QUIET).is_ok() {
            again += 1;
        }
        check!(again >= all - all / 8, "{again} of {all}");
        check_eq!(pool.reclaim_card(), again);
        most = most.min(all);
    }
    check!(most > 100, "{most} at least");
    Ok(())
}
