// SPDX-License-Identifier: GPL-2.0

//! Supply: where chunks come from. The depot first, another's growth that is under way next, and the
//! DMA layer last.

use super::shared::{
    Guarded,
    Shared, //
};
use crate::{
    gfp::{
        self,
        Kind, //
    },
    lock::IrqSave, //
};
use kernel::{
    alloc::Flags,
    prelude::*,
    sync::lock::Guard, //
};

impl Shared {
    /// Takes a chunk out of the depot, and grows the pool if it must.
    ///
    /// # Safety
    ///
    /// The device is bound.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: all chunks are out and the pool is at its limit, or there was no memory for a page.
    #[inline]
    pub(super) unsafe fn pop(&self, gfp: Flags) -> Result<u32> {
        gfp::might_alloc(gfp);
        let mut guarded = self.guarded.lock();
        match guarded.pop_ready() {
            Some(index) => Ok(index),
            // SAFETY: As the caller promises.
            None => unsafe { self.pop_slow(guarded, gfp) },
        }
    }

    /// Takes up to `most` chunks out of the depot, which is more than none, and gives each to `put`.
    /// Grows the pool if there is none. Answers how many there were, at least one.
    ///
    /// # Safety
    ///
    /// The device is bound.
    ///
    /// # Errors
    ///
    /// As for [`Shared::pop`].
    pub(super) unsafe fn pop_many(
        &self,
        most: usize,
        gfp: Flags,
        mut put: impl FnMut(u32),
    ) -> Result<usize> {
        gfp::might_alloc(gfp);
        let (popped, due) = self.guarded.lock().pop_many(most, &mut put);
        self.background.start(due);
        if popped > 0 {
            return Ok(popped);
        }
        // SAFETY: As the caller promises.
        put(unsafe { self.pop_slow(self.guarded.lock(), gfp) }?);
        // There is a page more now, perhaps.
        let (popped, due) = self.guarded.lock().pop_many(most.saturating_sub(1), put);
        self.background.start(due);
        Ok(popped + 1)
    }

    /// Takes back chunks that are free by now, in one round of the lock.
    pub(super) fn push_many(&self, chunks: impl Iterator<Item = u32>) {
        let due = {
            let mut guarded = self.guarded.lock();
            chunks.for_each(|index| guarded.depot.push(index));
            guarded.risen()
        };
        self.background.start(due);
    }

    /// Waits for others or grows, until there is a chunk or no hope.
    ///
    /// # Safety
    ///
    /// The device is bound.
    #[cold]
    unsafe fn pop_slow<'a>(
        &'a self,
        mut guarded: Guard<'a, Guarded, IrqSave>,
        gfp: Flags,
    ) -> Result<u32> {
        let kind = Kind::of(gfp);
        let mut looked = false;
        loop {
            let (popped, due) = guarded.pop();
            if let Some(index) = popped {
                drop(guarded);
                self.background.start(due);
                return Ok(index);
            }
            // Who may sleep does not take a second page where the one under way will do. Who may not
            // sleep needs memory now, and gets its own. Nor is the pool full while a page is given back.
            if kind == Kind::Sleep && guarded.is_worth_waiting() {
                self.wait(&mut guarded);
                continue;
            }
            if !looked && !guarded.lent.is_empty() {
                drop(guarded);
                looked = true;
                self.glance();
                guarded = self.guarded.lock();
                continue;
            }
            // Under the same lock as the look at `growing`, or two would grow where one does.
            let reserved = guarded.reserve();
            drop(guarded);
            self.background.start(due);
            // SAFETY: The device is bound, as the caller promises.
            match reserved.and_then(|number| unsafe { self.grow_into(number, gfp, true) }) {
                Ok(Some(index)) => return Ok(index),
                // Who has the first claim took all.
                Ok(None) => guarded = self.guarded.lock(),
                Err(error) => {
                    self.guarded.lock().failures[kind as usize] += 1;
                    return Err(error);
                }
            }
        }
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
        unsafe { self.grow_into(number, gfp, false) }.map(drop)
    }

    /// The same for a page that was reserved with [`Guarded::reserve`]. If the caller `takes` one of its
    /// chunks that is answered, unless who has the first claim took all.
    ///
    /// # Safety
    ///
    /// The device is bound, and the page was reserved for this call.
    pub(super) unsafe fn grow_into(
        &self,
        number: u32,
        gfp: Flags,
        takes: bool,
    ) -> Result<Option<u32>> {
        // SAFETY: As the caller promises.
        let result = unsafe { self.bring(number, gfp) };
        let (got, due, awaited) = {
            let mut guarded = self.guarded.lock();
            let (got, due) = guarded.grew(number, result.is_ok(), takes);
            (got, due, guarded.is_awaited())
        };
        self.background.start(due);
        if awaited {
            self.grown.notify_all();
        }
        result.map(|()| got)
    }

    /// Allocates the memory of a page that was reserved, and puts it in its place: all its chunks are free
    /// then.
    ///
    /// # Safety
    ///
    /// As for [`Shared::grow_into`].
    unsafe fn bring(&self, number: u32, gfp: Flags) -> Result {
        // SAFETY: The device is bound, as the caller promises, and so then is the ancestor that does the
        // DMA for it.
        let page = unsafe { self.pages.alloc(gfp) }?;
        // SAFETY: We have the page reserved, and its chunks appear only below.
        unsafe { self.pages.fill(number, page, &self.geometry) };
        self.slots.appear(number);
        Ok(())
    }

    /// Takes back a chunk that its owner gives up: used -> free.
    ///
    /// # Safety
    ///
    /// The caller owns the chunk `index`.
    #[inline]
    pub(super) unsafe fn release(&self, index: u32) {
        // SAFETY: It is the index of a chunk, as the caller has that.
        unsafe { self.slot(index) }.release();
        let done = self.guarded.lock().push_ready(index);
        if !done {
            self.push_slow(index);
        }
    }

    /// Takes back a chunk that is free by now, and does what is due then.
    #[cold]
    fn push_slow(&self, index: u32) {
        let due = self.guarded.lock().push(index);
        self.background.start(due);
    }
}
