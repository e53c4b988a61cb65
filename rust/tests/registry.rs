// SPDX-License-Identifier: GPL-2.0

//! The registry of shared pools: who asks for the same gets the same, the last one out destroys it, and
//! making and destroying race.

use crate::{
    check,
    check_eq,
    context::{
        on_each_cpu,
        run_in,
        Context, //
    },
    devices::{
        Fixture,
        SYSFS, //
    },
    ktap::Outcome,
    support::{
        is_marked,
        mark,
        Random, //
    },
    sysfs,
    tests, //
};
use kernel::{
    alloc::KVVec,
    prelude::*,
    str::CString,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};
use mbpool::{
    Backing,
    Client,
    Config,
    HandleError,
    Quota, //
};

tests![
    asking_twice_gives_the_same_pool,
    the_last_one_out_destroys_it,
    another_wish_is_another_pool,
    what_makes_no_sense_is_refused,
    there_is_room_for_32_clients,
    a_client_has_files,
    the_way_of_a_buffer,
    handles_of_another_client_are_refused,
    what_the_card_holds_of_one_client_comes_home,
    buffers_go_home_in_any_context,
    making_and_destroying_race,
];

/// Up to four pages of four chunks.
fn config(name: &CStr) -> Config<'_> {
    Config::new(name, 1024).page_size(4096).max_pages(4)
}

/// Whether a file or directory of the device's pools can be read.
fn there(file: &str) -> Outcome<bool> {
    let path = CString::try_from_fmt(fmt!("{SYSFS}/{file}"))?;
    Ok(sysfs::read(path.to_str().unwrap_or_default()).is_ok())
}

fn asking_twice_gives_the_same_pool(on: &Fixture<'_>) -> Outcome {
    let one = Client::new(on.dev, config(c"one"), Quota::new(0), GFP_KERNEL)?;
    let two = Client::new(on.dev, config(c"two"), Quota::new(0), GFP_KERNEL)?;
    check!(one.shares_with(&two));
    check_eq!(one.pool_name().to_bytes(), b"shared-1024");
    // What one has the other has not.
    let mut buffers = KVVec::new();
    for _ in 0..10 {
        buffers.push(one.alloc(GFP_KERNEL)?, GFP_KERNEL)?;
    }
    for _ in 0..6 {
        two.post(GFP_KERNEL)?;
    }
    check_eq!(two.post(GFP_KERNEL).err(), Some(ENOMEM));
    check_eq!((one.used(), two.used()), (10, 6));
    sysfs::shows("shared-1024", &[("used", 10), ("card", 6), ("free", 0)])?;
    check_eq!(two.reclaim_card(), 6);
    // Other devices have their own.
    let other = Client::new(on.narrow, config(c"one"), Quota::new(0), GFP_KERNEL)?;
    check!(!one.shares_with(&other));
    Ok(())
}

fn the_last_one_out_destroys_it(on: &Fixture<'_>) -> Outcome {
    for _ in 0..3 {
        check!(!there("pools")?);
        let one = Client::new(on.dev, config(c"one"), Quota::new(0), GFP_KERNEL)?;
        drop(one.alloc(GFP_KERNEL)?);
        let two = Client::new(on.dev, config(c"two"), Quota::new(0), GFP_KERNEL)?;
        drop(one);
        // It is still the same one, with its page.
        sysfs::shows("shared-1024", &[("pages", 1), ("grown", 1)])?;
        check!(!there("shared-1024/clients/mbpool_test:one/used")?);
        check!(there("shared-1024/clients/mbpool_test:two/used")?);
        drop(two);
        check!(!there("shared-1024/pages")?);
    }
    Ok(())
}

fn another_wish_is_another_pool(on: &Fixture<'_>) -> Outcome {
    let wishes = [
        config(c"a"),
        config(c"a").align(64),
        config(c"a").max_pages(5),
        config(c"a").user_bits(0, 3),
        config(c"a").low_water(1),
        config(c"a").backing(Backing::Streaming(
            kernel::dma::DataDirection::Bidirectional,
        )),
    ];
    let mut clients = KVVec::new();
    for wish in wishes {
        let client = Client::new(on.dev, wish, Quota::new(0), GFP_KERNEL)?;
        for other in &clients {
            check!(!client.shares_with(other));
        }
        clients.push(client, GFP_KERNEL)?;
    }
    for (at, client) in clients.iter().enumerate() {
        let name = match at {
            0 => CString::try_from_fmt(fmt!("shared-1024")),
            _ => CString::try_from_fmt(fmt!("shared-1024.{at}")),
        }?;
        check_eq!(client.pool_name().to_bytes(), name.to_bytes());
    }
    // A number that is free again is given out again.
    drop(clients.remove(2).map_err(|_| EINVAL)?);
    let again = Client::new(on.dev, config(c"a").max_pages(6), Quota::new(0), GFP_KERNEL)?;
    check_eq!(again.pool_name().to_bytes(), b"shared-1024.2");
    // How long to wait is nothing that a pool differs by.
    let same = Client::new(
        on.dev,
        config(c"b").wait_ms(5).page_size(4000),
        Quota::new(0),
        GFP_KERNEL,
    )?;
    check_eq!(same.pool_name().to_bytes(), b"shared-1024");
    Ok(())
}

fn what_makes_no_sense_is_refused(on: &Fixture<'_>) -> Outcome {
    let join = |quota| Client::new(on.dev, config(c"refused"), quota, GFP_KERNEL).err();
    for quota in [
        Quota::new(2).cap(1),
        Quota::new(0).cap(0),
        Quota::new(0).weight(0),
        Quota::new(0).weight(65537),
    ] {
        check_eq!(join(quota), Some(EINVAL));
    }
    let config = config(c"one").wait_ms(20);
    let one = Client::new(on.dev, config, Quota::new(10), GFP_KERNEL)?;
    check_eq!(join(Quota::new(7)), Some(ENOSPC));
    check_eq!(join(Quota::new(u32::MAX)), Some(ENOSPC));
    check_eq!(join(Quota::new(6)), None);
    let again = Client::new(on.dev, config, Quota::new(0), GFP_KERNEL);
    check_eq!(again.err(), Some(EEXIST));
    let maskless = Client::new(on.maskless, config, Quota::new(0), GFP_KERNEL);
    check_eq!(maskless.err(), Some(ENODEV));
    // Nothing of those who were refused is left.
    sysfs::shows("shared-1024", &[("clients/owed", 10), ("clients/held", 10)])?;
    drop(one);
    check!(!there("pools")?);
    Ok(())
}

fn there_is_room_for_32_clients(on: &Fixture<'_>) -> Outcome {
    let mut clients = KVVec::new();
    for number in 0..32 {
        let name = CString::try_from_fmt(fmt!("client{number}"))?;
        let client = Client::new(on.dev, config(&name), Quota::new(0), GFP_KERNEL)?;
        clients.push(client, GFP_KERNEL)?;
    }
    let one_more = || Client::new(on.dev, config(c"more"), Quota::new(0), GFP_KERNEL);
    check_eq!(one_more().err(), Some(ENOSPC));
    clients.pop();
    check_eq!(one_more().err(), None);
    Ok(())
}

fn a_client_has_files(on: &Fixture<'_>) -> Outcome {
    let quota = Quota::new(3).cap(5).weight(7);
    let client = Client::new(on.dev, config(c"files"), quota, GFP_KERNEL)?;
    let mut buffers = KVVec::new();
    for _ in 0..5 {
        buffers.push(client.alloc(GFP_KERNEL)?, GFP_KERNEL)?;
    }
    check_eq!(client.alloc(GFP_KERNEL).err(), Some(ENOSPC));
    check_eq!(client.share(), 5);
    let pool = "shared-1024/clients/mbpool_test:files";
    sysfs::shows(
        pool,
        &[
            ("min", 3),
            ("cap", 5),
            ("weight", 7),
            ("share", 5),
            ("used", 5),
            ("wants", 0),
            ("allocations", 5),
            ("refused", 1),
            ("yields", 0),
        ],
    )?;
    sysfs::shows("shared-1024/clients", &[("owed", 0), ("held", 0)])?;
    drop(buffers);
    sysfs::shows("shared-1024/clients", &[("owed", 3), ("held", 3)])
}

fn the_way_of_a_buffer(on: &Fixture<'_>) -> Outcome {
    let client = Client::new(on.dev, config(c"way"), Quota::new(4), GFP_KERNEL)?;
    let mut buffer = client.alloc(GFP_KERNEL)?;
    check_eq!(buffer.len(), client.chunk_size());
    mark(&mut buffer, 9);
    let dma = buffer.dma_address();
    let posted = buffer.post();
    check_eq!(posted.dma, dma);
    check_eq!(client.used(), 1);
    let word = client.with_user_bits(posted.handle, 0, 0)?;
    check_eq!(client.user_bits(word), (0, 0));
    let mut bytes = KVec::from_elem(0, 1024, GFP_KERNEL)?;
    client.peek(word)?.read(0, &mut bytes)?;
    check!(is_marked(&bytes, 9));
    let buffer = client.take(word)?;
    check!(is_marked(&buffer, 9));
    check_eq!(client.take(word).err(), Some(HandleError::WrongState));
    drop(buffer);
    check_eq!(client.used(), 0);
    check!(client
        .alloc(GFP_KERNEL | __GFP_ZERO)?
        .iter()
        .all(|byte| *byte == 0));
    sysfs::shows("shared-1024", &[("free", 4), ("used", 0), ("card", 0)])
}

fn handles_of_another_client_are_refused(on: &Fixture<'_>) -> Outcome {
    let one = Client::new(on.dev, config(c"one"), Quota::new(2), GFP_KERNEL)?;
    let two = Client::new(on.dev, config(c"two"), Quota::new(2), GFP_KERNEL)?;
    let posted = one.post(GFP_KERNEL)?;
    check_eq!(two.take(posted.handle).err(), Some(HandleError::WrongState));
    check_eq!(two.peek(posted.handle).err(), Some(HandleError::WrongState));
    check_eq!(two.reclaim_card(), 0);
    let buffer = one.take(posted.handle)?;
    check_eq!(two.take(posted.handle).err(), Some(HandleError::WrongState));
    drop(buffer);
    // Of a chunk that is nobody's it is as ever.
    check_eq!(two.take(posted.handle).err(), Some(HandleError::WrongState));
    sysfs::shows("shared-1024", &[("bad_wrong_state", 4)])
}

fn what_the_card_holds_of_one_client_comes_home(on: &Fixture<'_>) -> Outcome {
    let one = Client::new(on.dev, config(c"one"), Quota::new(2), GFP_KERNEL)?;
    let two = Client::new(on.dev, config(c"two"), Quota::new(2), GFP_KERNEL)?;
    let kept = two.post(GFP_KERNEL)?;
    for _ in 0..7 {
        one.post(GFP_KERNEL)?;
    }
    let buffer = one.alloc(GFP_KERNEL)?;
    check_eq!(one.reclaim_card(), 7);
    check_eq!((one.used(), two.used()), (1, 1));
    drop(buffer);
    drop(two.take(kept.handle)?);
    check_eq!((one.used(), two.used()), (0, 0));
    Ok(())
}

fn buffers_go_home_in_any_context(on: &Fixture<'_>) -> Outcome {
    let client = Client::new(on.dev, config(c"context"), Quota::new(8), GFP_KERNEL)?;
    for context in Context::ATOMIC {
        run_in(context, || {
            let posted = client.post(GFP_ATOMIC)?;
            let buffer = client.alloc(GFP_NOWAIT)?;
            drop(client.take(posted.handle)?);
            drop(buffer);
            Ok(())
        })?;
        check_eq!(client.used(), 0);
        let mut buffer = Some(client.alloc(GFP_KERNEL)?);
        run_in(context, || {
            drop(buffer.take());
            Ok(())
        })?;
        check_eq!(client.used(), 0);
    }
    Ok(())
}

/// All CPUs join, work and leave, in three pools: now one makes a pool that another destroys, now both
/// meet in it.
fn making_and_destroying_race(on: &Fixture<'_>) -> Outcome {
    const ROUNDS: u32 = 400;
    let made = Atomic::new(0);
    on_each_cpu(|cpu| {
        let mut random = Random::new(cpu + 1);
        let name = CString::try_from_fmt(fmt!("cpu{cpu}"))?;
        for round in 0..ROUNDS {
            let number = random.next();
            let pages = 4 + number % 3;
            let config = config(&name).max_pages(pages);
            let min = number >> 8 & 3;
            let client = Client::new(on.dev, config, Quota::new(min), GFP_KERNEL)?;
            let mut buffers = KVec::new();
            for at in 0..min {
                let mut buffer = client.alloc(GFP_ATOMIC)?;
                mark(&mut buffer, cpu << 16 | at);
                buffers.push(buffer, GFP_KERNEL)?;
            }
            let posted = client.post(GFP_KERNEL)?;
            for (at, buffer) in (0..).zip(&buffers) {
                check!(is_marked(buffer, cpu << 16 | at), "round {round}");
            }
            drop(client.take(posted.handle)?);
            drop(buffers);
            check_eq!(client.used(), 0);
            made.add(1, Relaxed);
        }
        Ok(())
    })?;
    pr_info!("# race: {} joined and left\n", made.load(Relaxed));
    // All is gone, to the last directory.
    check!(!there("pools")?);
    Ok(())
}
