// SPDX-License-Identifier: GPL-2.0

//! Where chunks lie: the promises on DMA addresses hold for real memory, chunks do not overlap for the
//! device nor for the CPU, and what is written stays.

use crate::{
    check,
    check_eq,
    devices::Fixture,
    ktap::{
        Outcome,
        Stop, //
    },
    support::{
        is_marked,
        mark, //
    },
    tests, //
};
use kernel::{
    alloc::KVVec,
    dma::DmaAddress,
    prelude::*,
    rbtree::RBTree, //
};
use mbpool::{
    Buffer,
    Config,
    Pool, //
};

tests![
    addresses_keep_alignment_and_boundary,
    chunks_do_not_overlap_for_the_device,
    chunks_do_not_overlap_for_the_cpu,
    a_posted_chunk_keeps_its_address,
];

/// Geometries of all sorts: size, align, boundary, page size.
const GEOMETRIES: [(usize, usize, usize, usize); 11] = [
    (2048, 64, 0, 0),
    (2048, 2048, 4096, 0),
    (1500, 4, 4096, 8192),
    (1, 1, 0, 0),
    (60, 1024, 0, 0),
    (3000, 1, 8192, 12288),
    (9000, 8, 16384, 65536),
    (768, 256, 1024, 4096),
    (4096, 4096, 1 << 30, 12288),
    (70000, 4096, 1 << 17, 1 << 20),
    (100, 32768, 0, 65536),
];

/// A pool of each geometry, with all its chunks taken.
fn with_each(
    on: &Fixture<'_>,
    look: impl Fn(&Config<'_>, (usize, usize, usize), &mut KVVec<Buffer<'_>>) -> Outcome,
) -> Outcome {
    for (size, align, boundary, page_size) in GEOMETRIES {
        let config = Config::new(c"layout", size)
            .align(align)
            .boundary(boundary)
            .page_size(page_size)
            .max_pages(3);
        let pool = Pool::new(on.dev, config, GFP_KERNEL)?;
        let mut buffers = KVVec::new();
        while let Ok(buffer) = pool.alloc(GFP_KERNEL) {
            buffers.push(buffer, GFP_KERNEL)?;
        }
        check!(buffers.len() >= 3);
        look(&config, (size, align, boundary), &mut buffers)?;
    }
    Ok(())
}

fn addresses_keep_alignment_and_boundary(on: &Fixture<'_>) -> Outcome {
    with_each(on, |_, (size, align, boundary), buffers| {
        let (size, align) = (DmaAddress::try_from(size)?, DmaAddress::try_from(align)?);
        let boundary = DmaAddress::try_from(boundary)?;
        for buffer in buffers {
            let first = buffer.dma_address();
            check_eq!(first % align, 0);
            if boundary != 0 && first / boundary != (first + size - 1) / boundary {
                return Err(Stop::failed("a chunk crosses", fmt!("{size} {boundary}")));
            }
        }
        Ok(())
    })
}

/// Fails unless chunks that begin at these addresses are at least `size` apart.
fn are_apart(starts: impl Iterator<Item = DmaAddress>, size: usize) -> Outcome {
    let size = DmaAddress::try_from(size)?;
    let mut sorted = RBTree::new();
    for start in starts {
        let other = sorted.try_create_and_insert(start, (), GFP_KERNEL)?;
        check!(other.is_none(), "two chunks at one address");
    }
    let mut end = 0;
    for (start, ()) in &sorted {
        check!(
            *start >= end,
            "chunks of {size} overlap by {}",
            end - *start
        );
        end = *start + size;
    }
    Ok(())
}

fn chunks_do_not_overlap_for_the_device(on: &Fixture<'_>) -> Outcome {
    with_each(on, |_, (size, ..), buffers| {
        are_apart(buffers.iter().map(Buffer::dma_address), size)
    })
}

fn chunks_do_not_overlap_for_the_cpu(on: &Fixture<'_>) -> Outcome {
    with_each(on, |_, (size, ..), buffers| {
        for (name, buffer) in (0..).zip(buffers.iter_mut()) {
            check_eq!(buffer.len(), size);
            mark(buffer, name);
        }
        for (name, buffer) in (0..).zip(buffers.iter()) {
            check!(is_marked(buffer, name), "chunk {name} of {size} bytes");
        }
        Ok(())
    })
}

fn a_posted_chunk_keeps_its_address(on: &Fixture<'_>) -> Outcome {
    let config = Config::new(c"address", 1500).page_size(16384).max_pages(2);
    let pool = Pool::new(on.dev, config, GFP_KERNEL)?;
    let mut posted = KVec::new();
    while let Ok(one) = pool.post(GFP_KERNEL) {
        posted.push(one, GFP_KERNEL)?;
    }
    check_eq!(posted.len(), 20);
    for one in &posted {
        check_eq!(pool.peek(one.handle)?.dma_address(), one.dma);
        let buffer = pool.take(one.handle)?;
        check_eq!(buffer.dma_address(), one.dma);
        let again = buffer.post();
        check_eq!(again.dma, one.dma);
        drop(pool.take(again.handle)?);
    }
    are_apart(posted.iter().map(|one| one.dma), 1500)
}
