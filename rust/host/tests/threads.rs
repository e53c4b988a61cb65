// SPDX-License-Identifier: GPL-2.0

//! Several threads at one pool's state words: a chunk has one owner at a time, whoever asks.

mod common;

use common::{
    pop_all,
    small,
    ByIndex,
    Parts, //
};
use mbpool_host::{
    facade::shake,
    ground::{
        handle::{
            Handle,
            HandleError, //
        },
        slots::{
            Count,
            Owner,
            Slots, //
        }, //
    }, //
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
const ROUNDS: u32 = 10_000;

/// The chunks of a race, and how many races there are.
const CHUNKS: u32 = 1 << 10;
const RACES: u32 = 200;

/// All chunks are posted, all threads run at once, `RACES` times. Each answers how many it won, and all
/// chunks must be won once. Then they are free again.
///
/// A thread that panics ends the races, rather than leave the others waiting.
fn race(
    slots: &Slots,
    post: impl Fn(u32) -> Handle,
    won: impl Fn(usize, &[AtomicU32]) -> u32 + Sync,
) {
    let threads = thread::available_parallelism().map_or(2, |cpus| cpus.get().clamp(2, THREADS));
    let barrier = Barrier::new(threads + 1);
    let handles: Vec<_> = (0..CHUNKS).map(|_| AtomicU32::new(0)).collect();
    let (sum, waiting) = (AtomicU32::new(0), AtomicU32::new(0));
    let (panicked, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let mut total = CHUNKS;
    thread::scope(|scope| {
        for at in 0..threads {
            let (barrier, handles, sum, waiting) = (&barrier, &handles, &sum, &waiting);
            let (panicked, over, won) = (&panicked, &over, &won);
            scope.spawn(move || loop {
                shake();
                barrier.wait();
                if over.load(Ordering::Relaxed) {
                    break;
                }
                // The barrier wakes one after the other; from here they start together.
                waiting.fetch_sub(1, Ordering::Relaxed);
                while waiting.load(Ordering::Relaxed) != 0 {
                    thread::yield_now();
                }
                match catch_unwind(AssertUnwindSafe(|| won(at, handles))) {
                    Ok(won) => sum.fetch_add(won, Ordering::Relaxed),
                    Err(_) => panicked.swap(true, Ordering::Relaxed).into(),
                };
                barrier.wait();
            });
        }
        for _ in 0..RACES {
            for (index, handle) in (0..).zip(&handles) {
                handle.store(post(index).into_raw(), Ordering::Relaxed);
            }
            waiting.store(threads as u32, Ordering::Relaxed);
            barrier.wait();
            barrier.wait();
            total = sum.swap(0, Ordering::Relaxed);
            if total != CHUNKS || panicked.load(Ordering::Relaxed) {
                break;
            }
            (0..CHUNKS).for_each(|index| slots.release(index));
        }
        over.store(true, Ordering::Relaxed);
        barrier.wait();
    });
    assert!(!panicked.into_inner());
    assert_eq!(total, CHUNKS, "chunks won");
}

fn slots() -> Slots {
    Parts::full(small(16, 64, 8, 0)).slots
}

/// How many of the chunks thread `at` wins. The threads go through them from both ends, so that they
/// meet.
fn count(at: usize, won: impl Fn(usize) -> bool) -> u32 {
    let chunks = CHUNKS as usize;
    let turn = |step| if at % 2 == 0 { step } else { chunks - 1 - step };
    (0..chunks).map(|step| u32::from(won(turn(step)))).sum()
}

fn handle(handles: &[AtomicU32], index: usize) -> Handle {
    Handle::from_raw(handles[index].load(Ordering::Relaxed))
}

#[test]
fn one_handle_is_taken_once() {
    let slots = slots();
    race(
        &slots,
        |index| slots.post(index, Owner::POOL),
        |at, handles| {
            count(at, |index| match slots.fetch(handle(handles, index)) {
                Ok(_) => true,
                Err(HandleError::WrongState) => false,
                Err(error) => panic!("{error:?}"),
            })
        },
    );
}

/// Two threads at one chunk, one with its handle, one without. Who wins it owns it for a moment, and
/// posts it anew.
#[test]
fn take_and_reclaim_do_not_both_win() {
    let slots = slots();
    let last = AtomicU32::new(slots.post(0, Owner::POOL).into_raw());
    let (owned, twice) = (AtomicBool::new(false), AtomicBool::new(false));
    let work = |won: &dyn Fn() -> bool| {
        shake();
        for _ in 0..ROUNDS * 4 {
            if won() {
                twice.fetch_or(owned.swap(true, Ordering::SeqCst), Ordering::Relaxed);
                thread::yield_now();
                owned.store(false, Ordering::SeqCst);
                last.store(slots.post(0, Owner::POOL).into_raw(), Ordering::Release);
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| work(&|| slots.reclaim(0)));
        scope.spawn(|| {
            let handle = || Handle::from_raw(last.load(Ordering::Acquire));
            work(&|| slots.fetch(handle()).is_ok());
        });
    });
    assert!(!twice.into_inner());
}

#[test]
fn one_receipt_is_redeemed_once() {
    let slots = slots();
    race(
        &slots,
        |index| {
            slots.claim(index);
            slots.lend(index)
        },
        |at, handles| count(at, |index| slots.redeem(handle(handles, index)).is_ok()),
    );
}

#[test]
fn an_old_handle_never_wins_against_a_fresh_one() {
    let slots = slots();
    let old: Vec<_> = (0..CHUNKS).map(|_| AtomicU32::new(0)).collect();
    race(
        &slots,
        |index| {
            let stale = slots.post(index, Owner::POOL).into_raw();
            old[index as usize].store(stale, Ordering::Relaxed);
            slots.post(index, Owner::POOL)
        },
        |at, handles| {
            let from = if at == 0 { handles } else { &old };
            count(at, |index| slots.fetch(handle(from, index)).is_ok())
        },
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
                shake();
                for round in 0..ROUNDS {
                    let popped = depot.lock().expect("no panic").pop();
                    if let Some(index) = popped {
                        slots.claim(index);
                        own(index, name);
                        let handle = slots.post(index, Owner::POOL);
                        last[name as usize - 1].store(handle.into_raw(), Ordering::Release);
                    }
                    // One's own or another's, fresh or long gone.
                    let from = &last[(name + round) as usize % THREADS];
                    let handle = Handle::from_raw(from.load(Ordering::Acquire));
                    if let Ok(index) = slots.fetch(handle) {
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
