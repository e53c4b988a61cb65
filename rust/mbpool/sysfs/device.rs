// SPDX-License-Identifier: GPL-2.0

//! The directory of one device, and which devices have one.

use super::{
    super::pool::Shared,
    kobject::{
        Directory,
        File,
        Show, //
    },
    pool::Files, //
};
use core::ptr;
use kernel::{
    bindings,
    device::Device,
    prelude::*,
    sync::{
        new_mutex,
        Arc,
        Mutex, //
    }, //
};

kernel::sync::global_lock! {
    // SAFETY: Initialised by `init`, which the module calls before anything else.
    /// The directories of all devices that have a pool.
    pub(super) unsafe(uninit) static DEVICES: Mutex<KVec<Pin<KBox<Directory<Table>>>>> = KVec::new();
}

/// Makes the list of devices ready.
///
/// # Safety
///
/// Called once, before any other function of this file.
pub(crate) unsafe fn init() {
    // SAFETY: As the caller promises.
    unsafe { DEVICES.init() };
}

/// Gives back the memory of the list of devices, which is empty when the module goes: a static is never
/// dropped. Process context; may sleep.
pub(crate) fn exit() {
    *DEVICES.lock() = KVec::new();
}

/// The pools of one device.
///
/// # Invariants
///
/// `pools` is empty only while [`DEVICES`] is locked.
#[pin_data]
pub(super) struct Table {
    #[pin]
    pools: Mutex<KVec<Arc<Shared>>>,
}

impl Show for Table {
    // The format of mm/dmapool.c: name, blocks that are out, blocks in all, block size, pages.
    const FILES: &'static [File<Self>] = &[File::new(c"pools", |table, text| {
        text.line(fmt!("poolinfo - 0.1"))?;
        for pool in table.pools.lock().iter() {
            let (out, total, pages) = {
                let guarded = pool.guarded.lock();
                let (total, free) = (guarded.depot.total(), guarded.depot.free());
                (total - free, total, guarded.depot.present())
            };
            // A pool's name is ASCII; unlike that of `CStr`, a `str`'s formatting pads.
            let name = pool.name().to_str().unwrap_or_default();
            let size = pool.geometry.size();
            text.line(fmt!("{name:<16} {out:>4} {total:>4} {size:>4} {pages:>2}"))?;
        }
        Ok(())
    })];
}

/// A pool's place in sysfs, until it is dropped. Process context; dropping it sleeps.
pub(crate) struct Entry {
    pool: Arc<Shared>,
    /// Always there but while the entry is being dropped.
    directory: Option<Pin<KBox<Directory<Files>>>>,
}

fn kobject_of(dev: &Device) -> *mut bindings::kobject {
    let dev: *mut bindings::device = ptr::from_ref(dev).cast_mut().cast();
    // SAFETY: `Device` is a transparent wrapper of a valid `struct device`.
    unsafe { &raw mut (*dev).kobj }
}

/// Whether `directory` is that of `dev`.
fn is_of(directory: &Directory<Table>, dev: &Device) -> bool {
    directory
        .value()
        .pools
        .lock()
        .first()
        .is_some_and(|pool| ptr::eq(pool.dev(), dev))
}

/// Shows a pool in its device's directory. Process context; may sleep.
///
/// # Errors
///
/// - `EEXIST`: the device has a pool of that name.
/// - `ENOMEM`, or what sysfs answers.
pub(crate) fn publish(pool: Arc<Shared>) -> Result<Entry> {
    let dev = pool.dev();
    let mut devices = DEVICES.lock();

    if let Some(device) = devices.iter().find(|directory| is_of(directory, dev)) {
        let pools = &device.value().pools;
        if pools.lock().iter().any(|other| other.name() == pool.name()) {
            dev_err!(
                dev,
                "mbpool {}: name: the device has a pool of it\n",
                pool.name()
            );
            return Err(EEXIST);
        }
        let directory = show_in(device, &pool)?;
        pools.lock().push(pool.clone(), GFP_KERNEL)?;
        return Ok(Entry { pool, directory });
    }

    let mut pools = KVec::with_capacity(1, GFP_KERNEL)?;
    pools.push(pool.clone(), GFP_KERNEL)?;
    let table = try_pin_init!(Table {
        pools <- new_mutex!(pools, "mbpool::table"),
    }? Error);
    // Nothing can fail once the pool's directory is there: it has to go before the device's does.
    devices.reserve(1, GFP_KERNEL)?;
    // INVARIANT: There is one pool in it.
    // SAFETY: The device's kobject stays while a driver is bound, which it is while it has a pool.
    let device = unsafe { Directory::new(kobject_of(dev), c"mbpool", table) }?;
    let directory = show_in(&device, &pool)?;
    devices.push(device, GFP_KERNEL)?;
    Ok(Entry { pool, directory })
}

/// Makes a pool's directory in its device's, which has or will have the pool in its table.
fn show_in(
    device: &Directory<Table>,
    pool: &Arc<Shared>,
) -> Result<Option<Pin<KBox<Directory<Files>>>>> {
    let files = Ok(Files(pool.clone()));
    // SAFETY: The device's directory stays while a pool is in its table.
    unsafe { Directory::new(device.as_parent(), pool.name(), files) }.map(Some)
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut devices = DEVICES.lock();
        drop(self.directory.take());

        let dev = self.pool.dev();
        let Some(at) = devices.iter().position(|directory| is_of(directory, dev)) else {
            return;
        };
        let Some(device) = devices.get(at) else {
            return;
        };
        let empty = {
            let mut pools = device.value().pools.lock();
            pools.retain(|pool| !Arc::ptr_eq(pool, &self.pool));
            pools.is_empty()
        };
        // INVARIANT: An empty table goes before the lock does.
        if empty {
            drop(devices.remove(at));
        }
    }
}
