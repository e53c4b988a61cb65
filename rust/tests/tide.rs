// SPDX-License-Identifier: GPL-2.0

//! Growth and shrinking in the background, alarms, and lending.

use crate::{
    check,
    check_eq,
    context::on_each_cpu,
    devices::Fixture,
    ktap::Outcome,
    support::{
        becomes,
        count,
        holds,
        sleep,
        Random,
        QUIET, //
    },
    sysfs,
    tests, //
};
use kernel::{
    alloc::KVVec,
    bindings,
    dma::DataDirection,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Completion, //
    },
    time::{
        delay::fsleep,
        Delta, //
    }, //
};
use mbpool::{
    Backing,
    Config,
    Notify,
    Pool, //
};

tests![
    the_low_mark_grows_the_pool,
    the_high_mark_gives_pages_back,
    memory_pressure_gives_pages_back,
    who_may_sleep_waits_for_a_page_to_go,
    a_random_tenth_drains,
    a_strict_pool_never_asks_again,
    marks_that_make_no_sense_are_refused,
    an_alarm_rings_once,
    an_alarm_that_is_dropped_is_silent,
    an_alarm_outlives_its_pool,
    no_wake_up_is_lost,
    a_page_comes_home_from_the_stack,
    what_cannot_be_lent_is_not,
    a_pool_that_goes_leaves_lent_pages_to_the_stack,
];

fn the_low_mark_grows_the_pool(on: &Fixture<'_>) -> Outcome {
    let config = Config::new(c"low", 1024).page_size(4096).max_pages(8);
    let pool = Pool::new(on.dev, config.low_water(6), GFP_KERNEL)?;
    // Two pages of four hold at least six.
    check!(becomes(|| Ok(pool.count() == count(0, 0, 8)))?);
    let mut buffers = KVVec::new();
    for _ in 0..3 {
        buffers.push(pool.alloc(GFP_ATOMIC)?, GFP_KERNEL)?;
    }
    check!(becomes(|| Ok(pool.count() == count(3, 0, 9)))?);
    // At its limit the pool gives all it has, and does not try for ever.
    while let Ok(buffer) = pool.alloc(GFP_KERNEL) {
        buffers.push(buffer, GFP_KERNEL)?;
    }
    check_eq!(pool.count(), count(32, 0, 0));
    let asked = sysfs::number("low", "asked")?;
    sleep(300);
    sysfs::shows("low", &[("asked", asked), ("grown", 8), ("low_mark", 6)])
}

fn the_high_mark_gives_pages_back(on: &Fixture<'_>) -> Outcome {
    let config = Config::new(c"high", 1024).page_size(4096).max_pages(64);
    let pool = Pool::new(on.dev, config.high_water(10, 50), GFP_KERNEL)?;
    let mut buffers = KVVec::new();
    for _ in 0..256 {
        buffers.push(pool.alloc(GFP_KERNEL)?, GFP_KERNEL)?;
    }
    drop(buffers);
    // Ten are kept, so three pages of four.
    check!(becomes(|| Ok(sysfs::number("high", "returned")? == 61))?);
    check_eq!(pool.count(), count(0, 0, 12));
    sysfs::shows("high", &[("pages", 3), ("high_mark", 10)])?;
    // A handle to a page that went is one of no page.
    let posted = pool.post(GFP_KERNEL)?;
    check!(pool.take(posted.handle).is_ok());
    // And it can all grow again, at its limit, too.
    for _ in 0..256 {
        pool.post(GFP_KERNEL)?;
    }
    check_eq!(pool.count(), count(0, 256, 0));
    check_eq!(pool.reclaim_card(), 256);
    check!(becomes(|| Ok(pool.count() == count(0, 0, 12)))?);
    Ok(())
}

/// Has the kernel call all shrinkers, as it does when memory runs out.
pub(crate) fn shrink() -> Result {
    // SAFETY: The path is a string that ends with a zero byte; 1 is O_WRONLY.
    let file = unsafe { bindings::filp_open(c"/proc/sys/vm/drop_caches".as_char_ptr(), 1, 0) };
    let file = kernel::error::from_err_ptr(file)?;
    let mut position = 0;
    // SAFETY: The file is open, and was opened here.
    unsafe {
        bindings::kernel_write(file, c"2".as_char_ptr().cast(), 1, &raw mut position);
        kernel::error::to_result(bindings::filp_close(file, core::ptr::null_mut()))
    }
}

fn memory_pressure_gives_pages_back(on: &Fixture<'_>) -> Outcome {
    let config = Config::new(c"press", 1024).page_size(4096).max_pages(64);
    let pool = Pool::new(on.dev, config.initial_pages(2), GFP_KERNEL)?;
    for _ in 0..256 {
        pool.post(GFP_KERNEL)?;
    }
    shrink()?;
    check_eq!(pool.count(), count(0, 256, 0));
    check_eq!(pool.reclaim_card(), 256);
    check_eq!(pool.count(), count(0, 0, 256));
    shrink()?;
    // The pages of the beginning stay.
    check_eq!(pool.count(), count(0, 0, 8));
    sysfs::shows("press", &[("pages", 2), ("returned", 62)])
}

fn who_may_sleep_waits_for_a_page_to_go(on: &Fixture<'_>) -> Outcome {
    let config = Config::new(c"ebb", 1024).page_size(4096).max_pages(1);
    let pool = Pool::new(on.dev, config.high_water(0, 0), GFP_KERNEL)?;
    for round in 0..100 {
        drop(pool.alloc(GFP_KERNEL)?);
        // When the chunks are gone the page mostly is not yet: that takes a grace period of RCU.
        let mut left = 100_000;
        while pool.count().free != 0 {
            left -= 1;
            check!(left > 0, "round {round}");
            fsleep(Delta::from_micros(100));
        }
    }
    sysfs::shows("ebb", &[("failures_sleep", 0), ("allocations", 100)])
}

fn a_random_tenth_drains(on: &Fixture<'_>) -> Outcome {
    let config = Config::new(c"drain", 2048).page_size(65536).max_pages(128);
    let pool = Pool::new(on.dev, config.high_water(64, 1), GFP_KERNEL)?;
    let mut random = Random::new(7);
    let mut buffers = KVVec::new();
    for _ in 0..4096 {
        buffers.push(pool.alloc(GFP_KERNEL)?, GFP_KERNEL)?;
    }
    let mut free_some = |buffers: &mut KVVec<_>, left| -> Outcome {
        while buffers.len() > left {
            let at = random.next() as usize % buffers.len();
            drop(buffers.remove(at).map_err(|_| EINVAL)?);
        }
        Ok(())
    };
    free_some(&mut buffers, 410)?;
    check!(becomes(|| Ok(sysfs::number("drain", "returned")? > 0))?);
    let at_once = sysfs::number("drain", "returned")?;
    free_some(&mut buffers, 205)?;
    for _ in 0..20_000 {
        free_some(&mut buffers, 204)?;
        buffers.push(pool.alloc(GFP_KERNEL)?, GFP_KERNEL)?;
    }
    sleep(100);
    // One more comes back, for the mark to be passed. 205 and 64 chunks need 9 pages of 32.
    drop(buffers.pop());
    let drained = becomes(|| Ok(sysfs::number("drain", "pages")? <= 14))?;
    let (returned, pages) = (
        sysfs::number("drain", "returned")?,
        sysfs::number("drain", "pages")?,
    );
    pr_info!("# drain: of 128 pages {at_once} went at once, {pages} are left of them under load\n");
    check!(drained, "{pages} pages left, {returned} returned");
    Ok(())
}

fn a_strict_pool_never_asks_again(on: &Fixture<'_>) -> Outcome {
    let config = Config::new(c"strict", 1024).page_size(4096).max_pages(4);
    let pool = Pool::new(on.dev, config.strict(), GFP_KERNEL)?;
    for _ in 0..3 {
        for _ in 0..16 {
            pool.post(GFP_ATOMIC)?;
        }
        check_eq!(pool.post(GFP_KERNEL).err(), Some(ENOMEM));
        check_eq!(pool.reclaim_card(), 16);
        shrink()?;
    }
    sysfs::shows(
        "strict",
        &[("asked", 4), ("grown", 4), ("returned", 0), ("pages", 4)],
    )
}

fn marks_that_make_no_sense_are_refused(on: &Fixture<'_>) -> Outcome {
    let config = Config::new(c"marks", 1024);
    for config in [
        config.low_water(8).high_water(7, 0),
        config.strict().low_water(1),
        config.strict().high_water(1, 0),
        config.strict().max_pages(2048),
        config.backing(Backing::Streaming(DataDirection::None)),
        config.lending(),
    ] {
        check_eq!(Pool::new(on.dev, config, GFP_KERNEL).err(), Some(EINVAL));
    }
    Ok(())
}

/// Counts its calls, and completes something.
struct Bell<'a> {
    calls: &'a Atomic<i32>,
    rung: Option<&'a Completion>,
}

impl Notify for Bell<'_> {
    fn available(&self) {
        self.calls.add(1, Relaxed);
        if let Some(rung) = self.rung {
            rung.complete_all();
        }
    }
}

fn an_alarm_rings_once(on: &Fixture<'_>) -> Outcome {
    let config = Config::new(c"alarm", 1024).page_size(4096).max_pages(1);
    let pool = Pool::new(on.dev, config, GFP_KERNEL)?;
    let calls = Atomic::new(0);
    let bell = || Bell {
        calls: &calls,
        rung: None,
    };
    // SAFETY: It is dropped at the end of this function, before `calls`.
    let alarm = unsafe { pool.alarm(bell()) }?;
    let mut buffers = KVVec::new();
    for _ in 0..4 {
        buffers.push(pool.alloc(GFP_KERNEL)?, GFP_KERNEL)?;
    }
    check!(alarm.arm(2));
    drop(buffers.pop());
    check_eq!(calls.load(Relaxed), 0);
    drop(buffers.pop());
    check_eq!(calls.load(Relaxed), 1);
    drop(buffers.pop());
    check_eq!(calls.load(Relaxed), 1);
    check!(!alarm.arm(3));
    check!(alarm.arm(4));
    alarm.disarm();
    drop(buffers.pop());
    check_eq!(calls.load(Relaxed), 1);

    // What the card held counts, too.
    for _ in 0..4 {
        pool.post(GFP_KERNEL)?;
    }
    check!(alarm.arm(4));
    check_eq!(pool.reclaim_card(), 4);
    check_eq!(calls.load(Relaxed), 2);

    let mut others = KVVec::new();
    for _ in 1..16 {
        // SAFETY: As above.
        others.push(unsafe { pool.alarm(bell()) }?, GFP_KERNEL)?;
    }
    // SAFETY: It is refused.
    check_eq!(unsafe { pool.alarm(bell()) }.err(), Some(ENOSPC));
    drop(others.pop());
    // SAFETY: As above.
    let last = unsafe { pool.alarm(bell()) }?;
    let buffer = pool.alloc(GFP_KERNEL)?;
    check!(alarm.arm(4) && last.arm(4));
    drop(buffer);
    check_eq!(calls.load(Relaxed), 4);
    Ok(())
}

fn an_alarm_that_is_dropped_is_silent(on: &Fixture<'_>) -> Outcome {
    let config = Config::new(c"silent", 4096).max_pages(1);
    let pool = Pool::new(on.dev, config, GFP_KERNEL)?;
    let calls = Atomic::new(0);
    let buffer = pool.alloc(GFP_KERNEL)?;
    let bell = Bell {
        calls: &calls,
        rung: None,
    };
    // SAFETY: It is dropped here.
    let alarm = unsafe { pool.alarm(bell) }?;
    check!(alarm.arm(1));
    drop(alarm);
    drop(buffer);
    check_eq!(calls.load(Relaxed), 0);
    Ok(())
}

/// Rings for nobody.
struct Mute;

impl Notify for Mute {
    fn available(&self) {}
}

fn an_alarm_outlives_its_pool(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, Config::new(c"outlive", 4096), GFP_KERNEL)?;
    let alarm = pool.alarm_for(Mute)?;
    check!(alarm.arm(1));
    drop(pool);
    check!(alarm.arm(1));
    alarm.disarm();
    Ok(())
}

/// One CPU takes what there is and waits for more by alarm alone; the others give back.
fn no_wake_up_is_lost(on: &Fixture<'_>) -> Outcome {
    const ROUNDS: u32 = 20_000;

    let config = Config::new(c"wake", 4096).max_pages(4);
    let pool = Pool::new(on.dev, config, GFP_KERNEL)?;
    let calls = Atomic::new(0);
    let waited = Atomic::new(0);
    let taken = Atomic::new(0);
    // What was taken and not given back, by handle: the card holds it as far as the pool knows.
    let handles: [Atomic<i64>; 4] = core::array::from_fn(|_| Atomic::new(-1));

    on_each_cpu(|cpu| {
        if cpu != 0 {
            while taken.load(Relaxed) < ROUNDS {
                for slot in &handles {
                    let word = slot.xchg(-1, Relaxed);
                    if let Ok(word) = u32::try_from(word) {
                        drop(pool.take(mbpool::Handle::from_raw(word))?);
                    }
                }
            }
            return Ok(());
        }
        let result = (|| {
            while taken.load(Relaxed) < ROUNDS {
                match pool.post(GFP_ATOMIC | QUIET) {
                    Ok(posted) => {
                        let word = i64::from(posted.handle.into_raw());
                        let free = handles.iter().find(|slot| slot.load(Relaxed) < 0);
                        free.ok_or(EIO)?.store(word, Relaxed);
                        taken.add(1, Relaxed);
                    }
                    Err(_) => {
                        let rung = KBox::pin_init(Completion::new(), GFP_KERNEL)?;
                        let bell = Bell {
                            calls: &calls,
                            rung: Some(&rung),
                        };
                        // SAFETY: It is dropped before the completion.
                        let alarm = unsafe { pool.alarm(bell) }?;
                        if alarm.arm(1) {
                            waited.add(1, Relaxed);
                            // A wake-up that is lost hangs here, and the suite's limit ends it.
                            rung.wait_for_completion();
                        }
                    }
                }
            }
            Ok(())
        })();
        taken.store(ROUNDS, Relaxed);
        result
    })?;
    pool.reclaim_card();
    pr_info!(
        "# wake: waited {} times in {ROUNDS} allocations\n",
        waited.load(Relaxed)
    );
    check_eq!(calls.load(Relaxed), waited.load(Relaxed));
    Ok(())
}

/// Pages of one chunk that can be lent.
fn lending(name: &'static CStr) -> Config<'static> {
    Config::new(name, 4096)
        .max_pages(4)
        .backing(Backing::Streaming(DataDirection::FromDevice))
        .lending()
}

fn a_page_comes_home_from_the_stack(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, lending(c"lend"), GFP_KERNEL)?;
    let mut pages = KVVec::new();
    for _ in 0..4 {
        let page = pool.alloc(GFP_KERNEL)?.into_page().map_err(|_| EIO)?;
        check_eq!(page.len(), 4096);
        pages.push(page, GFP_KERNEL)?;
    }
    check_eq!(pool.alloc(GFP_ATOMIC).err(), Some(ENOMEM));
    check_eq!(pool.reap(), 0);
    sysfs::shows("lend", &[("lent", 4), ("used", 4)])?;
    // Not in the order in which they went; the next who wants one gets it at once.
    drop(pages.remove(2).map_err(|_| EIO)?);
    drop(pool.alloc(GFP_ATOMIC)?);
    check_eq!(pool.count(), count(3, 0, 1));
    // Without anybody asking, too.
    drop(pages);
    check!(becomes(|| Ok(pool.count() == count(0, 0, 4)))?);
    sysfs::shows("lend", &[("lent", 0), ("grown", 4), ("failures_atomic", 1)])
}

fn what_cannot_be_lent_is_not(on: &Fixture<'_>) -> Outcome {
    let streaming = Backing::Streaming(DataDirection::FromDevice);
    for config in [
        Config::new(c"nolend", 4096),
        Config::new(c"nolend", 4096).backing(streaming),
        Config::new(c"nolend", 2048).backing(streaming).lending(),
    ] {
        let pool = Pool::new(on.dev, config.max_pages(2), GFP_KERNEL)?;
        let buffer = pool.alloc(GFP_KERNEL)?;
        let Err(buffer) = buffer.into_page() else {
            return Err(EIO.into());
        };
        // It is still ours.
        check_eq!(pool.count().used, 1);
        drop(buffer);
        check_eq!(pool.count().used, 0);
    }
    Ok(())
}

fn a_pool_that_goes_leaves_lent_pages_to_the_stack(on: &Fixture<'_>) -> Outcome {
    let config = lending(c"gone").wait_ms(50);
    let pool = Pool::new(on.dev, config, GFP_KERNEL)?;
    let mut buffer = pool.alloc(GFP_KERNEL)?;
    buffer.fill(0x5a);
    let page = buffer.into_page().map_err(|_| EIO)?;
    drop(pool);
    check!(holds(&page, 0x5a));
    Ok(())
}
