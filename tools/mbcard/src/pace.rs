// SPDX-License-Identifier: GPL-2.0

//! A rate of frames, kept over calls that come when they come.

use std::time::Duration;

/// Frames let through in one go at most, so that others get their turn.
pub const BATCH: u32 = 64;

/// Tells how many frames are due.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// Time between two frames; zero for none.
    interval: Duration,
    /// Time that has passed since the last frame was due.
    credit: Duration,
}

impl Pace {
    /// That many frames a second; 0 for as many as can be.
    pub fn new(rate: u32) -> Self {
        Self {
            interval: Duration::from_secs(1).checked_div(rate).unwrap_or_default(),
            credit: Duration::ZERO,
        }
    }

    /// When the next frame is due.
    pub fn due(&self) -> Duration {
        self.interval.saturating_sub(self.credit)
    }

    /// The number of frames that are due after that time, [`BATCH`] at most.
    pub fn advance(&mut self, elapsed: Duration) -> u32 {
        if self.interval.is_zero() {
            return BATCH;
        }
        // After a pause the rate goes on; what was missed is not caught up.
        self.credit = (self.credit + elapsed).min(self.interval * BATCH);
        let mut frames = 0;
        while self.credit >= self.interval {
            self.credit -= self.interval;
            frames += 1;
        }
        frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_kept() {
        let mut pace = Pace::new(100);
        assert_eq!(pace.due(), Duration::from_millis(10));
        assert_eq!(pace.advance(Duration::from_millis(35)), 3);
        assert_eq!(pace.due(), Duration::from_millis(5));
        assert_eq!(pace.advance(Duration::from_millis(5)), 1);
        assert_eq!(pace.advance(Duration::ZERO), 0);
    }

    #[test]
    fn pauses_are_not_caught_up() {
        let mut pace = Pace::new(100);
        assert_eq!(pace.advance(Duration::from_secs(60)), BATCH);
        assert_eq!(pace.advance(Duration::ZERO), 0);
    }

    #[test]
    fn rate_of_zero_is_no_limit() {
        let mut pace = Pace::new(0);
        assert_eq!(pace.due(), Duration::ZERO);
        assert_eq!(pace.advance(Duration::ZERO), BATCH);
    }
}
