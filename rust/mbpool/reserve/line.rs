// SPDX-License-Identifier: GPL-2.0

//! Line: who waits for a chunk, in the order in which they came.
//!
//! A mempool wakes all who wait, and whoever is quickest gets the chunk. Here who brings a chunk puts it
//! into the hands of the first in line and wakes that one alone. Waiting takes no memory: the place of
//! a waiter is on its stack.

use crate::lock::IrqLock;
use core::{
    cell::UnsafeCell,
    marker::PhantomPinned,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    prelude::*,
    time::{
        msecs_to_jiffies,
        Instant,
        Monotonic,
        Msecs, //
    },
    types::Opaque, //
};

/// The waiters of one reserve.
///
/// # Invariants
///
/// `first` and `last` are the ends of a list that is linked by [`Place::next`] and [`Place::previous`].
/// It has the places of all waiters with [`Place::waits`], and no others; each is the place of a
/// [`Waiter`] that still exists and that was made for this line. Whoever refers to the line for writing
/// has all of these places to itself.
#[derive(Default)]
pub(super) struct Line {
    first: Option<NonNull<Place>>,
    last: Option<NonNull<Place>>,
    /// How many wait.
    pub(super) waiting: u32,
    /// How many ever waited and got one.
    pub(super) waits: u64,
    /// How many gave up.
    pub(super) timeouts: u64,
    /// How many might not wait and were sent away.
    pub(super) failures: u64,
    /// How long those who got one waited in all, and the one who waited longest, in microseconds.
    pub(super) waited: u64,
    pub(super) longest: u64,
}

// SAFETY: Places may be used by any thread that has the line.
unsafe impl Send for Line {}

/// A place in a line, which the line's lock guards.
struct Place {
    next: Option<NonNull<Place>>,
    previous: Option<NonNull<Place>>,
    /// It is in the list.
    waits: bool,
    /// What its waiter was given.
    chunk: Option<u32>,
    since: Instant<Monotonic>,
    /// What its waiter sleeps on.
    done: NonNull<bindings::completion>,
}

impl Line {
    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Gives a chunk to the first in line. `false`: there is none, and the chunk is still the caller's.
    pub(super) fn grant(&mut self, chunk: u32) -> bool {
        let Some(mut first) = self.first else {
            return false;
        };
        self.unlink(first);
        // SAFETY: It was in the list, so the place exists; it does until its waiter gets the line's
        // lock, which the caller has.
        let place = unsafe { first.as_mut() };
        place.chunk = Some(chunk);

        // Backwards it does not go.
        let waited = u64::try_from(place.since.elapsed().as_micros_ceil()).unwrap_or(0);
        self.waits += 1;
        self.waited += waited;
        self.longest = self.longest.max(waited);
        // SAFETY: The completion exists as long as the place.
        unsafe { bindings::complete(place.done.as_ptr()) };
        true
    }

    /// # Safety
    ///
    /// The place is that of a waiter of this line, in no list, and the waiter takes it out before it goes.
    unsafe fn link(&mut self, mut new: NonNull<Place>) {
        // SAFETY: As the caller promises.
        let place = unsafe { new.as_mut() };
        // INVARIANT: It comes after the last.
        place.waits = true;
        place.next = None;
        place.previous = self.last.replace(new);
        match place.previous {
            // SAFETY: It is in the list.
            Some(mut previous) => unsafe { previous.as_mut() }.next = Some(new),
            None => self.first = Some(new),
        }
        self.waiting += 1;
    }

    /// Takes a place that is in the list out of it.
    fn unlink(&mut self, mut old: NonNull<Place>) {
        // SAFETY: It is in the list, and so are its neighbours.
        let place = unsafe { old.as_mut() };
        // INVARIANT: Its neighbours become each other's.
        place.waits = false;
        match place.previous {
            // SAFETY: See above.
            Some(mut previous) => unsafe { previous.as_mut() }.next = place.next,
            None => self.first = place.next,
        }
        match place.next {
            // SAFETY: See above.
            Some(mut next) => unsafe { next.as_mut() }.previous = place.previous,
            None => self.last = place.previous,
        }
        self.waiting -= 1;
    }
}

/// One who waits, or is about to.
///
/// # Invariants
///
/// `place` is used only by who has the lock of `line`, and is in the list of no other line. `done` is
/// initialised.
#[pin_data(PinnedDrop)]
pub(super) struct Waiter<'a> {
    line: &'a IrqLock<Line>,
    place: UnsafeCell<Place>,
    #[pin]
    done: Opaque<bindings::completion>,
    #[pin]
    _pin: PhantomPinned,
}

impl<'a> Waiter<'a> {
    /// One who does not stand in line yet.
    pub(super) fn new(line: &'a IrqLock<Line>) -> impl PinInit<Self> + 'a {
        // INVARIANT: The place is in no list; `init_completion` is called.
        pin_init!(Self {
            line,
            place: UnsafeCell::new(Place {
                next: None,
                previous: None,
                waits: false,
                chunk: None,
                since: Instant::now(),
                done: NonNull::dangling(),
            }),
            done <- Opaque::ffi_init(|slot: *mut bindings::completion| {
                // SAFETY: `slot` is valid for writes.
                unsafe { bindings::init_completion(slot) }
            }),
            _pin: PhantomPinned,
        })
    }

    /// The place. The caller has the lock, as `_line` shows.
    fn place(&self, _line: &mut Line) -> NonNull<Place> {
        // SAFETY: A cell is not at null.
        unsafe { NonNull::new_unchecked(self.place.get()) }
    }

    /// Takes what `look` finds, or else stands in line, at its end. If others wait, `look` is not asked.
    ///
    /// `look` is called with the line's lock held: between its answer and the place in line, nobody who
    /// brings a chunk overlooks us.
    pub(super) fn enter(self: Pin<&Self>, look: impl FnOnce() -> Option<u32>) -> Option<u32> {
        let mut line = self.line.lock();
        if line.is_empty() {
            if let Some(chunk) = look() {
                return Some(chunk);
            }
        }
        let mut place = self.place(&mut line);
        // SAFETY: We have the lock.
        let waits = unsafe {
            let place = place.as_mut();
            place.done = NonNull::new_unchecked(self.done.get());
            place.waits
        };
        if !waits {
            // SAFETY: It is in no list. We are pinned, so we are dropped before our memory is used for
            // something else, and that takes it out.
            unsafe { line.link(place) };
        }
        None
    }

    /// Whether nobody came before us of those who still wait.
    pub(super) fn is_first(&self) -> bool {
        let mut line = self.line.lock();
        let place = self.place(&mut line);
        line.first == Some(place)
    }

    /// Sleeps until we are given a chunk, at most `ms` milliseconds. Process context.
    pub(super) fn sleep(&self, ms: Msecs) -> Option<u32> {
        // SAFETY: The completion is initialised.
        let left = unsafe {
            bindings::wait_for_completion_io_timeout(self.done.get(), msecs_to_jiffies(ms))
        };
        if left == 0 {
            return None;
        }
        let mut line = self.line.lock();
        // SAFETY: We have the lock.
        unsafe { self.place(&mut line).as_mut() }.chunk.take()
    }

    /// Stands in line no more. Answers the chunk, if we were given one meanwhile.
    pub(super) fn give_up(&self) -> Option<u32> {
        let mut line = self.line.lock();
        let mut place = self.place(&mut line);
        // SAFETY: We have the lock.
        if unsafe { place.as_ref() }.waits {
            line.unlink(place);
            line.timeouts += 1;
        }
        // SAFETY: We have the lock.
        unsafe { place.as_mut() }.chunk.take()
    }
}

#[pinned_drop]
impl PinnedDrop for Waiter<'_> {
    fn drop(self: Pin<&mut Self>) {
        let mut line = self.line.lock();
        let place = self.place(&mut line);
        // SAFETY: We have the lock.
        if unsafe { place.as_ref() }.waits {
            line.unlink(place);
        }
    }
}
