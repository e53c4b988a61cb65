// SPDX-License-Identifier: GPL-2.0

//! Handles: who gets which of the 32 bits. What a handle is good for is tested with the slots.

mod common;

use common::{
    geometry,
    request,
    small,
    ByIndex,
    Parts,
    PAGE, //
};
use mbpool_host::ground::{
    geometry::{
        Geometry,
        Request,
        MAX_PAGES, //
    },
    handle::{
        Handle,
        Layout, //
    },
    slots::Owner, //
};
use proptest::prelude::*;

fn layout(pages: u32, size: usize, high_bits: u32, low_bits: u32) -> Layout {
    geometry(&Request {
        page_size: PAGE,
        high_bits,
        low_bits,
        ..request(size, pages)
    })
    .layout()
}

#[test]
fn generation_takes_what_is_left() {
    // (pages, chunk size, high, low) -> (chunk bits, generation bits)
    for (pages, size, high, low, chunk, generation) in [
        (1, 4096, 0, 0, 0, 21), // 32 are left, a state word has room for 21
        (1, 4096, 1, 0, 0, 21),
        (1, 4096, 2, 1, 0, 21),
        (2, 4096, 0, 0, 0, 21),
        (3, 4096, 0, 0, 0, 21),
        (5, 4096, 0, 0, 0, 21),
        (9, 4096, 0, 0, 0, 21),
        (2048, 4096, 0, 0, 0, 21),
        (4096, 4096, 0, 0, 0, 20),
        (4096, 2048, 0, 0, 1, 19),
        (4096, 2048, 2, 7, 1, 10),
        (8192, 8, 2, 7, 9, 1),
        (MAX_PAGES, 8, 2, 7, 9, 0),
        (1, 4096, 31, 1, 0, 0),
        (1, 4096, 1, 31, 0, 0),
        (1, 4096, 0, 31, 0, 0), // a bit is left, but not one that can be masked off below it
        (1, 4096, 31, 0, 0, 1),
    ] {
        let layout = layout(pages, size, high, low);
        let found = (layout.chunk_bits(), layout.generation_bits());
        assert_eq!(found, (chunk, generation), "{pages} pages of {size}");
        assert_eq!(layout.user_bits(), (high, low));
    }
}

#[test]
#[expect(clippy::unusual_byte_groupings)] // The groups are the fields.
fn bits_lie_where_the_design_says() {
    // From the top: 2 high, 4 page, 2 chunk, 17 generation, 7 low.
    let geometry = geometry(&Request {
        page_size: PAGE,
        high_bits: 2,
        low_bits: 7,
        ..request(1024, 16)
    });
    let parts = Parts::full(geometry);
    let index = 0b1010_11;
    let raw = parts.slots.post(index, Owner::POOL).into_raw();
    assert_eq!(raw, 0b00_1010_11_00000000000000001_0000000);
    let raw = parts.slots.post(index, Owner::POOL).into_raw();
    assert_eq!(raw, 0b00_1010_11_00000000000000010_0000000);
    let marked = geometry
        .layout()
        .with_user_bits(Handle::from_raw(raw), 0b11, 0b1000001)
        .expect("fits");
    assert_eq!(marked.into_raw(), 0b11_1010_11_00000000000000010_1000001u32);
}

#[test]
fn user_bits_that_do_not_fit_are_refused() {
    let layout = layout(16, 1024, 2, 7);
    let handle = Handle::from_raw(0);
    assert!(layout.with_user_bits(handle, 3, 127).is_some());
    assert_eq!(layout.with_user_bits(handle, 4, 0), None);
    assert_eq!(layout.with_user_bits(handle, 0, 128), None);
    assert_eq!(layout.with_user_bits(handle, u32::MAX, 0), None);
    assert_eq!(layout.with_user_bits(handle, 0, u32::MAX), None);
}

#[test]
fn without_user_bits_only_zero_fits() {
    let layout = layout(16, 1024, 0, 0);
    let handle = Handle::from_raw(0xffff_ffff);
    assert_eq!(layout.with_user_bits(handle, 0, 0), Some(handle));
    assert_eq!(layout.with_user_bits(handle, 1, 0), None);
    assert_eq!(layout.with_user_bits(handle, 0, 1), None);
    assert_eq!(layout.user_bits_of(handle), (0, 0));
}

#[test]
fn user_bits_are_replaced_and_not_mixed() {
    let layout = layout(16, 1024, 2, 7);
    let first = layout
        .with_user_bits(Handle::from_raw(0x1234_5680), 0b11, 0x7f)
        .expect("fits");
    let second = layout.with_user_bits(first, 0b01, 0x0a).expect("fits");
    assert_eq!(layout.user_bits_of(second), (0b01, 0x0a));
    assert_eq!(
        layout.with_user_bits(second, 0, 0).expect("fits"),
        layout
            .with_user_bits(Handle::from_raw(0x1234_5680), 0, 0)
            .expect("fits")
    );
}

/// Geometries with all sorts of layouts, small enough to try each of their indices.
fn geometries() -> impl Strategy<Value = Geometry> {
    (1u32..40, 1usize..4097, 0u32..16, 0u32..16).prop_filter_map(
        "the bits do not fit",
        |(pages, size, high_bits, low_bits)| {
            let asked = Request {
                page_size: PAGE,
                high_bits,
                low_bits,
                ..request(size, pages)
            };
            Geometry::new(&asked, PAGE).ok()
        },
    )
}

proptest! {
    /// Each chunk's handle names that chunk and no other, whatever the caller does to its own bits,
    /// and the caller finds its bits again.
    #[test]
    fn handles_round_trip(geometry in geometries(), high: u32, low: u32) {
        let layout = geometry.layout();
        let (high_bits, low_bits) = layout.user_bits();
        let high = high & ((1 << high_bits) - 1);
        let low = low & ((1 << low_bits) - 1);
        let parts = Parts::full(geometry);
        let mut seen = std::collections::HashSet::new();

        for page in 0..geometry.max_pages() {
            for chunk in 0..geometry.chunks() {
                let index = page << layout.chunk_bits() | chunk;
                let handle = parts.slots.post(index, Owner::POOL);
                prop_assert!(seen.insert(handle.into_raw()));
                prop_assert_eq!(layout.user_bits_of(handle), (0, 0));
                let marked = layout.with_user_bits(handle, high, low).expect("fits");
                prop_assert_eq!(layout.user_bits_of(marked), (high, low));
                prop_assert_eq!(layout.with_user_bits(marked, 0, 0), Some(handle));
                prop_assert_eq!(parts.slots.look(marked), Ok(index));
                prop_assert_eq!(parts.slots.fetch(marked), Ok(index));
            }
        }
    }

    /// No word and no user bits make the arithmetic panic, and what comes back keeps the rest.
    #[test]
    fn any_word_is_harmless(
        pages in 1u32..=MAX_PAGES, size in 1usize..=4096, high_bits in 0u32..=31,
        low_bits in 0u32..=31, raw: u32, high: u32, low: u32,
    ) {
        let asked = Request { page_size: PAGE, high_bits, low_bits, ..request(size, pages) };
        if let Ok(geometry) = Geometry::new(&asked, PAGE) {
            let layout = geometry.layout();
            let handle = Handle::from_raw(raw);
            let own = (u64::from(u32::MAX) >> high_bits) as u32 & !(((1u64 << low_bits) - 1) as u32);
            let (h, l) = layout.user_bits_of(handle);
            prop_assert_eq!(layout.with_user_bits(handle, h, l), Some(handle));
            let fits = u64::from(high) < 1 << high_bits && u64::from(low) < 1 << low_bits;
            let marked = layout.with_user_bits(handle, high, low);
            prop_assert_eq!(marked.is_some(), fits);
            if let Some(marked) = marked {
                prop_assert_eq!(marked.into_raw() & own, raw & own);
                prop_assert_eq!(layout.user_bits_of(marked), (high, low));
            }
        }
    }
}

#[test]
fn the_helper_for_small_layouts_makes_what_it_says() {
    let made = small(3, 2, 1, 2);
    assert_eq!(made.max_pages(), 3);
    assert_eq!(made.layout().user_bits(), (26, 2));
}
