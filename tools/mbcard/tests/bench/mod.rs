// SPDX-License-Identifier: GPL-2.0

//! A test bench: the card's model in a fake machine, and the simplest driver that there can be.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io;
use std::sync::Arc;
use std::sync::Mutex;

use mbcard::card::Card;
use mbcard::card::Host;
use mbcard::card::Unmapped;
use mbcard::card::Wire;
use mbcard_regs as regs;
use mbcard_regs::global;
use mbcard_regs::group;
use mbcard_regs::ring;
use mbcard_regs::tx;
use mbcard_regs::ErrorReport;
use mbcard_regs::FreeEntry;
use mbcard_regs::ReturnEntry;
use mbcard_regs::SendEntry;

/// Where the fake machine's memory begins: past 4 GiB, so that both halves of addresses count.
pub const BASE: u64 = 0x1_0000_0000;
/// How much of it there is.
pub const MEMORY: usize = 4 << 20;
pub const MAC: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];

/// The fake machine.
pub struct Machine {
    memory: Mutex<Vec<u8>>,
    raised: Mutex<[u32; regs::VECTORS]>,
    /// Whether anybody listens to interrupts.
    pub listening: bool,
}

impl Machine {
    fn at(&self, address: u64, length: usize) -> Result<usize, Unmapped> {
        let offset = address.checked_sub(BASE).ok_or(Unmapped)?;
        let offset = usize::try_from(offset).map_err(|_| Unmapped)?;
        let end = offset.checked_add(length).ok_or(Unmapped)?;
        if end > MEMORY {
            return Err(Unmapped);
        }
        Ok(offset)
    }
}

impl Host for Machine {
    fn read(&self, address: u64, data: &mut [u8]) -> Result<(), Unmapped> {
        let offset = self.at(address, data.len())?;
        data.copy_from_slice(&self.memory.lock().unwrap()[offset..offset + data.len()]);
        Ok(())
    }

    fn write(&self, address: u64, data: &[u8]) -> Result<(), Unmapped> {
        let offset = self.at(address, data.len())?;
        self.memory.lock().unwrap()[offset..offset + data.len()].copy_from_slice(data);
        Ok(())
    }

    fn publish(&self, address: u64, word: u32) -> Result<(), Unmapped> {
        self.write(address, &word.to_ne_bytes())
    }

    fn reaches(&self, address: u64, length: u64) -> bool {
        self.at(address, length as usize).is_ok()
    }

    fn raise(&self, vector: usize) -> bool {
        if self.listening {
            self.raised.lock().unwrap()[vector] += 1;
        }
        self.listening
    }
}

/// A wire that keeps what was sent.
#[derive(Clone, Default)]
pub struct Kept(pub Arc<Mutex<Vec<Vec<u8>>>>);

impl Wire for Kept {
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        // Frames of ones stand for those that a wire refuses.
        if frame.iter().all(|byte| *byte == 0xff) {
            return Err(io::ErrorKind::Other.into());
        }
        self.0.lock().unwrap().push(frame.to_vec());
        Ok(())
    }
}

/// A ring as the driver sees it.
#[derive(Clone, Copy)]
pub struct Ring {
    /// Offset of its registers.
    pub registers: usize,
    pub base: u64,
    pub size: u16,
    pub index: u16,
    pub sequence: u32,
}

/// The card, the machine, and the driver's state.
pub struct Bench {
    pub card: Card<Machine>,
    pub wire: Kept,
    next: u64,
}

impl Bench {
    /// A card that may do DMA.
    pub fn new() -> Self {
        let machine = Machine {
            memory: Mutex::new(vec![0; MEMORY]),
            raised: Mutex::default(),
            listening: true,
        };
        let wire = Kept::default();
        let mut card = Card::new(machine, Box::new(wire.clone()), MAC);
        card.write_config(4, &[0x06, 0x00]);
        Self {
            card,
            wire,
            next: BASE,
        }
    }

    /// A card with these groups enabled, receiver, transmitter and all vectors on.
    pub fn with_groups(groups: usize, size: u16) -> (Self, Vec<Group>) {
        let mut bench = Self::new();
        let groups = (0..groups)
            .map(|n| Group::set_up(&mut bench, n, size))
            .collect();
        bench.write(global::INT_MASK, 0);
        bench.write(global::CONTROL, global::CONTROL_RX | global::CONTROL_TX);
        (bench, groups)
    }

    pub fn read(&mut self, register: usize) -> u32 {
        self.card.read_register(register)
    }

    pub fn write(&mut self, register: usize, value: u32) {
        self.card.write_register(register, value);
    }

    /// The counter of that name.
    pub fn counter(&self, name: &str) -> u64 {
        let counters = self.card.counters();
        counters.iter().find(|counter| counter.0 == name).unwrap().1
    }

    /// The first error since the last call.
    pub fn error(&mut self) -> Option<ErrorReport> {
        let error = ErrorReport::decode(self.read(global::ERROR));
        self.write(global::ERROR, 1);
        error
    }

    /// How often a vector was raised since the last call.
    pub fn raised(&mut self, vector: usize) -> u32 {
        std::mem::take(&mut self.card.host().raised.lock().unwrap()[vector])
    }

    pub fn memory(&mut self, address: u64, length: usize) -> Vec<u8> {
        let mut data = vec![0; length];
        self.card.host().read(address, &mut data).unwrap();
        data
    }

    pub fn set_memory(&mut self, address: u64, data: &[u8]) {
        self.card.host().write(address, data).unwrap();
    }

    /// All of the memory.
    pub fn snapshot(&mut self) -> Vec<u8> {
        self.memory(BASE, MEMORY)
    }

    /// Memory that nobody uses yet.
    pub fn allocate(&mut self, length: usize) -> u64 {
        let address = self.next;
        self.next += length.next_multiple_of(64) as u64;
        assert!(self.next <= BASE + MEMORY as u64, "out of memory");
        address
    }

    /// Lays a ring out and tells the card.
    pub fn ring(&mut self, registers: usize, size: u16) -> Ring {
        let base = self.allocate(usize::from(size) * regs::ENTRY_SIZE);
        self.set_memory(base, &vec![0; usize::from(size) * regs::ENTRY_SIZE]);
        let ring = Ring {
            registers,
            base,
            size,
            index: 0,
            sequence: 0,
        };
        let (low, high) = regs::split(base);
        self.write(registers + ring::BASE_LOW, low);
        self.write(registers + ring::BASE_HIGH, high);
        self.write(registers + ring::SIZE, u32::from(size));
        ring
    }

    /// Adds an entry to a ring that the driver fills.
    pub fn fill(&mut self, ring: &mut Ring, words: [u32; 4]) {
        let address = ring.base + regs::slot(ring.index, ring.size) as u64 * 16;
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        self.set_memory(address, &bytes);
        ring.index = ring.index.wrapping_add(1);
        self.write(ring.registers + ring::DOORBELL, u32::from(ring.index));
    }

    /// Takes all entries of a ring that the card fills, and gives the slots back.
    pub fn drain(&mut self, ring: &mut Ring) -> Vec<ReturnEntry> {
        let mut entries = Vec::new();
        loop {
            let address = ring.base + regs::slot(ring.index, ring.size) as u64 * 16;
            let bytes = self.memory(address, 16);
            let word = |n: usize| u32::from_ne_bytes(bytes[n * 4..][..4].try_into().unwrap());
            if !ReturnEntry::is_valid(word(ReturnEntry::LAST), ring.index, ring.size) {
                break;
            }
            let entry = ReturnEntry::decode([word(0), word(1), word(2), word(3)]);
            assert_eq!(entry.sequence, ring.sequence);
            ring.sequence += 1;
            ring.index = ring.index.wrapping_add(1);
            entries.push(entry);
        }
        self.write(ring.registers + ring::DOORBELL, u32::from(ring.index));
        entries
    }

    /// Gives no slot back, but arms the ring's vector.
    pub fn arm(&mut self, ring: &Ring) {
        self.write(
            ring.registers + ring::DOORBELL,
            u32::from(ring.index) | ring::ARM,
        );
    }
}

/// A receive group as the driver sees it.
#[derive(Clone, Copy)]
pub struct Group {
    pub number: usize,
    pub small: Ring,
    pub large: Ring,
    pub returned: Ring,
}

impl Group {
    /// Lays out the rings of a group, the return ring twice as long as the others, and enables it.
    pub fn set_up(bench: &mut Bench, number: usize, size: u16) -> Self {
        let group = Self {
            number,
            small: bench.ring(regs::group_register(number, group::SMALL), size),
            large: bench.ring(regs::group_register(number, group::LARGE), size),
            returned: bench.ring(regs::group_register(number, group::RETURN), size * 2),
        };
        let control = regs::group_register(number, group::CONTROL);
        bench.write(control, regs::ENABLE);
        assert_eq!(bench.read(control), regs::ENABLE, "{:?}", bench.error());
        group
    }

    /// Posts a new buffer of 256 bytes to the small ring, gives its address.
    pub fn post_small(&mut self, bench: &mut Bench, handle: u32) -> u64 {
        let address = bench.allocate(256);
        self.post(bench, false, address, handle, 256);
        address
    }

    /// Posts a new buffer of 2048 bytes to the large ring, gives its address.
    pub fn post_large(&mut self, bench: &mut Bench, handle: u32) -> u64 {
        let address = bench.allocate(2048);
        self.post(bench, true, address, handle, 2048);
        address
    }

    pub fn post(&mut self, bench: &mut Bench, large: bool, address: u64, handle: u32, size: u32) {
        let ring = if large {
            &mut self.large
        } else {
            &mut self.small
        };
        let entry = FreeEntry {
            address,
            handle,
            size,
        };
        bench.fill(ring, entry.encode());
    }

    pub fn drain(&mut self, bench: &mut Bench) -> Vec<ReturnEntry> {
        bench.drain(&mut self.returned)
    }

    /// The handles that came back.
    pub fn handles(&mut self, bench: &mut Bench) -> Vec<u32> {
        let entries = self.drain(bench);
        entries.iter().map(|entry| entry.handle).collect()
    }
}

/// The transmitter as the driver sees it.
pub struct Transmitter {
    pub send: Ring,
    pub done: Ring,
}

impl Transmitter {
    pub fn set_up(bench: &mut Bench, size: u16, done: u16) -> Self {
        let transmitter = Self {
            send: bench.ring(regs::TX_BASE + tx::SEND, size),
            done: bench.ring(regs::TX_BASE + tx::DONE, done),
        };
        bench.write(regs::TX_BASE + tx::CONTROL, regs::ENABLE);
        assert_eq!(bench.read(regs::TX_BASE + tx::CONTROL), regs::ENABLE);
        transmitter
    }

    /// Sends a frame from new memory.
    pub fn send(&mut self, bench: &mut Bench, cookie: u32, frame: &[u8]) {
        let address = bench.allocate(frame.len());
        bench.set_memory(address, frame);
        self.send_from(bench, cookie, address, frame.len() as u16);
    }

    pub fn send_from(&mut self, bench: &mut Bench, cookie: u32, address: u64, length: u16) {
        let entry = SendEntry {
            address,
            cookie,
            length,
        };
        bench.fill(&mut self.send, entry.encode());
    }

    pub fn drain(&mut self, bench: &mut Bench) -> Vec<ReturnEntry> {
        bench.drain(&mut self.done)
    }
}

/// A frame of that length whose bytes tell `tag`.
pub fn frame(tag: u8, length: usize) -> Vec<u8> {
    let mut frame = vec![tag; length];
    frame[..6].copy_from_slice(&MAC);
    frame
}
