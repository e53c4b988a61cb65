// SPDX-License-Identifier: GPL-2.0

//! The pool's `core` on the host: the very files of `rust/mbpool/core`, with a facade in terms of
//! `std` in place of the kernel's. What is tested here is what the module runs.

pub mod facade;
#[path = "../../mbpool/core/mod.rs"]
pub mod ground;
