// SPDX-License-Identifier: GPL-2.0

//! Frames made from a seed, and the check of those that come back.
//!
//! A made frame is fixed by its seed, its number and its length, so whoever sees it again can tell
//! whether each byte of it is as it was.

use std::time::Duration;

use mbcard_regs::FRAME_LENGTH_MAX;

use crate::pace::Pace;

/// The ethertype for experiments on a local network.
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];
/// Ethernet header, seed and number.
pub const LENGTH_MIN: u16 = 22;

/// Makes the frame: to `to`, from a locally administered address that ends with the number.
pub fn frame(to: [u8; 6], seed: u32, number: u32, length: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(usize::from(length));
    frame.extend(to);
    let [_, _, high, low] = number.to_be_bytes();
    frame.extend([0x02, 0x4d, 0x42, 0x43, high, low]);
    frame.extend(ETHERTYPE);
    frame.extend(seed.to_be_bytes());
    frame.extend(number.to_be_bytes());
    let payload = usize::from(length).saturating_sub(frame.len());
    frame.extend(bytes(seed, number).take(payload));
    frame
}

/// Whether each byte of the payload is as it was made; `None` if the frame is not one of ours.
pub fn check(frame: &[u8]) -> Option<bool> {
    if frame.get(12..14)? != ETHERTYPE {
        return None;
    }
    let seed = u32::from_be_bytes(frame.get(14..18)?.try_into().ok()?);
    let number = u32::from_be_bytes(frame.get(18..22)?.try_into().ok()?);
    let payload = frame.get(22..)?;
    Some(
        payload
            .iter()
            .copied()
            .eq(bytes(seed, number).take(payload.len())),
    )
}

/// The payload: the low bytes of a 32-bit xorshift generator (13, 17, 5).
fn bytes(seed: u32, number: u32) -> impl Iterator<Item = u8> {
    let mut state = (seed ^ number.wrapping_mul(0x9e37_79b9)) | 1;
    std::iter::from_fn(move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let [low, ..] = state.to_le_bytes();
        Some(low)
    })
}

/// What is left to make.
#[derive(Clone, Copy, Debug, Default)]
pub struct Generator {
    left: u32,
    length: u16,
    seed: u32,
    number: u32,
    pace: Pace,
}

impl Generator {
    /// Begins anew; false, and nothing changes, if frames cannot have that length.
    pub fn start(&mut self, frames: u32, length: u16, seed: u32, rate: u32) -> bool {
        if frames != 0 && !(LENGTH_MIN..=FRAME_LENGTH_MAX).contains(&length) {
            return false;
        }
        *self = Self {
            left: frames,
            length,
            seed,
            number: 0,
            pace: Pace::new(rate),
        };
        true
    }

    pub fn left(&self) -> u32 {
        self.left
    }

    pub fn is_done(&self) -> bool {
        self.left == 0
    }

    /// When the next frame is due.
    pub fn due(&self) -> Duration {
        self.pace.due()
    }

    /// The number of frames that are due after that time.
    pub fn advance(&mut self, elapsed: Duration) -> u32 {
        self.pace.advance(elapsed).min(self.left)
    }

    /// The next frame.
    pub fn make(&mut self, to: [u8; 6]) -> Option<Vec<u8>> {
        self.left = self.left.checked_sub(1)?;
        let frame = frame(to, self.seed, self.number, self.length);
        self.number = self.number.wrapping_add(1);
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_its_length_and_checks() {
        for length in [LENGTH_MIN, 60, 61, 1514, FRAME_LENGTH_MAX] {
            let frame = frame([1; 6], 7, 9, length);
            assert_eq!(frame.len(), usize::from(length));
            assert_eq!(check(&frame), Some(true));
        }
    }

    #[test]
    fn a_changed_byte_is_found() {
        let good = frame([1; 6], 7, 9, 200);
        for at in 14..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert_eq!(check(&bad), Some(false), "byte {at}");
        }
    }

    #[test]
    fn other_frames_are_not_judged() {
        assert_eq!(check(&[0; 60]), None);
        assert_eq!(check(&[]), None);
        assert_eq!(check(&frame([1; 6], 7, 9, 60)[..20]), None);
    }

    #[test]
    fn frames_differ_by_seed_and_number() {
        let frames = [(1, 1), (1, 2), (2, 1)].map(|(seed, number)| frame([1; 6], seed, number, 60));
        assert_ne!(frames[0][22..], frames[1][22..]);
        assert_ne!(frames[0][22..], frames[2][22..]);
    }

    #[test]
    fn it_makes_as_many_as_asked() {
        let mut generator = Generator::default();
        assert!(!generator.start(3, LENGTH_MIN - 1, 1, 0));
        assert!(!generator.start(3, FRAME_LENGTH_MAX + 1, 1, 0));
        assert!(generator.is_done());
        assert!(generator.start(3, 60, 1, 0));
        assert_eq!(generator.advance(Duration::ZERO), 3);
        assert_eq!(std::iter::from_fn(|| generator.make([0; 6])).count(), 3);
        assert!(generator.is_done());
        assert!(generator.start(0, 0, 0, 0));
    }
}
