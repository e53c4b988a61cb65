// SPDX-License-Identifier: GPL-2.0

//! No wake-up is lost in a reserve: the handshake of its two locks under a model checker. Who finds
//! nothing stands in line under the line's lock, and then asks under the pool's; who brings a chunk looks
//! at [`Marks`] under the pool's lock. The model is of `rust/mbpool/reserve`, in its order of locks.

use loom::{
    sync::{
        Arc,
        Mutex,
        Notify, //
    },
    thread, //
};
use mbpool_host::ground::marks::Marks;
use std::collections::VecDeque;

/// What the pool's lock guards, as far as this goes.
struct Guarded {
    free: u32,
    marks: Marks,
}

/// What the line's lock guards: who waits, and who was given a chunk.
struct Line {
    waiting: VecDeque<usize>,
    granted: Vec<bool>,
}

struct Reserve {
    guarded: Mutex<Guarded>,
    line: Mutex<Line>,
    /// How many chunks the mempool has; its own lock is the last to be taken.
    store: Mutex<u32>,
    min: u32,
    done: Vec<Notify>,
}

impl Reserve {
    /// All chunks are set aside; so many may wait.
    fn new(min: u32, waiters: usize) -> Arc<Self> {
        Arc::new(Self {
            guarded: Mutex::new(Guarded {
                free: 0,
                marks: Marks::new(0, None),
            }),
            line: Mutex::new(Line {
                waiting: VecDeque::new(),
                granted: vec![false; waiters],
            }),
            store: Mutex::new(min),
            min,
            done: (0..waiters).map(|_| Notify::new()).collect(),
        })
    }

    fn take_from_store(&self) -> bool {
        let mut store = self.store.lock().unwrap();
        let taken = *store > 0;
        *store -= u32::from(taken);
        taken
    }

    fn is_short(&self) -> bool {
        *self.store.lock().unwrap() < self.min
    }

    /// `Inner::claim`, with the pool's lock held.
    fn claim(&self, guarded: &mut Guarded) {
        let mut line = self.line.lock().unwrap();
        let mut more = false;
        while !line.waiting.is_empty() || self.is_short() {
            if guarded.free == 0 {
                more = true;
                break;
            }
            guarded.free -= 1;
            match line.waiting.pop_front() {
                Some(first) => {
                    line.granted[first] = true;
                    self.done[first].notify();
                }
                None => *self.store.lock().unwrap() += 1,
            }
        }
        guarded.marks.claim(more);
    }

    fn stir(&self) {
        self.claim(&mut self.guarded.lock().unwrap());
    }

    /// A chunk comes home to the pool.
    fn push(&self) {
        let mut guarded = self.guarded.lock().unwrap();
        guarded.free += 1;
        if guarded.marks.is_reached(guarded.free) && guarded.marks.is_claimed() {
            self.claim(&mut guarded);
        }
    }

    /// `Inner::get` for who may not sleep.
    fn try_get(&self) -> bool {
        let popped = {
            let mut guarded = self.guarded.lock().unwrap();
            let popped = guarded.free > 0;
            guarded.free -= u32::from(popped);
            popped
        };
        let got = popped || self.take_from_store();
        if got && self.is_short() {
            self.stir();
        }
        got
    }

    /// The same for who may.
    fn get(&self, me: usize) {
        if self.try_get() {
            return;
        }
        {
            let mut line = self.line.lock().unwrap();
            if line.waiting.is_empty() && self.take_from_store() {
                drop(line);
                return self.stir();
            }
            line.waiting.push_back(me);
        }
        self.stir();
        while !self.line.lock().unwrap().granted[me] {
            self.done[me].wait();
        }
    }

    /// All is as it was at first.
    fn is_whole(&self) -> bool {
        self.line.lock().unwrap().waiting.is_empty()
            && *self.store.lock().unwrap() == self.min
            && self.guarded.lock().unwrap().free == 0
    }
}

/// Each takes a chunk and gives it back; nobody is left waiting, and the reserve is whole again.
fn all_take_and_give_back(min: u32, waiters: usize, preemptions: usize) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(move || {
        let reserve = Reserve::new(min, waiters);
        let others: Vec<_> = (1..waiters)
            .map(|me| {
                let reserve = reserve.clone();
                thread::spawn(move || {
                    reserve.get(me);
                    reserve.push();
                })
            })
            .collect();
        reserve.get(0);
        reserve.push();
        for other in others {
            other.join().unwrap();
        }
        assert!(reserve.is_whole());
    });
}

#[test]
fn two_at_one_chunk() {
    all_take_and_give_back(1, 2, 5);
}

#[test]
fn three_at_one_chunk() {
    all_take_and_give_back(1, 3, 2);
}

#[test]
fn three_at_two_chunks() {
    all_take_and_give_back(2, 3, 2);
}

#[test]
fn one_who_may_not_sleep_beside_one_who_waits() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(4);
    builder.check(|| {
        let reserve = Reserve::new(1, 1);
        let other = {
            let reserve = reserve.clone();
            thread::spawn(move || {
                if reserve.try_get() {
                    reserve.push();
                }
            })
        };
        reserve.get(0);
        reserve.push();
        other.join().unwrap();
        assert!(reserve.is_whole());
    });
}
