// SPDX-License-Identifier: GPL-2.0

//! Rings: what the registers hold of one, and the card's side of both kinds.
//!
//! [`InRing`] is filled by the driver, [`OutRing`] by the card. Both uphold, while they run: the size is a
//! valid one, and the distance between the two indices is never greater than the size.

use std::fmt;

use mbcard_regs as regs;
use mbcard_regs::ring;
use mbcard_regs::ErrorCode;
use mbcard_regs::ReturnEntry;

use super::port::Fault;
use super::port::Host;
use super::port::Place;
use super::port::Port;

/// What both kinds of ring have for the registers.
pub trait Ring<H: Host> {
    /// The registers that say where the ring lies.
    fn layout(&mut self) -> &mut Layout;
    /// The card's index.
    fn card_index(&self) -> u16;
    /// The driver rings the doorbell.
    fn doorbell(&mut self, port: &mut Port<H>, value: u32);
}

/// Bytes in front of the last word of an entry.
const BODY: usize = regs::ENTRY_SIZE - 4;

/// The registers that say where a ring lies.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    base: u64,
    size: u32,
    pub place: Place,
}

impl Layout {
    pub fn new(place: Place) -> Self {
        Self {
            base: 0,
            size: 0,
            place,
        }
    }

    /// The driver gave this ring no size.
    pub fn is_absent(&self) -> bool {
        self.size == 0
    }

    pub fn read(&self, register: usize) -> Option<u32> {
        let (low, high) = regs::split(self.base);
        match register {
            ring::BASE_LOW => Some(low),
            ring::BASE_HIGH => Some(high),
            ring::SIZE => Some(self.size),
            _ => None,
        }
    }

    /// Whether there is such a register.
    pub fn write(&mut self, register: usize, value: u32) -> bool {
        let (low, high) = regs::split(self.base);
        match register {
            ring::BASE_LOW => self.base = regs::join(value, high),
            ring::BASE_HIGH => self.base = regs::join(low, value),
            ring::SIZE => self.size = value,
            _ => return false,
        }
        true
    }

    /// The number of entries, if the ring can be used as it is laid out; else it is reported why not.
    fn check<H: Host>(&self, port: &mut Port<H>) -> Option<u16> {
        let size = u16::try_from(self.size)
            .ok()
            .filter(|_| regs::ring_size_is_valid(self.size));
        let Some(size) = size else {
            port.report(ErrorCode::RingSize, self.place, u64::from(self.size));
            return None;
        };
        if self.base % regs::RING_ALIGN != 0 {
            port.report(ErrorCode::RingAlign, self.place, self.base);
            return None;
        }
        let length = u64::from(size) * 16;
        if !port.host.reaches(self.base, length) {
            port.report(ErrorCode::RingAddress, self.place, self.base);
            return None;
        }
        Some(size)
    }

    /// Address of the entry at `index`.
    fn address(&self, index: u16, size: u16) -> u64 {
        let offset = u64::from(index & size.wrapping_sub(1)) * 16;
        self.base.wrapping_add(offset)
    }
}

/// A ring that the driver fills: free buffers, or frames to send.
#[derive(Clone, Debug)]
pub struct InRing {
    pub layout: Layout,
    /// Entries; 0 while the ring does not run.
    size: u16,
    driver: u16,
    card: u16,
}

impl InRing {
    pub fn new(place: Place) -> Self {
        Self {
            layout: Layout::new(place),
            size: 0,
            driver: 0,
            card: 0,
        }
    }

    /// Starts the ring; false, and reported, if it is not laid out well.
    pub fn start<H: Host>(&mut self, port: &mut Port<H>) -> bool {
        let size = self.layout.check(port);
        self.size = size.unwrap_or(0);
        size.is_some()
    }

    /// Stops the ring; what it held is forgotten.
    pub fn stop(&mut self) {
        self.size = 0;
        self.driver = 0;
        self.card = 0;
    }

    /// How many entries are filled.
    pub fn held(&self) -> u16 {
        self.driver.wrapping_sub(self.card)
    }

    /// Reads the next entry and leaves it in the ring; `None` if there is none.
    pub fn peek<H: Host>(&self, port: &mut Port<H>) -> Result<Option<[u32; 4]>, Fault> {
        if self.held() == 0 {
            return Ok(None);
        }
        self.entry(port, self.card).map(Some)
    }

    /// Takes the entry that [`peek`](InRing::peek) gave.
    pub fn advance(&mut self) {
        if self.held() != 0 {
            self.card = self.card.wrapping_add(1);
        }
    }

    /// The entries from `index` on that the driver has filled, and the index after them; those that cannot
    /// be read are left out.
    pub fn entries<H: Host>(&self, port: &mut Port<H>, index: u16) -> (Vec<[u32; 4]>, u16) {
        let count = self.driver.wrapping_sub(index);
        let indices = (0..count).map(|n| index.wrapping_add(n));
        let entries = indices.filter_map(|index| self.entry(port, index).ok());
        (entries.collect(), self.driver)
    }

    /// The index of the next entry.
    pub fn next(&self) -> u16 {
        self.card
    }

    /// The third word, a handle, of each entry in the ring; those that cannot be read are left out.
    pub fn handles<H: Host>(&self, host: &H) -> Vec<u32> {
        let mut handles = Vec::with_capacity(usize::from(self.held()));
        let mut index = self.card;
        while index != self.driver {
            let mut word = [0; 4];
            let address = self.layout.address(index, self.size).wrapping_add(8);
            if host.read(address, &mut word).is_ok() {
                handles.push(u32::from_le_bytes(word));
            }
            index = index.wrapping_add(1);
        }
        handles
    }

    fn entry<H: Host>(&self, port: &mut Port<H>, index: u16) -> Result<[u32; 4], Fault> {
        let mut bytes = [0; regs::ENTRY_SIZE];
        let address = self.layout.address(index, self.size);
        port.read(self.layout.place, address, &mut bytes)?;
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = bytes.try_into().map_or(0, u32::from_ne_bytes);
        }
        Ok(words)
    }
}

impl fmt::Display for InRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} filled", self.held(), self.size)
    }
}

impl<H: Host> Ring<H> for InRing {
    fn layout(&mut self) -> &mut Layout {
        &mut self.layout
    }

    fn card_index(&self) -> u16 {
        self.card
    }

    fn doorbell(&mut self, port: &mut Port<H>, value: u32) {
        if value & !ring::DOORBELL_INDEX != 0 {
            port.report(ErrorCode::Value, self.layout.place, u64::from(value));
            return;
        }
        let driver = regs::low_half(value);
        let held = driver.wrapping_sub(self.card);
        if held > self.size || held < self.held() {
            port.report(ErrorCode::RingIndex, self.layout.place, u64::from(value));
            return;
        }
        self.driver = driver;
    }
}

/// A ring that the card fills: returned buffers, or completions.
#[derive(Clone, Debug)]
pub struct OutRing {
    pub layout: Layout,
    vector: usize,
    /// Entries; 0 while the ring does not run.
    size: u16,
    driver: u16,
    card: u16,
    sequence: u32,
    armed: bool,
}

impl OutRing {
    pub fn new(place: Place, vector: usize) -> Self {
        Self {
            layout: Layout::new(place),
            vector,
            size: 0,
            driver: 0,
            card: 0,
            sequence: 0,
            armed: false,
        }
    }

    /// Starts the ring; false, and reported, if it is not laid out well.
    pub fn start<H: Host>(&mut self, port: &mut Port<H>) -> bool {
        let size = self.layout.check(port);
        self.size = size.unwrap_or(0);
        size.is_some()
    }

    /// Stops the ring; what it held is forgotten.
    pub fn stop(&mut self) {
        self.size = 0;
        self.driver = 0;
        self.card = 0;
        self.sequence = 0;
        self.armed = false;
    }

    fn unconsumed(&self) -> u16 {
        self.card.wrapping_sub(self.driver)
    }

    pub fn is_full(&self) -> bool {
        self.unconsumed() >= self.size
    }

    /// The ring's vector has a cause.
    pub fn is_pending(&self) -> bool {
        self.unconsumed() != 0
    }

    /// Adds an entry, whose sequence and phase are set here. The caller has seen that there is room.
    pub fn push<H: Host>(
        &mut self,
        port: &mut Port<H>,
        mut entry: ReturnEntry,
    ) -> Result<(), Fault> {
        entry.sequence = self.sequence;
        entry.phase = self.phase();
        self.put(port, entry.encode())
    }

    /// The phase that the next entry is to have.
    pub fn phase(&self) -> bool {
        regs::phase(self.card, self.size)
    }

    /// The sequence that the next entry is to have.
    pub fn sequence(&self) -> u32 {
        self.sequence
    }

    /// Adds an entry as it is, whether there is room or not.
    pub fn put<H: Host>(&mut self, port: &mut Port<H>, entry: [u32; 4]) -> Result<(), Fault> {
        let [handle, length, sequence, last] = entry;
        let mut body = [0; BODY];
        for (bytes, word) in body.chunks_exact_mut(4).zip([handle, length, sequence]) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        let address = self.layout.address(self.card, self.size);
        port.write(self.layout.place, address, &body)?;
        port.publish(self.layout.place, address.wrapping_add(12), last)?;
        self.card = self.card.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(1);
        Ok(())
    }

    /// Writes a word of the entry that was added last, whether the driver has consumed it or not.
    pub fn rewrite<H: Host>(&self, port: &mut Port<H>, word: u8, value: u32) -> Result<(), Fault> {
        let address = self.layout.address(self.card.wrapping_sub(1), self.size);
        let address = address.wrapping_add(u64::from(word) * 4);
        port.publish(self.layout.place, address, value)
    }

    /// Leaves out so many places.
    pub fn skip(&mut self, places: u16) {
        self.card = self.card.wrapping_add(places);
    }

    /// Places that hold nothing which the driver has still to consume.
    pub fn room(&self) -> u16 {
        self.size.saturating_sub(self.unconsumed())
    }

    /// Raises the vector once if it is armed and has a cause.
    pub fn fire<H: Host>(&mut self, port: &mut Port<H>) {
        if self.armed && self.is_pending() && port.fire(self.vector) {
            self.armed = false;
        }
    }
}

impl fmt::Display for OutRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let armed = if self.armed { "armed" } else { "not armed" };
        write!(
            f,
            "{} of {} unconsumed, {armed}",
            self.unconsumed(),
            self.size
        )
    }
}

impl<H: Host> Ring<H> for OutRing {
    fn layout(&mut self) -> &mut Layout {
        &mut self.layout
    }

    fn card_index(&self) -> u16 {
        self.card
    }

    fn doorbell(&mut self, port: &mut Port<H>, value: u32) {
        if value & !(ring::DOORBELL_INDEX | ring::ARM) != 0 {
            port.report(ErrorCode::Value, self.layout.place, u64::from(value));
            return;
        }
        let driver = regs::low_half(value);
        if self.size == 0 || self.card.wrapping_sub(driver) > self.unconsumed() {
            port.report(ErrorCode::RingIndex, self.layout.place, u64::from(value));
            return;
        }
        self.driver = driver;
        if value & ring::ARM != 0 {
            self.armed = true;
            self.fire(port);
        }
    }
}
