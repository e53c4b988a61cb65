// SPDX-License-Identifier: GPL-2.0

//! An auxiliary device. Its bus gives it no DMA mask: it does DMA through its parent, or its driver sets
//! one.

use super::{
    leave,
    probe_of,
    required,
    works_on,
    NAME, //
};
use crate::{
    check,
    devices::{
        set_mask,
        Fixture, //
    },
    ktap::Outcome,
    tests, //
};
use kernel::{
    auxiliary,
    device::{
        Bound,
        Core,
        Device, //
    },
    prelude::*,
    types::ForLt, //
};
use mbpool::{
    Client,
    Config,
    Pool,
    Quota, //
};

tests![an_auxiliary_device];

const AUXILIARY: &CStr = c"auxiliary";

struct Driver;

kernel::auxiliary_device_table!(
    TABLE,
    <Driver as auxiliary::Driver>::IdInfo,
    [(auxiliary::DeviceId::new(NAME, AUXILIARY), ())]
);

impl auxiliary::Driver for Driver {
    type IdInfo = ();
    type Data<'bound> = Self;

    const ID_TABLE: auxiliary::IdTable<Self::IdInfo> = &TABLE;

    fn probe<'bound>(
        dev: &'bound auxiliary::Device<Core<'_>>,
        _info: &'bound Self::IdInfo,
    ) -> impl PinInit<Self, Error> + 'bound {
        leave(probed(dev.as_ref(), dev.parent()));
        Ok(Self)
    }
}

fn probed(dev: &Device<Bound>, parent: &Device<Bound>) -> Outcome {
    // It does no DMA itself: the memory is its parent's, and the pool still its own.
    {
        let config = Config::new(c"behind", 64);
        let pool = Pool::new(dev, config, GFP_KERNEL)?;
        let of_parent = Pool::new(parent, config, GFP_KERNEL)?;
        drop((pool.alloc(GFP_KERNEL)?, of_parent.alloc(GFP_KERNEL)?));
    }
    // A pool that is shared is one, whose ever it is asked of; the last one out may be either.
    for child_first in [true, false] {
        let client = |dev| {
            let config = Config::new(c"shares", 64).max_pages(4);
            Client::new(dev, config, Quota::new(4), GFP_KERNEL)
        };
        let (child, parent) = (client(dev)?, client(parent)?);
        check!(child.shares_with(&parent));
        drop((child.alloc(GFP_ATOMIC)?, parent.alloc(GFP_ATOMIC)?));
        let (first, last) = if child_first {
            (child, parent)
        } else {
            (parent, child)
        };
        drop(first);
        drop(last.alloc(GFP_ATOMIC)?);
    }
    works_on(dev)?;
    works_on(parent)?;
    // SAFETY: The device is being probed: nobody allocates yet.
    unsafe { set_mask(dev, 32)? };
    works_on(dev)
}

fn an_auxiliary_device(on: &Fixture<'_>) -> Outcome {
    required(probe_of::<auxiliary::Adapter<Driver>, _>(|| {
        let device = auxiliary::Registration::<ForLt!(())>::new(
            on.dev,
            AUXILIARY,
            0,
            NAME,
            Ok::<(), Error>(()),
        );
        Ok(device?)
    })?)
}
