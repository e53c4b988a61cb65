// SPDX-License-Identifier: GPL-2.0

//! No wake-up is lost: the handshake of an alarm under a model checker, which runs every interleaving
//! of who takes, who waits and who gives back, and finds the one in which somebody sleeps for ever.

use loom::{
    sync::{
        Arc,
        Mutex,
        Notify, //
    },
    thread, //
};
use mbpool_host::ground::marks::Marks;

/// What the pool's lock guards, as far as this goes.
struct Guarded {
    free: u32,
    marks: Marks,
}

struct Pool {
    guarded: Mutex<Guarded>,
    /// What the alarms call, under the lock.
    bells: Vec<Notify>,
}

impl Pool {
    fn new(free: u32, alarms: usize) -> Arc<Self> {
        Arc::new(Self {
            guarded: Mutex::new(Guarded {
                free,
                marks: Marks::new(0, Some(1)),
            }),
            bells: (0..alarms).map(|_| Notify::new()).collect(),
        })
    }

    fn pop(&self) -> bool {
        let mut guarded = self.guarded.lock().unwrap();
        let popped = guarded.free > 0;
        guarded.free -= u32::from(popped);
        let free = guarded.free;
        guarded.marks.fallen(free);
        popped
    }

    fn push(&self) {
        let mut guarded = self.guarded.lock().unwrap();
        guarded.free += 1;
        let free = guarded.free;
        let due = guarded.marks.risen(free);
        for (alarm, bell) in self.bells.iter().enumerate() {
            if due.alarms & 1 << alarm != 0 {
                bell.notify();
            }
        }
    }

    fn arm(&self, alarm: usize, threshold: u32) -> bool {
        let mut guarded = self.guarded.lock().unwrap();
        let free = guarded.free;
        guarded.marks.arm(alarm, threshold, free)
    }

    /// What a driver does that needs a chunk: take one, or wait to be told and try again.
    fn get(&self, alarm: usize) {
        while !self.pop() {
            if self.arm(alarm, 1) {
                self.bells[alarm].wait();
            }
        }
    }
}

#[test]
fn one_waits_and_one_gives_back() {
    loom::model(|| {
        let pool = Pool::new(0, 1);
        let giver = {
            let pool = pool.clone();
            thread::spawn(move || pool.push())
        };
        pool.get(0);
        giver.join().unwrap();
    });
}

#[test]
fn one_takes_what_the_other_waits_for() {
    loom::model(|| {
        let pool = Pool::new(1, 1);
        let borrower = {
            let pool = pool.clone();
            thread::spawn(move || {
                if pool.pop() {
                    pool.push();
                }
            })
        };
        pool.get(0);
        borrower.join().unwrap();
    });
}

#[test]
fn two_wait_and_one_gives_back_twice() {
    let mut builder = loom::model::Builder::new();
    // All interleavings with up to three preemptions.
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let pool = Pool::new(0, 2);
        let waiters: Vec<_> = (0..2)
            .map(|alarm| {
                let pool = pool.clone();
                thread::spawn(move || pool.get(alarm))
            })
            .collect();
        pool.push();
        pool.push();
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

#[test]
fn one_waits_for_two() {
    loom::model(|| {
        let pool = Pool::new(0, 1);
        let givers: Vec<_> = (0..2)
            .map(|_| {
                let pool = pool.clone();
                thread::spawn(move || pool.push())
            })
            .collect();
        // The model wakes for no reason, too, as a wait queue may.
        while pool.arm(0, 2) {
            pool.bells[0].wait();
        }
        assert!(pool.pop() && pool.pop());
        for giver in givers {
            giver.join().unwrap();
        }
    });
}
