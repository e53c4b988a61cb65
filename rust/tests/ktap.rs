// SPDX-License-Identifier: GPL-2.0

//! A small test framework: runs tests one by one and reports them to the kernel log in KTAP.
//!
//! A test is a function that answers [`Outcome`]. It never panics: what it finds wrong it says with
//! [`check!`](crate::check) and its kin, or with `?` on an error, and the report has the file and the
//! line. The plan comes first, so a report that ends early is seen to be short.

use crate::devices::Fixture;
use core::panic::Location;
use kernel::{
    fmt::{
        self,
        Write, //
    },
    prelude::*, //
};

/// How much of a failure's values is kept.
const VALUES: usize = 160;

/// A test: its name and its function.
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Fixture<'_>) -> Outcome,
}

/// What a test found.
pub(crate) type Outcome<T = ()> = Result<T, Stop>;

/// Why a test ended early.
pub(crate) enum Stop {
    /// Something is not as it should be.
    Failed(Failure),
    /// The machine lacks what the test needs.
    Skipped(&'static str),
}

/// What is not as it should be, and where that was seen.
///
/// It is made in any context, so it holds no allocation.
pub(crate) struct Failure {
    at: &'static Location<'static>,
    what: &'static str,
    values: Values,
}

/// Formatted values, cut off where they get too long.
struct Values {
    text: [u8; VALUES],
    len: usize,
}

impl Write for Values {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let room = self.text.get_mut(self.len..).unwrap_or_default();
        for (to, from) in room.iter_mut().zip(s.bytes()) {
            *to = from;
            self.len += 1;
        }
        Ok(())
    }
}

impl Values {
    fn new(args: fmt::Arguments<'_>) -> Self {
        let mut values = Self {
            text: [0; VALUES],
            len: 0,
        };
        // What does not fit is cut off.
        let _ = values.write_fmt(args);
        values
    }

    fn as_str(&self) -> &str {
        let text = self.text.get(..self.len).unwrap_or_default();
        core::str::from_utf8(text).unwrap_or_default()
    }
}

impl Stop {
    /// A failure at the caller's line, with values to show.
    #[track_caller]
    #[cold]
    pub(crate) fn failed(what: &'static str, values: fmt::Arguments<'_>) -> Self {
        Self::Failed(Failure {
            at: Location::caller(),
            what,
            values: Values::new(values),
        })
    }
}

// For `?`, with the line that it stands on.
impl<E: fmt::Debug> From<E> for Stop {
    #[track_caller]
    fn from(error: E) -> Self {
        Self::failed("an error where none was due", fmt!("{error:?}"))
    }
}

/// Fails the test unless the condition holds.
#[macro_export]
macro_rules! check {
    ($condition:expr $(,)?) => {
        if !$condition {
            return Err($crate::ktap::Stop::failed(
                stringify!($condition),
                ::kernel::prelude::fmt!(""),
            ));
        }
    };
    ($condition:expr, $($arg:tt)+) => {
        if !$condition {
            return Err($crate::ktap::Stop::failed(
                stringify!($condition),
                ::kernel::prelude::fmt!($($arg)+),
            ));
        }
    };
}

/// Fails the test unless the two are equal.
#[macro_export]
macro_rules! check_eq {
    ($found:expr, $expected:expr $(,)?) => {
        match (&$found, &$expected) {
            (found, expected) => {
                if *found != *expected {
                    return Err($crate::ktap::Stop::failed(
                        concat!(stringify!($found), " == ", stringify!($expected)),
                        ::kernel::prelude::fmt!("found {:?}, expected {:?}", found, expected),
                    ));
                }
            }
        }
    };
}

/// The tests of a file, by the names of their functions.
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        /// The tests of this file.
        pub(crate) const TESTS: &[$crate::ktap::Test] = &[$(
            $crate::ktap::Test { name: stringify!($name), run: $name }
        ),*];
    };
}

/// Runs all tests and reports them. Answers how many failed.
pub(crate) fn run(groups: &[(&str, &[Test])], fixture: &Fixture<'_>) -> usize {
    let plan: usize = groups.iter().map(|(_, tests)| tests.len()).sum();
    let mut number = 0;
    let mut failed = 0;

    pr_info!("KTAP version 1\n");
    pr_info!("1..{}\n", plan);
    for (group, tests) in groups {
        for test in *tests {
            number += 1;
            match (test.run)(fixture) {
                Ok(()) => pr_info!("ok {} {}: {}\n", number, group, test.name),
                Err(Stop::Skipped(why)) => {
                    pr_info!("ok {} {}: {} # SKIP {}\n", number, group, test.name, why);
                }
                Err(Stop::Failed(failure)) => {
                    failed += 1;
                    pr_info!(
                        "# {}:{}: {}\n",
                        failure.at.file(),
                        failure.at.line(),
                        failure.what
                    );
                    pr_info!("# {}\n", failure.values.as_str());
                    pr_info!("not ok {} {}: {}\n", number, group, test.name);
                }
            }
        }
    }
    failed
}
