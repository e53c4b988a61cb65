// SPDX-License-Identifier: GPL-2.0

//! Metadata: what a pool takes of the machine's memory beside the buffers' own.

use crate::peers::free_memory;
use kernel::{
    device::{
        Bound,
        Device, //
    },
    page::PAGE_SIZE,
    prelude::*,
    str::CStr, //
};
use mbpool::{
    Config,
    Pool, //
};

/// Bytes of a buffer.
const SIZE: usize = 2048;

/// Chunks that a pool may have, in pages of some sizes.
const CHUNKS: u32 = 32_000;

/// Bytes of a page: what a pool chooses by itself, and one for many chunks.
const PAGE_SIZES: [usize; 2] = [PAGE_SIZE, 16 * PAGE_SIZE];

/// Pools at once: so much that what others allocate meanwhile, and what the page allocator keeps for a CPU,
/// does not show.
const POOLS: usize = 16;

const NAMES: [&CStr; POOLS] = [
    c"m0", c"m1", c"m2", c"m3", c"m4", c"m5", c"m6", c"m7", c"m8", c"m9", c"m10", c"m11", c"m12",
    c"m13", c"m14", c"m15",
];

/// Says by how much the machine's free memory becomes less with a pool that has no page yet, in thousandths
/// of a byte for each buffer that it can have. A page that it grows by adds nothing but itself.
pub(crate) fn measure(dev: &Device<Bound>) -> Result {
    for page_size in PAGE_SIZES {
        let in_page = u32::try_from(page_size / SIZE)?;
        let mut pools = KVec::with_capacity(POOLS, GFP_KERNEL)?;
        let before = free_memory();
        for name in NAMES {
            let config = Config::new(name, SIZE)
                .page_size(page_size)
                .max_pages(CHUNKS.div_ceil(in_page));
            pools.push(Pool::new(dev, config, GFP_KERNEL)?, GFP_KERNEL)?;
        }
        let taken = before.saturating_sub(free_memory());
        pr_info!(
            "metadata page_size={} buffers={} each={}\n",
            page_size,
            CHUNKS,
            // CAST: `u32` to `usize`, which is no smaller on any machine that runs Linux.
            taken * 1000 / (CHUNKS as usize * POOLS)
        );
    }
    Ok(())
}
