// SPDX-License-Identifier: GPL-2.0

//! Post, take and free, again and again, for a tool that sees each access to memory (scripts/touched).
//!
//! `touched cache|pool ROUNDS`: as a cache or the pool does it, with what they keep beside the core (what a cache
//! counts, the pool's lock) in a place that is laid out likewise. Each round begins with a write to a mark, whose
//! address is printed first. Some chunks are out all the time, so that a round meets others than the one before.

#[path = "../tests/common/mod.rs"]
mod common;

use common::{
    small,
    Parts, //
};
use mbpool_host::ground::{
    depot::Depot,
    magazine::Magazine,
    own::Own,
    slots::{
        Owner,
        Slots, //
    }, //
};
use std::{
    collections::VecDeque,
    hint::black_box,
    sync::atomic::{
        AtomicU32,
        AtomicUsize,
        Ordering::{
            Acquire,
            Relaxed,
            Release, //
        }, //
    }, //
};

/// A line of its own.
#[repr(align(64))]
struct Line<T>(T);

/// What the pool's lock guards, behind the lock.
#[repr(C, align(64))]
struct Guarded {
    lock: AtomicU32,
    depot: Depot,
}

static MARK: Line<AtomicUsize> = Line(AtomicUsize::new(0));

/// Chunks that are on the card at a time.
const OUT: usize = 40;

fn cache(slots: &Slots, mut depot: Depot, rounds: usize) {
    let own = Own::new(slots, Owner::other(0).expect("an owner"));
    let mut stock = Box::new(Line((Magazine::new(), AtomicUsize::new(0))));
    depot.pop_many(64, |index| assert!(stock.0 .0.push(index)));
    let mut ring = VecDeque::with_capacity(OUT + 1);
    for round in 0..rounds {
        MARK.0.store(round, Relaxed);
        // It is in memory between two calls of a driver.
        black_box(&mut stock);
        let Line((magazine, figures)) = &mut *stock;
        let index = magazine.pop().expect("a chunk");
        figures.store(figures.load(Relaxed) + 1, Relaxed);
        ring.push_back(own.post_free(&own.words()[index as usize], index));
        if ring.len() > OUT {
            let handle = ring.pop_front().expect("a handle");
            let index = own.take(handle).expect("on card");
            own.words()[index as usize].release();
            assert!(magazine.push(index));
        }
    }
}

fn pool(slots: &Slots, depot: Depot, rounds: usize) {
    let mut guarded = Box::new(Guarded {
        lock: AtomicU32::new(0),
        depot,
    });
    let mut ring = VecDeque::with_capacity(OUT + 1);
    for round in 0..rounds {
        MARK.0.store(round, Relaxed);
        black_box(&mut guarded);
        guarded.lock.swap(1, Acquire);
        let index = guarded.depot.pop().expect("a chunk");
        guarded.lock.store(0, Release);
        ring.push_back(slots.words()[index as usize].post(slots.layout(), index, Owner::POOL));
        if ring.len() > OUT {
            let index = slots
                .take(ring.pop_front().expect("a handle"))
                .expect("on card");
            slots.words()[index as usize].release();
            guarded.lock.swap(1, Acquire);
            guarded.depot.push(index);
            guarded.lock.store(0, Release);
        }
    }
}

fn main() {
    let mut words = std::env::args().skip(1);
    let path = words.next().expect("cache or pool");
    let rounds = words
        .next()
        .and_then(|word| word.parse().ok())
        .expect("a number of rounds");
    let Parts { slots, depot, .. } = Parts::full(small(64, 16, 8, 0));
    println!("mark {:x}", MARK.0.as_ptr() as usize);
    match path.as_str() {
        "cache" => cache(&slots, depot, rounds),
        _ => pool(&slots, depot, rounds),
    }
}
