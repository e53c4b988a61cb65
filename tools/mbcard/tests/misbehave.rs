// SPDX-License-Identifier: GPL-2.0

//! Each misdeed, by register as a driver's test would command it.

mod bench;

use std::time::Duration;

use bench::frame;
use bench::Bench;
use bench::Group;
use mbcard_regs as regs;
use mbcard_regs::global;
use mbcard_regs::group;
use mbcard_regs::lab;
use mbcard_regs::Misdeed;

/// Commands a misdeed; gives its result and how many were done.
fn misbehave(bench: &mut Bench, kind: Misdeed, group: u8, count: u16) -> (u32, u32) {
    let before = bench.read(regs::LAB_BASE + lab::DONE);
    let word = regs::misbehave(kind, group, count);
    bench.write(regs::LAB_BASE + lab::MISBEHAVE, word);
    let result = bench.read(regs::LAB_BASE + lab::RESULT);
    (result, bench.read(regs::LAB_BASE + lab::DONE) - before)
}

fn argument(bench: &mut Bench, argument: u64) {
    let (low, high) = regs::split(argument);
    bench.write(regs::LAB_BASE + lab::ARG_LOW, low);
    bench.write(regs::LAB_BASE + lab::ARG_HIGH, high);
}

/// A card with group 1 enabled, and four buffers with handles 0 to 3 and their addresses.
fn set_up() -> (Bench, Group, Vec<u64>) {
    let mut bench = Bench::new();
    let mut group = Group::set_up(&mut bench, 1, 8);
    bench.write(global::INT_MASK, 0);
    bench.write(global::CONTROL, global::CONTROL_RX);
    let addresses = (0..4).map(|handle| group.post_large(&mut bench, handle));
    let addresses = Vec::from_iter(addresses);
    (bench, group, addresses)
}

#[test]
fn handles_that_it_never_got() {
    let (mut bench, mut group, _) = set_up();
    bench.arm(&group.returned);
    // This one it has, so the choice passes over it.
    group.post_large(&mut bench, u32::MAX - 1);
    let done = misbehave(&mut bench, Misdeed::UnknownHandle, 1, 2);
    assert_eq!(done, (lab::RESULT_DONE, 2));
    assert_eq!(group.handles(&mut bench), [u32::MAX, u32::MAX]);
    assert_eq!(bench.raised(1), 1);
    argument(&mut bench, 0x1234);
    misbehave(&mut bench, Misdeed::UnknownHandle, 1, 1);
    assert_eq!(group.handles(&mut bench), [0x1234]);
    // The buffers are as they were.
    bench.card.receive(&frame(0, 60));
    assert_eq!(group.handles(&mut bench), [0]);
    assert_eq!(bench.counter("misdeeds"), 3);
}

#[test]
fn the_choice_of_an_unknown_handle_passes_over_those_on_the_card() {
    let (mut bench, mut group, _) = set_up();
    group.post_large(&mut bench, u32::MAX);
    group.post_small(&mut bench, u32::MAX - 1);
    misbehave(&mut bench, Misdeed::UnknownHandle, 1, 1);
    assert_eq!(group.handles(&mut bench), [u32::MAX - 2]);
}

#[test]
fn a_handle_again_and_again() {
    let (mut bench, mut group, addresses) = set_up();
    let done = misbehave(&mut bench, Misdeed::DuplicateHandle, 1, 3);
    assert_eq!(done, (lab::RESULT_DONE, 3));
    assert_eq!(group.handles(&mut bench), [0, 0, 0, 0]);
    assert_eq!(bench.memory(addresses[0], 6), bench::MAC);
    bench.card.receive(&frame(0, 60));
    assert_eq!(group.handles(&mut bench), [1]);
}

#[test]
fn handles_from_before_a_reset() {
    let (mut bench, _, _) = set_up();
    assert_eq!(
        misbehave(&mut bench, Misdeed::HandleAfterReset, 1, 1),
        (lab::RESULT_CANNOT, 0),
        "there was none yet"
    );
    bench.write(global::CONTROL, global::CONTROL_RESET);
    let mut group = Group::set_up(&mut bench, 1, 8);
    group.post_large(&mut bench, 3);
    let done = misbehave(&mut bench, Misdeed::HandleAfterReset, 1, 9);
    assert_eq!(done, (lab::RESULT_CANNOT, 3));
    // Not 3, which is on the card again.
    assert_eq!(group.handles(&mut bench), [2, 1, 0]);
}

#[test]
fn a_group_has_its_own_handles_from_before_a_reset() {
    let (mut bench, _, _) = set_up();
    // More than the card remembers of one.
    let mut other = Group::set_up(&mut bench, 7, 2048);
    let address = bench.allocate(2048);
    for handle in 100..1200 {
        other.post(&mut bench, true, address, handle, 2048);
    }
    bench.write(global::CONTROL, global::CONTROL_RESET);
    let mut group = Group::set_up(&mut bench, 1, 8);
    Group::set_up(&mut bench, 2, 8);
    let none = misbehave(&mut bench, Misdeed::HandleAfterReset, 2, 1);
    assert_eq!(none, (lab::RESULT_CANNOT, 0), "group 2 had none");
    misbehave(&mut bench, Misdeed::HandleAfterReset, 1, 2);
    assert_eq!(group.handles(&mut bench), [3, 2]);
}

#[test]
fn handles_from_before_a_group_was_disabled() {
    let (mut bench, _, _) = set_up();
    bench.write(regs::group_register(1, group::CONTROL), 0);
    let mut group = Group::set_up(&mut bench, 1, 8);
    misbehave(&mut bench, Misdeed::HandleAfterReset, 1, 2);
    assert_eq!(group.handles(&mut bench), [3, 2]);
    argument(&mut bench, 0x55);
    misbehave(&mut bench, Misdeed::HandleAfterReset, 1, 1);
    assert_eq!(group.handles(&mut bench), [0x55]);
}

#[test]
fn a_length_past_the_end() {
    let (mut bench, mut group, _) = set_up();
    misbehave(&mut bench, Misdeed::LengthPastEnd, 1, 1);
    argument(&mut bench, 0xffff_ffff);
    misbehave(&mut bench, Misdeed::LengthPastEnd, 1, 1);
    let entries = group.drain(&mut bench);
    let seen = Vec::from_iter(entries.iter().map(|entry| (entry.handle, entry.length)));
    assert_eq!(seen, [(0, 2049), (1, u32::MAX)]);
}

#[test]
fn a_write_to_a_buffer_that_it_returned() {
    let (mut bench, mut group, addresses) = set_up();
    let done = misbehave(&mut bench, Misdeed::WriteReturned, 1, 1);
    assert_eq!(done, (lab::RESULT_DONE, 1));
    assert_eq!(group.handles(&mut bench), [0]);
    assert_eq!(bench.memory(addresses[0], 2048), [0xa5; 2048]);
    assert_eq!(bench.memory(addresses[1], 2048), [0; 2048]);
}

#[test]
fn a_write_to_an_address_that_it_never_got() {
    let (mut bench, mut group, _) = set_up();
    let before = bench.snapshot();
    let done = misbehave(&mut bench, Misdeed::WriteWild, 0, 3);
    assert_eq!(done, (lab::RESULT_DONE, 3));
    assert!(bench.snapshot() == before);
    assert_eq!(bench.counter("dma_errors"), 3);
    assert_eq!(bench.read(global::ERROR_INFO_HIGH), u32::MAX);
    let victim = bench.allocate(128);
    argument(&mut bench, victim);
    misbehave(&mut bench, Misdeed::WriteWild, 0, 1);
    assert_eq!(bench.memory(victim, 64), [0xa5; 64]);
    assert_eq!(bench.memory(victim + 64, 64), [0; 64]);
    assert!(group.drain(&mut bench).is_empty());
}

#[test]
fn a_storm_of_interrupts() {
    let (mut bench, _, _) = set_up();
    bench.write(global::INT_MASK, 0x3ff);
    let done = misbehave(&mut bench, Misdeed::InterruptStorm, 8, 100);
    assert_eq!(done, (lab::RESULT_DONE, 0));
    let mut ticks = 0;
    while let Some(wait) = bench.card.wants() {
        bench.card.tick(wait);
        ticks += 1;
    }
    assert_eq!(ticks, 100);
    assert_eq!(bench.raised(8), 100);
    assert_eq!(bench.counter("misdeeds"), 100);
    // One without end stops on command, and at a reset.
    for stop in [true, false] {
        misbehave(&mut bench, Misdeed::InterruptStorm, 1, 0);
        for _ in 0..1000 {
            bench.card.tick(Duration::from_millis(1));
        }
        assert_eq!(bench.raised(1), 1000);
        if stop {
            misbehave(&mut bench, Misdeed::None, 0, 0);
        } else {
            bench.write(global::CONTROL, global::CONTROL_RESET);
        }
        assert_eq!(bench.card.wants(), None);
        bench.card.tick(Duration::from_millis(1));
        assert_eq!(bench.raised(1), 0);
    }
}

#[test]
fn a_silence() {
    let (mut bench, mut group, _) = set_up();
    let mut transmitter = bench::Transmitter::set_up(&mut bench, 4, 4);
    bench.write(global::CONTROL, global::CONTROL_RX | global::CONTROL_TX);
    bench.card.receive(&frame(0, 60));
    bench.card.receive(&frame(0, 60));
    misbehave(&mut bench, Misdeed::Silence, 0, 30);
    let entries = group.drain(&mut bench);
    assert_eq!(entries.len(), 2, "they came before");
    bench.arm(&transmitter.done);
    transmitter.send(&mut bench, 1, &frame(0, 60));
    let before = bench.snapshot();
    bench.card.receive(&frame(0, 60));
    let done = misbehave(&mut bench, Misdeed::UnknownHandle, 1, 1);
    assert_eq!(done, (lab::RESULT_CANNOT, 0));
    bench.card.tick(Duration::from_millis(29));
    assert!(bench.snapshot() == before);
    assert_eq!(bench.raised(8), 0);
    assert_eq!(bench.read(global::ID), regs::ID);
    // Then it does what was left undone.
    bench.card.tick(Duration::from_millis(1));
    assert_eq!(bench.raised(8), 1);
    assert_eq!(transmitter.drain(&mut bench).len(), 1);
    assert_eq!(bench.counter("rx_off"), 1);
    assert_eq!(bench.card.wants(), None);
}

#[test]
fn a_silence_without_end_ends_on_command_or_at_a_reset() {
    let (mut bench, mut group, _) = set_up();
    misbehave(&mut bench, Misdeed::Silence, 0, 0);
    assert_eq!(bench.card.wants(), None);
    bench.card.tick(Duration::from_secs(3600));
    bench.card.receive(&frame(0, 60));
    assert!(group.drain(&mut bench).is_empty());
    misbehave(&mut bench, Misdeed::None, 0, 0);
    bench.card.receive(&frame(0, 60));
    assert_eq!(group.handles(&mut bench), [0]);
    misbehave(&mut bench, Misdeed::Silence, 0, 0);
    bench.write(global::CONTROL, global::CONTROL_RESET);
    let mut group = Group::set_up(&mut bench, 1, 8);
    bench.write(global::CONTROL, global::CONTROL_RX);
    group.post_large(&mut bench, 5);
    bench.card.receive(&frame(0, 60));
    assert_eq!(group.handles(&mut bench), [5]);
}

#[test]
fn commands_that_cannot_be_followed_say_so() {
    let (mut bench, mut group, _) = set_up();
    let needy = [
        Misdeed::UnknownHandle,
        Misdeed::DuplicateHandle,
        Misdeed::LengthPastEnd,
        Misdeed::WriteReturned,
    ];
    for kind in needy {
        let unknown = (lab::RESULT_UNKNOWN, 0);
        assert_eq!(misbehave(&mut bench, kind, 8, 1), unknown);
        let cannot = (lab::RESULT_CANNOT, 0);
        assert_eq!(misbehave(&mut bench, kind, 0, 1), cannot, "group off");
    }
    let storm = misbehave(&mut bench, Misdeed::InterruptStorm, 10, 1);
    assert_eq!(storm, (lab::RESULT_UNKNOWN, 0));
    bench.write(regs::LAB_BASE + lab::MISBEHAVE, 0xff);
    let result = bench.read(regs::LAB_BASE + lab::RESULT);
    assert_eq!(result, lab::RESULT_UNKNOWN);
    // The return ring has 16 slots.
    let done = misbehave(&mut bench, Misdeed::UnknownHandle, 1, 100);
    assert_eq!(done, (lab::RESULT_CANNOT, 16));
    group.drain(&mut bench);
    // And there are 4 buffers.
    let done = misbehave(&mut bench, Misdeed::LengthPastEnd, 1, 5);
    assert_eq!(done, (lab::RESULT_CANNOT, 4));
}

#[test]
fn made_frames_come_at_their_rate_once_the_receiver_is_on() {
    let mut bench = Bench::new();
    bench.write(regs::LAB_BASE + lab::SEED, 42);
    bench.write(regs::LAB_BASE + lab::RATE, 1000);
    bench.write(regs::LAB_BASE + lab::GENERATE, regs::generate(3, 100));
    assert_eq!(bench.card.wants(), None);
    bench.card.tick(Duration::from_secs(1));
    let mut group = Group::set_up(&mut bench, 0, 8);
    bench.write(global::CONTROL, global::CONTROL_RX);
    assert_eq!(bench.card.wants(), Some(Duration::from_millis(1)));
    let addresses = Vec::from_iter((0..3).map(|handle| group.post_large(&mut bench, handle)));
    bench.card.tick(Duration::from_millis(2));
    assert_eq!(group.handles(&mut bench), [0, 1]);
    bench.card.tick(Duration::from_millis(2));
    assert_eq!(group.handles(&mut bench), [2]);
    assert_eq!(bench.card.wants(), None);
    assert_ne!(
        bench.memory(addresses[0], 100),
        bench.memory(addresses[1], 100)
    );
    assert_eq!(bench.counter("rx_frames"), 3);
}
