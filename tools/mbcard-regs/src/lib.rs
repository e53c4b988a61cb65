// SPDX-License-Identifier: GPL-2.0

//! Registers and rings of the mbcard.
//!
//! What card and driver share lives in one file, [`regs`], which the card compiles through this crate and the
//! kernel driver includes with `#[path = ...] pub mod regs;`. This file only gives that one a crate, and
//! [`tally`] for those who look at the card.

#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod regs;
pub mod tally;

pub use regs::*;
pub use tally::Tally;
