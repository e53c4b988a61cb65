// SPDX-License-Identifier: GPL-2.0

//! What the card does wrong on command; [`Misdeed`] has the list.
//!
//! It upholds: a misdeed is done in full or not at all, each one is counted, and none harms the card
//! itself.

use std::collections::HashSet;
use std::collections::VecDeque;
use std::time::Duration;

use mbcard_regs as regs;
use mbcard_regs::lab;
use mbcard_regs::stats;
use mbcard_regs::FreeEntry;
use mbcard_regs::Misdeed;
use mbcard_regs::ReturnEntry;

use super::generate;
use super::port::Host;
use super::port::Place;
use super::Card;

/// Handles of a group from before a reset that are remembered.
const FORGOTTEN: usize = 1024;
/// Time between two interrupts of a storm: long enough that each one is seen, short enough to hurt.
const STORM_INTERVAL: Duration = Duration::from_micros(50);
/// What is written where nothing may be written.
const SCRIBBLE: u8 = 0xa5;
/// Bytes of a wild write.
const WILD_LENGTH: usize = 64;
/// Length of the frames that misdeeds need.
const FRAME_LENGTH: u16 = 60;

/// How a command went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// Done, or under way.
    #[default]
    Done,
    /// No such kind or group.
    Unknown,
    /// The card lacks what it takes.
    Cannot,
}

/// What is going on and what was done.
#[derive(Clone, Debug, Default)]
pub struct Misbehaviour {
    outcome: Outcome,
    done: u32,
    storm: Option<Storm>,
    /// Time that is left of the silence; zero for no end.
    silence: Option<Duration>,
    /// Handles of buffers that each group held when it was made to forget them, the oldest first.
    forgotten: [VecDeque<u32>; regs::GROUPS],
}

#[derive(Clone, Copy, Debug)]
struct Storm {
    vector: usize,
    /// Interrupts left; `None` for no end.
    left: Option<u16>,
    credit: Duration,
}

impl Misbehaviour {
    /// Ends what is under way.
    pub fn reset(&mut self) {
        self.outcome = Outcome::Done;
        self.storm = None;
        self.silence = None;
    }

    pub fn done(&self) -> u32 {
        self.done
    }

    /// The outcome as its register has it.
    pub fn result(&self) -> u32 {
        match self.outcome {
            Outcome::Done => lab::RESULT_DONE,
            Outcome::Unknown => lab::RESULT_UNKNOWN,
            Outcome::Cannot => lab::RESULT_CANNOT,
        }
    }

    /// When something is to be done.
    pub fn due(&self) -> Option<Duration> {
        let storm = self
            .storm
            .map(|storm| STORM_INTERVAL.saturating_sub(storm.credit));
        let silence = self.silence.filter(|left| !left.is_zero());
        storm.into_iter().chain(silence).min()
    }
}

impl<H: Host> Card<H> {
    /// Misbehaves. An argument of 0 leaves it to the card.
    pub fn misbehave(
        &mut self,
        kind: Option<Misdeed>,
        group: u8,
        count: u16,
        argument: u64,
    ) -> Outcome {
        let times = count.max(1);
        let group = usize::from(group);
        let outcome = match kind {
            None => Outcome::Unknown,
            // It does nothing on command then.
            Some(_) if self.hostile.is_on() => Outcome::Cannot,
            Some(Misdeed::None) => {
                self.misbehaviour.storm = None;
                self.misbehaviour.silence = None;
                self.break_silence();
                Outcome::Done
            }
            Some(Misdeed::Silence) => {
                self.misbehaviour.silence = Some(Duration::from_millis(u64::from(count)));
                self.port.silent = true;
                self.count_misdeed();
                Outcome::Done
            }
            Some(Misdeed::InterruptStorm) if group < regs::VECTORS => {
                self.misbehaviour.storm = Some(Storm {
                    vector: group,
                    left: (count != 0).then_some(count),
                    credit: Duration::ZERO,
                });
                Outcome::Done
            }
            Some(Misdeed::WriteWild) => self.write_wild(times, argument),
            Some(_) if group >= regs::GROUPS => Outcome::Unknown,
            Some(Misdeed::DuplicateHandle) => self.duplicate(group, times),
            Some(kind) => {
                let mut left = times;
                while left > 0 && self.once(kind, group, argument) {
                    self.count_misdeed();
                    left -= 1;
                }
                if left == 0 {
                    Outcome::Done
                } else {
                    Outcome::Cannot
                }
            }
        };
        self.run();
        self.misbehaviour.outcome = outcome;
        outcome
    }

    /// Does a misdeed that can be repeated by itself; false if it cannot be done.
    fn once(&mut self, kind: Misdeed, group: usize, argument: u64) -> bool {
        let (low, _) = regs::split(argument);
        match kind {
            Misdeed::UnknownHandle => {
                let handle = (low != 0).then_some(low);
                let handle = handle.or_else(|| self.unknown_handle());
                handle.is_some_and(|handle| self.return_handle(group, handle))
            }
            Misdeed::HandleAfterReset => {
                let handle = (low != 0).then_some(low);
                let handle = handle.or_else(|| self.forgotten_handle(group));
                handle.is_some_and(|handle| self.return_handle(group, handle))
            }
            Misdeed::LengthPastEnd => self
                .deliver(group, |entry| {
                    if low != 0 {
                        low
                    } else {
                        entry.size.saturating_add(1)
                    }
                })
                .is_some(),
            Misdeed::WriteReturned => {
                let Some(entry) = self.deliver(group, |_| u32::from(FRAME_LENGTH)) else {
                    return false;
                };
                let size = usize::try_from(entry.size).unwrap_or(0);
                self.port
                    .write(Place::CARD, entry.address, &vec![SCRIBBLE; size])
                    .is_ok()
            }
            _ => false,
        }
    }

    /// Returns one buffer and then its handle again and again.
    fn duplicate(&mut self, group: usize, times: u16) -> Outcome {
        let Some(entry) = self.deliver(group, |_| u32::from(FRAME_LENGTH)) else {
            return Outcome::Cannot;
        };
        for _ in 0..times {
            if !self.return_handle(group, entry.handle) {
                return Outcome::Cannot;
            }
            self.count_misdeed();
        }
        Outcome::Done
    }

    fn write_wild(&mut self, times: u16, argument: u64) -> Outcome {
        if self.port.silent {
            return Outcome::Cannot;
        }
        for n in 0..times {
            let address = if argument != 0 {
                argument
            } else {
                (u64::MAX << 12).wrapping_sub(u64::from(n) << 12)
            };
            // That the address is not mapped is what is expected; the port counts and reports it.
            let _ = self
                .port
                .write(Place::CARD, address, &[SCRIBBLE; WILD_LENGTH]);
            self.count_misdeed();
        }
        Outcome::Done
    }

    /// Puts a frame into a buffer of the group, as [`super::group::Group::deliver`].
    fn deliver(&mut self, group: usize, claim: impl Fn(&FreeEntry) -> u32) -> Option<FreeEntry> {
        let frame = generate::frame(self.mac, 0, self.misbehaviour.done, FRAME_LENGTH, None);
        let group = self.groups.get_mut(group)?;
        if self.port.silent || !group.is_enabled() {
            return None;
        }
        group.deliver(&mut self.port, &frame, claim).ok()
    }

    /// Returns that handle, whatever it is; false if the group takes no entry.
    fn return_handle(&mut self, group: usize, handle: u32) -> bool {
        let Some(group) = self.groups.get_mut(group) else {
            return false;
        };
        if self.port.silent || !group.is_enabled() || group.returned.is_full() {
            return false;
        }
        let entry = ReturnEntry {
            handle,
            length: u32::from(FRAME_LENGTH),
            sequence: 0,
            large: true,
            error: false,
            phase: false,
        };
        group.returned.push(&mut self.port, entry).is_ok()
    }

    /// A handle that the card does not hold: all ones, or the next lower one.
    fn unknown_handle(&self) -> Option<u32> {
        let on_card = self.handles_on_card();
        (0..=u32::MAX)
            .rev()
            .find(|handle| !on_card.contains(handle))
    }

    /// The handle that the group forgot last and that the card does not hold again. Each is given once.
    fn forgotten_handle(&mut self, group: usize) -> Option<u32> {
        let on_card = self.handles_on_card();
        let forgotten = self.misbehaviour.forgotten.get_mut(group)?;
        let last = forgotten
            .iter()
            .rposition(|handle| !on_card.contains(handle))?;
        forgotten.remove(last)
    }

    fn handles_on_card(&self) -> HashSet<u32> {
        let handles = self.groups.iter();
        handles
            .flat_map(|group| group.handles(&self.port.host))
            .collect()
    }

    /// Makes a group forget its buffers, whose handles are kept for a misdeed to come.
    pub(super) fn forget_group(&mut self, n: usize) {
        let forgotten = self.misbehaviour.forgotten.get_mut(n);
        let (Some(group), Some(forgotten)) = (self.groups.get_mut(n), forgotten) else {
            return;
        };
        // A card that may not do DMA cannot look at its rings any more.
        if self.port.bus_master {
            forgotten.extend(group.handles(&self.port.host));
        }
        let excess = forgotten.len().saturating_sub(FORGOTTEN);
        forgotten.drain(..excess);
        group.disable();
        self.hostile.forget(n);
    }

    fn count_misdeed(&mut self) {
        self.misbehaviour.done = self.misbehaviour.done.wrapping_add(1);
        self.port.count(stats::MISDEEDS, 1);
    }

    fn break_silence(&mut self) {
        self.port.silent = false;
        self.run();
    }

    /// Time has passed.
    pub(super) fn tick_misbehaviour(&mut self, elapsed: Duration) {
        if let Some(left) = self.misbehaviour.silence.filter(|left| !left.is_zero()) {
            let left = left.saturating_sub(elapsed);
            self.misbehaviour.silence = (!left.is_zero()).then_some(left);
            if left.is_zero() {
                self.break_silence();
            }
        }
        let Some(mut storm) = self.misbehaviour.storm else {
            return;
        };
        storm.credit += elapsed;
        if storm.credit >= STORM_INTERVAL && storm.left != Some(0) {
            // One at a time: several at once are one to an eventfd.
            storm.credit = Duration::ZERO;
            storm.left = storm.left.map(|left| left - 1);
            self.port.force(storm.vector);
            self.count_misdeed();
        }
        self.misbehaviour.storm = (storm.left != Some(0)).then_some(storm);
    }
}
