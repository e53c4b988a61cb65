// SPDX-License-Identifier: GPL-2.0

//! A client of a shared pool, and its buffers.

use super::{
    commons::{
        owner,
        Yield, //
    },
    Lease, //
};
use crate::{
    config::Config,
    core::{
        account::Account,
        handle::{
            Handle,
            HandleError, //
        },
        quota::Quota, //
    },
    pool::{
        Buffer,
        Peek,
        Posted, //
    },
    sysfs, //
};
use core::{
    mem::ManuallyDrop,
    ops::{
        Deref,
        DerefMut, //
    },
    ptr, //
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
    prelude::*,
    str::{
        CStr,
        CString, //
    }, //
};

/// A client of a pool that it shares with all who ask for the same.
///
/// The pool is that of the device that does the DMA: `dev` itself, or the ancestor through which it
/// does. There is one for each of these and each geometry, backing and set of water marks; its name is
/// `shared-` and the chunk size. The first client makes it, the last one to go destroys it.
///
/// While a client has less than its minimum, it gets a chunk at once, in any context. Beyond, it takes what
/// is free and not somebody's minimum, up to its cap; when others were turned away who have less for
/// their weight, they go first. Chunks on the card count as the client's.
///
/// All methods take `&self` and may be called from several CPUs at once, in any context but NMI, where
/// nothing else is said. None sleeps but [`Client::new`] and dropping the client, unless its `gfp` flags
/// allow it.
///
/// Stop the card and call [`Client::reclaim_card`] before dropping a client. What is out when it is dropped
/// is reported in the kernel log, and lost to the others until the pool goes, which leaks it.
///
/// # Examples
///
/// ```
/// use kernel::{
///     device::{Bound, Device},
///     prelude::*,
/// };
/// use mbpool::{Client, Config, Handle, Quota};
///
/// fn receive(dev: &Device<Bound>) -> Result {
///     let config = Config::new(c"rx0", 2048).max_pages(64);
///     // 32 chunks at any time, and of the rest twice as much as who has a weight of 1.
///     let rx = Client::new(dev, config, Quota::new(32).weight(2), GFP_KERNEL)?;
///
///     let posted = rx.post(GFP_ATOMIC)?;
///     let buffer = rx.take(Handle::from_raw(posted.handle.into_raw()))?;
///     pr_info!("first byte {}\n", buffer.first().copied().unwrap_or(0));
///     Ok(())
/// }
/// ```
pub struct Client<'bound> {
    /// Always there but while the client is being dropped.
    directory: Option<sysfs::ClientEntry>,
    number: u8,
    lease: Lease<'bound>,
}

impl<'bound> Client<'bound> {
    /// Joins the pool that `config` describes, and makes it if there is none. Process context; may sleep
    /// whatever `gfp` says, which is for the pages that are allocated at once: those of a new pool, and
    /// those of the minimum.
    ///
    /// The name in `config` is the client's: its directory in sysfs is that and the device's name. All else
    /// is the pool's. If the pool is at its limit and others have what is to be guaranteed, they are asked
    /// for it, and this waits as long as [`Config::wait_ms`] of who made the pool says.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: a parameter makes no sense. A line in the kernel log says which one and why.
    /// - `ENODEV`: the device does no DMA; a line in the kernel log says so.
    /// - `EEXIST`: the device has a client of that name in this pool.
    /// - `ENOSPC`: the minimum cannot be guaranteed: the pool's limit is too low for it and the others', or
    ///   chunks did not come back in time. Or the pool has 32 clients.
    /// - `ENOMEM`: no memory for the pages or the tables.
    pub fn new(
        dev: &'bound Device<Bound>,
        config: Config<'_>,
        quota: Quota,
        gfp: Flags,
    ) -> Result<Self> {
        if let Some(refusal) = quota.refusal() {
            dev_err!(dev, "mbpool {}: {}\n", config.name, refusal);
            return Err(EINVAL);
        }
        let lease = Lease::new(dev, &config, gfp)?;
        let name = CString::try_from_fmt(fmt!("{}:{}", dev.name(), config.name))?;
        let number = lease
            .join(CString::try_from(&*name)?, quota, gfp)
            .inspect_err(|error| {
                if *error == EEXIST {
                    dev_err!(
                        dev,
                        "mbpool {}: name: {} has a client of it\n",
                        config.name,
                        lease.pool().name()
                    );
                }
            })?;
        let mut client = Self {
            directory: None,
            number,
            lease,
        };
        // SAFETY: A client drops its directory before its lease.
        client.directory = Some(unsafe { client.lease.show(&name, number) }?);
        Ok(client)
    }

    /// The name of the pool.
    pub fn pool_name(&self) -> &CStr {
        self.lease.pool().name()
    }

    /// Whether the two share a pool.
    pub fn shares_with(&self, other: &Client<'_>) -> bool {
        ptr::eq(&*self.lease, &*other.lease)
    }

    /// Bytes of a chunk.
    #[inline]
    pub fn chunk_size(&self) -> usize {
        self.lease.pool().chunk_size()
    }

    /// Chunks that the client has, or that the card has of it.
    pub fn used(&self) -> u32 {
        self.lease.account(self.number, Account::used)
    }

    /// What the client has when all want as much as they can get.
    pub fn share(&self) -> u32 {
        self.lease.account(self.number, Account::share)
    }

    /// From now on `target` is told when others want what this client has beyond its share; with `None`
    /// nobody is. Process context: what was told before is dropped.
    pub fn on_yield(&self, target: Option<KBox<dyn Yield>>) {
        drop(self.lease.set_target(self.number, target));
    }

    /// Takes a buffer: free -> used.
    ///
    /// The content is whatever it was, unless `gfp` has `__GFP_ZERO`. If the client has its minimum, the pool
    /// may have to grow by a page; the flags go down to that page allocation.
    ///
    /// # Errors
    ///
    /// - `ENOSPC`: the client is at its cap.
    /// - `ENOMEM`: the client has its minimum, nothing is free beyond what is others', and the pool is at
    ///   its limit, or there was no memory for a page. One chunk will be kept for this client against those
    ///   who have more for their weight, until it asks again.
    pub fn alloc(&self, gfp: Flags) -> Result<ClientBuffer<'_>> {
        // INVARIANT: The chunk was charged to this client.
        let mut buffer = self.buffer(self.lease.alloc(self.number, gfp)?);
        if gfp.contains(__GFP_ZERO) {
            buffer.fill(0);
        }
        Ok(buffer)
    }

    /// Takes a chunk straight for the card: free -> on card. Flags and errors are those of
    /// [`Client::alloc`]; see also [`Pool::post`](crate::Pool::post).
    pub fn post(&self, gfp: Flags) -> Result<Posted> {
        self.alloc(gfp).map(ClientBuffer::post)
    }

    /// Takes back a chunk that the card returned: on card -> used. Constant time, no lock.
    ///
    /// # Errors
    ///
    /// As for [`Pool::take`](crate::Pool::take); a chunk that the card has for another client is in the wrong
    /// state.
    pub fn take(&self, handle: Handle) -> Result<ClientBuffer<'_>, HandleError> {
        let buffer = self.lease.pool().take_for(handle, owner(self.number))?;
        // INVARIANT: The chunk was on the card for this client, so it is charged to it.
        Ok(self.buffer(buffer))
    }

    /// Looks at a chunk that the card holds, and leaves it there. Errors as for [`Client::take`].
    pub fn peek(&self, handle: Handle) -> Result<Peek<'_>, HandleError> {
        self.lease.pool().peek_for(handle, owner(self.number))
    }

    /// Takes back all that the card holds of this client: on card -> free. Answers how many chunks that
    /// were. The card must have been stopped, as for [`Pool::reclaim_card`](crate::Pool::reclaim_card). Takes
    /// time in proportion to the pool.
    pub fn reclaim_card(&self) -> usize {
        self.lease.reclaim_card(self.number)
    }

    /// The handle with the caller's bits set. Errors as for
    /// [`Pool::with_user_bits`](crate::Pool::with_user_bits).
    pub fn with_user_bits(&self, handle: Handle, high: u32, low: u32) -> Result<Handle> {
        self.lease.pool().with_user_bits(handle, high, low)
    }

    /// The caller's bits of a handle: high and low.
    pub fn user_bits(&self, handle: Handle) -> (u32, u32) {
        self.lease.pool().user_bits(handle)
    }

    fn buffer<'a>(&'a self, buffer: Buffer<'a>) -> ClientBuffer<'a> {
        ClientBuffer {
            client: self,
            buffer: ManuallyDrop::new(buffer),
        }
    }
}

impl Drop for Client<'_> {
    fn drop(&mut self) {
        drop(self.directory.take());
        self.lease.leave(self.number);
    }
}

/// A chunk that a client owns. As a [`Buffer`], and it counts as the client's until it goes home.
///
/// # Invariants
///
/// The chunk is charged to `client`. `buffer` is there until `self` is dropped or taken apart.
pub struct ClientBuffer<'client> {
    client: &'client Client<'client>,
    buffer: ManuallyDrop<Buffer<'client>>,
}

impl ClientBuffer<'_> {
    /// The chunk's address for the device.
    #[inline]
    pub fn dma_address(&self) -> DmaAddress {
        self.buffer.dma_address()
    }

    /// Gives the chunk to the card: used -> on card. Each time under another handle. It stays the client's.
    pub fn post(self) -> Posted {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: By the type invariant the buffer is there; `this` is not used again, nor dropped.
        let buffer = unsafe { ManuallyDrop::take(&mut this.buffer) };
        let client = this.client;
        client.lease.pool().post_for(buffer, owner(client.number))
    }

    /// Orders accesses against the device's, as [`Buffer::sync`]. Errors as there.
    #[inline]
    pub fn sync(&self, offset: usize, len: usize, direction: DataDirection) -> Result {
        self.buffer.sync(offset, len, direction)
    }
}

impl Deref for ClientBuffer<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.buffer
    }
}

impl DerefMut for ClientBuffer<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.buffer
    }
}

impl Drop for ClientBuffer<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the buffer is there; `self` is being dropped.
        let buffer = unsafe { ManuallyDrop::take(&mut self.buffer) };
        self.client.lease.free(self.client.number, buffer);
    }
}
