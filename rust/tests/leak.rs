// SPDX-License-Identifier: GPL-2.0

//! Pools that go while chunks are out: nothing is freed under anyone. That the kernel log says which
//! pool and how many is for the script to see that loads this module.

use crate::{
    check,
    check_eq,
    devices::Fixture,
    heap,
    ktap::Outcome,
    support::{
        count,
        is_marked,
        mark,
        QUIET, //
    },
    tests, //
};
use core::{
    mem,
    slice, //
};
use kernel::{
    alloc::KVVec,
    dma::DmaAddress,
    prelude::*, //
};
use mbpool::{
    Client,
    Config,
    HandleError,
    Pool,
    Quota,
    Reserve, //
};

tests![
    what_is_on_card_stays,
    what_was_forgotten_stays,
    what_a_c_owner_has_stays_and_can_be_given_back,
    the_pages_that_nobody_uses_are_freed,
    what_a_heap_gave_and_was_forgotten_stays,
    what_a_forgotten_reserve_has_stays,
    what_a_client_leaves_is_nobodys,
];

/// Pages of one chunk, so that a page leaked is a chunk leaked.
fn config(name: &'static CStr) -> Config<'static> {
    Config::new(name, 4096).page_size(4096).max_pages(16383)
}

/// Takes all memory that the narrow device reaches. Fails if some of it is what is out: then it was
/// freed. Writes to all of it.
fn is_not_given_out_again(on: &Fixture<'_>, out: &[DmaAddress]) -> Outcome {
    let pool = Pool::new(on.narrow, config(c"probe"), GFP_KERNEL)?;
    let mut buffers = KVVec::new();
    while let Ok(mut buffer) = pool.alloc(GFP_NOWAIT | QUIET) {
        let there = buffer.dma_address();
        check!(!out.contains(&there), "{there:#x} was given out again");
        buffer.fill(0xff);
        buffers.push(buffer, GFP_KERNEL)?;
    }
    check!(buffers.len() > 100);
    Ok(())
}

fn what_is_on_card_stays(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.narrow, config(c"leak-card"), GFP_KERNEL)?;
    let posted = [pool.post(GFP_KERNEL)?, pool.post(GFP_KERNEL)?];
    let mut buffer = pool.alloc(GFP_KERNEL)?;
    mark(&mut buffer, 21);
    let memory = buffer.as_ptr();
    let marked = buffer.post();
    drop(pool);
    let [one, two] = posted;
    is_not_given_out_again(on, &[one.dma, two.dma, marked.dma])?;
    // SAFETY: The chunk was on card when its pool went, so its memory was leaked.
    let bytes = unsafe { slice::from_raw_parts(memory, 4096) };
    check!(is_marked(bytes, 21));
    Ok(())
}

fn what_was_forgotten_stays(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.narrow, config(c"leak-used"), GFP_KERNEL)?;
    let mut buffer = pool.alloc(GFP_KERNEL)?;
    mark(&mut buffer, 22);
    let (dma, memory) = (buffer.dma_address(), buffer.as_ptr());
    mem::forget(buffer);
    drop(pool);
    is_not_given_out_again(on, &[dma])?;
    // SAFETY: The chunk was used when its pool went, so its memory was leaked.
    let bytes = unsafe { slice::from_raw_parts(memory, 4096) };
    check!(is_marked(bytes, 22));
    Ok(())
}

fn what_a_c_owner_has_stays_and_can_be_given_back(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.narrow, config(c"leak-ext"), GFP_KERNEL)?;
    let mut buffer = pool.alloc(GFP_KERNEL)?;
    mark(&mut buffer, 23);
    let out = buffer.into_ext();
    drop(pool);
    is_not_given_out_again(on, &[out.dma])?;
    // SAFETY: The buffer was out when its pool went, so its memory was leaked.
    let bytes = unsafe { slice::from_raw_parts(out.data.as_ptr(), 4096) };
    check!(is_marked(bytes, 23));
    // SAFETY: The first call with these arguments.
    unsafe { (out.free)(out.pool, out.token) };
    // Given back, but not freed: the device may have gone meanwhile.
    is_not_given_out_again(on, &[out.dma])
}

fn the_pages_that_nobody_uses_are_freed(on: &Fixture<'_>) -> Outcome {
    // All that the device reaches but for one page; if the rest were leaked with it, the next pool
    // would get next to nothing.
    let mut first = 0;
    for round in 0..3 {
        let pool = Pool::new(on.narrow, config(c"leak-one"), GFP_KERNEL)?;
        let mut buffers = KVVec::new();
        while let Ok(buffer) = pool.alloc(GFP_NOWAIT | QUIET) {
            buffers.push(buffer, GFP_KERNEL)?;
        }
        let all = buffers.len();
        mem::forget(buffers.pop());
        drop(buffers);
        check_eq!(pool.count().used, 1);
        if round == 0 {
            first = all;
        }
        // Others may have taken a few meanwhile.
        check!(
            all * 2 > first,
            "{first} pages at first, {all} in round {round}"
        );
    }
    Ok(())
}

fn what_a_heap_gave_and_was_forgotten_stays(on: &Fixture<'_>) -> Outcome {
    let (dma, memory) = heap::forget_one(on)?;
    is_not_given_out_again(on, &[dma])?;
    // SAFETY: The pages were used when their heap went, so they were leaked.
    let bytes = unsafe { slice::from_raw_parts(memory, 4096) };
    check!(is_marked(bytes, 24));
    Ok(())
}

fn what_a_forgotten_reserve_has_stays(on: &Fixture<'_>) -> Outcome {
    let config = config(c"leak-reserve").max_pages(3).wait_ms(50);
    let pool = Pool::new(on.narrow, config, GFP_KERNEL)?;
    let other = pool.alloc(GFP_KERNEL)?;
    let made_up = other.dma_address();
    let reserve = Reserve::new(&pool, 2)?;
    let buffer = reserve.alloc(GFP_KERNEL)?;
    let given_out = buffer.dma_address();
    let posted = buffer.post();
    mem::forget(reserve);
    // It was short by one, and still has the first claim.
    drop(other);
    check_eq!(pool.count(), count(2, 1, 0));
    check_eq!(pool.take(posted.handle)?.dma_address(), given_out);
    check_eq!(pool.count(), count(2, 0, 1));
    // The pool takes the reserve's directory away, and says what it leaks.
    drop(pool);
    is_not_given_out_again(on, &[made_up])
}

fn what_a_client_leaves_is_nobodys(on: &Fixture<'_>) -> Outcome {
    let client = |name| Client::new(on.narrow, config(name), Quota::new(2), GFP_KERNEL);
    let stays = client(c"stays")?;
    let (posted, dma) = {
        let goes = client(c"goes")?;
        let posted = goes.post(GFP_KERNEL)?;
        let mut buffer = goes.alloc(GFP_KERNEL)?;
        mark(&mut buffer, 24);
        let dma = buffer.dma_address();
        mem::forget(buffer);
        (posted, dma)
    };
    check_eq!(
        stays.take(posted.handle).err(),
        Some(HandleError::WrongState)
    );
    check_eq!(stays.reclaim_card(), 0);
    let mut buffers = KVVec::new();
    while let Ok(buffer) = stays.alloc(GFP_NOWAIT | QUIET) {
        let there = buffer.dma_address();
        check!(there != posted.dma && there != dma);
        buffers.push(buffer, GFP_KERNEL)?;
    }
    check!(buffers.len() > 100);
    drop(buffers);
    check_eq!(stays.used(), 0);
    drop(stays);
    is_not_given_out_again(on, &[posted.dma, dma])
}
