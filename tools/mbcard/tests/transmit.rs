// SPDX-License-Identifier: GPL-2.0

//! Frames out of memory onto the wire.

mod bench;

use bench::frame;
use bench::Bench;
use bench::Transmitter;
use mbcard_regs as regs;
use mbcard_regs::global;
use mbcard_regs::lab;
use mbcard_regs::ErrorCode;
use mbcard_regs::RingName;
use mbcard_regs::VECTOR_TX;

fn set_up(size: u16, done: u16) -> (Bench, Transmitter) {
    let (mut bench, _) = Bench::with_groups(0, 2);
    let transmitter = Transmitter::set_up(&mut bench, size, done);
    (bench, transmitter)
}

#[test]
fn frames_are_sent_and_completed_in_order() {
    let (mut bench, mut transmitter) = set_up(8, 8);
    bench.arm(&transmitter.done);
    for (cookie, length) in [(10, 14), (11, 1514), (12, 9216)] {
        transmitter.send(&mut bench, cookie, &frame(cookie as u8, length));
    }
    let sent = bench.wire.0.lock().unwrap().clone();
    assert_eq!(sent, [frame(10, 14), frame(11, 1514), frame(12, 9216)]);
    let done = transmitter.drain(&mut bench);
    let seen: Vec<_> = done
        .iter()
        .map(|entry| (entry.handle, entry.length, entry.error))
        .collect();
    assert_eq!(
        seen,
        [(10, 14, false), (11, 1514, false), (12, 9216, false)]
    );
    assert_eq!(bench.raised(VECTOR_TX), 1);
    assert_eq!(bench.counter("tx_frames"), 3);
    assert_eq!(bench.counter("tx_bytes"), 14 + 1514 + 9216);
}

#[test]
fn a_full_completion_ring_holds_the_transmitter_up() {
    let (mut bench, mut transmitter) = set_up(8, 2);
    for cookie in 0..5 {
        transmitter.send(&mut bench, cookie, &frame(0, 60));
    }
    let mut cookies = Vec::new();
    for _ in 0..3 {
        assert!(bench.wire.0.lock().unwrap().len() <= cookies.len() + 2);
        let done = transmitter.drain(&mut bench);
        cookies.extend(done.iter().map(|entry| entry.handle));
    }
    assert_eq!(cookies, [0, 1, 2, 3, 4]);
}

#[test]
fn frames_that_cannot_be_sent_are_completed_with_an_error() {
    let (mut bench, mut transmitter) = set_up(16, 16);
    let address = bench.allocate(64);
    for (cookie, address, length) in [(1, address, 13), (2, address, 9217), (3, address, 0)] {
        transmitter.send_from(&mut bench, cookie, address, length);
    }
    let error = bench.error().unwrap();
    assert_eq!(
        (error.code, error.ring),
        (ErrorCode::FrameLength, RingName::Send)
    );
    transmitter.send_from(&mut bench, 4, 0x1000, 60);
    assert_eq!(bench.error().unwrap().code, ErrorCode::DmaRead);
    transmitter.send(&mut bench, 5, &[0xff; 60]);
    bench.card.set_link(false);
    transmitter.send(&mut bench, 6, &frame(0, 60));
    bench.card.set_link(true);
    transmitter.send(&mut bench, 7, &frame(0, 60));
    let done = transmitter.drain(&mut bench);
    let failed: Vec<_> = done
        .iter()
        .filter(|entry| entry.error && entry.length == 0)
        .map(|entry| entry.handle)
        .collect();
    assert_eq!(failed, [1, 2, 3, 4, 5, 6]);
    assert_eq!(done.len(), 7);
    assert_eq!(bench.counter("tx_errors"), 6);
    assert_eq!(bench.counter("tx_frames"), 1);
}

#[test]
fn frames_wait_until_the_transmitter_is_on() {
    let (mut bench, mut transmitter) = set_up(8, 8);
    bench.write(global::CONTROL, 0);
    transmitter.send(&mut bench, 1, &frame(0, 60));
    assert!(transmitter.drain(&mut bench).is_empty());
    bench.write(global::CONTROL, global::CONTROL_TX);
    assert_eq!(transmitter.drain(&mut bench).len(), 1);
    // A new mapping of the rings, and a new start.
    bench.write(regs::TX_BASE + regs::tx::CONTROL, 0);
    let mut transmitter = Transmitter::set_up(&mut bench, 4, 4);
    transmitter.send(&mut bench, 2, &frame(0, 60));
    assert_eq!(transmitter.drain(&mut bench)[0].handle, 2);
}

#[test]
fn without_bus_mastering_nothing_is_sent() {
    let (mut bench, mut transmitter) = set_up(8, 8);
    bench.card.write_config(4, &[0x02, 0x00]);
    transmitter.send(&mut bench, 1, &frame(0, 60));
    assert!(transmitter.drain(&mut bench).is_empty());
    assert!(bench.wire.0.lock().unwrap().is_empty());
    assert_eq!(bench.error().unwrap().code, ErrorCode::BusMaster);
    bench.card.write_config(4, &[0x06, 0x00]);
    assert_eq!(transmitter.drain(&mut bench).len(), 1);
}

#[test]
fn looped_frames_are_received_and_not_sent() {
    let (mut bench, mut groups) = Bench::with_groups(1, 8);
    let mut transmitter = Transmitter::set_up(&mut bench, 8, 8);
    let address = groups[0].post_large(&mut bench, 9);
    bench.write(regs::LAB_BASE + lab::WIRE, lab::LOOPBACK);
    transmitter.send(&mut bench, 1, &frame(5, 1000));
    assert_eq!(groups[0].handles(&mut bench), [9]);
    assert_eq!(bench.memory(address, 1000), frame(5, 1000));
    assert!(!transmitter.drain(&mut bench)[0].error);
    assert!(bench.wire.0.lock().unwrap().is_empty());
}

#[test]
fn made_frames_that_come_back_are_checked() {
    let (mut bench, mut groups) = Bench::with_groups(1, 8);
    let mut transmitter = Transmitter::set_up(&mut bench, 8, 8);
    let address = groups[0].post_large(&mut bench, 9);
    assert!(bench.card.generate(1, 500, 77, 0));
    bench.card.tick(std::time::Duration::ZERO);
    transmitter.send_from(&mut bench, 1, address, 500);
    assert_eq!(bench.counter("checked_good"), 1);
    bench.set_memory(address + 300, &[0]);
    bench.set_memory(address + 301, &[0]);
    transmitter.send_from(&mut bench, 1, address, 500);
    assert_eq!(bench.counter("checked_bad"), 1);
}
