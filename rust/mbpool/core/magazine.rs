// SPDX-License-Identifier: GPL-2.0

//! Magazine: a short stack of chunk indices, full or empty in one instruction's time.
//!
//! The depot has one in front of its pages, and each [`Cache`](crate::Cache) one of its own. Both are
//! reloaded and unloaded by halves, so that neither end of a magazine is visited twice in a row.

/// How many indices a magazine holds.
pub const CAPACITY: usize = 128;

/// How many go in or out when a magazine is reloaded or unloaded.
pub const HALF: usize = CAPACITY / 2;

/// How many there is memory for: as many as a `u8` tells apart, so that none needs to be checked. The half
/// that is never used is never touched.
const ROOM: usize = 1 << u8::BITS;

/// What an open magazine takes.
const OPEN: u8 = CAPACITY as u8;

/// A stack of chunk indices.
///
/// # Invariants
///
/// `len` and `limit` are at most `CAPACITY`.
pub struct Magazine {
    items: [u32; ROOM],
    len: u8,
    /// What it takes; 0 if it is closed.
    limit: u8,
}

impl Magazine {
    /// An empty magazine.
    pub const fn new() -> Self {
        // INVARIANT: It is empty.
        Self {
            items: [0; ROOM],
            len: 0,
            limit: OPEN,
        }
    }

    /// How many indices there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.len.into()
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes out the index that came last.
    #[inline]
    pub fn pop(&mut self) -> Option<u32> {
        let left = self.len().checked_sub(1)?;
        // CAST: It was a `u8`, and became less.
        self.len = left as u8;
        self.items.get(left).copied()
    }

    /// Puts an index in. `false`: there is no room, or it is closed.
    #[inline]
    #[must_use = "the index is not in the magazine if it is full"]
    pub fn push(&mut self, index: u32) -> bool {
        let at = self.len;
        if at >= self.limit {
            return false;
        }
        if let Some(item) = self.items.get_mut(usize::from(at)) {
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
        // CAST: As in `pop`.
        self.len = left as u8;
        self.items.get(left..len).unwrap_or_default()
    }

    /// How many more there is room for.
    #[inline]
    pub fn room(&self) -> usize {
        usize::from(self.limit.saturating_sub(self.len))
    }

    /// Puts in as many of `indices` as there is room for, and answers the others.
    #[inline]
    pub fn push_many<'a>(&mut self, indices: &'a [u32]) -> &'a [u32] {
        let (kept, rest) = indices.split_at(indices.len().min(self.room()));
        let (from, to) = (self.len(), self.len() + kept.len());
        if let Some(items) = self.items.get_mut(from..to) {
            items.copy_from_slice(kept);
            // INVARIANT: There was room.
            // CAST: At most the limit, a `u8`.
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
        self.items.iter().take(out).copied().for_each(put);
        self.items.copy_within(out..len, 0);
        // INVARIANT: It became less.
        // CAST: At most `CAPACITY`.
        self.len = (len - out) as u8;
    }

    /// From now on nothing goes in, or again as much as there is room for.
    pub fn close(&mut self, closed: bool) {
        // INVARIANT: Either will do.
        self.limit = if closed { 0 } else { OPEN };
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
        if let Some(item) = self.magazine.items.get_mut(usize::from(self.at)) {
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
