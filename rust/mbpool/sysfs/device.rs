// SPDX-License-Identifier: GPL-2.0

//! The directory of one device, and which devices have one.

use super::{
    super::{
        heap::Counters,
        pool::Shared,
        reserve, //
    },
    heap::Files as HeapFiles,
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
    str::{
        CStr,
        CString, //
    },
    sync::{
        aref::ARef,
        new_mutex,
        Arc,
        Mutex, //
    }, //
};

kernel::sync::global_lock! {
    // SAFETY: Initialised by `init`, which the module calls before anything else.
    /// The directories of all devices that have a pool or a heap.
    pub(super) unsafe(uninit) static DEVICES: Mutex<KVec<Listed>> = KVec::new();
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

/// A device's directory, and the names of the directories in it.
///
/// # Invariants
///
/// There is a name for each [`Entry`] of the device; there is none only while [`DEVICES`] is locked.
pub(super) struct Listed {
    directory: Pin<KBox<Directory<Table>>>,
    names: KVec<CString>,
}

/// The pools of one device.
#[pin_data]
pub(super) struct Table {
    dev: ARef<Device>,
    #[pin]
    pools: Mutex<KVec<Arc<Shared>>>,
}

/// The longest that the table's last line can be if it has no room for all pools: not longer than that of
/// any pool.
const MORE: usize = "... and 18446744073709551615 more\n".len();

impl Show for Table {
    // The format of mm/dmapool.c: name, blocks that are out, blocks in all, block size, pages.
    const FILES: &'static [File<Self>] = &[File::new(c"pools", |table, text| {
        text.line(fmt!("poolinfo - 0.1"))?;
        let pools = table.pools.lock();
        for (number, pool) in pools.iter().enumerate() {
            let (out, total, pages) = {
                let guarded = pool.guarded.lock();
                let (total, free) = (guarded.depot.total(), guarded.depot.free());
                (total - free, total, guarded.depot.present())
            };
            // A pool's name is ASCII; unlike that of `CStr`, a `str`'s formatting pads.
            let name = pool.name().to_str().unwrap_or_default();
            let size = pool.geometry.size();
            let left = pools.len() - number;
            let more = if left > 1 { MORE } else { 0 };
            let written = text.line_before(
                more,
                fmt!("{name:<16} {out:>4} {total:>4} {size:>4} {pages:>2}"),
            );
            if written.is_err() {
                return text.line(fmt!("... and {left} more"));
            }
        }
        Ok(())
    })];
}

/// The directory of an entry.
enum Shown {
    Pool(Pin<KBox<Directory<Files>>>),
    Heap(#[expect(dead_code, reason = "held to be dropped")] Pin<KBox<Directory<HeapFiles>>>),
}

/// A pool's or a heap's place in sysfs, until it is dropped. Process context; dropping it sleeps.
pub(crate) struct Entry {
    dev: ARef<Device>,
    name: CString,
    /// Which one it is in the table, if it is a pool.
    pool: Option<Arc<Shared>>,
    /// Always there but while the entry is being dropped.
    directory: Option<Shown>,
}

fn kobject_of(dev: &Device) -> *mut bindings::kobject {
    let dev: *mut bindings::device = ptr::from_ref(dev).cast_mut().cast();
    // SAFETY: `Device` is a transparent wrapper of a valid `struct device`.
    unsafe { &raw mut (*dev).kobj }
}

/// Shows a pool in its device's directory. Process context; may sleep.
///
/// # Errors
///
/// - `EEXIST`: the device has a pool or a heap of that name.
/// - `ENOMEM`, or what sysfs answers.
pub(crate) fn publish(pool: Arc<Shared>) -> Result<Entry> {
    let files = Files::new(pool.clone());
    let name = CString::try_from(pool.name())?;
    let dev = ARef::from(pool.dev());
    publish_as(&dev, name, Some(pool), |device, name| {
        // SAFETY: As `publish_as` promises.
        unsafe { Directory::new(device, name, files) }.map(Shown::Pool)
    })
}

/// Shows a heap in its device's directory. Context and errors as for [`publish`].
pub(crate) fn publish_heap(dev: &Device, name: &CStr, counters: Arc<Counters>) -> Result<Entry> {
    publish_as(dev, CString::try_from(name)?, None, |device, name| {
        // SAFETY: As `publish_as` promises.
        unsafe { Directory::new(device, name, Ok(HeapFiles(counters))) }.map(Shown::Heap)
    })
}

/// Has `show` make a directory of that name in the device's, which stays until the entry is dropped.
fn publish_as(
    dev: &Device,
    name: CString,
    pool: Option<Arc<Shared>>,
    show: impl FnOnce(*mut bindings::kobject, &CStr) -> Result<Shown>,
) -> Result<Entry> {
    let mut devices = DEVICES.lock();
    let at = match devices.iter().position(|listed| listed.is_of(dev)) {
        Some(at) => at,
        None => {
            let table = try_pin_init!(Table {
                dev: dev.into(),
                pools <- new_mutex!(KVec::new(), "mbpool::table"),
            }? Error);
            // SAFETY: The device's kobject stays while a driver is bound, which it is while it has a
            // pool or a heap.
            let directory = unsafe { Directory::new(kobject_of(dev), c"mbpool", table) }?;
            let names = KVec::new();
            devices.push(Listed { directory, names }, GFP_KERNEL)?;
            devices.len() - 1
        }
    };
    let Some(listed) = devices.get_mut(at) else {
        return Err(EINVAL);
    };
    let entry = listed.add(dev, name, pool, show);
    // INVARIANT: If the device had nothing and got nothing, it goes before the lock does.
    if listed.names.is_empty() {
        drop(devices.remove(at));
    }
    entry
}

impl Listed {
    fn is_of(&self, dev: &Device) -> bool {
        ptr::eq(&*self.directory.value().dev, dev)
    }

    fn add(
        &mut self,
        dev: &Device,
        name: CString,
        pool: Option<Arc<Shared>>,
        show: impl FnOnce(*mut bindings::kobject, &CStr) -> Result<Shown>,
    ) -> Result<Entry> {
        if self.names.iter().any(|other| **other == *name) {
            dev_err!(
                dev,
                "mbpool {}: name: the device has a pool or a heap of it\n",
                &*name
            );
            return Err(EEXIST);
        }
        // The entry is made last, when nothing can fail: its drop takes the lock that we hold.
        let own = CString::try_from(&*name)?;
        self.names.reserve(1, GFP_KERNEL)?;
        let directory = show(self.directory.as_parent(), &name)?;
        if let Some(pool) = &pool {
            let pools = &self.directory.value().pools;
            pools.lock().push(pool.clone(), GFP_KERNEL)?;
        }
        // INVARIANT: There is room, so this does not fail.
        let _ = self.names.push_within_capacity(own);
        Ok(Entry {
            dev: dev.into(),
            name,
            pool,
            directory: Some(directory),
        })
    }

    /// Takes out what [`Listed::add`] put in.
    fn remove(&mut self, entry: &Entry) {
        self.names.retain(|name| **name != *entry.name);
        if let Some(gone) = &entry.pool {
            let pools = &self.directory.value().pools;
            pools.lock().retain(|pool| !Arc::ptr_eq(pool, gone));
        }
    }
}

impl Entry {
    /// The kobject of the directory, if it is a pool's, to be a parent.
    pub(super) fn as_parent(&self) -> Option<*mut bindings::kobject> {
        match &self.directory {
            Some(Shown::Pool(directory)) => Some(directory.as_parent()),
            _ => None,
        }
    }

    /// Shows the pool's reserve in the pool's directory. Process context; may sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or what sysfs answers.
    pub(crate) fn publish_reserve(&self, reserve: Arc<reserve::Inner>) -> Result {
        match &self.directory {
            Some(Shown::Pool(directory)) => directory.publish_reserve(reserve),
            _ => Ok(()),
        }
    }

    /// Ends that. Process context; sleeps until nobody reads in it.
    pub(crate) fn withdraw_reserve(&self) {
        if let Some(Shown::Pool(directory)) = &self.directory {
            directory.withdraw_reserve();
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // If the reserve was forgotten, its directory is still there, and goes before its parent.
        self.withdraw_reserve();
        let mut devices = DEVICES.lock();
        drop(self.directory.take());

        let Some(at) = devices.iter().position(|listed| listed.is_of(&self.dev)) else {
            return;
        };
        let Some(listed) = devices.get_mut(at) else {
            return;
        };
        listed.remove(self);
        // INVARIANT: A device without entries goes before the lock does.
        if listed.names.is_empty() {
            drop(devices.remove(at));
        }
    }
}
