// SPDX-License-Identifier: GPL-2.0

//! The transmitter: one ring of frames in, one ring of completions out.
//!
//! It upholds: frames are completed in the order of the send ring, each one once.

use std::fmt;

use mbcard_regs as regs;
use mbcard_regs::tx;
use mbcard_regs::ErrorCode;
use mbcard_regs::ReturnEntry;
use mbcard_regs::RingName;
use mbcard_regs::SendEntry;
use mbcard_regs::VECTOR_TX;

use super::port::Host;
use super::port::Place;
use super::port::Port;
use super::ring::InRing;
use super::ring::OutRing;
use super::ring::Ring;

/// See the head of the file.
#[derive(Clone, Debug)]
pub struct Transmitter {
    pub send: InRing,
    pub done: OutRing,
    enabled: bool,
    /// A frame of the ring in use now; kept to be used again.
    frame: Vec<u8>,
}

/// A frame taken from the send ring.
pub struct Sending {
    entry: SendEntry,
    /// The frame itself; `None` if it could not be read.
    pub frame: Option<Vec<u8>>,
}

impl Sending {
    /// What the completion gives back.
    pub fn cookie(&self) -> u32 {
        self.entry.cookie
    }
}

impl Transmitter {
    pub fn new() -> Self {
        let place = |ring| Place { ring, group: 0 };
        Self {
            send: InRing::new(place(RingName::Send)),
            done: OutRing::new(place(RingName::Done), VECTOR_TX),
            enabled: false,
            frame: Vec::new(),
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
        self.enabled = self.send.start(port) && self.done.start(port);
        if !self.enabled {
            self.disable();
        }
    }

    /// Stops the rings; frames not sent are forgotten.
    pub fn disable(&mut self) {
        self.enabled = false;
        self.send.stop();
        self.done.stop();
    }

    /// The ring whose registers begin at that offset of the transmitter's.
    pub fn ring<H: Host>(&mut self, block: usize) -> Option<&mut dyn Ring<H>> {
        match block {
            tx::SEND => Some(&mut self.send),
            tx::DONE => Some(&mut self.done),
            _ => None,
        }
    }

    /// The next frame to send, which stays in the ring until [`finish`](Transmitter::finish); `None` if
    /// there is none, no room for its completion, or its entry cannot be read.
    pub fn next<H: Host>(&mut self, port: &mut Port<H>) -> Option<Sending> {
        if !self.enabled || self.done.is_full() {
            return None;
        }
        let entry = SendEntry::decode(self.send.peek(port).ok()??);
        let place = self.send.layout.place;
        if !(regs::FRAME_LENGTH_MIN..=regs::FRAME_LENGTH_MAX).contains(&entry.length) {
            port.report(ErrorCode::FrameLength, place, u64::from(entry.length));
            return Some(Sending { entry, frame: None });
        }
        let mut frame = std::mem::take(&mut self.frame);
        frame.resize(usize::from(entry.length), 0);
        let read = port.read(place, entry.address, &mut frame);
        Some(Sending {
            entry,
            frame: read.is_ok().then_some(frame),
        })
    }

    /// Completes the frame; whether the completion could be written.
    pub fn finish<H: Host>(&mut self, port: &mut Port<H>, sending: Sending, sent: bool) -> bool {
        let Sending { entry, frame } = sending;
        self.frame = frame.unwrap_or_default();
        let done = ReturnEntry {
            handle: entry.cookie,
            length: if sent { u32::from(entry.length) } else { 0 },
            sequence: 0,
            large: false,
            error: !sent,
            phase: false,
        };
        let pushed = self.done.push(port, done).is_ok();
        if pushed {
            self.send.advance();
        }
        pushed
    }
}

impl fmt::Display for Transmitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "send {}; done {}", self.send, self.done)
    }
}
