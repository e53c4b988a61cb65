// SPDX-License-Identifier: GPL-2.0

//! The heap: which class a size gets, how it is aligned, what is refused, and what is counted.

pub(super) mod boxes;
pub(super) mod contexts;

use crate::{
    check,
    check_eq,
    devices::{
        Fixture,
        SYSFS, //
    },
    ktap::{
        Outcome,
        Stop, //
    },
    support::{
        is_marked,
        mark, //
    },
    sysfs,
    tests, //
};
use core::mem;
use kernel::{
    alloc::KVVec,
    dma::DmaAddress,
    page::PAGE_SIZE,
    prelude::*,
    str::CString,
    time::{
        delay::fsleep,
        Delta, //
    }, //
};
use mbpool::{
    Config,
    DmaSlice,
    Heap,
    HeapConfig,
    Pool, //
};

tests![
    each_size_gets_its_class,
    sizes_of_nothing_and_of_everything_are_refused,
    what_makes_no_sense_is_refused,
    names_are_the_devices,
    zero_clears,
    the_counters_count,
    a_class_gives_so_many_and_no_more,
];

/// The name of all heaps here.
const NAME: &CStr = c"heap";

fn heap<'a>(on: &Fixture<'a>) -> Result<Heap<'a>> {
    Heap::new(on.dev, HeapConfig::new(NAME))
}

/// A number of the heap.
#[track_caller]
fn number(file: &str) -> Outcome<usize> {
    Ok(usize::try_from(sysfs::number("heap", file)?)?)
}

/// A number of the pool of a class, if it is there.
fn of_class(size: usize, file: &str) -> Outcome<u64> {
    let pool = CString::try_from_fmt(fmt!("heap-{size}"))?;
    sysfs::number(pool.to_str().unwrap_or_default(), file)
}

/// Waits until a file of the heap shows `value`. With a bound, beyond which something is wrong.
fn comes_to(file: &str, value: usize) -> Outcome {
    for _ in 0..3000 {
        if number(file)? == value {
            return Ok(());
        }
        fsleep(Delta::from_millis(10));
    }
    Err(Stop::failed("it came to be", fmt!("{file}: {value}")))
}

/// The largest power of two that divides a number.
fn divisor(number: usize) -> usize {
    1 << number.trailing_zeros()
}

/// The next multiple of a power of two.
fn up(number: usize, to: usize) -> usize {
    (number + to - 1) & !(to - 1)
}

/// What a size takes, of which each is a multiple of `unit`: worked out in another way than by the heap.
fn expected(size: usize, unit: usize) -> usize {
    let size = up(size, unit);
    // A class every 16 bytes up to 64, and then every eighth of the next power of two.
    let class = up(size, size.next_power_of_two().max(128) / 8);
    if class < PAGE_SIZE {
        class
    } else {
        up(size, PAGE_SIZE)
    }
}

/// Fails unless all buffers are where nobody else is, and have what was written to them.
fn are_apart(buffers: &[DmaSlice<'_>]) -> Outcome {
    for (at, one) in buffers.iter().enumerate() {
        let from = one.dma_address();
        let to = from + u64::try_from(one.len())?;
        for other in buffers.iter().skip(at + 1).map(DmaSlice::dma_address) {
            // The others are larger.
            check!(other >= to || other < from, "{from:#x} and {other:#x}");
        }
    }
    for buffer in buffers {
        let name = u32::try_from(buffer.len())?;
        let (head, tail) = buffer.split_at(buffer.len().min(32));
        check!(is_marked(head, name));
        let last = tail.get(tail.len().saturating_sub(32)..);
        check!(last.is_some_and(|last| last.is_empty() || is_marked(last, name)));
    }
    Ok(())
}

/// Writes to the whole of it, and a pattern to both ends.
fn write(buffer: &mut DmaSlice<'_>) -> Outcome {
    let name = u32::try_from(buffer.len())?;
    buffer.fill(0x5a);
    let middle = buffer.len().min(32);
    let (head, tail) = buffer.split_at_mut(middle);
    mark(head, name);
    let from = tail.len().saturating_sub(32);
    mark(tail.get_mut(from..).unwrap_or_default(), name);
    Ok(())
}

fn each_size_gets_its_class(on: &Fixture<'_>) -> Outcome {
    let heap = heap(on)?;
    // The smallest class there is tells what no two buffers may share here.
    let one = heap.alloc(1, GFP_KERNEL)?;
    let smallest = number("given")?;
    drop(one);
    check!(smallest.is_power_of_two());
    let unit = if smallest > 16 { smallest } else { 1 };

    let (mut asked, mut given) = (0, 0);
    let mut from = 1;
    while from <= 2 * PAGE_SIZE {
        // All sizes of a class at once; of those with pages of their own, some at a time.
        let class = expected(from, unit);
        let mut buffers: KVVec<DmaSlice<'_>> = KVVec::new();
        let mut size = from;
        while expected(size, unit) == class && size - from < 512 && size <= 2 * PAGE_SIZE {
            let mut buffer = heap.alloc(size, GFP_KERNEL)?;
            check_eq!(buffer.len(), size);
            let align = u64::try_from(divisor(size).max(unit))?;
            let dma = buffer.dma_address();
            check!(dma & (align - 1) == 0, "{size} bytes at {dma:#x}");
            let below = divisor(size).max(unit).min(PAGE_SIZE) - 1;
            check_eq!(buffer.as_mut_ptr().addr() & below, 0);
            write(&mut buffer)?;
            buffers.push(buffer, GFP_KERNEL)?;
            size += 1;
        }
        let count = buffers.len();
        let all = (from..size).sum::<usize>();
        check_eq!(number("given")?, class * count);
        check_eq!(number("asked")?, all);
        let small = class < PAGE_SIZE;
        check_eq!(number("large")?, if small { 0 } else { count });
        if small {
            check_eq!(of_class(class, "used")?, u64::try_from(count)?);
            check_eq!(of_class(class, "size")?, u64::try_from(class)?);
        }
        are_apart(&buffers)?;
        if size <= PAGE_SIZE + 1 {
            asked += all;
            given += class * count;
        }
        from = size;
    }
    pr_info!(
        "# heap: {} bytes for {} asked, all sizes up to a page: {} of 1000 wasted, in {} classes\n",
        given,
        asked,
        ((given - asked) * 1000).checked_div(given).unwrap_or(0),
        number("classes")?
    );
    Ok(())
}

fn sizes_of_nothing_and_of_everything_are_refused(on: &Fixture<'_>) -> Outcome {
    let heap = heap(on)?;
    for gfp in [GFP_KERNEL, GFP_ATOMIC] {
        check_eq!(heap.alloc(0, gfp).err(), Some(EINVAL));
        for size in [(4 << 20) + 1, 1 << 40, usize::MAX - 4095, usize::MAX] {
            check_eq!(heap.alloc(size, gfp).err(), Some(E2BIG));
        }
    }
    check_eq!(heap.prepare(0).err(), Some(EINVAL));
    check_eq!(heap.prepare(usize::MAX).err(), Some(E2BIG));
    check_eq!(heap.prepare(PAGE_SIZE).err(), None);
    check_eq!(number("failures")?, 10);
    check_eq!((number("classes")?, number("given")?), (0, 0));
    Ok(())
}

fn what_makes_no_sense_is_refused(on: &Fixture<'_>) -> Outcome {
    let refused = |config| Heap::new(on.narrow, config).err();
    for name in [c"", c"a/b", c"a b", c"..", c"pools"] {
        check_eq!(refused(HeapConfig::new(name)), Some(EINVAL));
    }
    let long = c"a-name-that-is-too-long-for-it";
    check_eq!(refused(HeapConfig::new(long)), Some(EINVAL));
    for buffers in [0, 16384, u32::MAX] {
        let config = HeapConfig::new(NAME).max_buffers(buffers);
        check_eq!(refused(config), Some(EINVAL));
    }
    let maskless = Heap::new(on.maskless, HeapConfig::new(NAME));
    check_eq!(maskless.err(), Some(ENODEV));
    // And what makes some is not.
    for buffers in [1, 16383] {
        let config = HeapConfig::new(NAME).max_buffers(buffers);
        drop(Heap::new(on.narrow, config)?);
    }
    Ok(())
}

fn names_are_the_devices(on: &Fixture<'_>) -> Outcome {
    let there = |file: &str| -> Outcome<bool> {
        let path = CString::try_from_fmt(fmt!("{SYSFS}{file}"))?;
        Ok(sysfs::read(path.to_str().unwrap_or_default()).is_ok())
    };
    check!(!there("/pools")?);
    let first = heap(on)?;
    check_eq!(first.name().to_bytes(), b"heap");
    check!(there("/pools")? && there("/heap/asked")?);
    check_eq!(heap(on).err(), Some(EEXIST));
    let config = Config::new(NAME, 64);
    check_eq!(Pool::new(on.dev, config, GFP_KERNEL).err(), Some(EEXIST));
    check!(there("/heap/asked")?);

    // A class whose name the driver took cannot be made as long as it has it.
    let pool = Pool::new(on.dev, Config::new(c"heap-64", 64), GFP_KERNEL)?;
    check_eq!(first.alloc(64, GFP_KERNEL).err(), Some(EEXIST));
    check_eq!(first.prepare(50).err(), Some(EEXIST));
    drop(pool);
    drop(first.alloc(64, GFP_KERNEL)?);

    let second = Heap::new(on.dev, HeapConfig::new(c"other"))?;
    let buffers = (
        first.alloc(100, GFP_KERNEL)?,
        second.alloc(100, GFP_KERNEL)?,
    );
    check!(there("/heap-112/used")? && there("/other-112/used")?);
    drop(buffers);
    drop(first);
    check!(!there("/heap/asked")? && !there("/heap-112/used")?);
    check!(there("/other/asked")? && there("/other-112/used")?);
    drop(second);
    check!(!there("/pools")?);
    Ok(())
}

fn zero_clears(on: &Fixture<'_>) -> Outcome {
    let heap = heap(on)?;
    for size in [1, 100, 3584, 4096, 10_000] {
        let mut buffer = heap.alloc(size, GFP_KERNEL)?;
        let there = buffer.dma_address();
        buffer.fill(0xff);
        drop(buffer);
        if size < 4096 {
            // The same chunk comes back, as it was.
            let buffer = heap.alloc(size, GFP_KERNEL)?;
            check_eq!(buffer.dma_address(), there);
            check!(buffer.iter().all(|byte| *byte == 0xff));
        }
        for gfp in [GFP_KERNEL, GFP_ATOMIC, GFP_NOWAIT] {
            let mut buffer = heap.alloc(size, gfp | __GFP_ZERO)?;
            check!(buffer.iter().all(|byte| *byte == 0), "{size} bytes");
            buffer.fill(0xff);
        }
    }
    Ok(())
}

fn the_counters_count(on: &Fixture<'_>) -> Outcome {
    let heap = heap(on)?;
    let shows = |values: [(&str, u64); 5]| sysfs::shows("heap", &values);
    let small = heap.alloc(100, GFP_KERNEL)?;
    let large = heap.alloc(PAGE_SIZE + 1, GFP_KERNEL)?;
    let page = u64::try_from(PAGE_SIZE)?;
    shows([
        ("classes", 1),
        ("buffers", 2),
        ("large", 1),
        ("asked", 101 + page),
        ("given", 112 + 2 * page),
    ])?;
    drop(large);
    let boxed = heap.boxed::<[u8; 300]>(GFP_KERNEL)?;
    shows([
        ("classes", 2),
        ("buffers", 2),
        ("large", 0),
        ("asked", 400),
        ("given", 432),
    ])?;
    drop((small, boxed));
    shows([
        ("classes", 2),
        ("buffers", 0),
        ("large", 0),
        ("asked", 0),
        ("given", 0),
    ])?;
    comes_to("deferred", 0)?;
    sysfs::shows("heap", &[("detours", 0), ("failures", 0)])
}

fn a_class_gives_so_many_and_no_more(on: &Fixture<'_>) -> Outcome {
    let heap = Heap::new(on.dev, HeapConfig::new(NAME).max_buffers(4))?;
    let mut buffers = KVec::new();
    // Two to a page.
    for _ in 0..4 {
        buffers.push(heap.alloc(2048, GFP_KERNEL)?, GFP_KERNEL)?;
    }
    check_eq!(heap.alloc(2048, GFP_KERNEL).err(), Some(ENOMEM));
    check_eq!(heap.alloc(2048, GFP_ATOMIC).err(), Some(ENOMEM));
    // The others are as they were.
    drop(heap.alloc(2049, GFP_KERNEL)?);
    drop(heap.alloc(1792, GFP_KERNEL)?);
    buffers.pop();
    buffers.push(heap.alloc(2048, GFP_ATOMIC)?, GFP_KERNEL)?;
    check_eq!(number("failures")?, 2);
    Ok(())
}

/// Forgets a large buffer of a heap on the narrow device, whose pages are leaked. Answers where it is.
pub(crate) fn forget_one(on: &Fixture<'_>) -> Outcome<(DmaAddress, *mut u8)> {
    let heap = Heap::new(on.narrow, HeapConfig::new(c"leak-heap"))?;
    let mut buffer = heap.alloc(PAGE_SIZE, GFP_KERNEL)?;
    mark(&mut buffer, 24);
    let there = (buffer.dma_address(), buffer.as_mut_ptr());
    mem::forget(buffer);
    Ok(there)
}
