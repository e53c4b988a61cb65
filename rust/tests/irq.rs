// SPDX-License-Identifier: GPL-2.0

//! Where one may not sleep: all that may be called in an interrupt is called in a timer, in an
//! interrupt on this CPU, and in one on another.

use crate::{
    check,
    check_eq,
    context::{
        run_in,
        Context, //
    },
    devices::Fixture,
    ktap::{
        Outcome,
        Stop, //
    },
    support::{
        count,
        is_marked,
        mark, //
    },
    sysfs,
    tests, //
};
use kernel::{
    dma::DataDirection,
    prelude::*, //
};
use mbpool::{
    Config,
    Handle,
    HandleError,
    Pool, //
};

tests![
    the_framework_runs_where_it_says,
    the_whole_life_with_growth,
    the_limit,
    bad_handles,
    reclaim_and_count,
    buffers_change_contexts,
    a_c_owner_gives_back,
];

/// Two pages of four chunks at most, none at first.
fn config() -> Config<'static> {
    Config::new(c"irq", 1024).page_size(4096).max_pages(2)
}

/// Runs `test` with a fresh pool in each context where one may not sleep.
fn in_each(on: &Fixture<'_>, test: impl Fn(&Pool<'_>) -> Outcome + Sync) -> Outcome {
    for context in Context::ATOMIC {
        let pool = Pool::new(on.dev, config(), GFP_KERNEL)?;
        match run_in(context, || test(&pool)) {
            // The others have been run by now: the interrupt on another CPU is the last.
            Err(Stop::Skipped(_)) => {}
            outcome => outcome?,
        }
    }
    Ok(())
}

fn the_framework_runs_where_it_says(_: &Fixture<'_>) -> Outcome {
    let mut runs = 0;
    for context in [Context::Process, Context::SoftIrq, Context::HardIrq] {
        run_in(context, || {
            runs += 1;
            Ok(())
        })?;
    }
    check_eq!(runs, 3);
    run_in(Context::Elsewhere, || Ok(()))
}

fn the_whole_life_with_growth(on: &Fixture<'_>) -> Outcome {
    for gfp in [GFP_ATOMIC, GFP_NOWAIT, GFP_ATOMIC | __GFP_ZERO] {
        in_each(on, |pool| {
            // The pool is empty: the first one allocates DMA memory here.
            let mut buffer = pool.alloc(gfp)?;
            check_eq!(pool.count(), count(1, 0, 3));
            check!(buffer.iter().all(|byte| *byte == 0));
            mark(&mut buffer, 9);
            buffer.sync(0, 1024, DataDirection::ToDevice)?;
            let posted = buffer.post();
            let mut bytes = [0; 64];
            pool.peek(posted.handle)?.read(0, &mut bytes)?;
            check!(is_marked(&bytes, 9));
            let buffer = pool.take(posted.handle)?;
            check!(is_marked(&buffer, 9));
            drop(buffer);
            check_eq!(pool.count(), count(0, 0, 4));
            // And straight from the pool, until it grows once more.
            for _ in 0..5 {
                pool.post(gfp)?;
            }
            check_eq!(pool.count(), count(0, 5, 3));
            check_eq!(pool.reclaim_card(), 5);
            Ok(())
        })?;
    }
    Ok(())
}

fn the_limit(on: &Fixture<'_>) -> Outcome {
    for context in Context::ATOMIC {
        let pool = Pool::new(on.dev, config(), GFP_KERNEL)?;
        let outcome = run_in(context, || {
            for _ in 0..8 {
                pool.post(GFP_ATOMIC)?;
            }
            for _ in 0..3 {
                check_eq!(pool.post(GFP_ATOMIC).err(), Some(ENOMEM));
                check_eq!(pool.alloc(GFP_NOWAIT).err(), Some(ENOMEM));
            }
            Ok(())
        });
        if let Err(Stop::Skipped(_)) = outcome {
            continue;
        }
        outcome?;
        sysfs::shows(
            "irq",
            &[
                ("card", 8),
                ("grown", 2),
                ("failures_atomic", 3),
                ("failures_nowait", 3),
                ("failures_sleep", 0),
            ],
        )?;
        check_eq!(pool.reclaim_card(), 8);
    }
    Ok(())
}

fn bad_handles(on: &Fixture<'_>) -> Outcome {
    in_each(on, |pool| {
        let old = pool.post(GFP_ATOMIC)?.handle;
        let new = pool.take(old)?.post().handle;
        check_eq!(pool.take(old).err(), Some(HandleError::Stale));
        let none = Handle::from_raw(u32::MAX);
        check_eq!(pool.take(none).err(), Some(HandleError::OutOfRange));
        drop(pool.take(new)?);
        check_eq!(pool.take(new).err(), Some(HandleError::WrongState));
        Ok(())
    })
}

fn reclaim_and_count(on: &Fixture<'_>) -> Outcome {
    for context in Context::ATOMIC {
        let large = Config::new(c"irq", 64).max_pages(64).initial_pages(64);
        let pool = Pool::new(on.dev, large, GFP_KERNEL)?;
        for _ in 0..4096 {
            pool.post(GFP_KERNEL)?;
        }
        let outcome = run_in(context, || {
            check_eq!(pool.count(), count(0, 4096, 0));
            check_eq!(pool.reclaim_card(), 4096);
            check_eq!(pool.count(), count(0, 0, 4096));
            Ok(())
        });
        if let Err(Stop::Skipped(_)) = outcome {
            check_eq!(pool.reclaim_card(), 4096);
            continue;
        }
        outcome?;
    }
    Ok(())
}

fn buffers_change_contexts(on: &Fixture<'_>) -> Outcome {
    for context in Context::ATOMIC {
        let pool = Pool::new(on.dev, config(), GFP_KERNEL)?;
        // Allocated here and dropped there; allocated there and dropped here.
        let mut there = Some(pool.alloc(GFP_KERNEL)?);
        let mut here = None;
        let outcome = run_in(context, || {
            drop(there.take());
            check_eq!(pool.count(), count(0, 0, 4));
            here = Some(pool.alloc(GFP_ATOMIC)?);
            Ok(())
        });
        if let Err(Stop::Skipped(_)) = outcome {
            continue;
        }
        outcome?;
        check!(here.is_some());
        check_eq!(pool.count(), count(1, 0, 3));
        drop(here);
        check_eq!(pool.count(), count(0, 0, 4));
    }
    Ok(())
}

fn a_c_owner_gives_back(on: &Fixture<'_>) -> Outcome {
    in_each(on, |pool| {
        let out = pool.alloc(GFP_ATOMIC)?.into_ext();
        check_eq!(pool.count(), count(1, 0, 3));
        // SAFETY: The first call with these arguments, and the pool exists.
        unsafe { (out.free)(out.pool, out.token) };
        check_eq!(pool.count(), count(0, 0, 4));
        Ok(())
    })
}
