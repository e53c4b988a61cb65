// SPDX-License-Identifier: GPL-2.0

//! Buffers in the hands of C-style owners, who give them back by a function and a pointer.

use crate::{
    check,
    check_eq,
    devices::Fixture,
    ktap::Outcome,
    support::{
        count,
        is_marked,
        mark, //
    },
    sysfs,
    tests, //
};
use kernel::{
    alloc::KVVec,
    prelude::*, //
};
use mbpool::{
    Config,
    Handle,
    HandleError,
    Pool, //
};

tests![
    a_buffer_is_lent_and_comes_back,
    a_buffer_is_given_back_once,
    a_token_is_no_handle_of_the_card,
    a_made_up_token_gives_nothing_back,
    all_buffers_are_lent_at_once,
];

/// Two pages of four chunks at most, none at first.
fn config() -> Config<'static> {
    Config::new(c"ext", 1024).page_size(4096).max_pages(2)
}

fn a_buffer_is_lent_and_comes_back(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(), GFP_KERNEL)?;
    let mut buffer = pool.alloc(GFP_KERNEL)?;
    mark(&mut buffer, 11);
    let (dma, data) = (buffer.dma_address(), buffer.as_ptr());
    let out = buffer.into_ext();
    check_eq!(pool.count(), count(1, 0, 3));
    check_eq!(out.dma, dma);
    check!(core::ptr::eq(out.data.as_ptr(), data));
    // SAFETY: The buffer is ours until it is given back.
    let bytes = unsafe { core::slice::from_raw_parts(out.data.as_ptr(), 1024) };
    check!(is_marked(bytes, 11));
    // It is out: neither a reclaim of the card's nor allocations touch it.
    check_eq!(pool.reclaim_card(), 0);
    for _ in 0..7 {
        check!(pool.post(GFP_KERNEL)?.dma != dma);
    }
    check_eq!(pool.post(GFP_KERNEL).err(), Some(ENOMEM));
    check_eq!(pool.reclaim_card(), 7);
    // SAFETY: The first call with these arguments.
    unsafe { (out.free)(out.pool, out.token) };
    check_eq!(pool.count(), count(0, 0, 8));
    Ok(())
}

fn a_buffer_is_given_back_once(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config().max_pages(1), GFP_KERNEL)?;
    let out = pool.alloc(GFP_KERNEL)?.into_ext();
    for _ in 0..3 {
        // SAFETY: The pool exists.
        unsafe { (out.free)(out.pool, out.token) };
        check_eq!(pool.count(), count(0, 0, 4));
    }
    sysfs::shows("ext", &[("bad_wrong_state", 2), ("bad_stale", 0)])?;
    // Nor when another has the chunk by then, in whatever way.
    let mut buffers = KVec::new();
    for _ in 0..4 {
        buffers.push(pool.alloc(GFP_KERNEL)?, GFP_KERNEL)?;
    }
    // SAFETY: The pool exists.
    unsafe { (out.free)(out.pool, out.token) };
    check_eq!(pool.count(), count(4, 0, 0));
    Ok(())
}

fn a_token_is_no_handle_of_the_card(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(), GFP_KERNEL)?;
    let out = pool.alloc(GFP_KERNEL)?.into_ext();
    let handle = Handle::from_raw(u32::try_from(out.token)?);
    check_eq!(pool.take(handle).err(), Some(HandleError::WrongState));
    check_eq!(pool.peek(handle).err(), Some(HandleError::WrongState));
    check_eq!(pool.count(), count(1, 0, 3));
    // SAFETY: The first call with these arguments.
    unsafe { (out.free)(out.pool, out.token) };
    check_eq!(pool.count(), count(0, 0, 4));
    Ok(())
}

fn a_made_up_token_gives_nothing_back(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(), GFP_KERNEL)?;
    let out = pool.alloc(GFP_KERNEL)?.into_ext();
    let posted = pool.post(GFP_KERNEL)?;
    let card = usize::try_from(posted.handle.into_raw())?;
    let mut bad = 0;
    for token in [card, out.token ^ 1, out.token ^ 2, usize::MAX, 1 << 40] {
        // SAFETY: The pool exists.
        unsafe { (out.free)(out.pool, token) };
        check_eq!(pool.count(), count(1, 1, 2));
        bad += 1;
        let mut counted = 0;
        for file in ["bad_out_of_range", "bad_stale", "bad_wrong_state"] {
            counted += sysfs::number("ext", file)?;
        }
        check_eq!(counted, bad);
    }
    // SAFETY: The first call with these arguments.
    unsafe { (out.free)(out.pool, out.token) };
    drop(pool.take(posted.handle)?);
    check_eq!(pool.count(), count(0, 0, 4));
    Ok(())
}

fn all_buffers_are_lent_at_once(on: &Fixture<'_>) -> Outcome {
    let config = Config::new(c"ext", 1024).page_size(4096).max_pages(64);
    let pool = Pool::new(on.dev, config, GFP_KERNEL)?;
    for _ in 0..3 {
        let mut out = KVVec::new();
        while let Ok(buffer) = pool.alloc(GFP_KERNEL) {
            out.push(buffer.into_ext(), GFP_KERNEL)?;
        }
        check_eq!(pool.count(), count(256, 0, 0));
        for one in &out {
            // SAFETY: The first call with these arguments.
            unsafe { (one.free)(one.pool, one.token) };
        }
        check_eq!(pool.count(), count(0, 0, 256));
    }
    Ok(())
}
