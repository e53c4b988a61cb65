// SPDX-License-Identifier: GPL-2.0

//! Magazine: a stack that says when it is full, and gives its oldest half.

use mbpool_host::ground::magazine::{
    Magazine,
    CAPACITY,
    HALF, //
};

/// One that holds 0, 1, 2 and so on.
fn with(count: usize) -> Magazine {
    let mut magazine = Magazine::new();
    for index in 0..count as u32 {
        assert!(magazine.push(index));
    }
    magazine
}

fn content(mut magazine: Magazine) -> Vec<u32> {
    std::iter::from_fn(|| magazine.pop()).collect()
}

#[test]
fn the_last_one_in_is_the_first_one_out() {
    let mut magazine = with(3);
    assert_eq!(magazine.len(), 3);
    assert_eq!(magazine.pop(), Some(2));
    assert!(magazine.push(7));
    assert_eq!(content(magazine), [7, 1, 0]);
    assert_eq!(Magazine::new().pop(), None);
    assert!(Magazine::default().is_empty());
}

#[test]
fn it_holds_so_many() {
    let mut magazine = with(CAPACITY);
    assert!(!magazine.push(7));
    assert_eq!(magazine.len(), CAPACITY);
    assert_eq!(magazine.pop(), Some(CAPACITY as u32 - 1));
    assert!(magazine.push(7));
    assert!(!magazine.push(8));
}

#[test]
fn the_oldest_half_is_unloaded() {
    let mut magazine = with(CAPACITY);
    let mut out = Vec::new();
    magazine.unload(|index| out.push(index));
    assert_eq!(out, (0..HALF as u32).collect::<Vec<_>>());
    let left: Vec<_> = (HALF as u32..CAPACITY as u32).rev().collect();
    assert_eq!(content(magazine), left);

    let (mut magazine, mut out) = (with(5), Vec::new());
    magazine.unload(|index| out.push(index));
    assert_eq!(out, [0, 1, 2, 3, 4]);
    assert!(magazine.is_empty());
}

#[test]
fn a_closed_one_takes_nothing_and_gives_what_it_has() {
    let mut magazine = with(2);
    magazine.close(true);
    assert!(!magazine.push(7));
    assert_eq!(magazine.take_all(), [0, 1]);
    magazine.close(false);
    assert!(magazine.push(7));
}

#[test]
fn between_its_bounds() {
    let mut magazine = with(3);
    magazine.bound(2, 4);
    assert_eq!(magazine.pop(), Some(2));
    assert_eq!(magazine.pop(), None);
    assert!(magazine.push(7) && magazine.push(8));
    assert!(!magazine.push(9));
    // Who has looked at the rest takes and puts all the same.
    assert!(magazine.put(9));
    assert_eq!(magazine.pop(), Some(9));
    let rest = std::iter::from_fn(|| magazine.take());
    assert_eq!(rest.collect::<Vec<_>>(), [8, 7, 1, 0]);
    assert!(magazine.is_empty() && magazine.take().is_none());

    // No bound is beyond what there is room for, and a closed one has none.
    for (floor, limit) in [(0, u32::MAX), (300, 256), (CAPACITY as u32, 1 << 8)] {
        let mut magazine = with(CAPACITY - 1);
        magazine.bound(floor, limit);
        assert_eq!(magazine.pop().is_some(), floor == 0);
        assert!(magazine.push(7));
        assert_eq!(magazine.push(7), floor == 0);
        assert!(magazine.room() <= 1);
    }
    magazine.close(true);
    magazine.bound(0, 9);
    assert!(!magazine.push(7) && !magazine.put(7));
}

#[test]
fn several_at_once() {
    let mut magazine = with(5);
    assert_eq!(magazine.room(), CAPACITY - 5);
    assert_eq!(magazine.pop_many(2), [3, 4]);
    assert_eq!(magazine.pop_many(7), [0, 1, 2]);
    assert_eq!(magazine.pop_many(7), []);

    let many: Vec<_> = (0..CAPACITY as u32 + 3).collect();
    assert_eq!(magazine.push_many(&many[..2]), []);
    assert_eq!(magazine.push_many(&many[2..]), &many[CAPACITY..]);
    assert_eq!(magazine.room(), 0);
    assert_eq!(magazine.push_many(&many[..1]), &many[..1]);
    assert_eq!(magazine.all(), &many[..CAPACITY]);
    assert_eq!(magazine.take_all(), &many[..CAPACITY]);
    assert_eq!(magazine.all(), []);
    assert!(magazine.is_empty());

    let mut filler = magazine.filler();
    (0..3).for_each(|index| filler.put(index));
    drop(filler);
    assert_eq!(content(magazine), [2, 1, 0]);
}
