// SPDX-License-Identifier: GPL-2.0

//! Any request: it is refused or keeps what the pool builds on, and any word does for a handle.

use super::bytes::Bytes;
use mbpool_host::ground::{
    geometry::{
        Geometry,
        Request,
        MAX_CHUNKS,
        MAX_CHUNKS_PER_PAGE,
        MAX_PAGES,
        MAX_PAGE_SIZE, //
    },
    handle::Handle, //
};

/// Of pages with more chunks than twice this only the first and the last so many are looked at.
const SOME: u32 = 512;

/// Runs one test.
pub fn run(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let machine = [4 << 10, 16 << 10, 64 << 10][usize::from(bytes.byte() % 3)];
    let request = Request {
        size: bytes.magnitude(),
        align: bytes.magnitude(),
        boundary: match bytes.byte() {
            0 => 0,
            _ => bytes.magnitude(),
        },
        page_size: match bytes.byte() {
            0 => 0,
            _ => bytes.magnitude(),
        },
        max_pages: bytes.magnitude() as u32,
        initial_pages: bytes.half(),
        high_bits: bytes.byte().into(),
        low_bits: bytes.byte().into(),
    };
    match Geometry::new(&request, machine) {
        Err(refusal) => assert!(!refusal.to_string().is_empty()),
        Ok(geometry) => {
            limits(&request, &geometry, machine);
            chunks(&geometry);
            while !bytes.is_empty() {
                user_bits(&geometry, &mut bytes);
            }
        }
    }
}

fn limits(request: &Request, geometry: &Geometry, machine: usize) {
    assert_eq!(geometry.size(), request.size);
    assert_eq!(geometry.align(), request.align);
    assert_eq!(geometry.boundary(), request.boundary);
    assert_eq!(geometry.max_pages(), request.max_pages);
    assert_eq!(geometry.initial_pages(), request.initial_pages);
    assert!((1..=geometry.page_size()).contains(&geometry.size()));
    assert!(geometry.page_size() <= MAX_PAGE_SIZE);
    assert_eq!(geometry.page_size() % machine, 0);
    assert!((1..=MAX_CHUNKS_PER_PAGE).contains(&geometry.chunks()));
    assert!((1..=MAX_PAGES).contains(&geometry.max_pages()));
    assert!(geometry.initial_pages() <= geometry.max_pages());
    assert!(geometry.indices() <= MAX_CHUNKS);

    let layout = geometry.layout();
    let page = u32::BITS - (geometry.max_pages() - 1).leading_zeros();
    let (high, low) = layout.user_bits();
    assert_eq!((high, low), (request.high_bits, request.low_bits));
    assert!(geometry.chunks() <= 1 << layout.chunk_bits());
    assert!(page + layout.chunk_bits() + layout.generation_bits() + high + low <= 32);
}

/// Each chunk lies where it may, and there is no room for one more.
fn chunks(geometry: &Geometry) {
    let (size, boundary) = (geometry.size(), geometry.boundary());
    let base = geometry.base_align();
    assert!(base.is_power_of_two() && base % geometry.align() == 0);
    let crosses = |at: usize| boundary != 0 && at / boundary != (at + size - 1) / boundary;

    let all = geometry.chunks();
    let mut before: Option<(u32, usize)> = None;
    for chunk in (0..all).filter(|chunk| *chunk < SOME || *chunk >= all - SOME.min(all)) {
        let at = geometry.offset(chunk);
        assert_eq!(at % geometry.align(), 0);
        assert!(at + size <= geometry.page_size());
        // Wherever the page lies.
        assert!(!crosses(at) && !crosses(at + base));
        if let Some((neighbour, start)) = before {
            assert!(start + size <= at);
            if neighbour + 1 == chunk {
                let next = (start + size).next_multiple_of(geometry.align());
                let next = match crosses(next) {
                    true => next.next_multiple_of(boundary),
                    false => next,
                };
                assert_eq!(at, next, "chunk {chunk} could lie lower");
            }
        }
        before = Some((chunk, at));

        for page in [0, geometry.max_pages() - 1] {
            let index = page << geometry.layout().chunk_bits() | chunk;
            assert_eq!(geometry.page_of(index), page);
            let spacing = geometry.spacing();
            let run = spacing.run_of(index);
            assert!(run < geometry.runs() && geometry.runs_of(page).contains(&run));
            let found = geometry.origin(run).wrapping_add(spacing.within(index));
            assert_eq!(found, at as u64);
        }
    }
    let (_, last) = before.expect("a chunk");
    let next = (last + size).next_multiple_of(geometry.align());
    let next = match crosses(next) {
        true => next.next_multiple_of(boundary),
        false => next,
    };
    assert!(next + size > geometry.page_size(), "room for one more");
}

/// The caller's bits go in and come out, and touch no others.
fn user_bits(geometry: &Geometry, bytes: &mut Bytes<'_>) {
    let layout = geometry.layout();
    let handle = Handle::from_raw(bytes.word());
    let (high, low) = (bytes.word(), u32::from(bytes.byte()));
    let (high_bits, low_bits) = layout.user_bits();
    let fits = u64::from(high) < 1 << high_bits && u64::from(low) < 1 << low_bits;
    let marked = layout.with_user_bits(handle, high, low);
    assert_eq!(marked.is_some(), fits);

    let (high, low) = layout.user_bits_of(handle);
    assert_eq!(layout.with_user_bits(handle, high, low), Some(handle));
    let bare = layout.with_user_bits(handle, 0, 0).expect("zero fits");
    assert_eq!(layout.user_bits_of(bare), (0, 0));
    if let Some(marked) = marked {
        assert_eq!(layout.with_user_bits(marked, 0, 0), Some(bare));
    }
}
