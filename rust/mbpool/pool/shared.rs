// SPDX-License-Identifier: GPL-2.0

//! The part of a pool that buffers and sysfs refer to.
//!
//! It outlives the pool if something is still out. It can take buffers back and be looked at; popping,
//! and all that calls the DMA API, is the pool's alone, since that needs a bound device.

use super::{
    alarm::Targets,
    background::Background,
    cache::Caches,
    claim::Claimant, //
};
use crate::{
    config::Config,
    core::{
        depot::{
            Depot,
            Tables, //
        },
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
        slots::{
            Owner,
            Slot,
            Slots, //
        }, //
    },
    dma::Pages,
    gfp,
    lock::{
        new_irq_lock,
        IrqLock,
        IrqSave, //
    }, //
};
use core::ptr::NonNull;
use kernel::{
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
        lock::Guard,
        new_condvar,
        CondVar, //
    }, //
};

/// What the pool's lock guards.
pub(crate) struct Guarded {
    pub(crate) depot: Depot,
    /// To be changed by [`Guarded::with_marks`] alone.
    marks: Marks,
    pub(super) targets: Targets,
    pub(super) claimant: Option<Claimant>,
    pub(crate) lent: Lent,
    pub(super) caches: Caches,
    /// Who waits for [`Shared::grown`].
    waiting: u32,
    /// Page allocations that are under way.
    pub(super) growing: u32,
    /// Pages that are being given back: their numbers are not free yet.
    pub(super) returning: u32,
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
    /// The marks.
    pub(crate) fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Does something with the marks and the number of free chunks, and tells the depot what came of it.
    pub(super) fn with_marks<T>(&mut self, change: impl FnOnce(&mut Marks, u32) -> T) -> T {
        let answer = change(&mut self.marks, self.depot.free());
        self.depot.mark(self.marks.fall(), self.marks.rise());
        answer
    }

    /// Takes a chunk that is at hand, if nothing else has to be done then: as nearly always.
    #[inline]
    pub(super) fn pop_ready(&mut self) -> Option<u32> {
        self.depot.pop_ready()
    }

    /// Puts a chunk into the depot, if nothing else has to be done then. `false`: it was not put there.
    #[inline]
    pub(super) fn push_ready(&mut self, index: u32) -> bool {
        self.depot.push_ready(index)
    }

    /// Takes a chunk out of the depot.
    #[inline]
    pub(super) fn pop(&mut self) -> (Option<u32>, Due) {
        let popped = match self.depot.free() {
            0 => None,
            _ => self.depot.pop(),
        };
        (popped, self.fallen())
    }

    /// Takes up to `most` chunks out of the depot and gives each to `put`. Answers how many there were.
    pub(super) fn pop_many(&mut self, most: usize, put: impl FnMut(u32)) -> (usize, Due) {
        let popped = self.depot.pop_many(most, put);
        (popped, self.fallen())
    }

    /// There are fewer free chunks than before.
    #[inline]
    pub(super) fn fallen(&mut self) -> Due {
        if self.depot.free() >= self.marks.fall() {
            return Due::default();
        }
        self.fallen_under()
    }

    #[cold]
    fn fallen_under(&mut self) -> Due {
        self.with_marks(Marks::fallen)
    }

    /// Puts a chunk into the depot, and rings whoever waited for it.
    pub(super) fn push(&mut self, index: u32) -> Due {
        self.depot.push(index);
        self.risen()
    }

    /// Chunks that were given to the driver or posted, since the pool was made.
    pub(crate) fn allocations(&self) -> u64 {
        self.caches.allocations(self.depot.popped())
    }

    /// Whether there will be a free chunk or a free page number without anybody giving up a buffer, for
    /// who can wait for [`Shared::grown`].
    pub(super) fn is_worth_waiting(&self) -> bool {
        self.growing > 0 || (self.returning > 0 && self.depot.is_at_limit())
    }

    /// How many chunks are to stay free, `held` at least, while there are pages to be given back. `None`:
    /// there are none, and shrinking has come to its end.
    pub(super) fn shrinks_to(&mut self, held: u32) -> Option<u32> {
        let keep = self.marks.high().map(|high| high.max(held));
        let keep = keep.filter(|keep| self.depot.can_retire(*keep));
        if keep.is_none() {
            self.with_marks(|marks, _| marks.shrunk());
        }
        keep
    }

    /// Takes a page out that is to be given back, if `keep` chunks stay free.
    pub(super) fn retire(&mut self, keep: u32) -> Option<u32> {
        let number = self.depot.retire(keep)?;
        self.returning += 1;
        Some(number)
    }

    /// The page was given back.
    pub(super) fn gave_back(&mut self, number: u32) {
        self.depot.cancel(number);
        self.returning -= 1;
        self.returned += 1;
        // Where the pool was at its limit, it is not any more.
        self.with_marks(|marks, _| marks.grown());
    }

    /// Whether somebody waits for [`Shared::grown`].
    pub(super) fn is_awaited(&self) -> bool {
        self.waiting > 0
    }

    /// Growth has come to its end. If the page is there its chunks are free now; if the caller takes one,
    /// that is answered.
    pub(super) fn grew(&mut self, number: u32, there: bool, takes: bool) -> (Option<u32>, Due) {
        self.growing -= 1;
        if !there {
            self.depot.cancel(number);
            return (None, Due::default());
        }
        self.grown += 1;
        // Who has the first claim takes what he wants of all of them.
        if takes && !self.marks.is_claimed() {
            let index = self.depot.install_and_pop(number);
            return (index, self.risen() | self.fallen());
        }
        self.depot.install(number);
        let due = self.risen();
        if !takes {
            return (None, due);
        }
        let (popped, fallen) = self.pop();
        (popped, due | fallen)
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
    pub(super) fn risen(&mut self) -> Due {
        if !self.marks.is_reached(self.depot.free()) {
            return Due::default();
        }
        self.risen_over()
    }

    #[cold]
    fn risen_over(&mut self) -> Due {
        let claimed = if self.marks.is_claimed() {
            self.claim()
        } else {
            Due::default()
        };
        let due = self.with_marks(Marks::risen);
        if due.alarms != 0 {
            self.targets.ring(due.alarms);
        }
        claimed | due
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
/// An index is in the depot if its slot is free and its page there, and not if it is used or on card, but for the moments
/// between the two steps of an operation, during which the operation's caller alone knows the index.
#[pin_data]
pub(crate) struct Shared {
    name: CString,
    dev: ARef<Device>,
    pub(super) wait_ms: u32,
    /// Chunks that stay whatever memory pressure there is.
    pub(super) floor: u32,
    /// Free chunks that somebody was promised, and that stay, too.
    pub(super) held: Atomic<u32>,
    pub(crate) geometry: Geometry,
    pub(crate) slots: Slots,
    pub(super) pages: Pages,
    #[pin]
    pub(crate) guarded: IrqLock<Guarded>,
    /// Somebody's growth came to its end, well or not, or a page was given back.
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
            let marks = Marks::new(tide.low, tide.high);
            let tables = Tables::new(geometry)?;
            let lent = Lent::new(geometry, config.lending)?;
            let initial = geometry.initial_pages() * geometry.chunks();
            Ok(try_pin_init!(Self {
                name: CString::try_from(config.name)?,
                dev: dev.into(),
                wait_ms: config.wait_ms,
                floor: initial.max(tide.low),
                held: Atomic::new(0),
                geometry: *geometry,
                slots: Slots::new(geometry)?,
                pages: Pages::new(master, config.backing, geometry)?,
                guarded <- new_irq_lock!(
                    init!(Guarded {
                        depot: {
                            let mut depot = Depot::new(tables);
                            depot.mark(marks.fall(), marks.rise());
                            depot
                        },
                        marks,
                        targets: Targets::default(),
                        claimant: None,
                        lent,
                        caches: Caches::default(),
                        waiting: 0,
                        growing: 0,
                        returning: 0,
                        asked: 0,
                        grown: 0,
                        returned: 0,
                        failures: [0; gfp::KINDS],
                    }),
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

    /// The page of a chunk.
    #[inline]
    pub(super) fn page_of(&self, index: u32) -> u32 {
        self.geometry.page_of(index)
    }

    /// Where a chunk is, for the CPU and for the device.
    ///
    /// # Safety
    ///
    /// The chunk `index` has an owner, or the caller is in the RCU read-side section in which it saw
    /// that it has.
    #[inline]
    pub(super) unsafe fn locate(&self, index: u32) -> (NonNull<u8>, DmaAddress) {
        // SAFETY: The chunk has or had an owner, so its page is there and stays.
        unsafe { (self.pages.cpu(index), self.pages.dma(index)) }
    }

    /// The state word of a chunk.
    ///
    /// # Safety
    ///
    /// `index` is that of a chunk of this pool: it came out of the depot or was found by a handle.
    #[inline]
    pub(crate) unsafe fn slot(&self, index: u32) -> &Slot {
        // SAFETY: There is a word for each chunk.
        // CAST: `u32` to `usize`, which is no smaller on any machine that runs Linux.
        unsafe { self.slots.words().get_unchecked(index as usize) }
    }

    /// Waits until somebody's growth comes to its end, well or not, or a page is given back. The lock is not
    /// held meanwhile.
    pub(super) fn wait(&self, guarded: &mut Guard<'_, Guarded, IrqSave>) {
        guarded.waiting += 1;
        self.grown.wait(guarded);
        guarded.waiting -= 1;
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
        // SAFETY: As in `locate`; the range lies in the chunk, as just checked.
        unsafe { self.pages.sync(index, offset, len, direction) };
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

    /// The same for a handle that is not on the card for `owner`.
    #[cold]
    pub(super) fn refused_for(&self, handle: Handle, owner: Owner) -> HandleError {
        self.refused(handle, self.slots.why_not(handle, owner))
    }

    /// Chunks that the driver or the card has. Those in a cache are nobody's, and so is what a C owner
    /// gave back: it does both steps of that under the lock that is held here.
    pub(super) fn out(&self) -> usize {
        let _guarded = self.guarded.lock();
        let count = self.slots.count();
        count.used + count.card
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

    /// Says that the pool was forgotten.
    #[cold]
    pub(super) fn report_forgotten(&self) {
        dev_err!(
            self.dev,
            "mbpool {}: not dropped by its driver, but ended as the device is unbound\n",
            self.name()
        );
    }

    /// Says what is out when the pool goes.
    #[cold]
    pub(super) fn report_leak(&self) {
        let count = self.slots.count();
        let busy = (0..self.geometry.max_pages())
            .filter(|page| !self.slots.is_idle(*page))
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
