// SPDX-License-Identifier: GPL-2.0

//! A hostile card against a driver that believes nothing: a model of mbnic and its pools, which counts.

mod bench;

use std::time::Duration;

use bench::Bench;
use bench::Group;
use bench::Transmitter;
use mbcard_regs as regs;
use mbcard_regs::global;
use mbcard_regs::lab;
use mbcard_regs::ring;
use mbcard_regs::ReturnEntry;
use mbcard_regs::Tally;

/// Bits of a handle that count trips; above them 8 bits of index and 4 of the pool.
const TRIPS: u32 = 20;

/// What a driver makes of descriptors, as the card has to expect it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Verdicts {
    taken: u32,
    refused: u32,
    bad_length: u32,
    flagged: u32,
}

impl Verdicts {
    fn sum(self) -> u32 {
        self.taken + self.refused + self.bad_length + self.flagged
    }
}

/// Buffers of one size: the handle under which each is on the card.
struct Pool {
    tag: u32,
    size: u32,
    large: bool,
    buffers: Vec<(u64, u32)>,
}

impl Pool {
    fn post(&mut self, bench: &mut Bench, group: &mut Group, index: usize) {
        let (address, handle) = &mut self.buffers[index];
        *handle += 1;
        group.post(bench, self.large, *address, *handle, self.size);
    }

    fn find(&self, handle: u32) -> Option<usize> {
        let index = ((handle >> TRIPS) & 0xff) as usize;
        let is_ours = handle >> 28 == self.tag;
        let (_, known) = self.buffers.get(index)?;
        (is_ours && *known == handle).then_some(index)
    }
}

/// A driver with groups of two pools each.
struct Driver {
    bench: Bench,
    size: u16,
    groups: Vec<(Group, [Pool; 2])>,
    transmitter: Transmitter,
    seen: Verdicts,
    bad_cookies: u32,
    sent: u32,
}

impl Driver {
    fn new(groups: usize, size: u16) -> Self {
        let mut bench = Bench::new();
        let groups = (0..groups)
            .map(|n| {
                let pool = |bench: &mut Bench, large: bool| {
                    let tag = (n * 2 + usize::from(large)) as u32;
                    let length = if large { 2048 } else { 256 };
                    let buffers = (0..u32::from(size)).map(|index| {
                        let handle = (tag << 28) | (index << TRIPS);
                        (bench.allocate(length as usize), handle)
                    });
                    Pool {
                        tag,
                        size: length,
                        large,
                        buffers: buffers.collect(),
                    }
                };
                let pools = [pool(&mut bench, false), pool(&mut bench, true)];
                (Group::set_up(&mut bench, n, size), pools)
            })
            .collect();
        let transmitter = Transmitter::set_up(&mut bench, size, size);
        let mut driver = Self {
            bench,
            size,
            groups,
            transmitter,
            seen: Verdicts::default(),
            bad_cookies: 0,
            sent: 0,
        };
        driver.start();
        driver
    }

    /// All buffers on the card, and the card on.
    fn start(&mut self) {
        for (group, pools) in &mut self.groups {
            for pool in pools {
                for index in 0..pool.buffers.len() {
                    pool.post(&mut self.bench, group, index);
                }
            }
            self.bench.arm(&group.returned);
        }
        self.bench.arm(&self.transmitter.done);
        self.bench.write(global::INT_MASK, 0);
        self.bench
            .write(global::CONTROL, global::CONTROL_RX | global::CONTROL_TX);
    }

    /// Resets the card and begins again with all buffers.
    fn reset(&mut self) {
        self.bench.write(global::CONTROL, global::CONTROL_RESET);
        for (n, (group, _)) in self.groups.iter_mut().enumerate() {
            *group = Group::set_up(&mut self.bench, n, self.size);
        }
        self.transmitter = Transmitter::set_up(&mut self.bench, self.size, self.size);
        self.start();
    }

    fn pop(bench: &mut Bench, ring: &mut bench::Ring) -> Option<ReturnEntry> {
        let address = ring.base + regs::slot(ring.index, ring.size) as u64 * 16;
        let bytes = bench.memory(address, 16);
        let word = |n: usize| u32::from_ne_bytes(bytes[n * 4..][..4].try_into().unwrap());
        let words = [word(0), word(1), word(2), word(3)];
        if !ReturnEntry::is_valid(words[ReturnEntry::LAST], ring.index, ring.size) {
            return None;
        }
        ring.index = ring.index.wrapping_add(1);
        Some(ReturnEntry::decode(words))
    }

    /// Takes up to `budget` descriptors of each group, as mbnic does.
    fn poll(&mut self, budget: usize) {
        for (group, pools) in &mut self.groups {
            for _ in 0..budget {
                let Some(entry) = Self::pop(&mut self.bench, &mut group.returned) else {
                    break;
                };
                let found = pools
                    .iter_mut()
                    .find_map(|pool| pool.find(entry.handle).map(|index| (pool, index)));
                let Some((pool, index)) = found else {
                    self.seen.refused += 1;
                    continue;
                };
                if entry.error {
                    self.seen.flagged += 1;
                } else if (14..=pool.size).contains(&entry.length) {
                    self.seen.taken += 1;
                } else {
                    self.seen.bad_length += 1;
                }
                pool.post(&mut self.bench, group, index);
            }
            self.bench.arm(&group.returned);
        }
        while let Some(entry) = Self::pop(&mut self.bench, &mut self.transmitter.done) {
            // One frame at a time is on the card, under a cookie of its own.
            if entry.handle == self.sent && self.sent != 0 {
                self.sent = 0;
            } else {
                self.bad_cookies += 1;
            }
        }
        self.bench.arm(&self.transmitter.done);
    }

    /// Sends a frame, if none is on its way.
    fn send(&mut self, cookie: u32) {
        if self.sent == 0 {
            self.sent = cookie;
            let address = self.groups[0].1[0].buffers[0].0;
            self.transmitter
                .send_from(&mut self.bench, cookie, address, 60);
        }
    }

    fn begin(&mut self, count: u32, seed: u32) {
        self.bench.write(regs::LAB_BASE + lab::SEED, seed);
        self.bench.write(regs::LAB_BASE + lab::HOSTILE, count);
    }

    fn left(&mut self) -> u32 {
        self.bench.read(regs::LAB_BASE + lab::HOSTILE)
    }

    fn tally(&mut self, kind: Tally) -> u32 {
        let register = regs::LAB_BASE + lab::TALLY + kind as usize * 4;
        self.bench.read(register)
    }

    /// Lets the card do all, and polls as many at a time as `budgets` say, in turn.
    fn run(&mut self, budgets: &[usize]) {
        for (turn, budget) in (1..).zip(budgets.iter().cycle()) {
            if self.left() == 0 {
                break;
            }
            assert!(turn < 1_000_000, "{} are left", self.left());
            self.bench.card.tick(Duration::from_millis(1));
            self.poll(*budget);
            if turn % 3 == 0 {
                self.send(0xc000_0000 + turn * 2);
            }
        }
        self.poll(usize::MAX);
    }

    /// The card counted what we did, and has all that it was given.
    fn agrees(&mut self) {
        let Verdicts {
            taken,
            refused,
            bad_length,
            flagged,
        } = self.seen;
        let either = self.tally(Tally::Either);
        assert_eq!(self.tally(Tally::Refused), refused);
        assert_eq!(self.tally(Tally::Flagged), flagged);
        let passed = taken - self.tally(Tally::Taken);
        assert_eq!(bad_length - self.tally(Tally::BadLength), either - passed);
        assert_eq!(self.tally(Tally::BadCookie), self.bad_cookies);
        assert_eq!(self.tally(Tally::Twice), 0);
        let all: usize = self
            .groups
            .iter()
            .map(|(_, [small, large])| small.buffers.len() + large.buffers.len())
            .sum();
        assert_eq!(self.tally(Tally::Held) as usize, all);
    }

    /// A frame for each group in turn arrives.
    fn is_well(&mut self) {
        self.bench.write(global::STEER, global::STEER_ROUND);
        let before = self.seen;
        for _ in 0..self.groups.len() * 3 {
            self.bench.card.receive(&bench::frame(1, 300));
            self.poll(usize::MAX);
        }
        assert_eq!(
            self.seen.sum(),
            self.seen.taken - before.taken + before.sum()
        );
        assert_eq!(self.seen.taken, before.taken + self.groups.len() as u32 * 3);
        self.seen = before;
    }
}

#[test]
fn the_card_knows_what_its_words_are_worth() {
    for (seed, groups, size, budgets) in [
        (1, 4, 64, &[64][..]),
        (2, 1, 2, &[1]),
        (3, 3, 8, &[0, 3, 100]),
        (4, 8, 16, &[usize::MAX, 0, 0, 0, 0, 0, 0, 0, 1]),
    ] {
        let mut driver = Driver::new(groups, size);
        driver.begin(20_000, seed);
        driver.run(budgets);
        assert_eq!(
            driver.seen.sum() + driver.bad_cookies,
            20_000,
            "seed {seed}"
        );
        driver.agrees();
        for kind in Tally::ALL {
            let count = driver.tally(*kind);
            let is_derailing =
                (Tally::Skipped as u8..=Tally::Overrun as u8).contains(&(*kind as u8));
            let is_rare = matches!(kind, Tally::Lied | Tally::Twice | Tally::Event)
                || (size < 8 && matches!(kind, Tally::Swapped | Tally::Foreign));
            assert!(is_rare || is_derailing == (count == 0), "{kind:?}: {count}");
        }
        // It goes on without a reset.
        driver.is_well();
        driver.begin(500, seed);
        driver.run(budgets);
        driver.agrees();
    }
}

#[test]
fn a_run_is_repeated_by_its_seed() {
    let run = |seed| {
        let mut driver = Driver::new(2, 16);
        driver.begin(3000, seed);
        driver.run(&[7, 1]);
        (driver.seen, driver.bench.snapshot())
    };
    let first = run(9);
    assert!(first == run(9));
    assert!(first.0 != run(10).0);
}

#[test]
fn what_is_left_behind_by_a_derailed_ring_a_reset_mends() {
    for (seed, size) in (0..40).map(|seed| (seed, [2, 16, 64, 64][seed as usize % 4])) {
        let mut driver = Driver::new(2, size);
        driver.begin(5000 | lab::DERAIL, seed);
        driver.run(&[64, 1, 0]);
        for kind in [Tally::Skipped, Tally::Unphased, Tally::Overrun] {
            assert_ne!(driver.tally(kind), 0, "{kind:?}");
        }
        // Few buffers are gone before one is kept.
        assert!(size < 16 || driver.tally(Tally::Kept) != 0);
        assert_eq!(driver.tally(Tally::Twice), 0, "seed {seed}");
        driver.reset();
        driver.is_well();
        driver.begin(500, seed);
        driver.seen = Verdicts::default();
        driver.run(&[64]);
        assert_eq!(driver.tally(Tally::Twice), 0, "seed {seed}");
    }
}

#[test]
fn a_buffer_that_the_driver_gives_twice_is_seen() {
    let mut driver = Driver::new(1, 8);
    driver.bench.write(regs::LAB_BASE + lab::RATE, 1000);
    driver.begin(1000, 1);
    let index = driver.groups[0].0.large.registers + ring::INDEX;
    while driver.bench.read(index) == 0 {
        driver.bench.card.tick(Duration::from_millis(1));
    }
    assert_eq!(driver.tally(Tally::Twice), 0);
    // The first is gone; the last is still there, and comes again under a handle of none.
    let (group, [_, large]) = &mut driver.groups[0];
    let (address, _) = large.buffers[7];
    group.post(&mut driver.bench, true, address, 0x0800_0000, 2048);
    driver.bench.card.tick(Duration::from_millis(1));
    assert_eq!(driver.tally(Tally::Twice), 1);
}

#[test]
fn statistics_lie_and_frames_stay_out_for_as_long_as_it_lasts() {
    let mut driver = Driver::new(1, 8);
    driver.begin(100, 1);
    let rx_frames = regs::STATS_BASE + regs::stats::RX_FRAMES;
    assert_eq!(driver.bench.read(rx_frames), u32::MAX);
    assert_eq!(driver.bench.read(rx_frames + 4), u32::MAX);
    assert_eq!(driver.tally(Tally::Lied), 2);
    driver.bench.card.receive(&bench::frame(1, 300));
    driver.begin(0, 1);
    assert_eq!(driver.bench.read(rx_frames), 0);
    assert_eq!(driver.bench.counter("rx_off"), 1);
    assert_eq!(driver.bench.card.wants(), None);
    driver.is_well();
}

#[test]
fn it_waits_for_the_receiver_and_outlives_a_reset() {
    let mut driver = Driver::new(2, 16);
    driver.begin(1000, 5);
    driver.bench.write(global::CONTROL, 0);
    assert_eq!(driver.bench.card.wants(), None);
    driver.bench.card.tick(Duration::from_secs(1));
    assert_eq!(driver.left(), 1000);
    driver.bench.write(global::CONTROL, global::CONTROL_RX);
    for _ in 0..5 {
        driver.bench.card.tick(Duration::from_millis(1));
        driver.poll(64);
    }
    let left = driver.left();
    assert!((1..1000).contains(&left), "{left}");
    driver.reset();
    assert_eq!(driver.left(), left);
    driver.run(&[64]);
    driver.is_well();
}
