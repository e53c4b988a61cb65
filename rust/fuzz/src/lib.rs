// SPDX-License-Identifier: GPL-2.0

//! What the fuzzer calls: each function takes any bytes, reads a test out of them, and panics at what
//! must not be. `targets/` binds them to libFuzzer, and `rust/host/tests/corpus.rs` runs them over
//! the corpus with all other tests.

pub mod bytes;
pub mod geometry;
pub mod pool;
