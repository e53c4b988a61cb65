// SPDX-License-Identifier: GPL-2.0

//! Magazine: a short stack of chunk indices, full or empty in one instruction's time.
//!
//! The depot has one in front of its pages, and each [`Cache`](crate::Cache) one of its own. Both are
//! reloaded and unloaded by halves, so that neither end of a magazine is visited twice in a row.

/// How many indices a magazine holds.
pub const CAPACITY: usize = 128;

/// How many go in or out when a magazine is reloaded or unloaded.
pub const HALF: usize = CAPACITY / 2;

/// How many there is memory for: as many as a `u8` tells apart, and one, so that none needs to be checked.
/// The half that is never used is never touched.
const ROOM: usize = 1 + (1 << u8::BITS);

/// What an open magazine takes.
const OPEN: u8 = CAPACITY as u8;

/// A stack of chunk indices.
///
/// It has two bounds between which its owner wants no look at what else there is to do; so the one
/// comparison that tells full or empty tells this as well.
///
/// # Invariants
///
/// `len`, `room` and `limit` are at most `CAPACITY`, and `limit` at most `room`.
pub struct Magazine {
    /// The first `len` after the very first one.
    items: [u32; ROOM],
    len: u8,
    /// What it takes; 0 if it is closed.
    room: u8,
    /// [`pop`](Self::pop) leaves so many,
    floor: u8,
    /// and with [`push`](Self::push) there are no more than these.
    limit: u8,
}

impl Magazine {
    /// An empty magazine.
    pub const fn new() -> Self {
        // INVARIANT: It is empty.
        Self {
            items: [0; ROOM],
            len: 0,
            room: OPEN,
            floor: 0,
            limit: OPEN,
        }
    }

    /// How many indices there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.len.into()
    }

    /// The same, as it is kept.
    #[inline]
    pub fn count(&self) -> u8 {
        self.len
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All indices, the one that came last at the end.
    pub fn all(&self) -> &[u32] {
        self.items.get(1..=self.len()).unwrap_or_default()
    }

    /// Takes out the index that came last, unless no more than the floor are left.
    #[inline]
    pub fn pop(&mut self) -> Option<u32> {
        if self.len <= self.floor {
            return None;
        }
        let index = self.items.get(self.len()).copied();
        // INVARIANT: It was more than the floor, and became less.
        self.len = self.len.wrapping_sub(1);
        index
    }

    /// Puts an index in, unless there are as many as the limit. `false`: it is not in.
    #[inline]
    #[must_use = "the index is not in the magazine if it is full"]
    pub fn push(&mut self, index: u32) -> bool {
        self.put_below(index, self.limit)
    }

    /// Takes out the index that came last, whatever the floor.
    pub fn take(&mut self) -> Option<u32> {
        self.pop_many(1).first().copied()
    }

    /// Puts an index in, whatever the limit. `false`: there is no room, or it is closed.
    #[inline]
    #[must_use = "the index is not in the magazine if it is full"]
    pub fn put(&mut self, index: u32) -> bool {
        self.put_below(index, self.room)
    }

    #[inline]
    fn put_below(&mut self, index: u32, limit: u8) -> bool {
        let at = self.len;
        if at >= limit {
            return false;
        }
        if let Some(item) = self.items.get_mut(usize::from(at) + 1) {
            *item = index;
        }
        // INVARIANT: It was less than the limit.
        self.len = at.wrapping_add(1);
        true
    }

    /// Takes out the `count` indices that came last, or all if there are no more, and answers them.
    #[inline]
    pub fn pop_many(&mut self, count: usize) -> &[u32] {
        let len = self.len();
        let left = len.saturating_sub(count);
        // INVARIANT: It became less.
        // CAST: It was a `u8`.
        self.len = left as u8;
        self.items.get(left + 1..len + 1).unwrap_or_default()
    }

    /// How many more there is room for.
    #[inline]
    pub fn room(&self) -> usize {
        usize::from(self.room.saturating_sub(self.len))
    }

    /// Puts in as many of `indices` as there is room for, and answers the others.
    #[inline]
    pub fn push_many<'a>(&mut self, indices: &'a [u32]) -> &'a [u32] {
        let (kept, rest) = indices.split_at(indices.len().min(self.room()));
        let (from, to) = (self.len(), self.len() + kept.len());
        if let Some(items) = self.items.get_mut(from + 1..to + 1) {
            items.copy_from_slice(kept);
            // INVARIANT: There was room.
            // CAST: At most `room`, a `u8`.
            self.len = to as u8;
        }
        rest
    }

    /// A way to put in several at once.
    #[inline]
    pub fn filler(&mut self) -> Filler<'_> {
        Filler {
            at: self.len,
            magazine: self,
        }
    }

    /// Takes out all, and answers them.
    #[inline]
    pub fn take_all(&mut self) -> &[u32] {
        self.pop_many(CAPACITY)
    }

    /// Takes out the half that has been in longest, or all if there are no more, and gives each to
    /// `put`.
    pub fn unload(&mut self, put: impl FnMut(u32)) {
        let (len, out) = (self.len(), self.len().min(HALF));
        self.items.iter().skip(1).take(out).copied().for_each(put);
        self.items.copy_within(out + 1..len + 1, 1);
        // INVARIANT: It became less.
        // CAST: At most `CAPACITY`.
        self.len = (len - out) as u8;
    }

    /// From now on nothing goes in, or again as much as there is room for; there are no other bounds then.
    pub fn close(&mut self, closed: bool) {
        // INVARIANT: Either will do.
        self.room = if closed { 0 } else { OPEN };
        self.floor = 0;
        self.limit = self.room;
    }

    /// Sets the bounds, of which each is at most what there is room for.
    pub fn bound(&mut self, floor: u32, limit: u32) {
        let at_most =
            |bound: u32, most: u8| u8::try_from(bound).map_or(most, |bound| bound.min(most));
        // INVARIANT: As it says.
        self.floor = at_most(floor, OPEN);
        self.limit = at_most(limit, self.room);
    }
}

/// Puts several indices into a [`Magazine`], whose length is written once, when this is dropped.
pub struct Filler<'a> {
    magazine: &'a mut Magazine,
    at: u8,
}

impl Filler<'_> {
    /// Puts an index in, for which the caller knows that there is [`room`](Magazine::room).
    #[inline]
    pub fn put(&mut self, index: u32) {
        if let Some(item) = self.magazine.items.get_mut(usize::from(self.at) + 1) {
            *item = index;
        }
        self.at = self.at.wrapping_add(1);
    }
}

impl Drop for Filler<'_> {
    #[inline]
    fn drop(&mut self) {
        // INVARIANT: There was room.
        self.magazine.len = self.at;
    }
}

impl Default for Magazine {
    fn default() -> Self {
        Self::new()
    }
}
