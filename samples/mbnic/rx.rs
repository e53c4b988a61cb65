// SPDX-License-Identifier: GPL-2.0

//! The receive path.
//!
//! A receive group has two pools, of small and of large buffers. All of them are on the card, which
//! knows them by handle. When a frame comes in,
//!
//! 1. the card writes it into a buffer, puts the buffer's handle and the frame's length into the
//!    return ring, and raises the group's interrupt;
//! 2. the stack polls the group: the pool checks the handle and gives the buffer;
//! 3. the frame is copied into a packet, which goes up the stack;
//! 4. the buffer is posted: the card has it again, under a new handle.
//!
//! Nothing that the card says is believed. The pool refuses a handle that is not on the card,
//! and a length past the end of the buffer is refused here. Either costs that frame and no more.

use crate::{
    card::{
        regs::{
            self,
            group,
            FreeEntry,
            ReturnEntry, //
        },
        Card, //
    },
    counter::Counter,
    net,
    ring::Ring, //
};
use kernel::{
    prelude::*,
    str::CString,
    sync::Arc, //
};
use mbpool::{
    Handle,
    Pool,
    Posted, //
};

/// Size in bytes of a small buffer.
const SMALL: usize = 256;
/// Size in bytes of a large buffer, and so of the longest frame.
pub(crate) const LARGE: usize = 2048;
/// Bits at the top of a handle that tell the card's pools apart: two of each of its eight groups.
const STOCK_BITS: u32 = 4;
/// Size in bytes of the pages that a pool is made of.
pub(crate) const PAGE: usize = 16384;

/// What a group counts.
#[derive(Default)]
pub(crate) struct Counters {
    /// Frames given to the stack.
    pub(crate) packets: Counter,
    /// Their bytes.
    pub(crate) bytes: Counter,
    /// Entries of the return ring that were not to be used.
    pub(crate) errors: Counter,
    /// Those of them with a length that no frame has.
    pub(crate) length_errors: Counter,
    /// Frames dropped for want of memory.
    pub(crate) dropped: Counter,
}

/// A receive group of the card.
pub(crate) struct Group<'bound> {
    card: Arc<Card<'bound>>,
    number: usize,
    small: Stock<'bound>,
    large: Stock<'bound>,
    returned: Ring,
    counters: Arc<Counters>,
}

impl net::Poll for Group<'_> {
    fn poll(&mut self, napi: &net::Context<'_>, budget: usize) -> usize {
        let mut done = 0;
        while done < budget {
            let Some(entry) = self.returned.pop() else {
                break;
            };
            self.receive(napi, &entry);
            done += 1;
        }

        self.small.show(&self.card);
        self.large.show(&self.card);
        // With budget left we are through: the next frame shall raise the interrupt.
        self.card.doorbell(
            self.register(group::RETURN),
            self.returned.index(),
            done < budget,
        );
        done
    }
}

impl<'bound> Group<'bound> {
    /// Takes one buffer back from the card, its frame up the stack, and the buffer to the card again.
    fn receive(&mut self, napi: &net::Context<'_>, entry: &ReturnEntry) {
        let handle = Handle::from_raw(entry.handle);
        let stocks = [&mut self.small, &mut self.large];
        let Some(stock) = stocks.into_iter().find(|stock| stock.owns(handle)) else {
            self.counters.errors.add(1);
            return;
        };
        // On card -> used. What is no handle, or one that the card has not, ends here.
        let Ok(buffer) = stock.pool.take(handle) else {
            self.counters.errors.add(1);
            return;
        };
        let frame = usize::try_from(entry.length)
            .ok()
            .and_then(|len| buffer.get(..len));
        match frame {
            _ if entry.error => self.counters.errors.add(1),
            None => self.counters.bad_length(),
            Some(frame) => self.counters.deliver(napi, frame),
        }
        // Used -> on card.
        let posted = buffer.post();
        if stock.push(posted).is_err() {
            self.counters.errors.add(1);
        }
    }

    /// Makes the pools and the rings of a group, which hold `size` buffers of either kind. Sleeps.
    pub(crate) fn new(card: Arc<Card<'bound>>, number: usize, size: u16) -> Result<Self> {
        let dev = card.device();
        let small = CString::try_from_fmt(fmt!("rx{number}-small"))?;
        let large = CString::try_from_fmt(fmt!("rx{number}-large"))?;
        let base = |ring| regs::group_register(number, ring);
        let tag = u32::try_from(number)? * 2;
        Ok(Self {
            small: Stock::new(&card, &small, SMALL, size, base(group::SMALL), tag)?,
            large: Stock::new(&card, &large, LARGE, size, base(group::LARGE), tag + 1)?,
            // All buffers may come back before we look.
            returned: Ring::new(dev, size.checked_mul(2).ok_or(EINVAL)?)?,
            counters: Arc::new(Counters::default(), GFP_KERNEL)?,
            number,
            card,
        })
    }

    /// Puts all buffers on the card and enables the group; the card was reset. Sleeps.
    pub(crate) fn start(&mut self) -> Result {
        self.reclaim();
        self.returned.clear();
        self.card
            .set_ring(self.register(group::RETURN), &self.returned);
        self.small.lay_out(&self.card);
        self.large.lay_out(&self.card);
        self.card.enable(self.register(group::CONTROL))?;
        self.small.fill(&self.card)?;
        self.large.fill(&self.card)
    }

    /// Takes back all buffers that are on the card, which was reset and no longer knows them.
    pub(crate) fn reclaim(&mut self) {
        self.small.pool.reclaim_card();
        self.large.pool.reclaim_card();
    }

    /// What the group counts.
    pub(crate) fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    fn register(&self, register: usize) -> usize {
        regs::group_register(self.number, register)
    }
}

impl Counters {
    /// Copies a frame into a packet and hands that to the stack.
    fn deliver(&self, napi: &net::Context<'_>, frame: &[u8]) {
        let Some(skb) = napi.copy_to_skb(frame) else {
            self.dropped.add(1);
            return;
        };
        if napi.receive(skb).is_err() {
            self.bad_length();
            return;
        }
        self.packets.add(1);
        // CAST: Widens.
        self.bytes.add(frame.len() as u64);
    }

    fn bad_length(&self) {
        self.errors.add(1);
        self.length_errors.add(1);
    }
}

/// Buffers of one size: their pool, and the ring in which the card finds those that are free.
struct Stock<'bound> {
    pool: Pool<'bound>,
    ring: Ring,
    base: usize,
    /// What the pool's handles carry in their user bits.
    tag: u32,
    chunk: u32,
    /// How far the card was shown the ring.
    shown: u16,
}

impl<'bound> Stock<'bound> {
    fn new(
        card: &Card<'bound>,
        name: &CStr,
        chunk: usize,
        size: u16,
        base: usize,
        tag: u32,
    ) -> Result<Self> {
        let pages = (usize::from(size) * chunk).div_ceil(PAGE);
        let config = mbpool::Config::new(name, chunk)
            .align(64)
            .page_size(PAGE)
            .max_pages(u32::try_from(pages)?)
            .user_bits(STOCK_BITS, 0);
        Ok(Self {
            pool: Pool::new(card.device(), config, GFP_KERNEL)?,
            ring: Ring::new(card.device(), size)?,
            base,
            tag,
            chunk: u32::try_from(chunk)?,
            shown: 0,
        })
    }

    /// Tells the card where the ring is.
    fn lay_out(&mut self, card: &Card<'_>) {
        self.ring.clear();
        self.shown = 0;
        card.set_ring(self.base, &self.ring);
    }

    /// Gives the card as many buffers as the ring holds. What the pool lacks it allocates.
    fn fill(&mut self, card: &Card<'_>) -> Result {
        for _ in 0..self.ring.size() {
            // Free -> on card.
            let posted = self.pool.post(GFP_KERNEL)?;
            self.push(posted)?;
        }
        self.show(card);
        Ok(())
    }

    /// Whether a handle is one of ours, to go by what it says.
    fn owns(&self, handle: Handle) -> bool {
        self.pool.user_bits(handle) == (self.tag, 0)
    }

    /// Puts a buffer into the ring, which has room: no more buffers are on the card than it holds.
    fn push(&mut self, posted: Posted) -> Result {
        let handle = self.pool.with_user_bits(posted.handle, self.tag, 0)?;
        let entry = FreeEntry {
            address: posted.dma,
            handle: handle.into_raw(),
            size: self.chunk,
        };
        self.ring.push(entry.encode());
        Ok(())
    }

    /// Shows the card what was put into the ring, if anything was.
    fn show(&mut self, card: &Card<'_>) {
        if self.shown != self.ring.index() {
            self.shown = self.ring.index();
            card.doorbell(self.base, self.shown, false);
        }
    }
}
