// SPDX-License-Identifier: GPL-2.0

//! Depot, slots, owners and magazines together, driven as a pool with two caches drives them, in any
//! order and with any word for a handle, against a model: a list of what each chunk is.

use super::bytes::Bytes;
use mbpool_host::ground::{
    depot::{
        Depot,
        Tables, //
    },
    geometry::{
        Geometry,
        Request, //
    },
    handle::{
        Handle,
        HandleError, //
    },
    magazine::{
        Magazine,
        CAPACITY,
        HALF, //
    },
    own::Own,
    slots::{
        Count,
        Owner,
        Slots, //
    }, //
};
use std::collections::BTreeSet;

const PAGE: usize = 4096;

/// What a chunk is. Caches are told apart by their place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Absent,
    Free,
    /// Free, in a cache.
    Stocked(usize),
    Used,
    Lent,
    Card,
    /// On the card for a cache.
    CardOf(usize),
}

/// One chunk: its state, and how many times it was given a handle, in all its life.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    state: State,
    trips: u32,
}

/// A cache, and which chunks it must hold, in order.
struct Cache<'slots> {
    own: Own<'slots>,
    magazine: Magazine,
    stock: Vec<u32>,
}

struct Pool<'slots> {
    geometry: Geometry,
    slots: &'slots Slots,
    depot: Depot,
    caches: [Cache<'slots>; 2],
    chunks: Vec<Chunk>,
    reserved: BTreeSet<u32>,
    given: Vec<Handle>,
}

/// Runs one test.
pub fn run(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let Some(geometry) = geometry(&mut bytes) else {
        return;
    };
    let slots = Slots::new(&geometry).expect("memory");
    let mut pool = Pool::new(geometry, &slots, &mut bytes);
    while !bytes.is_empty() {
        pool.step(&mut bytes);
        pool.compare();
    }
    pool.end();
}

/// Up to 6 pages of 1 to 64 chunks, few generations, and some bits of the caller.
fn geometry(bytes: &mut Bytes<'_>) -> Option<Geometry> {
    let size = [4096, 2048, 1500, 1024, 768, 512, 100, 64][usize::from(bytes.byte() % 8)];
    let max_pages = u32::from(bytes.byte() % 6) + 1;
    let request = Request {
        size,
        align: 1,
        boundary: 0,
        page_size: PAGE,
        max_pages,
        initial_pages: 0,
        high_bits: 0,
        low_bits: u32::from(bytes.byte() % 8),
    };
    // The caller takes what is to be no generation.
    let left = Geometry::new(&request, PAGE)
        .ok()?
        .layout()
        .generation_bits();
    let high_bits = left.saturating_sub((bytes.byte() % 6).into());
    Geometry::new(
        &Request {
            high_bits,
            ..request
        },
        PAGE,
    )
    .ok()
}

impl<'slots> Pool<'slots> {
    fn new(geometry: Geometry, slots: &'slots Slots, bytes: &mut Bytes<'_>) -> Self {
        let first = u32::from(bytes.byte()) % (Owner::OTHERS - 1);
        let cache = |number| Cache {
            own: Own::new(slots, Owner::other(number).expect("an owner")),
            magazine: Magazine::new(),
            stock: Vec::new(),
        };
        let nothing = Chunk {
            state: State::Absent,
            trips: 0,
        };
        Self {
            geometry,
            slots,
            depot: Depot::new(Tables::new(&geometry).expect("memory")),
            caches: [cache(first), cache(first + 1)],
            chunks: vec![nothing; geometry.indices() as usize],
            reserved: BTreeSet::new(),
            given: Vec::new(),
        }
    }

    fn chunk(&mut self, index: u32) -> &mut Chunk {
        &mut self.chunks[index as usize]
    }

    fn number_of(&self, state: State) -> usize {
        self.chunks.iter().filter(|c| c.state == state).count()
    }

    /// One of the chunks in a state.
    fn one_of(&self, state: State, pick: u8) -> Option<u32> {
        let all = (0..).zip(&self.chunks).filter(|(_, c)| c.state == state);
        let all: Vec<u32> = all.map(|(index, _)| index).collect();
        all.get(usize::from(pick) % all.len().max(1)).copied()
    }

    /// The chunks of a page.
    fn of_page(&self, page: u32) -> impl Iterator<Item = u32> {
        let base = page << self.geometry.layout().chunk_bits();
        (0..self.geometry.chunks()).map(move |chunk| base | chunk)
    }

    /// The handle of a chunk on its present trip, with the caller's bits zero.
    fn handle(&self, index: u32) -> u32 {
        let layout = self.geometry.layout();
        let generation = self.chunks[index as usize].trips % (1 << layout.generation_bits());
        (index << layout.generation_bits() | generation) << layout.user_bits().1
    }

    /// A chunk has been given a handle.
    fn departs(&mut self, index: u32, state: State, handle: Handle) {
        let chunk = self.chunk(index);
        chunk.state = state;
        chunk.trips += 1;
        assert_eq!(handle.into_raw(), self.handle(index));
        self.given.push(handle);
    }

    /// What must be answered to a handle by who holds what is in the state `from`.
    fn judge(&self, handle: Handle, from: State) -> Result<u32, HandleError> {
        let layout = self.geometry.layout();
        let bare = layout.with_user_bits(handle, 0, 0).expect("zero fits");
        let bare = u64::from(bare.into_raw());
        let index = bare >> (layout.user_bits().1 + layout.generation_bits());
        let index = u32::try_from(index).expect("32 bits");
        match self.chunks.get(index as usize).map(|chunk| chunk.state) {
            None | Some(State::Absent) => Err(HandleError::OutOfRange),
            Some(state) if state != from => Err(HandleError::WrongState),
            Some(_) if u64::from(self.handle(index)) != bare => Err(HandleError::Stale),
            Some(_) => Ok(index),
        }
    }

    /// Any word, or a handle that was given once with any bits of the caller.
    fn any_handle(&self, bytes: &mut Bytes<'_>) -> Handle {
        let pick = bytes.half() as usize;
        let Some(given) = self.given.len().checked_sub(pick % 64 + 1) else {
            return Handle::from_raw(bytes.word());
        };
        let layout = self.geometry.layout();
        let user = Handle::from_raw((pick as u32) << 16 | pick as u32);
        let (high, low) = layout.user_bits_of(user);
        let given = self.given[given];
        layout.with_user_bits(given, high, low).expect("fits")
    }

    /// A chunk came out of the depot.
    fn popped(&mut self, index: u32, state: State) {
        assert_eq!(self.chunk(index).state, State::Free, "popped {index}");
        self.chunk(index).state = state;
    }

    fn pop(&mut self, state: State) -> Option<u32> {
        let popped = self.depot.pop();
        match popped {
            None => assert_eq!(self.number_of(State::Free), 0),
            Some(index) => self.popped(index, state),
        }
        popped
    }

    fn push(&mut self, index: u32) {
        self.chunk(index).state = State::Free;
        self.depot.push(index);
    }

    fn step(&mut self, bytes: &mut Bytes<'_>) {
        let op = bytes.byte();
        let cache = usize::from(op >> 7);
        match op % 26 {
            0 => {
                if let Some(index) = self.pop(State::Used) {
                    self.slots.words()[index as usize].claim();
                }
            }
            1 => {
                if let Some(index) = self.pop(State::Card) {
                    self.post(index);
                }
            }
            2 => {
                if let Some(index) = self.one_of(State::Used, bytes.byte()) {
                    self.post(index);
                }
            }
            3 => {
                if let Some(index) = self.one_of(State::Used, bytes.byte()) {
                    let handle = self.slots.lend(index);
                    self.departs(index, State::Lent, handle);
                }
            }
            4 | 5 => {
                let handle = self.any_handle(bytes);
                self.take(handle);
            }
            6 => {
                let handle = self.any_handle(bytes);
                self.peek(handle);
            }
            7 => {
                let handle = self.any_handle(bytes);
                let due = self.judge(handle, State::Lent);
                assert_eq!(self.slots.redeem(handle), due);
                due.into_iter().for_each(|index| self.push(index));
            }
            8 => {
                if let Some(index) = self.one_of(State::Used, bytes.byte()) {
                    self.slots.words()[index as usize].release();
                    self.push(index);
                }
            }
            9 => self.reclaim(bytes.half()),
            10 => match self.depot.reserve() {
                None => {
                    let left = self.geometry.max_pages() - self.depot.present();
                    assert_eq!(self.reserved.len(), left as usize);
                }
                Some(page) => {
                    assert!(page < self.geometry.max_pages());
                    assert!(self
                        .of_page(page)
                        .all(|index| self.chunks[index as usize].state == State::Absent));
                    assert!(self.reserved.insert(page));
                }
            },
            11 => {
                if let Some(page) = self.reserved.pop_first() {
                    self.install(page);
                    if op < 128 {
                        self.depot.install(page);
                    } else {
                        let index = self.depot.install_and_pop(page).expect("a chunk");
                        self.popped(index, State::Used);
                        self.slots.words()[index as usize].claim();
                    }
                }
            }
            12 => {
                if let Some(page) = self.reserved.pop_last() {
                    self.depot.cancel(page);
                }
            }
            13 => self.retire(bytes.half() % 512),
            14 => self.depot.pack(),
            15 => {
                let least = bytes.half() % 512;
                let free = self.depot.free();
                self.depot.mark(least, u32::MAX);
                if let Some(index) = self.depot.pop_ready() {
                    assert!(free > least);
                    self.popped(index, State::Used);
                    self.slots.words()[index as usize].claim();
                }
            }
            16 => {
                let most = bytes.half() % 512;
                if let Some(index) = self.one_of(State::Used, bytes.byte()) {
                    let free = self.depot.free();
                    self.slots.words()[index as usize].release();
                    self.depot.mark(0, most);
                    if self.depot.push_ready(index) {
                        assert!(free + 1 < most);
                        self.chunk(index).state = State::Free;
                    } else {
                        self.push(index);
                    }
                }
            }
            17 => self.refill(cache),
            18 | 19 => self.post_of(cache),
            20 | 21 => {
                let handle = self.any_handle(bytes);
                self.take_of(cache, handle);
            }
            22 => {
                if let Some(index) = self.one_of(State::Used, bytes.byte()) {
                    self.free_of(cache, index);
                }
            }
            23 => self.reclaim_of(cache),
            24 => {
                (0..self.geometry.indices()).for_each(|i| self.caches[cache].own.make_over(i));
                let state = State::CardOf(cache);
                let chunks = self.chunks.iter_mut().filter(|c| c.state == state);
                chunks.for_each(|chunk| chunk.state = State::Card);
            }
            _ => self.flush(cache),
        }
    }

    fn post(&mut self, index: u32) {
        let layout = self.geometry.layout();
        let handle = self.slots.words()[index as usize].post(&layout, index, Owner::POOL);
        self.departs(index, State::Card, handle);
    }

    fn take(&mut self, handle: Handle) {
        let due = self.judge(handle, State::Card);
        assert_eq!(self.slots.take(handle), due.ok());
        if let Ok(index) = due {
            self.chunk(index).state = State::Used;
        }
    }

    /// Nobody sees what is another's.
    fn peek(&self, handle: Handle) {
        let see = |found: Option<u32>, owner, from| {
            let due = self.judge(handle, from);
            assert_eq!(found, due.ok());
            if let Err(error) = due {
                assert_eq!(self.slots.why_not(handle, owner), error);
            }
        };
        see(self.slots.peek(handle), Owner::POOL, State::Card);
        for (number, cache) in self.caches.iter().enumerate() {
            let state = State::CardOf(number);
            see(cache.own.peek(handle), cache.own.owner(), state);
        }
    }

    fn reclaim(&mut self, index: u32) {
        let due = self.chunks.get(index as usize).map(|c| c.state) == Some(State::Card);
        assert_eq!(self.slots.reclaim(index), due);
        if due {
            self.push(index);
        }
    }

    fn install(&mut self, page: u32) {
        for index in self.of_page(page) {
            self.chunk(index).state = State::Free;
        }
        self.slots.appear(page);
    }

    fn retire(&mut self, keep: u32) {
        let is_free = |page: u32| {
            self.of_page(page)
                .all(|index| self.chunks[index as usize].state == State::Free)
        };
        let due = (0..self.geometry.max_pages())
            .rfind(|page| is_free(*page))
            .filter(|_| self.depot.free() >= keep + self.geometry.chunks());
        let retired = self.depot.retire(keep);
        assert_eq!(retired, due);
        if let Some(page) = retired {
            for index in self.of_page(page) {
                self.chunk(index).state = State::Absent;
            }
            self.slots.vanish(page);
            assert!(self.reserved.insert(page));
        }
    }

    fn refill(&mut self, number: usize) {
        let cache = &mut self.caches[number];
        let most = HALF.min(cache.magazine.room());
        let (chunks, stock) = (&mut self.chunks, &mut cache.stock);
        let mut filler = cache.magazine.filler();
        self.depot.pop_many(most, |index| {
            let chunk = &mut chunks[index as usize];
            assert_eq!(chunk.state, State::Free);
            chunk.state = State::Stocked(number);
            stock.push(index);
            filler.put(index);
        });
    }

    fn post_of(&mut self, number: usize) {
        let cache = &mut self.caches[number];
        let index = cache.magazine.pop();
        assert_eq!(index, cache.stock.pop());
        if let Some(index) = index {
            let handle = cache
                .own
                .post_free(&cache.own.words()[index as usize], index);
            self.departs(index, State::CardOf(number), handle);
        }
    }

    fn take_of(&mut self, number: usize, handle: Handle) {
        let due = self.judge(handle, State::CardOf(number));
        assert_eq!(self.caches[number].own.take(handle), due.ok());
        if let Ok(index) = due {
            self.chunk(index).state = State::Used;
        }
    }

    /// Used -> free, into the stock, whose older half goes home if it is full.
    fn free_of(&mut self, number: usize, index: u32) {
        self.slots.words()[index as usize].release();
        let cache = &mut self.caches[number];
        if cache.magazine.room() == 0 {
            let (chunks, depot) = (&mut self.chunks, &mut self.depot);
            let mut out = Vec::new();
            cache.magazine.unload(|index| {
                chunks[index as usize].state = State::Free;
                depot.push(index);
                out.push(index);
            });
            assert_eq!(cache.stock.drain(..HALF).collect::<Vec<_>>(), out);
        }
        assert!(cache.magazine.push(index));
        cache.stock.push(index);
        self.chunk(index).state = State::Stocked(number);
    }

    fn reclaim_of(&mut self, number: usize) {
        for index in 0..self.geometry.indices() {
            let due = self.chunk(index).state == State::CardOf(number);
            assert_eq!(self.caches[number].own.reclaim(index), due);
            if due {
                self.push(index);
            }
        }
    }

    fn flush(&mut self, number: usize) {
        let cache = &mut self.caches[number];
        let out = cache.magazine.take_all();
        assert_eq!(out, cache.stock);
        for index in std::mem::take(&mut cache.stock) {
            self.push(index);
        }
    }

    /// Conservation: all that is there is in one state, and each who counts says the same.
    fn compare(&self) {
        let mut count = Count::default();
        let mut depot = 0;
        for chunk in &self.chunks {
            match chunk.state {
                State::Absent => {}
                State::Free => {
                    depot += 1;
                    count.free += 1;
                }
                State::Stocked(_) => count.free += 1,
                State::Used | State::Lent => count.used += 1,
                State::Card | State::CardOf(_) => count.card += 1,
            }
        }
        assert_eq!(self.slots.count(), count);
        assert_eq!(self.depot.free(), depot);
        let total = count.free + count.used + count.card;
        assert_eq!(self.depot.total() as usize, total);
        let chunks = self.geometry.chunks();
        assert_eq!(self.depot.present() * chunks, self.depot.total());
        for cache in &self.caches {
            assert_eq!(cache.magazine.len(), cache.stock.len());
            assert!(cache.magazine.len() <= CAPACITY);
        }
    }

    /// All go home, and each can be had again, once.
    fn end(mut self) {
        for number in 0..self.caches.len() {
            self.reclaim_of(number);
            self.flush(number);
        }
        for index in 0..self.geometry.indices() {
            match self.chunk(index).state {
                State::Used => {
                    self.slots.words()[index as usize].release();
                    self.push(index);
                }
                State::Lent => {
                    let receipt = Handle::from_raw(self.handle(index));
                    assert_eq!(self.slots.redeem(receipt), Ok(index));
                    self.push(index);
                }
                _ => self.reclaim(index),
            }
        }
        self.compare();
        while self.pop(State::Used).is_some() {}
    }
}
