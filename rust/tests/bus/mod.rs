// SPDX-License-Identifier: GPL-2.0

//! Devices of every kind: a pool on a platform device, an auxiliary device, a PCI device. The tests run
//! in the probe of a driver, on the device that it was given, and leave their verdict for the test
//! that registered the driver.

pub(crate) mod auxiliary;
pub(crate) mod beside;
pub(crate) mod bounce;
mod edu;
pub(crate) mod forget;
pub(crate) mod limited;
pub(crate) mod pci;
pub(crate) mod platform;
pub(crate) mod stale;

use crate::{
    check, check_eq,
    ktap::{
        Outcome,
        Stop, //
    },
    support::{
        count,
        is_marked,
        mark, //
    },
};
use kernel::{
    alloc::KVVec,
    device::{
        Bound,
        Device, //
    },
    driver,
    module::this_module,
    prelude::*, //
};
use mbpool::{
    Config,
    Pool, //
};

/// The name of all drivers of this module, and of the devices that they are for.
const NAME: &CStr = c"mbpool_test";

kernel::sync::global_lock! {
    // SAFETY: Initialised by `init`, which the module calls before anything else.
    /// What the last probe found.
    unsafe(uninit) static VERDICT: Mutex<Option<Outcome>> = None;
}

/// Makes the places for tests and verdicts.
///
/// # Safety
///
/// Called once, before any other function of this directory.
pub(crate) unsafe fn init() {
    // SAFETY: As the caller promises.
    unsafe {
        VERDICT.init();
        edu::init();
    }
}

/// For a probe: leaves its verdict.
fn leave(verdict: Outcome) {
    *VERDICT.lock() = Some(verdict);
}

/// Registers a driver, makes a device for it, and answers the verdict of its probe, or `None` if there
/// was no probe. Both are gone afterwards.
fn probe_of<A: driver::RegistrationOps + 'static, D>(
    device: impl FnOnce() -> Outcome<D>,
) -> Outcome<Option<Outcome>> {
    VERDICT.lock().take();
    let driver: Pin<KBox<driver::Registration<A>>> = KBox::pin_init(
        driver::Registration::new(NAME, this_module::<crate::LocalModule>()),
        GFP_KERNEL,
    )?;
    drop(device()?);
    drop(driver);
    Ok(VERDICT.lock().take())
}

/// A pool on the device works: it grows, its memory is the CPU's and has addresses of the device's.
fn works_on(dev: &Device<Bound>) -> Outcome {
    let config = Config::new(c"bus", 1024)
        .align(1024)
        .page_size(8192)
        .max_pages(4);
    let pool = Pool::new(dev, config.initial_pages(1), GFP_KERNEL)?;
    let mut posted = KVVec::new();
    for name in 0..32 {
        let gfp = if name % 2 == 0 {
            GFP_KERNEL
        } else {
            GFP_ATOMIC
        };
        let mut buffer = pool.alloc(gfp)?;
        check_eq!(buffer.dma_address() % 1024, 0);
        mark(&mut buffer, name);
        posted.push(buffer.post(), GFP_KERNEL)?;
    }
    check_eq!(pool.alloc(GFP_KERNEL).err(), Some(ENOMEM));
    for (name, one) in (0..).zip(posted.iter().take(16)) {
        let buffer = pool.take(one.handle)?;
        check_eq!(buffer.dma_address(), one.dma);
        check!(is_marked(&buffer, name));
    }
    check_eq!(pool.count(), count(0, 16, 16));
    check_eq!(pool.reclaim_card(), 16);
    Ok(())
}

/// The verdict of a probe that had to take place.
fn required(verdict: Option<Outcome>) -> Outcome {
    verdict.unwrap_or_else(|| Err(Stop::failed("the device was probed", fmt!(""))))
}
