// SPDX-License-Identifier: GPL-2.0

//! Geometry: how a page of DMA memory is cut into chunks.
//!
//! All numbers that a driver asks for pass through [`Geometry::new`], which refuses what makes no
//! sense before anything is allocated; all that comes later can rely on the invariants of
//! [`Geometry`] and does no checked arithmetic again.

use super::handle::Layout;
use crate::facade::fmt;
use core::ops::Range;

/// The most pages a pool may have (mbpool(9) has the same limit).
pub const MAX_PAGES: u32 = 16383;

/// The most chunks in one page. The depot keeps a chunk's number within its page in 16 bits.
pub const MAX_CHUNKS_PER_PAGE: u32 = 1 << 16;

/// The most chunks in one pool, which bounds the memory for the state words at 64 MiB.
pub const MAX_CHUNKS: u32 = 1 << 24;

/// The largest pool page in bytes: what the buddy allocator hands out with 4 KiB machine pages.
pub const MAX_PAGE_SIZE: usize = 4 << 20;

/// Up to this page size a pool that was not told one looks for a page with little waste.
const AUTO_PAGE_SIZE: usize = 64 << 10;

/// What a driver asks for. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Bytes of a chunk.
    pub size: usize,
    /// Each chunk's DMA address is a multiple of this power of two.
    pub align: usize,
    /// No chunk crosses a multiple of this power of two; 0: no such limit.
    pub boundary: usize,
    /// Bytes of a pool page; 0: the pool chooses.
    pub page_size: usize,
    /// The most pages that the pool may grow to.
    pub max_pages: u32,
    /// Pages that are allocated at creation.
    pub initial_pages: u32,
    /// Handle bits at the top that are the caller's.
    pub high_bits: u32,
    /// Handle bits at the bottom that are the caller's.
    pub low_bits: u32,
}

/// Why a [`Request`] was refused: which parameter, and what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The chunk size is zero or larger than the largest page.
    Size(usize),
    /// The alignment is not a power of two, or larger than the largest page.
    Align(usize),
    /// The boundary is not a power of two.
    Boundary(usize),
    /// A chunk of this size cannot help but cross the boundary.
    BoundaryBelowSize(usize, usize),
    /// The page does not hold one aligned chunk.
    PageBelowChunk(usize, usize),
    /// The page is larger than the largest one that can be had.
    PageSize(usize),
    /// More chunks in a page than the pool can number.
    ChunksPerPage(usize),
    /// No page at all, or more than [`MAX_PAGES`].
    MaxPages(u32),
    /// More pages at creation than the pool may ever have.
    InitialPages(u32, u32),
    /// More chunks in all than [`MAX_CHUNKS`].
    Chunks(u64),
    /// Page, chunk and the caller's bits together do not fit in 32.
    HandleBits {
        /// Bits that the page number needs.
        page: u32,
        /// Bits that the chunk number needs.
        chunk: u32,
        /// Bits that the caller wants, high and low together.
        user: u32,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Size(size) => write!(
                f,
                "size: {size} bytes is not between 1 and {MAX_PAGE_SIZE}"
            ),
            Self::Align(align) => write!(
                f,
                "align: {align} is not a power of two up to {MAX_PAGE_SIZE}"
            ),
            Self::Boundary(boundary) => {
                write!(f, "boundary: {boundary} is neither 0 nor a power of two")
            }
            Self::BoundaryBelowSize(boundary, size) => write!(
                f,
                "boundary: a chunk of {size} bytes always crosses one of {boundary}"
            ),
            Self::PageBelowChunk(page, chunk) => write!(
                f,
                "page_size: {page} bytes do not hold one aligned chunk of {chunk}"
            ),
            Self::PageSize(page) => {
                write!(f, "page_size: {page} is more than {MAX_PAGE_SIZE} bytes")
            }
            Self::ChunksPerPage(chunks) => write!(
                f,
                "page_size: {chunks} chunks in a page are more than {MAX_CHUNKS_PER_PAGE}"
            ),
            Self::MaxPages(pages) => {
                write!(f, "max_pages: {pages} is not between 1 and {MAX_PAGES}")
            }
            Self::InitialPages(initial, max) => write!(
                f,
                "initial_pages: {initial} is more than max_pages, which is {max}"
            ),
            Self::Chunks(chunks) => write!(
                f,
                "max_pages: {chunks} chunks in all are more than {MAX_CHUNKS}"
            ),
            Self::HandleBits { page, chunk, user } => write!(
                f,
                "user_bits: {page} bits for the page, {chunk} for the chunk and {user} of the caller \
                 are more than 32"
            ),
        }
    }
}

/// How the pages of one pool are cut.
///
/// # Invariants
///
/// - `1 <= size <= page_size <= MAX_PAGE_SIZE`, and `page_size` is a multiple of the machine's page.
/// - `1 <= chunks <= MAX_CHUNKS_PER_PAGE`.
/// - For each `chunk < chunks`: `offset(chunk)` is a multiple of `align`, chunks do not overlap,
///   `offset(chunk) + size <= page_size`, and when the page's address is a multiple of `base_align`,
///   no chunk crosses a multiple of `boundary`.
/// - `1 <= max_pages <= MAX_PAGES`, `initial_pages <= max_pages`.
/// - `max_pages << layout.chunk_bits() <= MAX_CHUNKS`, and `layout` has room for each chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    size: usize,
    align: usize,
    boundary: usize,
    page_size: usize,
    /// Distance between neighbours that lie in the same window.
    stride: usize,
    /// Chunks between two multiples of the boundary; 0: all chunks are `stride` apart.
    window: u32,
    chunks: u32,
    max_pages: u32,
    initial_pages: u32,
    layout: Layout,
}

impl Geometry {
    /// Checks what a driver asks for and works out where its chunks lie.
    ///
    /// `machine_page` is the machine's page size, a power of two; pool pages are multiples of it.
    pub fn new(request: &Request, machine_page: usize) -> Result<Self, Refusal> {
        let Request {
            size,
            align,
            boundary,
            max_pages,
            initial_pages,
            ..
        } = *request;

        if !(1..=MAX_PAGE_SIZE).contains(&size) {
            return Err(Refusal::Size(size));
        }
        if !align.is_power_of_two() || align > MAX_PAGE_SIZE {
            return Err(Refusal::Align(align));
        }
        if boundary != 0 {
            if !boundary.is_power_of_two() {
                return Err(Refusal::Boundary(boundary));
            }
            if boundary < size {
                return Err(Refusal::BoundaryBelowSize(boundary, size));
            }
        }
        if !(1..=MAX_PAGES).contains(&max_pages) {
            return Err(Refusal::MaxPages(max_pages));
        }
        if initial_pages > max_pages {
            return Err(Refusal::InitialPages(initial_pages, max_pages));
        }

        // No overflow: both are at most `MAX_PAGE_SIZE`.
        let stride = size.next_multiple_of(align);
        let page_size = match request.page_size {
            0 => choose_page_size(size, align, boundary, stride, machine_page),
            asked if asked > MAX_PAGE_SIZE => return Err(Refusal::PageSize(asked)),
            asked => asked.next_multiple_of(machine_page),
        };
        if page_size > MAX_PAGE_SIZE {
            return Err(Refusal::PageSize(page_size));
        }
        if page_size < size || page_size < align {
            return Err(Refusal::PageBelowChunk(page_size, size.max(align)));
        }

        let (window, chunks) = cut(size, boundary, stride, page_size);
        let chunks = match u32::try_from(chunks) {
            Ok(chunks) if chunks <= MAX_CHUNKS_PER_PAGE => chunks,
            _ => return Err(Refusal::ChunksPerPage(chunks)),
        };

        let layout = Layout::new(max_pages, chunks, request.high_bits, request.low_bits)?;
        let all = u64::from(max_pages) << layout.chunk_bits();
        if all > u64::from(MAX_CHUNKS) {
            return Err(Refusal::Chunks(all));
        }

        // INVARIANT: Each has just been checked; `cut` upholds what concerns the offsets.
        Ok(Self {
            size,
            align,
            boundary,
            page_size,
            stride,
            window,
            chunks,
            max_pages,
            initial_pages,
            layout,
        })
    }

    /// Bytes of a chunk.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Alignment of each chunk's DMA address in bytes.
    pub fn align(&self) -> usize {
        self.align
    }

    /// The boundary that no chunk crosses; 0: none.
    pub fn boundary(&self) -> usize {
        self.boundary
    }

    /// Bytes of a pool page.
    pub fn page_size(&self) -> usize {
        self.page_size
    }

    /// Chunks in a page.
    pub fn chunks(&self) -> u32 {
        self.chunks
    }

    /// The most pages that the pool may grow to.
    pub fn max_pages(&self) -> u32 {
        self.max_pages
    }

    /// Pages that are allocated at creation.
    pub fn initial_pages(&self) -> u32 {
        self.initial_pages
    }

    /// How handles are laid out.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// How many chunk indices there are: the length of an array with one element for each.
    ///
    /// An index is `page << chunk_bits | chunk`, so with a number of chunks that is no power of two
    /// some indices stand for no chunk.
    pub fn indices(&self) -> u32 {
        self.max_pages << self.layout.chunk_bits()
    }

    /// What a page's DMA address must be a multiple of for the promises on chunks to hold.
    pub fn base_align(&self) -> usize {
        let inner = self.boundary.min(self.page_size.next_power_of_two());
        self.align.max(inner)
    }

    /// Where a chunk begins in its page, in bytes.
    pub fn offset(&self, chunk: u32) -> usize {
        // CAST: `u32` to `usize`, which is no smaller on any machine that runs Linux.
        // The offset of a chunk lies in its page, so nothing wraps.
        match self.window {
            0 => (chunk as usize).wrapping_mul(self.stride),
            _ => self.offset_in_window(chunk),
        }
    }

    /// How indices become places.
    pub fn spacing(&self) -> Spacing {
        match self.window {
            0 => Spacing {
                bits: self.layout.chunk_bits(),
                step: self.stride,
            },
            // Some neighbours are further apart than others: each is a run of its own.
            _ => Spacing { bits: 0, step: 0 },
        }
    }

    /// How many runs there are: the length of an array with one element for each.
    pub fn runs(&self) -> u32 {
        self.indices().wrapping_shr(self.spacing().bits)
    }

    /// The runs of a page.
    pub fn runs_of(&self, page: u32) -> Range<u32> {
        let index = page.wrapping_shl(self.layout.chunk_bits());
        let first = self.spacing().run_of(index);
        let count = if self.window == 0 { 1 } else { self.chunks };
        first..first + count
    }

    /// Where a run would begin in its page if that had the index 0: may be less than nothing, and wrap. To be
    /// added to the page's address, and then [`within`](Spacing::within) of the index.
    pub fn origin(&self, run: u32) -> u64 {
        match self.window {
            // A run is a page, of which the first chunk lies at the begin.
            0 => {
                let first = run.wrapping_shl(self.layout.chunk_bits());
                0u64.wrapping_sub(self.spacing().within(first))
            }
            // A run is a chunk.
            // CAST: Widens, or keeps as it is.
            _ => self.offset(self.chunk_of(run)) as u64,
        }
    }

    /// The chunk's number in its page, of an index.
    #[inline]
    pub fn chunk_of(&self, index: u32) -> u32 {
        index & self.layout.chunk_mask()
    }

    /// The page of an index.
    #[inline]
    pub fn page_of(&self, index: u32) -> u32 {
        index.wrapping_shr(self.layout.chunk_bits())
    }

    /// The offset of a chunk where some neighbours are further apart than others, which is rare.
    fn offset_in_window(&self, chunk: u32) -> usize {
        let window = chunk.checked_div(self.window).unwrap_or(0) as usize;
        let rest = chunk.checked_rem(self.window).unwrap_or(chunk) as usize;
        window
            .wrapping_mul(self.boundary)
            .wrapping_add(rest.wrapping_mul(self.stride))
    }
}

/// How the indices of a pool become places in memory.
///
/// They fall into runs, within which neighbours are equally far apart: a page is one, nearly always. So with an
/// array of where the runs begin the hot paths need not take an index apart, nor ask how the pages are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spacing {
    /// Indices that differ in the lowest so many bits alone are in the same run.
    bits: u32,
    step: usize,
}

impl Spacing {
    /// The run of an index.
    #[inline]
    pub fn run_of(self, index: u32) -> u32 {
        index.wrapping_shr(self.bits)
    }

    /// Where a chunk lies in bytes from its run's [`origin`](Geometry::origin).
    #[inline]
    pub fn within(self, index: u32) -> u64 {
        // CAST: Widens, or keeps as it is. At most `MAX_CHUNKS` times `MAX_PAGE_SIZE`.
        u64::from(index).wrapping_mul(self.step as u64)
    }
}

/// How many chunks lie between two boundaries (0: the boundary never matters), and in a page.
fn cut(size: usize, boundary: usize, stride: usize, page_size: usize) -> (u32, usize) {
    let fits = |bytes: usize| match bytes.checked_sub(size) {
        Some(rest) => rest / stride + 1,
        None => 0,
    };
    let aligned = boundary >= page_size || boundary == 0;
    if aligned || stride % boundary == 0 || boundary % stride == 0 {
        return (0, fits(page_size));
    }
    // A stride beyond the boundary would come from an alignment beyond it, of which the boundary is a
    // divisor: that case is gone, so at least one chunk fits between two boundaries.
    let window = fits(boundary);
    let chunks = page_size / boundary * window + fits(page_size % boundary).min(window);
    match u32::try_from(window) {
        Ok(window) => (window, chunks),
        // Not reached: a boundary below `MAX_PAGE_SIZE` has fewer chunks than that.
        Err(_) => (0, 0),
    }
}

/// The smallest page that wastes at most an eighth, or the least wasteful one of those tried.
fn choose_page_size(
    size: usize,
    align: usize,
    boundary: usize,
    stride: usize,
    machine_page: usize,
) -> usize {
    let first = size.max(align).next_power_of_two().max(machine_page);
    let mut best = (usize::MAX, first);
    let mut page = first;
    while page <= first.max(AUTO_PAGE_SIZE) {
        let waste = page - cut(size, boundary, stride, page).1 * size;
        if waste <= page / 8 {
            return page;
        }
        // Compare per 64 KiB and not per page: a page twice the size may waste twice as much.
        let share = waste * (AUTO_PAGE_SIZE / page).max(1);
        if share < best.0 {
            best = (share, page);
        }
        page *= 2;
    }
    best.1
}
