// SPDX-License-Identifier: GPL-2.0

//! The card's registers, as the rest of the driver asks for them.
//!
//! Register numbers and encodings are in [`regs`], which the card is compiled from too.

#[expect(
    dead_code,
    unreachable_pub,
    reason = "half of it is for the card, for which it is a crate"
)]
#[path = "../../tools/mbcard-regs/src/regs.rs"]
pub(crate) mod regs;

use self::regs::{
    global,
    ring,
    stats, //
};
use crate::ring::Ring;
use kernel::{
    device::{
        Bound,
        Device, //
    },
    io::{
        poll::read_poll_timeout,
        Io, //
    },
    pci,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    time::Delta, //
};

/// Errors of the card that the log gets until the next reset: a card may claim as many as it likes.
const REPORTS: u32 = 8;

/// A mapped card. All methods work in any context, [`Card::new`] and [`Card::reset`] excepted.
pub(crate) struct Card<'bound> {
    dev: &'bound Device<Bound>,
    bar: pci::Bar<'bound, { regs::BAR_REGISTERS_SIZE }>,
    /// Errors that the log got since the last reset.
    reports: Atomic<u32>,
}

impl<'bound> Card<'bound> {
    /// Maps the registers and checks that they are those of a card that we know. May sleep.
    pub(crate) fn new(pdev: &'bound pci::Device<Bound>) -> Result<Self> {
        let card = Self {
            dev: pdev.as_ref(),
            bar: pdev.iomap_region_sized(regs::BAR_REGISTERS, c"mbnic")?,
            reports: Atomic::new(0),
        };
        let (id, version) = (card.read(global::ID), card.read(global::VERSION));
        if id != regs::ID || version >> 16 != regs::VERSION >> 16 {
            dev_err!(card.dev, "unknown card: id {id:#x}, version {version:#x}\n");
            return Err(ENODEV);
        }
        Ok(card)
    }

    /// The device that the card is.
    pub(crate) fn device(&self) -> &'bound Device<Bound> {
        self.dev
    }

    /// Reads a register; all ones if it is out of bounds.
    fn read(&self, offset: usize) -> u32 {
        self.bar.try_read32(offset).unwrap_or(u32::MAX)
    }

    /// Writes a register, after all writes to memory before it.
    fn write(&self, offset: usize, value: u32) {
        // Only a number of a group that the card does not have could make this fail.
        if self.bar.try_write32(value, offset).is_err() {
            dev_err!(self.dev, "no register at {offset:#x}\n");
        }
    }

    /// Stops the card: it forgets all buffers and rings, masks its interrupts, and does no more
    /// DMA. Sleeps.
    pub(crate) fn reset(&self) -> Result {
        self.reports.store(0, Relaxed);
        self.write(global::CONTROL, global::CONTROL_RESET);
        let ready = read_poll_timeout(
            || Ok(self.read(global::STATUS)),
            |status| *status != u32::MAX && status & global::STATUS_READY != 0,
            Delta::from_micros(100),
            Delta::from_millis(2000),
        );
        ready.map(|_| ()).inspect_err(|_| {
            dev_err!(self.dev, "reset: the card is not ready after 2 s\n");
        })
    }

    /// Starts receiver, transmitter and interrupts.
    pub(crate) fn start(&self) {
        self.write(global::INT_MASK, 0);
        self.write(global::EVENT, global::EVENT_LINK | global::EVENT_ERROR);
        self.write(global::CONTROL, global::CONTROL_RX | global::CONTROL_TX);
    }

    /// Tells the card where a ring lies; `base` is the ring's offset among the registers.
    pub(crate) fn set_ring(&self, base: usize, entries: &Ring) {
        let (low, high) = regs::split(entries.dma_address());
        self.write(base + ring::BASE_LOW, low);
        self.write(base + ring::BASE_HIGH, high);
        self.write(base + ring::SIZE, u32::from(entries.size()));
    }

    /// Enables a group or the transmitter, whose rings the card now checks: `EINVAL` when it refuses
    /// them.
    pub(crate) fn enable(&self, control: usize) -> Result {
        self.write(control, regs::ENABLE);
        if self.read(control) & regs::ENABLE != 0 {
            return Ok(());
        }
        self.report_error();
        Err(EINVAL)
    }

    /// Tells the card how far the driver has come in a ring.
    pub(crate) fn doorbell(&self, base: usize, index: u16, arm: bool) {
        let arm = if arm { ring::ARM } else { 0 };
        self.write(base + ring::DOORBELL, u32::from(index) | arm);
    }

    /// Takes the events that happened, reports an error if there was one, and enables the vector again.
    pub(crate) fn take_events(&self) {
        let events = self.read(global::EVENT);
        if events & global::EVENT_ERROR != 0 {
            self.report_error();
        }
        self.write(global::EVENT, events);
    }

    /// Writes the card's error to the log, if that has room for it, and clears it.
    fn report_error(&self) {
        let word = self.read(global::ERROR);
        // Two at once may write a line more.
        let reports = self.reports.load(Relaxed);
        if let Some(error) = regs::ErrorReport::decode(word).filter(|_| reports < REPORTS) {
            self.reports.store(reports + 1, Relaxed);
            let (code, ring, group) = (error.code, error.ring, error.group);
            dev_err!(self.dev, "card: {code:?}, ring {ring:?} of group {group}\n");
        }
        self.write(global::ERROR, 0);
    }

    /// Whether the link is up.
    pub(crate) fn link(&self) -> bool {
        self.read(global::STATUS) & global::STATUS_LINK != 0
    }

    /// Number of receive groups.
    pub(crate) fn groups(&self) -> usize {
        let groups = self.read(global::FEATURES) & global::FEATURE_GROUPS;
        // CAST: At most 255.
        (groups as usize).min(regs::GROUPS)
    }

    /// The station's address.
    pub(crate) fn address(&self) -> [u8; 6] {
        let [a, b, c, d] = self.read(global::MAC_LOW).to_le_bytes();
        let [e, f, ..] = self.read(global::MAC_HIGH).to_le_bytes();
        [a, b, c, d, e, f]
    }

    /// Frames since the last reset that found no buffer, or no room in a return ring, if the card is to be
    /// believed.
    pub(crate) fn missed(&self) -> u64 {
        let no_buffer = self.counter(stats::RX_NO_BUFFER);
        no_buffer.wrapping_add(self.counter(stats::RX_RING_FULL))
    }

    /// A counter of the card, by its offset in [`stats`]. It may be any number.
    pub(crate) fn counter(&self, offset: usize) -> u64 {
        let base = regs::STATS_BASE + offset;
        // The card keeps the high half while the low one is read.
        let (low, high) = (self.read(base), self.read(base + 4));
        regs::join(low, high)
    }
}
