// SPDX-License-Identifier: GPL-2.0

//! Encodings there and back, and the layout of registers.

use std::collections::HashMap;

use mbcard_regs as regs;
use mbcard_regs::ErrorCode;
use mbcard_regs::ErrorReport;
use mbcard_regs::FreeEntry;
use mbcard_regs::Misdeed;
use mbcard_regs::ReturnEntry;
use mbcard_regs::RingName;
use mbcard_regs::SendEntry;

/// The bytes of an entry in memory.
fn bytes(words: [u32; 4]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

#[test]
fn a_free_entry_is_laid_out_as_documented() {
    let entry = FreeEntry {
        address: 0x0807_0605_0403_0201,
        handle: 0x0c0b_0a09,
        size: 0x100f_0e0d,
    };
    assert_eq!(bytes(entry.encode()), Vec::from_iter(1..=16));
    assert_eq!(FreeEntry::decode(entry.encode()), entry);
}

#[test]
fn a_send_entry_is_laid_out_as_documented() {
    let entry = SendEntry {
        address: 0x0807_0605_0403_0201,
        cookie: 0x0c0b_0a09,
        length: 0x0e0d,
    };
    let mut expected = Vec::from_iter(1..=14);
    expected.extend([0, 0]);
    assert_eq!(bytes(entry.encode()), expected);
    assert_eq!(SendEntry::decode(entry.encode()), entry);
    let mut noisy = entry.encode();
    noisy[3] |= 0xffff_0000_u32.to_le();
    assert_eq!(SendEntry::decode(noisy), entry);
}

#[test]
fn a_return_entry_goes_there_and_back() {
    for flags in 0..8 {
        let entry = ReturnEntry {
            handle: 0x0403_0201,
            length: 0x0807_0605,
            sequence: 0x0c0b_0a09,
            large: flags & 1 != 0,
            error: flags & 2 != 0,
            phase: flags & 4 != 0,
        };
        let words = entry.encode();
        assert_eq!(bytes(words)[..12], Vec::from_iter(1..=12));
        let last = u32::from_le(words[ReturnEntry::LAST]);
        assert_eq!(last & 3, flags & 3);
        assert_eq!(last >> 31, flags >> 2);
        assert_eq!(ReturnEntry::decode(words), entry);
    }
}

#[test]
fn an_entry_is_valid_in_its_own_pass_only() {
    let mut size = regs::RING_SIZE_MIN;
    while size <= regs::RING_SIZE_MAX {
        // Zeroed memory holds no entry of the first pass.
        assert!(!ReturnEntry::is_valid(0, 0, size));
        let mut index = 0_u16;
        for _ in 0..5 {
            for slot in [0, 1, size - 1] {
                let here = index.wrapping_add(slot);
                let last = if regs::phase(here, size) {
                    ReturnEntry::PHASE.to_le()
                } else {
                    0
                };
                assert!(ReturnEntry::is_valid(last, here, size));
                let pass_after = here.wrapping_add(size);
                assert!(!ReturnEntry::is_valid(last, pass_after, size));
                assert_eq!(regs::slot(here, size), usize::from(slot));
            }
            index = index.wrapping_add(size);
        }
        size *= 2;
    }
}

#[test]
fn sizes_of_rings_are_powers_of_two_within_limits() {
    let valid = Vec::from_iter((0..=70_000).filter(|size| regs::ring_size_is_valid(*size)));
    let expected = Vec::from_iter((1..=14).map(|power| 1 << power));
    assert_eq!(valid, expected);
    assert!(!regs::ring_size_is_valid(1 << 31));
}

#[test]
fn an_error_goes_there_and_back() {
    for code in ErrorCode::ALL {
        for ring in RingName::ALL {
            let report = ErrorReport {
                code,
                ring,
                group: 7,
            };
            assert_ne!(report.encode(), 0);
            assert_eq!(ErrorReport::decode(report.encode()), Some(report));
        }
    }
    assert_eq!(ErrorReport::decode(0), None);
    assert_eq!(ErrorReport::decode(13), None);
    assert_eq!(ErrorReport::decode(0x0601), None);
    assert_eq!(ErrorReport::decode(u32::MAX), None);
}

#[test]
fn a_command_to_misbehave_goes_there_and_back() {
    for kind in Misdeed::ALL {
        let word = regs::misbehave(kind, 0xab, 0xcdef);
        assert_eq!(word >> 8, 0x00cd_efab);
        assert_eq!(regs::misbehave_parts(word), (Some(kind), 0xab, 0xcdef));
        assert_eq!(Misdeed::from_number(kind as u8), Some(kind));
    }
    assert_eq!(regs::misbehave_parts(9), (None, 0, 0));
}

#[test]
fn halves_make_the_whole() {
    let address = 0x0123_4567_89ab_cdef;
    let (low, high) = regs::split(address);
    assert_eq!((low, high), (0x89ab_cdef, 0x0123_4567));
    assert_eq!(regs::join(low, high), address);
    assert_eq!(regs::low_half(low), 0xcdef);
    assert_eq!(regs::generate(3, 1514), (1514 << 16) | 3);
}

#[test]
fn no_two_registers_lie_at_one_place() {
    let mut places = HashMap::new();
    let mut add = |name: String, offset: usize| {
        assert_eq!(offset % 4, 0, "{name}");
        assert!(offset < regs::BAR_REGISTERS_SIZE, "{name}");
        if let Some(other) = places.insert(offset, name.clone()) {
            panic!("{name} and {other} both lie at {offset:#x}");
        }
    };
    let ring = [
        regs::ring::BASE_LOW,
        regs::ring::BASE_HIGH,
        regs::ring::SIZE,
        regs::ring::DOORBELL,
        regs::ring::INDEX,
    ];
    for register in [
        regs::global::ID,
        regs::global::VERSION,
        regs::global::FEATURES,
        regs::global::CONTROL,
        regs::global::STATUS,
        regs::global::MAC_LOW,
        regs::global::MAC_HIGH,
        regs::global::ERROR,
        regs::global::ERROR_COUNT,
        regs::global::ERROR_INFO_LOW,
        regs::global::ERROR_INFO_HIGH,
        regs::global::INT_MASK,
        regs::global::INT_PENDING,
        regs::global::EVENT,
        regs::global::STEER,
    ] {
        add("global".to_owned(), register);
    }
    for n in 0..regs::GROUPS {
        for register in [
            regs::group::CONTROL,
            regs::group::RX_FRAMES,
            regs::group::RX_NO_BUFFER,
        ] {
            add(format!("group {n}"), regs::group_register(n, register));
        }
        for block in [regs::group::SMALL, regs::group::LARGE, regs::group::RETURN] {
            for register in ring {
                let offset = regs::group_register(n, block + register);
                add(format!("group {n} ring {block:#x}"), offset);
            }
        }
    }
    add("transmit".to_owned(), regs::TX_BASE + regs::tx::CONTROL);
    for block in [regs::tx::SEND, regs::tx::DONE] {
        for register in ring {
            add(
                format!("transmit ring {block:#x}"),
                regs::TX_BASE + block + register,
            );
        }
    }
    for counter in 0..regs::stats::COUNT * 2 {
        add(format!("counter {counter}"), regs::STATS_BASE + counter * 4);
    }
    for register in [
        regs::lab::MISBEHAVE,
        regs::lab::DONE,
        regs::lab::RESULT,
        regs::lab::ARG_LOW,
        regs::lab::ARG_HIGH,
        regs::lab::WIRE,
        regs::lab::SEED,
        regs::lab::GENERATE,
        regs::lab::RATE,
        regs::lab::UDP,
    ] {
        add("lab".to_owned(), regs::LAB_BASE + register);
    }
}
