// SPDX-License-Identifier: GPL-2.0

//! PCI configuration space: a type 0 header with two BARs and an MSI-X capability.
//!
//! It upholds: only the bits that PCI makes writable change, whatever is written.

use mbcard_regs as regs;

/// Size in bytes.
pub const SIZE: usize = 256;

const COMMAND: usize = 0x04;
const BAR0: usize = 0x10;
const MSIX: usize = 0x40;

/// Memory space, bus master and INTx disable.
const COMMAND_WRITABLE: u16 = 0x0406;
const COMMAND_MASTER: u8 = 1 << 2;
const STATUS_CAPABILITIES: u16 = 1 << 4;
const MSIX_ID: u8 = 0x11;
/// Enable and function mask.
const MSIX_WRITABLE: u16 = 0xc000;

/// See the head of the file.
#[derive(Clone, Debug)]
pub struct Config {
    bytes: [u8; SIZE],
    writable: [u8; SIZE],
}

impl Config {
    pub fn new() -> Self {
        let mut config = Self {
            bytes: [0; SIZE],
            writable: [0; SIZE],
        };
        let vectors = u16::try_from(regs::VECTORS - 1).unwrap_or(0);
        let [class_0, class_1, class_2, _] = regs::CLASS.to_le_bytes();
        config.set(0x00, &regs::VENDOR_ID.to_le_bytes());
        config.set(0x02, &regs::DEVICE_ID.to_le_bytes());
        config.set(0x06, &STATUS_CAPABILITIES.to_le_bytes());
        config.set(0x08, &[regs::REVISION, class_0, class_1, class_2]);
        config.set(0x2c, &regs::VENDOR_ID.to_le_bytes());
        config.set(0x2e, &regs::DEVICE_ID.to_le_bytes());
        config.set(0x34, &[0x40]);
        config.set(MSIX, &[MSIX_ID, 0]);
        config.set(MSIX + 2, &vectors.to_le_bytes());
        config.set(MSIX + 4, &bar_offset(regs::BAR_MSIX, regs::MSIX_TABLE));
        config.set(MSIX + 8, &bar_offset(regs::BAR_MSIX, regs::MSIX_PBA));

        config.allow(COMMAND, &COMMAND_WRITABLE.to_le_bytes());
        config.allow(BAR0, &bar_mask(regs::BAR_REGISTERS_SIZE));
        config.allow(BAR0 + 4, &bar_mask(regs::BAR_MSIX_SIZE));
        // Interrupt line: a note of the firmware's.
        config.allow(0x3c, &[0xff]);
        config.allow(MSIX + 2, &MSIX_WRITABLE.to_le_bytes());
        config
    }

    /// Reads bytes; those past the end are all ones.
    pub fn read(&self, offset: usize, data: &mut [u8]) {
        let bytes = self.bytes.get(offset..).unwrap_or_default();
        let bytes = bytes.iter().copied().chain(std::iter::repeat(0xff));
        for (to, from) in data.iter_mut().zip(bytes) {
            *to = from;
        }
    }

    /// Writes what is writable of these bytes.
    pub fn write(&mut self, offset: usize, data: &[u8]) {
        let bytes = self.bytes.get_mut(offset..).unwrap_or_default();
        let writable = self.writable.get(offset..).unwrap_or_default();
        for ((byte, mask), new) in bytes.iter_mut().zip(writable).zip(data) {
            *byte = (*byte & !mask) | (new & mask);
        }
    }

    /// Whether the card may do DMA.
    pub fn bus_master(&self) -> bool {
        self.bytes
            .get(COMMAND)
            .is_some_and(|command| command & COMMAND_MASTER != 0)
    }

    fn set(&mut self, offset: usize, data: &[u8]) {
        for (byte, new) in self.bytes.iter_mut().skip(offset).zip(data) {
            *byte = *new;
        }
    }

    fn allow(&mut self, offset: usize, mask: &[u8]) {
        for (byte, new) in self.writable.iter_mut().skip(offset).zip(mask) {
            *byte = *new;
        }
    }
}

/// The word by which MSI-X names a place: an offset, a multiple of 8, and the BAR in its low bits.
fn bar_offset(bar: u32, offset: usize) -> [u8; 4] {
    (u32::try_from(offset).unwrap_or(0) | bar).to_le_bytes()
}

/// The writable bits of a 32-bit BAR of that size, a power of two.
fn bar_mask(size: usize) -> [u8; 4] {
    let size = u32::try_from(size).unwrap_or(0);
    (!size.wrapping_sub(1)).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_names_the_card() {
        let mut header = [0; 12];
        Config::new().read(0, &mut header);
        assert_eq!(
            header,
            [0xf4, 0x1a, 0xf0, 0x10, 0, 0, 0x10, 0, 1, 0x00, 0x80, 0x02]
        );
    }

    #[test]
    fn only_writable_bits_change() {
        let mut config = Config::new();
        let before = config.clone();
        config.write(0, &[0xff; SIZE]);
        for offset in 0..SIZE {
            let changed = config.bytes[offset] ^ before.bytes[offset];
            assert_eq!(changed & !config.writable[offset], 0, "offset {offset:#x}");
        }
        assert_eq!(config.bytes[COMMAND..COMMAND + 2], [0x06, 0x04]);
        // BARs answer a sizing write with their size.
        let mut bars = [0; 12];
        config.read(BAR0, &mut bars);
        assert_eq!(bars, [0, 0x80, 0xff, 0xff, 0, 0xf0, 0xff, 0xff, 0, 0, 0, 0]);
    }

    #[test]
    fn reads_and_writes_past_the_end_are_harmless() {
        let mut config = Config::new();
        config.write(SIZE - 1, &[1, 2, 3]);
        config.write(usize::MAX, &[1]);
        let mut data = [0; 4];
        config.read(SIZE - 2, &mut data);
        assert_eq!(data, [0, 0, 0xff, 0xff]);
        config.read(usize::MAX, &mut data);
        assert_eq!(data, [0xff; 4]);
    }

    #[test]
    fn bus_master_follows_the_command_register() {
        let mut config = Config::new();
        assert!(!config.bus_master());
        config.write(COMMAND, &[0x06]);
        assert!(config.bus_master());
        config.write(COMMAND, &[0x02]);
        assert!(!config.bus_master());
    }
}
