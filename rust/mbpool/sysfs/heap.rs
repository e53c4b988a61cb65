// SPDX-License-Identifier: GPL-2.0

//! The directory of one heap: one value a file. Its classes are pools, which have directories of their
//! own.

use super::{
    super::heap::Counters,
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
pub(super) struct Files(pub(super) Arc<Counters>);

impl Show for Files {
    const FILES: &'static [File<Self>] = numbers![0:
        // Now.
        c"classes": |heap| heap.made.load(Relaxed),
        c"buffers": |heap| heap.buffers(),
        c"large": |heap| heap.large.buffers.load(Relaxed),
        c"asked": |heap| heap.asked(),
        c"given": |heap| heap.given(),
        c"deferred": |heap| heap.deferred.load(Relaxed),
        // Since the heap was made.
        c"detours": |heap| heap.detours.load(Relaxed),
        c"failures": |heap| heap.failures.load(Relaxed),
    ];
}
