// SPDX-License-Identifier: GPL-2.0

//! The card's port to its host: DMA, interrupts, errors and counters.
//!
//! Every access of the card to the host's memory goes through [`Port`], which upholds: no DMA without
//! bus mastering; each access that fails is counted and reported; nothing is raised while silent.

use mbcard_regs::global;
use mbcard_regs::stats;
use mbcard_regs::ErrorCode;
use mbcard_regs::ErrorReport;
use mbcard_regs::RingName;
use mbcard_regs::VECTORS;
use mbcard_regs::VECTOR_MISC;

/// What the card needs of the machine it sits in.
pub trait Host: Send {
    /// Reads guest memory; all of it or nothing.
    fn read(&self, address: u64, data: &mut [u8]) -> Result<(), Unmapped>;
    /// Writes guest memory; all of it or nothing.
    fn write(&self, address: u64, data: &[u8]) -> Result<(), Unmapped>;
    /// Writes one aligned word after all that was written before it.
    fn publish(&self, address: u64, word: u32) -> Result<(), Unmapped>;
    /// Whether the card can reach these bytes.
    fn reaches(&self, address: u64, length: u64) -> bool;
    /// Raises a vector; false if nobody listens to it yet.
    fn raise(&self, vector: usize) -> bool;
}

/// The address is not mapped for this access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmapped;

/// An access that did not take place. It is reported already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault;

/// What an error is about.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub ring: RingName,
    pub group: u8,
}

impl Place {
    /// The card as a whole.
    pub const CARD: Place = Place {
        ring: RingName::None,
        group: 0,
    };
}

/// All vectors masked.
const MASK_ALL: u32 = (1 << VECTORS) - 1;

/// See the head of the file.
pub struct Port<H> {
    pub host: H,
    /// PCI bus mastering is on.
    pub bus_master: bool,
    /// No DMA is started and no interrupt raised.
    pub silent: bool,
    counters: [u64; stats::COUNT],
    mask: u32,
    events: u32,
    misc_armed: bool,
    error: u32,
    error_info: u64,
    error_count: u32,
}

impl<H: Host> Port<H> {
    pub fn new(host: H) -> Self {
        Self {
            host,
            bus_master: false,
            silent: false,
            counters: [0; stats::COUNT],
            mask: MASK_ALL,
            events: 0,
            misc_armed: true,
            error: 0,
            error_info: 0,
            error_count: 0,
        }
    }

    /// Back to the state after power on. Bus mastering is PCI's and stays.
    pub fn reset(&mut self) {
        self.silent = false;
        self.counters = [0; stats::COUNT];
        self.mask = MASK_ALL;
        self.events = 0;
        self.misc_armed = true;
        self.error = 0;
        self.error_info = 0;
        self.error_count = 0;
    }

    /// Adds to the counter with that offset in [`stats`].
    pub fn count(&mut self, counter: usize, by: u64) {
        if let Some(value) = self.counters.get_mut(counter / 8) {
            *value = value.wrapping_add(by);
        }
    }

    /// The counter with that offset in [`stats`].
    pub fn counter(&self, counter: usize) -> Option<u64> {
        self.counters.get(counter / 8).copied()
    }

    /// Reports an error: all are counted, the first one stays in the register.
    pub fn report(&mut self, code: ErrorCode, place: Place, info: u64) {
        self.error_count = self.error_count.saturating_add(1);
        if self.error == 0 {
            self.error = ErrorReport {
                code,
                ring: place.ring,
                group: place.group,
            }
            .encode();
            self.error_info = info;
            self.event(global::EVENT_ERROR);
        }
    }

    pub fn clear_error(&mut self) {
        self.error = 0;
        self.error_info = 0;
    }

    pub fn error(&self) -> u32 {
        self.error
    }

    pub fn error_info(&self) -> u64 {
        self.error_info
    }

    pub fn error_count(&self) -> u32 {
        self.error_count
    }

    /// DMA read.
    pub fn read(&mut self, place: Place, address: u64, data: &mut [u8]) -> Result<(), Fault> {
        self.master(place, address)?;
        self.host.read(address, data).map_err(|Unmapped| {
            self.count(stats::DMA_ERRORS, 1);
            self.report(ErrorCode::DmaRead, place, address);
            Fault
        })
    }

    /// DMA write.
    pub fn write(&mut self, place: Place, address: u64, data: &[u8]) -> Result<(), Fault> {
        self.master(place, address)?;
        let result = self.host.write(address, data);
        self.written(result, place, address)
    }

    /// DMA write of a word that makes all that was written before it valid.
    pub fn publish(&mut self, place: Place, address: u64, word: u32) -> Result<(), Fault> {
        self.master(place, address)?;
        let result = self.host.publish(address, word);
        self.written(result, place, address)
    }

    fn written(
        &mut self,
        result: Result<(), Unmapped>,
        place: Place,
        address: u64,
    ) -> Result<(), Fault> {
        result.map_err(|Unmapped| {
            self.count(stats::DMA_ERRORS, 1);
            self.report(ErrorCode::DmaWrite, place, address);
            Fault
        })
    }

    fn master(&mut self, place: Place, address: u64) -> Result<(), Fault> {
        if self.bus_master {
            return Ok(());
        }
        self.count(stats::DMA_BLOCKED, 1);
        self.report(ErrorCode::BusMaster, place, address);
        Err(Fault)
    }

    pub fn mask(&self) -> u32 {
        self.mask
    }

    /// Takes a new mask; false, and nothing changes, if it has bits of no vector.
    pub fn set_mask(&mut self, mask: u32) -> bool {
        let valid = mask & !MASK_ALL == 0;
        if valid {
            self.mask = mask;
        }
        valid
    }

    pub fn events(&self) -> u32 {
        self.events
    }

    /// Notes an event of the whole card.
    pub fn event(&mut self, event: u32) {
        self.events |= event;
        self.fire_misc();
    }

    /// Claims events and an error that there were not.
    pub fn claim(&mut self, events: u32, error: u32, info: u64) {
        self.error = error;
        self.error_info = info;
        self.event(events);
    }

    /// The driver has seen these events.
    pub fn acknowledge(&mut self, events: u32) {
        self.events &= !events;
        self.misc_armed = true;
        self.fire_misc();
    }

    /// Raises the vector of events if there are any and it is armed.
    pub fn fire_misc(&mut self) {
        if self.events != 0 && self.misc_armed && self.fire(VECTOR_MISC) {
            self.misc_armed = false;
        }
    }

    /// Raises a vector unless it is masked; whether it was raised.
    pub fn fire(&mut self, vector: usize) -> bool {
        if self.silent || (self.mask >> vector) & 1 != 0 {
            return false;
        }
        self.force(vector)
    }

    /// Raises a vector even if it is masked; whether anybody listened.
    pub fn force(&mut self, vector: usize) -> bool {
        let raised = self.host.raise(vector);
        if raised {
            self.count(stats::INTERRUPTS, 1);
        }
        raised
    }
}
