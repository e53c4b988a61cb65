// SPDX-License-Identifier: GPL-2.0

//! Which receive group a frame goes to.
//!
//! It upholds: with [`global::STEER_FLOW`] all frames of a flow go to one group as long as the same groups
//! are enabled.

use mbcard_regs::global;

const ETHERTYPE: usize = 12;
const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
const TCP: u8 = 6;
const UDP: u8 = 17;

/// How frames are spread over groups.
#[derive(Clone, Copy, Debug)]
pub struct Steer {
    mode: u32,
    turn: usize,
}

impl Steer {
    pub fn new() -> Self {
        Self {
            mode: global::STEER_FLOW,
            turn: 0,
        }
    }

    pub fn mode(&self) -> u32 {
        self.mode
    }

    /// Takes a new mode; false if there is none such.
    pub fn set_mode(&mut self, mode: u32) -> bool {
        let valid = matches!(mode, global::STEER_FLOW | global::STEER_ROUND);
        if valid {
            self.mode = mode;
        }
        valid
    }

    /// The place of the frame's group among `groups` enabled ones; `None` if there are none.
    pub fn choose(&mut self, frame: &[u8], groups: usize) -> Option<usize> {
        let number = if self.mode == global::STEER_ROUND {
            self.turn = self.turn.wrapping_add(1);
            self.turn
        } else {
            usize::try_from(flow(frame)).unwrap_or(0)
        };
        number.checked_rem(groups)
    }
}

/// A hash of what names the flow of a frame: IP addresses, protocol, and ports if each frame of the flow has
/// them; MAC addresses for all else.
fn flow(frame: &[u8]) -> u32 {
    let key = ip_key(frame).unwrap_or_else(|| vec![frame.get(..ETHERTYPE + 2).unwrap_or(frame)]);
    // FNV-1a, folded: its low bits alone mix too little.
    let hash = key.concat().iter().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    hash ^ (hash >> 16)
}

/// The parts of an IP frame that name its flow; `None` for others.
fn ip_key(frame: &[u8]) -> Option<Vec<&[u8]>> {
    let packet = frame.get(ETHERTYPE + 2..)?;
    let (addresses, protocol, ports) = match frame.get(ETHERTYPE..ETHERTYPE + 2)?.try_into().ok()? {
        IPV4 => {
            let header = usize::from(packet.first()? & 0x0f) * 4;
            // The ports are in the first fragment only.
            let whole = packet.get(6)? & 0x3f == 0 && *packet.get(7)? == 0;
            let ports = packet.get(header..header + 4).filter(|_| whole);
            (packet.get(12..20)?, packet.get(9..10)?, ports)
        }
        IPV6 => (packet.get(8..40)?, packet.get(6..7)?, packet.get(40..44)),
        _ => return None,
    };
    let mut key = vec![addresses, protocol];
    if matches!(protocol, [TCP | UDP]) {
        key.extend(ports);
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv4(protocol: u8, source: u8, ports: [u8; 4], fragment: u8) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend(IPV4);
        frame.extend([0x45, 0, 0, 24, 0, 0, fragment, 0, 64, protocol, 0, 0]);
        frame.extend([10, 0, 0, source, 10, 0, 0, 1]);
        frame.extend(ports);
        frame
    }

    #[test]
    fn a_flow_stays_in_its_group() {
        let mut steer = Steer::new();
        let mut first = ipv4(TCP, 2, [1, 2, 3, 4], 0);
        let group = steer.choose(&first, 8);
        first.extend([9; 100]);
        first[0] = 0xff;
        assert_eq!(steer.choose(&first, 8), group);
    }

    #[test]
    fn flows_spread_over_all_groups() {
        let mut steer = Steer::new();
        let mut seen = [0; 8];
        for port in 0..=255 {
            let group = steer.choose(&ipv4(UDP, 2, [port, 2, 3, 4], 0), 8);
            seen[group.unwrap()] += 1;
        }
        assert!(seen.iter().all(|frames| *frames >= 16), "{seen:?}");
    }

    #[test]
    fn fragments_of_a_flow_stay_together() {
        let mut steer = Steer::new();
        // More fragments follow; what stands where ports would be does not count.
        let a = steer.choose(&ipv4(UDP, 2, [1, 2, 3, 4], 0x20), 8);
        for port in 0..32 {
            assert_eq!(steer.choose(&ipv4(UDP, 2, [port, 7, 7, 7], 0x20), 8), a);
        }
    }

    #[test]
    fn frames_cut_short_are_steered_too() {
        let mut steer = Steer::new();
        let frame = ipv4(TCP, 2, [1, 2, 3, 4], 0);
        for length in 0..frame.len() {
            assert!(steer
                .choose(&frame[..length], 3)
                .is_some_and(|group| group < 3));
        }
        assert_eq!(steer.choose(&frame, 0), None);
    }

    #[test]
    fn round_robin_takes_turns() {
        let mut steer = Steer::new();
        assert!(!steer.set_mode(2));
        assert!(steer.set_mode(global::STEER_ROUND));
        let groups: Vec<_> = (0..4).map(|_| steer.choose(&[], 2)).collect();
        assert_eq!(groups, [Some(1), Some(0), Some(1), Some(0)]);
    }
}
