// SPDX-License-Identifier: GPL-2.0

//! Several CPUs at one pool: growth without need does not happen, a chunk has one owner at a time, and
//! nothing is lost.

use crate::{
    check,
    check_eq,
    context::on_each_cpu,
    devices::Fixture,
    ktap::{
        Outcome,
        Stop, //
    },
    support::{
        count,
        is_marked,
        mark,
        Random, //
    },
    sysfs,
    tests, //
};
use kernel::{
    alloc::{
        Flags,
        KVVec, //
    },
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Mutex, //
    }, //
};
use mbpool::{
    Buffer,
    Config,
    Handle,
    HandleError,
    Pool, //
};

tests![
    two_that_miss_at_once_grow_once,
    all_get_all_there_is_and_no_more,
    one_handle_is_taken_once,
    chunks_are_conserved,
];

/// Fails the test as skipped if there is one CPU only.
fn needs_two() -> Outcome {
    if on_each_cpu(|_| Ok(()))? < 2 {
        return Err(Stop::Skipped("one CPU"));
    }
    Ok(())
}

fn two_that_miss_at_once_grow_once(on: &Fixture<'_>) -> Outcome {
    needs_two()?;
    // A page that takes long to be had, so that the second one meets the first.
    let config = Config::new(c"miss", 4096).page_size(1 << 20).max_pages(8);
    for _ in 0..100 {
        let pool = Pool::new(on.dev, config, GFP_KERNEL)?;
        let cpus = on_each_cpu(|_| {
            for _ in 0..3 {
                pool.post(GFP_KERNEL)?;
            }
            Ok(())
        })?;
        let posted = usize::try_from(cpus)? * 3;
        check_eq!(pool.count(), count(0, posted, 256 - posted));
        sysfs::shows("miss", &[("grown", 1), ("pages", 1), ("failures_sleep", 0)])?;
        check_eq!(pool.reclaim_card(), posted);
    }
    Ok(())
}

/// All CPUs take what they can get.
fn take_all(on: &Fixture<'_>, gfp: Flags) -> Outcome {
    let config = Config::new(c"all", 1024).page_size(4096).max_pages(64);
    let pool = Pool::new(on.dev, config, GFP_KERNEL)?;
    let total = Atomic::new(0);
    on_each_cpu(|cpu| {
        let mut buffers: KVec<Buffer<'_>> = KVec::new();
        loop {
            match pool.alloc(gfp) {
                Ok(mut buffer) => {
                    mark(&mut buffer, cpu);
                    buffers.push(buffer, GFP_KERNEL)?;
                }
                Err(error) => {
                    check_eq!(error, ENOMEM);
                    break;
                }
            }
        }
        total.fetch_add(i64::try_from(buffers.len())?, Relaxed);
        // Nobody else wrote into them.
        for buffer in &buffers {
            check!(is_marked(buffer, cpu));
        }
        // On card, so that the others do not get them.
        while let Some(buffer) = buffers.pop() {
            buffer.post();
        }
        Ok(())
    })?;
    check_eq!(total.load(Relaxed), 256);
    check_eq!(pool.count(), count(0, 256, 0));
    sysfs::shows("all", &[("pages", 64), ("grown", 64), ("high_water", 256)])?;
    check_eq!(pool.reclaim_card(), 256);
    Ok(())
}

fn all_get_all_there_is_and_no_more(on: &Fixture<'_>) -> Outcome {
    for _ in 0..10 {
        for gfp in [GFP_KERNEL, GFP_NOWAIT, GFP_ATOMIC] {
            take_all(on, gfp)?;
        }
    }
    Ok(())
}

fn one_handle_is_taken_once(on: &Fixture<'_>) -> Outcome {
    needs_two()?;
    const HANDLES: u32 = 4096;
    let config = Config::new(c"race", 64).max_pages(64);
    let pool = Pool::new(on.dev, config, GFP_KERNEL)?;
    for _ in 0..5 {
        let mut handles = KVVec::new();
        for _ in 0..HANDLES {
            handles.push(pool.post(GFP_KERNEL)?.handle, GFP_KERNEL)?;
        }
        let won = Atomic::new(0);
        let lost = Atomic::new(0);
        // All go through the same handles, in the same order.
        let cpus = on_each_cpu(|_| {
            for handle in &handles {
                match pool.take(*handle) {
                    Ok(buffer) => {
                        won.add(1, Relaxed);
                        drop(buffer);
                    }
                    Err(error) => {
                        check_eq!(error, HandleError::WrongState);
                        lost.add(1, Relaxed);
                    }
                }
            }
            Ok(())
        })?;
        check_eq!(won.load(Relaxed), HANDLES);
        check_eq!(lost.load(Relaxed), HANDLES * (cpus - 1));
        check_eq!(pool.count(), count(0, 0, usize::try_from(HANDLES)?));
    }
    Ok(())
}

fn chunks_are_conserved(on: &Fixture<'_>) -> Outcome {
    let config = Config::new(c"stress", 256).page_size(4096).max_pages(4);
    let pool = Pool::new(on.dev, config, GFP_KERNEL)?;
    // Handles that any CPU may take, from any CPU.
    let shared: Pin<KBox<Mutex<[Option<Handle>; 16]>>> =
        KBox::pin_init(new_mutex!([None; 16]), GFP_KERNEL)?;
    on_each_cpu(|cpu| {
        let mut random = Random::new(cpu);
        let mut mine: KVec<(Buffer<'_>, u32)> = KVec::new();
        for _ in 0..20_000 {
            let number = random.next();
            match number % 8 {
                0..3 => {
                    if let Ok(mut buffer) = pool.alloc(GFP_NOWAIT) {
                        mark(&mut buffer, number);
                        mine.push((buffer, number), GFP_KERNEL)?;
                    }
                }
                3..6 => {
                    if let Some((buffer, name)) = mine.pop() {
                        check!(is_marked(&buffer, name), "another's mark on a chunk");
                        drop(buffer);
                    }
                }
                _ => {
                    // Out with one of mine or of the pool's, in with somebody's.
                    let out = match mine.pop() {
                        Some((buffer, name)) => {
                            check!(is_marked(&buffer, name), "another's mark on a chunk");
                            Some(buffer.post())
                        }
                        None => pool.post(GFP_ATOMIC).ok(),
                    };
                    let Some(out) = out else { continue };
                    let place = usize::try_from(number >> 8)? % 16;
                    let other = match shared.lock().get_mut(place) {
                        Some(place) => place.replace(out.handle),
                        None => None,
                    };
                    if let Some(handle) = other {
                        drop(pool.take(handle)?);
                    }
                }
            }
        }
        for (buffer, name) in &mine {
            check!(is_marked(buffer, *name), "another's mark on a chunk");
        }
        Ok(())
    })?;
    let left = shared.lock().iter().flatten().count();
    let all = pool.count();
    check_eq!((all.used, all.card), (0, left));
    check_eq!(pool.reclaim_card(), left);
    sysfs::shows(
        "stress",
        &[
            ("free", sysfs::number("stress", "pages")? * 16),
            ("bad_out_of_range", 0),
            ("bad_stale", 0),
            ("bad_wrong_state", 0),
        ],
    )
}
