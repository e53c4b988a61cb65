// SPDX-License-Identifier: GPL-2.0

//! What lets a pool breathe: retiring pages, water marks and alarms, loans, fill levels.

mod common;

use common::{
    geometry,
    request,
    small,
    Parts, //
};
use mbpool_host::ground::{
    fill::FillLevel,
    lent::{
        Lent,
        Loan, //
    },
    marks::{
        Due,
        Marks,
        ALARMS, //
    },
    pageset::PageSet, //
};
use proptest::prelude::*;
use std::collections::BTreeSet;

#[test]
fn a_claim_comes_first_and_hides_nothing() {
    let mut marks = Marks::new(0, Some(8));
    assert!(!marks.is_reached(8));
    marks.claim(true);
    assert!(marks.is_claimed() && marks.is_reached(0));
    // What it left is looked at as ever.
    assert!(marks.arm(0, 4, 0));
    assert_eq!(marks.risen(3), Due::default());
    let rung = Due {
        alarms: 1,
        ..Due::default()
    };
    assert_eq!(marks.risen(4), rung);
    assert!(marks.is_reached(0));
    marks.claim(false);
    assert!(!marks.is_claimed() && !marks.is_reached(8));
    assert!(marks.risen(9).shrink);
}

#[test]
fn chunks_come_from_the_lowest_page() {
    let mut depot = Parts::full(small(4, 4, 8, 0)).depot;
    let all: Vec<_> = std::iter::from_fn(|| depot.pop()).collect();
    assert_eq!(all, (0..16).collect::<Vec<_>>());
    depot.pack();
    for index in [13, 5, 9] {
        depot.push(index);
    }
    assert_eq!(depot.pop(), Some(5));
    assert_eq!(depot.pop(), Some(9));
    depot.push(2);
    assert_eq!(depot.pop(), Some(2));
    assert_eq!(depot.pop(), Some(13));
    assert_eq!(depot.pop(), None);
}

#[test]
fn the_highest_free_page_is_retired() {
    let mut depot = Parts::full(small(4, 4, 8, 0)).depot;
    assert_eq!(depot.pop(), Some(0));
    assert_eq!(depot.retire(0), Some(3));
    assert_eq!((depot.present(), depot.total(), depot.free()), (3, 12, 11));
    // Twelve less four keeps seven.
    assert_eq!(depot.retire(8), None);
    assert!(!depot.can_retire(8) && depot.can_retire(7));
    assert_eq!(depot.retire(7), Some(2));
    assert_eq!(depot.retire(0), Some(1));
    // What is left has a chunk out.
    assert_eq!(depot.retire(0), None);
    assert!(!depot.can_retire(0));
    assert!(depot.is_at_limit());
    depot.cancel(2);
    assert!(!depot.is_at_limit());
    assert_eq!(depot.reserve(), Some(2));
    depot.install(2);
    let rest: Vec<_> = std::iter::from_fn(|| depot.pop()).collect();
    assert_eq!(rest, [1, 2, 3, 8, 9, 10, 11]);
    assert_eq!(depot.most_out(), 8);
}

/// 4096 chunks, a random nine tenths freed, then a steady load of a twentieth: pages drain.
#[test]
fn a_steady_load_gathers_in_few_pages() {
    let mut depot = Parts::full(small(128, 32, 8, 0)).depot;
    let mut seed = 1u64;
    let mut random = |below: usize| {
        seed = seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (seed >> 33) as usize % below
    };
    let mut out: Vec<_> = std::iter::from_fn(|| depot.pop()).collect();
    assert_eq!(out.len(), 4096);
    while out.len() > 409 {
        depot.push(out.swap_remove(random(out.len())));
    }
    let mut before = 0;
    while depot.retire(0).is_some() {
        before += 1;
    }
    while out.len() > 205 {
        depot.push(out.swap_remove(random(out.len())));
    }
    for _ in 0..20_000 {
        depot.push(out.swap_remove(random(out.len())));
        out.extend(depot.pop());
    }
    let mut after = before;
    while depot.retire(0).is_some() {
        after += 1;
    }
    // 205 chunks need 7 pages of 32.
    assert!(before < 64, "{before} pages went at once");
    assert!(after >= 128 - 10, "only {after} of 128 pages went");
}

#[test]
fn nothing_is_due_without_marks() {
    let mut marks = Marks::new(0, None);
    for free in [0, 1, 1000, u32::MAX - 1] {
        assert!(marks.fallen(free).is_nothing());
        assert!(marks.risen(free).is_nothing());
    }
    assert_eq!((marks.low(), marks.high()), (0, None));
}

#[test]
fn growth_is_asked_for_once() {
    let mut marks = Marks::new(4, None);
    assert!(!marks.fallen(4).grow);
    assert!(marks.fallen(3).grow);
    assert!(!marks.fallen(2).grow);
    marks.grown();
    assert!(marks.fallen(3).grow);
}

#[test]
fn shrinking_is_asked_for_once() {
    let mut marks = Marks::new(0, Some(8));
    assert!(!marks.risen(8).shrink);
    assert!(marks.risen(9).shrink);
    assert!(!marks.risen(10).shrink);
    marks.shrunk();
    assert!(!marks.risen(8).shrink);
    assert!(marks.risen(9).shrink);
}

#[test]
fn an_alarm_rings_once() {
    let mut marks = Marks::new(0, None);
    assert!(!marks.arm(0, 3, 3));
    assert!(marks.risen(3).is_nothing());
    assert!(marks.arm(0, 3, 2));
    assert!(marks.risen(2).is_nothing());
    assert_eq!(marks.risen(3).alarms, 1);
    assert!(marks.risen(4).is_nothing());
    assert!(marks.arm(0, 5, 4));
    marks.disarm(0);
    assert!(marks.risen(5).is_nothing());
}

#[test]
fn alarms_and_marks_do_not_hide_each_other() {
    let mut marks = Marks::new(0, Some(10));
    for alarm in 0..ALARMS {
        assert!(marks.arm(alarm, 5 + alarm as u32, 0));
    }
    assert_eq!(marks.risen(4), Due::default());
    assert_eq!(marks.risen(6).alarms, 0b11);
    let due = marks.risen(11);
    assert_eq!((due.alarms, due.shrink), (0b111_1100, true));
    // The mark is not due again, and the other alarms are still armed.
    assert_eq!(marks.risen(11), Due::default());
    assert_eq!(marks.risen(100).alarms, 0xff80);
    // An alarm beyond the last is none.
    marks.arm(ALARMS, 1, 0);
    assert_eq!(marks.risen(100), Due::default());
}

#[test]
fn loans_come_in_order() {
    let geometry = geometry(&request(4096, 3));
    let mut lent = Lent::new(&geometry, true).unwrap();
    let loan = |index| Loan {
        index,
        since: 10 + index,
    };
    for round in 0..5 {
        assert!(lent.is_empty());
        for index in 0..3 {
            assert!(lent.push(loan(index)), "round {round}");
        }
        assert!(!lent.push(loan(9)));
        assert_eq!(lent.pop(), Some(loan(0)));
        assert!(lent.push(loan(0)));
        let rest: Vec<_> = std::iter::from_fn(|| lent.pop()).collect();
        assert_eq!(rest, [loan(1), loan(2), loan(0)]);
        assert_eq!(lent.len(), 0);
    }
    let mut none = Lent::new(&geometry, false).unwrap();
    assert!(!none.push(loan(0)) && none.pop().is_none());
}

#[test]
fn a_ring_that_runs_dry_gets_one_more_a_tick() {
    let mut fill = FillLevel::new(4, 6);
    let mut levels = vec![];
    for tick in 1..6 {
        let wanted = fill.wanted(100, tick);
        assert_eq!(fill.wanted(100, tick), wanted);
        fill.posted(wanted);
        levels.push(fill.level());
        fill.returned(fill.on_card());
    }
    assert_eq!(levels, [5, 6, 6, 6, 6]);
    // A ring that is not dry stays as it is, whatever it is asked.
    fill.posted(6);
    for tick in 6..9 {
        assert_eq!(fill.wanted(100, tick), 0);
    }
    for tick in 9..20 {
        fill.overloaded(tick);
        fill.overloaded(tick);
    }
    assert_eq!(fill.level(), 4);
    fill.reset();
    assert_eq!((fill.level(), fill.on_card()), (4, 0));
    assert_eq!(FillLevel::new(0, 0).level(), 1);
}

#[test]
fn a_level_from_high_falls_and_recovers() {
    let mut fill = FillLevel::new(2, 5).from_high();
    assert!(fill.is_high() && fill.is_dry());
    assert_eq!(fill.wanted(100, 1), 5);
    fill.posted(5);
    assert!(!fill.is_dry());
    for tick in 2..10 {
        fill.overloaded(tick);
    }
    assert_eq!(fill.level(), 2);
    assert!(!fill.is_high());
    // The card uses up what is too much, and gets nothing until it has less than the level.
    fill.returned(3);
    assert_eq!(fill.wanted(100, 10), 0);
    fill.recover();
    assert_eq!(fill.wanted(100, 10), 3);
    fill.reset();
    assert_eq!((fill.level(), fill.on_card()), (5, 0));
}

proptest! {
    #[test]
    fn a_page_set_is_a_set(ops in prop::collection::vec((0..16383u32, any::<bool>()), 1..400)) {
        let mut set = PageSet::new(16383).unwrap();
        let mut model = BTreeSet::new();
        for (number, insert) in ops {
            if insert {
                set.insert(number);
                model.insert(number);
            } else {
                set.remove(number);
                model.remove(&number);
            }
            prop_assert_eq!(set.first(), model.first().copied());
        }
    }

    /// Whatever happens, an alarm that was armed rings with the first change to enough, and only then.
    #[test]
    fn no_alarm_is_lost(
        high in prop::option::of(0..20u32),
        ops in prop::collection::vec((0..4usize, 0..20u32, 0..20u32), 1..200),
    ) {
        let mut marks = Marks::new(0, high);
        let mut armed = [None; 3];
        let mut free = 0;
        for (op, threshold, next) in ops {
            if let Some(slot) = armed.get_mut(op) {
                let wait = marks.arm(op, threshold, free);
                prop_assert_eq!(wait, free < threshold);
                *slot = wait.then_some(threshold);
                continue;
            }
            free = next;
            let due = marks.risen(free);
            for (alarm, slot) in armed.iter_mut().enumerate() {
                let rings = slot.is_some_and(|threshold| free >= threshold);
                prop_assert_eq!(due.alarms & 1 << alarm != 0, rings);
                if rings {
                    *slot = None;
                }
            }
            if due.shrink {
                prop_assert!(high.is_some_and(|high| free > high));
                marks.shrunk();
            }
        }
    }
}
