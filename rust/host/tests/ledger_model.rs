// SPDX-License-Identifier: GPL-2.0

//! Quotas, in any order of operations, against a model that works out everything anew each time.

use mbpool_host::ground::{
    ledger::{
        Answer,
        Ledger, //
    },
    quota::Quota, //
};
use proptest::prelude::*;
use std::collections::BTreeMap;

type Pick = usize;

#[derive(Clone, Debug)]
enum Op {
    Enter(Quota),
    Seat(Pick),
    Leave(Pick),
    Take(Pick),
    TakeAll(Pick),
    Give(Pick),
    GiveAll(Pick),
    Grow(u32),
    Shrink(u32),
}

fn quota() -> impl Strategy<Value = Quota> {
    let weight = prop_oneof![4 => 1..6u32, 1 => Just(1 << 16)];
    (0..12u32, prop_oneof![0..30u32, Just(u32::MAX)], weight).prop_map(|(min, room, weight)| {
        let cap = min.saturating_add(room).max(1);
        Quota::new(min).cap(cap).weight(weight)
    })
}

fn op() -> impl Strategy<Value = Op> {
    let pick = any::<Pick>;
    prop_oneof![
        2 => quota().prop_map(Op::Enter),
        3 => pick().prop_map(Op::Seat),
        1 => pick().prop_map(Op::Leave),
        10 => pick().prop_map(Op::Take),
        3 => pick().prop_map(Op::TakeAll),
        8 => pick().prop_map(Op::Give),
        1 => pick().prop_map(Op::GiveAll),
        4 => (1..6u32).prop_map(Op::Grow),
        2 => (1..6u32).prop_map(Op::Shrink),
    ]
}

#[derive(Clone, Debug)]
struct Client {
    quota: Quota,
    seated: bool,
    used: u32,
    wants: u32,
    taken: u64,
}

impl Client {
    fn lacks(&self) -> u32 {
        self.quota.min.saturating_sub(self.used)
    }

    /// With `more` chunks, what it has beyond its minimum for its weight, as a fraction.
    fn level(&self, more: u32) -> (u64, u64) {
        let extra = self.used.saturating_sub(self.quota.min) + more;
        (extra.into(), self.quota.weight.into())
    }
}

fn less((a, b): (u64, u64), (c, d): (u64, u64)) -> bool {
    a * d < c * b
}

const LIMIT: u32 = 64;

struct Model {
    ledger: Ledger,
    /// Chunks that are there, free or not.
    total: u32,
    free: u32,
    clients: BTreeMap<u8, Client>,
    lost: u32,
}

impl Model {
    fn new() -> Self {
        Self {
            ledger: Ledger::new(LIMIT).expect("memory"),
            total: 0,
            free: 0,
            clients: BTreeMap::new(),
            lost: 0,
        }
    }

    fn one(&self, pick: Pick, seated: bool) -> Option<u8> {
        let all: Vec<_> = self
            .clients
            .iter()
            .filter(|(_, c)| c.seated == seated)
            .collect();
        all.get(pick % all.len().max(1)).map(|(number, _)| **number)
    }

    fn owed(&self) -> u32 {
        self.clients
            .values()
            .filter(|c| c.seated)
            .map(Client::lacks)
            .sum()
    }

    fn pledged(&self) -> u32 {
        self.clients
            .values()
            .filter(|c| !c.seated)
            .map(|c| c.quota.min)
            .sum()
    }

    fn promised(&self) -> u32 {
        self.lost + self.clients.values().map(|c| c.quota.min).sum::<u32>()
    }

    /// What a client has to leave, chunk by chunk.
    fn keep(&self, number: u8) -> Option<u32> {
        let client = &self.clients[&number];
        if client.used >= client.quota.cap {
            return None;
        }
        if client.lacks() > 0 {
            return Some(self.owed() - 1);
        }
        let mut keep = self.owed() + self.pledged();
        for other in self.clients.values() {
            let first = (1..=other.wants).take_while(|k| less(other.level(*k), client.level(1)));
            keep += first.count() as u32;
        }
        Some(keep)
    }

    fn take(&mut self, number: u8) -> bool {
        let keep = self.keep(number);
        let answer = keep.map_or(Answer::Capped, |keep| Answer::Over { keep });
        assert_eq!(self.ledger.ask(number), answer);
        let taken = keep.is_some_and(|keep| self.free > keep);
        let lacks = self.clients[&number].lacks() > 0;
        assert!(taken || !lacks, "refused under its minimum");
        if taken {
            self.ledger.taken(number);
            self.free -= 1;
            let client = self.clients.get_mut(&number).expect("there");
            client.used += 1;
            client.taken += 1;
            client.wants = client.wants.saturating_sub(1);
        } else {
            self.refuse(number, keep.is_none());
        }
        taken
    }

    fn refuse(&mut self, number: u8, capped: bool) {
        let asked = self.ledger.refused(number);
        let wanted = self.clients[&number].wants;
        let mine = self.clients[&number].level(1);
        if capped || wanted > 0 {
            assert_eq!(asked, None);
        }
        if capped {
            return;
        }
        if wanted > 0 {
            for (other, client) in &mut self.clients {
                if *other != number && client.wants > 1 {
                    client.wants -= 1;
                }
            }
            return;
        }
        self.clients.get_mut(&number).expect("there").wants = 1;
        let seated = || self.clients.values().filter(|c| c.seated);
        match asked {
            None => assert!(!seated().any(|c| less(mine, c.level(0)))),
            Some(other) => {
                let other = &self.clients[&other];
                assert!(other.seated && less(mine, other.level(0)));
                assert!(!seated().any(|c| less(other.level(0), c.level(0))));
            }
        }
    }

    fn give(&mut self, number: u8) {
        let client = self.clients.get_mut(&number).expect("there");
        if client.used == 0 {
            return;
        }
        client.used -= 1;
        client.wants = match (client.lacks(), client.wants) {
            (1.., _) | (_, 0) => 0,
            (_, wants) => wants + 1,
        };
        self.ledger.returning(number);
        self.free += 1;
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Enter(quota) => {
                let room = self.promised() + quota.min <= LIMIT;
                let entered = self.ledger.enter(quota);
                // So many operations do not use up the accounts, but for those that were lost.
                assert!(entered.is_none() || room);
                if let Some(number) = entered {
                    let client = Client {
                        quota,
                        seated: false,
                        used: 0,
                        wants: 0,
                        taken: 0,
                    };
                    assert!(self.clients.insert(number, client).is_none());
                }
            }
            Op::Seat(pick) => {
                if let Some(number) = self.one(pick, false) {
                    let owed = self.owed();
                    let client = self.clients.get_mut(&number).expect("there");
                    client.seated = self.free >= owed + client.quota.min;
                    assert_eq!(self.ledger.seat(number, self.free), client.seated);
                }
            }
            Op::Leave(pick) => {
                let seated = pick % 3 != 0;
                if let Some(number) = self.one(pick / 3, seated) {
                    let client = self.clients.remove(&number).expect("there");
                    assert_eq!(self.ledger.leave(number), client.used);
                    self.lost += client.used;
                }
            }
            Op::Take(pick) => {
                if let Some(number) = self.one(pick, true) {
                    self.take(number);
                }
            }
            Op::TakeAll(pick) => {
                if let Some(number) = self.one(pick, true) {
                    while self.take(number) {}
                }
            }
            Op::Give(pick) => {
                if let Some(number) = self.one(pick, true) {
                    self.give(number);
                }
            }
            Op::GiveAll(pick) => {
                if let Some(number) = self.one(pick, true) {
                    while self.clients[&number].used > 0 {
                        self.give(number);
                    }
                }
            }
            Op::Grow(chunks) => {
                let chunks = chunks.min(LIMIT - self.total);
                self.total += chunks;
                self.free += chunks;
            }
            // As the depot gives a page back: not under what is held.
            Op::Shrink(chunks) => {
                if self.free >= self.ledger.held() + chunks {
                    self.total -= chunks;
                    self.free -= chunks;
                }
            }
        }
    }

    /// The shares, chunk by chunk: the next one goes to who has least for its weight.
    fn shares(&self) -> BTreeMap<u8, u32> {
        let mut shares: BTreeMap<_, _> = self
            .clients
            .iter()
            .filter(|(_, client)| client.seated)
            .map(|(number, client)| (*number, (client.quota, 0)))
            .collect();
        for _ in 0..LIMIT.saturating_sub(self.promised()) {
            let open = shares
                .values_mut()
                .filter(|(q, extra)| q.min + *extra < q.cap);
            let next = open.min_by(|(a, x), (b, y)| {
                let (a, b) = (u64::from(a.weight), u64::from(b.weight));
                (u64::from(*x + 1) * b).cmp(&(u64::from(*y + 1) * a))
            });
            match next {
                Some((_, extra)) => *extra += 1,
                None => break,
            }
        }
        shares
            .into_iter()
            .map(|(n, (quota, extra))| (n, quota.min + extra))
            .collect()
    }

    fn compare(&self) {
        assert_eq!(self.ledger.owed(), self.owed());
        assert_eq!(self.ledger.held(), self.owed() + self.pledged());
        assert!(self.free >= self.owed(), "a minimum is not there");
        let used: u32 = self.clients.values().map(|c| c.used).sum();
        assert_eq!(self.free + used + self.lost, self.total);
        let shares = self.shares();
        for (number, client) in &self.clients {
            let account = self.ledger.account(*number).expect("an account");
            assert_eq!(account.used(), client.used);
            assert_eq!(account.wants(), client.wants);
            assert_eq!(account.allocations(), client.taken);
            assert!(client.used <= client.quota.cap);
            // Rounding of others' parts may leave it a chunk for each of them.
            let share = shares.get(number).copied().unwrap_or(0);
            let off = account.share().abs_diff(share);
            assert!(
                off <= shares.len() as u32,
                "{} for {share}",
                account.share()
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_order_of_operations(ops in prop::collection::vec(op(), 1..300)) {
        let mut model = Model::new();
        for op in ops {
            model.run(op);
            model.compare();
        }
        // All that are members get their minimums, one after the other.
        let members: Vec<_> = model.clients.iter().filter(|(_, c)| c.seated).map(|(n, _)| *n).collect();
        for number in members {
            while model.clients[&number].lacks() > 0 {
                prop_assert!(model.take(number));
                model.compare();
            }
        }
    }
}
