// SPDX-License-Identifier: GPL-2.0

//! A card that means harm: it returns descriptors of its own making, [`Tally`] lists of which kinds.
//!
//! It upholds, unless it was told to derail rings: each descriptor is one of which the card knows what the driver
//! must make of it, and counts that; no buffer is lost by it; and when it comes to its end the card has all that
//! the driver gave it, and is as good as any.
//!
//! What is done with a descriptor follows from the seed and its number ([`plan`]). Of which buffer it is
//! depends on what the driver gave; where there is none of the sort, it is any word instead.

mod books;
mod plan;

use std::time::Duration;

use mbcard_regs as regs;
use mbcard_regs::global;
use mbcard_regs::FreeEntry;
use mbcard_regs::ReturnEntry;
use mbcard_regs::Tally;

use super::generate;
use super::group::Group;
use super::port::Host;
use super::port::Place;
use super::Card;
use crate::pace::Pace;

use books::Books;
use books::Drawn;
use plan::Plan;

/// Looks again after this time, if there was no room or no buffer.
const AGAIN: Duration = Duration::from_micros(100);
/// Buffers of a group that wait to be overtaken.
const LATE: usize = 4;
/// How often a word is rewritten in the ring.
const REWRITES: u32 = 24;
/// Bytes of a scribble.
const SCRIBBLE: usize = 64;
/// Guesses at a word of a kind, before it becomes any word.
const GUESSES: usize = 16;

/// What is left to do, and what was done.
#[derive(Clone, Debug)]
pub struct Hostile {
    seed: u32,
    /// The next descriptor's number.
    number: u32,
    /// Descriptors left to return.
    left: u32,
    derails: bool,
    pace: Pace,
    /// There was no room or no buffer.
    waits: bool,
    books: Books,
    counts: [u32; Tally::ALL.len()],
}

impl Hostile {
    /// A card with good intentions.
    pub fn new() -> Self {
        Self {
            seed: 0,
            number: 0,
            left: 0,
            derails: false,
            pace: Pace::default(),
            waits: false,
            books: Books::default(),
            counts: [0; Tally::ALL.len()],
        }
    }

    /// Whether it goes on.
    pub fn is_on(&self) -> bool {
        self.left != 0
    }

    /// Descriptors left to return.
    pub fn left(&self) -> u32 {
        self.left
    }

    /// When the next step is due.
    pub fn due(&self) -> Duration {
        if self.waits {
            AGAIN
        } else {
            self.pace.due()
        }
    }

    /// The card has forgotten a group's buffers.
    pub fn forget(&mut self, group: usize) {
        self.books.forget(group);
    }

    /// A group has returned a buffer as a good card does.
    pub fn returned_in_peace(&mut self, group: usize, entry: &FreeEntry) {
        self.books.returned_in_peace(group, entry);
    }

    /// The driver was told that a frame was sent.
    pub fn completed(&mut self, cookie: u32) {
        self.books.completed(cookie);
    }

    /// One more of that kind.
    pub fn count(&mut self, kind: Tally) {
        if let Some(count) = self.counts.get_mut(kind as usize) {
            *count = count.wrapping_add(1);
        }
    }

    fn counted(&self, kind: Tally) -> u32 {
        self.counts.get(kind as usize).copied().unwrap_or(0)
    }
}

/// A descriptor in the making.
#[derive(Clone, Copy, Debug)]
struct Words {
    handle: u32,
    length: u32,
    large: bool,
    error: bool,
    /// Flags that there are none of, and a sequence that is not the ring's.
    odd: Option<(u32, u32)>,
}

impl Words {
    /// As a good card would have them.
    fn of(drawn: &Drawn, length: u32) -> Self {
        Self {
            handle: drawn.entry.handle,
            length,
            large: drawn.large,
            error: false,
            odd: None,
        }
    }

    /// Any, with that handle.
    fn any(handle: u32, plan: &mut Plan) -> Self {
        Self {
            handle,
            length: plan.one_of(&[60, 1514, 0, u32::MAX]).unwrap_or(0),
            large: plan.coin(),
            error: plan.below(8) == 0,
            odd: None,
        }
    }

    fn encode(self, sequence: u32, phase: bool) -> [u32; 4] {
        let (flags, sequence) = self.odd.unwrap_or((0, sequence));
        let entry = ReturnEntry {
            handle: self.handle,
            length: self.length,
            sequence,
            large: self.large,
            error: self.error,
            phase,
        };
        let [handle, length, sequence, last] = entry.encode();
        let known = ReturnEntry::ERROR | ReturnEntry::PHASE;
        [handle, length, sequence, last ^ (flags & !known).to_le()]
    }
}

/// Bytes that a buffer can be asked to hold.
fn size_of(entry: &FreeEntry) -> u32 {
    entry
        .size
        .clamp(regs::BUFFER_SIZE_MIN, regs::BUFFER_SIZE_MAX)
}

impl<H: Host> Card<H> {
    /// Returns so many descriptors with faults that follow from the seed, once the receiver is on; `derails`:
    /// with such that a ring does not get over. 0 ends what is under way.
    pub fn hostile(&mut self, count: u32, seed: u32, rate: u32, derails: bool) {
        for (n, group) in self.groups.iter().enumerate() {
            self.hostile.books.begin(n, group.seen());
        }
        self.hostile.seed = seed;
        self.hostile.number = 0;
        self.hostile.left = count;
        self.hostile.derails = derails;
        self.hostile.pace = Pace::new(rate);
        self.hostile.waits = false;
        self.look();
        self.fire_all();
    }

    /// What was counted under that number in [`Tally`]; `None` if there is none such.
    pub fn tally(&self, number: usize) -> Option<u32> {
        let kind = *Tally::ALL.get(number)?;
        Some(match kind {
            Tally::Twice => self.hostile.books.twice(),
            Tally::Held => {
                let held = |(n, group): (usize, &Group)| {
                    let late = u32::try_from(self.hostile.books.late(n)).unwrap_or(0);
                    u32::from(group.small.held()) + u32::from(group.large.held()) + late
                };
                self.groups.iter().enumerate().map(held).sum()
            }
            kind => self.hostile.counted(kind),
        })
    }

    /// Whether a hostile card would do something.
    pub(super) fn is_hostile(&self) -> bool {
        self.hostile.is_on() && self.receive && !self.port.silent && self.port.bus_master && {
            self.groups.iter().any(Group::is_enabled)
        }
    }

    /// Time has passed.
    pub(super) fn tick_hostile(&mut self, elapsed: Duration) {
        if !self.is_hostile() {
            return;
        }
        self.hostile.waits = false;
        for _ in 0..self.hostile.pace.advance(elapsed) {
            if !self.hostile.is_on() {
                break;
            }
            if !self.step() {
                self.hostile.waits = true;
                break;
            }
        }
        if self.hostile.waits || !self.hostile.is_on() {
            self.fire_all();
        }
    }

    fn fire_all(&mut self) {
        for group in &mut self.groups {
            group.returned.fire(&mut self.port);
        }
        self.transmitter.done.fire(&mut self.port);
    }

    /// Looks at what the driver gave.
    fn look(&mut self) {
        for (n, group) in self.groups.iter().enumerate() {
            if !group.is_enabled() {
                continue;
            }
            for large in [false, true] {
                let from = self.hostile.books.seen(n, large);
                let (words, seen) = group.free_ring(large).entries(&mut self.port, from);
                let entries: Vec<FreeEntry> = words.into_iter().map(FreeEntry::decode).collect();
                self.hostile.books.give(n, large, &entries, seen);
            }
        }
    }

    /// Returns the next descriptor; false if that has to wait for the driver.
    fn step(&mut self) -> bool {
        self.look();
        let Hostile {
            seed,
            number,
            derails,
            ..
        } = self.hostile;
        let mut plan = Plan::new(seed, number, derails);
        let enabled = self.groups.iter().filter(|group| group.is_enabled());
        let chosen = plan.below(u32::try_from(enabled.count()).unwrap_or(0));
        let mut enabled = (0..regs::GROUPS).filter(|n| self.is_group_on(*n));
        let Some(n) = enabled.nth(usize::try_from(chosen).unwrap_or(0)) else {
            return false;
        };
        let late = (0..regs::GROUPS).find(|n| self.hostile.books.late(*n) != 0);
        let done = match late {
            // What was kept is the last that comes back.
            Some(n) if !derails && self.hostile.left <= self.kept() => {
                if self.room(n) == 0 {
                    return false;
                }
                let drawn = self.hostile.books.unkeep(n, 0);
                drawn.map_or(0, |drawn| self.frame(n, drawn, Tally::Late, &mut plan))
            }
            _ => self.act(n, &mut plan),
        };
        if done == 0 {
            return false;
        }
        self.hostile.number = number.wrapping_add(1);
        self.hostile.left = self.hostile.left.saturating_sub(done);
        self.beside(n, &mut plan);
        true
    }

    fn is_group_on(&self, n: usize) -> bool {
        self.groups.get(n).is_some_and(Group::is_enabled)
    }

    fn kept(&self) -> u32 {
        let kept: usize = (0..regs::GROUPS).map(|n| self.hostile.books.late(n)).sum();
        u32::try_from(kept).unwrap_or(u32::MAX)
    }

    /// Room in the group's return ring.
    fn room(&self, n: usize) -> u16 {
        self.groups.get(n).map_or(0, |group| group.returned.room())
    }

    /// Does what is planned, or what is possible instead. Answers how many descriptors that were.
    fn act(&mut self, n: usize, plan: &mut Plan) -> u32 {
        if self.room(n) == 0 && !self.hostile.derails {
            return 0;
        }
        match plan.kind {
            Tally::Honest
            | Tally::Odd
            | Tally::Scribbled
            | Tally::Rewritten
            | Tally::Short
            | Tally::Long
            | Tally::Failed => self.buffer(n, plan.kind, plan),
            Tally::Late => self.overtaken(n, plan),
            Tally::Swapped => self.swap(n, plan),
            Tally::Completion => self.completion(n, plan),
            Tally::Skipped => {
                let places = plan.one_of(&[1, 2, 3]).unwrap_or(1);
                if let Some(group) = self.groups.get_mut(n) {
                    group.returned.skip(places);
                }
                self.hostile.count(Tally::Skipped);
                self.word(n, Tally::Random, plan)
            }
            Tally::Unphased => self.unphased(n, plan),
            Tally::Kept => {
                if let Some(drawn) = self.draw(n, plan.coin()) {
                    self.hostile.books.withhold(n, drawn);
                    self.hostile.count(Tally::Kept);
                }
                self.word(n, Tally::Random, plan)
            }
            kind => self.word(n, kind, plan),
        }
    }

    /// What comes beside the descriptor that was just returned in that group.
    fn beside(&mut self, n: usize, plan: &mut Plan) {
        let Some(kind) = plan.beside else {
            if let Some(group) = self.groups.get_mut(n) {
                group.returned.fire(&mut self.port);
            }
            self.transmitter.done.fire(&mut self.port);
            return;
        };
        self.hostile.count(kind);
        match kind {
            Tally::Interrupt => {
                let vector = usize::try_from(plan.word()).unwrap_or(0) % regs::VECTORS;
                self.port.force(vector);
            }
            Tally::Event => {
                let events = plan.word() & (global::EVENT_LINK | global::EVENT_ERROR);
                let error = if plan.coin() {
                    plan.word()
                } else {
                    (plan.word() & 0x0007_0503) | 1
                };
                let info = u64::from(plan.word());
                self.port.claim(events, error, info);
            }
            _ => (),
        }
    }

    /// Takes a buffer from one free ring of a group, or from the other one.
    fn draw(&mut self, n: usize, large: bool) -> Option<Drawn> {
        let group = self.groups.get_mut(n)?;
        [large, !large].into_iter().find_map(|large| {
            let entry = group.draw(&mut self.port, large)?;
            Some(Drawn { entry, large })
        })
    }

    /// Returns a buffer of the group in the way of that kind.
    fn buffer(&mut self, n: usize, kind: Tally, plan: &mut Plan) -> u32 {
        let drawn = match self.draw(n, plan.coin()) {
            Some(drawn) => Some(drawn),
            None => self.hostile.books.unkeep(n, 0),
        };
        match drawn {
            Some(drawn) => self.frame(n, drawn, kind, plan),
            None if self.hostile.derails => self.word(n, Tally::Random, plan),
            None => 0,
        }
    }

    /// Keeps a buffer and returns the next one; or one that was kept, if those are enough.
    fn overtaken(&mut self, n: usize, plan: &mut Plan) -> u32 {
        let late = self.hostile.books.late(n);
        if late < LATE && self.hostile.left > self.kept().saturating_add(2) {
            if let Some(drawn) = self.draw(n, plan.coin()) {
                self.hostile.books.keep(n, drawn);
            }
            return self.buffer(n, Tally::Honest, plan);
        }
        let chosen = plan.below(u32::try_from(late).unwrap_or(0));
        let chosen = usize::try_from(chosen).unwrap_or(0);
        match self.hostile.books.unkeep(n, chosen) {
            Some(drawn) => self.frame(n, drawn, Tally::Late, plan),
            None => self.buffer(n, Tally::Honest, plan),
        }
    }

    /// Puts a frame into a buffer and returns that in the way of that kind.
    fn frame(&mut self, n: usize, drawn: Drawn, kind: Tally, plan: &mut Plan) -> u32 {
        let entry = drawn.entry;
        let size = size_of(&entry);
        let least = u32::from(generate::LENGTH_MIN);
        let most = if plan.below(4) == 0 { size } else { 128 };
        let length = least + plan.below(most.min(size).saturating_sub(least) + 1);
        let frame = generate::frame(
            self.mac,
            self.hostile.seed,
            self.hostile.number,
            u16::try_from(length).unwrap_or(regs::FRAME_LENGTH_MAX),
            None,
        );
        let mut words = Words::of(&drawn, length);
        let past = plan.one_of(&[size + 1, u32::MAX, 0x1_0000 + 60, 1 << 31]);
        let past = past.unwrap_or(u32::MAX);
        let mut outcome = Tally::Taken;
        match kind {
            Tally::Odd => {
                words.length = 14 + plan.below(size - 13);
                words.odd = Some((plan.word(), plan.word()));
            }
            Tally::Rewritten => outcome = Tally::Either,
            Tally::Short => {
                words.length = plan.below(14);
                outcome = Tally::BadLength;
            }
            Tally::Long => {
                words.length = past;
                outcome = Tally::BadLength;
            }
            Tally::Failed => {
                words.length = plan.one_of(&[0, length, past]).unwrap_or(0);
                words.error = true;
                outcome = Tally::Flagged;
            }
            _ => (),
        }
        if self.port.write(Place::CARD, entry.address, &frame).is_err() {
            words.error = true;
            outcome = Tally::Flagged;
        }
        if !self.say(n, words) {
            return 0;
        }
        let before = self.hostile.books.returned(n, 0);
        self.hostile.books.take_back(n, drawn);
        self.hostile.count(kind);
        self.hostile.count(outcome);
        match kind {
            Tally::Rewritten => self.rewrite(n, 1, [length, past], plan),
            Tally::Scribbled => {
                self.scribble(entry, plan);
                if let Some(before) = before {
                    self.scribble(before, plan);
                }
            }
            _ => (),
        }
        1
    }

    /// Writes over a part of a buffer.
    fn scribble(&mut self, entry: FreeEntry, plan: &mut Plan) {
        let bytes: Vec<u8> = (0..SCRIBBLE / 4)
            .flat_map(|_| plan.word().to_le_bytes())
            .collect();
        let room = size_of(&entry).saturating_sub(u32::try_from(SCRIBBLE).unwrap_or(0));
        // The headers, or somewhere behind.
        let offset = if plan.coin() { 0 } else { plan.below(room + 1) };
        let address = entry.address.wrapping_add(u64::from(offset));
        // The port counts what is not mapped any more.
        let _ = self.port.write(Place::CARD, address, &bytes);
    }

    /// Writes one and the other to a word of the descriptor that was returned last, again and again.
    fn rewrite(&mut self, n: usize, word: u8, values: [u32; 2], plan: &mut Plan) {
        let [first, second] = values;
        let times = REWRITES + plan.below(2);
        for time in 0..times {
            let value = if time % 2 == 0 { second } else { first };
            if let Some(group) = self.groups.get(n) {
                // It was written before.
                let _ = group.returned.rewrite(&mut self.port, word, value.to_le());
            }
        }
    }

    /// Returns one of two buffers, and the driver cannot tell which; then both.
    fn swap(&mut self, n: usize, plan: &mut Plan) -> u32 {
        let large = plan.coin();
        let is_rich = self.groups.get(n).is_some_and(|group| {
            group.free_ring(large).held() >= 2
                && (group.returned.room() >= 3 || self.hostile.derails)
        });
        if !is_rich || self.hostile.left <= self.kept().saturating_add(3) {
            return self.buffer(n, Tally::Honest, plan);
        }
        let (Some(one), Some(other)) = (self.draw(n, large), self.draw(n, large)) else {
            return 0;
        };
        let frame = generate::frame(self.mac, self.hostile.seed, self.hostile.number, 60, None);
        for drawn in [one, other] {
            let _ = self.port.write(Place::CARD, drawn.entry.address, &frame);
        }
        self.say(n, Words::of(&one, 60));
        let handles = [one.entry.handle, other.entry.handle];
        self.rewrite(n, 0, handles, plan);
        for drawn in [one, other] {
            self.say(n, Words::of(&drawn, 60));
            self.hostile.books.take_back(n, drawn);
            self.hostile.count(Tally::Taken);
            self.hostile.count(Tally::Swapped);
        }
        self.hostile.count(Tally::Refused);
        self.hostile.count(Tally::Swapped);
        3
    }

    /// Returns a word of that kind, which is no handle that the group holds.
    fn word(&mut self, n: usize, kind: Tally, plan: &mut Plan) -> u32 {
        let mut said = None;
        for _ in 0..GUESSES {
            let Some(word) = self.guess(n, kind, plan) else {
                break;
            };
            if kind == Tally::Foretold || !self.may_pass(n, word) {
                said = Some((kind, word));
                break;
            }
        }
        let (kind, word) = said.unwrap_or_else(|| (Tally::Random, self.sure_word(n, plan)));
        if !self.say(n, Words::any(word, plan)) {
            return 0;
        }
        self.hostile.count(kind);
        self.hostile.count(Tally::Refused);
        1
    }

    fn may_pass(&self, n: usize, word: u32) -> bool {
        self.hostile.books.may_pass(n, word)
    }

    /// Any word that the driver must refuse.
    fn sure_word(&self, n: usize, plan: &mut Plan) -> u32 {
        let mut words = std::iter::repeat_with(|| plan.word());
        words.find(|word| !self.may_pass(n, *word)).unwrap_or(0)
    }

    /// A word of that kind; `None` if the card has none of the sort.
    fn guess(&mut self, n: usize, kind: Tally, plan: &mut Plan) -> Option<u32> {
        let books = &mut self.hostile.books;
        match kind {
            Tally::Zero => Some(0),
            Tally::Flipped => {
                let flips = 1 + plan.below(3);
                let mask = (0..flips).fold(0, |mask, _| mask | (1 << plan.below(32)));
                Some(self.next_handle(n, plan)? ^ mask)
            }
            Tally::Stale => Some(books.returned(n, 1 + plan.below(1 << 16))?.handle),
            Tally::Repeated => Some(books.returned(n, 0)?.handle),
            Tally::Foreign => {
                let step = 1 + usize::try_from(plan.below(7)).unwrap_or(0);
                let others = (0..regs::GROUPS).map(|other| (n + step + other) % regs::GROUPS);
                let mut others = others.filter(|other| *other != n);
                others.find_map(|other| self.next_handle(other, plan))
            }
            Tally::Crossed => books.cookie(plan.below(64)),
            Tally::Foretold => books.foretell(n),
            _ => {
                let word = plan.word();
                if plan.coin() {
                    return Some(word);
                }
                // The pool's bits are at the top.
                let own = self.next_handle(n, plan)?;
                Some((own & 0xff00_0000) | (word & 0x00ff_ffff))
            }
        }
    }

    /// The handle of the buffer that is next in a free ring of the group.
    fn next_handle(&mut self, n: usize, plan: &mut Plan) -> Option<u32> {
        let large = plan.coin();
        let group = self.groups.get(n)?;
        [large, !large].into_iter().find_map(|large| {
            let words = group.free_ring(large).peek(&mut self.port).ok()??;
            Some(FreeEntry::decode(words).handle)
        })
    }

    /// Completes a frame that was not sent.
    fn completion(&mut self, n: usize, plan: &mut Plan) -> u32 {
        if !self.transmitter.is_enabled() || self.transmitter.done.room() == 0 {
            return self.word(n, Tally::Random, plan);
        }
        let nth = plan.below(1024);
        let word = match plan.below(5) {
            0 => Some(0),
            1 => self.hostile.books.cookie(0),
            2 => self.hostile.books.cookie(nth),
            3 => self.next_handle(n, plan),
            _ => None,
        };
        let word = word.unwrap_or_else(|| plan.word());
        let pending = self.transmitter.send.handles(&self.port.host);
        if pending.contains(&word) || self.hostile.books.is_cookie_due(word) {
            return self.word(n, Tally::Random, plan);
        }
        let done = &mut self.transmitter.done;
        let words = Words::any(word, plan).encode(done.sequence(), done.phase());
        if done.put(&mut self.port, words).is_err() {
            return 0;
        }
        self.hostile.count(Tally::Completion);
        self.hostile.count(Tally::BadCookie);
        1
    }

    /// Returns a buffer, or any word, with the wrong phase.
    fn unphased(&mut self, n: usize, plan: &mut Plan) -> u32 {
        let words = match self.draw(n, plan.coin()) {
            Some(drawn) => {
                self.hostile.books.take_back(n, drawn);
                Words::of(&drawn, 60)
            }
            None => Words::any(plan.word(), plan),
        };
        let Some(group) = self.groups.get_mut(n) else {
            return 0;
        };
        let ring = &mut group.returned;
        let words = words.encode(ring.sequence(), !ring.phase());
        if ring.put(&mut self.port, words).is_err() {
            return 0;
        }
        self.hostile.count(Tally::Unphased);
        1
    }

    /// Adds a descriptor to the group's return ring.
    fn say(&mut self, n: usize, words: Words) -> bool {
        let Some(group) = self.groups.get_mut(n) else {
            return false;
        };
        let ring = &mut group.returned;
        let is_over = ring.room() == 0;
        let words = words.encode(ring.sequence(), ring.phase());
        let done = ring.put(&mut self.port, words).is_ok();
        if done && is_over {
            self.hostile.count(Tally::Overrun);
        }
        done
    }
}
