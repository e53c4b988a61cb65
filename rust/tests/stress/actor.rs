// SPDX-License-Identifier: GPL-2.0

//! An actor: what a context does with the pool, a step at a time, at random, and what it finds.
//!
//! Each buffer holds the mark of who had it last, to the last byte, from when that one got it until the next
//! one does, and is looked at before it goes. Two owners of one buffer would see each other's.

use super::world::World;
use crate::{
    check,
    check_eq,
    context::Context,
    ktap::{
        Outcome,
        Stop, //
    },
    support::{
        is_marked,
        mark,
        Random,
        QUIET, //
    }, //
};
use core::slice;
use kernel::{
    alloc::Flags,
    prelude::*,
    sync::atomic::Relaxed,
    time::Delta, //
};
use mbpool::{
    Buffer,
    Cache,
    Handle,
    HandleError,
    Posted, //
};

/// The most buffers that an actor has, and that the card has of it.
const HELD: usize = 64;
const CARD: usize = 32;

/// The same in times when all have little.
const LEAN: usize = 4;

/// How many are dealt with at a time.
const BATCH: usize = 8;

/// What was done.
#[derive(Clone, Copy, Default)]
pub(super) struct Figures {
    pub(super) steps: i64,
    /// Buffers that were allocated or posted.
    pub(super) got: i64,
    /// Allocations that failed.
    pub(super) failed: i64,
    /// Buffers whose content was what it had to be.
    pub(super) seen: i64,
    /// Handles that were refused, and had to be.
    pub(super) refused: i64,
}

impl Figures {
    pub(super) fn add(&mut self, other: Self) {
        self.steps += other.steps;
        self.got += other.got;
        self.failed += other.failed;
        self.seen += other.seen;
        self.refused += other.refused;
    }
}

/// Who acts in one context.
pub(super) struct Actor<'a> {
    world: &'a World<'a>,
    number: usize,
    pub(super) context: Context,
    random: Random,
    /// Buffers that it owns, with their marks.
    held: KVec<(Buffer<'a>, u32)>,
    /// What the card has of its cache, with its mark if it was marked.
    card: KVec<(Handle, Option<u32>)>,
    cache: Cache,
    names: u32,
    pub(super) figures: Figures,
    /// What was found wrong. It does nothing more then.
    pub(super) stop: Option<Stop>,
}

impl<'a> Actor<'a> {
    /// The actor of that number, less than [`ACTORS`](super::ACTORS).
    pub(super) fn new(world: &'a World<'a>, number: usize, context: Context) -> Result<Self> {
        Ok(Self {
            world,
            number,
            context,
            random: Random::new(u32::try_from(number)?),
            held: KVec::with_capacity(HELD, GFP_KERNEL)?,
            card: KVec::with_capacity(CARD, GFP_KERNEL)?,
            cache: world.pool.cache()?,
            names: 0,
            figures: Figures::default(),
            stop: None,
        })
    }

    /// Does so many steps, unless all are to stand still, and says what it has then.
    pub(super) fn act(&mut self, steps: usize) -> bool {
        let Some(seat) = self.world.seats.get(self.number) else {
            return false;
        };
        if self.stop.is_some() || !self.world.enter(seat) {
            return false;
        }
        for _ in 0..steps {
            if let Err(stop) = self.step() {
                self.stop = Some(stop);
                self.world.end();
                break;
            }
        }
        // What is in a cache keeps pages from going.
        if self.world.is_lean() {
            if let Ok(mut lane) = self.cache.on(self.world.pool) {
                lane.flush();
            }
        }
        // CAST: Less than a hundred.
        seat.used.store(self.held.len() as i32, Relaxed);
        seat.card.store(self.card.len() as i32, Relaxed);
        self.world.leave(seat);
        true
    }

    /// Gives back all that it has, and looks at it once more.
    pub(super) fn finish(&mut self) -> Outcome {
        while !self.held.is_empty() {
            self.give_back()?;
        }
        while !self.card.is_empty() {
            self.take_off_card()?;
        }
        if let Some(seat) = self.world.seats.get(self.number) {
            seat.used.store(0, Relaxed);
            seat.card.store(0, Relaxed);
        }
        Ok(())
    }

    /// Flags for this context, of those that it may use.
    fn gfp(&mut self) -> Flags {
        let flags = match (self.context, self.random.next() % 4) {
            (Context::Process, 0..3) => GFP_KERNEL,
            (_, 1) => GFP_NOWAIT,
            _ => GFP_ATOMIC,
        };
        flags | QUIET
    }

    fn step(&mut self) -> Outcome {
        self.figures.steps += 1;
        let lean = self.world.is_lean();
        let most = if lean { LEAN } else { HELD };
        match self.random.next() % 16 {
            0..3 if self.held.len() < most => self.alloc(),
            3..6 if self.held.len() < most && !lean => self.alloc(),
            3..7 => self.give_back(),
            7 | 8 if self.card.len() < most.min(CARD) => self.put_on_card(),
            7..11 => self.take_off_card(),
            11 | 12 => self.exchange(),
            13 if self.random.next() % 2 == 0 => self.in_bulk_of_cache(),
            13 => self.in_bulk(),
            14 => self.lend(),
            _ => self.give_back(),
        }
    }

    /// Of the pool, of the cache, or of the reserve.
    fn alloc(&mut self) -> Outcome {
        let gfp = self.gfp();
        let sleeps = self.context == Context::Process;
        let world = self.world;
        // Of those who keep, the caches run over; of the others they run out.
        let of_pool = if self.keeps() { 6 } else { 1 };
        let got = match self.random.next() % 8 {
            0..6 if self.random.next() % 6 < of_pool => world.pool.alloc(gfp),
            0..6 => self.cache.on(world.pool)?.alloc(gfp),
            6 if sleeps => world
                .reserve
                .alloc_timeout(GFP_KERNEL, Delta::from_millis(5)),
            7 if sleeps => world.reserve.alloc(GFP_KERNEL),
            _ => world.reserve.alloc(gfp),
        };
        match got {
            Ok(buffer) => self.hold(buffer),
            Err(error) => {
                check!(error == ENOMEM || error == ETIMEDOUT, "{error:?}");
                self.figures.failed += 1;
                world.missed();
                Ok(())
            }
        }
    }

    /// Marks a buffer and keeps it.
    fn hold(&mut self, mut buffer: Buffer<'a>) -> Outcome {
        self.figures.got += 1;
        self.names = self.names.wrapping_add(1);
        // CAST: Less than a hundred.
        let name = (self.number as u32 + 1) << 24 | self.names & 0xff_ffff;
        mark(&mut buffer, name);
        let kept = self.held.push_within_capacity((buffer, name));
        check!(kept.is_ok());
        Ok(())
    }

    /// Takes out one of those that it has, and looks whether it is as it was.
    fn choose(&mut self) -> Outcome<Option<(Buffer<'a>, u32)>> {
        if self.held.is_empty() {
            return Ok(None);
        }
        let at = self.random.next() as usize % self.held.len();
        let (buffer, name) = self.held.remove(at).map_err(|_| EINVAL)?;
        self.look(&buffer, name)?;
        Ok(Some((buffer, name)))
    }

    #[track_caller]
    fn look(&mut self, bytes: &[u8], name: u32) -> Outcome {
        self.figures.seen += 1;
        if is_marked(bytes, name) {
            return Ok(());
        }
        Err(Stop::failed(
            "a buffer holds what its owner wrote",
            fmt!("{name:x}: {:x?}", bytes.get(..16)),
        ))
    }

    /// Whether it takes from the pool and gives to its cache, and not the other way round.
    fn keeps(&self) -> bool {
        self.number % 2 == 0
    }

    fn give_back(&mut self) -> Outcome {
        let Some((buffer, _)) = self.choose()? else {
            return Ok(());
        };
        if self.keeps() || self.random.next() % 4 == 0 {
            self.cache.on(self.world.pool)?.free(buffer);
        }
        Ok(())
    }

    /// Posts for its own cache: one that is marked, or one straight from the pool.
    fn put_on_card(&mut self) -> Outcome {
        let gfp = self.gfp();
        let chosen = self.choose()?;
        let mut lane = self.cache.on(self.world.pool)?;
        let (posted, name) = match chosen {
            Some((buffer, name)) => (lane.post_buffer(buffer), Some(name)),
            None => match lane.post(gfp) {
                Ok(posted) => (posted, None),
                Err(error) => {
                    check_eq!(error, ENOMEM);
                    self.figures.failed += 1;
                    return Ok(());
                }
            },
        };
        self.figures.got += i64::from(name.is_none());
        let kept = self.card.push_within_capacity((posted.handle, name));
        check!(kept.is_ok());
        Ok(())
    }

    /// Takes back from the card what it posted for its own cache, which then does not have it there any more.
    fn take_off_card(&mut self) -> Outcome {
        let Some((handle, name)) = self.card.pop() else {
            return Ok(());
        };
        let mut bytes = [0; 16];
        let mut lane = self.cache.on(self.world.pool)?;
        lane.peek(handle)?.read(0, &mut bytes)?;
        let buffer = lane.take(handle)?;
        check_eq!(lane.take(handle).err(), Some(HandleError::WrongState));
        self.figures.refused += 1;
        if let Some(name) = name {
            self.look(&bytes, name)?;
            self.look(&buffer, name)?;
        }
        if self.random.next() % 2 == 0 {
            self.cache.on(self.world.pool)?.free(buffer);
        }
        Ok(())
    }

    /// Puts one that is marked on the card for all, and takes back what somebody else put there.
    fn exchange(&mut self) -> Outcome {
        let Some((buffer, name)) = self.choose()? else {
            return Ok(());
        };
        let at = self.random.next();
        let posted = buffer.post();
        let Some((handle, name)) = self.world.swap(at, Some((posted.handle, name))) else {
            return Ok(());
        };
        let buffer = self.world.pool.take(handle)?;
        self.look(&buffer, name)?;
        let again = self.world.pool.take(handle).err();
        check_eq!(again, Some(HandleError::WrongState));
        self.figures.refused += 1;
        self.hold(buffer)
    }

    /// Several at a time, by the cache: to the card, back, and home.
    #[inline(never)]
    fn in_bulk_of_cache(&mut self) -> Outcome {
        let gfp = self.gfp();
        let pool = self.world.pool;
        let mut handles = [Handle::from_raw(0); BATCH];
        let mut places = handles.iter_mut();
        let mut lane = self.cache.on(pool)?;
        let put = |posted: Posted| {
            if let Some(place) = places.next() {
                *place = posted.handle;
            }
        };
        let posted = lane.post_each(BATCH, gfp, put).unwrap_or(0);
        let handles = handles.get(..posted).unwrap_or_default();
        let mut batch = pool.batch();
        check_eq!(lane.take_many(handles, &mut batch), posted);
        check_eq!(batch.len(), posted);
        lane.free_many(&mut batch);
        check!(batch.is_empty());
        self.figures.got += i64::try_from(posted)?;
        self.figures.failed += i64::from(posted == 0);
        Ok(())
    }

    /// Several at a time, by the pool. One goes on by itself, the others go home together.
    #[inline(never)]
    fn in_bulk(&mut self) -> Outcome {
        let gfp = self.gfp();
        // Looked at where it is: moved, it would be there twice.
        let mut got = self.world.pool.alloc_many(BATCH, gfp);
        match &mut got {
            Ok(batch) => {
                self.figures.got += i64::try_from(batch.len())?;
                match batch.pop() {
                    Some(one) if self.held.len() < LEAN => self.hold(one),
                    _ => Ok(()),
                }
            }
            Err(error) => {
                check_eq!(*error, ENOMEM);
                self.figures.failed += 1;
                Ok(())
            }
        }
    }

    /// Makes one over to who gives it back by a plain function.
    fn lend(&mut self) -> Outcome {
        let Some((buffer, name)) = self.choose()? else {
            return Ok(());
        };
        let len = buffer.len();
        let ext = buffer.into_ext();
        // SAFETY: The buffer's bytes, which nobody has but us.
        let bytes = unsafe { slice::from_raw_parts(ext.data.as_ptr(), len) };
        self.look(bytes, name)?;
        // SAFETY: The first call with these arguments.
        unsafe { (ext.free)(ext.pool, ext.token) };
        Ok(())
    }
}
