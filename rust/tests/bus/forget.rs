// SPDX-License-Identifier: GPL-2.0

//! A driver that forgets its pool: it ends when the device is unbound, and the driver can be bound again.

use super::{
    leave,
    platform::Device,
    probe_of,
    required, //
};
use crate::{
    check,
    devices::{
        set_mask,
        Fixture, //
    },
    ktap::Outcome,
    support::QUIET,
    sysfs,
    tests,
    tide, //
};
use core::mem;
use kernel::{
    alloc::KVVec,
    device::{
        self,
        Bound,
        Core, //
    },
    platform,
    prelude::*, //
};
use mbpool::{
    Config,
    Pool, //
};

tests![a_forgotten_pool_ends_with_the_device];

struct Driver;

impl platform::Driver for Driver {
    type IdInfo = ();
    type Data<'bound> = Self;

    fn probe<'bound>(
        dev: &'bound platform::Device<Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Self, Error> + 'bound {
        leave(probed(dev.as_ref()));
        Ok(Self)
    }
}

/// Forgets a pool that has all memory which the device reaches, and was about to give it back.
fn probed(dev: &device::Device<Bound>) -> Outcome {
    // SAFETY: The device is being probed: nobody allocates yet.
    unsafe { set_mask(dev, 24)? };
    let config = Config::new(c"forgotten", 4096)
        .max_pages(16383)
        .high_water(0, 60_000);
    let pool = Pool::new(dev, config, GFP_KERNEL)?;
    let mut buffers = KVVec::new();
    while let Ok(buffer) = pool.alloc(GFP_NOWAIT | QUIET) {
        buffers.push(buffer, GFP_KERNEL)?;
    }
    // Were the memory not freed at unbinding, the next to be bound would find none.
    check!(buffers.len() > 100, "{} buffers", buffers.len());
    drop(buffers);
    mem::forget(pool);
    Ok(())
}

fn a_forgotten_pool_ends_with_the_device(_: &Fixture<'_>) -> Outcome {
    let is_there = || sysfs::read("/sys/devices/platform/mbpool_test/mbpool/pools").is_ok();
    let _device = Device::new()?;
    for _ in 0..3 {
        required(probe_of::<platform::Adapter<Driver>, _>(|| {
            check!(is_there());
            Ok(())
        })?)?;
        check!(!is_there());
        // Nor is its shrinker there to be called.
        tide::shrink()?;
    }
    Ok(())
}
