// SPDX-License-Identifier: GPL-2.0

//! Values in DMA memory: how they are made, where they are, and when they are dropped.

use super::{
    heap,
    number, //
};
use crate::{
    check_eq,
    devices::Fixture,
    ktap::Outcome,
    tests, //
};
use kernel::{
    dma::DataDirection,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    transmute::{
        AsBytes,
        FromBytes, //
    }, //
};
use mbpool::DmaBox;

tests![
    boxes_hold_values,
    a_box_that_cannot_be_initialised_goes_home,
    boxes_are_dropped_in_any_order,
];

/// A descriptor, say.
#[repr(C, align(256))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Aligned {
    words: [u64; 32],
}

// SAFETY: Words without padding, of which any value is good.
unsafe impl FromBytes for Aligned {}
// SAFETY: As above.
unsafe impl AsBytes for Aligned {}

/// As aligned as can be.
#[repr(C, align(4096))]
pub(super) struct Page([u8; 4096]);

// SAFETY: Bytes.
unsafe impl FromBytes for Page {}
// SAFETY: Bytes.
unsafe impl AsBytes for Page {}

fn boxes_hold_values(on: &Fixture<'_>) -> Outcome {
    let heap = heap(on)?;
    let mut boxes = KVec::new();
    for at in 0..40 {
        let words = [at; 32];
        let mut one = heap.boxed_init(Aligned { words }, GFP_KERNEL)?;
        check_eq!(one.dma_address() % 256, 0);
        check_eq!(one.as_mut_ptr().addr() % 256, 0);
        check_eq!(one.words, [at; 32]);
        one.words[31] = at + 1;
        one.sync(DataDirection::ToDevice);
        boxes.push(one, GFP_KERNEL)?;
    }
    for (at, one) in (0..).zip(&boxes) {
        check_eq!((one.words[0], one.words[31]), (at, at + 1));
    }
    drop(boxes);
    // Bytes that were something else before; the device's write is seen.
    let word = heap.boxed::<u32>(GFP_KERNEL | __GFP_ZERO)?;
    check_eq!(*word, 0);
    // SAFETY: The memory is there as long as the box.
    unsafe { word.as_mut_ptr().write_volatile(7) };
    word.sync(DataDirection::FromDevice);
    check_eq!(*word, 7);
    let page = heap.boxed::<Page>(GFP_KERNEL)?;
    check_eq!(page.as_mut_ptr().addr() % 4096, 0);
    check_eq!(page.0.iter().filter(|byte| **byte != 0).count(), 0);
    // In place: it would not fit on a stack.
    let init = pin_init::init_array_from_fn::<_, 16384, u32, Error>(|at| Ok(at as u32));
    let large = heap.boxed_init(init, GFP_KERNEL)?;
    check_eq!((large[0], large[16383]), (0, 16383));
    Ok(())
}

fn a_box_that_cannot_be_initialised_goes_home(on: &Fixture<'_>) -> Outcome {
    let heap = heap(on)?;
    for _ in 0..3 {
        let result = heap.boxed_init::<[u32; 8], Error>(Err(ENODATA), GFP_KERNEL);
        check_eq!(result.err(), Some(ENODATA));
        check_eq!(number("buffers")?, 0);
    }
    Ok(())
}

/// Which values were dropped, a digit each, and the buffers of the heap at that time.
static DROPPED: Atomic<i64> = Atomic::new(0);
static HELD: Atomic<i64> = Atomic::new(0);

#[repr(transparent)]
struct Noted(i64);

// SAFETY: A number, of which any value is good.
unsafe impl FromBytes for Noted {}
// SAFETY: As above.
unsafe impl AsBytes for Noted {}

impl Drop for Noted {
    fn drop(&mut self) {
        DROPPED.store(DROPPED.load(Relaxed) * 10 + self.0, Relaxed);
        let held = number("buffers").ok().and_then(|held| held.try_into().ok());
        HELD.store(HELD.load(Relaxed) * 10 + held.unwrap_or(9), Relaxed);
    }
}

fn boxes_are_dropped_in_any_order(on: &Fixture<'_>) -> Outcome {
    let heap = heap(on)?;
    let noted = |name| heap.boxed_init(Noted(name), GFP_KERNEL);
    let check = |dropped, held| -> Outcome {
        // The value goes first, while its memory is still out.
        check_eq!((DROPPED.load(Relaxed), HELD.load(Relaxed)), (dropped, held));
        check_eq!(number("buffers")?, 0);
        DROPPED.store(0, Relaxed);
        HELD.store(0, Relaxed);
        Ok(())
    };
    let (one, two, three) = (noted(1)?, noted(2)?, noted(3)?);
    drop(two);
    drop(three);
    drop(one);
    check(231, 321)?;

    // Fields in their order, locals in the opposite one.
    struct Both<'a>(
        #[expect(dead_code, reason = "dropped")] DmaBox<'a, Noted>,
        #[expect(dead_code, reason = "dropped")] DmaBox<'a, Noted>,
    );
    {
        let _last = noted(4)?;
        let _both = Both(noted(5)?, noted(6)?);
    }
    check(564, 321)
}
