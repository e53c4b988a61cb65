// SPDX-License-Identifier: GPL-2.0

//! Slots: the way of a chunk through its states, and that no word a card may write takes a chunk
//! which the card does not hold under that very handle.

mod common;

use common::{
    geometry,
    request,
    small,
    ByIndex,
    Parts, //
};
use mbpool_host::ground::{
    geometry::{
        Geometry,
        Request, //
    },
    handle::{
        Handle,
        HandleError, //
    },
    slots::{
        Count,
        Owner,
        Slots, //
    }, //
};
use std::collections::HashMap;

fn count(used: usize, card: usize, free: usize) -> Count {
    Count { used, card, free }
}

#[test]
fn the_way_of_a_buffer() {
    let Parts { slots, .. } = Parts::full(small(1, 4, 8, 0));
    assert_eq!(slots.count(), count(0, 0, 4));
    slots.claim(2);
    assert_eq!(slots.count(), count(1, 0, 3));
    let handle = slots.post(2, Owner::POOL);
    assert_eq!(slots.count(), count(0, 1, 3));
    assert_eq!(slots.look(handle), Ok(2));
    assert_eq!(slots.look(handle), Ok(2));
    assert_eq!(slots.count(), count(0, 1, 3));
    assert_eq!(slots.fetch(handle), Ok(2));
    assert_eq!(slots.count(), count(1, 0, 3));
    slots.release(2);
    assert_eq!(slots.count(), count(0, 0, 4));
}

#[test]
fn a_handle_is_good_once() {
    let Parts { slots, .. } = Parts::full(small(1, 4, 8, 0));
    let handle = slots.post(1, Owner::POOL);
    assert_eq!(slots.fetch(handle), Ok(1));
    assert_eq!(slots.fetch(handle), Err(HandleError::WrongState));
    assert_eq!(slots.look(handle), Err(HandleError::WrongState));
    slots.release(1);
    assert_eq!(slots.fetch(handle), Err(HandleError::WrongState));
    // On the card again, on a later trip.
    let later = slots.post(1, Owner::POOL);
    assert_eq!(slots.fetch(handle), Err(HandleError::Stale));
    assert_eq!(slots.look(handle), Err(HandleError::Stale));
    assert_eq!(slots.fetch(later), Ok(1));
}

#[test]
fn a_stale_handle_passes_only_when_the_generation_has_come_round() {
    let Parts { slots, .. } = Parts::full(small(1, 2, 3, 0));
    let old = slots.post(0, Owner::POOL);
    for _ in 0..7 {
        let handle = slots.post(0, Owner::POOL);
        assert_ne!(handle, old);
        assert_eq!(slots.fetch(old), Err(HandleError::Stale));
    }
    // What the documentation of `generation_bits` says: 2 to the 3 trips.
    assert_eq!(slots.post(0, Owner::POOL), old);
}

#[test]
fn a_card_that_writes_zeros_has_no_handle_of_a_new_pool() {
    let Parts { slots, .. } = Parts::full(small(1, 4, 3, 0));
    let handle = slots.post(0, Owner::POOL);
    assert_eq!(slots.fetch(Handle::from_raw(0)), Err(HandleError::Stale));
    assert_eq!(slots.fetch(handle), Ok(0));
}

#[test]
fn a_pool_without_generation_bits_still_checks_the_state() {
    let Parts { slots, .. } = Parts::full(small(1, 4, 0, 2));
    let handle = slots.post(3, Owner::POOL);
    assert_eq!(slots.fetch(handle), Ok(3));
    assert_eq!(slots.fetch(handle), Err(HandleError::WrongState));
    assert_eq!(slots.post(3, Owner::POOL), handle);
}

#[test]
fn the_longest_generation_fits_its_word() {
    let geometry = geometry(&request(4096, 1));
    assert_eq!(geometry.layout().generation_bits(), 21);
    let slots = Parts::full(geometry).slots;
    // Going round would take 2 to the 21 trips; a made-up handle shows that all 21 bits are compared.
    let real = slots.post(0, Owner::POOL);
    for bit in 0..21 {
        let made_up = Handle::from_raw(real.into_raw() ^ 1 << bit);
        assert_eq!(slots.fetch(made_up), Err(HandleError::Stale), "bit {bit}");
    }
    for bit in 21..32 {
        let made_up = Handle::from_raw(real.into_raw() ^ 1 << bit);
        assert_eq!(
            slots.fetch(made_up),
            Err(HandleError::OutOfRange),
            "bit {bit}"
        );
    }
    assert_eq!(slots.fetch(real), Ok(0));
}

#[test]
fn what_is_not_there_is_out_of_range() {
    let mut parts = Parts::new(geometry(&request(1024, 3)));
    let page = parts.depot.reserve().expect("a page");
    parts.install(page);
    assert_eq!(parts.slots.count(), count(0, 0, 4));
    // Pages that the pool may grow to, and one past its last.
    for index in [4u32, 7, 8, 11, 12, 15] {
        let handle = Handle::from_raw(index << 21);
        assert_eq!(parts.slots.fetch(handle), Err(HandleError::OutOfRange));
        assert_eq!(parts.slots.look(handle), Err(HandleError::OutOfRange));
        assert_eq!(parts.slots.redeem(handle), Err(HandleError::OutOfRange));
        assert!(!parts.slots.reclaim(index));
    }
    assert!(parts.slots.is_there(0));
    for page in 1..5 {
        assert!(!parts.slots.is_there(page));
        assert!(parts.slots.is_idle(page));
    }
    parts.slots.vanish(0);
    assert!(!parts.slots.is_there(0));
    assert_eq!(parts.slots.count(), count(0, 0, 0));
}

#[test]
fn indices_in_the_gap_after_the_last_chunk_are_out_of_range() {
    // Five chunks a page: 5, 6 and 7 are numbers of none.
    let geometry = geometry(&request(768, 2));
    let Parts { slots, .. } = Parts::full(geometry);
    let generation = geometry.layout().generation_bits();
    for chunk in 0..8u32 {
        let expected = if chunk < 5 {
            HandleError::WrongState
        } else {
            HandleError::OutOfRange
        };
        for page in 0..2 {
            let handle = Handle::from_raw((page << 3 | chunk) << generation);
            assert_eq!(slots.fetch(handle), Err(expected));
        }
    }
    assert_eq!(slots.count(), count(0, 0, 10));
}

#[test]
fn reclaim_takes_back_only_what_is_on_the_card() {
    let Parts { slots, .. } = Parts::full(small(1, 4, 8, 0));
    slots.claim(1);
    let handle = slots.post(2, Owner::POOL);
    let lent = slots.lend(3);
    assert!(!slots.reclaim(0));
    assert!(!slots.reclaim(1));
    assert!(slots.reclaim(2));
    assert!(!slots.reclaim(2));
    assert!(!slots.reclaim(3));
    assert_eq!(slots.fetch(handle), Err(HandleError::WrongState));
    assert_eq!(slots.redeem(lent), Ok(3));
    assert_eq!(slots.count(), count(1, 0, 3));
}

#[test]
fn what_the_card_had_before_a_reclaim_is_stale_after_it() {
    let Parts { slots, .. } = Parts::full(small(1, 4, 8, 0));
    let before = slots.post(2, Owner::POOL);
    assert!(slots.reclaim(2));
    let after = slots.post(2, Owner::POOL);
    assert_eq!(slots.fetch(before), Err(HandleError::Stale));
    assert_eq!(slots.fetch(after), Ok(2));
}

#[test]
fn a_receipt_is_redeemed_once() {
    let Parts { slots, .. } = Parts::full(small(1, 4, 8, 0));
    slots.claim(0);
    let receipt = slots.lend(0);
    assert_eq!(slots.count(), count(1, 0, 3));
    // It is no handle of the card.
    assert_eq!(slots.fetch(receipt), Err(HandleError::WrongState));
    assert_eq!(slots.redeem(receipt), Ok(0));
    assert_eq!(slots.redeem(receipt), Err(HandleError::WrongState));
    assert_eq!(slots.count(), count(0, 0, 4));

    // Nor does it do for a chunk that was allocated anew, though that is no later trip.
    slots.claim(0);
    assert_eq!(slots.redeem(receipt), Err(HandleError::WrongState));
    assert_eq!(slots.count(), count(1, 0, 3));
    let later = slots.lend(0);
    assert_eq!(slots.redeem(receipt), Err(HandleError::Stale));
    let posted = slots.post(0, Owner::POOL);
    assert_eq!(slots.redeem(later), Err(HandleError::WrongState));
    assert_eq!(slots.redeem(posted), Err(HandleError::WrongState));
}

#[test]
fn idle_is_what_neither_driver_nor_card_has() {
    let mut parts = Parts::new(small(2, 2, 8, 0));
    assert!(parts.slots.is_idle(0), "absent");
    let page = parts.depot.reserve().expect("a page");
    parts.install(page);
    assert!(parts.slots.is_idle(0), "free");
    parts.slots.claim(0);
    assert!(!parts.slots.is_idle(0), "used");
    parts.slots.post(0, Owner::POOL);
    assert!(!parts.slots.is_idle(0), "on card");
    assert!(parts.slots.reclaim(0));
    parts.slots.claim(0);
    let receipt = parts.slots.lend(0);
    assert!(!parts.slots.is_idle(0), "lent");
    assert_eq!(parts.slots.redeem(receipt), Ok(0));
    parts.slots.post(0, Owner::POOL);
    assert!(parts.slots.reclaim(0));
    assert!(parts.slots.is_idle(0), "free again");
}

/// Puts the chunks in all states by turns, several trips each, and answers which handle each chunk
/// on the card is there under. The last page stays absent.
fn mixed(geometry: Geometry) -> (Slots, HashMap<u32, Handle>) {
    let mut parts = Parts::new(geometry);
    let pages = geometry.max_pages().max(2) - 1;
    for _ in 0..pages {
        let page = parts.depot.reserve().expect("a page");
        parts.install(page);
    }
    let mut card = HashMap::new();
    let chunk_bits = geometry.layout().chunk_bits();
    for page in 0..pages {
        for chunk in 0..geometry.chunks() {
            let index = page << chunk_bits | chunk;
            for _ in 0..index % 5 {
                parts.slots.post(index, Owner::POOL);
            }
            match index % 4 {
                0 => parts.slots.claim(index),
                1 => parts.slots.release(index),
                2 => {
                    parts.slots.lend(index);
                }
                _ => {
                    card.insert(index, parts.slots.post(index, Owner::POOL));
                }
            }
        }
    }
    (parts.slots, card)
}

/// Every one of the words answers as it must: those that name a chunk on the card under its very
/// handle, whatever the caller's bits, and no other.
fn try_words(geometry: Geometry, words: impl Iterator<Item = u32>) {
    let layout = geometry.layout();
    let (slots, card) = mixed(geometry);
    let before = slots.count();
    let live: HashMap<u32, u32> = card.iter().map(|(i, h)| (h.into_raw(), *i)).collect();
    for word in words {
        let handle = Handle::from_raw(word);
        let bare = layout
            .with_user_bits(handle, 0, 0)
            .expect("zero fits")
            .into_raw();
        let found = slots.fetch(handle);
        assert_eq!(found.ok(), live.get(&bare).copied(), "word {word:#010x}");
        if let Ok(index) = found {
            // Back to the card, round to the same handle.
            let trips = 1u32 << layout.generation_bits();
            assert!((0..trips).any(|_| slots.post(index, Owner::POOL) == card[&index]));
        } else {
            assert_eq!(slots.look(handle), found);
        }
    }
    assert_eq!(slots.count(), before);
}

#[test]
fn no_word_takes_what_is_not_on_the_card() {
    // All that differ in the pool's own bits, with each pattern of the caller's.
    for (pages, chunks, generation, low) in [
        (2, 2, 2, 2),
        (3, 4, 3, 0),
        (4, 8, 3, 1),
        (5, 4, 0, 3),
        (16, 16, 4, 2),
    ] {
        let geometry = small(pages, chunks, generation, low);
        let (high, low) = geometry.layout().user_bits();
        let own = 32 - high - low;
        let words = (0..1u32 << own).flat_map(|bits| {
            [0, 1, u32::MAX].into_iter().flat_map(move |mark| {
                let top = mark.checked_shl(32 - high).unwrap_or(0);
                (0..1 << low).map(move |bottom| top | bits << low | bottom)
            })
        });
        try_words(geometry, words);
    }
}

#[test]
fn no_word_takes_a_chunk_in_the_gaps() {
    // Five and seven chunks a page, numbers of pages that are no power of two.
    for (size, pages) in [(768, 3), (585, 5), (768, 7)] {
        let geometry = geometry(&Request {
            page_size: 4096,
            high_bits: 12,
            low_bits: 2,
            ..request(size, pages)
        });
        try_words(geometry, 0..1 << 20);
    }
}

#[test]
fn no_random_word_takes_what_is_not_on_the_card() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u32
    };
    for (pages, chunks, generation, low) in [(16, 16, 4, 2), (3, 2, 1, 0), (100, 64, 5, 7)] {
        let words: Vec<_> = (0..1_000_000).map(|_| random()).collect();
        try_words(small(pages, chunks, generation, low), words.into_iter());
    }
}
