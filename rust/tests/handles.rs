// SPDX-License-Identifier: GPL-2.0

//! Handles: what a pool makes of words that a card may return. Each that is no good is refused for its
//! reason, counted under its kind, and costs nothing.

use crate::{
    check,
    check_eq,
    devices::Fixture,
    ktap::Outcome,
    support::{
        count,
        Random, //
    },
    sysfs,
    tests, //
};
use kernel::prelude::*;
use mbpool::{
    Config,
    Handle,
    HandleError,
    Pool, //
};

tests![
    a_handle_is_good_once,
    what_is_not_there_is_out_of_range,
    an_earlier_trip_is_stale,
    what_is_not_on_card_is_in_the_wrong_state,
    handles_from_before_a_reclaim_are_refused,
    handles_of_another_pool_take_nothing_that_is_not_on_card,
    user_bits_come_back,
    user_bits_that_do_not_fit_are_refused,
    no_word_takes_what_is_not_on_card,
    errors_become_errno,
];

/// Two pages of four chunks at most, none at first.
fn config() -> Config<'static> {
    Config::new(c"handles", 1024).page_size(4096).max_pages(2)
}

/// How many handles were refused for each reason.
fn refused(out_of_range: u64, stale: u64, wrong_state: u64) -> Outcome {
    sysfs::shows(
        "handles",
        &[
            ("bad_out_of_range", out_of_range),
            ("bad_stale", stale),
            ("bad_wrong_state", wrong_state),
        ],
    )
}

fn a_handle_is_good_once(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(), GFP_KERNEL)?;
    let posted = pool.post(GFP_KERNEL)?;
    let buffer = pool.take(posted.handle)?;
    for seen in 1..4 {
        let again = pool.take(posted.handle).err();
        check_eq!(again, Some(HandleError::WrongState));
        refused(0, 0, seen)?;
    }
    // The owner's buffer did not notice.
    check_eq!(pool.count(), count(1, 0, 3));
    drop(buffer);
    check_eq!(pool.count(), count(0, 0, 4));
    Ok(())
}

fn what_is_not_there_is_out_of_range(on: &Fixture<'_>) -> Outcome {
    // 3 bits of index above 21 of generation; the second page is not there.
    let pool = Pool::new(on.dev, config().initial_pages(1), GFP_KERNEL)?;
    for index in 4..8 {
        let handle = Handle::from_raw(index << 21);
        check_eq!(pool.take(handle).err(), Some(HandleError::OutOfRange));
        check_eq!(pool.peek(handle).err(), Some(HandleError::OutOfRange));
    }
    refused(8, 0, 0)?;
    drop(pool);

    // Three pages of five chunks: numbers 5 to 7 of a page are none, and there is no page 3.
    let odd = Config::new(c"handles", 800).page_size(4096).max_pages(3);
    let pool = Pool::new(on.dev, odd.initial_pages(3), GFP_KERNEL)?;
    sysfs::shows(
        "handles",
        &[("chunks_per_page", 5), ("generation_bits", 21)],
    )?;
    let mut bad = 0;
    for index in 0..32u32 {
        let there = index < 24 && index % 8 < 5;
        let expected = if there {
            HandleError::WrongState
        } else {
            bad += 1;
            HandleError::OutOfRange
        };
        let found = pool.take(Handle::from_raw(index << 21)).err();
        check_eq!(found, Some(expected));
    }
    refused(bad, 0, 15)
}

fn an_earlier_trip_is_stale(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(), GFP_KERNEL)?;
    let old = pool.post(GFP_KERNEL)?.handle;
    let new = pool.take(old)?.post().handle;
    check_eq!(pool.take(old).err(), Some(HandleError::Stale));
    check_eq!(pool.peek(old).err(), Some(HandleError::Stale));
    refused(0, 2, 0)?;
    check_eq!(pool.count(), count(0, 1, 3));
    drop(pool.take(new)?);
    Ok(())
}

fn what_is_not_on_card_is_in_the_wrong_state(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(), GFP_KERNEL)?;
    let handle = pool.post(GFP_KERNEL)?.handle;
    let buffer = pool.take(handle)?;
    // Used.
    check_eq!(pool.take(handle).err(), Some(HandleError::WrongState));
    check_eq!(pool.peek(handle).err(), Some(HandleError::WrongState));
    drop(buffer);
    // Free.
    check_eq!(pool.take(handle).err(), Some(HandleError::WrongState));
    check_eq!(pool.peek(handle).err(), Some(HandleError::WrongState));
    refused(0, 0, 4)
}

fn handles_from_before_a_reclaim_are_refused(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config().max_pages(1), GFP_KERNEL)?;
    let mut old = KVec::new();
    for _ in 0..4 {
        old.push(pool.post(GFP_KERNEL)?.handle, GFP_KERNEL)?;
    }
    check_eq!(pool.reclaim_card(), 4);
    for handle in &old {
        check_eq!(pool.take(*handle).err(), Some(HandleError::WrongState));
    }
    for _ in 0..4 {
        pool.post(GFP_KERNEL)?;
    }
    for handle in &old {
        check_eq!(pool.take(*handle).err(), Some(HandleError::Stale));
    }
    check_eq!(pool.reclaim_card(), 4);
    Ok(())
}

fn handles_of_another_pool_take_nothing_that_is_not_on_card(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config(), GFP_KERNEL)?;
    let other = Config::new(c"other", 1024).page_size(4096).max_pages(2);
    let other = Pool::new(on.dev, other.initial_pages(2), GFP_KERNEL)?;
    let mut buffers = KVec::new();
    for _ in 0..8 {
        buffers.push(pool.alloc(GFP_KERNEL)?, GFP_KERNEL)?;
    }
    while let Some(buffer) = buffers.pop() {
        let handle = buffer.post().handle;
        check_eq!(other.take(handle).err(), Some(HandleError::WrongState));
    }
    check_eq!(other.count(), count(0, 0, 8));
    check_eq!(pool.reclaim_card(), 8);
    Ok(())
}

fn user_bits_come_back(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config().user_bits(2, 7), GFP_KERNEL)?;
    for high in 0..4 {
        for low in [0, 1, 64, 127] {
            let posted = pool.post(GFP_KERNEL)?;
            check_eq!(pool.user_bits(posted.handle), (0, 0));
            let marked = pool.with_user_bits(posted.handle, high, low)?;
            check_eq!(pool.user_bits(marked), (high, low));
            // By way of the card: a word, and back.
            let word = Handle::from_raw(marked.into_raw());
            check_eq!(pool.peek(word)?.dma_address(), posted.dma);
            check_eq!(pool.take(word)?.dma_address(), posted.dma);
        }
    }
    refused(0, 0, 0)
}

fn user_bits_that_do_not_fit_are_refused(on: &Fixture<'_>) -> Outcome {
    let pool = Pool::new(on.dev, config().user_bits(2, 7), GFP_KERNEL)?;
    let handle = pool.post(GFP_KERNEL)?.handle;
    for (high, low) in [(4, 0), (0, 128), (u32::MAX, 0), (0, u32::MAX)] {
        let found = pool.with_user_bits(handle, high, low).err();
        check_eq!(found, Some(EINVAL));
    }
    drop(pool.take(handle)?);
    drop(pool);

    let pool = Pool::new(on.dev, config(), GFP_KERNEL)?;
    let handle = pool.post(GFP_KERNEL)?.handle;
    check!(pool.with_user_bits(handle, 0, 0)? == handle);
    check_eq!(pool.with_user_bits(handle, 1, 0).err(), Some(EINVAL));
    check_eq!(pool.with_user_bits(handle, 0, 1).err(), Some(EINVAL));
    drop(pool.take(handle)?);
    Ok(())
}

fn no_word_takes_what_is_not_on_card(on: &Fixture<'_>) -> Outcome {
    // 20 bits of the caller's, 4 of index, 8 of generation: a random word meets a live handle at
    // times, so both answers are seen.
    let pool = Pool::new(on.dev, config().max_pages(3).user_bits(10, 10), GFP_KERNEL)?;
    let mut random = Random::new(1);
    let mut live = [Handle::from_raw(0); 5];
    for handle in &mut live {
        *handle = pool.post(GFP_KERNEL)?.handle;
    }
    let held = pool.alloc(GFP_KERNEL)?;
    let (mut taken, mut bad) = (0, 0);
    for _ in 0..100_000 {
        let word = Handle::from_raw(random.next());
        let bare = pool.with_user_bits(word, 0, 0)?;
        let known = live.iter_mut().find(|handle| **handle == bare);
        match (pool.take(word), known) {
            (Ok(buffer), Some(known)) => {
                *known = buffer.post().handle;
                taken += 1;
            }
            (Err(_), None) => bad += 1,
            (Ok(_), None) => check!(false, "{:#010x} was taken", word.into_raw()),
            (Err(_), Some(_)) => check!(false, "{:#010x} was refused", word.into_raw()),
        }
    }
    check!(taken > 20, "{taken} were taken");
    let mut counted = 0;
    for file in ["bad_out_of_range", "bad_stale", "bad_wrong_state"] {
        let found = sysfs::number("handles", file)?;
        check!(found > 0);
        counted += found;
    }
    check_eq!(counted, bad);
    check_eq!(pool.count(), count(1, 5, 2));
    drop(held);
    check_eq!(pool.reclaim_card(), 5);
    Ok(())
}

fn errors_become_errno(_: &Fixture<'_>) -> Outcome {
    // What a driver passes on with `?`: an errno each, and none that means something else.
    for error in [
        HandleError::OutOfRange,
        HandleError::Stale,
        HandleError::WrongState,
    ] {
        let errno = Error::from(error).to_errno();
        check!((-4095..0).contains(&errno));
    }
    Ok(())
}
