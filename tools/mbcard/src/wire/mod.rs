// SPDX-License-Identifier: GPL-2.0

//! Where the card's frames come from and go to.

mod pcap;
mod tap;

use std::io;
use std::sync::Arc;

use crate::card::Wire;

pub use pcap::PcapSink;
pub use pcap::PcapSource;
pub use tap::Tap;

/// Where received frames come from.
pub enum Source {
    /// Nowhere.
    Nothing,
    /// A network device of the host.
    Tap(Arc<Tap>),
    /// A file, at a rate.
    Pcap(PcapSource),
}

/// A wire that nobody is at: frames are sent and gone.
pub struct NoWire;

impl Wire for NoWire {
    fn send(&mut self, _frame: &[u8]) -> io::Result<()> {
        Ok(())
    }
}
