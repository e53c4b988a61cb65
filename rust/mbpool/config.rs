// SPDX-License-Identifier: GPL-2.0

//! What a driver asks of a pool.

use super::core::geometry::Request;
use kernel::str::CStr;

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
}

impl<'a> Config<'a> {
    /// A pool called `name` of chunks of `size` bytes.
    ///
    /// The name is the pool's directory in sysfs: 1 to 31 printable characters without space and `/`,
    /// unique on the device. Chunks are aligned to 8 bytes, cross what boundary they like, lie in pages
    /// of a size that the pool chooses, of which there are none at first and at most 1024; all bits
    /// of a handle that the geometry leaves are generation.
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
    /// bytes from the start, and each page 48.
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

    /// What is wrong with the name, if anything.
    pub(crate) fn name_refusal(&self) -> Option<&'static str> {
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
