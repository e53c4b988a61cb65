// SPDX-License-Identifier: GPL-2.0

//! Arithmetic and policy of a pool: the ground floor.
//!
//! What stands here neither allocates DMA memory nor calls C nor needs `unsafe`; all that it uses of
//! the kernel comes through [`facade`](super::facade). So the same files compile on the host, where
//! they get unit and property tests (`rust/host`).
//!
//! - [`classes`]: the sizes of chunks that a heap has.
//! - [`geometry`]: size, align, boundary, page size -> where the chunks of a page lie.
//! - [`fill`]: how many buffers a receive ring should hold.
//! - [`handle`]: a chunk's number, its generation and the caller's bits in 32 bits.
//! - [`quota`]: what a client of a shared pool asks for; [`account`]: what it has; [`ledger`]: who of all
//!   of them may take a chunk.
//! - [`slots`]: one state word for each chunk: free, used, lent, on card; [`own`]: what is on the
//!   card for one owner.
//! - [`lent`]: which chunks went up a stack as pages.
//! - [`marks`]: at which numbers of free chunks something is to be done.
//! - [`depot`]: which chunks are free, page by page; [`pageset`]: which pages have any;
//!   [`magazine`]: those that are at hand.

pub mod account;
pub mod classes;
pub mod depot;
pub mod fill;
pub mod geometry;
pub mod handle;
pub mod ledger;
pub mod lent;
pub mod magazine;
pub mod marks;
pub mod own;
pub mod pageset;
pub mod quota;
pub mod slots;
