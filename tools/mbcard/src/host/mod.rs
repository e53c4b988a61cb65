// SPDX-License-Identifier: GPL-2.0

//! The machine that the card sits in, by the vfio-user protocol.

mod interrupts;
mod memory;
mod server;
mod socket;

use std::sync::Arc;

use parking_lot::Mutex;
use parking_lot::MutexGuard;

use crate::card::Card;
use crate::card::Host;
use crate::card::Unmapped;

pub use server::Server;
pub use socket::SocketPath;

use interrupts::Interrupts;
use memory::Access;
use memory::Memory;

/// Guest memory and interrupts, as QEMU gives them.
#[derive(Default)]
pub struct Machine {
    memory: Memory,
    interrupts: Interrupts,
}

impl Host for Machine {
    fn read(&self, address: u64, data: &mut [u8]) -> Result<(), Unmapped> {
        self.memory.read(address, data)
    }

    fn write(&self, address: u64, data: &[u8]) -> Result<(), Unmapped> {
        self.memory.write(address, data)
    }

    fn publish(&self, address: u64, word: u32) -> Result<(), Unmapped> {
        self.memory.publish(address, word)
    }

    fn reaches(&self, address: u64, length: u64) -> bool {
        self.memory.reaches(address, length, Access::Write)
    }

    fn raise(&self, vector: usize) -> bool {
        self.interrupts.raise(vector)
    }
}

/// The one card of this process, for all its threads.
#[derive(Clone)]
pub struct SharedCard(Arc<Mutex<Card<Machine>>>);

impl SharedCard {
    /// Shares a card.
    pub fn new(card: Card<Machine>) -> Self {
        Self(Arc::new(Mutex::new(card)))
    }

    /// The card, for this thread alone.
    pub fn lock(&self) -> MutexGuard<'_, Card<Machine>> {
        self.0.lock()
    }
}
