// SPDX-License-Identifier: GPL-2.0

//! Caches and batches: a queue's own stock, what nobody else takes of it, and that all of it comes home.

use crate::{
    check,
    check_eq,
    context::{
        on_each_cpu,
        run_in,
        Context, //
    },
    devices::Fixture,
    ktap::Outcome,
    support::{
        count,
        is_marked,
        mark,
        Random,
        QUIET, //
    },
    sysfs,
    tests, //
};
use kernel::{
    alloc::KVVec,
    prelude::*, //
};
use mbpool::{
    Batch,
    Config,
    Handle,
    HandleError,
    Pool, //
};

tests![
    a_cache_is_a_pool_of_its_own_queue,
    nobody_else_takes_what_a_cache_posted,
    a_cache_that_goes_leaves_everything_to_the_pool,
    a_cache_takes_and_gives_by_halves,
    a_cache_at_the_limit_of_its_pool,
    buffers_go_between_pool_and_caches,
    a_peek_of_a_cache,
    many_at_once,
    a_batch_goes_home,
    a_cache_in_any_context,
    there_are_so_many_caches,
    a_cache_may_outlive_its_pool,
    each_cpu_its_cache,
];

fn config(name: &'static CStr) -> Config<'static> {
    Config::new(name, 1024).page_size(4096).max_pages(256)
}

fn a_cache_is_a_pool_of_its_own_queue(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(c"cache"), GFP_KERNEL)?;
    let mut stock = pool.cache()?;
    let mut cache = stock.on(&pool)?;
    let mut buffer = cache.alloc(GFP_KERNEL)?;
    mark(&mut buffer, 1);
    check_eq!(pool.count().used, 1);
    let posted = cache.post_buffer(buffer);
    check_eq!((pool.count().used, pool.count().card), (0, 1));
    let buffer = cache.take(posted.handle)?;
    check_eq!(buffer.dma_address(), posted.dma);
    check!(is_marked(&buffer, 1));
    cache.free(buffer);
    check_eq!(pool.count(), count(0, 0, 4));

    // The last one in is the first one out, under another handle.
    let again = cache.post(GFP_KERNEL)?;
    check_eq!(again.dma, posted.dma);
    check!(again.handle != posted.handle);
    check_eq!(cache.take(posted.handle).err(), Some(HandleError::Stale));
    drop(cache.take(again.handle)?);
    check_eq!(
        cache.take(again.handle).err(),
        Some(HandleError::WrongState)
    );
    check_eq!(
        cache.take(Handle::from_raw(u32::MAX)).err(),
        Some(HandleError::OutOfRange)
    );
    sysfs::shows(
        "cache",
        &[
            ("allocations", 2),
            ("bad_stale", 1),
            ("bad_wrong_state", 1),
            ("bad_out_of_range", 1),
        ],
    )?;

    let mut buffer = cache.alloc(GFP_KERNEL)?;
    buffer.fill(0xff);
    cache.free(buffer);
    let buffer = cache.alloc(GFP_KERNEL | __GFP_ZERO)?;
    check!(buffer.iter().all(|byte| *byte == 0));
    Ok(())
}

fn nobody_else_takes_what_a_cache_posted(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(c"owners"), GFP_KERNEL)?;
    let (mut one, mut two) = (pool.cache()?, pool.cache()?);
    let (mut one, mut two) = (one.on(&pool)?, two.on(&pool)?);
    let wrong = Some(HandleError::WrongState);
    let mine = one.post(GFP_KERNEL)?.handle;
    let yours = two.post(GFP_KERNEL)?.handle;
    let ours = pool.post(GFP_KERNEL)?.handle;
    check_eq!(one.take(yours).err(), wrong);
    check_eq!(one.take(ours).err(), wrong);
    check_eq!(two.take(mine).err(), wrong);
    check_eq!(pool.take(mine).err(), wrong);
    check_eq!(pool.peek(yours).err().map(|_| ()), Some(()));
    check_eq!(one.peek(yours).err(), wrong);
    // Nor does the pool reclaim it, nor one cache what the other has.
    check_eq!(pool.reclaim_card(), 1);
    check_eq!(two.reclaim_card(), 1);
    check_eq!(two.take(yours).err(), wrong);
    check_eq!(pool.count().card, 1);
    check!(one.take(mine).is_ok());
    Ok(())
}

fn a_cache_that_goes_leaves_everything_to_the_pool(on: &Fixture<'_>) -> Outcome {
    let config = config(c"gone").max_pages(40).initial_pages(40);
    let pool = Pool::new(on.dev, config, GFP_KERNEL)?;
    let mut stock = pool.cache()?;
    let mut cache = stock.on(&pool)?;
    let handle = cache.post(GFP_KERNEL)?.handle;
    let buffer = cache.alloc(GFP_KERNEL)?;
    check_eq!(pool.count(), count(1, 1, 158));
    sysfs::shows("gone", &[("cached", 62), ("allocations", 2), ("free", 158)])?;
    drop(stock);
    sysfs::shows("gone", &[("cached", 0), ("allocations", 2), ("free", 158)])?;
    // A new cache has the number of the old one, and nothing that was its.
    let mut next = pool.cache()?;
    let found = next.on(&pool)?.take(handle).err();
    check_eq!(found, Some(HandleError::WrongState));
    // The pool has it, under the same handle.
    drop(pool.take(handle)?);
    drop(buffer);
    drop(next);
    check_eq!(pool.count(), count(0, 0, 160));
    let mut all = KVVec::new();
    while let Ok(buffer) = pool.alloc(GFP_KERNEL) {
        all.push(buffer, GFP_KERNEL)?;
    }
    check_eq!(all.len(), 160);
    Ok(())
}

fn a_cache_takes_and_gives_by_halves(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(c"halves").initial_pages(128), GFP_KERNEL)?;
    let mut stock = pool.cache()?;
    let mut cache = stock.on(&pool)?;
    let mut buffers = KVVec::new();
    for taken in 1..=200u64 {
        buffers.push(cache.alloc(GFP_KERNEL)?, GFP_KERNEL)?;
        sysfs::shows("halves", &[("cached", taken.next_multiple_of(64) - taken)])?;
    }
    for given in 1..=200u64 {
        cache.free(buffers.pop().ok_or(EINVAL)?);
        let cached = sysfs::number("halves", "cached")?;
        check!(cached <= 128, "{cached} after {given}");
    }
    check_eq!(pool.count(), count(0, 0, 512));
    cache.flush();
    sysfs::shows("halves", &[("cached", 0), ("allocations", 200)])
}

fn a_cache_at_the_limit_of_its_pool(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(c"limit").max_pages(2), GFP_KERNEL)?;
    let (mut one, mut two) = (pool.cache()?, pool.cache()?);
    let (mut one, mut two) = (one.on(&pool)?, two.on(&pool)?);
    let first = one.alloc(GFP_KERNEL)?;
    let mut all = KVVec::new();
    while let Ok(buffer) = two.alloc(GFP_KERNEL | QUIET) {
        all.push(buffer, GFP_KERNEL)?;
    }
    // The rest is in the first one's stock, until that is flushed.
    check_eq!(all.len(), 4);
    check_eq!(pool.alloc(GFP_ATOMIC | QUIET).err(), Some(ENOMEM));
    one.flush();
    all.push(two.alloc(GFP_KERNEL)?, GFP_KERNEL)?;
    drop(all);
    drop(first);
    check_eq!(pool.count(), count(0, 0, 8));
    Ok(())
}

fn buffers_go_between_pool_and_caches(on: &Fixture<'_>) -> Outcome {
    let other = Pool::new(on.dev, config(c"other"), GFP_KERNEL)?;
    let pool = Pool::new(on.dev, config(c"between"), GFP_KERNEL)?;
    let (mut one, mut two) = (pool.cache()?, pool.cache()?);
    let (mut one, mut two) = (one.on(&pool)?, two.on(&pool)?);
    // From the pool to one, from one to two, and home.
    let buffer = pool.alloc(GFP_KERNEL)?;
    let there = buffer.dma_address();
    one.free(buffer);
    let posted = one.post(GFP_KERNEL)?;
    check_eq!(posted.dma, there);
    let posted = two.post_buffer(one.take(posted.handle)?);
    check_eq!(posted.dma, there);
    let buffer = two.take(posted.handle)?;
    two.free(buffer);

    // A buffer of another pool goes home to that, or on the card for it.
    one.free(other.alloc(GFP_KERNEL)?);
    check_eq!(other.count(), count(0, 0, 4));
    let foreign = one.post_buffer(other.alloc(GFP_KERNEL)?);
    check!(other.take(foreign.handle).is_ok());
    check_eq!(pool.count(), count(0, 0, 4));
    Ok(())
}

fn a_peek_of_a_cache(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(c"peek"), GFP_KERNEL)?;
    let mut stock = pool.cache()?;
    let mut cache = stock.on(&pool)?;
    let mut buffer = cache.alloc(GFP_KERNEL)?;
    mark(&mut buffer, 3);
    let posted = cache.post_buffer(buffer);
    let mut bytes = KVec::from_elem(0u8, 1024, GFP_KERNEL)?;
    let peek = cache.peek(posted.handle)?;
    check_eq!((peek.len(), peek.dma_address()), (1024, posted.dma));
    peek.read(0, &mut bytes)?;
    check!(is_marked(&bytes, 3));
    check_eq!(peek.read(1, &mut bytes).err(), Some(EINVAL));
    check!(cache.take(posted.handle).is_ok());
    check_eq!(
        cache.peek(posted.handle).err(),
        Some(HandleError::WrongState)
    );
    Ok(())
}

fn many_at_once(on: &Fixture<'_>) -> Outcome {
    let other = Pool::new(on.dev, config(c"other"), GFP_KERNEL)?;
    let pool = Pool::new(on.dev, config(c"many"), GFP_KERNEL)?;
    let mut stock = pool.cache()?;
    let mut cache = stock.on(&pool)?;
    let mut handles = KVVec::new();
    let posted = cache.post_each(100, GFP_KERNEL, |posted| {
        let _ = handles.push(posted.handle, GFP_ATOMIC);
    })?;
    check_eq!((posted, handles.len()), (100, 100));
    check_eq!(pool.count().card, 100);
    let zeroed = cache.post_each(1, GFP_KERNEL | __GFP_ZERO, |_| ());
    check_eq!(zeroed.err(), Some(EINVAL));

    // A bad one among them costs itself.
    handles.push(Handle::from_raw(u32::MAX), GFP_KERNEL)?;
    let mut batch = pool.batch();
    check_eq!(cache.take_many(&handles, &mut batch), 101);
    check_eq!(batch.len(), 100);
    check_eq!(pool.count().used, 100);
    // There is room for 28 more.
    handles.truncate(0);
    cache.post_each(40, GFP_KERNEL, |posted| {
        let _ = handles.push(posted.handle, GFP_ATOMIC);
    })?;
    check_eq!(cache.take_many(&handles, &mut batch), 28);
    check_eq!(batch.len(), Batch::CAPACITY);
    check_eq!(cache.take_many(&handles, &mut batch), 0);
    cache.free_many(&mut batch);
    check!(batch.is_empty());
    check_eq!(pool.count().card, 12);
    check_eq!(cache.reclaim_card(), 12);
    check_eq!((pool.count().used, pool.count().card), (0, 0));
    sysfs::shows("many", &[("allocations", 140), ("bad_out_of_range", 1)])?;

    // Not into the batch of another pool.
    let mut foreign = other.alloc_many(2, GFP_KERNEL)?;
    let handle = cache.post(GFP_KERNEL)?.handle;
    check_eq!(cache.take_many(&[handle], &mut foreign), 0);
    cache.free_many(&mut foreign);
    check_eq!(foreign.len(), 2);
    check!(foreign.push(cache.take(handle)?).is_err());
    Ok(())
}

fn a_batch_goes_home(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(c"batch").initial_pages(64), GFP_KERNEL)?;
    let mut batch = pool.alloc_many(1000, GFP_KERNEL)?;
    check_eq!(batch.len(), 128);
    check_eq!(pool.count(), count(128, 0, 128));
    let mut buffer = batch.pop().ok_or(EINVAL)?;
    buffer.fill(0xff);
    check!(batch.push(buffer).is_ok());
    drop(batch);
    check_eq!(pool.count(), count(0, 0, 256));
    let zeroed = pool.alloc_many(128, GFP_KERNEL | __GFP_ZERO)?;
    check_eq!(zeroed.len(), 128);
    let mut zeroed = zeroed;
    while let Some(buffer) = zeroed.pop() {
        check!(buffer.iter().all(|byte| *byte == 0));
    }
    check_eq!(pool.alloc_many(0, GFP_KERNEL)?.len(), 0);

    let mut handles = KVVec::new();
    let posted = pool.post_each(50, GFP_KERNEL, |posted| {
        let _ = handles.push(posted.handle, GFP_ATOMIC);
    })?;
    check_eq!((posted, handles.len()), (50, 50));
    let mut batch = pool.batch();
    check_eq!(pool.take_many(&handles, &mut batch), 50);
    batch.post_each(|_| ());
    check_eq!(pool.count(), count(0, 50, 206));
    check_eq!(pool.reclaim_card(), 50);
    Ok(())
}

fn a_cache_in_any_context(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(c"context").initial_pages(16), GFP_KERNEL)?;
    let mut stock = pool.cache()?;
    let mut cache = stock.on(&pool)?;
    for context in [Context::Process, Context::SoftIrq, Context::HardIrq] {
        run_in(context, || {
            for _ in 0..200 {
                let handle = cache.post(GFP_ATOMIC)?.handle;
                let buffer = cache.take(handle)?;
                cache.free(buffer);
            }
            cache.flush();
            Ok(())
        })?;
    }
    drop(stock);
    check_eq!(pool.count(), count(0, 0, 64));
    sysfs::shows("context", &[("allocations", 600), ("grown", 16)])
}

fn there_are_so_many_caches(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(c"number"), GFP_KERNEL)?;
    let mut caches = KVec::new();
    for _ in 0..64 {
        caches.push(pool.cache()?, GFP_KERNEL)?;
    }
    check_eq!(pool.cache().err(), Some(ENOSPC));
    caches.pop();
    check!(pool.cache().is_ok());
    Ok(())
}

fn a_cache_may_outlive_its_pool(on: &Fixture<'_>) -> Outcome {
    let other = Pool::new(on.dev, config(c"other"), GFP_KERNEL)?;
    let pool = Pool::new(on.dev, config(c"outlive").initial_pages(1), GFP_KERNEL)?;
    let mut stock = pool.cache()?;
    check_eq!(stock.on(&other).err(), Some(EINVAL));
    // Three stay in its stock, which is no leak: scripts/suites/pool.guest looks for what is.
    drop(stock.on(&pool)?.alloc(GFP_KERNEL)?);
    sysfs::shows("outlive", &[("cached", 3), ("free", 4)])?;
    drop(pool);
    check_eq!(stock.on(&other).err(), Some(EINVAL));
    drop(stock);
    Ok(())
}

/// Each CPU has a cache of its own and does all that there is; nothing is lost, and nobody gets another's.
fn each_cpu_its_cache(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(c"cpus").max_pages(128), GFP_KERNEL)?;
    on_each_cpu(|cpu| {
        let mut stock = pool.cache()?;
        let mut cache = stock.on(&pool)?;
        let mut random = Random::new(cpu + 1);
        let mut used = KVVec::new();
        let mut card: KVVec<(Handle, u32)> = KVVec::new();
        for name in 0..20_000u32 {
            match random.next() % 8 {
                0 | 1 => {
                    if let Ok(mut buffer) = cache.alloc(GFP_KERNEL | QUIET) {
                        mark(&mut buffer, name);
                        used.push((buffer, name), GFP_KERNEL)?;
                    }
                }
                2 | 3 => {
                    if let Some((buffer, name)) = used.pop() {
                        card.push((cache.post_buffer(buffer).handle, name), GFP_KERNEL)?;
                    }
                }
                4 | 5 => {
                    if let Some((handle, name)) = card.pop() {
                        let buffer = cache.take(handle)?;
                        check!(is_marked(&buffer, name), "{name} on {cpu}");
                        check!(cache.take(handle).is_err());
                        used.push((buffer, name), GFP_KERNEL)?;
                    }
                }
                6 => {
                    if let Some((buffer, name)) = used.pop() {
                        check!(is_marked(&buffer, name), "{name} on {cpu}");
                        cache.free(buffer);
                    }
                }
                _ => {
                    if let Some((buffer, name)) = used.pop() {
                        check!(is_marked(&buffer, name), "{name} on {cpu}");
                        drop(buffer);
                    }
                }
            }
        }
        check_eq!(cache.reclaim_card(), card.len());
        Ok(())
    })?;
    let all = pool.count();
    check_eq!((all.used, all.card), (0, 0));
    check_eq!(
        all.free,
        usize::try_from(sysfs::number("cpus", "pages")? * 4)?
    );
    sysfs::shows("cpus", &[("cached", 0)])
}
