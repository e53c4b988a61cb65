// SPDX-License-Identifier: GPL-2.0

//! The directory of one pool: one value a file.

use super::{
    super::{
        gfp::Kind,
        pool::Shared, //
    },
    kobject::{
        numbers,
        File,
        Show, //
    }, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
    }, //
};

/// What the directory shows.
pub(super) struct Files(pub(super) Arc<Shared>);

impl Show for Files {
    const FILES: &'static [File<Self>] = numbers![
        // Geometry.
        c"size": |pool| pool.geometry.size(),
        c"align": |pool| pool.geometry.align(),
        c"boundary": |pool| pool.geometry.boundary(),
        c"page_size": |pool| pool.geometry.page_size(),
        c"chunks_per_page": |pool| pool.geometry.chunks(),
        c"max_pages": |pool| pool.geometry.max_pages(),
        c"user_bits_high": |pool| pool.geometry.layout().user_bits().0,
        c"user_bits_low": |pool| pool.geometry.layout().user_bits().1,
        c"generation_bits": |pool| pool.geometry.layout().generation_bits(),
        c"low_mark": |pool| pool.guarded.lock().marks.low(),
        c"high_mark": |pool| pool.guarded.lock().marks.high().map_or(-1, i64::from),
        // Now.
        c"pages": |pool| pool.guarded.lock().depot.present(),
        c"lent": |pool| pool.guarded.lock().lent.len(),
        c"free": |pool| pool.slots.count().free,
        c"card": |pool| pool.slots.count().card,
        c"used": |pool| pool.slots.count().used,
        c"cached": |pool| {
            let free = pool.slots.count().free;
            // CAST: `u32` to `usize`, which is no smaller on any machine that runs Linux.
            free.saturating_sub(pool.guarded.lock().depot.free() as usize)
        },
        // Since the pool was made.
        c"high_water": |pool| pool.guarded.lock().depot.most_out(),
        c"allocations": |pool| pool.guarded.lock().allocations(),
        c"asked": |pool| pool.guarded.lock().asked,
        c"grown": |pool| pool.guarded.lock().grown,
        c"returned": |pool| pool.guarded.lock().returned,
        c"failures_atomic": |pool| pool.guarded.lock().failures[Kind::Atomic as usize],
        c"failures_nowait": |pool| pool.guarded.lock().failures[Kind::Nowait as usize],
        c"failures_sleep": |pool| pool.guarded.lock().failures[Kind::Sleep as usize],
        c"bad_out_of_range": |pool| pool.bad.out_of_range.load(Relaxed),
        c"bad_stale": |pool| pool.bad.stale.load(Relaxed),
        c"bad_wrong_state": |pool| pool.bad.wrong_state.load(Relaxed),
    ];
}
