// SPDX-License-Identifier: GPL-2.0

//! What a driver asks of a pool, and of a heap of them.

use super::core::geometry::Request;
use kernel::{
    dma::DataDirection,
    str::CStr, //
};

/// How long free pages over the high mark are kept, unless a driver says otherwise.
const GRACE_MS: u32 = 1000;

/// How long a pool that is dropped waits for buffers that are out, unless a driver says otherwise.
const WAIT_MS: u32 = 1000;

/// How many buffers a class of a heap gives at most, unless a driver says otherwise.
const MAX_BUFFERS: u32 = 4096;

/// Where a pool's memory comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backing {
    /// `dma_alloc_coherent`: the CPU and the device see each other's writes; [`Buffer::sync`] is a
    /// barrier.
    ///
    /// [`Buffer::sync`]: crate::Buffer::sync
    Coherent,
    /// Ordinary pages, mapped for the device in one direction, as a `page_pool` does it. The driver says
    /// with [`Buffer::sync`] whose turn it is; without, either side may see stale bytes. A buffer of
    /// such a pool can go up a stack as a page, see [`Buffer::into_page`].
    ///
    /// [`Buffer::sync`]: crate::Buffer::sync
    /// [`Buffer::into_page`]: crate::Buffer::into_page
    Streaming(DataDirection),
}

/// How a pool grows and shrinks in the background.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tide {
    pub(crate) low: u32,
    pub(crate) high: Option<u32>,
    pub(crate) grace_ms: u32,
    pub(crate) strict: bool,
}

/// The longest name in bytes, as long as that of a C `dma_pool`.
const MAX_NAME: usize = 31;

/// What a driver asks of a [`Pool`](crate::Pool): a name, the chunk size, and what differs from the
/// usual. It is checked when the pool is made.
///
/// # Examples
///
/// ```
/// use mbpool::Config;
///
/// let config = Config::new(c"rx0-large", 2048)
///     .align(64)
///     .boundary(4096)
///     .page_size(16384)
///     .max_pages(512)
///     .initial_pages(16)
///     .user_bits(2, 7);
/// # let _ = config;
/// ```
#[derive(Clone, Copy)]
pub struct Config<'a> {
    pub(crate) name: &'a CStr,
    pub(crate) request: Request,
    pub(crate) backing: Backing,
    pub(crate) tide: Tide,
    pub(crate) lending: bool,
    pub(crate) wait_ms: u32,
}

impl<'a> Config<'a> {
    /// A pool called `name` of chunks of `size` bytes.
    ///
    /// The name is the pool's directory in sysfs: 1 to 31 printable characters without space and `/`,
    /// unique on the device. Chunks are aligned to 8 bytes, cross what boundary they like, lie in pages
    /// of a size that the pool chooses, of which there are none at first and at most 1024; all bits
    /// of a handle that the geometry leaves, up to 21, are generation.
    pub const fn new(name: &'a CStr, size: usize) -> Self {
        Self {
            name,
            request: Request {
                size,
                align: 8,
                boundary: 0,
                page_size: 0,
                max_pages: 1024,
                initial_pages: 0,
                high_bits: 0,
                low_bits: 0,
            },
            backing: Backing::Coherent,
            tide: Tide {
                low: 0,
                high: None,
                grace_ms: GRACE_MS,
                strict: false,
            },
            lending: false,
            wait_ms: WAIT_MS,
        }
    }

    /// Each chunk's DMA address is a multiple of `align` bytes, a power of two.
    pub const fn align(mut self, align: usize) -> Self {
        self.request.align = align;
        self
    }

    /// No chunk crosses a DMA address that is a multiple of `boundary` bytes, a power of two not
    /// smaller than the chunk; 0: no such limit.
    pub const fn boundary(mut self, boundary: usize) -> Self {
        self.request.boundary = boundary;
        self
    }

    /// The pool takes memory in pages of `page_size` bytes, up to 4 MiB, rounded up to a multiple of
    /// the machine's page; 0: the smallest page that wastes little.
    pub const fn page_size(mut self, page_size: usize) -> Self {
        self.request.page_size = page_size;
        self
    }

    /// The pool grows to at most `max_pages` pages, 1 to 16383. Each chunk that it could have costs 6
    /// bytes from the start, and each page about 70.
    pub const fn max_pages(mut self, max_pages: u32) -> Self {
        self.request.max_pages = max_pages;
        self
    }

    /// Allocates `initial_pages` pages when the pool is made.
    pub const fn initial_pages(mut self, initial_pages: u32) -> Self {
        self.request.initial_pages = initial_pages;
        self
    }

    /// Leaves the topmost `high` and the lowest `low` bits of a handle to the caller. The pool
    /// ignores what they hold. See [`Pool::with_user_bits`](crate::Pool::with_user_bits).
    pub const fn user_bits(mut self, high: u32, low: u32) -> Self {
        self.request.high_bits = high;
        self.request.low_bits = low;
        self
    }

    /// Where the memory comes from; coherent if nothing is said.
    pub const fn backing(mut self, backing: Backing) -> Self {
        self.backing = backing;
        self
    }

    /// Grow in the background, with `GFP_KERNEL`, when fewer than `low` chunks are free, so that those
    /// who may not sleep find buffers ready; 0: never.
    pub const fn low_water(mut self, low: u32) -> Self {
        self.tide.low = low;
        self
    }

    /// Give pages that are all free back in the background when more than `high` chunks are free, after
    /// they were for `grace_ms` milliseconds, and keep `high` free. Without this, pages go back only
    /// under memory pressure.
    pub const fn high_water(mut self, high: u32, grace_ms: u32) -> Self {
        self.tide.high = Some(high);
        self.tide.grace_ms = grace_ms;
        self
    }

    /// Allocate all pages when the pool is made, and neither ask for memory nor give any back later.
    pub const fn strict(mut self) -> Self {
        self.tide.strict = true;
        self.request.initial_pages = self.request.max_pages;
        self
    }

    /// Buffers of the pool will be lent as pages, see [`Buffer::into_page`](crate::Buffer::into_page).
    /// The backing must be [`Backing::Streaming`] and a page must hold one chunk. Costs 8 bytes a chunk.
    pub const fn lending(mut self) -> Self {
        self.lending = true;
        self
    }

    /// When the pool is dropped, it waits up to `wait_ms` milliseconds, a second if nothing is said, for
    /// buffers that others have to come home, before it reports and leaks them.
    pub const fn wait_ms(mut self, wait_ms: u32) -> Self {
        self.wait_ms = wait_ms;
        self
    }

    /// What is wrong with the name or the marks, if anything.
    pub(crate) fn refusal(&self) -> Option<&'static str> {
        let Tide {
            low, high, strict, ..
        } = self.tide;
        if strict && (low != 0 || high.is_some()) {
            return Some("strict: a pool that neither grows nor shrinks has no water marks");
        }
        if strict && self.request.initial_pages != self.request.max_pages {
            return Some("strict: comes after max_pages and initial_pages");
        }
        if high.is_some_and(|high| high < low) {
            return Some("high_water: is below the low one");
        }
        if self.backing == Backing::Streaming(DataDirection::None) {
            return Some("backing: a streaming pool has a direction");
        }
        if self.lending && self.backing == Backing::Coherent {
            return Some("lending: only a streaming pool can lend pages");
        }
        match self.name.to_bytes() {
            [] => Some("name: is empty"),
            long if long.len() > MAX_NAME => Some("name: is longer than 31 bytes"),
            b"." | b".." | b"pools" => Some("name: is taken by another file"),
            name if !name.iter().all(|c| c.is_ascii_graphic() && *c != b'/') => {
                Some("name: has a character that a file name or a table cannot take")
            }
            _ => None,
        }
    }
}

/// What a driver asks of a [`Heap`](crate::Heap): a name, and how much each of its classes may give.
///
/// # Examples
///
/// ```
/// use mbpool::HeapConfig;
///
/// let config = HeapConfig::new(c"commands").max_buffers(512);
/// # let _ = config;
/// ```
#[derive(Clone, Copy)]
pub struct HeapConfig<'a> {
    pub(crate) name: &'a CStr,
    pub(crate) max_buffers: u32,
}

impl<'a> HeapConfig<'a> {
    /// A heap called `name`, of whose classes each gives at most 4096 buffers at a time.
    ///
    /// The name is the heap's directory in sysfs, and the pool of the class of 192 bytes is called
    /// `<name>-192`: up to 25 printable characters without space and `/`, unique on the device.
    pub const fn new(name: &'a CStr) -> Self {
        Self {
            name,
            max_buffers: MAX_BUFFERS,
        }
    }

    /// Each class gives at most `max_buffers` buffers at a time, 1 to 16383, or what makes its last page
    /// full. Each buffer that it could give costs 6 bytes from the moment that the class is made, and
    /// each page 60.
    pub const fn max_buffers(mut self, max_buffers: u32) -> Self {
        self.max_buffers = max_buffers;
        self
    }
}
