// SPDX-License-Identifier: GPL-2.0

//! Whether a processor is overloaded by what it receives, and what a group does then.
//!
//! A NAPI context that is polled at once whenever the card has a frame takes all of a processor that
//! the card can fill: with few buffers on the card the polls become short, but then each ends with an
//! interrupt that begins the next, and an interrupt comes before every process. So buffers alone
//! do not limit what is received; buffers in a time do. While the receive path takes more than half of a
//! processor's time and a task waits for that processor, a group is paced: its interrupt stays off, the
//! clock has it polled once a tick, and each tick the card gets as many buffers as the fill level says.
//! What comes on top the card drops.

use crate::{
    counter::Counter,
    net, //
};
use kernel::{
    cpu::{
        nr_cpu_ids,
        CpuId, //
    },
    prelude::*,
    sync::Arc,
    time::{
        Delta,
        Instant,
        Monotonic, //
    }, //
};

/// How long a tick is.
const TICK: Delta = Delta::from_millis(4);

/// How long each processor has been in the receive path of a card.
pub(crate) struct Load {
    since: Instant<Monotonic>,
    /// Nanoseconds by processor.
    busy: KVec<Counter>,
}

impl Load {
    /// May sleep.
    pub(crate) fn new() -> Result<Self> {
        let mut busy = KVec::new();
        for _ in 0..nr_cpu_ids() {
            busy.push(Counter::default(), GFP_KERNEL)?;
        }
        Ok(Self {
            since: Instant::now(),
            busy,
        })
    }

    /// Nanoseconds since this was made.
    fn now(&self) -> u64 {
        // CAST: The clock does not go back.
        self.since.elapsed().as_nanos() as u64
    }

    /// This processor's time in the receive path.
    fn busy(&self) -> Option<&Counter> {
        // CAST: `u32` to `usize`, which is no smaller on any machine that runs Linux.
        self.busy.get(CpuId::current().as_u32() as usize)
    }
}

/// The pace of one group, which has it exclusively.
pub(crate) struct Pace {
    load: Arc<Load>,
    waker: net::Waker,
    /// Whether it is never paced.
    free: bool,
    paced: bool,
    /// The next poll, while it is paced.
    next: Option<net::Alarm>,
    /// The tick in which the card was last given buffers.
    given: u32,
    last: Mark,
}

/// Where the group was when its present tick began.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Mark {
    tick: u32,
    cpu: u32,
    now: u64,
    busy: u64,
}

/// One poll.
pub(crate) struct Turn {
    began: u64,
    /// The number of the tick.
    pub(crate) tick: u32,
    /// Whether the receive path took more than half of the last tick, and a task waits for the processor.
    /// Said in the first poll of a tick.
    pub(crate) is_overloaded: bool,
}

impl Pace {
    /// A group's pace; with `free` it is never paced.
    pub(crate) fn new(load: Arc<Load>, waker: net::Waker, free: bool) -> Self {
        Self {
            load,
            waker,
            free,
            paced: false,
            next: None,
            given: 0,
            last: Mark {
                tick: 0,
                cpu: u32::MAX,
                now: 0,
                busy: 0,
            },
        }
    }

    /// A poll begins.
    pub(crate) fn begin(&mut self, napi: &net::Context<'_>) -> Turn {
        let now = self.load.now();
        let mark = Mark {
            // CAST: The low bits do for differences, and a tick is some positive time.
            tick: (now / TICK.as_nanos() as u64) as u32,
            cpu: CpuId::current().as_u32(),
            now,
            busy: self.load.busy().map_or(0, Counter::get),
        };
        let last = self.last;
        let is_first = mark.tick != last.tick;
        if is_first {
            self.last = mark;
        }
        // On another processor than before there is nothing to compare with.
        let busy = mark.busy.wrapping_sub(last.busy);
        let is_overloaded = is_first
            && !self.free
            && mark.cpu == last.cpu
            && busy > (now - last.now) / 2
            && napi.delays_a_task();
        Turn {
            began: now,
            tick: mark.tick,
            is_overloaded,
        }
    }

    /// A poll ends, with nothing left to be done until the next if `through`.
    pub(crate) fn end(&mut self, turn: &Turn, through: bool) {
        if self.paced && through {
            self.next = None;
            self.next = Some(self.waker.wake_after(TICK));
        }
        if let Some(busy) = self.load.busy() {
            busy.add(self.load.now() - turn.began);
        }
    }

    /// Whether the card is to be given buffers now: in each poll, or, while the group is paced, at the end
    /// of the first that is through in a tick.
    pub(crate) fn is_due(&mut self, turn: &Turn, through: bool) -> bool {
        let due = !self.paced || (through && self.given != turn.tick);
        if due {
            self.given = turn.tick;
        }
        due
    }

    /// Whether the group is paced: then its interrupt is to stay off.
    pub(crate) fn is_on(&self) -> bool {
        self.paced
    }

    /// Paces the group from now on.
    pub(crate) fn on(&mut self) {
        self.paced = true;
    }

    /// Paces it no longer.
    pub(crate) fn off(&mut self) {
        self.paced = false;
        self.next = None;
    }
}
