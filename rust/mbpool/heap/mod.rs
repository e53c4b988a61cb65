// SPDX-License-Identifier: GPL-2.0

//! The heap: DMA memory of any size, as `kmalloc()` gives ordinary memory.
//!
//! A class of sizes is a pool, which is made when it is needed first; which classes there are is said in
//! [`classes`](crate::core::classes). What needs a page or more gets pages of its own from
//! `dma_alloc_coherent`.
//!
//! # Locks
//!
//! `making` is a mutex, held while a class is made, which takes those of [`sysfs`](crate::sysfs). Of
//! [`later`] there are a mutex, held while pages are given back, and under it an IRQ-safe lock for a few
//! instructions, under which nothing is taken. Neither mutex is taken under the other.

mod counters;
mod later;
mod memory;

pub(crate) use self::counters::Counters;
pub use self::memory::{
    DmaBox,
    DmaSlice, //
};

use self::later::{
    Large,
    Later, //
};
use super::{
    config::{
        Config,
        HeapConfig, //
    },
    core::{
        classes::{
            Classes,
            Misfit,
            Place, //
        },
        geometry::Geometry, //
    },
    dma::{
        self,
        Page, //
    },
    gfp::Kind,
    pool::{
        self,
        Pool, //
    },
    sysfs, //
};
use kernel::{
    alloc::Flags,
    device::{
        Bound,
        Device, //
    },
    page::{
        page_align,
        PAGE_SIZE, //
    },
    prelude::*,
    str::{
        CStr,
        CString, //
    },
    sync::{
        atomic::Relaxed,
        new_mutex,
        Arc,
        Mutex,
        SetOnce, //
    },
    transmute::{
        AsBytes,
        FromBytes, //
    }, //
};

/// How many classes there are.
const CLASSES: usize = Classes::count(PAGE_SIZE);

/// DMA memory of any size for one device.
///
/// All methods take `&self` and may be called from several CPUs at once, in any context but NMI, where
/// nothing else is said. None but [`Heap::new`], [`Heap::prepare`] and dropping the heap sleeps unless
/// its `gfp` flags allow it. Buffers are dropped in any context but NMI.
///
/// # Examples
///
/// ```
/// use kernel::{
///     device::{Bound, Device},
///     prelude::*,
/// };
/// use mbpool::{Heap, HeapConfig};
///
/// fn command(dev: &Device<Bound>, give: impl Fn(u64)) -> Result {
///     let heap = Heap::new(dev, HeapConfig::new(c"heap"))?;
///     // 100 bytes, of a chunk of 112.
///     let mut bytes = heap.alloc(100, GFP_KERNEL)?;
///     bytes.fill(0xff);
///     give(bytes.dma_address());
///     // A value in DMA memory.
///     let words = heap.boxed_init([0u32; 8], GFP_KERNEL)?;
///     give(words.dma_address());
///     Ok(())
/// }
/// ```
pub struct Heap<'bound> {
    inner: Pin<KBox<Inner<'bound>>>,
    entry: Option<sysfs::Entry>,
}

/// What a heap consists of.
#[pin_data]
struct Inner<'bound> {
    dev: &'bound Device<Bound>,
    /// The device that does the DMA: `dev` or an ancestor.
    master: &'bound Device<Bound>,
    name: CString,
    max_buffers: u32,
    classes: Classes,
    /// The pools of the classes that there are.
    pools: [SetOnce<Pool<'bound>>; CLASSES],
    /// Held by who makes a class.
    #[pin]
    making: Mutex<()>,
    #[pin]
    later: Later,
}

impl<'bound> Heap<'bound> {
    /// Makes a heap for `dev`, without any class. Process context; may sleep.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: a parameter makes no sense. A line in the kernel log says which one and why;
    ///   nothing was allocated.
    /// - `ENODEV`: the device does no DMA; a line in the kernel log says so.
    /// - `EEXIST`: the device has a heap or a pool of that name.
    /// - `ENOMEM`.
    pub fn new(dev: &'bound Device<Bound>, config: HeapConfig<'_>) -> Result<Self> {
        // The name is good for a directory, as that of a pool is.
        let (master, _) = pool::check(dev, &Config::new(config.name, 1))?;
        let counters = Arc::new(Counters::new(), GFP_KERNEL)?;
        let later = Later::new(counters.clone());
        let init = try_pin_init!(Inner {
            dev,
            master,
            name: CString::try_from(config.name)?,
            max_buffers: config.max_buffers,
            classes: Classes::new(dma::cache_alignment(), PAGE_SIZE),
            pools: [const { SetOnce::new() }; CLASSES],
            making <- new_mutex!((), "mbpool::making"),
            later <- later,
        }? Error);
        let mut heap = Self {
            inner: KBox::pin_init(init, GFP_KERNEL)?,
            entry: None,
        };
        // What is wrong with one of the classes is to be said now, and not when it is needed.
        for class in 0..CLASSES {
            let name = heap.inner.class_name(class)?;
            pool::check(dev, &heap.inner.class_config(class, &name))?;
        }
        heap.entry = Some(sysfs::publish_heap(dev, config.name, counters)?);
        Ok(heap)
    }

    /// The heap's name.
    pub fn name(&self) -> &CStr {
        &self.inner.name
    }

    /// Makes the class that buffers of `size` bytes come from, if it is not there yet. Process context;
    /// may sleep.
    ///
    /// For who will allocate where that cannot be done, see [`Heap::alloc`].
    ///
    /// # Errors
    ///
    /// - `EINVAL`, `E2BIG`: nothing has that size, as for [`Heap::alloc`].
    /// - `EEXIST`: the driver has a pool of the name that the class's should have.
    /// - `ENOMEM`.
    pub fn prepare(&self, size: usize) -> Result {
        if let Place::Class(class) = self.inner.place(size)? {
            self.inner.make(class)?;
        }
        Ok(())
    }

    /// Allocates `size` bytes.
    ///
    /// Their DMA address, and the CPU's up to a page, is a multiple of the largest power of two that
    /// divides `size`: one that is a power of two is aligned to itself. Their cache lines are nobody
    /// else's where that matters, see `dma_get_cache_alignment()`. The content is whatever it was,
    /// unless `gfp` has `__GFP_ZERO`.
    ///
    /// The flags go down to the page allocation. If the size's class is not there yet, it is made, if
    /// `gfp` has all of `GFP_KERNEL`; that sleeps. For anybody else it will be made in the background,
    /// and the buffer gets pages of its own meanwhile. When there is no memory, and the caller may
    /// sleep, pages that no class needs and those of buffers dropped before are given back first.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: `size` is zero.
    /// - `E2BIG`: `size` is more than 4 MiB.
    /// - `ENOMEM`: there is no memory, or the class has as many buffers out as it may give.
    /// - `EEXIST`: the driver has a pool of the name that the class's should have.
    pub fn alloc(&self, size: usize, gfp: Flags) -> Result<DmaSlice<'_>> {
        let result = self.inner.alloc(size, gfp);
        if result.is_err() {
            self.inner.later.counters.failures.add(1, Relaxed);
        }
        result
    }

    /// Allocates a `T`, which is whatever the bytes are that were there, or zeroes if `gfp` has
    /// `__GFP_ZERO`. Flags and errors are those of [`Heap::alloc`].
    pub fn boxed<T: AsBytes + FromBytes>(&self, gfp: Flags) -> Result<DmaBox<'_, T>> {
        DmaBox::new(self, gfp)
    }

    /// Allocates a `T` and initialises it where it is: with a value, or with what `pin_init` makes.
    /// Flags are those of [`Heap::alloc`]; errors, too, and that of `init`.
    pub fn boxed_init<T: AsBytes + FromBytes, E>(
        &self,
        init: impl Init<T, E>,
        gfp: Flags,
    ) -> Result<DmaBox<'_, T>>
    where
        Error: From<E>,
    {
        DmaBox::init(self, init, gfp)
    }
}

impl<'bound> Inner<'bound> {
    /// Where buffers of that size come from.
    #[inline]
    fn place(&self, size: usize) -> Result<Place> {
        self.classes.place(size).map_err(|misfit| match misfit {
            Misfit::Zero => EINVAL,
            Misfit::TooLarge => E2BIG,
        })
    }

    fn alloc(&self, size: usize, gfp: Flags) -> Result<DmaSlice<'_>> {
        let Place::Class(class) = self.place(size)? else {
            return self.alloc_pages(size, gfp);
        };
        let pool = match self.pools.get(class).and_then(SetOnce::as_ref) {
            Some(pool) => pool,
            None if gfp.contains(GFP_KERNEL) => self.make(class)?,
            // Not even who may sleep but do no I/O waits for one who does.
            None => {
                self.later.want(class);
                let buffer = self.alloc_pages(size, gfp)?;
                self.later.counters.detours.add(1, Relaxed);
                return Ok(buffer);
            }
        };
        let mut room = true;
        let buffer = loop {
            match pool.alloc(gfp) {
                // Once more whatever there was: another may have given back since. And as long as there was
                // something, which may be too little for the kernel, or by now somebody's who is then further.
                Err(_) if room && Self::may_sleep(gfp) && !pool.is_at_limit() => {
                    room = self.make_room();
                }
                result => break result?,
            }
        };
        Ok(DmaSlice::of_chunk(&self.later, buffer, class, size))
    }

    /// Allocates pages for one buffer.
    fn alloc_pages(&self, size: usize, gfp: Flags) -> Result<DmaSlice<'_>> {
        if Self::may_sleep(gfp) {
            // Or who allocates and drops in a loop would have memory pile up.
            // SAFETY: The device is bound, as `'bound` says.
            unsafe { self.later.drain() };
        }
        // The flag means nothing to the DMA layer, and must not reach the one for small things.
        let room = KBox::new_uninit(gfp & !__GFP_HIGHMEM)?;
        let given = page_align(size).ok_or(E2BIG)?;
        let page = match Page::coherent(self.master, given, gfp) {
            Err(_) if Self::may_sleep(gfp) && self.make_room() => {
                Page::coherent(self.master, given, gfp)
            }
            result => result,
        }?;
        let large = KBox::write(room, Large::new(page, given));
        Ok(DmaSlice::of_pages(&self.later, large, size))
    }

    fn may_sleep(gfp: Flags) -> bool {
        Kind::of(gfp) == Kind::Sleep
    }

    /// Gives back what the heap has and does not need, and waits for others who do: when a caller found no
    /// memory. Answers whether there was anything. Process context; may sleep.
    #[cold]
    fn make_room(&self) -> bool {
        // SAFETY: The device is bound, as `'bound` says.
        let freed = unsafe { self.later.drain() };
        let pools = self.pools.iter().filter_map(SetOnce::as_ref);
        let trimmed: usize = pools.map(Pool::trim).sum();
        freed + trimmed != 0
    }

    /// The name of the pool of a class.
    fn class_name(&self, class: usize) -> Result<CString> {
        let size = Classes::size(class);
        CString::try_from_fmt(fmt!("{}-{size}", &*self.name))
    }

    /// What is asked of the pool of a class.
    fn class_config<'a>(&self, class: usize, name: &'a CStr) -> Config<'a> {
        let config = Config::new(name, Classes::size(class)).align(Classes::align(class));
        // How many chunks a page has does not depend on how many pages there are.
        let one = Geometry::new(&config.max_pages(1).request, PAGE_SIZE);
        let chunks = one.map_or(1, |geometry| geometry.chunks().max(1));
        config.max_pages(self.max_buffers.div_ceil(chunks))
    }

    /// Makes the pool of a class, unless it is there. Process context; may sleep.
    #[cold]
    fn make(&self, class: usize) -> Result<&Pool<'bound>> {
        let place = self.pools.get(class).ok_or(EINVAL)?;
        let making = self.making.lock();
        if place.as_ref().is_none() {
            let name = self.class_name(class)?;
            let pool = Pool::new(self.dev, self.class_config(class, &name), GFP_KERNEL)?;
            // Nobody else was faster: they need the mutex.
            if place.populate(pool) {
                self.later.counters.made.add(1, Relaxed);
            }
        }
        drop(making);
        place.as_ref().ok_or(EINVAL)
    }
}

impl Drop for Heap<'_> {
    fn drop(&mut self) {
        // Nobody looks, and nothing is done later any more.
        drop(self.entry.take());
        self.inner.later.stop();
        // SAFETY: The device is bound, as `'bound` says.
        unsafe { self.inner.later.drain() };

        // The compiler knows that buffers are home but for those that were forgotten. The pools say it of
        // theirs.
        let large = self.inner.later.counters.large.buffers.load(Relaxed);
        if large != 0 {
            dev_err!(
                self.inner.dev,
                "mbpool {}: dropped with {} large buffers used; their pages are leaked\n",
                self.name(),
                large
            );
        }
    }
}
