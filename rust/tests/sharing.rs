// SPDX-License-Identifier: GPL-2.0

//! Arbitration between the clients of a shared pool: minimums, caps, weights, and who yields.

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
        becomes,
        QUIET, //
    },
    sysfs,
    tests,
    tide::shrink, //
};
use kernel::{
    alloc::KVVec,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};
use mbpool::{
    Client,
    ClientBuffer,
    Config,
    Quota,
    Yield, //
};

tests![
    a_minimum_is_kept_from_the_others,
    who_was_turned_away_goes_first,
    who_has_most_is_asked_to_yield,
    a_joining_client_waits_for_its_minimum,
    a_joining_client_does_not_wait_for_ever,
    minimums_stay_under_memory_pressure,
    a_minimum_being_gathered_is_not_given_back,
];

/// Up to 64 pages of four chunks. Who joins waits for others however late they are.
pub(crate) fn config(name: &CStr) -> Config<'_> {
    let config = Config::new(name, 1024).page_size(4096).max_pages(64);
    config.wait_ms(20_000)
}

/// Takes all that a client can get.
pub(crate) fn take_all<'a>(client: &'a Client<'_>) -> Outcome<KVVec<ClientBuffer<'a>>> {
    let mut buffers = KVVec::new();
    while let Ok(buffer) = client.alloc(GFP_KERNEL) {
        buffers.push(buffer, GFP_KERNEL)?;
    }
    Ok(buffers)
}

fn a_minimum_is_kept_from_the_others(on: &Fixture<'_>) -> Outcome {
    let greedy = Client::new(on.dev, config(c"greedy"), Quota::new(8), GFP_KERNEL)?;
    let modest = Client::new(
        on.dev,
        config(c"modest"),
        Quota::new(32).cap(32),
        GFP_KERNEL,
    )?;
    let all = take_all(&greedy)?;
    check_eq!(all.len(), 256 - 32);
    for _ in 0..3 {
        let mut buffers = KVVec::new();
        for _ in 0..32 {
            buffers.push(modest.alloc(GFP_ATOMIC)?, GFP_KERNEL)?;
        }
        check_eq!(modest.alloc(GFP_KERNEL).err(), Some(ENOSPC));
        // What comes back of them is not the other's.
        drop(buffers);
        check_eq!(greedy.alloc(GFP_KERNEL).err(), Some(ENOMEM));
    }
    // When its owner goes, it is.
    drop(modest);
    check_eq!(take_all(&greedy)?.len(), 32);
    Ok(())
}

/// Counts what it is asked for.
struct Told(Arc<Atomic<i64>>);

impl Yield for Told {
    fn give_back(&self, chunks: u32) {
        self.0.add(chunks.into(), Relaxed);
    }
}

fn told(client: &Client<'_>) -> Outcome<Arc<Atomic<i64>>> {
    let count = Arc::new(Atomic::new(0), GFP_KERNEL)?;
    let target: KBox<dyn Yield> = KBox::new(Told(count.clone()), GFP_KERNEL)?;
    client.on_yield(Some(target));
    Ok(count)
}

fn who_was_turned_away_goes_first(on: &Fixture<'_>) -> Outcome {
    let one = Client::new(on.dev, config(c"one"), Quota::new(0), GFP_KERNEL)?;
    let two = Client::new(on.dev, config(c"two"), Quota::new(0), GFP_KERNEL)?;
    let mut all = take_all(&one)?;
    check_eq!(all.len(), 256);
    // Nobody wants it, so it can be had again.
    all.pop();
    all.push(one.alloc(GFP_KERNEL)?, GFP_KERNEL)?;

    let mut others = KVVec::new();
    for have in 1..=128 {
        check_eq!(two.alloc(GFP_KERNEL).err(), Some(ENOMEM));
        all.pop();
        check_eq!(one.alloc(GFP_KERNEL).err(), Some(ENOMEM));
        others.push(two.alloc(GFP_KERNEL)?, GFP_KERNEL)?;
        check_eq!(two.used(), have);
    }
    // Both have the same now: nobody goes first.
    check_eq!(two.alloc(GFP_KERNEL).err(), Some(ENOMEM));
    all.pop();
    all.push(one.alloc(GFP_KERNEL)?, GFP_KERNEL)?;
    // Two is kept waiting, with no more than its share, but never under it.
    others.pop();
    check_eq!(one.alloc(GFP_KERNEL).err(), Some(ENOMEM));
    others.push(two.alloc(GFP_KERNEL)?, GFP_KERNEL)?;
    Ok(())
}

fn who_has_most_is_asked_to_yield(on: &Fixture<'_>) -> Outcome {
    let heavy = Client::new(
        on.dev,
        config(c"heavy"),
        Quota::new(0).weight(3),
        GFP_KERNEL,
    )?;
    let light = Client::new(on.dev, config(c"light"), Quota::new(0), GFP_KERNEL)?;
    let late = Client::new(on.dev, config(c"late"), Quota::new(0), GFP_KERNEL)?;
    let (of_heavy, of_light) = (told(&heavy)?, told(&light)?);
    let mut few = KVVec::new();
    for _ in 0..100 {
        few.push(light.alloc(GFP_KERNEL)?, GFP_KERNEL)?;
    }
    let many = take_all(&heavy)?;
    check_eq!(many.len(), 156);
    let counts = || (of_heavy.load(Relaxed), of_light.load(Relaxed));
    // 156 by 3 are less than 100 by 1, and each of them more than light's and heavy's own wish.
    check_eq!(counts(), (0, 1));
    for _ in 0..3 {
        check!(late.alloc(GFP_KERNEL).is_err());
        check_eq!(counts(), (0, 2));
    }
    // One that is not told may be asked, too.
    light.on_yield(None);
    few.truncate(10);
    let more = take_all(&heavy)?;
    check_eq!(more.len(), 89);
    let late_one = late.alloc(GFP_KERNEL)?;
    check!(late.alloc(GFP_KERNEL).is_err());
    check_eq!(counts(), (1, 2));
    sysfs::shows(
        "shared-1024/clients",
        &[
            ("mbpool_test:heavy/yields", 1),
            ("mbpool_test:light/yields", 2),
            ("mbpool_test:late/yields", 0),
            ("mbpool_test:late/wants", 1),
            ("mbpool_test:late/refused", 4),
        ],
    )?;
    drop(late_one);
    Ok(())
}

fn a_joining_client_waits_for_its_minimum(on: &Fixture<'_>) -> Outcome {
    if on_each_cpu(|_| Ok(()))? < 2 {
        return Err(Stop::Skipped("one CPU"));
    }
    let greedy = Client::new(on.dev, config(c"greedy"), Quota::new(16), GFP_KERNEL)?;
    let asked = told(&greedy)?;
    // 0: has not joined; 1: has joined, or failed; 2: the greedy one is done.
    let stage = Atomic::new(0);
    on_each_cpu(|cpu| {
        let result = match cpu {
            // It gives back as it is asked, and takes what it gets otherwise.
            0 => (|| {
                let mut all = take_all(&greedy)?;
                while stage.load(Relaxed) == 0 {
                    if asked.load(Relaxed) > 0 {
                        asked.add(-1, Relaxed);
                        all.pop();
                    }
                    if let Ok(buffer) = greedy.alloc(GFP_KERNEL | QUIET) {
                        all.push(buffer, GFP_KERNEL)?;
                    }
                }
                check_eq!(all.len(), 256 - 100);
                Ok(())
            })(),
            1 => (|| {
                while greedy.used() < 256 && stage.load(Relaxed) == 0 {}
                let late = Client::new(on.dev, config(c"late"), Quota::new(100), GFP_KERNEL)?;
                for _ in 0..100 {
                    late.post(GFP_ATOMIC)?;
                }
                stage.store(1, Relaxed);
                while stage.load(Relaxed) < 2 {}
                check_eq!(late.reclaim_card(), 100);
                Ok(())
            })(),
            _ => Ok(()),
        };
        if cpu < 2 {
            stage.store(2, Relaxed);
        }
        result
    })?;
    drop(asked);
    sysfs::shows("shared-1024/clients", &[("owed", 16)])
}

fn a_joining_client_does_not_wait_for_ever(on: &Fixture<'_>) -> Outcome {
    let greedy = config(c"greedy").wait_ms(50);
    let greedy = Client::new(on.dev, greedy, Quota::new(16), GFP_KERNEL)?;
    let asked = told(&greedy)?;
    let all = take_all(&greedy)?;
    let late = Client::new(on.dev, config(c"late"), Quota::new(10), GFP_KERNEL);
    check_eq!(late.err(), Some(ENOSPC));
    check_eq!(asked.load(Relaxed), 10);
    sysfs::shows("shared-1024/clients", &[("owed", 0), ("held", 0)])?;
    // Nothing is kept for it.
    drop(all);
    check_eq!(take_all(&greedy)?.len(), 256);
    Ok(())
}

fn minimums_stay_under_memory_pressure(on: &Fixture<'_>) -> Outcome {
    let one = Client::new(on.dev, config(c"one"), Quota::new(30), GFP_KERNEL)?;
    let two = Client::new(on.dev, config(c"two"), Quota::new(20), GFP_KERNEL)?;
    drop(take_all(&one)?);
    sysfs::shows("shared-1024", &[("pages", 64)])?;
    shrink()?;
    // 50 chunks are 13 pages.
    sysfs::shows("shared-1024", &[("pages", 13), ("free", 52)])?;
    // What one has of its minimum is no reason to keep more.
    let mut buffers = KVVec::new();
    for _ in 0..30 {
        buffers.push(one.alloc(GFP_KERNEL)?, GFP_KERNEL)?;
    }
    shrink()?;
    sysfs::shows("shared-1024", &[("pages", 13), ("free", 22)])?;
    drop(two);
    shrink()?;
    sysfs::shows("shared-1024", &[("pages", 8), ("free", 2)])
}

/// A pool that gives back at once whatever it does not have to keep, while a minimum is gathered page by
/// page.
fn a_minimum_being_gathered_is_not_given_back(on: &Fixture<'_>) -> Outcome {
    let config = |name| config(name).high_water(0, 0);
    let first = Client::new(on.dev, config(c"first"), Quota::new(0), GFP_KERNEL)?;
    for _ in 0..200 {
        let joined = Client::new(on.dev, config(c"joins"), Quota::new(150), GFP_KERNEL)?;
        // There, at once: without a page more.
        let asked = sysfs::number("shared-1024", "asked")?;
        for _ in 0..150 {
            joined.post(GFP_ATOMIC)?;
        }
        check_eq!(sysfs::number("shared-1024", "asked")?, asked);
        check_eq!(joined.reclaim_card(), 150);
        check!(sysfs::number("shared-1024", "free")? >= 150);
    }
    // The worker does its part: of what nobody is owed nothing stays.
    check!(becomes(|| {
        let grown = sysfs::number("shared-1024", "grown")?;
        Ok(sysfs::number("shared-1024", "returned")? == grown)
    })?);
    let returned = sysfs::number("shared-1024", "returned")?;
    pr_info!("# gathered: 200 minimums, while {returned} pages were given back\n");
    drop(first);
    Ok(())
}
