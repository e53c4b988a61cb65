// SPDX-License-Identifier: GPL-2.0

//! Pages that go up the stack, in a table from when they go on the card until they leave.
//!
//! The C side is in pages.c: pages come from the page allocator and are mapped one by one, or, with the module's
//! parameter `page_pool`, from a page_pool.

use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr::{
        self,
        NonNull, //
    },
    sync::atomic::{
        AtomicPtr,
        AtomicU32,
        AtomicU64,
        Ordering::Relaxed, //
    }, //
};
use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    dma::{
        DataDirection,
        DmaAddress, //
    },
    error::from_err_ptr,
    prelude::*, //
};

extern "C" {
    fn mbnic_plain_source(dev: *mut c_void, pages: c_uint) -> *mut c_void;
    fn mbnic_plain_source_end(source: *mut c_void);
    fn mbnic_plain_page(source: *mut c_void, dma: *mut DmaAddress) -> *mut c_void;
    fn mbnic_plain_page_data(page: *mut c_void) -> *mut u8;
    fn mbnic_plain_page_sync(source: *mut c_void, dma: DmaAddress, len: c_ulong, to_device: bool);
    fn mbnic_plain_page_leave(source: *mut c_void, dma: DmaAddress);
    fn mbnic_plain_page_free(source: *mut c_void, page: *mut c_void, dma: DmaAddress);
    fn mbnic_plain_page_put(page: *mut c_void);
}

/// A place in the table. Its queue alone writes to it; words that several threads may look at, since the stack
/// moves a queue from one to another.
#[derive(Default)]
struct Place {
    /// Null: there is none.
    page: AtomicPtr<c_void>,
    data: AtomicPtr<u8>,
    dma: AtomicU64,
}

/// # Invariants
///
/// `source` is what `mbnic_plain_source()` gave for a device that is bound for `'bound`. `places` is not empty. What a
/// place says of a page is so, and the page is ours.
pub(crate) struct Pages<'bound> {
    source: *mut c_void,
    places: KVec<Place>,
    /// Where to look for a free place.
    next: AtomicU32,
    _bound: PhantomData<&'bound Device<Bound>>,
}

// SAFETY: The source is used by who has the queue, whatever thread that is.
unsafe impl Send for Pages<'_> {}
// SAFETY: As above; all others look at numbers.
unsafe impl Sync for Pages<'_> {}

impl<'bound> Pages<'bound> {
    pub(crate) fn new(dev: &'bound Device<Bound>, count: u32) -> Result<Self> {
        let mut places = KVec::new();
        for _ in 0..count.max(1) {
            places.push(Place::default(), GFP_KERNEL)?;
        }
        let dev = ptr::from_ref(dev).cast_mut().cast();
        // SAFETY: The device is valid. Dropping ends the use of what is answered.
        let source = from_err_ptr(unsafe { mbnic_plain_source(dev, count) })?;
        // INVARIANT: All places are empty.
        Ok(Self {
            source,
            places,
            next: AtomicU32::new(0),
            _bound: PhantomData,
        })
    }

    #[inline]
    fn place(&self, place: u32) -> &Place {
        // SAFETY: Places come from `fill`, or were compared with their number when the card gave them.
        // CAST: `u32` to `usize`, which is no smaller on any machine that runs Linux.
        unsafe { self.places.get_unchecked(place as usize) }
    }

    /// Puts a new page into the next place that is empty: as a rule the very next, since pages come back in
    /// the order in which they went on the card.
    #[inline]
    pub(crate) fn fill(&self) -> Option<u32> {
        for _ in 0..self.places.len() {
            let at = self.next.load(Relaxed);
            let next = at.wrapping_add(1);
            // CAST: At most what was a `u32` when the table was made.
            let is_last = next == self.places.len() as u32;
            self.next.store(if is_last { 0 } else { next }, Relaxed);
            let place = self.place(at);
            if !place.page.load(Relaxed).is_null() {
                continue;
            }
            let mut dma = 0;
            // SAFETY: The source is valid by the type invariant.
            let page = unsafe { mbnic_plain_page(self.source, &mut dma) };
            if page.is_null() {
                return None;
            }
            // INVARIANT: The page was given to us, mapped there.
            place.page.store(page, Relaxed);
            place.dma.store(dma, Relaxed);
            // SAFETY: The page is valid.
            let data = unsafe { mbnic_plain_page_data(page) };
            place.data.store(data, Relaxed);
            return Some(at);
        }
        None
    }

    /// Where a page is, for the CPU and for the device.
    #[inline]
    pub(crate) fn locate(&self, place: u32) -> (NonNull<u8>, DmaAddress) {
        let place = self.place(place);
        // SAFETY: There is a page in a place that a buffer is of.
        let data = unsafe { NonNull::new_unchecked(place.data.load(Relaxed)) };
        (data, place.dma.load(Relaxed))
    }

    #[inline]
    pub(crate) fn sync(&self, place: u32, offset: usize, len: usize, direction: DataDirection) {
        // CAST: An offset in a page.
        let dma = self
            .place(place)
            .dma
            .load(Relaxed)
            .wrapping_add(offset as DmaAddress);
        let to_device = matches!(direction, DataDirection::ToDevice);
        // SAFETY: By the type invariant the page is mapped there, and the caller has looked at the range.
        unsafe { mbnic_plain_page_sync(self.source, dma, len, to_device) };
    }

    /// The page leaves for the stack, which has our reference from now on.
    #[inline]
    pub(crate) fn leave(&self, place: u32, len: usize) -> PageRef {
        let place = self.place(place);
        // SAFETY: There is a page in a place that a buffer is of.
        let page = unsafe { NonNull::new_unchecked(place.page.load(Relaxed)) };
        // SAFETY: By the type invariant the page is mapped there.
        unsafe { mbnic_plain_page_leave(self.source, place.dma.load(Relaxed)) };
        // INVARIANT: The place is empty.
        place.page.store(ptr::null_mut(), Relaxed);
        PageRef {
            page: page.cast(),
            len,
        }
    }

    /// Frees a page, if there is one.
    pub(crate) fn free(&self, place: u32) {
        let place = self.place(place);
        // INVARIANT: The place is empty.
        let page = place.page.swap(ptr::null_mut(), Relaxed);
        if !page.is_null() {
            // SAFETY: By the type invariant the page is ours, and mapped there.
            unsafe { mbnic_plain_page_free(self.source, page, place.dma.load(Relaxed)) };
        }
    }

    /// Frees all pages.
    pub(crate) fn reset(&self) {
        // CAST: As in `fill`.
        for place in 0..self.places.len() as u32 {
            self.free(place);
        }
    }
}

impl Drop for Pages<'_> {
    fn drop(&mut self) {
        self.reset();
        // SAFETY: The source is valid by the type invariant, and not used again.
        unsafe { mbnic_plain_source_end(self.source) };
    }
}

/// A page on its way up the stack.
///
/// # Invariants
///
/// We have a reference to the page.
pub struct PageRef {
    page: NonNull<bindings::page>,
    len: usize,
}

impl PageRef {
    /// Bytes of it that are the buffer.
    #[expect(clippy::len_without_is_empty, reason = "a buffer is never empty")]
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The page with the reference.
    #[inline]
    pub fn into_raw(self) -> NonNull<bindings::page> {
        ManuallyDrop::new(self).page
    }
}

impl Drop for PageRef {
    fn drop(&mut self) {
        // SAFETY: The reference is ours by the type invariant.
        unsafe { mbnic_plain_page_put(self.page.as_ptr().cast()) };
    }
}
