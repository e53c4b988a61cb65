// SPDX-License-Identifier: GPL-2.0

//! A large card: eight receive groups with two pools of 8192 each, 131,072 buffers on one device.

use crate::{
    check,
    check_eq,
    devices::Fixture,
    ktap::Outcome,
    support::count,
    sysfs,
    tests, //
};
use kernel::{
    alloc::KVVec,
    prelude::*,
    str::CString, //
};
use mbpool::{
    Config,
    Handle,
    HandleError,
    Pool, //
};

tests![a_large_card];

const GROUPS: u32 = 8;
const BUFFERS: u32 = 8192;

/// The pools of all groups: large and small, with the group's number in the handles' high bits.
fn pools<'a>(on: &Fixture<'a>) -> Outcome<KVec<Pool<'a>>> {
    let mut pools = KVec::new();
    for group in 0..GROUPS {
        for (kind, size, chunks) in [("large", 2048, 2), ("small", 256, 16)] {
            let name = CString::try_from_fmt(fmt!("rx{group}-{kind}"))?;
            let config = Config::new(&name, size)
                .align(64)
                .boundary(4096)
                .page_size(4096)
                .max_pages(BUFFERS / chunks)
                .user_bits(3, 0);
            pools.push(Pool::new(on.dev, config, GFP_KERNEL)?, GFP_KERNEL)?;
        }
    }
    Ok(pools)
}

fn a_large_card(on: &Fixture<'_>) -> Outcome {
    let pools = pools(on)?;
    let all = usize::try_from(BUFFERS)?;
    let mut rings = KVec::new();
    for (number, pool) in (0..).zip(&pools) {
        let mut ring = KVVec::with_capacity(all, GFP_KERNEL)?;
        for _ in 0..all {
            let handle = pool.post(GFP_KERNEL)?.handle;
            let marked = pool.with_user_bits(handle, number / 2, 0)?;
            ring.push(marked.into_raw(), GFP_KERNEL)?;
        }
        check_eq!(pool.post(GFP_KERNEL).err(), Some(ENOMEM));
        rings.push(ring, GFP_KERNEL)?;
    }
    let mut out = 0;
    for pool in &pools {
        check_eq!(pool.count(), count(0, all, 0));
        out += pool.count().card;
    }
    check_eq!(out, 131_072);
    let path = CString::try_from_fmt(fmt!("{}/pools", crate::devices::SYSFS))?;
    let table = sysfs::read(path.to_str()?)?;
    check_eq!(table.as_str().lines().count(), 17);
    check!(table
        .as_str()
        .contains("rx0-large        8192 8192 2048 4096\n"));
    check!(table
        .as_str()
        .contains("rx7-small        8192 8192  256 512\n"));

    // The card returns all: every other one in the order of the ring, the rest backwards.
    for (number, (pool, ring)) in (0..).zip(pools.iter().zip(&rings)) {
        let forward = ring.iter().step_by(2);
        let back = ring.iter().skip(1).step_by(2).rev();
        for word in Iterator::chain(forward, back) {
            let handle = Handle::from_raw(*word);
            check_eq!(pool.user_bits(handle), (number / 2, 0));
            check_eq!(pool.take(handle)?.len(), pool.chunk_size());
        }
        check_eq!(pool.count(), count(0, 0, all));
        // And once more: none of them is out.
        for word in ring.iter().step_by(64) {
            let again = pool.take(Handle::from_raw(*word)).err();
            check_eq!(again, Some(HandleError::WrongState));
        }
    }
    Ok(())
}
