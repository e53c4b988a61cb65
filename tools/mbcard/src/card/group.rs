// SPDX-License-Identifier: GPL-2.0

//! A receive group: two rings of free buffers in, one ring of returned buffers out.
//!
//! It upholds: a buffer taken from a free ring is returned, with a frame or with the error flag,
//! before the next one is taken; so no handle is lost while the return ring can be written.

use std::fmt;

use mbcard_regs as regs;
use mbcard_regs::group;
use mbcard_regs::stats;
use mbcard_regs::ErrorCode;
use mbcard_regs::FreeEntry;
use mbcard_regs::ReturnEntry;
use mbcard_regs::RingName;

use super::port::Host;
use super::port::Place;
use super::port::Port;
use super::ring::InRing;
use super::ring::OutRing;
use super::ring::Ring;

/// Why a frame was dropped: the offset of its counter in [`stats`].
pub type Dropped = usize;

/// See the head of the file.
#[derive(Clone, Debug)]
pub struct Group {
    pub small: InRing,
    pub large: InRing,
    pub returned: OutRing,
    enabled: bool,
    frames: u32,
    no_buffer: u32,
}

impl Group {
    pub fn new(number: u8) -> Self {
        let place = |ring| Place {
            ring,
            group: number,
        };
        Self {
            small: InRing::new(place(RingName::Small)),
            large: InRing::new(place(RingName::Large)),
            returned: OutRing::new(place(RingName::Return), usize::from(number)),
            enabled: false,
            frames: 0,
            no_buffer: 0,
        }
    }

    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Starts the rings; stays disabled, and the port has the report, if one is not laid out well.
    pub fn enable<H: Host>(&mut self, port: &mut Port<H>) {
        if self.enabled {
            return;
        }
        self.enabled = (self.small.layout.is_absent() || self.small.start(port))
            && self.large.start(port)
            && self.returned.start(port);
        if !self.enabled {
            self.disable();
        }
    }

    /// Stops the rings; their buffers are forgotten.
    pub fn disable(&mut self) {
        self.enabled = false;
        self.small.stop();
        self.large.stop();
        self.returned.stop();
    }

    /// Handles of the buffers that the card holds.
    pub fn handles<H: Host>(&self, host: &H) -> Vec<u32> {
        let mut handles = self.small.handles(host);
        handles.extend(self.large.handles(host));
        handles
    }

    /// The ring whose registers begin at that offset of the group's.
    pub fn ring<H: Host>(&mut self, block: usize) -> Option<&mut dyn Ring<H>> {
        match block {
            group::SMALL => Some(&mut self.small),
            group::LARGE => Some(&mut self.large),
            group::RETURN => Some(&mut self.returned),
            _ => None,
        }
    }

    /// Reads a register of the group that is no ring's.
    pub fn read(&self, register: usize) -> Option<u32> {
        match register {
            group::CONTROL => Some(u32::from(self.enabled)),
            group::RX_FRAMES => Some(self.frames),
            group::RX_NO_BUFFER => Some(self.no_buffer),
            _ => None,
        }
    }

    /// Puts a frame into a buffer and returns it, saying the length that `claim` makes of the buffer. The
    /// vector is left to the caller.
    pub fn deliver<H: Host>(
        &mut self,
        port: &mut Port<H>,
        frame: &[u8],
        claim: impl Fn(&FreeEntry) -> u32,
    ) -> Result<FreeEntry, Dropped> {
        let result = self.try_deliver(port, frame, claim);
        match result {
            Ok(_) => {
                self.frames = self.frames.wrapping_add(1);
                port.count(stats::RX_FRAMES, 1);
                port.count(stats::RX_BYTES, u64::try_from(frame.len()).unwrap_or(0));
            }
            Err(stats::RX_NO_BUFFER) => self.no_buffer = self.no_buffer.wrapping_add(1),
            Err(_) => (),
        }
        result
    }

    fn try_deliver<H: Host>(
        &mut self,
        port: &mut Port<H>,
        frame: &[u8],
        claim: impl Fn(&FreeEntry) -> u32,
    ) -> Result<FreeEntry, Dropped> {
        let mut why = stats::RX_NO_BUFFER;
        for large in [false, true] {
            match self.take(port, large, frame.len())? {
                Next::Fits(entry) => {
                    let place = self.free_ring(large).layout.place;
                    let written = port.write(place, entry.address, frame);
                    let length = if written.is_ok() { claim(&entry) } else { 0 };
                    self.give_back(port, large, entry.handle, length, written.is_err())?;
                    return written.map(|()| entry).map_err(|_| stats::RX_DMA);
                }
                Next::TooSmall => why = stats::RX_LENGTH,
                Next::Empty if large => why = stats::RX_NO_BUFFER,
                Next::Empty => (),
            }
        }
        Err(why)
    }

    /// The indices of the next buffers of the free rings, the small one's first.
    pub fn seen(&self) -> [u16; 2] {
        [self.small.next(), self.large.next()]
    }

    /// Takes the next buffer of a ring, whatever its size, without returning it.
    pub fn draw<H: Host>(&mut self, port: &mut Port<H>, large: bool) -> Option<FreeEntry> {
        let words = self.free_ring(large).peek(port).ok()??;
        self.advance(large);
        Some(FreeEntry::decode(words))
    }

    /// Looks at the next buffer of a ring. Those that no frame can use are returned on the way.
    fn take<H: Host>(
        &mut self,
        port: &mut Port<H>,
        large: bool,
        length: usize,
    ) -> Result<Next, Dropped> {
        loop {
            if self.returned.is_full() {
                return Err(stats::RX_RING_FULL);
            }
            let ring = self.free_ring(large);
            let place = ring.layout.place;
            let words = match ring.peek(port) {
                Ok(Some(words)) => words,
                Ok(None) => return Ok(Next::Empty),
                Err(_) => return Err(stats::RX_DMA),
            };
            let entry = FreeEntry::decode(words);
            if !(regs::BUFFER_SIZE_MIN..=regs::BUFFER_SIZE_MAX).contains(&entry.size) {
                port.report(ErrorCode::BufferSize, place, u64::from(entry.size));
                self.give_back(port, large, entry.handle, 0, true)?;
                continue;
            }
            let fits = usize::try_from(entry.size).is_ok_and(|size| length <= size);
            return Ok(if fits {
                Next::Fits(entry)
            } else {
                Next::TooSmall
            });
        }
    }

    /// Moves the buffer that was looked at from its free ring to the return ring.
    fn give_back<H: Host>(
        &mut self,
        port: &mut Port<H>,
        large: bool,
        handle: u32,
        length: u32,
        error: bool,
    ) -> Result<(), Dropped> {
        let entry = ReturnEntry {
            handle,
            length,
            sequence: 0,
            large,
            error,
            phase: false,
        };
        self.returned.push(port, entry).map_err(|_| stats::RX_DMA)?;
        self.advance(large);
        Ok(())
    }

    fn advance(&mut self, large: bool) {
        if large {
            self.large.advance();
        } else {
            self.small.advance();
        }
    }

    /// A ring of free buffers.
    pub fn free_ring(&self, large: bool) -> &InRing {
        if large {
            &self.large
        } else {
            &self.small
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "small {}; large {}; return {}",
            self.small, self.large, self.returned
        )
    }
}

/// What is next in a free ring.
enum Next {
    Fits(FreeEntry),
    TooSmall,
    Empty,
}
