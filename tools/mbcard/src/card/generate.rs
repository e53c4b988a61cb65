// SPDX-License-Identifier: GPL-2.0

//! Frames made from a seed, and the check of those that come back.
//!
//! A made frame is fixed by its seed, its number and its length, so whoever sees it again can tell
//! whether each byte of it is as it was. It has a protocol of its own, or is a UDP datagram, for a
//! socket.

use std::net::Ipv4Addr;
use std::time::Duration;

use mbcard_regs::FRAME_LENGTH_MAX;

use crate::pace::Pace;

/// The ethertype for experiments on a local network.
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];
/// The ethertype of IPv4.
const IPV4: [u8; 2] = [0x08, 0x00];
/// The port that datagrams come from and go to.
const PORT: u16 = 0x4d42;
/// Ethernet header, seed and number.
pub const LENGTH_MIN: u16 = 22;
/// Headers of IPv4 and UDP.
const UDP_HEADERS: u16 = 28;

/// Makes the frame: to `to`, from a locally administered address that ends with the number; as a
/// datagram to `udp`, if that is given.
pub fn frame(to: [u8; 6], seed: u32, number: u32, length: u16, udp: Option<Ipv4Addr>) -> Vec<u8> {
    let mut frame = Vec::with_capacity(usize::from(length));
    frame.extend(to);
    let [_, _, high, low] = number.to_be_bytes();
    frame.extend([0x02, 0x4d, 0x42, 0x43, high, low]);
    match udp {
        None => frame.extend(ETHERTYPE),
        Some(to) => {
            frame.extend(IPV4);
            frame.extend(headers(to, [high, low], length.saturating_sub(14)));
        }
    }
    frame.extend(seed.to_be_bytes());
    frame.extend(number.to_be_bytes());
    let payload = usize::from(length).saturating_sub(frame.len());
    frame.extend(bytes(seed, number).take(payload));
    frame
}

/// The headers of a datagram to `to` from its neighbour, of `length` bytes with the headers.
fn headers(to: Ipv4Addr, id: [u8; 2], length: u16) -> Vec<u8> {
    let from = Ipv4Addr::from_bits(to.to_bits() ^ 1);
    let mut headers = vec![0x45, 0];
    headers.extend(length.to_be_bytes());
    headers.extend(id);
    // Not to be fragmented, 64 hops, UDP, and the checksum, which comes below.
    headers.extend([0x40, 0, 64, 17, 0, 0]);
    headers.extend(from.octets());
    headers.extend(to.octets());
    let words = headers.chunks_exact(2).map(|word| match word {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        _ => 0,
    });
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let [_, _, high, low] = (!((sum & 0xffff) + (sum >> 16))).to_be_bytes();
    headers.splice(10..12, [high, low]);
    headers.extend(PORT.to_be_bytes());
    headers.extend(PORT.to_be_bytes());
    headers.extend(length.saturating_sub(20).to_be_bytes());
    // No checksum of the payload.
    headers.extend([0, 0]);
    headers
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
    udp: Option<Ipv4Addr>,
    pace: Pace,
}

impl Generator {
    /// Begins anew; false, and nothing changes, if frames cannot have that length.
    pub fn start(
        &mut self,
        frames: u32,
        length: u16,
        seed: u32,
        rate: u32,
        udp: Option<Ipv4Addr>,
    ) -> bool {
        let least = LENGTH_MIN + if udp.is_some() { UDP_HEADERS } else { 0 };
        if frames != 0 && !(least..=FRAME_LENGTH_MAX).contains(&length) {
            return false;
        }
        *self = Self {
            left: frames,
            length,
            seed,
            number: 0,
            udp,
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
        let frame = frame(to, self.seed, self.number, self.length, self.udp);
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
            let frame = frame([1; 6], 7, 9, length, None);
            assert_eq!(frame.len(), usize::from(length));
            assert_eq!(check(&frame), Some(true));
        }
    }

    #[test]
    fn a_changed_byte_is_found() {
        let good = frame([1; 6], 7, 9, 200, None);
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
        assert_eq!(check(&frame([1; 6], 7, 9, 60, None)[..20]), None);
    }

    #[test]
    fn frames_differ_by_seed_and_number() {
        let frames =
            [(1, 1), (1, 2), (2, 1)].map(|(seed, number)| frame([1; 6], seed, number, 60, None));
        assert_ne!(frames[0][22..], frames[1][22..]);
        assert_ne!(frames[0][22..], frames[2][22..]);
    }

    #[test]
    fn a_datagram_has_headers_that_check_and_the_same_payload() {
        let (plain, udp) = (
            frame([1; 6], 7, 9, 200, None),
            frame([1; 6], 7, 9, 228, Some(Ipv4Addr::new(10, 9, 8, 2))),
        );
        assert_eq!(udp.len(), 228);
        assert_eq!(udp[12..14], IPV4);
        // As who receives it checks it: the sum of all words with the checksum among them is all ones.
        let sum: u32 = udp[14..34]
            .chunks(2)
            .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
            .sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
        assert_eq!(udp[16..18], 214_u16.to_be_bytes());
        assert_eq!(udp[26..34], [10, 9, 8, 3, 10, 9, 8, 2]);
        assert_eq!(udp[38..40], 194_u16.to_be_bytes());
        assert_eq!(udp[42..], plain[14..]);
    }

    #[test]
    fn it_makes_as_many_as_asked() {
        let mut generator = Generator::default();
        assert!(!generator.start(3, LENGTH_MIN - 1, 1, 0, None));
        assert!(!generator.start(3, FRAME_LENGTH_MAX + 1, 1, 0, None));
        let udp = Some(Ipv4Addr::LOCALHOST);
        assert!(!generator.start(3, LENGTH_MIN + UDP_HEADERS - 1, 1, 0, udp));
        assert!(generator.is_done());
        assert!(generator.start(3, 60, 1, 0, None));
        assert_eq!(generator.advance(Duration::ZERO), 3);
        assert_eq!(std::iter::from_fn(|| generator.make([0; 6])).count(), 3);
        assert!(generator.is_done());
        assert!(generator.start(0, 0, 0, 0, None));
    }
}
