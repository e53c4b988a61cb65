// SPDX-License-Identifier: GPL-2.0

//! Lending: a buffer goes up a stack as a page, and comes home when the stack lets go of it.
//!
//! The stack knows nothing of pools: what it has is a reference to a `struct page`, and it gives that up
//! wherever it likes. So the pool looks now and then, from a work item and before it grows, whether it
//! has the only reference again.

use super::{
    buffer::Buffer,
    shared::Shared,
    Pool, //
};
use crate::{
    core::lent::Loan,
    dma, //
};
use core::{
    mem::ManuallyDrop,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    prelude::*, //
};

/// The most loans that are looked at in one round of the lock, and for a caller who wants a chunk.
const GLANCE: u32 = 16;

/// A buffer as who deals in pages sees it. Dropping it lets go of it, in any context but NMI.
///
/// # Invariants
///
/// We have one reference to `page`, whose first `len` bytes are the buffer.
pub struct PageRef {
    page: NonNull<bindings::page>,
    len: usize,
}

// SAFETY: A reference to a page belongs to no thread.
unsafe impl Send for PageRef {}

impl PageRef {
    /// Bytes of the buffer, from the start of the page.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "a buffer is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The page, for as long as we have the reference to it.
    #[inline]
    pub fn page(&self) -> NonNull<bindings::page> {
        self.page
    }

    /// The page, with the reference to it, which the caller has from now on.
    #[inline]
    pub fn into_raw(self) -> NonNull<bindings::page> {
        ManuallyDrop::new(self).page
    }
}

impl Drop for PageRef {
    fn drop(&mut self) {
        // SAFETY: The reference is ours by the type invariant, and `self` is not used again.
        unsafe { dma::put_page(self.page) };
    }
}

/// The time, as loans are stamped with it.
pub(super) fn now() -> u32 {
    // SAFETY: A counter that is always there; read as C does.
    let jiffies = unsafe { (&raw const bindings::jiffies).read_volatile() };
    // CAST: The low bits do for differences.
    jiffies as u32
}

impl<'pool> Buffer<'pool> {
    /// Lends the buffer to a stack that deals in pages, such as the network's. Any context but NMI.
    ///
    /// The chunk stays used until the last reference to the page but the pool's own is gone. It stays
    /// mapped for the device, too, so a card that is not to be trusted may write into it meanwhile.
    ///
    /// # Errors
    ///
    /// The buffer itself, when its pool cannot lend: it is coherent, was not made with
    /// [`Config::lending`](crate::Config::lending), or a page of it has more than one chunk.
    pub fn into_page(self) -> Result<PageRef, Self> {
        let (shared, index) = self.into_parts();
        let len = shared.geometry.size();
        let loan = Loan {
            index,
            since: now(),
        };
        let page = shared.page_of(index);
        if shared.geometry.chunks() != 1 {
            return Err(Self::new(shared, index));
        }
        // SAFETY: We own the chunk, so its page is there and stays.
        let Some(page) = (unsafe { shared.pages.share(page) }) else {
            return Err(Self::new(shared, index));
        };
        // INVARIANT: `share` gave a reference, and the buffer is the one chunk of its page.
        let page = PageRef { page, len };
        let (lent, first) = {
            let mut guarded = shared.guarded.lock();
            let lent = guarded.lent.push(loan);
            if lent {
                // The receipt is for owners who have nothing else; here the page's reference count tells.
                shared.slots.lend(index);
            }
            (lent, guarded.lent.len() == 1)
        };
        if !lent {
            return Err(Self::new(shared, index));
        }
        if first {
            shared.background.look_later();
        }
        Ok(page)
    }
}

impl Pool<'_> {
    /// Looks at all loans, and takes home what the stack has let go. Answers how many came. Any
    /// context but NMI; takes time in proportion to what is lent.
    ///
    /// It happens by itself every few milliseconds; call it to have them sooner.
    pub fn reap(&self) -> u32 {
        self.shared.reap(u32::MAX)
    }
}

impl Shared {
    /// Takes home what came back of the loans, looking at `most` of them at the most.
    pub(super) fn reap(&self, most: u32) -> u32 {
        let mut left = most.min(self.guarded.lock().lent.len());
        let mut home = 0;
        while left > 0 {
            let some = left.min(GLANCE);
            home += self.reap_some(some);
            left -= some;
        }
        home
    }

    /// The same, a few, for who needs a chunk now.
    pub(super) fn glance(&self) -> u32 {
        self.reap_some(GLANCE)
    }

    /// Looks at the `most` oldest loans, with interrupts off: takes each home, or puts it back at the end.
    fn reap_some(&self, most: u32) -> u32 {
        let mut home = 0;
        let due = {
            let mut guarded = self.guarded.lock();
            for _ in 0..most.min(guarded.lent.len()) {
                let Some(loan) = guarded.lent.pop() else {
                    break;
                };
                // SAFETY: A chunk that is lent is used, so its page is there and stays.
                if unsafe { self.pages.is_shared(self.page_of(loan.index)) } {
                    guarded.lent.push(loan);
                    continue;
                }
                self.slots.repay(loan.index);
                guarded.depot.push(loan.index);
                home += 1;
            }
            guarded.risen()
        };
        self.background.start(due);
        home
    }

    /// Gives up what is lent still: the memory belongs to the stack from now on, which frees it with
    /// the last reference. Answers how many there were, and the age of the oldest in jiffies.
    ///
    /// For a pool that is being dropped, whose pages are then unmapped.
    pub(super) fn give_up_loans(&self) -> (u32, u32) {
        let (mut count, mut oldest) = (0, 0);
        let mut guarded = self.guarded.lock();
        while let Some(loan) = guarded.lent.pop() {
            count += 1;
            oldest = oldest.max(now().wrapping_sub(loan.since));
            self.slots.repay(loan.index);
            guarded.depot.push(loan.index);
        }
        (count, oldest)
    }
}
