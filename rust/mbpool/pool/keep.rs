// SPDX-License-Identifier: GPL-2.0

//! What the registry does with a pool that clients share: takes chunks that are nobody else's, has the
//! pool keep those that are, and puts chunks on the card for one client.
//!
//! Who is owed a chunk is not the pool's business. It knows a number, that of the chunks to be held, and
//! gives no page back if fewer would stay free. The number is written before the chunk that makes it
//! true comes free, or after the one that made it so was taken: whoever sees the chunk under the pool's
//! lock sees the number.

use super::{
    buffer::{
        Buffer,
        Peek,
        Posted, //
    },
    Pool, //
};
use crate::{
    core::{
        handle::{
            Handle,
            HandleError, //
        },
        marks::Due,
        slots::Owner, //
    },
    gfp::Kind, //
};
use core::ops::Range;
use kernel::{
    alloc::Flags,
    device::Device,
    prelude::*,
    sync::{
        atomic::Relaxed,
        rcu, //
    }, //
};

impl Pool<'_> {
    /// Chunks that the pool has at its limit.
    pub(crate) fn limit(&self) -> u32 {
        self.shared.geometry.max_pages() * self.shared.geometry.chunks()
    }

    /// Free chunks.
    pub(crate) fn free(&self) -> u32 {
        self.shared.guarded.lock().depot.free()
    }

    /// How many chunk indices there are.
    pub(crate) fn indices(&self) -> u32 {
        self.shared.geometry.indices()
    }

    /// The device that the pool was asked of.
    pub(crate) fn dev(&self) -> &Device {
        self.shared.dev()
    }

    /// How long to wait for what others have, in milliseconds.
    pub(crate) fn wait_ms(&self) -> u32 {
        self.shared.wait_ms
    }

    /// From now on `chunks` free ones stay, whatever memory pressure there is.
    pub(crate) fn hold(&self, chunks: u32) {
        self.shared.held.store(chunks, Relaxed);
    }

    /// Less is held than before, with no chunk taken: what is over the high mark now can go.
    pub(crate) fn let_go(&self) {
        let shrink = {
            let guarded = self.shared.guarded.lock();
            let free = guarded.depot.free();
            guarded.marks().high().is_some_and(|high| free > high)
        };
        // Even if it is under way: it may have looked at what was held before.
        self.shared.background.start(Due {
            shrink,
            ..Due::default()
        });
    }

    /// Takes a buffer if more than `keep` chunks are free: free -> used.
    pub(crate) fn alloc_over(&self, keep: u32) -> Option<Buffer<'_>> {
        let (popped, due) = {
            let mut guarded = self.shared.guarded.lock();
            if guarded.depot.free() <= keep {
                return None;
            }
            guarded.pop()
        };
        self.shared.background.start(due);
        let index = popped?;
        // SAFETY: The chunk was popped.
        unsafe { self.shared.slot(index) }.claim();
        // INVARIANT: The chunk was popped and claimed.
        Some(Buffer::new(&self.shared, index))
    }

    /// Gives a chunk to the card for `owner`: used -> on card.
    pub(crate) fn post_for(&self, buffer: Buffer<'_>, owner: Owner) -> Posted {
        let dma = buffer.dma_address();
        let (shared, index) = buffer.into_parts();
        Posted {
            // SAFETY: We owned the chunk.
            handle: unsafe { shared.slot(index) }.post(shared.slots.layout(), index, owner),
            dma,
        }
    }

    /// Takes back a chunk that is on the card for `owner`: on card -> used. Errors as for [`Pool::take`].
    pub(crate) fn take_for(&self, handle: Handle, owner: Owner) -> Result<Buffer<'_>, HandleError> {
        match self.shared.slots.take_for(handle, owner) {
            // INVARIANT: The chunk went from on card to used, by nobody's hand but ours.
            Some(index) => Ok(Buffer::new(&self.shared, index)),
            None => Err(self.shared.refused_for(handle, owner)),
        }
    }

    /// Looks at a chunk that is on the card for `owner`, and leaves it there. Errors as for [`Pool::take`].
    pub(crate) fn peek_for(&self, handle: Handle, owner: Owner) -> Result<Peek<'_>, HandleError> {
        let rcu = rcu::read_lock();
        match self.shared.slots.peek_for(handle, owner) {
            // INVARIANT: Just seen on card, and who gives its page back waits for who is under RCU.
            Some(index) => Ok(Peek::new(&self.shared, index, rcu)),
            None => Err(self.shared.refused_for(handle, owner)),
        }
    }

    /// On card for `owner` -> free, of the chunks with these indices; `returning` is called for each
    /// before it is free. Interrupts are off meanwhile.
    pub(crate) fn reclaim_for(
        &self,
        indices: Range<u32>,
        owner: Owner,
        mut returning: impl FnMut(),
    ) {
        self.shared.push_many(indices.filter(|index| {
            let reclaimed = self.shared.slots.reclaim_for(*index, owner);
            if reclaimed {
                returning();
            }
            reclaimed
        }));
    }

    /// Sees to it that more than `keep` chunks are free, or have come free since: adds a page, or waits
    /// for another's growth if `gfp` allows it. Others may take what it brings: look, and call it again.
    ///
    /// # Errors
    ///
    /// `ENOSPC`: the pool is at its limit. `ENOMEM`: there is no memory.
    pub(crate) fn grow_over(&self, keep: u32, gfp: Flags) -> Result {
        let shared = &*self.shared;
        let mut guarded = shared.guarded.lock();
        if guarded.depot.free() > keep {
            return Ok(());
        }
        // As for a pool that nobody shares: who may sleep does not take a page more than it must, and waits
        // for one that is being given back.
        if Kind::of(gfp) == Kind::Sleep && guarded.is_worth_waiting() {
            shared.wait(&mut guarded);
            return Ok(());
        }
        let reserved = guarded.reserve().map_err(|_| ENOSPC);
        drop(guarded);
        // SAFETY: The device is bound, as `'bound` says.
        reserved.and_then(|number| unsafe { shared.grow_into(number, gfp, false) }.map(drop))
    }

    /// Counts an allocation that failed.
    pub(crate) fn failed(&self, gfp: Flags) {
        self.shared.guarded.lock().failures[Kind::of(gfp) as usize] += 1;
    }
}
