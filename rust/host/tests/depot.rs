// SPDX-License-Identifier: GPL-2.0

//! Depot: pages come, chunks go out and come back, each once.

mod common;

use common::{
    geometry,
    pop_all,
    request,
    small,
    Parts, //
};
use std::collections::HashSet;

#[test]
fn an_empty_depot_has_nothing() {
    let mut depot = Parts::new(small(2, 4, 8, 0)).depot;
    assert_eq!(depot.pop(), None);
    assert_eq!((depot.free(), depot.present(), depot.total()), (0, 0, 0));
    assert_eq!((depot.most_out(), depot.popped()), (0, 0));
}

#[test]
fn pages_are_reserved_in_order_up_to_the_limit() {
    let mut depot = Parts::new(small(3, 4, 8, 0)).depot;
    assert_eq!(depot.reserve(), Some(0));
    assert_eq!(depot.reserve(), Some(1));
    assert_eq!(depot.reserve(), Some(2));
    assert_eq!(depot.reserve(), None);
    assert_eq!(depot.reserve(), None);
    // Reserved is not there yet.
    assert_eq!((depot.free(), depot.present(), depot.total()), (0, 0, 0));
    assert_eq!(depot.pop(), None);
}

#[test]
fn a_cancelled_page_can_be_reserved_again() {
    let mut depot = Parts::new(small(2, 4, 8, 0)).depot;
    assert_eq!(depot.reserve(), Some(0));
    assert_eq!(depot.reserve(), Some(1));
    depot.cancel(0);
    assert_eq!(depot.reserve(), Some(0));
    assert_eq!(depot.reserve(), None);
    depot.cancel(1);
    depot.cancel(0);
    let mut both = [depot.reserve(), depot.reserve()];
    both.sort();
    assert_eq!(both, [Some(0), Some(1)]);
    assert_eq!(depot.reserve(), None);
}

#[test]
fn an_installed_page_gives_each_chunk_once_lowest_first() {
    let mut depot = Parts::new(small(2, 4, 8, 0)).depot;
    assert_eq!(depot.reserve(), Some(0));
    assert_eq!(depot.reserve(), Some(1));
    depot.install(1);
    assert_eq!((depot.free(), depot.present(), depot.total()), (4, 1, 4));
    let out: Vec<_> = pop_all(&mut depot).collect();
    assert_eq!(out, [4, 5, 6, 7]);
    assert_eq!((depot.free(), depot.total()), (0, 4));
    assert_eq!((depot.most_out(), depot.popped()), (4, 4));
}

/// As if it had been installed, and the one popped.
#[test]
fn who_installs_a_page_can_have_its_lowest_chunk_at_once() {
    let mut depot = Parts::new(small(3, 4, 8, 0)).depot;
    let pages = [depot.reserve(), depot.reserve(), depot.reserve()];
    assert_eq!(pages, [Some(0), Some(1), Some(2)]);
    assert_eq!(depot.install_and_pop(1), Some(4));
    assert_eq!((depot.free(), depot.present(), depot.total()), (3, 1, 4));
    assert_eq!((depot.most_out(), depot.popped()), (1, 1));
    // Of a page that has no other, too.
    let mut single = Parts::new(small(2, 1, 8, 0)).depot;
    assert_eq!(single.reserve(), Some(0));
    assert_eq!(single.install_and_pop(0), Some(0));
    assert_eq!(
        (single.free(), single.pop(), single.most_out()),
        (0, None, 1)
    );
    single.push(0);
    assert_eq!(single.pop(), Some(0));

    assert_eq!(depot.install_and_pop(0), Some(0));
    assert_eq!((depot.free(), depot.most_out()), (6, 2));
    let out: Vec<_> = pop_all(&mut depot).collect();
    assert_eq!(out, [1, 2, 3, 5, 6, 7]);
    assert_eq!((depot.most_out(), depot.popped()), (8, 8));
}

#[test]
fn the_last_one_pushed_is_popped_first() {
    let mut depot = Parts::full(small(1, 4, 8, 0)).depot;
    for _ in 0..4 {
        depot.pop();
    }
    for index in [2, 0, 3] {
        depot.push(index);
    }
    assert_eq!(depot.pop(), Some(3));
    assert_eq!(depot.pop(), Some(0));
    depot.push(1);
    assert_eq!(depot.pop(), Some(1));
    assert_eq!(depot.pop(), Some(2));
    assert_eq!(depot.pop(), None);
}

#[test]
fn only_chunks_that_exist_are_given() {
    // Five chunks a page, with room for eight in the numbers.
    let geometry = geometry(&request(768, 3));
    let mut depot = Parts::full(geometry).depot;
    let out: HashSet<_> = pop_all(&mut depot).collect();
    let all = (0..3).flat_map(|page| (0..5).map(move |chunk| page << 3 | chunk));
    assert_eq!(out, all.collect());
    assert_eq!(depot.popped(), 15);
}

#[test]
fn pages_go_dry_and_come_back_in_any_order() {
    let mut depot = Parts::full(small(4, 2, 8, 0)).depot;
    let out: Vec<_> = pop_all(&mut depot).collect();
    assert_eq!(out.len(), 8);
    // One chunk of each page, then the others, then all again.
    for index in [6, 0, 4, 2, 1, 7, 3, 5] {
        depot.push(index);
    }
    let again: HashSet<_> = pop_all(&mut depot).collect();
    assert_eq!(again, (0..8).collect());
}

#[test]
fn the_high_water_mark_stays() {
    let mut depot = Parts::full(small(2, 4, 8, 0)).depot;
    let out: Vec<_> = (0..5).map_while(|_| depot.pop()).collect();
    assert_eq!(depot.most_out(), 5);
    for index in out {
        depot.push(index);
    }
    assert_eq!(depot.pop().map(|_| depot.most_out()), Some(5));
    assert_eq!(depot.popped(), 6);
}

#[test]
fn the_largest_depots() {
    // As many chunks in a page as there may be, and as many in all.
    let bytes = geometry(&mbpool_host::ground::geometry::Request {
        page_size: 65536,
        ..request(1, 256)
    });
    assert_eq!(bytes.indices(), 1 << 24);
    let mut depot = Parts::new(bytes).depot;
    for _ in 0..256 {
        let page = depot.reserve().expect("a page");
        depot.install(page);
    }
    let mut seen = vec![false; 1 << 24];
    for index in pop_all(&mut depot) {
        assert!(!std::mem::replace(&mut seen[index as usize], true));
    }
    assert!(seen.into_iter().all(|seen| seen));
    for index in 0..1 << 24 {
        depot.push(index);
    }
    assert_eq!((depot.free(), depot.total()), (1 << 24, 1 << 24));
    assert_eq!(depot.popped(), 1 << 24);
}

#[test]
fn the_most_pages() {
    let geometry = geometry(&request(8, 16383));
    let mut depot = Parts::new(geometry).depot;
    let mut pages = 0;
    while let Some(page) = depot.reserve() {
        assert_eq!(page, pages);
        depot.install(page);
        pages += 1;
    }
    assert_eq!(pages, 16383);
    assert_eq!(depot.present(), 16383);
    assert_eq!(depot.total(), 16383 * 512);
    assert_eq!(depot.pop(), Some(0));
}

#[test]
fn what_comes_back_last_goes_first_but_while_pages_are_to_go() {
    let mut depot = Parts::full(small(64, 8, 8, 0)).depot;
    let out: Vec<_> = pop_all(&mut depot).collect();
    for index in out.iter().rev() {
        depot.push(*index);
    }
    // More than the magazine holds came back; the first ones of them went to their pages.
    assert_eq!(depot.free(), 512);
    assert_eq!(depot.pop(), Some(0));
    depot.push(0);
    let late = depot.pop_many(512, |_| ());
    assert_eq!(late, 512);
    (0..512).for_each(|index| depot.push(index));
    assert_eq!(depot.pop(), Some(511));
    depot.push(511);

    depot.pack();
    assert_eq!(depot.free(), 512);
    // Now 511 goes home, and stays there for as long as lower ones are left.
    for round in 0..4096 {
        let index = depot.pop().expect("a chunk");
        assert!(index < 8, "{index} in round {round}");
        depot.push(index);
    }
    // And then the magazine is back.
    let (low, high) = (depot.pop(), 511);
    depot.push(high);
    assert_eq!(depot.pop(), Some(high));
    assert_ne!(low, Some(high));
}

/// What is at hand goes and comes without a look, but where a mark is crossed, whatever moves between the
/// magazine and the pages.
#[test]
fn no_chunk_passes_a_mark_unseen() {
    let mut depot = Parts::full(small(64, 8, 8, 0)).depot;
    let mut out = Vec::new();
    for (step, (fall, rise)) in [
        (0, u32::MAX),
        (100, 400),
        (500, 512),
        (0, 0),
        (512, 1),
        (200, 300),
    ]
    .into_iter()
    .cycle()
    .take(3000)
    .enumerate()
    {
        depot.mark(fall, rise);
        // Down, two chunks a step, until they are all out; then up.
        let down = step % 600 < 300;
        for _ in 0..2 {
            let (free, most, before) = (depot.free(), depot.most_out(), depot.popped());
            if down {
                match depot.pop_ready() {
                    Some(index) => {
                        assert!(free > fall);
                        out.push(index);
                    }
                    None => out.extend(depot.pop()),
                }
                assert_eq!(depot.popped() - before, u64::from(free > 0));
            } else if let Some(index) = out.pop() {
                match depot.push_ready(index) {
                    true => assert!(free + 1 < rise),
                    false => depot.push(index),
                }
                assert_eq!(depot.popped(), before);
            }
            assert_eq!(depot.free() as usize + out.len(), 512);
            assert_eq!(depot.most_out(), most.max(out.len() as u32));
        }
    }
    assert_eq!(depot.most_out(), 512);
}

/// With no mark near, nearly all traffic is at hand.
#[test]
fn what_is_at_hand_is_taken_without_a_look() {
    let mut depot = Parts::full(small(64, 8, 8, 0)).depot;
    depot.mark(8, 500);
    let missed = (0..400).filter(|_| depot.pop_ready().is_none() && depot.pop().is_some());
    assert!(missed.count() <= 400 / 8 + 1);
}

/// A page that comes a second time has each chunk once, too.
#[test]
fn a_page_that_went_and_came_is_whole() {
    let mut depot = Parts::full(small(2, 8, 8, 0)).depot;
    let out: Vec<_> = pop_all(&mut depot).collect();
    for at in [3, 1, 4, 15, 9, 2, 6, 5, 13, 8, 7, 12, 10, 14, 11, 0] {
        depot.push(out[at]);
    }
    assert_eq!(depot.retire(0), Some(1));
    depot.cancel(1);
    assert_eq!(depot.reserve(), Some(1));
    depot.install(1);
    let again: HashSet<_> = pop_all(&mut depot).collect();
    assert_eq!(again, (0..16).collect());
}

#[test]
fn many_at_once() {
    let mut depot = Parts::full(small(64, 8, 8, 0)).depot;
    let mut out = Vec::new();
    assert_eq!(depot.pop_many(0, |index| out.push(index)), 0);
    assert_eq!(depot.pop_many(300, |index| out.push(index)), 300);
    assert_eq!(depot.pop_many(300, |index| out.push(index)), 212);
    assert_eq!(depot.pop_many(300, |index| out.push(index)), 0);
    assert_eq!((depot.popped(), depot.most_out()), (512, 512));
    let seen: HashSet<_> = out.into_iter().collect();
    assert_eq!(seen, (0..512).collect());
}
