// SPDX-License-Identifier: GPL-2.0

//! Device-bound pools of DMA buffers with 32-bit handles.
//!
//! A card that fills receive buffers wants thousands of equal chunks of DMA memory, posted ahead of
//! time, and gives each one back by a 32-bit number. A [`Pool`] is bound to a device, takes pages
//! from `dma_alloc_coherent`, cuts them into chunks, and knows of each chunk whether it is free, with
//! the driver, or on the card:
//!
//! ```text
//! free --alloc--> used --post--> on card --take(handle)--> used --drop--> free
//!                                  |  ^
//!                                  |  '--- peek(handle): read, stays on card
//!                                  '------ reclaim_card(): all that the card still holds -> free
//! ```
//!
//! What the driver owns is a value, a [`Buffer`], which goes home when it is dropped; what the card
//! owns is only a [`Handle`], and is believed only after range, state and generation were checked.
//! No metadata lies in memory that the card can write.
//!
//! # Map
//!
//! Each floor knows only those under it.
//!
//! - [`core`]: arithmetic and policy, without `unsafe`; runs on the host too. Its way to the kernel
//!   is [`facade`].
//! - [`lock`]: the lock of a pool.
//! - [`gfp`]: what allocation flags permit.
//! - [`dma`]: the page source, the one place that calls the DMA API.
//! - [`pool`]: the pool, its buffers, and how it grows.
//! - [`work`]: work items, for what is to be done in process context.
//! - [`heap`]: memory of any size, from pools.
//! - [`reserve`]: buffers set aside, so that who may sleep always gets one.
//! - [`registry`]: pools that several drivers share.
//! - [`sysfs`]: what a person sees. It reads; it decides nothing.
//!
//! # Examples
//!
//! ```
//! use kernel::{
//!     device::{Bound, Device},
//!     prelude::*,
//! };
//! use mbpool::{Config, Handle, Pool};
//!
//! fn receive(dev: &Device<Bound>) -> Result {
//!     let pool = Pool::new(dev, Config::new(c"rx", 2048).max_pages(64), GFP_KERNEL)?;
//!
//!     // Free -> on card: what goes into the card's ring.
//!     let posted = pool.post(GFP_KERNEL)?;
//!     let (address, word) = (posted.dma, posted.handle.into_raw());
//!     let _ = (address, word);
//!
//!     // The card gives the word back: on card -> used, if it is true.
//!     let buffer = pool.take(Handle::from_raw(word))?;
//!     pr_info!("first byte {}\n", buffer.first().copied().unwrap_or(0));
//!     drop(buffer);
//!
//!     // The same word again is refused.
//!     assert!(pool.take(Handle::from_raw(word)).is_err());
//!     Ok(())
//! }
//! ```

mod config;
#[expect(
    unreachable_pub,
    reason = "public on the host, whose tests are a crate of their own"
)]
mod core;
mod dma;
mod facade;
mod gfp;
mod heap;
mod lock;
mod pool;
mod registry;
mod reserve;
mod sysfs;
mod work;

pub use self::{
    config::{
        Backing,
        Config,
        HeapConfig, //
    },
    core::{
        fill::FillLevel,
        handle::{
            Handle,
            HandleError, //
        },
        quota::Quota,
        slots::Count, //
    },
    heap::{
        DmaBox,
        DmaSlice,
        Heap, //
    },
    pool::{
        Alarm,
        Batch,
        Buffer,
        Cache,
        Ext,
        Lane,
        Notify,
        PageRef,
        Peek,
        Pool,
        Posted, //
    },
    registry::{
        Client,
        ClientBuffer,
        Yield, //
    },
    reserve::{
        PoolRef,
        Reserve, //
    }, //
};

use kernel::{
    module::this_module,
    prelude::*, //
};

module! {
    type: Module,
    name: "mbpool",
    authors: ["The mbpool authors"],
    description: "Device-bound DMA buffer pools with 32-bit handles",
    license: "GPL",
}

struct Module;

/// Keeps this module from being unloaded from now on. For when something that refers to it is out and
/// may never come back, or not before the module that uses this one is gone.
// Not to be inlined into a consumer, where `this_module` would be another.
#[cold]
#[inline(never)]
fn stay_loaded() {
    // SAFETY: This module is loaded while its code runs.
    unsafe { kernel::bindings::__module_get(this_module::<LocalModule>().as_ptr()) };
}

/// Takes one [`stay_loaded`] back.
///
/// # Safety
///
/// There was one, and something else keeps this module loaded until the caller has returned to another.
#[cold]
#[inline(never)]
unsafe fn may_be_unloaded() {
    // SAFETY: As the caller promises.
    unsafe { kernel::bindings::module_put(this_module::<LocalModule>().as_ptr()) };
}

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        // SAFETY: Called once, before anybody can call into the crate: the loader runs this function
        // before it resolves another module's symbols against this one.
        unsafe { sysfs::init() };
        // SAFETY: As above.
        unsafe { registry::init() };
        Ok(Self)
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        registry::exit();
        sysfs::exit();
    }
}
