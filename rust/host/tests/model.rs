// SPDX-License-Identifier: GPL-2.0

//! Slots and depot together, in any order of operations, against a model that is too simple to be
//! wrong: a map from chunk to state and handle.

mod common;

use common::{
    geometry,
    request,
    small,
    ByIndex,
    Parts, //
};
use mbpool_host::ground::{
    geometry::Geometry,
    handle::{
        Handle,
        HandleError, //
    },
    slots::{
        Count,
        Owner, //
    }, //
};
use proptest::prelude::*;
use std::collections::{
    BTreeMap,
    BTreeSet, //
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Used,
    Lent,
    Card,
}

/// What one chunk is, and how many times it was handed a new handle.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    state: State,
    trips: u32,
}

/// The choice of a chunk or a page among those that will do, as a number to take modulo theirs.
type Pick = usize;

#[derive(Clone, Debug)]
enum Op {
    Alloc,
    Post,
    PostUsed(Pick),
    Lend(Pick),
    /// A handle of any that were ever given, with user bits.
    Take(Pick, u32),
    Peek(Pick, u32),
    Redeem(Pick, u32),
    TakeWord(u32),
    Free(Pick),
    ReclaimOne(Pick),
    ReclaimAll,
    Reserve,
    Install(Pick),
    Cancel(Pick),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => Just(Op::Alloc),
        8 => Just(Op::Post),
        4 => any::<Pick>().prop_map(Op::PostUsed),
        2 => any::<Pick>().prop_map(Op::Lend),
        8 => any::<(Pick, u32)>().prop_map(|(pick, user)| Op::Take(pick, user)),
        4 => any::<(Pick, u32)>().prop_map(|(pick, user)| Op::Peek(pick, user)),
        4 => any::<(Pick, u32)>().prop_map(|(pick, user)| Op::Redeem(pick, user)),
        2 => any::<u32>().prop_map(Op::TakeWord),
        6 => any::<Pick>().prop_map(Op::Free),
        1 => any::<Pick>().prop_map(Op::ReclaimOne),
        1 => Just(Op::ReclaimAll),
        3 => Just(Op::Reserve),
        3 => any::<Pick>().prop_map(Op::Install),
        1 => any::<Pick>().prop_map(Op::Cancel),
    ]
}

struct Model {
    parts: Parts,
    chunks: BTreeMap<u32, Chunk>,
    reserved: BTreeSet<u32>,
    /// Each handle ever given.
    given: Vec<Handle>,
    most_out: usize,
    popped: u64,
}

impl Model {
    fn new(geometry: Geometry) -> Self {
        Self {
            parts: Parts::new(geometry),
            chunks: BTreeMap::new(),
            reserved: BTreeSet::new(),
            given: Vec::new(),
            most_out: 0,
            popped: 0,
        }
    }

    fn in_state(&self, state: State) -> Vec<u32> {
        let found = self.chunks.iter().filter(|(_, c)| c.state == state);
        found.map(|(index, _)| *index).collect()
    }

    fn one_of(&self, state: State, pick: Pick) -> Option<u32> {
        let all = self.in_state(state);
        all.get(pick % all.len().max(1)).copied()
    }

    fn chunk(&mut self, index: u32) -> &mut Chunk {
        self.chunks.get_mut(&index).expect("a chunk that is there")
    }

    /// The handle of a chunk on its present trip, worked out without the code under test.
    fn handle(&self, index: u32) -> u32 {
        let layout = self.parts.geometry.layout();
        let (_, low) = layout.user_bits();
        let generation = u64::from(self.chunks[&index].trips) % (1 << layout.generation_bits());
        let own = u64::from(index) << layout.generation_bits() | generation;
        u32::try_from(own << low).expect("32 bits")
    }

    /// What `take` (from `Card`) and `redeem` (from `Lent`) must answer.
    fn judge(&self, handle: Handle, from: State) -> Result<u32, HandleError> {
        let layout = self.parts.geometry.layout();
        let (high, low) = layout.user_bits();
        let bare = u64::from(handle.into_raw()) << (32 + high) >> (32 + high) >> low << low;
        let index = u32::try_from(bare >> low >> layout.generation_bits()).expect("32 bits");
        match self.chunks.get(&index) {
            None => Err(HandleError::OutOfRange),
            Some(chunk) if chunk.state != from => Err(HandleError::WrongState),
            Some(_) if u64::from(self.handle(index)) != bare => Err(HandleError::Stale),
            Some(_) => Ok(index),
        }
    }

    /// A handle given before, with the caller's bits set to something.
    fn given(&self, pick: Pick, user: u32) -> Option<Handle> {
        let handle = *self.given.get(pick % self.given.len().max(1))?;
        let layout = self.parts.geometry.layout();
        let (high, low) = layout.user_bits();
        let mask = |bits: u32| user & ((1u64 << bits) - 1) as u32;
        Some(
            layout
                .with_user_bits(handle, mask(high), mask(low))
                .expect("fits"),
        )
    }

    fn pop(&mut self, state: State) -> Option<u32> {
        let popped = self.parts.depot.pop();
        match popped {
            None => assert_eq!(self.in_state(State::Free), []),
            Some(index) => self.popped(index, state),
        }
        popped
    }

    fn popped(&mut self, index: u32, state: State) {
        assert_eq!(self.chunk(index).state, State::Free, "popped {index}");
        self.chunk(index).state = state;
        self.popped += 1;
        let out = self.chunks.len() - self.in_state(State::Free).len();
        self.most_out = self.most_out.max(out);
    }

    fn advance(&mut self, index: u32, state: State, handle: Handle) {
        self.chunk(index).state = state;
        self.chunk(index).trips += 1;
        assert_eq!(handle.into_raw(), self.handle(index));
        self.given.push(handle);
    }

    fn take(&mut self, handle: Handle) {
        let expected = self.judge(handle, State::Card);
        assert_eq!(self.parts.slots.fetch(handle), expected);
        if let Ok(index) = expected {
            self.chunk(index).state = State::Used;
        }
    }

    fn reclaim(&mut self, index: u32) {
        let on_card = self.chunks.get(&index).map(|c| c.state) == Some(State::Card);
        assert_eq!(self.parts.slots.reclaim(index), on_card);
        if on_card {
            self.parts.depot.push(index);
            self.chunk(index).state = State::Free;
        }
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Alloc => {
                if let Some(index) = self.pop(State::Used) {
                    self.parts.slots.claim(index);
                }
            }
            Op::Post => {
                if let Some(index) = self.pop(State::Card) {
                    let handle = self.parts.slots.post(index, Owner::POOL);
                    self.advance(index, State::Card, handle);
                }
            }
            Op::PostUsed(pick) => {
                if let Some(index) = self.one_of(State::Used, pick) {
                    let handle = self.parts.slots.post(index, Owner::POOL);
                    self.advance(index, State::Card, handle);
                }
            }
            Op::Lend(pick) => {
                if let Some(index) = self.one_of(State::Used, pick) {
                    let handle = self.parts.slots.lend(index);
                    self.advance(index, State::Lent, handle);
                }
            }
            Op::Take(pick, user) => {
                if let Some(handle) = self.given(pick, user) {
                    self.take(handle);
                }
            }
            Op::TakeWord(word) => self.take(Handle::from_raw(word)),
            Op::Peek(pick, user) => {
                if let Some(handle) = self.given(pick, user) {
                    let expected = self.judge(handle, State::Card);
                    assert_eq!(self.parts.slots.look(handle), expected);
                }
            }
            Op::Redeem(pick, user) => {
                if let Some(handle) = self.given(pick, user) {
                    let expected = self.judge(handle, State::Lent);
                    assert_eq!(self.parts.slots.redeem(handle), expected);
                    if let Ok(index) = expected {
                        self.parts.depot.push(index);
                        self.chunk(index).state = State::Free;
                    }
                }
            }
            Op::Free(pick) => {
                if let Some(index) = self.one_of(State::Used, pick) {
                    self.parts.slots.release(index);
                    self.parts.depot.push(index);
                    self.chunk(index).state = State::Free;
                }
            }
            Op::ReclaimOne(pick) => {
                let indices = self.parts.geometry.indices() as usize;
                self.reclaim((pick % (indices + 1)) as u32);
            }
            Op::ReclaimAll => (0..self.parts.geometry.indices()).for_each(|i| self.reclaim(i)),
            Op::Reserve => {
                let chunks = self.parts.geometry.chunks() as usize;
                let present = self.chunks.len() / chunks;
                let left = self.parts.geometry.max_pages() as usize - present;
                match self.parts.depot.reserve() {
                    None => assert_eq!(self.reserved.len(), left),
                    Some(page) => {
                        let base = page << self.parts.geometry.layout().chunk_bits();
                        assert!(page < self.parts.geometry.max_pages());
                        assert!(!self.chunks.contains_key(&base), "page {page} is there");
                        assert!(self.reserved.insert(page), "page {page} reserved twice");
                    }
                }
            }
            Op::Install(pick) => {
                if let Some(page) = self.unreserve(pick) {
                    self.install(page, pick % 2 == 1);
                }
            }
            Op::Cancel(pick) => {
                if let Some(page) = self.unreserve(pick) {
                    self.parts.depot.cancel(page);
                }
            }
        }
    }

    /// A page comes, of whose chunks one is allocated at once if it `pops`.
    fn install(&mut self, page: u32, pops: bool) {
        let base = page << self.parts.geometry.layout().chunk_bits();
        let chunks = base..base + self.parts.geometry.chunks();
        let state = State::Free;
        self.chunks.extend(
            chunks
                .clone()
                .map(|index| (index, Chunk { state, trips: 0 })),
        );
        if !pops {
            return self.parts.install(page);
        }
        let index = self.parts.install_and_pop(page).expect("a chunk");
        assert!(chunks.contains(&index));
        self.popped(index, State::Used);
        self.parts.slots.claim(index);
    }

    fn unreserve(&mut self, pick: Pick) -> Option<u32> {
        let page = *self
            .reserved
            .iter()
            .nth(pick % self.reserved.len().max(1))?;
        self.reserved.remove(&page);
        Some(page)
    }

    fn compare(&self) {
        let count = Count {
            used: self.in_state(State::Used).len() + self.in_state(State::Lent).len(),
            card: self.in_state(State::Card).len(),
            free: self.in_state(State::Free).len(),
        };
        let Parts {
            slots,
            depot,
            geometry,
        } = &self.parts;
        assert_eq!(slots.count(), count);
        assert_eq!(depot.free() as usize, count.free);
        assert_eq!(depot.total() as usize, self.chunks.len());
        assert_eq!(depot.present() * geometry.chunks(), depot.total());
        assert_eq!(depot.most_out() as usize, self.most_out);
        assert_eq!(depot.popped(), self.popped);
        for page in 0..geometry.max_pages() {
            let of_page = |(index, _): &(&u32, &Chunk)| geometry.page_of(**index) == page;
            let chunks: Vec<_> = self.chunks.iter().filter(of_page).collect();
            let idle = chunks.iter().all(|(_, chunk)| chunk.state == State::Free);
            assert_eq!(slots.is_idle(page), idle);
            assert_eq!(slots.is_there(page), !chunks.is_empty());
        }
    }
}

fn geometries() -> impl Strategy<Value = Geometry> {
    prop_oneof![
        Just(small(1, 1, 2, 0)),
        Just(small(3, 4, 2, 3)),
        Just(small(4, 2, 0, 7)),
        Just(small(5, 8, 6, 0)),
        Just(geometry(&request(768, 3))),
        Just(geometry(&request(1500, 4))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_order_of_operations(
        geometry in geometries(), ops in prop::collection::vec(op(), 1..400),
    ) {
        let mut model = Model::new(geometry);
        for op in ops {
            model.run(op);
            model.compare();
        }
        // At the end all go home, and all can be had again.
        for index in model.in_state(State::Lent) {
            let receipt = Handle::from_raw(model.handle(index));
            prop_assert_eq!(model.parts.slots.redeem(receipt), Ok(index));
            model.parts.depot.push(index);
            model.chunk(index).state = State::Free;
        }
        for index in model.in_state(State::Used) {
            model.parts.slots.release(index);
            model.parts.depot.push(index);
            model.chunk(index).state = State::Free;
        }
        model.run(Op::ReclaimAll);
        model.compare();
        for _ in 0..model.chunks.len() {
            prop_assert!(model.pop(State::Used).is_some());
        }
        prop_assert!(model.pop(State::Used).is_none());
    }
}
