// SPDX-License-Identifier: GPL-2.0

//! Account: what a shared pool knows of one client. [`Ledger`](super::ledger::Ledger) has all of them and
//! keeps them in step.

use super::quota::Quota;

/// Where a client is between coming and going.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nobody's.
    Vacant,
    /// The chunks of the minimum are being found.
    Joining,
    Member,
    /// The client left, and some of its chunks did not come back.
    Gone,
}

/// What the pool knows of one client.
#[derive(Clone, Copy)]
pub struct Account {
    pub(super) state: State,
    pub(super) quota: Quota,
    pub(super) used: u32,
    pub(super) share: u32,
    pub(super) wants: u32,
    pub(super) allocations: u64,
    pub(super) refused: u64,
    pub(super) yields: u64,
}

impl Account {
    pub(super) const VACANT: Self = Self {
        state: State::Vacant,
        quota: Quota::new(0),
        used: 0,
        share: 0,
        wants: 0,
        allocations: 0,
        refused: 0,
        yields: 0,
    };

    /// What it asked for.
    pub fn quota(&self) -> Quota {
        self.quota
    }

    /// Chunks that it has, or that the card has of it.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// What it has when all members want as much as they can get: its minimum, and by weight of what nobody
    /// is guaranteed and others' caps leave.
    pub fn share(&self) -> u32 {
        self.share
    }

    /// What is kept for it, since it was turned away, against those who have more.
    pub fn wants(&self) -> u32 {
        self.wants
    }

    /// Chunks that it was given since it joined.
    pub fn allocations(&self) -> u64 {
        self.allocations
    }

    /// How often it was turned away.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// How often it was asked to give chunks back.
    pub fn yields(&self) -> u64 {
        self.yields
    }

    pub(super) fn is_member(&self) -> bool {
        self.state == State::Member
    }

    /// What of its minimum it does not have.
    pub(super) fn unfilled(&self) -> u32 {
        self.quota.min.saturating_sub(self.used)
    }

    /// What it has beyond its minimum.
    pub(super) fn extra(&self) -> u32 {
        self.used.saturating_sub(self.quota.min)
    }

    /// Whether `chunks` beyond the minimum are more for this one than `theirs` are for `other`, by
    /// weight. A product of a number of chunks and a weight fits in 64 bits.
    pub(super) fn is_more(&self, chunks: u32, other: &Self, theirs: u32) -> bool {
        u64::from(chunks) * u64::from(other.quota.weight)
            > u64::from(theirs) * u64::from(self.quota.weight)
    }
}
