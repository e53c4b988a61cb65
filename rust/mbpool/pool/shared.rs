// SPDX-License-Identifier: GPL-2.0

//! The part of a pool that buffers and sysfs refer to.
//!
//! It outlives the pool if something is still out. It can take buffers back and be looked at; popping,
//! and all that calls the DMA API, is the pool's alone, since that needs a bound device.

use super::{
    alarm::Targets,
    background::Background, //
};
use crate::{
    config::{
        Backing,
        Config, //
    },
    core::{
        depot::Depot,
        geometry::Geometry,
        handle::{
            Handle,
            HandleError, //
        },
        lent::Lent,
        marks::{
            Due,
            Marks, //
        },
        slots::Slots, //
    },
    dma::{
        self,
        Pages, //
    },
    gfp,
    lock::{
        new_irq_lock,
        IrqLock, //
    }, //
};
use core::ptr::NonNull;
use kernel::{
    alloc::Flags,
    device::Device,
    dma::{
        DataDirection,
        DmaAddress, //
    },
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
        CondVar, //
    }, //
};

/// What the pool's lock guards.
pub(crate) struct Guarded {
    pub(crate) depot: Depot,
    pub(crate) marks: Marks,
    pub(super) targets: Targets,
    pub(crate) lent: Lent,
    /// Page allocations that are under way.
    pub(super) growing: u32,
    /// Pages that were ever asked for.
    pub(crate) asked: u64,
    /// Pages that were ever added.
    pub(crate) grown: u64,
    /// Pages that were ever given back.
    pub(crate) returned: u64,
    /// Failed allocations, by [`gfp::Kind`].
    pub(crate) failures: [u64; gfp::KINDS],
}

impl Guarded {
    /// Takes a chunk out of the depot.
    #[inline]
    pub(super) fn pop(&mut self) -> (Option<u32>, Due) {
        let popped = self.depot.pop();
        (popped, self.marks.fallen(self.depot.free()))
    }

    /// Puts a chunk into the depot, and rings whoever waited for it.
    #[inline]
    pub(super) fn push(&mut self, index: u32) -> Due {
        self.depot.push(index);
        self.risen()
    }

    /// Sets a page aside for growth, which counts as under way from now on.
    pub(super) fn reserve(&mut self) -> Result<u32> {
        let number = self.depot.reserve().ok_or(ENOMEM)?;
        self.growing += 1;
        self.asked += 1;
        Ok(number)
    }

    /// There are more free chunks than before.
    #[inline]
    fn risen(&mut self) -> Due {
        let due = self.marks.risen(self.depot.free());
        if due.alarms != 0 {
            self.targets.ring(due.alarms);
        }
        due
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
    /// The device that does the DMA: `dev` or an ancestor.
    master: ARef<Device>,
    backing: Backing,
    pub(super) wait_ms: u32,
    /// Chunks that stay whatever memory pressure there is.
    pub(super) floor: u32,
    pub(crate) geometry: Geometry,
    pub(crate) slots: Slots,
    pub(super) pages: Pages,
    #[pin]
    pub(crate) guarded: IrqLock<Guarded>,
    /// Somebody's growth came to its end, well or not.
    #[pin]
    pub(super) grown: CondVar,
    #[pin]
    pub(super) background: Background,
    pub(crate) bad: BadHandles,
}

impl Shared {
    pub(super) fn new<'a>(
        dev: &'a Device,
        master: &'a Device,
        config: &'a Config<'a>,
        geometry: &'a Geometry,
    ) -> impl PinInit<Self, Error> + 'a {
        pin_init::pin_init_scope(move || {
            let tide = config.tide;
            let depot = Depot::new(geometry)?;
            let lent = Lent::new(geometry, config.lending)?;
            let initial = geometry.initial_pages() * geometry.chunks();
            Ok(try_pin_init!(Self {
                name: CString::try_from(config.name)?,
                dev: dev.into(),
                master: master.into(),
                backing: config.backing,
                wait_ms: config.wait_ms,
                floor: initial.max(tide.low),
                geometry: *geometry,
                slots: Slots::new(geometry)?,
                pages: Pages::new(geometry)?,
                guarded <- new_irq_lock!(
                    Guarded {
                        depot,
                        marks: Marks::new(tide.low, tide.high),
                        targets: Targets::default(),
                        lent,
                        growing: 0,
                        asked: 0,
                        grown: 0,
                        returned: 0,
                        failures: [0; gfp::KINDS],
                    },
                    "mbpool::depot"
                ),
                grown <- new_condvar!("mbpool::grown"),
                background <- Background::new(tide.grace_ms),
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
        page.wrapping_shl(self.geometry.layout().chunk_bits()) | chunk
    }

    /// The page of a chunk.
    #[inline]
    pub(super) fn page_of(&self, index: u32) -> u32 {
        index.wrapping_shr(self.geometry.layout().chunk_bits())
    }

    /// Where a chunk begins in its page.
    #[inline]
    fn offset_of(&self, index: u32) -> usize {
        let below = 1u32.wrapping_shl(self.geometry.layout().chunk_bits());
        self.geometry.offset(index & below.wrapping_sub(1))
    }

    /// Where a chunk is, for the CPU and for the device.
    ///
    /// # Safety
    ///
    /// The chunk `index` has an owner, or the caller is in the RCU read-side section in which it saw
    /// that it has.
    #[inline]
    pub(super) unsafe fn locate(&self, index: u32) -> (NonNull<u8>, DmaAddress) {
        // SAFETY: The chunk is or was not absent, so its page is there and stays, and its offset lies in
        // it by the invariants of `Geometry`.
        unsafe {
            self.pages
                .locate(self.page_of(index), self.offset_of(index))
        }
    }

    /// Gives bytes of a chunk to the CPU or to the device.
    ///
    /// # Safety
    ///
    /// As for [`Shared::locate`], and the device is bound.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the range does not lie in the chunk.
    #[inline]
    pub(super) unsafe fn sync(
        &self,
        index: u32,
        offset: usize,
        len: usize,
        direction: DataDirection,
    ) -> Result {
        self.check_range(offset, len)?;
        let offset = self.offset_of(index) + offset;
        // SAFETY: As in `locate`; the range lies in the chunk, as just checked.
        unsafe { self.pages.sync(self.page_of(index), offset, len, direction) };
        Ok(())
    }

    /// Whether a range lies in a chunk.
    #[inline]
    pub(super) fn check_range(&self, offset: usize, len: usize) -> Result {
        let end = offset.checked_add(len).ok_or(EINVAL)?;
        if end > self.geometry.size() {
            return Err(EINVAL);
        }
        Ok(())
    }

    /// Adds one page. Sleeps if `gfp` allows it; no lock is held meanwhile.
    ///
    /// # Safety
    ///
    /// The device is bound.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: the pool is at its limit, or there is no memory.
    pub(super) unsafe fn grow(&self, gfp: Flags) -> Result {
        let number = self.guarded.lock().reserve()?;
        // SAFETY: As the caller promises.
        unsafe { self.grow_into(number, gfp) }
    }

    /// The same for a page that was reserved with [`Guarded::reserve`].
    ///
    /// # Safety
    ///
    /// The device is bound, and the page was reserved for this call.
    pub(super) unsafe fn grow_into(&self, number: u32, gfp: Flags) -> Result {
        // SAFETY: The device is bound, as the caller promises, and so then is the ancestor that does the
        // DMA for it.
        let master = unsafe { self.master.as_bound() };
        let page = dma::Page::new(master, &self.geometry, self.backing, gfp);
        let result = page.map(|page| {
            // SAFETY: We reserved the page, and its chunks appear only below.
            unsafe { self.pages.fill(number, page) };
            for chunk in 0..self.geometry.chunks() {
                self.slots.appear(self.index(number, chunk));
            }
        });

        let due = {
            let mut guarded = self.guarded.lock();
            guarded.growing -= 1;
            match result {
                Ok(()) => {
                    guarded.depot.install(number);
                    guarded.grown += 1;
                    guarded.risen()
                }
                Err(_) => {
                    guarded.depot.cancel(number);
                    Due::default()
                }
            }
        };
        self.background.start(due);
        self.grown.notify_all();
        result
    }

    /// Takes back a chunk that its owner gives up: used -> free.
    #[inline]
    pub(super) fn release(&self, index: u32) {
        self.slots.release(index);
        let due = self.guarded.lock().push(index);
        self.background.start(due);
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

    /// Chunks that are not in the depot.
    pub(super) fn out(&self) -> u32 {
        let guarded = self.guarded.lock();
        guarded.depot.total() - guarded.depot.free()
    }

    /// Says what a stack has when the pool goes. Nothing is lost by it: who has a page frees it.
    #[cold]
    pub(super) fn report_loans(&self, lent: u32, oldest: u32) {
        // SAFETY: May be called with any number.
        let ms = unsafe { kernel::bindings::jiffies64_to_msecs(oldest.into()) };
        dev_warn!(
            self.dev,
            "mbpool {}: dropped with {} pages lent, the oldest for {} ms; they belong to who has them\n",
            self.name(),
            lent,
            ms
        );
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
