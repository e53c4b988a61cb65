// SPDX-License-Identifier: GPL-2.0

//! A ring of entries in memory that driver and card share.

use crate::card::{
    regs,
    regs::ReturnEntry, //
};
use kernel::{
    device::{
        Bound,
        Device, //
    },
    dma::{
        Coherent,
        DmaAddress, //
    },
    io::{
        io_project,
        io_read,
        Io, //
    },
    prelude::*,
    sync::barrier::{
        dma_mb,
        Read, //
    }, //
};

/// The four words of an entry, little endian.
type Words = [u32; 4];

/// A ring, and how far the driver has come in it.
///
/// Who pushes must know that there is room: as many entries as the ring has may be on their way, and
/// each entry that the card gives back in another ring frees one.
pub(crate) struct Ring {
    entries: Coherent<[Words]>,
    size: u16,
    index: u16,
}

impl Ring {
    /// Allocates a ring of `size` entries, a power of two. May sleep.
    pub(crate) fn new(dev: &Device<Bound>, size: u16) -> Result<Self> {
        if !regs::ring_size_is_valid(u32::from(size)) {
            return Err(EINVAL);
        }
        Ok(Self {
            entries: Coherent::zeroed_slice(dev, usize::from(size), GFP_KERNEL)?,
            size,
            index: 0,
        })
    }

    /// Number of entries.
    pub(crate) fn size(&self) -> u16 {
        self.size
    }

    /// The index after the last entry that was pushed or popped.
    pub(crate) fn index(&self) -> u16 {
        self.index
    }

    /// Where the card finds the ring; aligned as it wants it, since coherent memory is to a page.
    pub(crate) fn dma_address(&self) -> DmaAddress {
        self.entries.dma_address()
    }

    /// Begins anew, while the card does not use the ring.
    pub(crate) fn clear(&mut self) {
        for index in 0..self.size {
            self.write(index, [0; 4]);
        }
        self.index = 0;
    }

    /// Fills the next entry; the card looks at it after the next doorbell.
    pub(crate) fn push(&mut self, words: Words) {
        self.write(self.index, words);
        self.index = self.index.wrapping_add(1);
    }

    /// Takes the next entry that the card has filled, if it has.
    pub(crate) fn pop(&mut self) -> Option<ReturnEntry> {
        let words = self.read_valid(self.index).ok()??;
        self.index = self.index.wrapping_add(1);
        Some(ReturnEntry::decode(words))
    }

    /// Reads the entry at `index` if the card has filled it.
    fn read_valid(&self, index: u16) -> Result<Option<Words>> {
        let slot = regs::slot(index, self.size);
        let last = io_read!(&self.entries, [try: slot][build: ReturnEntry::LAST]);
        if !ReturnEntry::is_valid(last, index, self.size) {
            return Ok(None);
        }
        // The card writes the last word last, so we read it first. And each word once: the card may write
        // another one at any time, and what was checked is to be what is used.
        dma_mb(Read);
        Ok(Some([
            io_read!(&self.entries, [try: slot][build: 0]),
            io_read!(&self.entries, [try: slot][build: 1]),
            io_read!(&self.entries, [try: slot][build: 2]),
            last,
        ]))
    }

    /// Writes the entry at `index`.
    fn write(&self, index: u16, words: Words) {
        let slot = regs::slot(index, self.size);
        let write = || -> Result {
            io_project!(&self.entries, [try: slot]).copy_write(words);
            Ok(())
        };
        // A slot is less than the size by construction.
        let _ = write();
    }
}
