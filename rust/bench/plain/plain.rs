// SPDX-License-Identifier: GPL-2.0

//! Buffers as a driver has them without a pool, behind the part of mbpool's interface that the sample driver
//! uses. The driver's own source is compiled against this crate in place of that one, so what differs between the
//! two modules is where buffers come from, and nothing else.
//!
//! - Buffers that stay in the driver are one array of coherent memory. A handle is an index in it.
//! - Buffers that go up the stack are a page each: coherent memory may not go there. A page is allocated and
//!   mapped when it goes on the card, and unmapped when it leaves; or it is a page_pool's ([`pages`]). A handle is
//!   its place in a table.
//!
//! The card is trusted: of a handle it is checked that there is such a place, since without that the module
//! would read past its table, and nothing else. Not to be copied.

#![expect(
    missing_docs,
    reason = "what things mean is said where they are from, in mbpool"
)]

mod array;
#[path = "../../mbpool/core/fill.rs"]
mod fill;
mod pages;

use array::Array;
use core::{
    marker::PhantomData,
    mem,
    ops::{
        Deref,
        DerefMut, //
    },
    ptr::NonNull, //
};
use kernel::{
    alloc::Flags,
    device::{
        Bound,
        Device, //
    },
    dma::{
        DataDirection,
        DmaAddress, //
    },
    prelude::*, //
};
use pages::Pages;

pub use fill::FillLevel;
pub use pages::PageRef;

/// What a buffer is known by to the card: the caller's bits, and below them a place.
#[derive(Clone, Copy)]
pub struct Handle(u32);

impl Handle {
    #[inline]
    pub fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    #[inline]
    pub fn into_raw(self) -> u32 {
        self.0
    }
}

/// There is no such place.
pub struct HandleError;

impl From<HandleError> for Error {
    fn from(_: HandleError) -> Self {
        ERANGE
    }
}

/// What the card is given.
pub struct Posted {
    pub handle: Handle,
    pub dma: DmaAddress,
}

/// How memory is had; only named.
pub enum Backing {
    Streaming(DataDirection),
}

/// How many buffers of what size there are, and whether they go up the stack.
pub struct Config<'a> {
    size: usize,
    page_size: usize,
    pages: u32,
    high_bits: u32,
    lending: bool,
    _name: PhantomData<&'a CStr>,
}

impl<'a> Config<'a> {
    pub fn new(_name: &'a CStr, size: usize) -> Self {
        Self {
            size,
            page_size: size,
            pages: 1,
            high_bits: 0,
            lending: false,
            _name: PhantomData,
        }
    }

    pub fn page_size(self, page_size: usize) -> Self {
        Self { page_size, ..self }
    }

    pub fn max_pages(self, pages: u32) -> Self {
        Self { pages, ..self }
    }

    pub fn user_bits(self, high_bits: u32, _low: u32) -> Self {
        Self { high_bits, ..self }
    }

    pub fn lending(self) -> Self {
        Self {
            lending: true,
            ..self
        }
    }

    // There is nothing to be chosen.

    pub fn align(self, _align: usize) -> Self {
        self
    }

    pub fn initial_pages(self, _pages: u32) -> Self {
        self
    }

    pub fn low_water(self, _low: u32) -> Self {
        self
    }

    pub fn strict(self) -> Self {
        self
    }

    pub fn backing(self, _backing: Backing) -> Self {
        self
    }
}

/// Where buffers are, by place.
enum Memory<'bound> {
    Array(Array),
    Pages(Pages<'bound>),
}

/// All buffers of one kind.
pub struct Pool<'bound> {
    memory: Memory<'bound>,
    size: usize,
    places: u32,
    high_bits: u32,
}

impl<'bound> Pool<'bound> {
    pub fn new(dev: &'bound Device<Bound>, config: Config<'_>, _gfp: Flags) -> Result<Self> {
        let Config {
            size, page_size, ..
        } = config;
        // CAST: `u32` to `usize`, which is no smaller on any machine that runs Linux.
        let places = u32::try_from(config.pages as usize * (page_size / size))?;
        let memory = if config.lending {
            Memory::Pages(Pages::new(dev, places)?)
        } else {
            Memory::Array(Array::new(dev, size, places)?)
        };
        Ok(Self {
            memory,
            size,
            places,
            high_bits: config.high_bits,
        })
    }

    pub fn cache(&self) -> Result<Cache> {
        Ok(Cache(()))
    }

    pub fn alarm_for<T: Notify>(&self, _target: T) -> Result<Alarm<T>> {
        Ok(Alarm(PhantomData))
    }

    #[inline]
    pub fn alloc(&self, _gfp: Flags) -> Result<Buffer<'_>> {
        let place = match &self.memory {
            Memory::Array(array) => array.pop(),
            Memory::Pages(pages) => pages.fill(),
        };
        place
            .map(|place| Buffer { pool: self, place })
            .ok_or(ENOMEM)
    }

    #[inline]
    pub fn take(&self, handle: Handle) -> Result<Buffer<'_>, HandleError> {
        let place = handle.0 & u32::MAX.wrapping_shr(self.high_bits);
        if place < self.places {
            Ok(Buffer { pool: self, place })
        } else {
            Err(HandleError)
        }
    }

    /// Takes back all that the card had, which was reset.
    pub fn reclaim_card(&self) {
        match &self.memory {
            Memory::Array(array) => array.reset(),
            Memory::Pages(pages) => pages.reset(),
        }
    }

    #[inline]
    pub fn with_user_bits(&self, handle: Handle, high: u32, _low: u32) -> Result<Handle> {
        Ok(Handle(handle.0 | high.wrapping_shl(self.place_bits())))
    }

    #[inline]
    pub fn user_bits(&self, handle: Handle) -> (u32, u32) {
        (handle.0.wrapping_shr(self.place_bits()), 0)
    }

    /// The bits below the caller's; asked by who has kept some.
    #[inline]
    fn place_bits(&self) -> u32 {
        u32::BITS.wrapping_sub(self.high_bits)
    }

    #[inline]
    fn locate(&self, place: u32) -> (NonNull<u8>, DmaAddress) {
        match &self.memory {
            Memory::Array(array) => array.locate(place),
            Memory::Pages(pages) => pages.locate(place),
        }
    }
}

/// A queue's own buffers: there are none but the pool's.
pub struct Cache(());

impl Cache {
    #[inline]
    pub fn on<'cache, 'pool>(
        &'cache mut self,
        pool: &'pool Pool<'_>,
    ) -> Result<Lane<'cache, 'pool>> {
        Ok(Lane(pool, PhantomData))
    }
}

/// A pool that a queue has to itself.
pub struct Lane<'cache, 'pool>(&'pool Pool<'pool>, PhantomData<&'cache mut Cache>);

impl<'pool> Lane<'_, 'pool> {
    #[inline]
    pub fn alloc(&mut self, gfp: Flags) -> Result<Buffer<'pool>> {
        self.0.alloc(gfp)
    }

    #[inline]
    pub fn post(&mut self, gfp: Flags) -> Result<Posted> {
        Ok(self.0.alloc(gfp)?.post())
    }

    #[inline]
    pub fn post_buffer(&mut self, buffer: Buffer<'pool>) -> Posted {
        buffer.post()
    }

    #[inline]
    pub fn take(&mut self, handle: Handle) -> Result<Buffer<'pool>, HandleError> {
        self.0.take(handle)
    }

    pub fn reclaim_card(&mut self) {
        self.0.reclaim_card();
    }

    pub fn flush(&mut self) {}
}

/// A buffer that the driver has.
///
/// # Invariants
///
/// `place` is one of the pool's that nobody else has, and there is memory at it. That a handle of the card's is of
/// such a one is believed.
pub struct Buffer<'pool> {
    pool: &'pool Pool<'pool>,
    place: u32,
}

impl<'pool> Buffer<'pool> {
    #[inline]
    fn into_parts(self) -> (&'pool Pool<'pool>, u32) {
        let parts = (self.pool, self.place);
        mem::forget(self);
        parts
    }

    #[inline]
    pub fn post(self) -> Posted {
        let (pool, place) = self.into_parts();
        Posted {
            handle: Handle(place),
            dma: pool.locate(place).1,
        }
    }

    #[inline]
    pub fn sync(&self, offset: usize, len: usize, direction: DataDirection) -> Result {
        if offset
            .checked_add(len)
            .is_none_or(|end| end > self.pool.size)
        {
            return Err(EINVAL);
        }
        match &self.pool.memory {
            Memory::Array(_) => array::barrier(direction),
            Memory::Pages(pages) => pages.sync(self.place, offset, len, direction),
        }
        Ok(())
    }

    #[inline]
    pub fn into_page(self) -> Result<PageRef, Self> {
        match &self.pool.memory {
            Memory::Array(_) => Err(self),
            Memory::Pages(pages) => {
                let (pool, place) = self.into_parts();
                Ok(pages.leave(place, pool.size))
            }
        }
    }
}

impl Deref for Buffer<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let (data, _) = self.pool.locate(self.place);
        // SAFETY: By the type invariant there are so many bytes, and nobody else has them.
        unsafe { core::slice::from_raw_parts(data.as_ptr(), self.pool.size) }
    }
}

impl DerefMut for Buffer<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let (data, _) = self.pool.locate(self.place);
        // SAFETY: By the type invariant there are so many bytes, and nobody else has them.
        unsafe { core::slice::from_raw_parts_mut(data.as_ptr(), self.pool.size) }
    }
}

impl Drop for Buffer<'_> {
    #[inline]
    fn drop(&mut self) {
        match &self.pool.memory {
            Memory::Array(array) => array.push(self.place),
            Memory::Pages(pages) => pages.free(self.place),
        }
    }
}

/// What would be told that a buffer came back. None does: one that went up the stack is gone.
pub trait Notify: Send + Sync {
    fn available(&self);
}

/// An alarm that never rings.
pub struct Alarm<T>(PhantomData<T>);

impl<T> Alarm<T> {
    pub fn arm(&self, _threshold: u32) -> bool {
        true
    }

    pub fn disarm(&self) {}
}
