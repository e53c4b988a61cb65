// SPDX-License-Identifier: GPL-2.0

//! Geometry, for any request: it is answered without a panic, refused only for the reason given,
//! and what is accepted keeps the invariants that the pool builds on, for every chunk.

mod common;

use common::request;
use mbpool_host::ground::geometry::{
    Geometry,
    Refusal,
    Request,
    MAX_CHUNKS,
    MAX_CHUNKS_PER_PAGE,
    MAX_PAGES,
    MAX_PAGE_SIZE, //
};
use proptest::prelude::*;

/// Numbers of all magnitudes, with those around powers of two as likely as the rest together.
fn magnitude(max_bits: u32) -> impl Strategy<Value = usize> {
    (0..=max_bits, any::<usize>(), 0usize..3, any::<bool>()).prop_map(
        |(bits, random, near, exact)| {
            let power = 1usize << bits;
            if exact {
                (power + near).saturating_sub(1)
            } else {
                power + (random & (power - 1))
            }
        },
    )
}

fn machine() -> impl Strategy<Value = usize> {
    prop_oneof![Just(4usize << 10), Just(16 << 10), Just(64 << 10)]
}

/// Requests of which about half are accepted.
fn sensible() -> impl Strategy<Value = Request> {
    (
        magnitude(14),
        0u32..14,
        prop_oneof![Just(0usize), (0u32..24).prop_map(|bits| 1 << bits)],
        prop_oneof![Just(0usize), magnitude(17)],
        (1u32..600, 0u32..8),
        (0u32..4, 0u32..8),
    )
        .prop_map(|(size, align, boundary, page_size, pages, bits)| Request {
            size,
            align: 1 << align,
            boundary,
            page_size,
            max_pages: pages.0,
            initial_pages: pages.1.min(pages.0),
            high_bits: bits.0,
            low_bits: bits.1,
        })
}

/// Requests of any numbers at all.
fn senseless() -> impl Strategy<Value = Request> {
    (
        (magnitude(63), magnitude(63), magnitude(63), magnitude(63)),
        (any::<u32>(), 0u32..20000),
        (any::<u32>(), 0u32..40, 0u32..40),
        any::<u8>(),
    )
        .prop_map(|(sizes, pages, bits, tame)| Request {
            // Each bit of `tame` makes one number harmless, so that those checked last are reached.
            size: if tame & 1 == 0 { sizes.0 } else { 64 },
            align: if tame & 2 == 0 { sizes.1 } else { 1 },
            boundary: if tame & 4 == 0 { sizes.2 } else { 0 },
            page_size: if tame & 8 == 0 { sizes.3 } else { 4096 },
            max_pages: if tame & 16 == 0 { pages.0 } else { pages.1 },
            initial_pages: if tame & 32 == 0 { pages.0 } else { 0 },
            high_bits: if tame & 64 == 0 { bits.1 } else { 0 },
            low_bits: if tame & 128 == 0 { bits.2 } else { bits.0 },
        })
}

/// Whether what a refusal says of the request is so.
fn is_true(refusal: Refusal, asked: &Request, machine: usize) -> bool {
    let rounded = |bytes: usize| bytes.div_ceil(machine) * machine;
    let bits = |count: u32| (0..).find(|bits| 1u64 << bits >= u64::from(count)).unwrap();
    match refusal {
        Refusal::Size(size) => size == asked.size && (size == 0 || size > MAX_PAGE_SIZE),
        Refusal::Align(align) => {
            align == asked.align && (align.count_ones() != 1 || align > MAX_PAGE_SIZE)
        }
        Refusal::Boundary(boundary) => boundary == asked.boundary && boundary.count_ones() > 1,
        Refusal::BoundaryBelowSize(boundary, size) => {
            boundary == asked.boundary && size == asked.size && 0 < boundary && boundary < size
        }
        Refusal::PageBelowChunk(page, chunk) => {
            asked.page_size > 0
                && page == rounded(asked.page_size)
                && chunk == asked.size.max(asked.align)
                && page < chunk
        }
        Refusal::PageSize(page) => {
            page > MAX_PAGE_SIZE && asked.page_size > MAX_PAGE_SIZE - machine
        }
        Refusal::ChunksPerPage(chunks) => {
            chunks > MAX_CHUNKS_PER_PAGE as usize && asked.size * chunks <= MAX_PAGE_SIZE
        }
        Refusal::MaxPages(pages) => pages == asked.max_pages && (pages == 0 || pages > MAX_PAGES),
        Refusal::InitialPages(initial, max) => {
            initial == asked.initial_pages && max == asked.max_pages && initial > max
        }
        Refusal::Chunks(chunks) => {
            chunks > u64::from(MAX_CHUNKS) && chunks % u64::from(asked.max_pages) == 0
        }
        Refusal::HandleBits { page, chunk, user } => {
            let (high, low) = (asked.high_bits, asked.low_bits);
            page == bits(asked.max_pages)
                && user == high.saturating_add(low)
                && (high > 31 || low > 31 || page + chunk + user > 32)
        }
    }
}

/// Where the chunks lie when each is put at the first place that will do.
fn greedy(asked: &Request, page_size: usize) -> Vec<usize> {
    let mut offsets = Vec::new();
    let mut at = 0usize;
    loop {
        at = at.next_multiple_of(asked.align);
        if asked.boundary != 0 && at / asked.boundary != (at + asked.size - 1) / asked.boundary {
            at = at.next_multiple_of(asked.boundary);
            continue;
        }
        if at + asked.size > page_size {
            return offsets;
        }
        offsets.push(at);
        at += asked.size;
    }
}

/// All that `Geometry` promises under `# Invariants`.
fn keeps_its_promises(
    geometry: &Geometry,
    asked: &Request,
    machine: usize,
    base: usize,
) -> Result<(), TestCaseError> {
    let page_size = geometry.page_size();
    prop_assert_eq!(geometry.size(), asked.size);
    prop_assert_eq!(geometry.align(), asked.align);
    prop_assert_eq!(geometry.boundary(), asked.boundary);
    prop_assert_eq!(geometry.max_pages(), asked.max_pages);
    prop_assert_eq!(geometry.initial_pages(), asked.initial_pages);
    prop_assert!(page_size <= MAX_PAGE_SIZE && page_size % machine == 0);
    if asked.page_size != 0 {
        prop_assert_eq!(page_size, asked.page_size.div_ceil(machine) * machine);
    }
    prop_assert!((1..=MAX_CHUNKS_PER_PAGE).contains(&geometry.chunks()));
    prop_assert!(geometry.indices() <= MAX_CHUNKS);

    // The DMA API aligns an allocation to its size rounded up to a power of two: that must do.
    let base_align = geometry.base_align();
    prop_assert!(base_align.is_power_of_two() || base_align == 0);
    prop_assert!(base_align <= page_size.next_power_of_two());

    let base = base * base_align.max(1);
    let mut end = 0;
    for chunk in 0..geometry.chunks() {
        let offset = geometry.offset(chunk);
        prop_assert!(offset >= end, "chunk {} overlaps its neighbour", chunk);
        end = offset + asked.size;
        prop_assert_eq!((base + offset) % asked.align, 0, "chunk {}", chunk);
        // `None` on both sides where there is no boundary.
        let first = (base + offset).checked_div(asked.boundary);
        let last = (base + end - 1).checked_div(asked.boundary);
        prop_assert_eq!(first, last, "chunk {} crosses", chunk);
    }
    prop_assert!(end <= page_size);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn accepted_geometries_keep_their_promises(
        asked in sensible(), machine in machine(), base in 0usize..1 << 20,
    ) {
        match Geometry::new(&asked, machine) {
            Ok(geometry) => keeps_its_promises(&geometry, &asked, machine, base)?,
            Err(refusal) => prop_assert!(is_true(refusal, &asked, machine), "{}", refusal),
        }
    }

    #[test]
    fn senseless_requests_are_refused_for_the_reason_given(
        asked in senseless(), machine in machine(),
    ) {
        match Geometry::new(&asked, machine) {
            Ok(geometry) => keeps_its_promises(&geometry, &asked, machine, 3)?,
            Err(refusal) => prop_assert!(is_true(refusal, &asked, machine), "{}", refusal),
        }
    }

    /// No room is wasted: a page holds as many chunks as would fit if each were placed by hand.
    #[test]
    fn chunks_lie_as_close_as_they_may(asked in sensible(), machine in machine()) {
        if let Ok(geometry) = Geometry::new(&asked, machine) {
            let offsets: Vec<_> = (0..geometry.chunks()).map(|c| geometry.offset(c)).collect();
            prop_assert_eq!(offsets, greedy(&asked, geometry.page_size()));
        }
    }

    /// The page that the pool chooses: the smallest that wastes at most an eighth, else the one of
    /// least waste for its size.
    #[test]
    fn the_chosen_page_wastes_least(
        size in magnitude(17), align in 0u32..14, machine in machine(),
        boundary in prop_oneof![Just(0usize), (0u32..24).prop_map(|bits| 1 << bits)],
    ) {
        let asked = Request { align: 1 << align, boundary, ..request(size, 1) };
        let Ok(chosen) = Geometry::new(&asked, machine) else {
            return Ok(());
        };
        let waste = |page_size: usize| {
            page_size - greedy(&asked, page_size).len() * size
        };
        let first = size.max(asked.align).next_power_of_two().max(machine);
        let last = first.max(64 << 10);
        let tried: Vec<_> = (0..).map(|n| first << n).take_while(|page| *page <= last).collect();
        let good = tried.iter().find(|page| waste(**page) * 8 <= **page);
        let page = chosen.page_size();
        match good {
            Some(good) => prop_assert_eq!(page, *good),
            None => for other in &tried {
                prop_assert!(waste(page) * other <= waste(*other) * page, "{} over {}", page, other);
            },
        }
    }
}
