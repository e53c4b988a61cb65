// SPDX-License-Identifier: GPL-2.0

//! What the tests of the core share: requests and geometries made in one line.

// Each test crate compiles this file and uses a part of it.
#![allow(dead_code)]

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
    slots::{
        Owner,
        Slots, //
    }, //
};

/// The page size of most machines.
pub const PAGE: usize = 4096;

/// Chunks of `size` bytes in up to `max_pages` pages, all else as small as it gets.
pub fn request(size: usize, max_pages: u32) -> Request {
    Request {
        size,
        align: 1,
        boundary: 0,
        page_size: 0,
        max_pages,
        initial_pages: 0,
        high_bits: 0,
        low_bits: 0,
    }
}

/// A geometry of a 4 KiB machine that must be accepted.
pub fn geometry(request: &Request) -> Geometry {
    match Geometry::new(request, PAGE) {
        Ok(geometry) => geometry,
        Err(refusal) => panic!("refused: {refusal}"),
    }
}

/// `pages` pages of `chunks` chunks, with `high` and `low` bits of the caller and
/// `generation` bits of generation (by making the caller's bits at the top take the rest).
pub fn small(pages: u32, chunks: u32, generation: u32, low: u32) -> Geometry {
    let index = pages.next_power_of_two().ilog2() + chunks.next_power_of_two().ilog2();
    let made = geometry(&Request {
        page_size: PAGE,
        high_bits: 32 - index - generation - low,
        low_bits: low,
        ..request(PAGE / chunks as usize, pages)
    });
    assert_eq!(made.chunks(), chunks);
    assert_eq!(made.layout().generation_bits(), generation);
    made
}

/// Pops until nothing is left; one more than there is at the most.
pub fn pop_all(depot: &mut Depot) -> impl Iterator<Item = u32> + '_ {
    let most = depot.total() as usize + 1;
    std::iter::from_fn(|| depot.pop()).take(most)
}

/// What is done to the slot of an index that is known to be good.
pub trait ByIndex {
    fn claim(&self, index: u32);
    fn release(&self, index: u32);
    fn post(&self, index: u32, owner: Owner) -> Handle;
    /// What the pool gets of the card for a handle, or why it does not.
    fn fetch(&self, handle: Handle) -> Result<u32, HandleError>;
    /// What the pool sees on the card under a handle, or why it does not.
    fn look(&self, handle: Handle) -> Result<u32, HandleError>;
}

impl ByIndex for Slots {
    fn claim(&self, index: u32) {
        self.words()[index as usize].claim();
    }

    fn release(&self, index: u32) {
        self.words()[index as usize].release();
    }

    fn post(&self, index: u32, owner: Owner) -> Handle {
        // What is on the card comes back first, for another trip.
        self.reclaim_for(index, owner);
        self.words()[index as usize].post(self.layout(), index, owner)
    }

    fn fetch(&self, handle: Handle) -> Result<u32, HandleError> {
        self.take(handle)
            .ok_or_else(|| self.why_not(handle, Owner::POOL))
    }

    fn look(&self, handle: Handle) -> Result<u32, HandleError> {
        self.peek(handle)
            .ok_or_else(|| self.why_not(handle, Owner::POOL))
    }
}

/// Slots and depot of one geometry, driven as a pool drives them.
pub struct Parts {
    pub geometry: Geometry,
    pub slots: Slots,
    pub depot: Depot,
}

impl Parts {
    /// No page yet.
    pub fn new(geometry: Geometry) -> Self {
        Self {
            geometry,
            slots: Slots::new(&geometry).expect("memory"),
            depot: Depot::new(Tables::new(&geometry).expect("memory")),
        }
    }

    /// All pages there, all chunks free.
    pub fn full(geometry: Geometry) -> Self {
        let mut parts = Self::new(geometry);
        for _ in 0..geometry.max_pages() {
            let page = parts.depot.reserve().expect("a page");
            parts.install(page);
        }
        parts
    }

    /// The memory of a reserved page has come.
    pub fn install(&mut self, page: u32) {
        self.slots.appear(page);
        self.depot.install(page);
    }

    /// The same, and one of its chunks is popped at once.
    pub fn install_and_pop(&mut self, page: u32) -> Option<u32> {
        self.slots.appear(page);
        self.depot.install_and_pop(page)
    }
}
