// SPDX-License-Identifier: GPL-2.0

//! Watermarks and alarms: at which numbers of free chunks something is to be done.
//!
//! Everything here is decided under the pool's lock, from the number of free chunks after a change. So
//! who arms an alarm either finds enough chunks free at once, or is told by the change that brings
//! them: there is no moment between the two in which a wake-up could be lost.

/// The most alarms of one pool.
pub const ALARMS: usize = 16;

/// No mark.
const NEVER: u32 = u32::MAX;

/// What is to be done after a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Free chunks fell under the low mark: grow in the background.
    pub grow: bool,
    /// Free chunks rose over the high mark: give pages back after a while.
    pub shrink: bool,
    /// The alarms that go off, a bit each.
    pub alarms: u16,
}

impl core::ops::BitOr for Due {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self {
            grow: self.grow | other.grow,
            shrink: self.shrink | other.shrink,
            alarms: self.alarms | other.alarms,
        }
    }
}

impl Due {
    /// Whether there is nothing to do, as nearly always.
    #[inline]
    pub fn is_nothing(self) -> bool {
        !self.grow && !self.shrink && self.alarms == 0
    }
}

/// The marks of one pool.
///
/// # Invariants
///
/// `rise` is the lowest number of free chunks at which there is anything to do: 0 if there is a claim,
/// or else the least of the armed alarms and, if the pool shrinks and is not already about to,
/// `high + 1`. `fall` is the number below which [`fallen`](Self::fallen) has anything to do: `low`, or 0 if
/// the pool is already growing.
pub struct Marks {
    low: u32,
    high: u32,
    rise: u32,
    fall: u32,
    /// Shrinking was asked for and has not come to its end.
    shrinking: bool,
    /// At how many free chunks each alarm goes off; `NEVER` if it is not armed.
    alarms: [u32; ALARMS],
    /// Somebody takes what comes, before the marks and the alarms are looked at.
    claimed: bool,
}

impl Marks {
    /// Grow below `low` free chunks (0: never), shrink above `high` (`None`: never).
    pub fn new(low: u32, high: Option<u32>) -> Self {
        let mut marks = Self {
            low,
            high: high.unwrap_or(NEVER),
            rise: NEVER,
            fall: low,
            shrinking: false,
            alarms: [NEVER; ALARMS],
            claimed: false,
        };
        marks.settle();
        marks
    }

    /// The low mark; 0: none.
    pub fn low(&self) -> u32 {
        self.low
    }

    /// The high mark, if the pool shrinks.
    pub fn high(&self) -> Option<u32> {
        (self.high != NEVER).then_some(self.high)
    }

    /// Works out `rise` anew.
    fn settle(&mut self) {
        let shrink = if self.claimed {
            0
        } else if self.shrinking {
            NEVER
        } else {
            self.high.saturating_add(1)
        };
        // INVARIANT: The least of all, as it says.
        self.rise = self.alarms.iter().copied().fold(shrink, u32::min);
    }

    /// If so many are free or more, [`fallen`](Self::fallen) has nothing to do.
    #[inline]
    pub fn fall(&self) -> u32 {
        self.fall
    }

    /// If fewer are free, [`risen`](Self::risen) has nothing to do.
    #[inline]
    pub fn rise(&self) -> u32 {
        self.rise
    }

    /// Chunks were taken, and `free` are left.
    #[inline]
    pub fn fallen(&mut self, free: u32) -> Due {
        let grow = free < self.fall;
        if grow {
            // INVARIANT: The pool is about to grow.
            self.fall = 0;
        }
        Due {
            grow,
            ..Due::default()
        }
    }

    /// Whether there is anything to do when chunks came, and `free` are there.
    #[inline]
    pub fn is_reached(&self, free: u32) -> bool {
        free >= self.rise
    }

    /// Chunks came, and `free` are there, after whoever has a claim took what he wants.
    pub fn risen(&mut self, free: u32) -> Due {
        if !self.is_reached(free) {
            return Due::default();
        }
        let mut due = Due {
            shrink: free > self.high && !self.shrinking,
            ..Due::default()
        };
        self.shrinking |= due.shrink;
        for (number, alarm) in self.alarms.iter_mut().enumerate() {
            if free >= *alarm {
                *alarm = NEVER;
                due.alarms |= 1 << number;
            }
        }
        self.settle();
        due
    }

    /// Asks to be told once when `threshold` chunks are free. `false`: they are, there is nothing to
    /// wait for, and the alarm is not armed.
    pub fn arm(&mut self, alarm: usize, threshold: u32, free: u32) -> bool {
        let wait = free < threshold;
        if let Some(alarm) = self.alarms.get_mut(alarm) {
            *alarm = if wait { threshold } else { NEVER };
        }
        self.settle();
        wait
    }

    /// Takes an alarm back that may have been armed.
    pub fn disarm(&mut self, alarm: usize) {
        if let Some(alarm) = self.alarms.get_mut(alarm) {
            *alarm = NEVER;
        }
        self.settle();
    }

    /// From now on somebody takes what comes, or nobody does any more.
    pub fn claim(&mut self, claimed: bool) {
        self.claimed = claimed;
        self.settle();
    }

    /// Whether somebody takes what comes.
    pub fn is_claimed(&self) -> bool {
        self.claimed
    }

    /// Background growth has come to its end, or to where it can do no more.
    pub fn grown(&mut self) {
        // INVARIANT: The pool is not growing.
        self.fall = self.low;
    }

    /// Background shrinking has come to its end.
    pub fn shrunk(&mut self) {
        self.shrinking = false;
        self.settle();
    }
}
