// SPDX-License-Identifier: GPL-2.0

//! Size classes: each size goes to the smallest class that holds it, wastes no more than it may, and is
//! aligned as its caller expects. The figures of waste are printed, and Documentation/heap.rst has them.

mod common;

use common::{
    request,
    PAGE, //
};
use mbpool_host::ground::{
    classes::{
        Classes,
        Misfit,
        Place,
        MAX_SIZE, //
    },
    geometry::{
        Geometry,
        Request, //
    }, //
};
use proptest::prelude::*;

/// The largest power of two that divides a number.
fn divisor(number: usize) -> usize {
    1 << number.trailing_zeros()
}

/// The sizes of all classes below a page.
fn sizes(page: usize) -> Vec<usize> {
    (0..Classes::count(page)).map(Classes::size).collect()
}

/// What a size takes: its class, or whole pages.
fn taken(classes: Classes, page: usize, size: usize) -> usize {
    match classes.place(size) {
        Ok(Place::Class(index)) => Classes::size(index),
        Ok(Place::Pages) => size.next_multiple_of(page),
        Err(misfit) => panic!("{size}: {misfit:?}"),
    }
}

#[test]
fn these_are_the_classes_of_a_page_of_4096() {
    let expected = [
        16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896,
        1024, 1280, 1536, 1792, 2048, 2560, 3072, 3584,
    ];
    assert_eq!(sizes(PAGE), expected);
}

#[test]
fn larger_pages_have_more_classes() {
    for (page, largest, count) in [(16 << 10, 14336, 35), (64 << 10, 57344, 43)] {
        assert_eq!(sizes(page).len(), count);
        assert_eq!(sizes(page).last(), Some(&largest));
    }
}

#[test]
fn each_size_goes_to_the_smallest_class_that_holds_it() {
    for page in [4 << 10, 16 << 10, 64 << 10] {
        let classes = Classes::new(1, page);
        let sizes = sizes(page);
        for size in 1..=2 * page {
            let expected = match sizes.iter().position(|class| *class >= size) {
                Some(index) => Place::Class(index),
                None => Place::Pages,
            };
            assert_eq!(classes.place(size), Ok(expected), "{size} bytes");
        }
    }
}

#[test]
fn what_belongs_nowhere_is_refused() {
    for align in [1, 64, 4096] {
        let classes = Classes::new(align, PAGE);
        assert_eq!(classes.place(0), Err(Misfit::Zero));
        assert_eq!(classes.place(MAX_SIZE), Ok(Place::Pages));
        for size in [
            MAX_SIZE + 1,
            isize::MAX as usize,
            usize::MAX - 1,
            usize::MAX,
        ] {
            assert_eq!(classes.place(size), Err(Misfit::TooLarge));
        }
    }
}

#[test]
fn a_cache_line_is_nobody_elses() {
    for align in [32, 64, 128, 256] {
        let classes = Classes::new(align, PAGE);
        for size in 1..PAGE {
            let Ok(Place::Class(index)) = classes.place(size) else {
                continue;
            };
            assert_eq!(Classes::align(index) % align, 0, "{size} bytes for {align}");
            // And of the classes that are, it is the smallest.
            let smallest = sizes(PAGE)
                .into_iter()
                .find(|class| *class >= size && class % align == 0);
            assert_eq!(Some(Classes::size(index)), smallest);
        }
    }
}

/// The pool of a class, as a heap makes it.
fn pool_of(index: usize, page: usize) -> Geometry {
    let request = Request {
        align: Classes::align(index),
        ..request(Classes::size(index), 1)
    };
    Geometry::new(&request, page).expect("a pool of a class can be made")
}

#[test]
fn a_pool_of_each_class_wastes_little() {
    // In eighths of a page: a pool does not look for pages beyond 64 KiB.
    for (page, most) in [(4 << 10, 1), (16 << 10, 1), (64 << 10, 3)] {
        for index in 0..Classes::count(page) {
            let pool = pool_of(index, page);
            let used = Classes::size(index) * pool.chunks() as usize;
            let rest = pool.page_size() - used;
            assert!(
                rest <= pool.page_size() / 8 * most,
                "{rest} bytes in {page}"
            );
        }
    }
}

/// The documentation's table, line by line, from the code.
#[test]
fn the_documentation_has_the_classes() {
    let text = include_str!("../../../Documentation/heap.rst");
    let mut smallest = 1;
    for index in 0..Classes::count(PAGE) {
        let (size, align) = (Classes::size(index), Classes::align(index));
        let pool = pool_of(index, PAGE);
        let rest = pool.page_size() - size * pool.chunks() as usize;
        let range = format!("{smallest} to {size}");
        let (page, chunks) = (pool.page_size(), pool.chunks());
        let waste = size - smallest;
        let line = format!(
            "{size:>5}  {range:<12}  {align:>5}  {waste:>10}  {page:>5}  {chunks:>6}  {rest:>4}"
        );
        println!("# {line}");
        assert!(text.lines().any(|found| found == line), "{line}");
        smallest = size + 1;
    }
}

#[test]
fn the_documentation_has_the_waste() {
    let text = include_str!("../../../Documentation/heap.rst");
    for align in [1, 64, 128] {
        let classes = Classes::new(align, PAGE);
        let share = |size| {
            let taken = taken(classes, PAGE, size);
            (taken - size) as f64 / taken as f64
        };
        let mean = (1..=PAGE).map(share).sum::<f64>() / PAGE as f64 * 100.0;
        let worst = |from| (from..=PAGE).map(share).fold(0.0, f64::max) * 100.0;
        let asked: usize = (1..=PAGE).sum();
        let given: usize = (1..=PAGE).map(|size| taken(classes, PAGE, size)).sum();
        let bytes = (given - asked) as f64 / given as f64 * 100.0;
        let (beyond, far) = (worst(65), worst(513));
        let line =
            format!("{align:>5}  {mean:>6.2} %  {bytes:>6.2} %  {beyond:>9.1} %  {far:>10.1} %");
        println!("# {line}");
        assert!(text.lines().any(|found| found == line), "{line}");
    }
}

proptest! {
    #[test]
    fn any_size_fits_and_is_aligned(
        size in 1..=MAX_SIZE,
        align in 0u32..9,
        page in prop_oneof![Just(4usize << 10), Just(16 << 10), Just(64 << 10)],
    ) {
        let align = 1 << align;
        let classes = Classes::new(align, page);
        match classes.place(size) {
            Ok(Place::Class(index)) => {
                let class = Classes::size(index);
                prop_assert!(class >= size && class < page);
                prop_assert_eq!(class % Classes::align(index), 0);
                // As by kmalloc(): aligned at least as the size is divisible.
                prop_assert!(Classes::align(index) >= divisor(size));
                prop_assert!(Classes::align(index) >= align);
                // Less than 16 bytes or a quarter more than asked, once whole lines are.
                let lines = size.next_multiple_of(align);
                prop_assert!(class < lines + 16 || class * 4 < lines * 5);
                prop_assert!(index == 0 || Classes::size(index - 1) < lines);
            }
            Ok(Place::Pages) => prop_assert!(size > page * 7 / 8 - align),
            Err(misfit) => prop_assert!(false, "{:?}", misfit),
        }
    }
}
