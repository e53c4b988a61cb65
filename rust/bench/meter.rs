// SPDX-License-Identifier: GPL-2.0

//! Meter: runs a piece of code many times, and says what once costs.
//!
//! A row is measured in rounds of many iterations, each round as in a NAPI poll function. An interrupt
//! falls into few of them: the least and the median are free of it. What the loop itself costs, and
//! reading the clock, is measured by an empty loop in the same way and taken off. Costs are in
//! thousandths of a nanosecond, so of an instruction where the clock counts those.

use crate::peers;
use core::arch::asm;
use kernel::{
    alloc::KVVec,
    dma::DmaAddress,
    fmt,
    prelude::*,
    time::{
        Instant,
        Monotonic, //
    }, //
};

/// What all rows are measured with.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Iterations in a round.
    pub(crate) iterations: u32,
    /// Rounds of a row.
    pub(crate) rounds: u32,
}

/// The name of a row: what is done, with chunks of what size, and how many of what there are: buffers in the
/// pool, or CPUs that use it.
#[derive(Clone, Copy)]
pub(crate) struct Label<'a> {
    pub(crate) name: &'a str,
    pub(crate) size: usize,
    pub(crate) of: Of,
}

/// What there are many of.
#[derive(Clone, Copy)]
pub(crate) enum Of {
    Buffers(u32),
    Cpus(u32),
}

/// Measures rounds.
pub(crate) struct Meter {
    effort: Effort,
    /// Of the row in the making, in order.
    samples: KVVec<u64>,
}

/// Thousandths of a nanosecond.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cost {
    min: u64,
    median: u64,
    max: u64,
}

impl Meter {
    pub(crate) fn new(effort: Effort) -> Result<Self> {
        Ok(Self {
            effort,
            samples: KVVec::with_capacity(effort.rounds as usize, GFP_KERNEL)?,
        })
    }

    /// Iterations in a round.
    pub(crate) fn iterations(&self) -> u32 {
        self.effort.iterations
    }

    /// Rounds of a row.
    pub(crate) fn rounds(&self) -> u32 {
        self.effort.rounds
    }

    /// Measures rounds: `round` answers the nanoseconds that one took, of `events` things that are
    /// counted.
    ///
    /// # Errors
    ///
    /// That of the first round which has one.
    pub(crate) fn measure(
        &mut self,
        events: u32,
        mut round: impl FnMut(u32) -> Result<u64>,
    ) -> Result<Cost> {
        let iterations = self.effort.iterations;
        let events = u64::from(events.max(1));
        self.samples.clear();
        for _ in 0..self.effort.rounds {
            let sample = round(iterations)? * 1000 / events;
            let place = self.samples.partition_point(|other| *other < sample);
            // There is room for all rounds.
            let _ = self.samples.insert_within_capacity(place, sample);
        }
        let at = |number: usize| self.samples.get(number).copied().unwrap_or(0);
        let count = self.samples.len();
        Ok(Cost {
            min: at(0),
            median: at(count / 2),
            max: at(count.saturating_sub(1)),
        })
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "min={} median={} max={}",
            self.min, self.median, self.max
        )
    }
}

impl Cost {
    /// Prints a row, with what the loop costs taken off.
    pub(crate) fn report(self, label: Label<'_>, loop_cost: Self) {
        let less = |cost: u64| cost.saturating_sub(loop_cost.min);
        let (of, count) = match label.of {
            Of::Buffers(count) => ("buffers", count),
            Of::Cpus(count) => ("cpus", count),
        };
        let shown = Self {
            min: less(self.min),
            median: less(self.median),
            max: less(self.max),
        };
        pr_info!(
            "row {} size={} {}={} {} loop={}\n",
            label.name,
            label.size,
            of,
            count,
            shown,
            loop_cost.min
        );
    }
}

/// The nanoseconds that `work` takes, with no softirq and no other thread on this CPU meanwhile.
#[inline]
pub(crate) fn timed(work: impl FnOnce() -> Result) -> Result<u64> {
    let _quiet = peers::Quiet::new();
    let start = Instant::<Monotonic>::now();
    let result = work();
    let passed = start.elapsed().as_nanos();
    result?;
    Ok(u64::try_from(passed)?)
}

/// The compiler's: what it knows of memory it forgets, as `barrier()` in C.
#[inline(always)]
pub(crate) fn barrier() {
    // SAFETY: There is no instruction.
    unsafe { asm!("", options(nostack, preserves_flags)) };
}

/// Hides from the compiler where a value comes from and that it is not used any more, as `barrier_data()`
/// does, for a word or a reference. Also a barrier for all that the compiler knows of memory.
#[inline(always)]
#[expect(asm_sub_register, reason = "only a comment names the register")]
pub(crate) fn opaque(mut value: u32) -> u32 {
    // SAFETY: There is no instruction.
    unsafe { asm!("/* {0} */", inout(reg) value, options(nostack, preserves_flags)) };
    value
}

/// The same for a DMA address.
#[inline(always)]
pub(crate) fn opaque_long(value: DmaAddress) {
    // SAFETY: There is no instruction.
    unsafe { asm!("/* {0} */", in(reg) value, options(nostack, preserves_flags)) };
}

/// The same for an address.
#[inline(always)]
pub(crate) fn opaque_ref<T: ?Sized>(value: &mut T) {
    let address: *mut T = value;
    // SAFETY: There is no instruction.
    unsafe {
        asm!("/* {0} */", in(reg) address.cast::<()>(), options(nostack, preserves_flags));
    }
}
