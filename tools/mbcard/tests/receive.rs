// SPDX-License-Identifier: GPL-2.0

//! Frames into buffers, and buffers back.

mod bench;

use bench::frame;
use bench::Bench;
use mbcard_regs as regs;
use mbcard_regs::global;
use mbcard_regs::group;
use mbcard_regs::ring;
use mbcard_regs::ErrorCode;
use mbcard_regs::RingName;

#[test]
fn a_frame_comes_in_the_buffer_of_its_handle() {
    let (mut bench, mut groups) = Bench::with_groups(1, 4);
    let address = groups[0].post_large(&mut bench, 0xdead_beef);
    bench.card.receive(&frame(7, 1514));
    let entries = groups[0].drain(&mut bench);
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].handle, 0xdead_beef);
    assert_eq!(entries[0].length, 1514);
    assert!(entries[0].large && !entries[0].error);
    assert_eq!(bench.memory(address, 1514), frame(7, 1514));
    // Not a byte past the frame.
    assert_eq!(bench.memory(address + 1514, 534), vec![0; 534]);
    assert_eq!(bench.counter("rx_frames"), 1);
    assert_eq!(bench.counter("rx_bytes"), 1514);
    assert_eq!(bench.error(), None);
}

#[test]
fn small_frames_take_small_buffers_while_there_are_any() {
    let (mut bench, mut groups) = Bench::with_groups(1, 4);
    let group = &mut groups[0];
    group.post_small(&mut bench, 1);
    group.post_large(&mut bench, 2);
    group.post_large(&mut bench, 3);
    for length in [256, 257, 60] {
        bench.card.receive(&frame(0, length));
    }
    let entries = group.drain(&mut bench);
    let seen: Vec<_> = entries
        .iter()
        .map(|entry| (entry.handle, entry.large))
        .collect();
    assert_eq!(seen, [(1, false), (2, true), (3, true)]);
}

#[test]
fn a_group_works_without_a_small_ring() {
    let mut bench = Bench::new();
    let mut group = bench::Group::set_up(&mut bench, 0, 4);
    let register = |offset| regs::group_register(0, offset);
    bench.write(register(group::CONTROL), 0);
    bench.write(register(group::SMALL + ring::SIZE), 0);
    bench.write(register(group::CONTROL), regs::ENABLE);
    bench.write(global::CONTROL, global::CONTROL_RX);
    group.post_large(&mut bench, 5);
    bench.card.receive(&frame(0, 60));
    assert_eq!(group.handles(&mut bench), [5]);
}

#[test]
fn rings_wrap_and_indices_wrap_with_them() {
    let (mut bench, mut groups) = Bench::with_groups(1, 8);
    let group = &mut groups[0];
    let address = bench.allocate(2048);
    // Past the wrap of the index at 2^16, never the same number in flight.
    let mut handle = 0;
    while handle < 70_000 {
        let first = handle;
        for _ in 0..=(first % 8) {
            group.post(&mut bench, true, address, handle, 2048);
            handle += 1;
        }
        for _ in first..handle {
            bench.card.receive(&frame(0, 60));
        }
        assert_eq!(group.handles(&mut bench), Vec::from_iter(first..handle));
    }
    assert_eq!(bench.counter("rx_frames"), u64::from(handle));
    assert_eq!(bench.error(), None);
}

#[test]
fn a_ring_of_the_greatest_size_can_be_filled() {
    let mut bench = Bench::new();
    let size = regs::RING_SIZE_MAX;
    let mut large = bench.ring(regs::group_register(0, group::LARGE), size);
    let mut returned = bench.ring(regs::group_register(0, group::RETURN), size);
    bench.write(regs::group_register(0, group::CONTROL), regs::ENABLE);
    bench.write(global::CONTROL, global::CONTROL_RX);
    let address = bench.allocate(64);
    for handle in 0..u32::from(size) {
        let entry = regs::FreeEntry {
            address,
            handle,
            size: 64,
        };
        bench.fill(&mut large, entry.encode());
    }
    assert_eq!(bench.error(), None);
    for _ in 0..size {
        bench.card.receive(&frame(0, 60));
    }
    let entries = bench.drain(&mut returned);
    assert!(entries
        .iter()
        .map(|entry| entry.handle)
        .eq(0..u32::from(size)));
}

#[test]
fn each_dropped_frame_is_counted_by_its_reason() {
    let (mut bench, mut groups) = Bench::with_groups(1, 2);
    let group = &mut groups[0];
    bench.card.receive(&frame(0, 60));
    assert_eq!(bench.counter("rx_no_buffer"), 1);
    assert_eq!(bench.read(regs::group_register(0, group::RX_NO_BUFFER)), 1);

    group.post_small(&mut bench, 1);
    group.post_large(&mut bench, 2);
    bench.card.receive(&frame(0, 2049));
    bench.card.receive(&frame(0, 9217));
    bench.card.receive(&frame(0, 14)[..13]);
    bench.card.receive(&[]);
    assert_eq!(bench.counter("rx_length"), 4);

    bench.card.set_link(false);
    bench.card.receive(&frame(0, 60));
    bench.card.set_link(true);
    bench.write(global::CONTROL, 0);
    bench.card.receive(&frame(0, 60));
    bench.write(global::CONTROL, global::CONTROL_RX);
    bench.write(regs::group_register(0, group::CONTROL), 0);
    bench.card.receive(&frame(0, 60));
    assert_eq!(bench.counter("rx_off"), 3);
    assert_eq!(bench.counter("rx_frames"), 0);
    assert!(group.drain(&mut bench).is_empty());
}

#[test]
fn a_full_return_ring_keeps_the_buffers() {
    let (mut bench, mut groups) = Bench::with_groups(1, 2);
    let group = &mut groups[0];
    // The return ring has 4 slots; nothing is consumed until it is full.
    for handle in 0..5 {
        group.post_large(&mut bench, handle);
        bench.card.receive(&frame(0, 60));
    }
    assert_eq!(bench.counter("rx_ring_full"), 1);
    assert_eq!(group.handles(&mut bench), [0, 1, 2, 3]);
    bench.card.receive(&frame(0, 60));
    assert_eq!(group.handles(&mut bench), [4]);
}

#[test]
fn buffers_of_impossible_size_come_back_as_errors() {
    let (mut bench, mut groups) = Bench::with_groups(1, 8);
    let group = &mut groups[0];
    let address = bench.allocate(2048);
    for (handle, size) in [(1, 0), (2, 63), (3, 16385), (4, u32::MAX), (5, 2048)] {
        group.post(&mut bench, true, address, handle, size);
    }
    bench.card.receive(&frame(0, 60));
    let entries = group.drain(&mut bench);
    let seen: Vec<_> = entries
        .iter()
        .map(|entry| (entry.handle, entry.error, entry.length))
        .collect();
    assert_eq!(
        seen,
        [
            (1, true, 0),
            (2, true, 0),
            (3, true, 0),
            (4, true, 0),
            (5, false, 60)
        ]
    );
    let error = bench.error().unwrap();
    assert_eq!(error.code, ErrorCode::BufferSize);
    assert_eq!(error.ring, RingName::Large);
    assert_eq!(bench.read(global::ERROR_COUNT), 4);
}

#[test]
fn a_buffer_at_a_bad_address_comes_back_as_an_error() {
    let (mut bench, mut groups) = Bench::with_groups(2, 8);
    let group = &mut groups[1];
    bench.write(regs::group_register(0, group::CONTROL), 0);
    let end = bench::BASE + bench::MEMORY as u64;
    for (handle, address) in [
        (1, 0x1000),
        (2, end - 59),
        (3, u64::MAX - 10),
        (4, end - 2048),
    ] {
        group.post(&mut bench, false, address, handle, 2048);
    }
    for _ in 0..4 {
        bench.card.receive(&frame(0, 60));
    }
    let entries = group.drain(&mut bench);
    let seen: Vec<_> = entries
        .iter()
        .map(|entry| (entry.handle, entry.error))
        .collect();
    assert_eq!(seen, [(1, true), (2, true), (3, true), (4, false)]);
    assert_eq!(bench.counter("dma_errors"), 3);
    assert_eq!(bench.counter("rx_dma"), 3);
    let error_info = bench.read(global::ERROR_INFO_LOW);
    let error = bench.error().unwrap();
    assert_eq!(error.code, ErrorCode::DmaWrite);
    assert_eq!((error.ring, error.group), (RingName::Small, 1));
    assert_eq!(error_info, 0x1000);
}

#[test]
fn without_bus_mastering_memory_is_left_alone() {
    let (mut bench, mut groups) = Bench::with_groups(1, 4);
    let group = &mut groups[0];
    group.post_large(&mut bench, 1);
    bench.card.write_config(4, &[0x02, 0x00]);
    let before = bench.snapshot();
    bench.card.receive(&frame(7, 60));
    assert!(bench.snapshot() == before);
    assert_eq!(bench.counter("dma_blocked"), 1);
    assert_eq!(bench.counter("rx_dma"), 1);
    assert_eq!(bench.error().unwrap().code, ErrorCode::BusMaster);
    bench.card.write_config(4, &[0x06, 0x00]);
    bench.card.receive(&frame(7, 60));
    assert_eq!(group.handles(&mut bench), [1]);
}

#[test]
fn doorbells_out_of_bounds_are_refused() {
    let (mut bench, mut groups) = Bench::with_groups(1, 4);
    let group = &mut groups[0];
    for handle in 0..3 {
        group.post_large(&mut bench, handle);
    }
    let free = regs::group_register(0, group::LARGE + ring::DOORBELL);
    let returned = regs::group_register(0, group::RETURN + ring::DOORBELL);
    for (register, value, code) in [
        // More than the ring holds, and less than was posted.
        (free, 5, ErrorCode::RingIndex),
        (free, 2, ErrorCode::RingIndex),
        (free, 3 | ring::ARM, ErrorCode::Value),
        // More than was returned.
        (returned, 1, ErrorCode::RingIndex),
        (returned, 0xffff, ErrorCode::RingIndex),
        (returned, 1 << 16, ErrorCode::Value),
    ] {
        bench.write(register, value);
        assert_eq!(
            bench.error().map(|error| error.code),
            Some(code),
            "{value:#x}"
        );
    }
    for _ in 0..4 {
        bench.card.receive(&frame(0, 60));
    }
    assert_eq!(group.handles(&mut bench), [0, 1, 2]);
    assert_eq!(bench.counter("rx_no_buffer"), 1);
}

#[test]
fn flows_are_spread_over_the_enabled_groups_only() {
    let (mut bench, mut groups) = Bench::with_groups(8, 64);
    bench.write(regs::group_register(3, group::CONTROL), 0);
    for group in &mut groups {
        if group.number != 3 {
            for handle in 0..64 {
                let address = bench.allocate(64);
                group.post(&mut bench, true, address, handle, 64);
            }
        }
    }
    for flow in 0..200 {
        let mut frame = frame(0, 60);
        frame[11] = flow;
        bench.card.receive(&frame);
    }
    assert_eq!(bench.counter("rx_frames"), 200);
    for group in &mut groups {
        let frames = bench.read(regs::group_register(group.number, group::RX_FRAMES));
        let returned = match group.number {
            3 => 0,
            _ => group.drain(&mut bench).len(),
        };
        assert_eq!(frames as usize, returned);
        assert_eq!(returned == 0, group.number == 3, "group {}", group.number);
    }
}
