// SPDX-License-Identifier: GPL-2.0

//! Several threads at one pool's state words: a chunk has one owner at a time, whoever asks.

mod common;

use common::{
    pop_all,
    small,
    Parts, //
};
use mbpool_host::ground::{
    handle::{
        Handle,
        HandleError, //
    },
    slots::Count, //
};
use std::{
    panic::{
        catch_unwind,
        AssertUnwindSafe, //
    },
    sync::{
        atomic::{
            AtomicBool,
            AtomicU32,
            Ordering, //
        },
        Barrier,
        Mutex, //
    },
    thread, //
};

const THREADS: usize = 4;
const ROUNDS: u32 = 20_000;

/// Runs `round` on all threads at once, `ROUNDS` times; it answers whether its thread won, and one of
/// them must. `before` each round a single thread sets it up, and `after` it that thread clears up.
///
/// A round that panics ends the race, rather than leave the others waiting.
fn race(round: impl Fn(usize) -> bool + Sync, before: impl Fn(), after: impl Fn()) {
    let barrier = Barrier::new(THREADS + 1);
    let (winners, panicked) = (AtomicU32::new(0), AtomicBool::new(false));
    let over = AtomicBool::new(false);
    let mut won = 1;
    thread::scope(|scope| {
        for at in 0..THREADS {
            let (barrier, winners, panicked) = (&barrier, &winners, &panicked);
            let (over, round) = (&over, &round);
            scope.spawn(move || loop {
                barrier.wait();
                if over.load(Ordering::Relaxed) {
                    break;
                }
                match catch_unwind(AssertUnwindSafe(|| round(at))) {
                    Ok(won) => winners.fetch_add(won.into(), Ordering::Relaxed),
                    Err(_) => panicked.swap(true, Ordering::Relaxed).into(),
                };
                barrier.wait();
            });
        }
        for _ in 0..ROUNDS {
            before();
            barrier.wait();
            barrier.wait();
            won = winners.swap(0, Ordering::Relaxed);
            if won != 1 || panicked.load(Ordering::Relaxed) {
                break;
            }
            after();
        }
        over.store(true, Ordering::Relaxed);
        barrier.wait();
    });
    assert!(!panicked.into_inner());
    assert_eq!(won, 1, "winners of a round");
}

#[test]
fn one_handle_is_taken_once() {
    let slots = Parts::full(small(1, 4, 8, 0)).slots;
    let raw = AtomicU32::new(0);
    race(
        |_| match slots.take(Handle::from_raw(raw.load(Ordering::Relaxed))) {
            Ok(2) => true,
            Ok(other) => panic!("took {other}"),
            Err(HandleError::WrongState) => false,
            Err(error) => panic!("{error:?}"),
        },
        || raw.store(slots.post(2).into_raw(), Ordering::Relaxed),
        || slots.release(2),
    );
}

#[test]
fn take_and_reclaim_do_not_both_win() {
    let slots = Parts::full(small(1, 4, 8, 0)).slots;
    let raw = AtomicU32::new(0);
    race(
        |at| match at % 2 {
            0 => slots.reclaim(1),
            _ => slots
                .take(Handle::from_raw(raw.load(Ordering::Relaxed)))
                .is_ok(),
        },
        || raw.store(slots.post(1).into_raw(), Ordering::Relaxed),
        || slots.release(1),
    );
}

#[test]
fn one_receipt_is_redeemed_once() {
    let slots = Parts::full(small(1, 4, 8, 0)).slots;
    let raw = AtomicU32::new(0);
    race(
        |_| {
            slots
                .redeem(Handle::from_raw(raw.load(Ordering::Relaxed)))
                .is_ok()
        },
        || {
            slots.claim(0);
            raw.store(slots.lend(0).into_raw(), Ordering::Relaxed);
        },
        || (),
    );
}

#[test]
fn an_old_handle_never_wins_against_a_fresh_one() {
    let slots = Parts::full(small(1, 4, 8, 0)).slots;
    let (old, fresh) = (AtomicU32::new(0), AtomicU32::new(0));
    race(
        |at| {
            if at == 0 {
                return slots
                    .take(Handle::from_raw(fresh.load(Ordering::Relaxed)))
                    .is_ok();
            }
            let stale = slots.take(Handle::from_raw(old.load(Ordering::Relaxed)));
            assert!(stale.is_err());
            false
        },
        || {
            old.store(slots.post(3).into_raw(), Ordering::Relaxed);
            fresh.store(slots.post(3).into_raw(), Ordering::Relaxed);
        },
        || slots.release(3),
    );
}

/// Each thread allocates, writes its name on the chunk, posts, takes back and frees, while all try
/// each other's handles too: nobody ever finds another's name on a chunk that is its own.
#[test]
fn chunks_are_conserved() {
    let Parts { slots, depot, .. } = Parts::full(small(2, 4, 6, 0));
    let depot = Mutex::new(depot);
    let owner: Vec<_> = (0..8).map(|_| AtomicU32::new(0)).collect();
    let last: Vec<_> = (0..THREADS).map(|_| AtomicU32::new(0)).collect();
    let own = |index: u32, name: u32| {
        let cell = &owner[index as usize];
        assert_eq!(cell.swap(name, Ordering::SeqCst), 0, "chunk {index}");
        thread::yield_now();
        assert_eq!(cell.swap(0, Ordering::SeqCst), name, "chunk {index}");
    };
    thread::scope(|scope| {
        for name in 1..=THREADS as u32 {
            let (slots, depot, own, last) = (&slots, &depot, &own, &last);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let popped = depot.lock().expect("no panic").pop();
                    if let Some(index) = popped {
                        slots.claim(index);
                        own(index, name);
                        let handle = slots.post(index);
                        last[name as usize - 1].store(handle.into_raw(), Ordering::Release);
                    }
                    // One's own or another's, fresh or long gone.
                    let from = &last[(name + round) as usize % THREADS];
                    let handle = Handle::from_raw(from.load(Ordering::Acquire));
                    if let Ok(index) = slots.take(handle) {
                        own(index, name);
                        slots.release(index);
                        depot.lock().expect("no panic").push(index);
                    }
                    if round % 64 == 0 {
                        for index in 0..8 {
                            if slots.reclaim(index) {
                                own(index, name);
                                depot.lock().expect("no panic").push(index);
                            }
                        }
                    }
                }
            });
        }
    });
    let mut depot = depot.into_inner().expect("no panic");
    for index in 0..8 {
        if slots.reclaim(index) {
            depot.push(index);
        }
    }
    let all_free = Count {
        used: 0,
        card: 0,
        free: 8,
    };
    assert_eq!(slots.count(), all_free);
    assert_eq!(depot.free(), 8);
    let mut out: Vec<_> = pop_all(&mut depot).collect();
    out.sort();
    assert_eq!(out, (0..8).collect::<Vec<_>>());
}
