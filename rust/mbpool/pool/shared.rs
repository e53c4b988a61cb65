// SPDX-License-Identifier: GPL-2.0

//! The part of a pool that buffers and sysfs refer to.
//!
//! It outlives the pool if something is still out. It can take buffers back and be looked at; popping,
//! and all that calls the DMA API, is the pool's alone, since that needs a bound device.

use super::super::{
    core::{
        depot::Depot,
        geometry::Geometry,
        handle::{
            Handle,
            HandleError, //
        },
        slots::Slots, //
    },
    dma::Pages,
    gfp, //
};
use core::ptr::NonNull;
use kernel::{
    device::Device,
    dma::DmaAddress,
    prelude::*,
    str::{
        CStr,
        CString, //
    },
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            AtomicFlag,
            Relaxed, //
        },
        new_condvar,
        new_spinlock_irq,
        CondVar,
        SpinLockIrq, //
    }, //
};

/// What the pool's lock guards.
pub(crate) struct Guarded {
    pub(crate) depot: Depot,
    /// Page allocations that are under way.
    pub(super) growing: u32,
    /// Pages that were ever added.
    pub(crate) grown: u64,
    /// Failed allocations, by [`gfp::Kind`].
    pub(crate) failures: [u64; gfp::KINDS],
}

impl Guarded {
    /// Sets a page aside for the caller to add. The pool is growing until that came to its end.
    pub(super) fn reserve(&mut self) -> Result<u32> {
        let number = self.depot.reserve().ok_or(ENOMEM)?;
        self.growing += 1;
        Ok(number)
    }
}

/// Handles that were refused, by reason.
pub(crate) struct BadHandles {
    pub(crate) out_of_range: Atomic<i64>,
    pub(crate) stale: Atomic<i64>,
    pub(crate) wrong_state: Atomic<i64>,
    reported: AtomicFlag,
}

/// The part of a pool that buffers and sysfs refer to.
///
/// # Invariants
///
/// An index is in the depot if its slot is free, and not if it is used or on card, but for the moments
/// between the two steps of an operation, during which the operation's caller alone knows the index.
#[pin_data]
pub(crate) struct Shared {
    name: CString,
    dev: ARef<Device>,
    pub(crate) geometry: Geometry,
    pub(crate) slots: Slots,
    pub(super) pages: Pages,
    #[pin]
    pub(crate) guarded: SpinLockIrq<Guarded>,
    /// Somebody's growth came to its end, well or not.
    #[pin]
    pub(super) grown: CondVar,
    pub(crate) bad: BadHandles,
}

impl Shared {
    pub(super) fn new<'a>(
        dev: &'a Device,
        name: &'a CStr,
        geometry: &'a Geometry,
    ) -> impl PinInit<Self, Error> + 'a {
        pin_init::pin_init_scope(move || {
            let depot = Depot::new(geometry)?;
            Ok(try_pin_init!(Self {
                name: CString::try_from(name)?,
                dev: dev.into(),
                geometry: *geometry,
                slots: Slots::new(geometry)?,
                pages: Pages::new(geometry)?,
                guarded <- new_spinlock_irq!(
                    Guarded {
                        depot,
                        growing: 0,
                        grown: 0,
                        failures: [0; gfp::KINDS],
                    },
                    "mbpool::depot"
                ),
                grown <- new_condvar!("mbpool::grown"),
                bad: BadHandles {
                    out_of_range: Atomic::new(0),
                    stale: Atomic::new(0),
                    wrong_state: Atomic::new(0),
                    reported: AtomicFlag::new(false),
                },
            }? Error))
        })
    }

    pub(crate) fn name(&self) -> &CStr {
        &self.name
    }

    pub(crate) fn dev(&self) -> &Device {
        &self.dev
    }

    /// The index of a chunk of a page.
    #[inline]
    pub(super) fn index(&self, page: u32, chunk: u32) -> u32 {
        page << self.geometry.layout().chunk_bits() | chunk
    }

    /// Where a chunk is, for the CPU and for the device.
    ///
    /// # Safety
    ///
    /// The caller has seen the chunk `index` in a state other than absent.
    #[inline]
    pub(super) unsafe fn locate(&self, index: u32) -> (NonNull<u8>, DmaAddress) {
        let bits = self.geometry.layout().chunk_bits();
        let (page, chunk) = (index >> bits, index & ((1 << bits) - 1));
        // SAFETY: The chunk was not absent, so its page is there, and its offset lies in it by the
        // invariants of `Geometry`.
        unsafe { self.pages.locate(page, self.geometry.offset(chunk)) }
    }

    /// Takes back a chunk that its owner gives up: used -> free.
    #[inline]
    pub(super) fn release(&self, index: u32) {
        self.slots.release(index);
        self.guarded.lock().depot.push(index);
    }

    /// Counts a bad handle, and reports the pool's first.
    #[cold]
    pub(super) fn refused(&self, handle: Handle, error: HandleError) -> HandleError {
        let (counter, what) = match error {
            HandleError::OutOfRange => (&self.bad.out_of_range, "names no chunk"),
            HandleError::Stale => (&self.bad.stale, "is of an earlier trip"),
            HandleError::WrongState => (&self.bad.wrong_state, "is not out"),
        };
        counter.add(1, Relaxed);
        if !self.bad.reported.xchg(true, Relaxed) {
            dev_warn!(
                self.dev,
                "mbpool {}: bad handle {:#010x} {}; further ones are only counted\n",
                self.name(),
                handle.into_raw(),
                what
            );
        }
        error
    }

    /// Whether no chunk of a page is with the driver or on the card.
    pub(super) fn is_idle(&self, page: u32) -> bool {
        (0..self.geometry.chunks()).all(|chunk| self.slots.is_idle(self.index(page, chunk)))
    }

    /// Says what is out when the pool goes.
    #[cold]
    pub(super) fn report_leak(&self) {
        let count = self.slots.count();
        let busy = (0..self.geometry.max_pages())
            .filter(|page| !self.is_idle(*page))
            .count();
        dev_err!(
            self.dev,
            "mbpool {}: dropped with {} buffers used and {} on card; {} pages of {} bytes are leaked\n",
            self.name(),
            count.used,
            count.card,
            busy,
            self.geometry.page_size()
        );
    }
}
