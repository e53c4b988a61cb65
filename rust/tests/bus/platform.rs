// SPDX-License-Identifier: GPL-2.0

//! A platform device, and its driver. With `hold` the driver has pools in known states for as long as it
//! is bound, for a script to look at from outside.

use super::{
    leave,
    probe_of,
    required,
    works_on,
    NAME, //
};
use crate::{
    devices::Fixture,
    hold::Held,
    ktap::Outcome,
    tests, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    device::Core,
    error::from_err_ptr,
    platform,
    prelude::*, //
};

tests![a_platform_device];

/// The driver.
pub(crate) struct Driver;

impl platform::Driver for Driver {
    type IdInfo = ();
    type Data<'bound> = Option<Held<'bound>>;

    fn probe<'bound>(
        dev: &'bound platform::Device<Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
        leave(works_on(dev.as_ref()));
        Held::new(dev.as_ref())
    }
}

/// A platform device that the driver is for. `/sys/devices/platform/mbpool_test`.
///
/// # Invariants
///
/// The pointer is to a registered device, which is ours.
pub(crate) struct Device(NonNull<bindings::platform_device>);

impl Device {
    pub(crate) fn new() -> Result<Self> {
        let info = bindings::platform_device_info {
            name: NAME.as_char_ptr(),
            id: bindings::PLATFORM_DEVID_NONE,
            dma_mask: u64::from(u32::MAX),
            ..Default::default()
        };
        // SAFETY: What is described has a name, and all else is zero.
        let device = unsafe { bindings::platform_device_register_full(&raw const info) };
        let device = from_err_ptr(device)?;
        // INVARIANT: It was just registered.
        Ok(Self(NonNull::new(device).ok_or(ENODEV)?))
    }
}

// SAFETY: A platform device may be unregistered from any thread.
unsafe impl Send for Device {}
// SAFETY: Nothing is reached through a shared reference.
unsafe impl Sync for Device {}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: It is registered and ours by the type invariant.
        unsafe { bindings::platform_device_unregister(self.0.as_ptr()) };
    }
}

fn a_platform_device(_: &Fixture<'_>) -> Outcome {
    required(probe_of::<platform::Adapter<Driver>, _>(|| {
        Ok(Device::new()?)
    })?)
}
