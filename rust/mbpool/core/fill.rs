// SPDX-License-Identifier: GPL-2.0

//! Fill level: how many buffers a receive ring should hold, the answer to receive livelock.
//!
//! After OpenBSD's if_rxr: a card can only flood a host with as many frames as it has buffers. So the
//! level rises by one a tick while the ring runs dry, and falls by one a tick while the stack says that
//! it is overloaded; what the host cannot absorb is then dropped by the card, at no cost to the CPU.

/// The fill level of one receive ring. Its owner has it exclusively; it is only arithmetic.
///
/// # Invariants
///
/// `1 <= low <= level <= high`, and `low <= start <= high`.
///
/// # Examples
///
/// ```
/// use mbpool::FillLevel;
///
/// let mut fill = FillLevel::new(2, 64);
/// assert_eq!(fill.wanted(64, 1), 2);
/// fill.posted(2);
/// // The card used both up: the ring ran dry, so from the next tick it gets one more.
/// fill.returned(2);
/// assert_eq!(fill.wanted(64, 2), 3);
/// // The stack cannot keep up.
/// fill.overloaded(3);
/// assert_eq!(fill.level(), 2);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FillLevel {
    low: u32,
    high: u32,
    start: u32,
    level: u32,
    on_card: u32,
    /// The tick of the last change.
    changed: u32,
}

impl FillLevel {
    /// A level between `low`, at least 1 and where it begins, and `high`, at least `low`.
    pub fn new(low: u32, high: u32) -> Self {
        let low = low.max(1);
        // INVARIANT: As it says.
        Self {
            low,
            high: high.max(low),
            start: low,
            level: low,
            on_card: 0,
            changed: 0,
        }
    }

    /// The same level, but beginning at the high mark: for a ring that is to take a burst from the
    /// start.
    pub fn from_high(self) -> Self {
        // INVARIANT: `high` is in the range.
        Self {
            start: self.high,
            level: self.high,
            ..self
        }
    }

    /// Whether the level is as high as it gets.
    pub fn is_high(&self) -> bool {
        self.level == self.high
    }

    /// The present level.
    pub fn level(&self) -> u32 {
        self.level
    }

    /// Buffers that the card has.
    pub fn on_card(&self) -> u32 {
        self.on_card
    }

    /// Whether the ring runs dry: the card has less than the least that it should.
    pub fn is_dry(&self) -> bool {
        self.on_card < self.low
    }

    /// How many buffers to post now, of `room` free places in the ring. `tick` is any clock, jiffies
    /// say; the level changes once a tick.
    pub fn wanted(&mut self, room: u32, tick: u32) -> u32 {
        if self.is_dry() && self.level < self.high && tick != self.changed {
            self.level += 1;
            self.changed = tick;
        }
        self.level.saturating_sub(self.on_card).min(room)
    }

    /// So many were posted.
    pub fn posted(&mut self, count: u32) {
        self.on_card = self.on_card.saturating_add(count);
    }

    /// The card gave back so many.
    pub fn returned(&mut self, count: u32) {
        self.on_card = self.on_card.saturating_sub(count);
    }

    /// The stack is overloaded.
    pub fn overloaded(&mut self, tick: u32) {
        if self.level > self.low && tick != self.changed {
            self.level -= 1;
            self.changed = tick;
        }
    }

    /// The overload is over: begin again at the level of the start.
    pub fn recover(&mut self) {
        // INVARIANT: `start` is in the range.
        self.level = self.start;
    }

    /// The ring was emptied: begin again.
    pub fn reset(&mut self) {
        self.recover();
        self.on_card = 0;
    }
}
