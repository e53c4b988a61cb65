// SPDX-License-Identifier: GPL-2.0

//! Registers: what they answer, what they refuse, and what a reset leaves.

mod bench;

use bench::frame;
use bench::Bench;
use bench::Group;
use mbcard_regs as regs;
use mbcard_regs::global;
use mbcard_regs::group;
use mbcard_regs::lab;
use mbcard_regs::ring;
use mbcard_regs::stats;
use mbcard_regs::tx;
use mbcard_regs::ErrorCode;
use mbcard_regs::RingName;

#[test]
fn the_card_says_what_it_is() {
    let mut bench = Bench::new();
    assert_eq!(bench.read(global::ID).to_le_bytes(), *b"MBC1");
    assert_eq!(bench.read(global::VERSION) >> 16, 1);
    assert_eq!(bench.read(global::FEATURES) & global::FEATURE_GROUPS, 8);
    assert_eq!(bench.read(global::MAC_LOW), 0x0100_5452);
    assert_eq!(bench.read(global::MAC_HIGH), 0x0302);
    let all = global::STATUS_READY | global::STATUS_LINK | global::STATUS_BUS_MASTER;
    assert_eq!(bench.read(global::STATUS), all);
    assert_eq!(bench.read(global::INT_MASK), 0x3ff);
}

#[test]
fn rings_that_will_not_do_keep_their_group_disabled() {
    for (block, name) in [
        (group::SMALL, RingName::Small),
        (group::LARGE, RingName::Large),
        (group::RETURN, RingName::Return),
    ] {
        for (register, value, code) in [
            (ring::SIZE, 1, ErrorCode::RingSize),
            (ring::SIZE, 3, ErrorCode::RingSize),
            (ring::SIZE, 32768, ErrorCode::RingSize),
            (ring::SIZE, 0x1_0004, ErrorCode::RingSize),
            (ring::BASE_LOW, 32, ErrorCode::RingAlign),
            (ring::BASE_HIGH, 0, ErrorCode::RingAddress),
            (ring::BASE_HIGH, u32::MAX, ErrorCode::RingAddress),
            (ring::SIZE, 0, ErrorCode::RingSize),
        ] {
            if (block, register, value) == (group::SMALL, ring::SIZE, 0) {
                continue;
            }
            let mut bench = Bench::new();
            let group = Group::set_up(&mut bench, 2, 4);
            let control = regs::group_register(2, group::CONTROL);
            bench.write(control, 0);
            bench.write(regs::group_register(2, block + register), value);
            bench.write(control, regs::ENABLE);
            assert_eq!(bench.read(control), 0, "{name:?} {register:#x} {value:#x}");
            let error = bench.error().unwrap();
            assert_eq!((error.code, error.ring, error.group), (code, name, 2));
            let rings = [group.small, group.large, group.returned];
            for ring in rings {
                bench.write(ring.registers + ring::DOORBELL, 1);
                assert_eq!(bench.error().unwrap().code, ErrorCode::RingIndex);
            }
        }
    }
}

#[test]
fn the_last_ring_that_fits_in_memory_is_taken() {
    let mut bench = Bench::new();
    let control = regs::group_register(0, group::CONTROL);
    Group::set_up(&mut bench, 0, 4);
    let end = bench::BASE + bench::MEMORY as u64;
    for (base, taken) in [(end - 64, 1), (end, 0)] {
        bench.write(control, 0);
        let (low, high) = regs::split(base);
        bench.write(regs::group_register(0, group::LARGE + ring::BASE_LOW), low);
        bench.write(
            regs::group_register(0, group::LARGE + ring::BASE_HIGH),
            high,
        );
        bench.write(control, regs::ENABLE);
        assert_eq!(bench.read(control), taken);
    }
}

#[test]
fn rings_hold_still_while_they_run() {
    let mut bench = Bench::new();
    let group = Group::set_up(&mut bench, 0, 4);
    let transmitter = bench::Transmitter::set_up(&mut bench, 4, 4);
    for ring in [group.small, group.large, group.returned, transmitter.send] {
        for register in [ring::BASE_LOW, ring::BASE_HIGH, ring::SIZE] {
            let before = bench.read(ring.registers + register);
            bench.write(ring.registers + register, 64);
            assert_eq!(bench.read(ring.registers + register), before);
            assert_eq!(bench.error().unwrap().code, ErrorCode::RingBusy);
        }
    }
    // Enabling again what is enabled does nothing.
    bench.write(regs::group_register(0, group::CONTROL), regs::ENABLE);
    bench.write(regs::TX_BASE + tx::CONTROL, regs::ENABLE);
    assert_eq!(bench.error(), None);
}

#[test]
fn accesses_that_make_no_sense_are_reported() {
    let mut bench = Bench::new();
    for offset in [
        0x1c,
        0xffc,
        regs::group_register(0, 0x04),
        regs::group_register(7, 0x80),
        regs::group_register(8, 0),
        regs::TX_BASE + 0x60,
        regs::STATS_BASE + stats::COUNT * 8,
        regs::LAB_BASE + 0x2c,
        regs::BAR_REGISTERS_SIZE,
        usize::MAX - 3,
    ] {
        assert_eq!(bench.read(offset), u32::MAX, "{offset:#x}");
        assert_eq!(bench.error().unwrap().code, ErrorCode::Register);
        bench.write(offset, 1);
        assert_eq!(bench.error().unwrap().code, ErrorCode::Register);
    }
    for offset in [
        global::ID,
        global::STATUS,
        global::ERROR_COUNT,
        regs::group_register(0, group::RX_FRAMES),
        regs::group_register(0, group::LARGE + ring::INDEX),
        regs::TX_BASE + tx::SEND + ring::INDEX,
        regs::STATS_BASE,
        regs::LAB_BASE + lab::DONE,
    ] {
        let before = bench.read(offset);
        bench.write(offset, 1);
        assert_eq!(
            bench.error().unwrap().code,
            ErrorCode::Register,
            "{offset:#x}"
        );
        if offset != global::ERROR_COUNT {
            assert_eq!(bench.read(offset), before);
        }
    }
    for (offset, value) in [
        (global::CONTROL, 8),
        (global::INT_MASK, 1 << 10),
        (global::STEER, 2),
        (regs::group_register(0, group::CONTROL), 2),
        (regs::TX_BASE + tx::CONTROL, 2),
        (regs::LAB_BASE + lab::WIRE, 2),
        (regs::LAB_BASE + lab::GENERATE, regs::generate(1, 21)),
    ] {
        bench.write(offset, value);
        assert_eq!(bench.error().unwrap().code, ErrorCode::Value, "{offset:#x}");
    }
}

#[test]
fn registers_are_32_bits_wide_or_two_of_them() {
    let mut bench = Bench::new();
    for length in [0, 1, 2, 3, 5, 16] {
        let mut data = vec![0; length];
        bench.card.read_bar(0, &mut data);
        assert_eq!(data, vec![0xff; length]);
        assert_eq!(bench.error().unwrap().code, ErrorCode::Register);
        bench.card.write_bar(global::INT_MASK, &data);
        assert_eq!(bench.error().unwrap().code, ErrorCode::Register);
    }
    let mut data = [0; 4];
    bench.card.read_bar(2, &mut data);
    assert_eq!(bench.error().unwrap().code, ErrorCode::Register);
    let mut data = [0; 8];
    bench.card.read_bar(global::ID, &mut data);
    assert_eq!(data, *b"MBC1\0\0\x01\0");
    let base = regs::group_register(0, group::LARGE + ring::BASE_LOW);
    bench.card.write_bar(base, &[1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(bench.read(base), 0x0403_0201);
    assert_eq!(bench.read(base + 4), 0x0807_0605);
}

#[test]
fn the_first_error_stays_until_it_is_cleared() {
    let mut bench = Bench::new();
    bench.read(0x1c);
    bench.write(global::STEER, 7);
    assert_eq!(bench.read(global::ERROR_INFO_LOW), 0x1c);
    assert_eq!(bench.error().unwrap().code, ErrorCode::Register);
    assert_eq!(bench.read(global::ERROR_INFO_LOW), 0);
    assert_eq!(bench.read(global::ERROR_COUNT), 2);
    assert_eq!(bench.error(), None);
}

#[test]
fn both_halves_of_a_counter_belong_together() {
    let (mut bench, mut groups) = Bench::with_groups(1, 4);
    groups[0].post_large(&mut bench, 0);
    bench.card.receive(&frame(0, 60));
    let register = regs::STATS_BASE + stats::RX_BYTES;
    assert_eq!(bench.read(register), 60);
    assert_eq!(bench.read(register + 4), 0);
    let mut both = [0; 8];
    bench.card.read_bar(register, &mut both);
    assert_eq!(u64::from_le_bytes(both), 60);
    // Names stand at their offsets.
    for (name, register) in [
        ("rx_frames", stats::RX_FRAMES),
        ("tx_errors", stats::TX_ERRORS),
        ("misdeeds", stats::MISDEEDS),
        ("rx_dma", stats::RX_DMA),
    ] {
        assert_eq!(stats::NAMES[register / 8], name);
    }
}

#[test]
fn a_reset_forgets_all_that_the_driver_said() {
    let (mut bench, mut groups) = Bench::with_groups(8, 4);
    bench::Transmitter::set_up(&mut bench, 4, 4);
    groups[5].post_large(&mut bench, 1);
    bench.write(global::STEER, global::STEER_ROUND);
    bench.write(regs::LAB_BASE + lab::WIRE, lab::LOOPBACK);
    bench.write(regs::LAB_BASE + lab::ARG_HIGH, 5);
    bench.card.receive(&frame(0, 60));
    bench.card.set_link(false);
    bench.write(global::CONTROL, global::CONTROL_RESET);

    // All but the link, which is not the driver's, is as in a new card.
    let mut new = Bench::new();
    new.card.set_link(false);
    new.write(global::EVENT, global::EVENT_LINK);
    let readable = (0..0x40)
        .chain(regs::GROUP_BASE..regs::GROUP_BASE + 0x800)
        .chain(regs::TX_BASE..regs::TX_BASE + 0x60)
        .chain(regs::STATS_BASE..regs::STATS_BASE + stats::COUNT * 8)
        .chain(regs::LAB_BASE..regs::LAB_BASE + 0x24);
    for register in readable.step_by(4) {
        assert_eq!(bench.read(register), new.read(register), "{register:#x}");
    }
    let before = bench.snapshot();
    bench.card.set_link(true);
    bench.card.receive(&frame(0, 60));
    assert!(bench.snapshot() == before);
    assert_eq!(bench.counter("rx_off"), 1);
}

#[test]
fn a_bus_reset_clears_pci_too() {
    let (mut bench, _) = Bench::with_groups(1, 4);
    bench.card.bus_reset();
    let mut command = [0; 2];
    bench.card.read_config(4, &mut command);
    assert_eq!(command, [0, 0]);
    assert_eq!(bench.read(global::STATUS) & global::STATUS_BUS_MASTER, 0);
    assert_eq!(bench.read(regs::group_register(0, group::CONTROL)), 0);
}

/// Random writes, frames and time: nothing panics, and what the card keeps for itself stays sound.
#[test]
fn no_driver_can_hurt_the_card() {
    let mut state = 0x1234_5678_9abc_def1_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..20 {
        let (mut bench, _) = Bench::with_groups(2, 8);
        bench::Transmitter::set_up(&mut bench, 8, 8);
        for _ in 0..3000 {
            let value = random();
            let register = match value % 8 {
                0 => (random() % 0x40) as usize,
                1 => regs::LAB_BASE + (random() % 0x24) as usize,
                2 => regs::TX_BASE + (random() % 0x60) as usize,
                3 => (random() % 0x9000) as usize,
                _ => regs::GROUP_BASE + (random() % 0x300) as usize,
            } & !3;
            // Small values and single bits go further than noise.
            let value = match random() % 4 {
                0 => random() as u32,
                1 => 1 << (random() % 32),
                _ => (random() % 20) as u32,
            };
            match random() % 8 {
                0 => bench.card.receive(&frame(0, 14 + (value % 3000) as usize)),
                1 => bench
                    .card
                    .tick(std::time::Duration::from_micros(value.into())),
                2 => drop(bench.read(register)),
                3 => {
                    let address = bench::BASE + u64::from(value) % 8192;
                    bench.set_memory(address, &random().to_le_bytes());
                }
                _ => bench.write(register, value),
            }
        }
        assert_eq!(bench.read(global::ID), regs::ID);
        bench.write(global::CONTROL, global::CONTROL_RESET);
        let mut group = Group::set_up(&mut bench, 0, 4);
        bench.write(global::CONTROL, global::CONTROL_RX);
        bench.card.set_link(true);
        group.post_large(&mut bench, 77);
        bench.card.receive(&frame(0, 60));
        assert_eq!(group.handles(&mut bench), [77]);
    }
}
