// SPDX-License-Identifier: GPL-2.0

//! Later: what a heap cannot do where it is asked to, and does in process context.
//!
//! - Giving back a buffer that has pages of its own. `dma_free_coherent()` must not be called with
//!   interrupts off, where it warns; behind an IOMMU it takes down a mapping of the kernel's, and that is
//!   a BUG in any interrupt. Whether one may sleep cannot be found out, so it is never done
//!   where the buffer is dropped.
//! - Making a class that somebody wanted who may not sleep.

use super::{
    counters::Counters,
    Inner,
    CLASSES, //
};
use crate::{
    dma::Page,
    lock::{
        new_irq_lock,
        IrqLock, //
    },
    work::Work, //
};
use core::mem::ManuallyDrop;
use kernel::{
    bindings,
    container_of,
    prelude::*,
    sync::{
        atomic::{
            AtomicFlag,
            Relaxed, //
        },
        new_mutex,
        Arc,
        Mutex, //
    }, //
};

/// Pages that one buffer has for itself.
///
/// It is made with the buffer, so that nothing has to be allocated to give it back.
pub(super) struct Large {
    /// Not dropped by accident: see above.
    page: ManuallyDrop<Page>,
    given: usize,
    /// The next in the list of those to be given back.
    next: Option<KBox<Large>>,
}

impl Large {
    pub(super) fn new(page: Page, given: usize) -> Self {
        Self {
            page: ManuallyDrop::new(page),
            given,
            next: None,
        }
    }

    pub(super) fn page(&self) -> &Page {
        &self.page
    }

    /// Bytes of the pages.
    pub(super) fn given(&self) -> usize {
        self.given
    }
}

/// What is to be done later, and what a buffer needs to go home.
///
/// # Invariants
///
/// Is the field `later` of an [`Inner`].
#[pin_data]
pub(super) struct Later {
    #[pin]
    freed: IrqLock<Option<KBox<Large>>>,
    /// Held by who gives pages back: whoever needs them waits for him.
    #[pin]
    draining: Mutex<()>,
    wanted: [AtomicFlag; CLASSES],
    #[pin]
    work: Work,
    pub(super) counters: Arc<Counters>,
}

impl Later {
    pub(super) fn new(counters: Arc<Counters>) -> impl PinInit<Self> {
        // SAFETY: `run` takes the work item of a `Later`, which the heap stops before anything else goes.
        let work = unsafe {
            Work::new(
                Self::run,
                c"mbpool::heap",
                kernel::static_lock_class!(),
                kernel::static_lock_class!(),
            )
        };
        pin_init!(Self {
            freed <- new_irq_lock!(None, "mbpool::freed"),
            draining <- new_mutex!((), "mbpool::draining"),
            wanted: [const { AtomicFlag::new(false) }; CLASSES],
            work <- work,
            counters,
        })
    }

    /// Gives pages back later. Any context but NMI.
    pub(super) fn free(&self, mut large: KBox<Large>) {
        self.counters.deferred.add(1, Relaxed);
        {
            let mut freed = self.freed.lock();
            large.next = freed.take();
            *freed = Some(large);
        }
        self.work.queue(0);
    }

    /// Makes a class later. Any context but NMI.
    pub(super) fn want(&self, class: usize) {
        if let Some(wanted) = self.wanted.get(class) {
            wanted.store(true, Relaxed);
            self.work.queue(0);
        }
    }

    /// Whether somebody wanted the class since this was asked last.
    fn is_wanted(&self, class: usize) -> bool {
        let wanted = self.wanted.get(class);
        wanted.is_some_and(|wanted| wanted.xchg(false, Relaxed))
    }

    /// Gives back now what was to be given back later; when this returns, all that was freed before is given back,
    /// be it by another. Answers how many buffers' pages it gave back. Process context; may sleep.
    ///
    /// # Safety
    ///
    /// The device is bound.
    pub(super) unsafe fn drain(&self) -> usize {
        let _draining = self.draining.lock();
        let mut list = self.freed.lock().take();
        let mut count = 0;
        while let Some(large) = list {
            let Large { page, next, .. } = KBox::into_inner(large);
            drop(ManuallyDrop::into_inner(page));
            list = next;
            count += 1;
            self.counters.deferred.add(-1, Relaxed);
        }
        count
    }

    /// Stops the work item for good. Process context.
    pub(super) fn stop(&self) {
        self.work.stop();
    }

    /// # Safety
    ///
    /// Called by the workqueue with the work item of a `Later`.
    unsafe extern "C" fn run(work: *mut bindings::work_struct) {
        // SAFETY: It is the field of a `Later`, which is the field of an `Inner`; the heap stops the work
        // item before either goes, and while the device is bound.
        let inner = unsafe {
            let later = container_of!(Work::from_raw(work), Self, work);
            &*container_of!(later, Inner<'_>, later)
        };
        // SAFETY: The heap exists, so the device is bound.
        unsafe { inner.later.drain() };
        for class in 0..CLASSES {
            if inner.later.is_wanted(class) {
                // Who wanted it got its memory; the next one wants it again.
                let _ = inner.make(class);
            }
        }
    }
}
