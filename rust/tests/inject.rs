// SPDX-License-Identifier: GPL-2.0

//! Fault injection: on each path through the crate, each allocation made to fail in turn.
//!
//! A kernel with CONFIG_FAULT_INJECTION counts a task's allocations down, and lets the one fail at which
//! it comes to zero. A path is walked with the first one failing, then with the second, until it is through
//! before the count is. Each call on it then succeeds, having got by without, or says `ENOMEM` and
//! succeeds when it is called again; and what the pool counts is right either way. Such a path allocates
//! nothing but by its calls. What is left behind the debug kernel sees: kmemleak, and the list of mappings.
//!
//! Work that is done in the background is not the task's, and so not here.

use crate::{
    check,
    check_eq,
    devices::Fixture,
    ktap::{
        Outcome,
        Stop, //
    },
    support::{
        becomes,
        count,
        QUIET, //
    },
    tests, //
};
use core::cell::Cell;
use kernel::{
    dma::DataDirection,
    prelude::*, //
};
use mbpool::{
    Backing,
    Batch,
    Buffer,
    Client,
    Config,
    Heap,
    HeapConfig,
    Notify,
    Pool,
    Quota,
    Reserve, //
};

tests![
    a_pool,
    a_pool_of_lent_pages,
    a_cache,
    a_batch,
    a_reserve,
    an_alarm,
    clients,
    a_heap,
];

/// More than any path has.
const MOST: u32 = 1000;

/// The number of the allocation of this task that fails, from now; 0 for none.
#[cfg(CONFIG_FAULT_INJECTION)]
mod nth {
    use kernel::current;

    fn place() -> *mut kernel::ffi::c_uint {
        // SAFETY: The task is the one that runs, so it is valid.
        unsafe { &raw mut (*current!().as_ptr()).fail_nth }
    }

    pub(super) fn set(nth: u32) {
        // SAFETY: The number is this task's own, who else looks does so by READ_ONCE().
        unsafe { place().write_volatile(nth) }
    }

    pub(super) fn get() -> u32 {
        // SAFETY: As above.
        unsafe { place().read_volatile() }
    }
}

#[cfg(not(CONFIG_FAULT_INJECTION))]
mod nth {
    pub(super) fn set(_: u32) {}

    pub(super) fn get() -> u32 {
        1
    }
}

/// The walks over a path, and how its calls have taken the failures.
#[derive(Default)]
struct Walk {
    number: Cell<u32>,
    failed: Cell<u32>,
    did_without: Cell<u32>,
}

impl Walk {
    /// From here on allocations count.
    fn begin(&self) {
        nth::set(self.number.get());
    }

    /// One call of the path.
    fn step<T>(&self, mut call: impl FnMut() -> Result<T>) -> Outcome<T> {
        let armed = nth::get() > 0;
        let result = call();
        let hit = armed && nth::get() == 0;
        match result {
            Ok(value) => {
                if hit {
                    self.did_without.set(self.did_without.get() + 1);
                }
                Ok(value)
            }
            Err(error) => {
                check!(hit, "{error:?}, and no allocation failed");
                check_eq!(error, ENOMEM);
                self.failed.set(self.failed.get() + 1);
                Ok(call()?)
            }
        }
    }
}

/// Walks a path until no allocation of it is left that could fail.
fn walk(on: &Fixture<'_>, path: fn(&Fixture<'_>, &Walk) -> Outcome) -> Outcome {
    if !cfg!(CONFIG_FAULT_INJECTION) {
        return Err(Stop::Skipped("a kernel without fault injection"));
    }
    let walk = Walk::default();
    path(on, &walk)?;
    for number in 1..MOST {
        walk.number.set(number);
        let outcome = path(on, &walk);
        let through = nth::get() > 0;
        nth::set(0);
        outcome?;
        if through {
            let sites = number - 1;
            let (failed, without) = (walk.failed.get(), walk.did_without.get());
            pr_info!("# {sites} sites, each once: {failed} errors, {without} did without\n");
            check!(failed > 0);
            check!(failed + without <= sites);
            return Ok(());
        }
    }
    Err(Stop::failed("the path ends", fmt!("{MOST} allocations")))
}

/// Pages of four chunks.
fn config(name: &CStr) -> Config<'_> {
    Config::new(name, 1024).page_size(4096).max_pages(4)
}

fn a_pool(on: &Fixture<'_>) -> Outcome {
    walk(on, |on, walk| {
        walk.begin();
        let pool =
            walk.step(|| Pool::new(on.dev, config(c"inject").initial_pages(1), GFP_KERNEL))?;
        let mut out = [const { None }; 12];
        let kinds = [GFP_KERNEL, GFP_ATOMIC, GFP_NOWAIT];
        for (number, place) in out.iter_mut().enumerate() {
            let gfp = *kinds.get(number % 3).ok_or(EINVAL)? | QUIET;
            let buffer = walk.step(|| pool.alloc(gfp))?;
            *place = Some(buffer.post().handle);
            check_eq!(pool.count().card, number + 1);
        }
        let handles = out.into_iter().flatten();
        for (number, handle) in handles.enumerate() {
            let buffer = pool.take(handle)?;
            if number % 2 == 0 {
                let out = buffer.into_ext();
                // SAFETY: The first call with these arguments.
                unsafe { (out.free)(out.pool, out.token) };
            }
        }
        let all = pool.count();
        check_eq!(all, count(0, 0, all.free));
        Ok(())
    })
}

fn a_pool_of_lent_pages(on: &Fixture<'_>) -> Outcome {
    walk(on, |on, walk| {
        let config = Config::new(c"inject", 4096)
            .max_pages(4)
            .backing(Backing::Streaming(DataDirection::FromDevice))
            .lending();
        let pool = Pool::new(on.dev, config, GFP_KERNEL)?;
        walk.begin();
        let mut out = [const { None }; 3];
        for page in &mut out {
            let buffer = walk.step(|| pool.alloc(GFP_KERNEL | QUIET))?;
            *page = Some(buffer.into_page().map_err(|_| EIO)?);
        }
        check_eq!(pool.count().used, 3);
        drop(out);
        check!(becomes(|| Ok(pool.count().used == 0))?);
        Ok(())
    })
}

fn a_cache(on: &Fixture<'_>) -> Outcome {
    walk(on, |on, walk| {
        let pool = Pool::new(on.dev, config(c"inject"), GFP_KERNEL)?;
        walk.begin();
        let mut stock = walk.step(|| pool.cache())?;
        let mut cache = stock.on(&pool)?;
        let mut out = [const { None }; 12];
        for (number, place) in out.iter_mut().enumerate() {
            *place = Some(walk.step(|| cache.post(GFP_ATOMIC | QUIET))?.handle);
            check_eq!(pool.count().card, number + 1);
        }
        for handle in out.into_iter().flatten() {
            let buffer = cache.take(handle)?;
            cache.free(buffer);
        }
        let all = pool.count();
        check_eq!(all, count(0, 0, all.free));
        Ok(())
    })
}

fn a_batch(on: &Fixture<'_>) -> Outcome {
    walk(on, |on, walk| {
        let pool = Pool::new(on.dev, config(c"inject"), GFP_KERNEL)?;
        walk.begin();
        let mut got = 0;
        let mut out: [Option<Batch<'_>>; 4] = [const { None }; 4];
        for place in &mut out {
            let batch = walk.step(|| pool.alloc_many(4, GFP_KERNEL | QUIET))?;
            got += batch.len();
            check_eq!(pool.count().used, got);
            *place = Some(batch);
        }
        drop(out);
        check_eq!(pool.count().used, 0);
        Ok(())
    })
}

fn a_reserve(on: &Fixture<'_>) -> Outcome {
    walk(on, |on, walk| {
        let pool = Pool::new(on.dev, config(c"inject"), GFP_KERNEL)?;
        walk.begin();
        let reserve = walk.step(|| Reserve::new(&pool, 6))?;
        let mut out: [Option<Buffer<'_>>; 10] = [const { None }; 10];
        for place in &mut out {
            *place = Some(walk.step(|| reserve.alloc(GFP_NOWAIT | QUIET))?);
        }
        drop(out);
        drop(reserve);
        check_eq!(pool.count().used, 0);
        Ok(())
    })
}

struct Silent;

impl Notify for Silent {
    fn available(&self) {}
}

fn an_alarm(on: &Fixture<'_>) -> Outcome {
    walk(on, |on, walk| {
        let pool = Pool::new(on.dev, config(c"inject"), GFP_KERNEL)?;
        walk.begin();
        // SAFETY: It refers to nothing.
        let alarm = walk.step(|| unsafe { pool.alarm(Silent) })?;
        let buffer = walk.step(|| pool.alloc(GFP_KERNEL | QUIET))?;
        check!(alarm.arm(4));
        drop(buffer);
        check_eq!(pool.count(), count(0, 0, 4));
        Ok(())
    })
}

fn clients(on: &Fixture<'_>) -> Outcome {
    walk(on, |on, walk| {
        walk.begin();
        let join = |name, min| {
            walk.step(|| Client::new(on.dev, config(name), Quota::new(min), GFP_KERNEL | QUIET))
        };
        let (one, two) = (join(c"one", 5)?, join(c"two", 0)?);
        check!(one.shares_with(&two));
        let held = walk.step(|| one.alloc(GFP_KERNEL | QUIET))?;
        let other = walk.step(|| two.alloc(GFP_KERNEL | QUIET))?;
        drop((held, other));
        Ok(())
    })
}

fn a_heap(on: &Fixture<'_>) -> Outcome {
    walk(on, |on, walk| {
        walk.begin();
        let heap = walk.step(|| Heap::new(on.dev, HeapConfig::new(c"inject")))?;
        for size in [1, 100, 3000, 20_000, 300_000] {
            let slice = walk.step(|| heap.alloc(size, GFP_KERNEL | QUIET))?;
            check!(slice.len() >= size);
        }
        let word = walk.step(|| heap.boxed::<u32>(GFP_KERNEL | __GFP_ZERO | QUIET))?;
        check_eq!(*word, 0);
        Ok(())
    })
}
