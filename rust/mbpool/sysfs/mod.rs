// SPDX-License-Identifier: GPL-2.0

//! What a person sees: `/sys/devices/.../<device>/mbpool/`.
//!
//! - `pools`: a table of the device's pools in the format of mm/dmapool.c. It lies in a directory of
//!   our own because `<device>/pools` belongs to mm/dmapool.c: a file of ours there would make a later
//!   `dma_pool_create()` fail, and the other way round.
//! - `<pool>/`: a directory of one-value files for each pool, and in it `reserve/` if it has one, and
//!   `clients/` with a directory for each client if it is shared; `<heap>/`: one for each heap, whose
//!   classes are pools called `<heap>-<size>`.
//!
//! Documentation/ABI/testing/sysfs-devices-mbpool has the list. All files are read-only; none shows an
//! address.
//!
//! # Locks
//!
//! [`DEVICES`](device::DEVICES) guards which directories there are, and is held while they are made and
//! removed. Removal waits for readers, so no file may take that lock; the table takes the lock of
//! its own list, which is never held across a removal, as is that of a pool's reserve.

mod client;
mod device;
mod heap;
mod kobject;
mod pool;

pub(crate) use self::{
    client::{
        ClientEntry,
        Clients, //
    },
    device::{
        exit,
        init,
        publish,
        publish_heap,
        Entry, //
    }, //
};
