// SPDX-License-Identifier: GPL-2.0

//! The receive path.
//!
//! A receive group has two pools, of small and of large buffers. All of them are on the card, which
//! knows them by handle. When a frame comes in,
//!
//! 1. the card writes it into a buffer, puts the buffer's handle and the frame's length into the
//!    return ring, and raises the group's interrupt;
//! 2. the stack polls the group: the pool checks the handle and gives the buffer;
//! 3. the frame goes up the stack in a packet: as a copy, or, with the module's parameter `zerocopy`, all
//!    but its headers as it lies, in the buffer's page;
//! 4. a buffer that was copied is posted: the card has it again, under a new handle. For one that went
//!    up, another is; it comes home to its pool when the stack lets go of it.
//!
//! Nothing that the card says is believed. The pool refuses a handle that is not on the card,
//! and a length past the end of the buffer is refused here. Either costs that frame and no more.

use crate::{
    card::{
        regs::{
            self,
            group,
            ReturnEntry, //
        },
        Card, //
    },
    counter::Counter,
    net,
    pace::{
        Load,
        Pace,
        Turn, //
    },
    ring::Ring,
    stock::{
        self,
        Stock, //
    }, //
};
use kernel::{
    dma::DataDirection,
    prelude::*,
    str::CString,
    sync::Arc, //
};
use mbpool::{
    Buffer,
    Handle, //
};

/// Size in bytes of a small buffer, and of the longest frame that is copied in any case.
const SMALL: usize = 256;
/// Size in bytes of a large buffer, and so of the longest frame.
pub(crate) const LARGE: usize = 2048;
/// How much of a frame is copied to where the stack looks for headers, when the rest is not.
const HEADERS: usize = 128;
/// Size in bytes of the pages that a pool is made of.
pub(crate) const PAGE: usize = 16384;

/// What a group counts, and the values that it shows.
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
    /// How many small buffers the card is to have.
    pub(crate) fill_small: Counter,
    /// How many large ones.
    pub(crate) fill_large: Counter,
    /// Ticks of which the receive path took more than its part.
    pub(crate) overloaded: Counter,
    /// How often the pool was dry since the stack had the buffers.
    pub(crate) starved: Counter,
}

/// What a group is to be like.
pub(crate) struct Config {
    /// Buffers of either size.
    pub(crate) size: u16,
    /// The least that the card has while a processor is overloaded; 0: all in any case.
    pub(crate) low: u16,
    /// Whether large frames go up the stack as they lie.
    pub(crate) zero_copy: bool,
}

/// A receive group of the card.
pub(crate) struct Group<'bound> {
    card: Arc<Card<'bound>>,
    number: usize,
    small: Stock<'bound>,
    large: Stock<'bound>,
    returned: Ring,
    pace: Pace,
    waker: net::Waker,
    counters: Arc<Counters>,
}

impl net::Poll for Group<'_> {
    fn poll(&mut self, napi: &net::Context<'_>, budget: usize) -> usize {
        let turn = self.pace.begin(napi);
        let mut done = 0;
        while done < budget {
            let Some(entry) = self.returned.pop() else {
                break;
            };
            self.receive(napi, &entry);
            done += 1;
        }
        // With budget left we are through: the next frame, or the clock, shall have us polled again.
        let through = done < budget;

        self.refill(&turn, through);
        self.card.doorbell(
            self.register(group::RETURN),
            self.returned.index(),
            through && !self.pace.is_on(),
        );
        self.pace.end(&turn, through);
        done
    }

    fn waker(&self) -> Option<net::Waker> {
        Some(self.waker.clone())
    }
}

impl<'bound> Group<'bound> {
    /// Takes one buffer back from the card, and its frame up the stack.
    fn receive(&mut self, napi: &net::Context<'_>, entry: &ReturnEntry) {
        let handle = Handle::from_raw(entry.handle);
        let stocks = [&mut self.small, &mut self.large];
        let Some(stock) = stocks.into_iter().find(|stock| stock.owns(handle)) else {
            self.counters.errors.add(1);
            return;
        };
        // On card -> used. What is no handle, or one that the card has not, ends here.
        let taken = stock.cache.on(&stock.pool);
        let Ok(buffer) = taken.and_then(|mut lane| Ok(lane.take(handle)?)) else {
            self.counters.errors.add(1);
            return;
        };
        stock.fill.returned(1);
        // From here on the bytes of the frame are ours to read, and no others: a longer one is refused.
        let from_card = |len: &usize| buffer.sync(0, *len, DataDirection::FromDevice).is_ok();
        let len = usize::try_from(entry.length).ok().filter(from_card);
        let left = match len {
            _ if entry.error => self.counters.unusable(buffer),
            None => self.counters.bad_length(buffer),
            Some(len) if stock.lends() && len > SMALL => self.counters.lend(napi, buffer, len),
            Some(len) => self.counters.copy(napi, buffer, len),
        };
        // Used -> on card; or, if the card is not to have it yet, used -> free.
        let Some(buffer) = left.filter(|_| !self.pace.is_on()) else {
            return;
        };
        let lane = stock.cache.on(&stock.pool);
        let posted = lane.map(|mut lane| stock::to_card(&mut lane, buffer));
        if posted.and_then(|posted| stock.push(posted)).is_err() {
            self.counters.errors.add(1);
        }
    }

    /// Gives the card as many buffers as it is to have: at once, or once a tick while the processor is
    /// overloaded.
    fn refill(&mut self, turn: &Turn, through: bool) {
        let stocks = [&mut self.small, &mut self.large];
        let is_due = self.pace.is_due(turn, through);
        if turn.is_overloaded {
            self.pace.on();
            self.counters.overloaded.add(1);
        } else if is_due && self.pace.is_on() && stocks.iter().all(|stock| stock.is_at_ease()) {
            self.pace.off();
        }
        for stock in stocks {
            if turn.is_overloaded {
                stock.fill.overloaded(turn.tick);
            } else if !self.pace.is_on() {
                stock.fill.recover();
            }
            if is_due && stock.refill(turn.tick) {
                self.counters.starved.add(1);
            }
            stock.show(&self.card);
        }
        self.counters.fill_small.set(self.small.fill.level().into());
        self.counters.fill_large.set(self.large.fill.level().into());
    }

    /// Makes the pools and the rings of a group. Sleeps.
    pub(crate) fn new(
        card: Arc<Card<'bound>>,
        number: usize,
        config: &Config,
        load: Arc<Load>,
    ) -> Result<Self> {
        let size = config.size;
        let waker = net::Waker::new()?;
        let small = CString::try_from_fmt(fmt!("rx{number}-small"))?;
        let large = CString::try_from_fmt(fmt!("rx{number}-large"))?;
        let base = |ring| regs::group_register(number, ring);
        let tag = u32::try_from(number)? * 2;
        let small = stock::Config {
            name: &small,
            chunk: SMALL,
            size,
            base: base(group::SMALL),
            tag,
            low: config.low,
            lend: None,
        };
        let large = stock::Config {
            name: &large,
            chunk: LARGE,
            size,
            base: base(group::LARGE),
            tag: tag + 1,
            low: config.low,
            lend: config.zero_copy.then(|| waker.clone()),
        };
        Ok(Self {
            small: Stock::new(&card, small)?,
            large: Stock::new(&card, large)?,
            // All buffers may come back before we look.
            returned: Ring::new(card.device(), size.checked_mul(2).ok_or(EINVAL)?)?,
            pace: Pace::new(load, waker.clone(), config.low == 0),
            waker,
            counters: Arc::new(Counters::default(), GFP_KERNEL)?,
            number,
            card,
        })
    }

    /// Puts the buffers on the card and enables the group; the card was reset. Sleeps.
    pub(crate) fn start(&mut self) -> Result {
        self.reclaim();
        self.returned.clear();
        self.card
            .set_ring(self.register(group::RETURN), &self.returned);
        for stock in [&mut self.small, &mut self.large] {
            stock.lay_out(&self.card);
        }
        self.card.enable(self.register(group::CONTROL))?;
        for stock in [&mut self.small, &mut self.large] {
            match stock.fill(0, GFP_KERNEL) {
                // The stack has them. The first poll, which comes at once, sees to it.
                Err(_) if stock.lends() => (),
                result => result?,
            }
            stock.show(&self.card);
        }
        Ok(())
    }

    /// Takes back all buffers that are on the card, which was reset and no longer knows them. The group is
    /// not polled.
    pub(crate) fn reclaim(&mut self) {
        self.pace.off();
        self.small.reclaim();
        self.large.reclaim();
    }

    /// What the group counts.
    pub(crate) fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    fn register(&self, register: usize) -> usize {
        regs::group_register(self.number, register)
    }
}

/// What becomes of a buffer. Each answers the buffer if it is still ours.
impl Counters {
    /// Hands the stack a copy of the frame, of which the buffer has `len` bytes.
    fn copy<'a>(
        &self,
        napi: &net::Context<'_>,
        buffer: Buffer<'a>,
        len: usize,
    ) -> Option<Buffer<'a>> {
        let skb = buffer.get(..len).and_then(|frame| napi.copy_to_skb(frame));
        self.deliver(napi, skb, len);
        Some(buffer)
    }

    /// Hands the stack the frame as it lies, but for a copy of its headers.
    fn lend<'a>(
        &self,
        napi: &net::Context<'_>,
        buffer: Buffer<'a>,
        len: usize,
    ) -> Option<Buffer<'a>> {
        let skb = buffer
            .get(..HEADERS)
            .and_then(|headers| napi.copy_to_skb(headers));
        let Some(mut skb) = skb else {
            self.deliver(napi, None, len);
            return Some(buffer);
        };
        match buffer.into_page() {
            Ok(page) => {
                // Used -> lent. It comes home when the stack has let go of the page.
                let skb = skb.append_page(page, HEADERS..len).is_ok().then_some(skb);
                self.deliver(napi, skb, len);
                None
            }
            Err(buffer) => self.copy(napi, buffer, len),
        }
    }

    /// Hands a packet of `len` bytes to the stack, or counts that there was no memory for it.
    fn deliver(&self, napi: &net::Context<'_>, skb: Option<net::Skb>, len: usize) {
        let Some(skb) = skb else {
            self.dropped.add(1);
            return;
        };
        if napi.receive(skb).is_err() {
            self.errors.add(1);
            self.length_errors.add(1);
            return;
        }
        self.packets.add(1);
        // CAST: Widens.
        self.bytes.add(len as u64);
    }

    fn unusable<'a>(&self, buffer: Buffer<'a>) -> Option<Buffer<'a>> {
        self.errors.add(1);
        Some(buffer)
    }

    fn bad_length<'a>(&self, buffer: Buffer<'a>) -> Option<Buffer<'a>> {
        self.length_errors.add(1);
        self.unusable(buffer)
    }
}
