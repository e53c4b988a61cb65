// SPDX-License-Identifier: GPL-2.0

//! The mbcard, a virtual PCI card that fills receive buffers by handle, for QEMU's `vfio-user-pci`.
//!
//! From the inside out, each part knowing only those before it:
//!
//! - [`card`]: the device model, which does no input or output
//! - [`wire`]: where its frames come from and go to: a tap device or pcap files
//! - [`host`]: the machine that it sits in, by the vfio-user protocol: memory, interrupts, BARs
//! - [`control`]: commands to it at run time, over a socket
//! - [`cli`]: its command line
//!
//! `main.rs` plugs them together. `Documentation/mbcard.rst` is the manual.

#![deny(missing_docs)]

pub mod card;
pub mod cli;
pub mod control;
pub mod host;
pub mod pace;
pub mod pump;
pub mod wire;
