// SPDX-License-Identifier: GPL-2.0

//! Quotas: what a client of a shared pool asks for. What it gets is in [`ledger`](super::ledger).

/// The largest weight.
pub const MAX_WEIGHT: u32 = 1 << 16;

/// What a client asks for, in chunks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quota {
    /// So many are there for it at any time.
    pub min: u32,
    /// It never has more.
    pub cap: u32,
    /// Its part of what nobody is guaranteed, in proportion to the others' weights.
    pub weight: u32,
}

impl Quota {
    /// `min` chunks guaranteed, no cap, and a weight of 1.
    pub const fn new(min: u32) -> Self {
        Self {
            min,
            cap: u32::MAX,
            weight: 1,
        }
    }

    /// Never more than `cap` chunks, at least 1 and at least the minimum.
    pub const fn cap(mut self, cap: u32) -> Self {
        self.cap = cap;
        self
    }

    /// A weight of `weight`, 1 to 65536.
    pub const fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// What makes no sense, if anything.
    pub fn refusal(&self) -> Option<&'static str> {
        if self.cap == 0 || self.cap < self.min {
            return Some("cap: is zero or less than the minimum");
        }
        if self.weight == 0 || self.weight > MAX_WEIGHT {
            return Some("weight: is not between 1 and 65536");
        }
        None
    }
}
