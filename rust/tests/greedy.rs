// SPDX-License-Identifier: GPL-2.0

//! Clients of a shared pool that want all they can get, on several CPUs: minimums are there at once, the
//! rest divides by weight, and who comes and goes meanwhile gets what it was promised.

use crate::{
    check,
    check_eq,
    context::on_each_cpu,
    devices::Fixture,
    ktap::{
        Outcome,
        Stop, //
    },
    sharing::{
        config,
        take_all, //
    },
    support::{
        Random,
        QUIET, //
    },
    sysfs,
    tests, //
};
use kernel::{
    prelude::*,
    str::CString,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};
use mbpool::{
    Client,
    ClientBuffer,
    Quota, //
};

tests![
    the_fourth_gets_its_minimum_and_the_rest_divide_by_weight,
    clients_come_and_go_under_load,
];

/// A client that takes what it can get, and gives back at random.
struct Greedy<'a> {
    client: &'a Client<'a>,
    buffers: KVec<ClientBuffer<'a>>,
    random: Random,
    /// What it had in all rounds that count, and how many these are.
    sum: u64,
    rounds: u64,
}

impl<'a> Greedy<'a> {
    fn new(client: &'a Client<'_>, seed: u32) -> Self {
        Self {
            client,
            buffers: KVec::new(),
            random: Random::new(seed),
            sum: 0,
            rounds: 0,
        }
    }

    /// Fills up, as a ring is filled, and gives a few back.
    fn round(&mut self) -> Outcome {
        for _ in 0..16 {
            match self.client.alloc(GFP_ATOMIC | QUIET) {
                Ok(buffer) => self.buffers.push(buffer, GFP_KERNEL)?,
                Err(_) => break,
            }
        }
        self.sum += u64::from(self.client.used());
        self.rounds += 1;
        for _ in 0..self.random.next() % 16 {
            if self.buffers.is_empty() {
                break;
            }
            let at = self.random.next() as usize % self.buffers.len();
            drop(self.buffers.remove(at).map_err(|_| EINVAL)?);
        }
        Ok(())
    }
}

fn the_fourth_gets_its_minimum_and_the_rest_divide_by_weight(on: &Fixture<'_>) -> Outcome {
    const TIMES: u32 = 1000;
    const MIN: u32 = 16;
    let client = |name, quota| Client::new(on.dev, config(name), quota, GFP_KERNEL);
    let modest = client(c"modest", Quota::new(40).cap(40))?;
    let greedy = [
        client(c"one", Quota::new(MIN).weight(1))?,
        client(c"two", Quota::new(MIN).weight(2))?,
        client(c"three", Quota::new(MIN).weight(3))?,
    ];
    // Nobody grows the pool under their hands.
    drop(take_all(&modest)?);

    let (got, over) = (Atomic::new(0), Atomic::new(0));
    let sums: [Atomic<i64>; 3] = core::array::from_fn(|_| Atomic::new(0));
    let cpus = on_each_cpu(|cpu| {
        if cpu == 0 {
            let result = (|| {
                for _ in 0..TIMES {
                    let mut buffers = KVec::with_capacity(40, GFP_KERNEL)?;
                    for _ in 0..40 {
                        match modest.alloc(GFP_ATOMIC | QUIET) {
                            Ok(buffer) => buffers.push(buffer, GFP_KERNEL)?,
                            Err(_) => break,
                        }
                    }
                    got.add(i32::from(buffers.len() == 40), Relaxed);
                }
                Ok(())
            })();
            over.store(1, Relaxed);
            return result;
        }
        if cpu != 1 {
            return Ok(());
        }
        // All three by turns in one thread, at random, so that none is faster than another.
        let mut random = Random::new(cpu);
        let [one, two, three] = &greedy;
        let mut all = [
            Greedy::new(one, 1),
            Greedy::new(two, 2),
            Greedy::new(three, 3),
        ];
        let mut rounds = 0;
        while over.load(Relaxed) == 0 || rounds < 60_000 {
            if let Some(one) = all.get_mut(random.next() as usize % 3) {
                one.round()?;
            }
            rounds += 1;
            if rounds == 20_000 {
                all.iter_mut()
                    .for_each(|one| (one.sum, one.rounds) = (0, 0));
            }
        }
        for (one, sum) in all.iter().zip(&sums) {
            let each = (one.sum * 1000).checked_div(one.rounds).ok_or(ERANGE)?;
            sum.store(i64::try_from(each)?, Relaxed);
        }
        Ok(())
    })?;
    if cpus < 2 {
        return Err(Stop::Skipped("one CPU"));
    }
    pr_info!(
        "# share: the minimum was there {} of {TIMES} times\n",
        got.load(Relaxed)
    );
    check_eq!(got.load(Relaxed), i32::try_from(TIMES)?);

    for ((client, sum), weight) in greedy.iter().zip(&sums).zip(1..) {
        // Beyond its minimum, in thousandths of a chunk and of what is due: a part of 256 less all minimums.
        let extra = sum.load(Relaxed) - i64::from(MIN) * 1000;
        let due = (256 - 40 - 3 * i64::from(MIN)) * weight / 6;
        check_eq!(i64::from(client.share()), i64::from(MIN) + due);
        let per_mille = extra / due;
        pr_info!("# share: weight {weight} has {per_mille} per mille of its part, {due} chunks\n");
        check!((900..=1100).contains(&per_mille), "{per_mille}");
    }
    Ok(())
}

/// Three CPUs, or one, want all, while another's clients join, use their minimums at once, and leave.
fn clients_come_and_go_under_load(on: &Fixture<'_>) -> Outcome {
    const ROUNDS: i32 = 300;
    if on_each_cpu(|_| Ok(()))? < 2 {
        return Err(Stop::Skipped("one CPU"));
    }
    let (over, joined) = (Atomic::new(0), Atomic::new(0));
    on_each_cpu(|cpu| {
        let name = CString::try_from_fmt(fmt!("cpu{cpu}"))?;
        if cpu != 0 {
            let quota = Quota::new(8).weight(cpu);
            let client = Client::new(on.dev, config(&name), quota, GFP_KERNEL)?;
            let mut greedy = Greedy::new(&client, cpu);
            while over.load(Relaxed) == 0 {
                greedy.round()?;
            }
            return Ok(());
        }
        let result = (|| {
            let mut random = Random::new(99);
            for round in 0..ROUNDS {
                let min = random.next() % 64;
                let client = Client::new(on.dev, config(&name), Quota::new(min), GFP_KERNEL)?;
                for _ in 0..min {
                    client.post(GFP_ATOMIC | QUIET)?;
                }
                check!(client.used() == min, "round {round}");
                check_eq!(client.reclaim_card(), usize::try_from(min)?);
                joined.add(1, Relaxed);
            }
            Ok(())
        })();
        over.store(1, Relaxed);
        result
    })?;
    check_eq!(joined.load(Relaxed), ROUNDS);
    // All went home, and the pool with them.
    check!(sysfs::number("shared-1024", "pages").is_err());
    Ok(())
}
