// SPDX-License-Identifier: GPL-2.0

//! Numbers out of a string of bytes that may end at any place; beyond its end all is zero.

/// What is left of the bytes.
pub struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    /// All of them.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether there are no more.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// Two bytes.
    pub fn half(&mut self) -> u32 {
        u32::from(self.byte()) << 8 | u32::from(self.byte())
    }

    /// Four bytes.
    pub fn word(&mut self) -> u32 {
        self.half() << 16 | self.half()
    }

    /// A number of any magnitude, of which those about powers of two are easy to hit.
    pub fn magnitude(&mut self) -> usize {
        let bits = self.byte();
        let power = 1usize << (bits % 64);
        match bits / 64 {
            0 => power,
            1 => power - 1,
            2 => power.wrapping_add(usize::from(self.byte())),
            _ => self.word() as usize,
        }
    }
}
