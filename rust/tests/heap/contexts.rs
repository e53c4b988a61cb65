// SPDX-License-Identifier: GPL-2.0

//! The heap where one may not sleep, where memory runs out, and on several CPUs at once.

use super::{
    boxes::Page,
    comes_to,
    heap,
    number,
    of_class,
    write,
    NAME, //
};
use crate::{
    check,
    check_eq,
    context::{
        on_each_cpu,
        run_in,
        Context, //
    },
    devices::Fixture,
    ktap::{
        Outcome,
        Stop, //
    },
    support::{
        is_marked,
        mark,
        Random,
        QUIET, //
    },
    sysfs,
    tests, //
};
use kernel::{
    alloc::{
        Flags,
        KVVec, //
    },
    device::{
        Bound,
        Device, //
    },
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    sync::Mutex, //
};
use mbpool::{
    DmaSlice,
    Heap,
    HeapConfig, //
};

tests![
    buffers_are_dropped_in_any_context,
    an_atomic_first_use_takes_pages_and_makes_the_class,
    a_prepared_class_serves_any_context,
    memory_runs_out_and_comes_back,
    what_is_being_given_back_is_waited_for,
    two_that_need_a_class_at_once_make_one,
    buffers_have_one_owner,
];

/// Runs `test` with a fresh heap in each context where one may not sleep.
fn in_each(dev: &Device<Bound>, test: impl Fn(&Heap<'_>, Context) -> Outcome) -> Outcome {
    for context in Context::ATOMIC {
        let heap = Heap::new(dev, HeapConfig::new(NAME))?;
        match test(&heap, context) {
            // The others have been run by now: the interrupt on another CPU is the last.
            Err(Stop::Skipped(_)) => {}
            outcome => outcome?,
        }
    }
    Ok(())
}

/// Buffers of a class, of a page and of several, allocated here and dropped in each context. That the
/// kernel log has no warning is for the script to see.
pub(crate) fn drops_in_each_context(dev: &Device<Bound>) -> Outcome {
    in_each(dev, |heap, context| {
        for gfp in [GFP_KERNEL, GFP_ATOMIC] {
            let mut buffers = KVec::new();
            for size in [100, 4096, 20_000, 100, 65536] {
                let mut buffer = heap.alloc(size, gfp)?;
                write(&mut buffer)?;
                let large = heap.boxed::<Page>(gfp)?;
                buffers.push((buffer, large), GFP_KERNEL)?;
            }
            run_in(context, || {
                while buffers.pop().is_some() {}
                Ok(())
            })?;
        }
        Ok(())
    })
}

fn buffers_are_dropped_in_any_context(on: &Fixture<'_>) -> Outcome {
    drops_in_each_context(on.dev)?;
    in_each(on.dev, |heap, context| {
        let mut buffers = KVec::new();
        for _ in 0..50 {
            buffers.push(heap.alloc(3 * PAGE_SIZE, GFP_KERNEL)?, GFP_KERNEL)?;
        }
        check_eq!((number("large")?, number("deferred")?), (50, 0));
        run_in(context, || {
            while buffers.pop().is_some() {}
            Ok(())
        })?;
        check_eq!((number("large")?, number("given")?), (0, 0));
        // They go without anybody's doing.
        comes_to("deferred", 0)?;
        // Who may sleep does not wait for that: nothing of its own piles up.
        for _ in 0..50 {
            drop(heap.alloc(3 * PAGE_SIZE, GFP_KERNEL)?);
            // The last one, and one that the background is at.
            check!(number("deferred")? <= 2);
        }
        Ok(())
    })
}

fn an_atomic_first_use_takes_pages_and_makes_the_class(on: &Fixture<'_>) -> Outcome {
    for gfp in [GFP_ATOMIC, GFP_NOWAIT] {
        in_each(on.dev, |heap, context| {
            let mut held = None;
            run_in(context, || {
                let mut buffer = heap.alloc(100, gfp)?;
                check_eq!(buffer.len(), 100);
                write(&mut buffer)?;
                held = Some(buffer);
                Ok(())
            })?;
            check_eq!((number("detours")?, number("large")?), (1, 1));
            check_eq!((number("asked")?, number("given")?), (100, PAGE_SIZE));
            comes_to("classes", 1)?;
            run_in(context, || {
                drop(heap.alloc(100, gfp)?);
                drop(held.take());
                Ok(())
            })?;
            check_eq!((number("detours")?, number("buffers")?), (1, 0));
            check_eq!(of_class(112, "allocations")?, 1);
            Ok(())
        })?;
    }
    Ok(())
}

fn a_prepared_class_serves_any_context(on: &Fixture<'_>) -> Outcome {
    in_each(on.dev, |heap, context| {
        for size in [1, 100, 2000] {
            heap.prepare(size)?;
            // Once more does nothing.
            heap.prepare(size)?;
        }
        check_eq!(number("classes")?, 3);
        run_in(context, || {
            for size in [1, 16, 97, 112, 1793, 2048] {
                let mut buffer = heap.alloc(size, GFP_ATOMIC)?;
                write(&mut buffer)?;
                let again = heap.alloc(size, GFP_ATOMIC | __GFP_ZERO)?;
                check!(again.iter().all(|byte| *byte == 0));
            }
            Ok(())
        })?;
        check_eq!((number("detours")?, number("classes")?), (0, 3));
        Ok(())
    })
}

/// Takes all that there is in buffers of `size`. Answers how many bytes that were.
fn take_all(heap: &Heap<'_>, size: usize, gfp: Flags) -> Outcome<usize> {
    let mut buffers: KVVec<DmaSlice<'_>> = KVVec::new();
    loop {
        match heap.alloc(size, gfp | QUIET) {
            Ok(mut buffer) => {
                check!(buffer.dma_address() < 1 << 24);
                mark(buffer.get_mut(..16).unwrap_or_default(), 3);
                buffers.push(buffer, GFP_KERNEL)?;
            }
            Err(error) => {
                check_eq!(error, ENOMEM);
                break;
            }
        }
    }
    for buffer in &buffers {
        check!(is_marked(buffer.get(..16).unwrap_or_default(), 3));
    }
    Ok(buffers.len() * size)
}

fn memory_runs_out_and_comes_back(on: &Fixture<'_>) -> Outcome {
    let config = HeapConfig::new(NAME).max_buffers(16383);
    let heap = Heap::new(on.narrow, config)?;
    let first = take_all(&heap, 2048, GFP_KERNEL)?;
    check!(first > 400 << 10, "{first} bytes");
    // What one class has the others, and those with pages of their own, get: and back.
    let large = take_all(&heap, 1 << 20, GFP_KERNEL)?;
    pr_info!(
        "# heap: {} bytes in buffers of 2048, and then {} in buffers of 1 MiB\n",
        first,
        large
    );
    check!(large * 2 > first, "{large} bytes, {first} at first");
    for size in [8192, 1024, 512 << 10, 20_000, 3584, 4096, 2048] {
        let all = take_all(&heap, size, GFP_KERNEL)?;
        check!(all * 2 > first, "{all} bytes of {size}, {first} at first");
    }
    // One by one, as others give back.
    let mut all = KVVec::new();
    while let Ok(buffer) = heap.alloc(2048, GFP_NOWAIT | QUIET) {
        all.push(buffer, GFP_KERNEL)?;
    }
    for _ in 0..10 {
        all.pop();
        all.push(heap.alloc(2048, GFP_NOWAIT | QUIET)?, GFP_KERNEL)?;
    }
    Ok(())
}

/// While the background gives pages back, who may sleep does not hear that there are none: he gets even the last.
fn what_is_being_given_back_is_waited_for(on: &Fixture<'_>) -> Outcome {
    let heap = Heap::new(on.narrow, HeapConfig::new(NAME))?;
    let deferred = "/sys/devices/faux/mbpool_test_narrow/mbpool/heap/deferred";
    let mut met = 0;
    for _ in 0..10 {
        let mut last = Some(heap.alloc(1 << 20, GFP_KERNEL)?);
        // Between two that go one stays: together they are nowhere as large as the last.
        let (mut go, mut stay) = (KVVec::new(), KVVec::new());
        while let Ok(buffer) = heap.alloc(2 * PAGE_SIZE, GFP_KERNEL | QUIET) {
            go.push(buffer, GFP_KERNEL)?;
            core::mem::swap(&mut go, &mut stay);
        }
        let all = u64::try_from(go.len() + 1)?;
        check!(all > 100, "{all} buffers");
        // An interrupt keeps the background from looking before all are there. What was dropped first goes last.
        run_in(Context::HardIrq, || {
            drop(last.take());
            while go.pop().is_some() {}
            Ok(())
        })?;
        // It has begun when one is gone, and has all of them.
        let left = loop {
            match sysfs::number_at(deferred)? {
                left if left < all => break left,
                _ => core::hint::spin_loop(),
            }
        };
        met += u32::from(left > 0);
        drop(heap.alloc(1 << 20, GFP_KERNEL | QUIET)?);
    }
    pr_info!("# heap: met the background at work {met} times of 10\n");
    Ok(())
}

fn two_that_need_a_class_at_once_make_one(on: &Fixture<'_>) -> Outcome {
    for _ in 0..50 {
        let heap = heap(on)?;
        on_each_cpu(|cpu| {
            // The one makes it, the other waits; with interrupts' flags, none waits.
            let gfp = if cpu == 2 { GFP_ATOMIC } else { GFP_KERNEL };
            for size in [100, 500, 1000] {
                drop(heap.alloc(size, gfp)?);
            }
            heap.prepare(2000)
                .map_err(|error| Stop::failed("prepared", fmt!("{error:?}")))
        })?;
        check_eq!(number("classes")?, 4);
        sysfs::shows("heap", &[("buffers", 0), ("failures", 0)])?;
    }
    Ok(())
}

fn buffers_have_one_owner(on: &Fixture<'_>) -> Outcome {
    let heap = heap(on)?;
    // Buffers that any CPU drops, from any CPU.
    let shared: Pin<KBox<Mutex<[Option<DmaSlice<'_>>; 16]>>> =
        KBox::pin_init(new_mutex!([const { None }; 16]), GFP_KERNEL)?;
    on_each_cpu(|cpu| {
        let mut random = Random::new(cpu);
        let mut mine: KVec<(DmaSlice<'_>, u32)> = KVec::new();
        for _ in 0..5000 {
            let name = random.next();
            let size = usize::try_from(random.next() % 10_000)? >> (name % 8);
            let gfp = if name % 3 == 0 {
                GFP_NOWAIT
            } else {
                GFP_KERNEL
            };
            match name >> 8 & 3 {
                0 | 1 if size != 0 => {
                    // Small ones whole, of others the beginning: it is all the same to an owner.
                    let mut buffer = heap.alloc(size, gfp)?;
                    let some = size.min(64);
                    mark(buffer.get_mut(..some).unwrap_or_default(), name);
                    mine.push((buffer, name), GFP_KERNEL)?;
                }
                2 => drop(mine.pop()),
                _ => {
                    let Some((buffer, name)) = mine.pop() else {
                        continue;
                    };
                    let some = buffer.get(..buffer.len().min(64));
                    check!(some.is_some_and(|some| is_marked(some, name)));
                    let place = usize::try_from(name >> 16)? % 16;
                    let other = match shared.lock().get_mut(place) {
                        Some(place) => place.replace(buffer),
                        None => None,
                    };
                    drop(other);
                }
            }
        }
        for (buffer, name) in &mine {
            let some = buffer.get(..buffer.len().min(64));
            check!(some.is_some_and(|some| is_marked(some, *name)));
        }
        Ok(())
    })?;
    let left = shared.lock().iter().flatten().count();
    check_eq!(number("buffers")?, left);
    for place in shared.lock().iter_mut() {
        drop(place.take());
    }
    sysfs::shows(
        "heap",
        &[
            ("buffers", 0),
            ("asked", 0),
            ("given", 0),
            ("large", 0),
            ("failures", 0),
        ],
    )?;
    comes_to("deferred", 0)
}
