// SPDX-License-Identifier: GPL-2.0

//! Registers and rings of the mbcard.
//!
//! All there is lives in one file, [`regs`], which the card compiles through this crate and the kernel
//! driver includes with `#[path = ...] pub mod regs;`. This file only gives that one a crate.

#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod regs;

pub use regs::*;
