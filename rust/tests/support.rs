// SPDX-License-Identifier: GPL-2.0

//! Small things that many tests use.

use crate::ktap::Outcome;
use kernel::{
    bindings,
    prelude::*,
    time::{
        delay::fsleep,
        Delta, //
    }, //
};
use mbpool::{
    Count,
    PageRef, //
};

/// A page that fails to be had is what some tests are after: it is not to be reported as a fault.
pub(crate) const QUIET: kernel::alloc::Flags = __GFP_NOWARN;

/// Sleeps.
pub(crate) fn sleep(ms: i64) {
    fsleep(Delta::from_millis(ms));
}

/// Waits up to twenty seconds, which a busy machine may need.
pub(crate) fn becomes(mut condition: impl FnMut() -> Outcome<bool>) -> Outcome<bool> {
    for _ in 0..2000 {
        if condition()? {
            return Ok(true);
        }
        sleep(10);
    }
    Ok(false)
}

/// So many chunks in each state.
pub(crate) fn count(used: usize, card: usize, free: usize) -> Count {
    Count { used, card, free }
}

/// Numbers without a pattern, the same in each run.
pub(crate) struct Random(u64);

impl Random {
    /// Another sequence for each seed.
    pub(crate) fn new(seed: u32) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ u64::from(seed) << 32)
    }

    /// The next one.
    pub(crate) fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let [_, _, _, _, a, b, c, d] = self.0.to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }
}

/// Fills a chunk with a pattern of its own.
pub(crate) fn mark(bytes: &mut [u8], name: u32) {
    for (byte, value) in bytes.iter_mut().zip(pattern(name)) {
        *byte = value;
    }
}

/// Whether a chunk holds the pattern that [`mark`] wrote, to the last byte.
pub(crate) fn is_marked(bytes: &[u8], name: u32) -> bool {
    bytes
        .iter()
        .copied()
        .zip(pattern(name))
        .all(|(a, b)| a == b)
}

fn pattern(name: u32) -> impl Iterator<Item = u8> {
    let mut random = Random::new(name);
    core::iter::from_fn(move || Some(random.next())).flat_map(u32::to_le_bytes)
}

/// Whether each byte of a page that was lent to us is `byte`.
pub(crate) fn holds(page: &PageRef, byte: u8) -> bool {
    // SAFETY: We have a reference to the page, so it can be mapped and read.
    unsafe {
        let bytes = bindings::kmap_local_page(page.page().as_ptr()).cast::<u8>();
        let all = (0..page.len()).all(|at| *bytes.add(at) == byte);
        bindings::kunmap_local(bytes.cast());
        all
    }
}
