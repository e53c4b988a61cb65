// SPDX-License-Identifier: GPL-2.0

//! The transmit path.
//!
//! A packet is copied into a buffer of a pool, and the buffer's handle is the cookie by which the card
//! says that it was sent. That is simpler than mapping the packet for DMA, which takes a table of
//! who waits for which cookie, a mapping of each fragment and its end on each way out, and with an IOMMU
//! a flush for each packet; and the card gets to see frames only, never the page around a packet.
//! A driver for a fast card would map.

use crate::{
    card::{
        regs::{
            self,
            tx,
            ReturnEntry,
            SendEntry, //
        },
        Card, //
    },
    counter::Counter,
    net::{
        self,
        Verdict, //
    },
    ring::Ring,
    rx::{
        LARGE,
        PAGE, //
    }, //
};
use kernel::{
    alloc::flags::__GFP_NOWARN,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        barrier::{
            smp_mb,
            Full, //
        },
        Arc, //
    }, //
};
use mbpool::{
    Handle,
    Pool, //
};

/// What the sending and the completing side share.
pub(crate) struct Shared<'bound> {
    card: Arc<Card<'bound>>,
    pool: Pool<'bound>,
    /// Frames on the card, at most `size`.
    on_card: Atomic<u32>,
    size: u16,
    /// Frames given to the card; the sending side counts, here and in the three below.
    pub(crate) packets: Counter,
    /// Their bytes.
    pub(crate) bytes: Counter,
    /// Frames dropped for want of memory.
    pub(crate) dropped: Counter,
    /// Frames that no buffer holds.
    pub(crate) refused: Counter,
    /// Frames that the card did not send, and words of it that name no frame; counted by the
    /// completing side.
    pub(crate) errors: Counter,
}

impl<'bound> Shared<'bound> {
    /// Makes the pool, for `size` frames on the card. Sleeps.
    pub(crate) fn new(card: Arc<Card<'bound>>, size: u16) -> Result<Arc<Self>> {
        let pages = (usize::from(size) * LARGE).div_ceil(PAGE);
        let config = mbpool::Config::new(c"tx", LARGE)
            .align(64)
            .page_size(PAGE)
            .max_pages(u32::try_from(pages)?)
            // All at once: sending shall find memory, and cannot sleep for it.
            .initial_pages(u32::try_from(pages)?);
        let shared = Self {
            pool: Pool::new(card.device(), config, GFP_KERNEL)?,
            card,
            on_card: Atomic::new(0),
            size,
            packets: Counter::default(),
            bytes: Counter::default(),
            dropped: Counter::default(),
            refused: Counter::default(),
            errors: Counter::default(),
        };
        Ok(Arc::new(shared, GFP_KERNEL)?)
    }

    fn is_full(&self) -> bool {
        self.on_card.load(Relaxed) >= u32::from(self.size)
    }

    /// Enables the transmitter; both rings are laid out.
    pub(crate) fn start(&self) -> Result {
        self.card.enable(regs::TX_BASE + tx::CONTROL)
    }

    /// Takes back all frames that are on the card, which was reset and no longer knows them.
    pub(crate) fn reclaim(&self) {
        self.pool.reclaim_card();
        self.on_card.store(0, Relaxed);
    }
}

/// The sending side.
pub(crate) struct Sender<'bound> {
    shared: Arc<Shared<'bound>>,
    ring: Ring,
}

impl net::Transmit for Sender<'_> {
    fn transmit(&mut self, skb: &net::Skb, queue: &net::TxQueue<'_>) -> Verdict {
        if self.shared.is_full() {
            queue.stop();
            return Verdict::Busy;
        }
        let verdict = self.copy_and_post(skb);
        if self.shared.is_full() {
            queue.stop();
            // Either we see what was completed meanwhile, or the completing side sees that the queue is
            // stopped.
            smp_mb(Full);
            if !self.shared.is_full() {
                queue.start();
            }
        }
        verdict
    }
}

impl<'bound> Sender<'bound> {
    pub(crate) fn new(shared: Arc<Shared<'bound>>) -> Result<Self> {
        Ok(Self {
            ring: Ring::new(shared.card.device(), shared.size)?,
            shared,
        })
    }

    /// Tells the card where the ring is. The card was reset.
    pub(crate) fn lay_out(&mut self) {
        self.ring.clear();
        self.shared
            .card
            .set_ring(regs::TX_BASE + tx::SEND, &self.ring);
    }

    /// Sends a copy of the packet; the ring has room.
    fn copy_and_post(&mut self, skb: &net::Skb) -> Verdict {
        let shared = &*self.shared;
        // Free -> used.
        let Ok(mut buffer) = shared.pool.alloc(GFP_ATOMIC | __GFP_NOWARN) else {
            shared.dropped.add(1);
            return Verdict::Dropped;
        };
        let Some(length) = copy(skb, &mut buffer) else {
            shared.refused.add(1);
            return Verdict::Dropped;
        };
        // Used -> on card. Counted before that: a card that guesses the handle can complete it at once.
        shared.on_card.add(1, Relaxed);
        let posted = buffer.post();
        let entry = SendEntry {
            address: posted.dma,
            cookie: posted.handle.into_raw(),
            length,
        };
        self.ring.push(entry.encode());
        let base = regs::TX_BASE + tx::SEND;
        shared.card.doorbell(base, self.ring.index(), false);

        shared.packets.add(1);
        shared.bytes.add(u64::from(length));
        Verdict::Sent
    }
}

/// Copies the packet and returns its length, if the buffer and the ring's entry can hold it.
fn copy(skb: &net::Skb, buffer: &mut [u8]) -> Option<u16> {
    let length = u16::try_from(skb.len()).ok()?;
    let frame = buffer.get_mut(..usize::from(length))?;
    skb.copy_to(frame).ok()?;
    Some(length)
}

/// The completing side.
pub(crate) struct Completer<'bound> {
    shared: Arc<Shared<'bound>>,
    ring: Ring,
}

impl net::Poll for Completer<'_> {
    fn poll(&mut self, napi: &net::Context<'_>, budget: usize) -> usize {
        let mut done = 0;
        // Freeing what was sent is cheap and not what the budget is for, but must come to an end.
        while done < self.shared.size {
            let Some(entry) = self.ring.pop() else {
                break;
            };
            self.complete(&entry);
            done += 1;
        }

        let more = done == self.shared.size;
        let base = regs::TX_BASE + tx::DONE;
        self.shared.card.doorbell(base, self.ring.index(), !more);
        if done > 0 {
            // See `Sender::transmit`.
            smp_mb(Full);
            if !self.shared.is_full() {
                napi.wake_queue();
            }
        }
        if more {
            budget
        } else {
            0
        }
    }
}

impl<'bound> Completer<'bound> {
    pub(crate) fn new(shared: Arc<Shared<'bound>>) -> Result<Self> {
        Ok(Self {
            ring: Ring::new(shared.card.device(), shared.size)?,
            shared,
        })
    }

    /// Tells the card where the ring is. The card was reset.
    pub(crate) fn lay_out(&mut self) {
        self.ring.clear();
        self.shared
            .card
            .set_ring(regs::TX_BASE + tx::DONE, &self.ring);
    }

    /// Frees the buffer of a frame that the card is done with.
    fn complete(&self, entry: &ReturnEntry) {
        // On card -> used, and, dropped at once, -> free.
        let Ok(_buffer) = self.shared.pool.take(Handle::from_raw(entry.handle)) else {
            self.shared.errors.add(1);
            return;
        };
        self.shared.on_card.fetch_sub(1, Relaxed);
        if entry.error {
            self.shared.errors.add(1);
        }
    }
}
