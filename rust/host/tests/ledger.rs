// SPDX-License-Identifier: GPL-2.0

//! Quotas: minimums, caps and weights, one step at a time, in any order against a model, and over time
//! with clients that want all.

use mbpool_host::ground::{
    account::Account,
    ledger::{
        Answer,
        Ledger,
        CLIENTS, //
    },
    quota::{
        Quota,
        MAX_WEIGHT, //
    }, //
};

/// A pool that is nothing but a number of free chunks, driven as the module drives it.
struct Pool {
    ledger: Ledger,
    free: u32,
}

impl Pool {
    /// All chunks there.
    fn new(chunks: u32) -> Self {
        let ledger = Ledger::new(chunks).expect("memory");
        Self {
            ledger,
            free: chunks,
        }
    }

    fn join(&mut self, quota: Quota) -> Option<u8> {
        let client = self.ledger.enter(quota)?;
        if self.ledger.seat(client, self.free) {
            return Some(client);
        }
        self.ledger.leave(client);
        None
    }

    fn take(&mut self, client: u8) -> bool {
        match self.ledger.ask(client) {
            Answer::Over { keep } if self.free > keep => {
                self.ledger.taken(client);
                self.free -= 1;
                true
            }
            _ => {
                self.ledger.refused(client);
                false
            }
        }
    }

    fn give(&mut self, client: u8) {
        self.ledger.returning(client);
        self.free += 1;
    }

    fn account(&self, client: u8) -> &Account {
        self.ledger.account(client).expect("a client")
    }

    fn used(&self, client: u8) -> u32 {
        self.account(client).used()
    }

    fn take_all(&mut self, client: u8) -> u32 {
        std::iter::repeat_with(|| self.take(client))
            .take_while(|taken| *taken)
            .map(u32::from)
            .sum()
    }
}

#[test]
fn quotas_that_make_no_sense() {
    assert_eq!(Quota::new(0).refusal(), None);
    assert_eq!(Quota::new(u32::MAX).refusal(), None);
    assert_eq!(Quota::new(4).cap(4).weight(MAX_WEIGHT).refusal(), None);
    for quota in [
        Quota::new(0).cap(0),
        Quota::new(5).cap(4),
        Quota::new(5).weight(0),
        Quota::new(5).weight(MAX_WEIGHT + 1),
    ] {
        assert!(quota.refusal().is_some());
    }
}

#[test]
fn minimums_are_kept_from_others() {
    let mut pool = Pool::new(100);
    let greedy = pool.join(Quota::new(10)).expect("room");
    let modest = pool.join(Quota::new(30)).expect("room");
    assert_eq!(pool.take_all(greedy), 70);
    assert_eq!(pool.take_all(modest), 30);
    assert_eq!(pool.free, 0);
    // What goes home under a minimum is kept again; what was over one is not.
    pool.give(modest);
    assert!(!pool.take(greedy));
    assert!(pool.take(modest));
    pool.give(greedy);
    assert!(pool.take(greedy));
}

#[test]
fn caps_hold() {
    let mut pool = Pool::new(100);
    let one = pool.join(Quota::new(5).cap(5)).expect("room");
    let two = pool.join(Quota::new(0).cap(20)).expect("room");
    assert_eq!((pool.take_all(one), pool.take_all(two)), (5, 20));
    assert_eq!(pool.ledger.ask(one), Answer::Capped);
    // At its cap a client waits for nothing.
    assert_eq!(pool.account(two).wants(), 0);
    assert_eq!(pool.account(two).refused(), 1);
}

#[test]
fn there_is_room_for_so_many() {
    let mut pool = Pool::new(100);
    assert_eq!(pool.join(Quota::new(101)), None);
    let big = pool.join(Quota::new(60)).expect("room");
    assert_eq!(pool.join(Quota::new(41)), None);
    let small = pool.join(Quota::new(40)).expect("room");
    assert_eq!(pool.ledger.leave(big), 0);
    assert_eq!(pool.take_all(small), 100);
    // There is room, but others have it.
    assert_eq!(pool.join(Quota::new(1)), None);
    for _ in 1..CLIENTS {
        assert!(pool.join(Quota::new(0)).is_some());
    }
    assert_eq!(pool.join(Quota::new(0)), None);
}

#[test]
fn what_a_client_takes_along_is_lost() {
    let mut pool = Pool::new(100);
    let one = pool.join(Quota::new(10)).expect("room");
    for _ in 0..25 {
        assert!(pool.take(one));
    }
    assert_eq!(pool.ledger.leave(one), 25);
    assert_eq!(pool.ledger.owed(), 0);
    assert_eq!(pool.join(Quota::new(76)), None);
    let two = pool.join(Quota::new(75)).expect("room");
    // Nor is its account another's.
    assert_ne!(one, two);
    assert_eq!(pool.ledger.leave(one), 25);
}

#[test]
fn what_is_gathered_is_not_taken() {
    let mut pool = Pool::new(100);
    let one = pool.join(Quota::new(10)).expect("room");
    assert_eq!(pool.take_all(one), 100);
    let late = pool.ledger.enter(Quota::new(20)).expect("room");
    for given in 1..=20 {
        assert!(!pool.ledger.seat(late, pool.free));
        assert_eq!(pool.ledger.part(one, pool.free), 21 - given);
        pool.give(one);
        // Its minimum is all that it could still take.
        assert!(!pool.take(one));
    }
    assert!(pool.ledger.seat(late, pool.free));
    assert!(!pool.ledger.seat(late, pool.free));
    assert_eq!((pool.ledger.owed(), pool.ledger.held()), (20, 20));
    assert_eq!(pool.ledger.part(one, pool.free), 0);
    assert_eq!(pool.take_all(late), 20);
}

#[test]
fn two_who_join_do_not_count_on_the_same_chunks() {
    let mut pool = Pool::new(100);
    pool.free = 30;
    let one = pool.ledger.enter(Quota::new(20)).expect("room");
    let two = pool.ledger.enter(Quota::new(20)).expect("room");
    assert!(pool.ledger.seat(one, pool.free));
    assert!(!pool.ledger.seat(two, pool.free));
    assert_eq!((pool.ledger.owed(), pool.ledger.held()), (20, 40));
    assert_eq!(pool.ledger.leave(two), 0);
    assert_eq!((pool.ledger.owed(), pool.ledger.held()), (20, 20));
}

#[test]
fn parts_go_by_what_each_has_beyond_its_minimum() {
    let mut pool = Pool::new(100);
    let one = pool.join(Quota::new(10)).expect("room");
    let two = pool.join(Quota::new(0).cap(30)).expect("room");
    assert_eq!(pool.take_all(two), 30);
    assert_eq!(pool.take_all(one), 70);
    let late = pool.ledger.enter(Quota::new(30)).expect("room");
    // Sixty and thirty beyond.
    assert_eq!(pool.ledger.part(one, 0), 20);
    assert_eq!(pool.ledger.part(two, 0), 10);
    assert_eq!(pool.ledger.part(late, 0), 0);
    assert_eq!(pool.account(one).yields(), 1);
    assert_eq!(pool.account(late).yields(), 0);
}

#[test]
fn who_was_turned_away_goes_first_until_it_has_as_much() {
    let mut pool = Pool::new(90);
    let one = pool.join(Quota::new(0).weight(2)).expect("room");
    let two = pool.join(Quota::new(0)).expect("room");
    assert_eq!(pool.take_all(one), 90);
    pool.give(one);
    assert!(pool.take(one), "nobody wants it");
    for _ in 0..30 {
        assert!(!pool.take(two));
        pool.give(one);
        assert!(!pool.take(one));
        assert!(pool.take(two));
    }
    assert_eq!((pool.used(one), pool.used(two)), (60, 30));
    assert!(!pool.take(two));
    pool.give(one);
    assert!(pool.take(one), "the other one would have more");
}

#[test]
fn who_has_most_for_its_weight_is_asked() {
    let mut pool = Pool::new(100);
    let heavy = pool.join(Quota::new(0).weight(10)).expect("room");
    let light = pool.join(Quota::new(0).weight(1)).expect("room");
    let late = pool.join(Quota::new(5).weight(1)).expect("room");
    for _ in 0..15 {
        assert!(pool.take(light));
    }
    for _ in 0..80 {
        assert!(pool.take(heavy));
    }
    assert_eq!(pool.take_all(late), 5);
    // `take_all` has asked once.
    assert_eq!(pool.account(light).yields(), 1);
    assert_eq!(pool.ledger.refused(late), None, "it waits already");
    for _ in 0..13 {
        pool.give(light);
    }
    // 80 by 10 are more than two by 1.
    for _ in 0..13 {
        assert!(pool.take(late));
    }
    assert_eq!(pool.ledger.refused(light), Some(late));
    assert_eq!(pool.ledger.refused(heavy), Some(late));
}

#[test]
fn a_want_that_is_old_falls_to_one() {
    let mut pool = Pool::new(100);
    let one = pool.join(Quota::new(0)).expect("room");
    let two = pool.join(Quota::new(0)).expect("room");
    for _ in 0..50 {
        assert!(pool.take(one));
    }
    assert_eq!(pool.take_all(two), 50);
    for _ in 0..50 {
        pool.give(two);
    }
    // What it gave back is kept for it, and then less and less, since it does not come.
    assert_eq!(pool.account(two).wants(), 51);
    assert_eq!(pool.take_all(one), 0);
    let mut rounds = 0;
    while pool.account(two).wants() > 1 {
        pool.take_all(one);
        rounds += 1;
        assert!(rounds < 100);
    }
    // All but that one.
    pool.take_all(one);
    assert_eq!(pool.used(one), 99);
    assert!(pool.take(two));
    assert_eq!(pool.account(two).wants(), 0);
}

#[test]
fn shares_fill_up_what_caps_leave() {
    let mut pool = Pool::new(1000);
    let a = pool.join(Quota::new(100)).expect("room");
    assert_eq!(pool.account(a).share(), 1000);
    let b = pool.join(Quota::new(100).weight(2)).expect("room");
    // 800 by three, rounded down.
    assert_eq!(pool.account(a).share(), 366);
    assert_eq!(pool.account(b).share(), 633);
    let c = pool.join(Quota::new(0).cap(50).weight(100)).expect("room");
    assert_eq!(pool.account(c).share(), 50);
    assert_eq!(pool.account(a).share(), 350);
    assert_eq!(pool.account(b).share(), 600);
    let d = pool.join(Quota::new(0).cap(200)).expect("room");
    // 750 by four are less than d's cap.
    assert_eq!(pool.account(d).share(), 187);
    pool.ledger.leave(b);
    // 850 by two are more.
    assert_eq!(pool.account(d).share(), 200);
    assert_eq!(pool.account(a).share(), 100 + 650);
    assert_eq!(pool.account(b).share(), 0);
}

/// Clients that want all, for some rounds: each takes up to `burst` and gives up to `burst` back. Answers
/// the mean of what each had beyond its minimum, after the first half.
fn greedy(chunks: u32, quotas: &[Quota], burst: u32, rounds: u32, seed: u64) -> Vec<f64> {
    let mut pool = Pool::new(chunks);
    let clients: Vec<_> = quotas
        .iter()
        .map(|quota| pool.join(*quota).expect("room"))
        .collect();
    let mut state = seed | 1;
    let mut random = |below: u32| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as u32 % below
    };
    // The first one has all.
    pool.take_all(clients[0]);
    let mut sums = vec![(0u64, 0u32); quotas.len()];
    for round in 0..rounds {
        let at = random(quotas.len() as u32) as usize;
        let client = clients[at];
        for _ in 0..burst {
            if !pool.take(client) {
                break;
            }
        }
        if round > rounds / 2 {
            let extra = pool.used(client).saturating_sub(quotas[at].min);
            sums[at].0 += u64::from(extra);
            sums[at].1 += 1;
        }
        for _ in 0..random(burst + 1).min(pool.used(client)) {
            pool.give(client);
        }
    }
    sums.iter()
        .map(|(sum, count)| *sum as f64 / f64::from(*count))
        .collect()
}

#[test]
fn greedy_clients_divide_by_weight() {
    for burst in [1, 4, 16] {
        for weights in [[1, 1, 1], [1, 2, 3], [3, 1, 8], [10, 1, 1]] {
            let quotas = weights.map(|weight| Quota::new(16).weight(weight));
            let extras = greedy(1048, &quotas, burst, 200_000, 7);
            let sum: f64 = extras.iter().sum();
            let all: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
            for (extra, weight) in extras.iter().zip(weights) {
                let due = sum * f64::from(weight) / all;
                println!("{burst} {weights:?}: {extra:.1} of {due:.1}");
                assert!((extra - due).abs() <= due / 10.0);
            }
        }
    }
}
