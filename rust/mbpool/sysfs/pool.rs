// SPDX-License-Identifier: GPL-2.0

//! The directory of one pool, and that of its reserve: one value a file.

use super::{
    super::{
        gfp::Kind,
        pool::Shared,
        reserve, //
    },
    kobject::{
        numbers,
        Directory,
        File,
        Show, //
    }, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        new_mutex,
        Arc,
        Mutex, //
    }, //
};

/// What the directory of a pool shows.
#[pin_data]
pub(super) struct Files {
    pool: Arc<Shared>,
    /// The directory of its reserve, if it has one.
    #[pin]
    reserve: Mutex<Option<Pin<KBox<Directory<Reserve>>>>>,
}

impl Files {
    pub(super) fn new(pool: Arc<Shared>) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            pool,
            reserve <- new_mutex!(None, "mbpool::reserve"),
        }? Error)
    }
}

impl Directory<Files> {
    /// Shows the pool's reserve in a directory of its own. Process context; may sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or what sysfs answers.
    pub(super) fn publish_reserve(&self, reserve: Arc<reserve::Inner>) -> Result {
        let files = Ok(Reserve(reserve));
        // SAFETY: It is removed before we are: see `Entry`.
        let directory = unsafe { Directory::new(self.as_parent(), c"reserve", files) }?;
        *self.value().reserve.lock() = Some(directory);
        Ok(())
    }

    /// Removes that directory, if it is there. Process context; sleeps until nobody reads in it.
    pub(super) fn withdraw_reserve(&self) {
        let directory = self.value().reserve.lock().take();
        drop(directory);
    }
}

/// What the directory of a reserve shows.
pub(super) struct Reserve(Arc<reserve::Inner>);

impl Show for Reserve {
    const FILES: &'static [File<Self>] = numbers![0:
        c"min": |reserve| reserve.figures().min,
        c"current": |reserve| reserve.figures().current,
        c"waiting": |reserve| reserve.figures().waiting,
        c"waits": |reserve| reserve.figures().waits,
        c"waited_us": |reserve| reserve.figures().waited,
        c"longest_wait_us": |reserve| reserve.figures().longest,
        c"timeouts": |reserve| reserve.figures().timeouts,
        c"failures": |reserve| reserve.figures().failures,
    ];
}

impl Show for Files {
    const FILES: &'static [File<Self>] = numbers![pool:
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
        c"low_mark": |pool| pool.guarded.lock().marks().low(),
        c"high_mark": |pool| pool.guarded.lock().marks().high().map_or(-1, i64::from),
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
