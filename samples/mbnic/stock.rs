// SPDX-License-Identifier: GPL-2.0

//! Buffers of one size of a receive group: their pool, and the ring in which the card finds them.

use crate::{
    card::{
        regs::FreeEntry,
        Card, //
    },
    net,
    ring::Ring,
    rx::PAGE, //
};
use kernel::{
    alloc::Flags,
    dma::DataDirection,
    page::PAGE_SIZE,
    prelude::*, //
};
use mbpool::{
    Alarm,
    Backing,
    Buffer,
    Cache,
    FillLevel,
    Handle,
    Lane,
    Notify,
    Pool,
    Posted, //
};

/// Bits at the top of a handle that tell the card's pools apart: two of each of its eight groups.
const STOCK_BITS: u32 = 4;

/// The most pages of a pool that lends.
const MAX_PAGES: u32 = 16383;

/// What a stock is to be.
pub(crate) struct Config<'a> {
    /// The pool's name.
    pub(crate) name: &'a CStr,
    /// Bytes of a buffer.
    pub(crate) chunk: usize,
    /// Buffers that the ring holds.
    pub(crate) size: u16,
    /// The ring's registers.
    pub(crate) base: usize,
    /// What the pool's handles carry in their user bits.
    pub(crate) tag: u32,
    /// The least buffers that the card has while a processor is overloaded.
    pub(crate) low: u16,
    /// Whom to wake when buffers come back from the stack, if they are to go there.
    pub(crate) lend: Option<net::Waker>,
}

/// Buffers of one size.
pub(crate) struct Stock<'bound> {
    pub(crate) pool: Pool<'bound>,
    /// The group's own free buffers, which it gets at without a lock.
    pub(crate) cache: Cache,
    pub(crate) fill: FillLevel,
    /// Tells when a buffer comes back from the stack; none if the stack does not get any.
    alarm: Option<Alarm<net::Waker>>,
    ring: Ring,
    base: usize,
    tag: u32,
    chunk: u32,
    /// How far the card was shown the ring.
    shown: u16,
}

/// Gives a buffer to the card that was read, here or up the stack: used -> on card.
pub(crate) fn to_card<'pool>(lane: &mut Lane<'_, 'pool>, buffer: Buffer<'pool>) -> Posted {
    // All of a buffer is in a buffer.
    let _ = buffer.sync(0, buffer.len(), DataDirection::ToDevice);
    lane.post_buffer(buffer)
}

impl Notify for net::Waker {
    fn available(&self) {
        self.wake();
    }
}

impl<'bound> Stock<'bound> {
    /// Makes the pool and the ring, with as many buffers as the ring holds. Sleeps.
    pub(crate) fn new(card: &Card<'bound>, config: Config<'_>) -> Result<Self> {
        let Config { chunk, size, .. } = config;
        let pool = mbpool::Config::new(config.name, chunk).user_bits(STOCK_BITS, 0);
        let pool = match config.lend {
            // All of them are on the card or on their way there.
            None => {
                let pages = (usize::from(size) * chunk).div_ceil(PAGE);
                pool.align(64)
                    .page_size(PAGE)
                    .max_pages(u32::try_from(pages)?)
                    .strict()
            }
            // The stack may have as many as the card, each in a page of its own; as it takes them, more are
            // made ready.
            Some(_) => {
                let size = u32::from(size);
                pool.align(PAGE_SIZE)
                    .page_size(PAGE_SIZE)
                    .max_pages(MAX_PAGES.min(size * 2))
                    .initial_pages(size)
                    .low_water(size.div_ceil(4))
                    .backing(Backing::Streaming(DataDirection::FromDevice))
                    .lending()
            }
        };
        let pool = Pool::new(card.device(), pool, GFP_KERNEL)?;
        let alarm = config.lend.map(|waker| pool.alarm_for(waker)).transpose()?;
        let (low, high) = (config.low.min(size), size);
        Ok(Self {
            cache: pool.cache()?,
            pool,
            fill: FillLevel::new(low.into(), high.into()).from_high(),
            alarm,
            ring: Ring::new(card.device(), size)?,
            base: config.base,
            tag: config.tag,
            chunk: u32::try_from(chunk)?,
            shown: 0,
        })
    }

    /// Whether buffers may go up the stack.
    pub(crate) fn lends(&self) -> bool {
        self.alarm.is_some()
    }

    /// Whether the card has had buffers left all the time, or has as many as can be.
    pub(crate) fn is_at_ease(&self) -> bool {
        self.fill.is_high() || !self.fill.is_dry()
    }

    /// Whether a handle is one of ours, to go by what it says.
    pub(crate) fn owns(&self, handle: Handle) -> bool {
        self.pool.user_bits(handle) == (self.tag, 0)
    }

    /// Tells the card, which was reset, where the ring is.
    pub(crate) fn lay_out(&mut self, card: &Card<'_>) {
        self.ring.clear();
        self.shown = 0;
        self.fill.reset();
        card.set_ring(self.base, &self.ring);
    }

    /// Takes back all buffers that are on the card, which was reset and no longer knows them.
    pub(crate) fn reclaim(&mut self) {
        if let Some(alarm) = &self.alarm {
            alarm.disarm();
        }
        if let Ok(mut lane) = self.cache.on(&self.pool) {
            lane.reclaim_card();
            // Who stands still needs no stock.
            lane.flush();
        }
    }

    /// Gives the card as many buffers as it is to have: `ENOMEM` if the pool has not so many.
    pub(crate) fn fill(&mut self, tick: u32, gfp: Flags) -> Result {
        let room = u32::from(self.ring.size()).saturating_sub(self.fill.on_card());
        for _ in 0..self.fill.wanted(room, tick) {
            // Free -> on card.
            let lends = self.lends();
            let mut lane = self.cache.on(&self.pool)?;
            let posted = if lends {
                let buffer = lane.alloc(gfp)?;
                to_card(&mut lane, buffer)
            } else {
                lane.post(gfp)?
            };
            self.push(posted)?;
        }
        Ok(())
    }

    /// The same in a poll. If the stack has the buffers, the group is polled again when it lets go of
    /// one. Answers whether that is so.
    pub(crate) fn refill(&mut self, tick: u32) -> bool {
        while self.fill(tick, GFP_ATOMIC | __GFP_NOWARN).is_err() {
            match &self.alarm {
                // One came back meanwhile: nobody will tell us of that.
                Some(alarm) if !alarm.arm(1) => (),
                alarm => return alarm.is_some(),
            }
        }
        false
    }

    /// Puts a buffer into the ring, which has room: no more buffers are on the card than it holds.
    pub(crate) fn push(&mut self, posted: Posted) -> Result {
        let handle = self.pool.with_user_bits(posted.handle, self.tag, 0)?;
        let entry = FreeEntry {
            address: posted.dma,
            handle: handle.into_raw(),
            size: self.chunk,
        };
        self.ring.push(entry.encode());
        self.fill.posted(1);
        Ok(())
    }

    /// Shows the card what was put into the ring, if anything was.
    pub(crate) fn show(&mut self, card: &Card<'_>) {
        if self.shown != self.ring.index() {
            self.shown = self.ring.index();
            card.doorbell(self.base, self.shown, false);
        }
    }
}
