// SPDX-License-Identifier: GPL-2.0

//! Words: whatever a card writes for a handle, against pools in each mix of states that there is, for
//! geometries small enough to try all of both; and how often a handle that is too old passes.

mod common;

use common::{
    geometry,
    request,
    small,
    ByIndex,
    Parts,
    PAGE, //
};
use mbpool_host::ground::{
    geometry::{
        Geometry,
        Request, //
    },
    handle::Handle,
    own::Own,
    slots::{
        Owner,
        Slots, //
    }, //
};

/// The owners of the test: the pool, and two others.
const OWNERS: usize = 3;

/// What a chunk that is there can be, by number: free, used, lent, or on the card for one of the owners.
const FREE: u32 = 0;
const USED: u32 = 1;
const LENT: u32 = 2;
const CARD: u32 = 3;
const STATES: u32 = CARD + OWNERS as u32;

/// Who looks at the slots.
struct Views<'slots> {
    slots: &'slots Slots,
    others: [Own<'slots>; OWNERS - 1],
}

impl<'slots> Views<'slots> {
    fn new(slots: &'slots Slots) -> Self {
        let own = |number| Own::new(slots, Owner::other(number).expect("an owner"));
        Self {
            slots,
            others: [own(0), own(Owner::OTHERS - 1)],
        }
    }

    fn owner(&self, number: usize) -> Owner {
        match number.checked_sub(1) {
            None => Owner::POOL,
            Some(other) => self.others[other].owner(),
        }
    }

    fn peek(&self, number: usize, handle: Handle) -> Option<u32> {
        match number.checked_sub(1) {
            None => self.slots.peek(handle),
            Some(other) => self.others[other].peek(handle),
        }
    }

    fn take(&self, number: usize, handle: Handle) -> Option<u32> {
        match number.checked_sub(1) {
            None => self.slots.take(handle),
            Some(other) => self.others[other].take(handle),
        }
    }

    /// Puts a free chunk into a state, and answers its handle if it is on the card.
    fn put(&self, index: u32, state: u32) -> Option<Handle> {
        match state {
            FREE => None,
            USED => {
                self.slots.claim(index);
                None
            }
            LENT => {
                self.slots.claim(index);
                self.slots.lend(index);
                None
            }
            card => Some(self.slots.post(index, self.owner((card - CARD) as usize))),
        }
    }

    /// Every word, for each owner: it gives the chunk that is on the card for that one under this handle,
    /// or none. `due` has the owner and the chunk, by the word without the caller's bits.
    fn try_all(&self, due: &[Option<(usize, u32)>], users: &[u32]) -> u64 {
        let layout = self.slots.layout();
        let low = layout.user_bits().1;
        let mut tried = 0;
        for (bits, due) in (0u32..).zip(due) {
            for user in users {
                let (high, bottom) = layout.user_bits_of(Handle::from_raw(*user));
                let bare = Handle::from_raw(bits << low);
                let handle = layout.with_user_bits(bare, high, bottom).expect("fits");
                for number in 0..OWNERS {
                    let due = due.and_then(|(owner, index)| (owner == number).then_some(index));
                    assert_eq!(self.peek(number, handle), due, "{handle:?} for {number}");
                    assert_eq!(self.take(number, handle), due, "{handle:?} for {number}");
                    // To the card again, round to the same handle.
                    if let Some(index) = due {
                        assert_eq!(self.take(number, handle), None, "{handle:?} twice");
                        let post = || self.slots.post(index, self.owner(number));
                        let trips = 1u32 << layout.generation_bits();
                        assert!((0..trips).any(|_| post() == bare));
                    }
                    tried += 1;
                }
            }
        }
        tried
    }
}

/// Bits of a handle that are not the caller's.
fn own_bits(geometry: &Geometry) -> u32 {
    let (high, low) = geometry.layout().user_bits();
    32 - high - low
}

/// Digits of a number, the lowest first.
fn digits(number: u64, base: u64) -> impl Iterator<Item = u32> {
    std::iter::successors(Some(number), move |rest| Some(rest / base))
        .map(move |rest| (rest % base) as u32)
}

/// Pools with each set of pages, each state and each generation of each of their chunks, and every word
/// for each of them. Answers how many pools and how many words.
fn try_each_mix(geometry: Geometry) -> (u64, u64) {
    let layout = geometry.layout();
    let (pages, chunks) = (geometry.max_pages(), geometry.chunks());
    let all: Vec<u32> = (0..pages)
        .flat_map(|page| (0..chunks).map(move |chunk| page << layout.chunk_bits() | chunk))
        .collect();
    let generations = 1u64 << layout.generation_bits();
    let (mut pools, mut words) = (0, 0);
    for present in 0..1u32 << pages {
        let there = |index: &&u32| present & 1 << (**index >> layout.chunk_bits()) != 0;
        let there: Vec<u32> = all.iter().filter(there).copied().collect();
        let count = there.len() as u32;
        for states in 0..u64::from(STATES).pow(count) {
            for ages in 0..generations.pow(count) {
                let slots = Slots::new(&geometry).expect("memory");
                let views = Views::new(&slots);
                let mut due = vec![None; 1 << own_bits(&geometry)];
                let what = digits(states, STATES.into()).zip(digits(ages, generations));
                let is_present = |page: &u32| present & 1 << page != 0;
                (0..pages)
                    .filter(is_present)
                    .for_each(|page| slots.appear(page));
                for (index, (state, age)) in there.iter().zip(what) {
                    for _ in 0..age {
                        slots.post(*index, Owner::POOL);
                        assert!(slots.reclaim(*index));
                    }
                    if let Some(handle) = views.put(*index, state) {
                        let word = handle.into_raw() >> layout.user_bits().1;
                        due[word as usize] = Some(((state - CARD) as usize, *index));
                    }
                }
                pools += 1;
                words += views.try_all(&due, &[0, 0x8000_0001 ^ states as u32, u32::MAX]);
            }
        }
    }
    (pools, words)
}

#[test]
fn no_word_gives_what_the_card_does_not_hold_in_any_mix_of_states() {
    let gaps = |size, pages, generation: u32| {
        let asked = request(size, pages);
        let free = geometry(&asked).layout().user_bits().0;
        let bits = 32 - free;
        let index = pages.next_power_of_two().ilog2() + 3;
        geometry(&Request {
            page_size: PAGE,
            high_bits: bits - index - generation,
            ..asked
        })
    };
    for (name, geometry) in [
        ("2 pages of 2 chunks, 4 generations", small(2, 2, 2, 3)),
        ("2 pages of 1 chunk, 16 generations", small(2, 1, 4, 1)),
        ("3 pages of 1 chunk, 4 generations", small(3, 1, 2, 0)),
        ("1 page of 4 chunks, no generation", small(1, 4, 0, 7)),
        ("1 page of 5 chunks, no generation", gaps(768, 1, 0)),
    ] {
        let (pools, words) = try_each_mix(geometry);
        println!("# {name}: {words} words in {pools} pools");
    }
}

/// Each word of 22 bits of the pool, for one pool with all states and many ages beside each other.
#[test]
fn no_word_gives_what_the_card_does_not_hold_in_a_larger_pool() {
    let geometry = small(16, 16, 14, 2);
    let mut parts = Parts::new(geometry);
    for _ in 0..15 {
        let page = parts.depot.reserve().expect("a page");
        parts.install(page);
    }
    let views = Views::new(&parts.slots);
    let mut due = vec![None; 1 << own_bits(&geometry)];
    for index in 0..15 * 16 {
        for _ in 0..index * 67 {
            parts.slots.post(index, Owner::POOL);
        }
        parts.slots.reclaim(index);
        let state = index % STATES;
        if let Some(handle) = views.put(index, state) {
            due[handle.into_raw() as usize >> 2] = Some(((state - CARD) as usize, index));
        }
    }
    let words = views.try_all(&due, &[0x5555_5555]);
    println!("# {words} words");
}

/// How many of the handles that are 1 to `trips` trips too old pass, for the pool and for another owner.
fn stale(generation: u32, trips: u32) -> u32 {
    let slots = Parts::full(small(2, 2, generation, 0)).slots;
    let views = Views::new(&slots);
    let passed = [0, 1].map(|number| {
        let post = || slots.post(0, views.owner(number));
        let old = post();
        (0..trips)
            .filter(|_| {
                post();
                views.peek(number, old).is_some()
            })
            .count() as u32
    });
    assert_eq!(passed[0], passed[1]);
    passed[0]
}

/// The documentation's table, line by line.
#[test]
fn the_documentation_has_the_chance_that_a_stale_handle_passes() {
    const TRIPS: u32 = 1 << 16;
    let text = include_str!("../../../Documentation/handles.rst");
    for generation in [0, 1, 2, 3, 4, 6, 8, 10, 12, 14, 16] {
        let passed = stale(generation, TRIPS);
        let chance = f64::from(passed) / f64::from(TRIPS) * 100.0;
        let line = format!("{generation:>4}  {TRIPS:>6}  {passed:>6}  {chance:>9.4} %");
        println!("# {line}");
        assert!(text.lines().any(|found| found == line), "{line}");
    }
}
