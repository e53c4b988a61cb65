// SPDX-License-Identifier: GPL-2.0

//! The way of a buffer: free, used, on card and back, one operation at a time, with the counts after
//! each.

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
    dma::DataDirection,
    prelude::*,
    sync::rcu, //
};
use mbpool::{
    Config,
    Handle,
    HandleError,
    Pool, //
};

tests![
    alloc_and_drop,
    alloc_post_take_drop,
    post_straight_from_the_pool,
    what_the_card_wrote_is_there_after_take,
    peek_reads_and_leaves_it_there,
    many_looks_in_one_rcu_section,
    peek_refuses_ranges_outside,
    sync_takes_each_direction_and_refuses_ranges_outside,
    a_full_pool_answers_enomem_and_recovers,
    reclaim_takes_back_what_is_on_card,
    each_trip_has_a_handle_of_its_own,
    the_pool_reuses_what_it_has,
];

/// Two pages of four chunks at most, none at first.
fn config() -> Config<'static> {
    Config::new(c"life", 1024).page_size(4096).max_pages(2)
}

fn alloc_and_drop(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(), GFP_KERNEL)?;
    let one = pool.alloc(GFP_KERNEL)?;
    check_eq!(pool.count(), count(1, 0, 3));
    check_eq!(one.len(), 1024);
    let two = pool.alloc(GFP_KERNEL)?;
    check_eq!(pool.count(), count(2, 0, 2));
    drop(one);
    check_eq!(pool.count(), count(1, 0, 3));
    drop(two);
    check_eq!(pool.count(), count(0, 0, 4));
    Ok(())
}

fn alloc_post_take_drop(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(), GFP_KERNEL)?;
    let mut buffer = pool.alloc(GFP_KERNEL)?;
    mark(&mut buffer, 7);
    let posted = buffer.post();
    check_eq!(pool.count(), count(0, 1, 3));
    let buffer = pool.take(posted.handle)?;
    check_eq!(pool.count(), count(1, 0, 3));
    check!(is_marked(&buffer, 7));
    drop(buffer);
    check_eq!(pool.count(), count(0, 0, 4));
    Ok(())
}

fn post_straight_from_the_pool(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(), GFP_KERNEL)?;
    let posted = pool.post(GFP_KERNEL)?;
    check_eq!(pool.count(), count(0, 1, 3));
    drop(pool.take(posted.handle)?);
    check_eq!(pool.count(), count(0, 0, 4));
    Ok(())
}

fn what_the_card_wrote_is_there_after_take(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(), GFP_KERNEL)?;
    let mut buffer = pool.alloc(GFP_KERNEL)?;
    // A pointer to the memory, with which to write as a card does: while the pool has it on card.
    let memory = buffer.as_mut_ptr();
    let posted = buffer.post();
    for at in 0..1024u16 {
        // SAFETY: The chunk is on card, its memory is there as long as the pool, and this is the card.
        unsafe {
            memory
                .add(usize::from(at))
                .write_volatile(at.to_le_bytes()[0])
        };
    }
    let buffer = pool.take(posted.handle)?;
    buffer.sync(0, 1024, DataDirection::FromDevice)?;
    for (at, byte) in (0..1024u16).zip(buffer.iter()) {
        check_eq!(*byte, at.to_le_bytes()[0]);
    }
    Ok(())
}

fn peek_reads_and_leaves_it_there(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(), GFP_KERNEL)?;
    let mut buffer = pool.alloc(GFP_KERNEL)?;
    mark(&mut buffer, 3);
    let posted = buffer.post();
    for _ in 0..3 {
        let mut bytes = KVec::from_elem(0, 1024, GFP_KERNEL)?;
        let peek = pool.peek(posted.handle)?;
        check_eq!(peek.len(), 1024);
        peek.sync(0, 1024, DataDirection::FromDevice)?;
        peek.read(0, &mut bytes)?;
        check!(is_marked(&bytes, 3));
        let mut some = [0; 16];
        peek.read(1008, &mut some)?;
        check_eq!(some.as_slice(), bytes.get(1008..).unwrap_or_default());
        check_eq!(pool.count(), count(0, 1, 3));
    }
    drop(pool.take(posted.handle)?);
    check_eq!(
        pool.peek(posted.handle).err(),
        Some(HandleError::WrongState)
    );
    Ok(())
}

fn many_looks_in_one_rcu_section(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(), GFP_KERNEL)?;
    let mut handles = [Handle::from_raw(0); 4];
    for (handle, what) in handles.iter_mut().zip(0..) {
        let mut buffer = pool.alloc(GFP_KERNEL)?;
        mark(&mut buffer, what);
        *handle = buffer.post().handle;
    }
    {
        let rcu = rcu::read_lock();
        for (handle, what) in handles.iter().zip(0..) {
            let mut bytes = [0; 32];
            pool.peek_under(*handle, &rcu)?.read(0, &mut bytes)?;
            check!(is_marked(&bytes, what));
        }
    }
    drop(pool.take(handles[1])?);
    let refused = pool.peek_under(handles[1], &rcu::read_lock()).err();
    check_eq!(refused, Some(HandleError::WrongState));
    check_eq!(pool.count(), count(0, 3, 1));
    pool.reclaim_card();
    Ok(())
}

fn peek_refuses_ranges_outside(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(), GFP_KERNEL)?;
    let posted = pool.post(GFP_KERNEL)?;
    let peek = pool.peek(posted.handle)?;
    let mut bytes = [0x77; 16];
    for offset in [1009, 1024, 1025, usize::MAX - 15, usize::MAX] {
        check_eq!(peek.read(offset, &mut bytes).err(), Some(EINVAL));
    }
    check_eq!(bytes, [0x77; 16]);
    check_eq!(peek.read(1024, &mut []).err(), None);
    check_eq!(peek.read(1025, &mut []).err(), Some(EINVAL));
    check_eq!(pool.reclaim_card(), 1);
    Ok(())
}

fn sync_takes_each_direction_and_refuses_ranges_outside(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(), GFP_KERNEL)?;
    let buffer = pool.alloc(GFP_KERNEL)?;
    let directions = [
        DataDirection::ToDevice,
        DataDirection::FromDevice,
        DataDirection::Bidirectional,
        DataDirection::None,
    ];
    for direction in directions {
        for (offset, len) in [(0, 0), (0, 1024), (1023, 1), (1024, 0)] {
            check_eq!(buffer.sync(offset, len, direction).err(), None);
        }
        for (offset, len) in [
            (0, 1025),
            (1024, 1),
            (1025, 0),
            (usize::MAX, 2),
            (2, usize::MAX),
        ] {
            check_eq!(buffer.sync(offset, len, direction).err(), Some(EINVAL));
        }
    }
    Ok(())
}

fn a_full_pool_answers_enomem_and_recovers(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(), GFP_KERNEL)?;
    let mut buffers = KVVec::new();
    for _ in 0..8 {
        buffers.push(pool.alloc(GFP_KERNEL)?, GFP_KERNEL)?;
    }
    for _ in 0..3 {
        check_eq!(pool.alloc(GFP_KERNEL).err(), Some(ENOMEM));
        check_eq!(pool.post(GFP_KERNEL).err(), Some(ENOMEM));
        check_eq!(pool.count(), count(8, 0, 0));
        buffers.pop();
        buffers.push(pool.alloc(GFP_KERNEL)?, GFP_KERNEL)?;
    }
    sysfs::shows(
        "life",
        &[
            ("failures_sleep", 6),
            ("failures_atomic", 0),
            ("failures_nowait", 0),
            ("pages", 2),
            ("high_water", 8),
            ("allocations", 11),
        ],
    )
}

fn reclaim_takes_back_what_is_on_card(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(), GFP_KERNEL)?;
    check_eq!(pool.reclaim_card(), 0);
    let buffer = pool.alloc(GFP_KERNEL)?;
    for _ in 0..5 {
        pool.post(GFP_KERNEL)?;
    }
    check_eq!(pool.count(), count(1, 5, 2));
    check_eq!(pool.reclaim_card(), 5);
    check_eq!(pool.count(), count(1, 0, 7));
    check_eq!(pool.reclaim_card(), 0);
    drop(buffer);
    check_eq!(pool.count(), count(0, 0, 8));
    // All of them can be had again.
    for _ in 0..8 {
        pool.post(GFP_KERNEL)?;
    }
    check_eq!(pool.reclaim_card(), 8);
    Ok(())
}

fn each_trip_has_a_handle_of_its_own(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config().max_pages(1), GFP_KERNEL)?;
    let first = pool.post(GFP_KERNEL)?;
    let mut handle = first.handle;
    for _ in 0..1000 {
        let posted = pool.take(handle)?.post();
        check_eq!(posted.dma, first.dma);
        check!(posted.handle != handle);
        check!(posted.handle != first.handle);
        check_eq!(pool.take(handle).err(), Some(HandleError::Stale));
        handle = posted.handle;
    }
    drop(pool.take(handle)?);
    Ok(())
}

fn the_pool_reuses_what_it_has(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(), GFP_KERNEL)?;
    for _ in 0..1000 {
        let posted = pool.post(GFP_KERNEL)?;
        drop(pool.alloc(GFP_KERNEL)?);
        drop(pool.take(posted.handle)?);
    }
    sysfs::shows(
        "life",
        &[
            ("grown", 1),
            ("pages", 1),
            ("allocations", 2000),
            ("high_water", 2),
        ],
    )
}
