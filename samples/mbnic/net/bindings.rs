// SPDX-License-Identifier: GPL-2.0

//! Bindings of the network stack, generated from `helpers.h` when the module is built.
//!
//! A type that the kernel crate has is the kernel crate's, so that pointers pass between the two; what
//! is named in the Kbuild comes on top.

// What fits varies with the kernel's configuration, so `expect` would not do.
#![allow(
    clippy::all,
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    reason = "generated code"
)]

pub(super) use kernel::bindings::*;
use kernel::ffi;
use pin_init::MaybeZeroable;

include!(env!("MBNIC_NET_BINDINGS"));
