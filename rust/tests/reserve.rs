// SPDX-License-Identifier: GPL-2.0

//! The reserve: what is set aside stays there, who may sleep gets a buffer, in turn, and whatever comes
//! home by whatever way is not lost to it.

use crate::{
    check,
    check_eq,
    context::{
        in_threads,
        run_in,
        Context, //
    },
    devices::Fixture,
    ktap::Outcome,
    plain::Plain,
    support::{
        becomes,
        count,
        is_marked,
        mark,
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
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    time::{
        Delta,
        Instant,
        Monotonic, //
    }, //
};
use mbpool::{
    Buffer,
    Config,
    Ext,
    Pool,
    PoolRef,
    Reserve, //
};

tests![
    buffers_are_set_aside,
    a_reserve_that_cannot_be_leaves_nothing,
    the_pool_comes_first,
    who_may_not_sleep_gets_an_error_at_once,
    in_every_context,
    a_wait_with_a_deadline_ends,
    whatever_comes_home_is_the_first_in_lines,
    who_gives_up_leaves_the_line_whole,
    a_reserve_that_is_short_goes_before_the_pool,
    what_is_out_when_the_reserve_goes_is_the_pools,
    a_driver_keeps_it_with_its_pool,
    io_goes_on_without_memory,
    memory_that_comes_back_is_found,
    no_wake_up_is_lost,
    none_of_64_threads_starves,
    none_of_64_threads_at_a_plain_mempool,
];

/// So many chunks at most, and none at first.
fn config(name: &'static CStr, chunks: u32) -> Config<'static> {
    Config::new(name, 4096).page_size(4096).max_pages(chunks)
}

/// As long as other threads may take for their part. Nobody waits for so long if all is well; if it is
/// not, the test is to fail and not to hang.
const PATIENCE: Delta = Delta::from_secs(60);

/// Waits until so many wait. A kernel thread does not see the file system, so not by what sysfs shows.
fn wait_for<P: PoolRef>(reserve: &Reserve<P>, waiting: u32) -> Outcome {
    check!(becomes(|| Ok(reserve.waiting() == waiting))?);
    Ok(())
}

fn buffers_are_set_aside(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(c"aside", 8), GFP_KERNEL)?;
    let reserve = Reserve::new(&pool, 3)?;
    check_eq!(pool.count(), count(3, 0, 0));
    sysfs::shows(
        "aside",
        &[
            ("pages", 3),
            ("reserve/min", 3),
            ("reserve/current", 3),
            ("reserve/waiting", 0),
            ("reserve/waits", 0),
            ("reserve/waited_us", 0),
            ("reserve/longest_wait_us", 0),
            ("reserve/timeouts", 0),
            ("reserve/failures", 0),
        ],
    )?;
    check_eq!(Reserve::new(&pool, 1).err(), Some(EEXIST));
    drop(reserve);
    check_eq!(pool.count().used, 0);
    check!(sysfs::number("aside", "reserve/min").is_err());
    // And once more.
    let reserve = Reserve::new(&pool, 8)?;
    check_eq!(pool.count(), count(8, 0, 0));
    sysfs::shows("aside", &[("reserve/current", 8)])?;
    drop(reserve);
    check_eq!(pool.count(), count(0, 0, 8));
    Ok(())
}

fn a_reserve_that_cannot_be_leaves_nothing(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(c"cannot", 4), GFP_KERNEL)?;
    for min in [0, 5, u32::MAX] {
        check_eq!(Reserve::new(&pool, min).err(), Some(EINVAL));
    }
    let buffer = pool.alloc(GFP_KERNEL)?;
    check_eq!(Reserve::new(&pool, 4).err(), Some(ENOMEM));
    check_eq!(pool.count(), count(1, 0, 3));
    drop(buffer);
    drop(Reserve::new(&pool, 4)?);
    check_eq!(pool.count(), count(0, 0, 4));
    Ok(())
}

fn the_pool_comes_first(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(c"first", 4), GFP_KERNEL)?;
    let reserve = Reserve::new(&pool, 2)?;
    let mut buffers = KVVec::new();
    for (current, gfp) in [
        (2, GFP_KERNEL),
        (2, GFP_ATOMIC),
        (1, GFP_KERNEL | __GFP_ZERO),
        (0, GFP_NOWAIT),
    ] {
        let mut buffer = reserve.alloc(gfp)?;
        if gfp.contains(__GFP_ZERO) {
            check!(buffer.iter().all(|byte| *byte == 0));
        }
        mark(&mut buffer, 9);
        buffers.push(buffer, GFP_KERNEL)?;
        sysfs::shows("first", &[("reserve/current", current)])?;
    }
    // Each is another's memory, and has an address of its own.
    for (at, buffer) in buffers.iter().enumerate() {
        let rest = buffers.get(at + 1..).unwrap_or_default();
        check!(rest
            .iter()
            .all(|other| other.dma_address() != buffer.dma_address()));
    }
    // The reserve is made up first.
    for current in [1, 2, 2, 2] {
        buffers.pop();
        sysfs::shows("first", &[("reserve/current", current)])?;
    }
    check_eq!(pool.count(), count(2, 0, 2));
    // What was set aside was cleared if that was asked for, though it was used before.
    let _both = [pool.alloc(GFP_KERNEL)?, pool.alloc(GFP_KERNEL)?];
    check!(is_marked(&reserve.alloc(GFP_KERNEL)?, 9));
    let zeroed = reserve.alloc(GFP_KERNEL | __GFP_ZERO)?;
    check!(zeroed.iter().all(|byte| *byte == 0));
    Ok(())
}

fn who_may_not_sleep_gets_an_error_at_once(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(c"atomic", 2), GFP_KERNEL)?;
    let reserve = Reserve::new(&pool, 2)?;
    let buffers = [reserve.alloc(GFP_ATOMIC)?, reserve.alloc(GFP_NOWAIT)?];
    for gfp in [GFP_ATOMIC, GFP_NOWAIT, GFP_ATOMIC | __GFP_ZERO] {
        check_eq!(reserve.alloc(gfp).err(), Some(ENOMEM));
        check_eq!(reserve.post(gfp).err(), Some(ENOMEM));
        let soon = reserve.alloc_timeout(gfp, Delta::from_secs(100));
        check_eq!(soon.err(), Some(ENOMEM));
    }
    drop(buffers);
    sysfs::shows(
        "atomic",
        &[
            ("reserve/failures", 9),
            ("reserve/timeouts", 0),
            ("reserve/current", 2),
        ],
    )
}

fn in_every_context(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(c"contexts", 2), GFP_KERNEL)?;
    let reserve = Reserve::new(&pool, 2)?;
    for context in Context::ATOMIC {
        let mut kept = None;
        for _ in 0..100 {
            run_in(context, || {
                let posted = reserve.post(GFP_ATOMIC)?;
                kept = Some(reserve.alloc(GFP_ATOMIC)?);
                check_eq!(reserve.alloc(GFP_ATOMIC).err(), Some(ENOMEM));
                drop(reserve.take(posted.handle)?);
                Ok(())
            })?;
            sysfs::shows("contexts", &[("reserve/current", 1)])?;
            kept = None;
            sysfs::shows("contexts", &[("reserve/current", 2)])?;
        }
        // And who waits is woken from there.
        let buffers = [reserve.alloc(GFP_KERNEL)?, reserve.alloc(GFP_KERNEL)?];
        let [first, second] = buffers.map(|buffer| buffer.post().handle);
        in_threads(2, |number| {
            if number == 0 {
                drop(reserve.alloc_timeout(GFP_KERNEL, PATIENCE)?);
                return Ok(());
            }
            wait_for(&reserve, 1)?;
            run_in(context, || {
                drop(pool.take(first)?);
                Ok(())
            })
        })?;
        drop(pool.take(second)?);
    }
    sysfs::shows("contexts", &[("reserve/current", 2)])
}

fn a_wait_with_a_deadline_ends(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(c"deadline", 1), GFP_KERNEL)?;
    let reserve = Reserve::new(&pool, 1)?;
    let buffer = reserve.alloc(GFP_KERNEL)?;
    for ms in [-1, 0, 1, 20, 250] {
        let timeout = Delta::from_millis(ms);
        let since = Instant::<Monotonic>::now();
        check_eq!(
            reserve.alloc_timeout(GFP_KERNEL, timeout).err(),
            Some(ETIMEDOUT)
        );
        let passed = since.elapsed();
        check!(passed >= timeout, "{} ms", passed.as_millis());
        pr_info!(
            "# reserve: asked to wait {ms} ms, waited {} us\n",
            passed.as_micros_ceil()
        );
    }
    let never = reserve.alloc_timeout(GFP_KERNEL, Delta::from_nanos(i64::MIN));
    check_eq!(never.err(), Some(ETIMEDOUT));
    drop(buffer);
    // If there is one, it does not wait.
    drop(reserve.alloc_timeout(GFP_KERNEL, Delta::ZERO)?);
    sysfs::shows(
        "deadline",
        &[
            ("reserve/timeouts", 6),
            ("reserve/waits", 0),
            ("reserve/waiting", 0),
            ("reserve/current", 1),
        ],
    )
}

/// A buffer that a C owner has.
struct Lent(Ext);

// SAFETY: What is lent may be given back from any thread.
unsafe impl Sync for Lent {}

impl Lent {
    /// Gives it back; called once.
    fn give_back(&self) {
        let Self(lent) = self;
        // SAFETY: The first call with these arguments.
        unsafe { (lent.free)(lent.pool, lent.token) };
    }
}

fn whatever_comes_home_is_the_first_in_lines(on: &Fixture<'_>) -> Outcome {
    const WAITERS: u32 = 5;

    let pool = Pool::new(on.dev, config(c"line", WAITERS), GFP_KERNEL)?;
    let reserve = Reserve::new(&pool, 2)?;
    // Two of the reserve, three of the pool, and each comes home in its own way.
    let plain = pool.alloc(GFP_KERNEL)?;
    let lent = Lent(pool.alloc(GFP_KERNEL)?.into_ext());
    let posted = pool.post(GFP_KERNEL)?.handle;
    let taken = reserve.post(GFP_KERNEL)?.handle;
    reserve.post(GFP_KERNEL)?;

    let served = Atomic::new(0);
    let plain = kernel::new_mutex!(Some(plain));
    let plain = KBox::pin_init(plain, GFP_KERNEL)?;
    in_threads(WAITERS + 1, |number| {
        if number < WAITERS {
            wait_for(&reserve, number)?;
            let _mine = reserve.alloc_timeout(GFP_KERNEL, PATIENCE)?;
            check_eq!(served.fetch_add(1, Relaxed), i64::from(number));
            // Keep it, or the next one gets it.
            check!(becomes(|| Ok(served.load(Relaxed) == i64::from(WAITERS)))?);
            return Ok(());
        }
        wait_for(&reserve, WAITERS)?;
        // Nobody goes before them.
        check_eq!(reserve.alloc(GFP_ATOMIC).err(), Some(ENOMEM));
        check_eq!(pool.alloc(GFP_ATOMIC).err(), Some(ENOMEM));
        let soon = reserve.alloc_timeout(GFP_KERNEL, Delta::from_millis(5));
        check_eq!(soon.err(), Some(ETIMEDOUT));
        for step in 1..=i64::from(WAITERS) {
            match step {
                1 => drop(plain.lock().take()),
                2 => lent.give_back(),
                3 => drop(pool.take(posted)?),
                4 => drop(reserve.take(taken)?),
                _ => check_eq!(pool.reclaim_card(), 1),
            }
            check!(becomes(|| Ok(served.load(Relaxed) == step))?);
        }
        Ok(())
    })?;
    check_eq!(pool.count(), count(2, 0, 3));
    sysfs::shows(
        "line",
        &[
            ("reserve/waits", WAITERS.into()),
            ("reserve/timeouts", 1),
            ("reserve/current", 2),
        ],
    )?;
    check!(sysfs::number("line", "reserve/longest_wait_us")? > 0);
    Ok(())
}

fn who_gives_up_leaves_the_line_whole(on: &Fixture<'_>) -> Outcome {
    // Who gives up is the first, in the middle, the last, and the only one.
    for (waiters, gives_up) in [(3, 0), (3, 1), (3, 2), (1, 0)] {
        let pool = Pool::new(on.dev, config(c"gives-up", 2), GFP_KERNEL)?;
        let reserve = Reserve::new(&pool, 2)?;
        let gave_up = Atomic::new(0);
        let handles = [
            reserve.post(GFP_KERNEL)?.handle,
            reserve.post(GFP_KERNEL)?.handle,
        ];
        in_threads(waiters + 1, |number| {
            if number == waiters {
                check!(becomes(|| Ok(gave_up.load(Relaxed) == 1))?);
                wait_for(&reserve, waiters - 1)?;
                for handle in handles {
                    drop(reserve.take(handle)?);
                }
                return Ok(());
            }
            // Whoever is late stands in a line that is shorter by then.
            let in_turn = || reserve.waiting() == number || gave_up.load(Relaxed) == 1;
            check!(becomes(|| Ok(in_turn()))?);
            if number == gives_up {
                // Until the others stand in line, too.
                let soon = reserve.alloc_timeout(GFP_KERNEL, Delta::from_millis(500));
                check_eq!(soon.err(), Some(ETIMEDOUT));
                gave_up.store(1, Relaxed);
            } else {
                drop(reserve.alloc_timeout(GFP_KERNEL, PATIENCE)?);
            }
            Ok(())
        })?;
        sysfs::shows(
            "gives-up",
            &[("reserve/waiting", 0), ("reserve/current", 2)],
        )?;
    }
    Ok(())
}

fn a_reserve_that_is_short_goes_before_the_pool(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(c"short", 4), GFP_KERNEL)?;
    let reserve = Reserve::new(&pool, 2)?;
    let mut buffers = KVVec::new();
    for _ in 0..2 {
        buffers.push(pool.alloc(GFP_KERNEL)?, GFP_KERNEL)?;
    }
    let out = [reserve.post(GFP_KERNEL)?, reserve.post(GFP_KERNEL)?];
    // The pool's own buffers make it up.
    buffers.pop();
    sysfs::shows("short", &[("reserve/current", 1)])?;
    check_eq!(pool.alloc(GFP_ATOMIC).err(), Some(ENOMEM));
    buffers.pop();
    sysfs::shows("short", &[("reserve/current", 2)])?;
    check_eq!(pool.alloc(GFP_ATOMIC).err(), Some(ENOMEM));
    // It has what it should have: those that it gave out are the pool's.
    let [one, _] = out;
    drop(reserve.take(one.handle)?);
    check_eq!(pool.count(), count(2, 1, 1));
    drop(pool.alloc(GFP_ATOMIC)?);
    check_eq!(pool.reclaim_card(), 1);
    check_eq!(pool.count(), count(2, 0, 2));
    Ok(())
}

fn what_is_out_when_the_reserve_goes_is_the_pools(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(c"goes", 3), GFP_KERNEL)?;
    let reserve = Reserve::new(&pool, 3)?;
    let posted = reserve.post(GFP_KERNEL)?;
    reserve.post(GFP_KERNEL)?;
    drop(reserve);
    check_eq!(pool.count(), count(0, 2, 1));
    drop(pool.take(posted.handle)?);
    check_eq!(pool.reclaim_card(), 1);
    check_eq!(pool.count(), count(0, 0, 3));
    Ok(())
}

/// As in a driver's data.
struct Rings<'bound> {
    reserve: Reserve<Arc<Pool<'bound>>>,
    pool: Arc<Pool<'bound>>,
}

fn a_driver_keeps_it_with_its_pool(on: &Fixture<'_>) -> Outcome {
    let pool = Arc::new(
        Pool::new(on.dev, config(c"both", 2), GFP_KERNEL)?,
        GFP_KERNEL,
    )?;
    let reserve = Reserve::new(pool.clone(), 1)?;
    let rings = KBox::new(Rings { reserve, pool }, GFP_KERNEL)?;
    let posted = rings.reserve.post(GFP_KERNEL)?;
    check_eq!(rings.pool.reclaim_card(), 1);
    check!(rings.reserve.take(posted.handle).is_err());
    drop(rings.reserve.alloc(GFP_KERNEL)?);
    Ok(())
}

/// All the memory that the narrow device reaches.
fn exhaust<'a>(hog: &'a Pool<'_>) -> Outcome<KVVec<Buffer<'a>>> {
    let mut all = KVVec::new();
    // What others gave back meanwhile, too.
    for _ in 0..3 {
        while let Ok(buffer) = hog.alloc(GFP_ATOMIC | QUIET) {
            all.push(buffer, GFP_KERNEL)?;
        }
    }
    check!(all.len() > 100);
    Ok(all)
}

fn io_goes_on_without_memory(on: &Fixture<'_>) -> Outcome {
    const ROUNDS: u32 = 200;

    // One more than are set aside: it asks for a page each time, and should the system find one after all, there
    // are still others who wait.
    let pool = Pool::new(on.narrow, config(c"io", 5), GFP_KERNEL)?;
    let reserve = Reserve::new(&pool, 4)?;
    let hog = Pool::new(on.narrow, config(c"hog", 16383), GFP_KERNEL)?;
    let all = exhaust(&hog)?;
    // Every page allocation fails from now on, in whatever context it is made.
    in_threads(8, |number| {
        for round in 0..ROUNDS {
            let name = number << 16 | round;
            let mut buffer = reserve.alloc(GFP_KERNEL)?;
            mark(&mut buffer, name);
            let posted = buffer.post();
            if round % 16 == 0 {
                sleep(1);
            }
            check!(is_marked(&reserve.take(posted.handle)?, name));
        }
        Ok(())
    })?;
    check_eq!(pool.count().used, 4);
    pr_info!(
        "# reserve: {} rounds on 4 buffers with no page to be had, {} grown\n",
        ROUNDS * 8,
        pool.count().free
    );
    check!(pool.count().free <= 1);
    drop(all);
    Ok(())
}

fn memory_that_comes_back_is_found(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.narrow, config(c"back", 16383), GFP_KERNEL)?;
    let reserve = Reserve::new(&pool, 1)?;
    let hog = KBox::new(
        Pool::new(on.narrow, config(c"hog", 16383), GFP_KERNEL)?,
        GFP_KERNEL,
    )?;
    let all = exhaust(&hog)?;
    let kept = reserve.alloc(GFP_KERNEL)?;
    // What nobody gives back to the pool, but to the system: the first in line asks again. Until then it is on
    // card, where the system does not get it back.
    for buffer in all {
        buffer.post();
    }
    let gone = Atomic::new(0);
    check_eq!(hog.count().used, 0);
    let hog = kernel::new_mutex!(Some(hog));
    let hog = KBox::pin_init(hog, GFP_KERNEL)?;
    in_threads(2, |number| {
        if number == 0 {
            // Others may have given something to the system before.
            let mut found = KVec::new();
            loop {
                found.push(reserve.alloc_timeout(GFP_KERNEL, PATIENCE)?, GFP_KERNEL)?;
                if gone.load(Relaxed) == 1 {
                    return Ok(());
                }
            }
        }
        sleep(250);
        gone.store(1, Relaxed);
        if let Some(hog) = hog.lock().take() {
            hog.reclaim_card();
        }
        Ok(())
    })?;
    drop(kept);
    Ok(())
}

fn no_wake_up_is_lost(on: &Fixture<'_>) -> Outcome {
    const THREADS: u32 = 8;
    const ROUNDS: u32 = 4000;

    let pool = Pool::new(on.dev, config(c"wakes", 3), GFP_KERNEL)?;
    let reserve = Reserve::new(&pool, 2)?;
    in_threads(THREADS, |number| {
        let mut random = Random::new(number);
        for round in 0..ROUNDS {
            let name = number << 16 | round;
            let number = random.next();
            let got = match number % 4 {
                0 => {
                    reserve.alloc_timeout(GFP_KERNEL, Delta::from_millis((number >> 8 & 3).into()))
                }
                1 => reserve.alloc(GFP_NOWAIT),
                // One that is lost hangs here, and the suite's limit ends it.
                _ => reserve.alloc(GFP_KERNEL),
            };
            let Ok(mut buffer) = got else { continue };
            mark(&mut buffer, name);
            if number & 0x10000 != 0 {
                // SAFETY: May be called where one may sleep. Lets others come between.
                unsafe { bindings::schedule() };
            }
            check!(is_marked(&buffer, name), "another's mark on a chunk");
            match number >> 4 & 3 {
                0 => drop(reserve.take(buffer.post().handle)?),
                1 => drop(pool.take(buffer.post().handle)?),
                2 => Lent(buffer.into_ext()).give_back(),
                _ => drop(buffer),
            }
        }
        Ok(())
    })?;
    check_eq!(pool.count(), count(2, 0, 1));
    sysfs::shows("wakes", &[("reserve/current", 2), ("reserve/waiting", 0)])?;
    pr_info!(
        "# reserve: {} waits, {} timeouts, {} failures in {} allocations\n",
        sysfs::number("wakes", "reserve/waits")?,
        sysfs::number("wakes", "reserve/timeouts")?,
        sysfs::number("wakes", "reserve/failures")?,
        THREADS * ROUNDS
    );
    Ok(())
}

/// How many rounds the threads of a contest had: who had the least, and who the most.
struct Rounds {
    least: u32,
    most: u32,
}

/// 64 threads take one of 8 buffers each, hold it for 5 ms and give it back, for so many seconds.
fn contest<T>(what: &str, seconds: i64, get: impl Fn() -> Outcome<T> + Sync) -> Outcome<Rounds> {
    const THREADS: u32 = 64;

    let mut rounds = KVec::new();
    for _ in 0..THREADS {
        rounds.push(Atomic::new(0u64), GFP_KERNEL)?;
    }
    let (waited, longest) = (Atomic::new(0i64), Atomic::new(0i64));
    let since = Instant::<Monotonic>::now();
    in_threads(THREADS, |number| {
        while since.elapsed() < Delta::from_secs(seconds) {
            let asked = Instant::<Monotonic>::now();
            let buffer = get()?;
            let wait = asked.elapsed().as_micros_ceil();
            waited.add(wait, Relaxed);
            let mut most = longest.load(Relaxed);
            while wait > most {
                match longest.cmpxchg(most, wait, Relaxed) {
                    Ok(_) => break,
                    Err(found) => most = found,
                }
            }
            sleep(5);
            drop(buffer);
            if let Some(rounds) = rounds.get(usize::try_from(number)?) {
                rounds.add(1u64, Relaxed);
            }
        }
        Ok(())
    })?;
    let of = |pick: fn(u64, u64) -> u64, from| {
        rounds
            .iter()
            .map(|rounds| rounds.load(Relaxed))
            .fold(from, pick)
    };
    let (least, most) = (of(u64::min, u64::MAX), of(u64::max, 0));
    let all = of(u64::wrapping_add, 0);
    pr_info!(
        "# {what}: 64 threads at 8 buffers for {seconds} s: {least} to {most} rounds a thread, \
         wait {} us on average, {} us at the longest\n",
        waited.load(Relaxed) / i64::try_from(all)?.max(1),
        longest.load(Relaxed)
    );
    Ok(Rounds {
        least: u32::try_from(least)?,
        most: u32::try_from(most)?,
    })
}

fn none_of_64_threads_starves(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(c"fair", 8), GFP_KERNEL)?;
    let reserve = Reserve::new(&pool, 8)?;
    let rounds = contest("reserve", 10, || Ok(reserve.alloc(GFP_KERNEL)?))?;
    // First come, first served: nobody gets much more than anybody else, but where a processor stands still
    // with those who have a buffer.
    check!(rounds.least > 0 && rounds.most < rounds.least * 2 + 8);
    sysfs::shows("fair", &[("reserve/current", 8), ("reserve/waiting", 0)])?;
    check!(sysfs::number("fair", "reserve/waits")? > 0);
    Ok(())
}

fn none_of_64_threads_at_a_plain_mempool(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(c"plain", 8), GFP_KERNEL)?;
    let plain = Plain::new(&pool, 8)?;
    contest("plain mempool", 10, || Ok(plain.alloc()))?;
    Ok(())
}
