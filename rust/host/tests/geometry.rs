// SPDX-License-Identifier: GPL-2.0

//! Geometry: each refusal with the sentence that a driver's author will read in the kernel's log,
//! and the edges of what is accepted.

mod common;

use common::{
    geometry,
    request,
    PAGE, //
};
use mbpool_host::ground::geometry::{
    Geometry,
    Refusal,
    Request,
    MAX_CHUNKS,
    MAX_CHUNKS_PER_PAGE,
    MAX_PAGES,
    MAX_PAGE_SIZE, //
};

/// The request is refused for this reason, in these words.
#[track_caller]
fn refused(request: Request, refusal: Refusal, words: &str) {
    assert_eq!(Geometry::new(&request, PAGE), Err(refusal));
    assert_eq!(refusal.to_string(), words);
}

fn base() -> Request {
    request(2048, 16)
}

#[test]
fn size_is_refused() {
    for size in [0, MAX_PAGE_SIZE + 1, usize::MAX] {
        refused(
            Request { size, ..base() },
            Refusal::Size(size),
            &format!("size: {size} bytes is not between 1 and 4194304"),
        );
    }
}

#[test]
fn align_is_refused() {
    for align in [0, 3, 24, MAX_PAGE_SIZE * 2, MAX_PAGE_SIZE + 1, usize::MAX] {
        refused(
            Request { align, ..base() },
            Refusal::Align(align),
            &format!("align: {align} is not a power of two up to 4194304"),
        );
    }
}

#[test]
fn boundary_is_refused() {
    for boundary in [3, 4095, usize::MAX] {
        refused(
            Request { boundary, ..base() },
            Refusal::Boundary(boundary),
            &format!("boundary: {boundary} is neither 0 nor a power of two"),
        );
    }
    for boundary in [1, 1024] {
        refused(
            Request { boundary, ..base() },
            Refusal::BoundaryBelowSize(boundary, 2048),
            &format!("boundary: a chunk of 2048 bytes always crosses one of {boundary}"),
        );
    }
}

#[test]
fn page_size_is_refused() {
    for page_size in [MAX_PAGE_SIZE + 1, usize::MAX] {
        refused(
            Request {
                page_size,
                ..base()
            },
            Refusal::PageSize(page_size),
            &format!("page_size: {page_size} is more than 4194304 bytes"),
        );
    }
    refused(
        Request {
            page_size: 4096,
            ..request(4097, 1)
        },
        Refusal::PageBelowChunk(4096, 4097),
        "page_size: 4096 bytes do not hold one aligned chunk of 4097",
    );
    refused(
        Request {
            page_size: 1,
            align: 8192,
            ..request(16, 1)
        },
        Refusal::PageBelowChunk(4096, 8192),
        "page_size: 4096 bytes do not hold one aligned chunk of 8192",
    );
    refused(
        Request {
            page_size: 128 << 10,
            ..request(1, 1)
        },
        Refusal::ChunksPerPage(128 << 10),
        "page_size: 131072 chunks in a page are more than 65536",
    );
}

#[test]
fn page_size_is_refused_when_the_machine_rounds_it_up_too_far() {
    // No machine has such pages; the arithmetic must hold all the same.
    assert_eq!(
        Geometry::new(&base(), 8 << 20),
        Err(Refusal::PageSize(8 << 20))
    );
}

#[test]
fn numbers_of_pages_are_refused() {
    for max_pages in [0, MAX_PAGES + 1, u32::MAX] {
        refused(
            Request {
                max_pages,
                ..base()
            },
            Refusal::MaxPages(max_pages),
            &format!("max_pages: {max_pages} is not between 1 and 16383"),
        );
    }
    for initial_pages in [17, u32::MAX] {
        refused(
            Request {
                initial_pages,
                ..base()
            },
            Refusal::InitialPages(initial_pages, 16),
            &format!("initial_pages: {initial_pages} is more than max_pages, which is 16"),
        );
    }
}

#[test]
fn too_many_chunks_are_refused() {
    let most = Request {
        page_size: 16 << 10,
        ..request(16, MAX_PAGES)
    };
    assert_eq!(geometry(&most).indices(), MAX_PAGES << 10);
    refused(
        Request { size: 8, ..most },
        Refusal::Chunks(u64::from(MAX_PAGES) << 11),
        "max_pages: 33552384 chunks in all are more than 16777216",
    );
    // Exactly as many as there may be.
    let exact = Request {
        page_size: 4096,
        ..request(1, 1 << 12)
    };
    assert_eq!(geometry(&exact).indices(), MAX_CHUNKS);
    let above = Request {
        max_pages: (1 << 12) + 1,
        ..exact
    };
    assert!(matches!(
        Geometry::new(&above, PAGE),
        Err(Refusal::Chunks(_))
    ));
}

#[test]
fn too_many_handle_bits_are_refused() {
    let full = Request {
        high_bits: 2,
        low_bits: 7,
        page_size: 4096,
        ..request(8, MAX_PAGES)
    };
    refused(
        Request {
            low_bits: 8,
            ..full
        },
        Refusal::HandleBits {
            page: 14,
            chunk: 9,
            user: 10,
        },
        "user_bits: 14 bits for the page, 9 for the chunk and 10 of the caller are more than 32",
    );
    for (high_bits, low_bits) in [(32, 0), (0, 32), (u32::MAX, u32::MAX), (16, 17), (31, 31)] {
        refused(
            Request {
                high_bits,
                low_bits,
                page_size: 4096,
                ..request(4096, 1)
            },
            Refusal::HandleBits {
                page: 0,
                chunk: 0,
                user: high_bits.saturating_add(low_bits),
            },
            &format!(
                "user_bits: 0 bits for the page, 0 for the chunk and {} of the caller \
                 are more than 32",
                high_bits.saturating_add(low_bits)
            ),
        );
    }
}

#[test]
fn the_first_fault_is_named_before_anything_overflows() {
    let all_wrong = Request {
        size: usize::MAX,
        align: usize::MAX,
        boundary: usize::MAX,
        page_size: usize::MAX,
        max_pages: u32::MAX,
        initial_pages: u32::MAX,
        high_bits: u32::MAX,
        low_bits: u32::MAX,
    };
    assert_eq!(
        Geometry::new(&all_wrong, PAGE),
        Err(Refusal::Size(usize::MAX))
    );
}

#[test]
fn full_size_mbpool_leaves_no_generation() {
    let full = geometry(&Request {
        high_bits: 2,
        low_bits: 7,
        page_size: 4096,
        ..request(8, MAX_PAGES)
    });
    assert_eq!(full.chunks(), 512);
    assert_eq!(full.max_pages(), 16383);
    assert_eq!(full.layout().generation_bits(), 0);
    assert_eq!(full.layout().user_bits(), (2, 7));
    assert_eq!(full.indices(), 16383 << 9);
}

#[test]
fn chunks_of_one_byte() {
    let bytes = geometry(&request(1, 1));
    assert_eq!((bytes.page_size(), bytes.chunks()), (4096, 4096));
    assert_eq!(bytes.offset(4095), 4095);

    let most = geometry(&Request {
        page_size: 65536,
        ..request(1, 1)
    });
    assert_eq!(most.chunks(), MAX_CHUNKS_PER_PAGE);
    assert_eq!(most.offset(MAX_CHUNKS_PER_PAGE - 1), 65535);
}

#[test]
fn one_chunk_as_large_as_the_largest_page() {
    let one = geometry(&Request {
        align: MAX_PAGE_SIZE,
        boundary: MAX_PAGE_SIZE,
        ..request(MAX_PAGE_SIZE, 1)
    });
    assert_eq!((one.page_size(), one.chunks()), (MAX_PAGE_SIZE, 1));
    assert_eq!(one.base_align(), MAX_PAGE_SIZE);
    // Only index 0, so all bits are generation, up to the 29 that a state word has room for.
    assert_eq!(one.layout().generation_bits(), 21);
}

#[test]
fn an_odd_number_of_chunks_leaves_gaps_in_the_indices() {
    let five = geometry(&request(768, 3));
    assert_eq!((five.page_size(), five.chunks()), (4096, 5));
    assert_eq!(five.layout().chunk_bits(), 3);
    assert_eq!(five.indices(), 24);
}

#[test]
fn alignment_beyond_the_size_sets_the_stride() {
    let aligned = geometry(&Request {
        align: 1024,
        ..request(60, 1)
    });
    let offsets: Vec<_> = (0..aligned.chunks()).map(|c| aligned.offset(c)).collect();
    assert_eq!(offsets, [0, 1024, 2048, 3072]);
    // The tail of a page needs to hold the size alone, not the stride.
    let tail = geometry(&Request {
        align: 2048,
        page_size: 4096 * 3,
        ..request(2049, 1)
    });
    let offsets: Vec<_> = (0..tail.chunks()).map(|c| tail.offset(c)).collect();
    assert_eq!(offsets, [0, 4096, 8192]);
    let overhang = geometry(&Request {
        align: 8192,
        page_size: 4096 * 3,
        ..request(100, 1)
    });
    let offsets: Vec<_> = (0..overhang.chunks()).map(|c| overhang.offset(c)).collect();
    assert_eq!(offsets, [0, 8192]);
}

#[test]
fn windows_between_boundaries() {
    // Two chunks of 1500 in each 4096 (2596 would cross), and two in the last, full window.
    let windows = geometry(&Request {
        align: 4,
        boundary: 4096,
        page_size: 8192,
        ..request(1500, 1)
    });
    let offsets: Vec<_> = (0..windows.chunks()).map(|c| windows.offset(c)).collect();
    assert_eq!(offsets, [0, 1500, 4096, 5596]);
    assert_eq!(windows.base_align(), 4096);

    // The page ends in the midst of a window, in which one chunk still fits.
    let part = geometry(&Request {
        boundary: 8192,
        page_size: 12288,
        ..request(3000, 1)
    });
    let offsets: Vec<_> = (0..part.chunks()).map(|c| part.offset(c)).collect();
    assert_eq!(offsets, [0, 3000, 8192]);

    // A chunk that fills its window to the last byte.
    let exact = geometry(&Request {
        boundary: 2048,
        page_size: 8192,
        ..request(2048, 1)
    });
    let offsets: Vec<_> = (0..exact.chunks()).map(|c| exact.offset(c)).collect();
    assert_eq!(offsets, [0, 2048, 4096, 6144]);
}

#[test]
fn a_boundary_beyond_the_page_asks_no_more_than_the_allocator_gives() {
    let beyond = geometry(&Request {
        boundary: 1 << 30,
        page_size: 12288,
        ..request(2048, 1)
    });
    assert_eq!(beyond.base_align(), 16384);
    assert_eq!(beyond.chunks(), 6);
}

#[test]
fn machines_of_all_page_sizes() {
    for machine in [4 << 10, 16 << 10, 64 << 10] {
        let made = Geometry::new(&request(2048, 16), machine).expect("accepted");
        assert_eq!(made.page_size(), machine);
        assert_eq!(made.chunks() as usize, machine / 2048);

        let odd = Request {
            page_size: machine + 1,
            ..request(2048, 16)
        };
        let made = Geometry::new(&odd, machine).expect("accepted");
        assert_eq!(made.page_size(), 2 * machine);
    }
}

#[test]
fn the_page_is_chosen_for_little_waste() {
    // The smallest power of two that wastes at most an eighth, or the best up to 64 KiB.
    for (size, page) in [
        (1, 4096),
        (1536, 8192),
        (1792, 4096), // exactly an eighth
        (1800, 4096),
        (2048, 4096),
        (2200, 16384),
        (4096, 4096),
        (9000, 65536),
        (40000, 65536),
        (70000, 131072),
    ] {
        assert_eq!(geometry(&request(size, 1)).page_size(), page, "size {size}");
    }
}
