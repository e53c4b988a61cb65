// SPDX-License-Identifier: GPL-2.0

//! BAR 0: what a read gives and what a write does.
//!
//! It upholds: any access is answered; one that makes no sense is reported in
//! [`global::ERROR`], changes nothing else, and reads as all ones.

use std::net::Ipv4Addr;

use mbcard_regs as regs;
use mbcard_regs::global;
use mbcard_regs::group;
use mbcard_regs::lab;
use mbcard_regs::ring;
use mbcard_regs::tx;
use mbcard_regs::ErrorCode;
use mbcard_regs::Tally;

use super::port::Host;
use super::port::Place;
use super::port::Port;
use super::ring::Ring;
use super::Card;

/// Bytes that the registers of one ring take.
const RING_BLOCK: usize = 0x20;

/// What registers keep that has no other home.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latches {
    /// High half of the counter whose low half was read last.
    stats_high: u32,
    pub lab_arg: u64,
    seed: u32,
    rate: u32,
    udp: u32,
}

/// The part of BAR 0 that an offset lies in, and the offset there.
enum Block {
    Global(usize),
    Group(usize, usize),
    Transmit(usize),
    Stats(usize),
    Lab(usize),
}

impl Block {
    fn of(offset: usize) -> Option<Block> {
        let groups_end = regs::GROUP_BASE + regs::GROUPS * regs::GROUP_STRIDE;
        match offset {
            0..0x1000 => Some(Block::Global(offset)),
            regs::GROUP_BASE.. if offset < groups_end => {
                let offset = offset - regs::GROUP_BASE;
                Some(Block::Group(
                    offset / regs::GROUP_STRIDE,
                    offset % regs::GROUP_STRIDE,
                ))
            }
            regs::TX_BASE..0x3000 => Some(Block::Transmit(offset - regs::TX_BASE)),
            regs::STATS_BASE..0x4000 => Some(Block::Stats(offset - regs::STATS_BASE)),
            regs::LAB_BASE..0x5000 => Some(Block::Lab(offset - regs::LAB_BASE)),
            _ => None,
        }
    }
}

impl<H: Host> Card<H> {
    /// Reads from BAR 0: 4 bytes, or 8 as two registers.
    pub fn read_bar(&mut self, offset: usize, data: &mut [u8]) {
        if matches!(data.len(), 4 | 8) && offset % 4 == 0 {
            for (n, bytes) in data.chunks_exact_mut(4).enumerate() {
                let value = self.read_register(offset.wrapping_add(n * 4));
                bytes.copy_from_slice(&value.to_le_bytes());
            }
        } else {
            self.bad_register(offset);
            data.fill(0xff);
        }
    }

    /// Writes to BAR 0: 4 bytes, or 8 as two registers.
    pub fn write_bar(&mut self, offset: usize, data: &[u8]) {
        if matches!(data.len(), 4 | 8) && offset % 4 == 0 {
            for (n, bytes) in data.chunks_exact(4).enumerate() {
                let value = bytes.try_into().map_or(0, u32::from_le_bytes);
                self.write_register(offset.wrapping_add(n * 4), value);
            }
        } else {
            self.bad_register(offset);
        }
    }

    /// Reads a register.
    pub fn read_register(&mut self, offset: usize) -> u32 {
        let value = match Block::of(offset) {
            Some(Block::Global(register)) => self.read_global(register),
            Some(Block::Group(n, register)) => self.read_group(n, register),
            Some(Block::Transmit(register)) => self.read_transmit(register),
            Some(Block::Stats(register)) => self.read_stats(register),
            Some(Block::Lab(register)) => self.read_lab(register),
            None => None,
        };
        value.unwrap_or_else(|| {
            self.bad_register(offset);
            u32::MAX
        })
    }

    /// Writes a register.
    pub fn write_register(&mut self, offset: usize, value: u32) {
        let known = match Block::of(offset) {
            Some(Block::Global(register)) => self.write_global(register, value),
            Some(Block::Group(n, register)) => self.write_group(n, register, value),
            Some(Block::Transmit(register)) => self.write_transmit(register, value),
            Some(Block::Lab(register)) => self.write_lab(register, value),
            Some(Block::Stats(_)) | None => false,
        };
        if !known {
            self.bad_register(offset);
        }
    }

    fn bad_register(&mut self, offset: usize) {
        let offset = u64::try_from(offset).unwrap_or(u64::MAX);
        self.port.report(ErrorCode::Register, Place::CARD, offset);
    }

    fn bad_value(&mut self, value: u32) {
        self.port
            .report(ErrorCode::Value, Place::CARD, u64::from(value));
    }

    fn read_global(&self, register: usize) -> Option<u32> {
        let [m0, m1, m2, m3, m4, m5] = self.mac;
        let (info_low, info_high) = regs::split(self.port.error_info());
        Some(match register {
            global::ID => regs::ID,
            global::VERSION => regs::VERSION,
            global::FEATURES => u32::try_from(regs::GROUPS).unwrap_or(0) | global::FEATURE_LAB,
            global::CONTROL => {
                bit(self.receive, global::CONTROL_RX) | bit(self.transmit, global::CONTROL_TX)
            }
            global::STATUS => {
                global::STATUS_READY
                    | bit(self.link, global::STATUS_LINK)
                    | bit(self.port.bus_master, global::STATUS_BUS_MASTER)
            }
            global::MAC_LOW => u32::from_le_bytes([m0, m1, m2, m3]),
            global::MAC_HIGH => u32::from_le_bytes([m4, m5, 0, 0]),
            global::ERROR => self.port.error(),
            global::ERROR_COUNT => self.port.error_count(),
            global::ERROR_INFO_LOW => info_low,
            global::ERROR_INFO_HIGH => info_high,
            global::INT_MASK => self.port.mask(),
            global::INT_PENDING => self.pending(),
            global::EVENT => self.port.events(),
            global::STEER => self.steer.mode(),
            _ => return None,
        })
    }

    /// A bit for each vector that has a cause.
    fn pending(&self) -> u32 {
        let groups = self.groups.iter().enumerate();
        groups.fold(
            bit(self.transmitter.done.is_pending(), 1 << regs::VECTOR_TX)
                | bit(self.port.events() != 0, 1 << regs::VECTOR_MISC),
            |pending, (n, group)| pending | bit(group.returned.is_pending(), 1 << n),
        )
    }

    fn write_global(&mut self, register: usize, value: u32) -> bool {
        match register {
            global::CONTROL => self.write_control(value),
            global::ERROR => self.port.clear_error(),
            global::INT_MASK => {
                if self.port.set_mask(value) {
                    self.run();
                } else {
                    self.bad_value(value);
                }
            }
            global::EVENT => self.port.acknowledge(value),
            global::STEER => {
                if !self.steer.set_mode(value) {
                    self.bad_value(value);
                }
            }
            _ => return false,
        }
        true
    }

    fn write_control(&mut self, value: u32) {
        let known = global::CONTROL_RESET | global::CONTROL_RX | global::CONTROL_TX;
        if value & !known != 0 {
            self.bad_value(value);
        } else if value & global::CONTROL_RESET != 0 {
            self.reset();
        } else {
            self.receive = value & global::CONTROL_RX != 0;
            self.transmit = value & global::CONTROL_TX != 0;
            self.run();
        }
    }

    fn read_group(&mut self, n: usize, register: usize) -> Option<u32> {
        let group = self.groups.get_mut(n)?;
        let (block, offset) = split_block(register);
        match group.ring::<H>(block) {
            Some(ring) => read_ring(ring, offset),
            None => group.read(register),
        }
    }

    fn write_group(&mut self, n: usize, register: usize, value: u32) -> bool {
        let Some(group) = self.groups.get_mut(n) else {
            return false;
        };
        let enabled = group.is_enabled();
        let (block, offset) = split_block(register);
        if let Some(ring) = group.ring(block) {
            return write_ring(&mut self.port, ring, enabled, offset, value);
        }
        if register != group::CONTROL {
            return false;
        }
        match value {
            0 => self.forget_group(n),
            regs::ENABLE => group.enable(&mut self.port),
            _ => self.bad_value(value),
        }
        true
    }

    fn read_transmit(&mut self, register: usize) -> Option<u32> {
        let (block, offset) = split_block(register);
        match self.transmitter.ring::<H>(block) {
            Some(ring) => read_ring(ring, offset),
            None => (register == tx::CONTROL).then(|| u32::from(self.transmitter.is_enabled())),
        }
    }

    fn write_transmit(&mut self, register: usize, value: u32) -> bool {
        let enabled = self.transmitter.is_enabled();
        let (block, offset) = split_block(register);
        if let Some(ring) = self.transmitter.ring(block) {
            let known = write_ring(&mut self.port, ring, enabled, offset, value);
            self.run();
            return known;
        }
        if register != tx::CONTROL {
            return false;
        }
        match value {
            0 => self.transmitter.disable(),
            regs::ENABLE => self.transmitter.enable(&mut self.port),
            _ => self.bad_value(value),
        }
        true
    }

    fn read_stats(&mut self, register: usize) -> Option<u32> {
        let mut counter = self.port.counter(register & !7)?;
        if self.hostile.is_on() {
            self.hostile.count(Tally::Lied);
            counter = u64::MAX;
        }
        let (low, high) = regs::split(counter);
        if register % 8 == 0 {
            self.latches.stats_high = high;
            Some(low)
        } else {
            Some(self.latches.stats_high)
        }
    }

    fn read_lab(&self, register: usize) -> Option<u32> {
        let (arg_low, arg_high) = regs::split(self.latches.lab_arg);
        Some(match register {
            lab::DONE => self.misbehaviour.done(),
            lab::RESULT => self.misbehaviour.result(),
            lab::ARG_LOW => arg_low,
            lab::ARG_HIGH => arg_high,
            lab::WIRE => bit(self.loopback, lab::LOOPBACK),
            lab::SEED => self.latches.seed,
            lab::RATE => self.latches.rate,
            lab::UDP => self.latches.udp,
            lab::HOSTILE => self.hostile.left(),
            lab::TALLY.. if register % 4 == 0 => return self.tally((register - lab::TALLY) / 4),
            _ => return None,
        })
    }

    fn write_lab(&mut self, register: usize, value: u32) -> bool {
        let (arg_low, arg_high) = regs::split(self.latches.lab_arg);
        match register {
            lab::MISBEHAVE => {
                let (kind, group, count) = regs::misbehave_parts(value);
                self.misbehave(kind, group, count, self.latches.lab_arg);
            }
            lab::ARG_LOW => self.latches.lab_arg = regs::join(value, arg_high),
            lab::ARG_HIGH => self.latches.lab_arg = regs::join(arg_low, value),
            lab::WIRE if value & !lab::LOOPBACK != 0 => self.bad_value(value),
            lab::WIRE => self.loopback = value != 0,
            lab::SEED => self.latches.seed = value,
            lab::RATE => self.latches.rate = value,
            lab::UDP => self.latches.udp = value,
            lab::HOSTILE => {
                let Latches { seed, rate, .. } = self.latches;
                self.hostile(value & !lab::DERAIL, seed, rate, value & lab::DERAIL != 0);
            }
            lab::GENERATE => {
                let frames = match regs::low_half(value) {
                    lab::ENDLESS => u32::MAX,
                    frames => u32::from(frames),
                };
                let length = regs::low_half(value >> 16);
                let Latches {
                    seed, rate, udp, ..
                } = self.latches;
                let udp = (udp != 0).then_some(Ipv4Addr::from_bits(udp));
                if !self.generator.start(frames, length, seed, rate, udp) {
                    self.bad_value(value);
                }
            }
            _ => return false,
        }
        true
    }
}

/// `mask` if the bit is set.
fn bit(set: bool, mask: u32) -> u32 {
    if set {
        mask
    } else {
        0
    }
}

/// The block of a group's or the transmitter's registers that holds a ring, and the offset in it.
fn split_block(register: usize) -> (usize, usize) {
    let offset = register % RING_BLOCK;
    (register - offset, offset)
}

/// Reads a ring's register; `None` if there is none such.
fn read_ring<H: Host>(ring: &mut dyn Ring<H>, register: usize) -> Option<u32> {
    match register {
        ring::INDEX => Some(u32::from(ring.card_index())),
        _ => ring.layout().read(register),
    }
}

/// Writes a ring's register; false if there is none such.
fn write_ring<H: Host>(
    port: &mut Port<H>,
    ring: &mut dyn Ring<H>,
    enabled: bool,
    register: usize,
    value: u32,
) -> bool {
    if register == ring::DOORBELL {
        ring.doorbell(port, value);
        return true;
    }
    let layout = ring.layout();
    if enabled && layout.read(register).is_some() {
        port.report(ErrorCode::RingBusy, layout.place, u64::from(value));
        return true;
    }
    layout.write(register, value)
}
