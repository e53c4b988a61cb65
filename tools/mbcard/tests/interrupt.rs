// SPDX-License-Identifier: GPL-2.0

//! Vectors: armed, masked, pending, listened to.

mod bench;

use bench::frame;
use bench::Bench;
use mbcard_regs as regs;
use mbcard_regs::global;
use mbcard_regs::VECTOR_MISC;

#[test]
fn an_armed_vector_fires_once() {
    let (mut bench, mut groups) = Bench::with_groups(1, 8);
    let group = &mut groups[0];
    for handle in 0..4 {
        group.post_large(&mut bench, handle);
    }
    bench.card.receive(&frame(0, 60));
    assert_eq!(bench.raised(0), 0, "nobody armed it");
    bench.arm(&group.returned);
    assert_eq!(bench.raised(0), 1, "an entry is there already");
    bench.card.receive(&frame(0, 60));
    assert_eq!(bench.raised(0), 0, "it fired");
    group.drain(&mut bench);
    bench.arm(&group.returned);
    assert_eq!(bench.raised(0), 0, "nothing is there");
    bench.card.receive(&frame(0, 60));
    bench.card.receive(&frame(0, 60));
    assert_eq!(bench.raised(0), 1);
    assert_eq!(bench.counter("interrupts"), 2);
}

#[test]
fn a_masked_vector_fires_when_it_is_unmasked() {
    let (mut bench, mut groups) = Bench::with_groups(2, 8);
    let group = &mut groups[1];
    bench.write(global::INT_MASK, 1 << 1);
    group.post_large(&mut bench, 0);
    group.post_large(&mut bench, 1);
    bench.arm(&group.returned);
    bench.write(regs::group_register(0, regs::group::CONTROL), 0);
    bench.card.receive(&frame(0, 60));
    assert_eq!(bench.raised(1), 0);
    assert_eq!(bench.read(global::INT_PENDING), 1 << 1);
    bench.write(global::INT_MASK, 0);
    assert_eq!(bench.raised(1), 1);
    group.drain(&mut bench);
    assert_eq!(bench.read(global::INT_PENDING), 0);
}

#[test]
fn an_interrupt_waits_for_its_listener() {
    let (mut bench, mut groups) = Bench::with_groups(1, 8);
    let group = &mut groups[0];
    group.post_large(&mut bench, 0);
    bench.arm(&group.returned);
    bench.card.host().listening = false;
    bench.card.receive(&frame(0, 60));
    assert_eq!(bench.counter("interrupts"), 0);
    bench.card.host().listening = true;
    bench.card.run();
    assert_eq!(bench.raised(0), 1);
    bench.card.run();
    assert_eq!(bench.raised(0), 0);
}

#[test]
fn events_fire_again_only_after_they_are_acknowledged() {
    let mut bench = Bench::new();
    bench.write(global::INT_MASK, 0);
    bench.card.set_link(true);
    assert_eq!(bench.raised(VECTOR_MISC), 0, "it was up");
    bench.card.set_link(false);
    assert_eq!(bench.raised(VECTOR_MISC), 1);
    assert_eq!(bench.read(global::EVENT), global::EVENT_LINK);
    assert_eq!(bench.read(global::STATUS) & global::STATUS_LINK, 0);
    bench.card.set_link(true);
    bench.write(global::STEER, 99);
    assert_eq!(bench.raised(VECTOR_MISC), 0);
    // The error came meanwhile, so it fires at once.
    bench.write(global::EVENT, global::EVENT_LINK);
    assert_eq!(bench.raised(VECTOR_MISC), 1);
    assert_eq!(bench.read(global::EVENT), global::EVENT_ERROR);
    bench.write(global::EVENT, global::EVENT_ERROR);
    assert_eq!(bench.raised(VECTOR_MISC), 0);
    assert_eq!(bench.read(global::INT_PENDING), 0);
}
