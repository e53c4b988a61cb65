// SPDX-License-Identifier: GPL-2.0

//! Holds the tables of the manual against the registers' definitions.

use std::collections::BTreeSet;

use mbcard_regs::stats;
use mbcard_regs::ErrorCode;
use mbcard_regs::Misdeed;
use mbcard_regs::Tally;

const MANUAL: &str = include_str!("../../../Documentation/mbcard.rst");
const SUITE: &str = include_str!("../../../scripts/suites/hostile.guest");
const DEFINITIONS: &str = include_str!("../src/regs.rs");

/// The rows of the table under the heading that begins so: number and name.
fn table(heading: &str) -> BTreeSet<(u64, String)> {
    let section = MANUAL.split(&format!("\n{heading}")).nth(1).unwrap();
    // From the second rule of the table to the third one.
    let rows = section.split("\n======").nth(2).unwrap();
    let rows = rows.lines().skip(1).filter(|row| !row.starts_with(' '));
    rows.map(|row| {
        let mut words = row.split_whitespace();
        let number = words.next().unwrap();
        let number = match number.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => number.parse(),
        };
        (number.unwrap(), words.next().unwrap().to_owned())
    })
    .collect()
}

/// The offsets that a module defines, by name.
fn offsets(module: &str) -> BTreeSet<(u64, String)> {
    let start = format!("\npub mod {module} {{\n");
    let body = DEFINITIONS.split(&start).nth(1).unwrap();
    let body = body.split("\n}\n").next().unwrap();
    let offset = |line: &str| {
        let definition = line.trim().strip_prefix("pub const ")?;
        let (name, value) = definition.split_once(": usize = 0x")?;
        let value = u64::from_str_radix(value.strip_suffix(';')?, 16).ok()?;
        Some((value, name.to_owned()))
    };
    body.lines().filter_map(offset).collect()
}

#[test]
fn each_register_is_in_the_manual_at_its_offset() {
    for (heading, module, count) in [
        ("Global, at 0\n", "global", 15),
        ("Receive group n, at 0x1000 + n * 0x100\n", "group", 6),
        ("Transmitter, at 0x2000\n", "tx", 3),
        ("Ring, at the offset above\n", "ring", 5),
        ("Statistics, at 0x3000\n", "stats", stats::COUNT),
        ("Lab, at 0x4000\n", "lab", 12),
    ] {
        let defined = offsets(module);
        assert_eq!(defined.len(), count, "{module}");
        assert_eq!(table(heading), defined, "{module}");
    }
}

#[test]
fn each_error_is_in_the_manual_by_its_code() {
    let codes = ErrorCode::ALL.map(|code| (code as u64, format!("{code:?}")));
    assert_eq!(table("Errors\n==="), BTreeSet::from(codes));
}

#[test]
fn each_misdeed_is_in_the_manual_by_its_number() {
    let kinds = Misdeed::ALL.map(|kind| (kind as u64, kind.name().to_owned()));
    assert_eq!(table("Misbehaviour\n==="), BTreeSet::from(kinds));
}

#[test]
fn each_tally_is_in_the_manual_by_its_number() {
    let tallies = Tally::ALL.iter();
    let tallies = tallies.map(|kind| (*kind as u64, kind.name().to_owned()));
    assert_eq!(table("A hostile card\n==="), tallies.collect());
}

#[test]
fn the_suite_has_the_tallies_in_their_order() {
    let names = SUITE.split("\nTALLIES=(").nth(1).unwrap();
    let names = names.split(')').next().unwrap().split_whitespace();
    assert!(names.eq(Tally::ALL.iter().map(|kind| kind.name())));
}
