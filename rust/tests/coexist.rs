// SPDX-License-Identifier: GPL-2.0

//! Pools of ours and C `dma_pool`s on one device: whichever comes first, both work, and each has its
//! own table in sysfs.

use crate::{
    check,
    check_eq,
    devices::{
        Fixture,
        SYSFS, //
    },
    ktap::Outcome,
    sysfs,
    tests, //
};
use core::ptr::{
    self,
    NonNull, //
};
use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    dma::DmaAddress,
    prelude::*,
    str::CString, //
};
use mbpool::{
    Config,
    Pool, //
};

tests![a_c_pool_first, a_c_pool_second, a_c_pool_in_between,];

/// A `dma_pool` of mm/dmapool.c.
///
/// # Invariants
///
/// The pointer is what `dma_pool_create_node` answered.
pub(crate) struct CPool(NonNull<bindings::dma_pool>);

impl CPool {
    /// One of blocks of 256 bytes.
    pub(crate) fn new(dev: &Device<Bound>, name: &CStr) -> Outcome<Self> {
        let dev: *const bindings::device = ptr::from_ref(dev).cast();
        // SAFETY: The device is valid and bound, and the name is a string.
        let pool = unsafe {
            bindings::dma_pool_create_node(
                name.as_char_ptr(),
                dev.cast_mut(),
                256,
                64,
                0,
                bindings::NUMA_NO_NODE,
            )
        };
        let pool = NonNull::new(pool);
        check!(pool.is_some(), "dma_pool_create() failed");
        // INVARIANT: As it was answered.
        Ok(Self(pool.ok_or(ENOMEM)?))
    }

    /// Takes a block: where it is for the CPU and for the device.
    pub(crate) fn alloc(&self) -> Outcome<(NonNull<u8>, DmaAddress)> {
        let mut dma = 0;
        // SAFETY: The pool is valid by the type invariant.
        let block = unsafe {
            bindings::dma_pool_alloc(self.0.as_ptr(), bindings::GFP_KERNEL, &raw mut dma)
        };
        Ok((NonNull::new(block.cast()).ok_or(ENOMEM)?, dma))
    }

    /// Gives back what [`CPool::alloc`] gave.
    pub(crate) fn free(&self, (block, dma): (NonNull<u8>, DmaAddress)) {
        // SAFETY: The pool is valid by the type invariant, and it gave this.
        unsafe { bindings::dma_pool_free(self.0.as_ptr(), block.as_ptr().cast(), dma) };
    }

    /// Takes a block, writes to it and gives it back.
    fn works(&self) -> Outcome {
        let (block, dma) = self.alloc()?;
        check_eq!(dma % 64, 0);
        // SAFETY: The block is ours, of 256 bytes.
        unsafe { block.write_bytes(0x3c, 256) };
        self.free((block, dma));
        Ok(())
    }
}

impl Drop for CPool {
    fn drop(&mut self) {
        // SAFETY: The pool is valid by the type invariant, and no block is out.
        unsafe { bindings::dma_pool_destroy(self.0.as_ptr()) };
    }
}

/// A pool of ours works: all operations, and its table.
fn works(pool: &Pool<'_>, table: &str) -> Outcome {
    let posted = pool.post(GFP_KERNEL)?;
    drop(pool.take(posted.handle)?);
    let path = CString::try_from_fmt(fmt!("{SYSFS}/pools"))?;
    check_eq!(sysfs::read(path.to_str()?)?.as_str(), table);
    Ok(())
}

/// The table of the C pools of the device.
fn c_table() -> Result<sysfs::Text> {
    sysfs::read("/sys/devices/faux/mbpool_test/pools")
}

const OURS: &str = "poolinfo - 0.1\nours                0    2 2048  1\n";
const THEIRS: &str = "poolinfo - 0.1\ntheirs              0   16  256  1\n";

fn a_c_pool_first(on: &Fixture<'_>) -> Outcome {
    let theirs = CPool::new(on.dev, c"theirs")?;
    let ours = Pool::new(on.dev, Config::new(c"ours", 2048), GFP_KERNEL)?;
    theirs.works()?;
    works(&ours, OURS)?;
    check_eq!(c_table()?.as_str(), THEIRS);
    drop(theirs);
    check!(c_table().is_err());
    works(&ours, OURS)
}

fn a_c_pool_second(on: &Fixture<'_>) -> Outcome {
    let ours = Pool::new(on.dev, Config::new(c"ours", 2048), GFP_KERNEL)?;
    works(&ours, OURS)?;
    let theirs = CPool::new(on.dev, c"theirs")?;
    theirs.works()?;
    works(&ours, OURS)?;
    check_eq!(c_table()?.as_str(), THEIRS);
    drop(ours);
    theirs.works()?;
    check_eq!(c_table()?.as_str(), THEIRS);
    Ok(())
}

fn a_c_pool_in_between(on: &Fixture<'_>) -> Outcome {
    // Two of ours around one of theirs, and again, so that what one leaves behind would hurt the next.
    for _ in 0..3 {
        let first = Pool::new(on.dev, Config::new(c"ours", 2048), GFP_KERNEL)?;
        let theirs = CPool::new(on.dev, c"theirs")?;
        let second = Pool::new(on.dev, Config::new(c"second", 64), GFP_KERNEL)?;
        theirs.works()?;
        drop(first);
        theirs.works()?;
        drop(theirs);
        works(
            &second,
            "poolinfo - 0.1\nsecond              0   64   64  1\n",
        )?;
    }
    Ok(())
}
