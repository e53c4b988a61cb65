// SPDX-License-Identifier: GPL-2.0

//! Metadata: what a pool takes of the machine's memory beside the buffers' own.

use crate::{
    peers::free_memory,
    rows::pages, //
};
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

/// Buffers: so many that what others allocate meanwhile does not show.
const BUFFERS: u32 = 32_000;

/// Says by how much the machine's free memory becomes less with a pool, beside its pages, in thousandths of
/// a byte for each buffer.
pub(crate) fn measure(dev: &Device<Bound>) -> Result {
    let pages = pages(SIZE, BUFFERS)?;
    // What the page allocator keeps for each CPU does not count as free: the first pool takes that.
    let first = Pool::new(dev, config(c"bench-first", pages), GFP_KERNEL)?;
    let before = free_memory();
    let pool = Pool::new(dev, config(c"bench-metadata", pages), GFP_KERNEL)?;
    let gone = before.saturating_sub(free_memory());
    let buffers = pool.count().free;
    let own = gone.saturating_sub(buffers * SIZE);
    pr_info!(
        "metadata size={} buffers={} each={}\n",
        SIZE,
        buffers,
        (own * 1000).checked_div(buffers).unwrap_or(0)
    );
    drop((pool, first));
    Ok(())
}

fn config(name: &CStr, pages: u32) -> Config<'_> {
    Config::new(name, SIZE)
        .page_size(PAGE_SIZE)
        .max_pages(pages)
        .initial_pages(pages)
}
