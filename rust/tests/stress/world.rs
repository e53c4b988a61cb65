// SPDX-License-Identifier: GPL-2.0

//! The world of all actors: what they share, how they are made to stand still, and what has to hold of the pool
//! then, and at any time.

use super::{
    ACTORS,
    CHUNKS,
    LOW,
    POOL, //
};
use crate::{
    ktap::{
        Outcome,
        Stop, //
    },
    support::sleep,
    sysfs, //
};
use kernel::{
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Full,
        Relaxed,
        Release, //
    }, //
};
use mbpool::{
    Alarm,
    Handle,
    Notify,
    Pool,
    Reserve, //
};

/// Places of the card for all.
pub(super) const RING: usize = 32;

/// How many chunks a cache has at the most.
const CACHE: usize = 128;

/// What an actor has, written by it alone.
pub(super) struct Seat {
    /// It is doing something.
    inside: Atomic<i32>,
    pub(super) used: Atomic<i32>,
    pub(super) card: Atomic<i32>,
}

/// Counts how often it is told.
pub(super) struct Bell(Atomic<i32>);

impl Default for Bell {
    fn default() -> Self {
        Self(Atomic::new(0))
    }
}

impl Bell {
    pub(super) fn rung(&self) -> i32 {
        self.0.load(Relaxed)
    }
}

impl Notify for Bell {
    fn available(&self) {
        self.0.add(1, Relaxed);
    }
}

/// What all actors share.
pub(super) struct World<'a> {
    pub(super) pool: &'a Pool<'a>,
    pub(super) reserve: &'a Reserve<&'a Pool<'a>>,
    alarm: &'a Alarm<Bell>,
    pub(super) armed: Atomic<i32>,
    /// What any actor takes from the card: a handle and a mark, or 0.
    ring: [Atomic<u64>; RING],
    pub(super) seats: [Seat; ACTORS],
    /// All are to stand still.
    still: Atomic<i32>,
    over: Atomic<i32>,
    pub(super) lean: Atomic<i32>,
}

impl<'a> World<'a> {
    pub(super) fn new(
        pool: &'a Pool<'a>,
        reserve: &'a Reserve<&'a Pool<'a>>,
        alarm: &'a Alarm<Bell>,
    ) -> Self {
        Self {
            pool,
            reserve,
            alarm,
            armed: Atomic::new(0),
            ring: core::array::from_fn(|_| Atomic::new(0)),
            seats: core::array::from_fn(|_| Seat {
                inside: Atomic::new(0),
                used: Atomic::new(0),
                card: Atomic::new(0),
            }),
            still: Atomic::new(0),
            over: Atomic::new(0),
            lean: Atomic::new(0),
        }
    }

    /// Takes a seat; `false` if all are to stand still.
    pub(super) fn enter(&self, seat: &Seat) -> bool {
        // One of the two sees the other's word: see `stand_still`.
        seat.inside.xchg(1, Full);
        let enters = self.still.load(Acquire) == 0;
        if !enters {
            self.leave(seat);
        }
        enters
    }

    pub(super) fn leave(&self, seat: &Seat) {
        seat.inside.store(0, Release);
    }

    /// Has all stand still. `false`: one does not, as it waits for what another has.
    pub(super) fn stand_still(&self) -> bool {
        self.still.xchg(1, Full);
        for _ in 0..1000 {
            if self.seats.iter().all(|seat| seat.inside.load(Acquire) == 0) {
                return true;
            }
            sleep(1);
        }
        false
    }

    pub(super) fn go_on(&self) {
        self.still.store(0, Release);
    }

    pub(super) fn end(&self) {
        self.over.store(1, Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Relaxed) != 0
    }

    pub(super) fn is_lean(&self) -> bool {
        self.lean.load(Relaxed) != 0
    }

    /// Somebody found no buffer.
    pub(super) fn missed(&self) {
        if self.alarm.arm(LOW) {
            self.armed.add(1, Relaxed);
        }
    }

    /// Puts something into a place of the ring, and takes out what was there.
    pub(super) fn swap(&self, at: u32, new: Option<(Handle, u32)>) -> Option<(Handle, u32)> {
        let new = new.map_or(0, |(handle, name)| {
            u64::from(handle.into_raw()) << 32 | u64::from(name)
        });
        let place = self.ring.get(at as usize % RING)?;
        let old = place.xchg(new, Full);
        // CAST: The halves.
        (old != 0).then_some((Handle::from_raw((old >> 32) as u32), old as u32))
    }

    /// How many chunks the actors have, and the card has of them. For when all stand still.
    fn sum(&self) -> Outcome<(usize, usize)> {
        let all = |of: fn(&Seat) -> &Atomic<i32>| {
            let each = self.seats.iter().map(|seat| of(seat).load(Relaxed));
            usize::try_from(each.sum::<i32>())
        };
        let ring = self.ring.iter().filter(|place| place.load(Relaxed) != 0);
        Ok((
            all(|seat| &seat.used)?,
            all(|seat| &seat.card)? + ring.count(),
        ))
    }

    /// Whether all chunks that there are are free, used or on the card. A page that comes or goes just now is
    /// counted by one before the other.
    pub(super) fn look(&self) -> Outcome {
        self.settles(|pages, _, _| {
            let count = self.pool.count();
            count.free + count.used + count.card == pages * CHUNKS
        })
    }

    /// Whether the pool counts what the actors have, now that they stand still.
    pub(super) fn look_closely(&self) -> Outcome {
        let (used, card) = self.sum()?;
        self.settles(|pages, set_aside, cached| {
            let count = self.pool.count();
            count.used == used + set_aside
                && count.card == card
                && count.free + used + set_aside + card == pages * CHUNKS
                && cached <= ACTORS * CACHE
                && cached <= count.free
        })
    }

    /// Whether `holds` becomes true soon, given the pages, what the reserve has, and what the caches have.
    #[track_caller]
    fn settles(&self, holds: impl Fn(usize, usize, usize) -> bool) -> Outcome {
        let number = |file| -> Outcome<usize> { Ok(sysfs::number(POOL, file)?.try_into()?) };
        let figures = || -> Outcome<_> {
            Ok((
                number("pages")?,
                number("reserve/current")?,
                number("cached")?,
            ))
        };
        for _ in 0..2000 {
            let (pages, set_aside, cached) = figures()?;
            if holds(pages, set_aside, cached) {
                return Ok(());
            }
            sleep(1);
        }
        Err(Stop::failed(
            "no chunk is lost",
            fmt!(
                "{:?}, pages, reserve and caches {:?}, actors {:?}",
                self.pool.count(),
                figures()?,
                self.sum()?
            ),
        ))
    }
}
