// SPDX-License-Identifier: GPL-2.0

//! Supply: where chunks come from. The depot first, another's growth that is under way next, and the
//! DMA layer last.

use super::shared::{
    Guarded,
    Shared, //
};
use crate::{
    core::marks::Due,
    gfp::{
        self,
        Kind, //
    }, //
};
use kernel::{
    alloc::Flags,
    prelude::*, //
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
        // What follows the lock is the same in both cases, so that nothing has to be kept across it.
        let ready = self.guarded.lock().pop_ready();
        match ready {
            Some(index) => Ok(index),
            // SAFETY: As the caller promises.
            None => unsafe { self.pop_slow(gfp) },
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
        put(unsafe { self.pop_slow(gfp) }?);
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
    unsafe fn pop_slow(&self, gfp: Flags) -> Result<u32> {
        let kind = Kind::of(gfp);
        let mut looked = false;
        loop {
            let mut guarded = self.guarded.lock();
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
                continue;
            }
            // Under the same lock as the look at `growing`, or two would grow where one does.
            let reserved = guarded.reserve();
            drop(guarded);
            self.background.start(due);
            // One of the page's chunks is ours at once, unless who has the first claim takes them all.
            let mut got = None;
            let take = |guarded: &mut Guarded| {
                let (popped, due) = guarded.pop();
                got = popped;
                due
            };
            // SAFETY: The device is bound, as the caller promises.
            let grown = reserved.and_then(|number| unsafe { self.grow_into(number, gfp, take) });
            if let Err(error) = grown {
                self.guarded.lock().failures[kind as usize] += 1;
                return Err(error);
            }
            if let Some(index) = got {
                return Ok(index);
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
        unsafe { self.grow_into(number, gfp, |_| Due::default()) }
    }

    /// The same for a page that was reserved with [`Guarded::reserve`]; `then` is called under the lock under
    /// which its chunks come free.
    ///
    /// # Safety
    ///
    /// The device is bound, and the page was reserved for this call.
    pub(super) unsafe fn grow_into(
        &self,
        number: u32,
        gfp: Flags,
        then: impl FnOnce(&mut Guarded) -> Due,
    ) -> Result {
        // SAFETY: As the caller promises.
        let result = unsafe { self.bring(number, gfp) };
        let (due, awaited) = {
            let mut guarded = self.guarded.lock();
            guarded.growing -= 1;
            let due = match result {
                Ok(()) => {
                    guarded.depot.install(number);
                    guarded.grown += 1;
                    guarded.risen() | then(&mut guarded)
                }
                Err(_) => {
                    guarded.depot.cancel(number);
                    Due::default()
                }
            };
            (due, guarded.is_awaited())
        };
        self.background.start(due);
        if awaited {
            self.grown.notify_all();
        }
        result
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
        let first = self.index(number, 0);
        self.slots.appear(first, self.geometry.chunks());
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
