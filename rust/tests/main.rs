// SPDX-License-Identifier: GPL-2.0

//! Tests of the pool in the kernel: real DMA memory, real contexts, real CPUs.
//!
//! They run when the module is loaded and report to the kernel log in KTAP. The module loads whatever
//! they find; the report says it. With `hold=1` no test runs: the driver of a platform device,
//! `/sys/devices/platform/mbpool_test`, has pools in known states until it is unbound or the module
//! unloaded; with `hold=2` it leaves out what is out, with `hold=3` it has a crowd of them.
//!
//! The tests of pools that go while chunks are out leak a few pages and keep mbpool.ko loaded, as they
//! must.

#![expect(
    clippy::result_large_err,
    reason = "a failure holds its text, as it is made where one may not allocate"
)]

mod bus;
mod cache;
mod coexist;
mod config;
mod context;
mod cpus;
mod devices;
mod ext;
mod eyes;
mod gfp;
mod greedy;
mod handles;
mod heap;
mod hold;
mod inject;
mod irq;
mod ktap;
mod layout;
mod leak;
mod life;
mod limits;
mod plain;
mod registry;
mod reserve;
mod sharing;
mod stress;
mod support;
mod sysfs;
mod tide;

use kernel::{
    driver,
    module::this_module,
    platform,
    prelude::*, //
};

module! {
    type: Module,
    name: "mbpool_test",
    authors: ["The mbpool authors"],
    description: "Tests of mbpool",
    license: "GPL",
    params: {
        hold: u8 {
            default: 0,
            description: "Run no tests but hold pools for a look at sysfs; 2: and leak them; 3: 200 of them; 4: some called by addresses",
        },
        group: usize {
            default: 0,
            description: "Run one group of tests alone, by its place in the list (0: all)",
        },
        apart: usize {
            default: 0,
            description: "Run what wants a guest of its own: 1: swiotlb=force; 2: DMA that faults; 3: into free memory; 4: allocations that fail; 5: with readers of sysfs; 6: under stress",
        },
        seconds: usize {
            default: 10,
            description: "How long the stress lasts",
        },
    },
}

/// All tests. Those that leak are the last.
const GROUPS: &[(&str, &[ktap::Test])] = &[
    ("config", config::TESTS),
    ("layout", layout::TESTS),
    ("life", life::TESTS),
    ("handles", handles::TESTS),
    ("ext", ext::TESTS),
    ("gfp", gfp::TESTS),
    ("irq", irq::TESTS),
    ("cpus", cpus::TESTS),
    ("cache", cache::TESTS),
    ("limits", limits::TESTS),
    ("sysfs", sysfs::TESTS),
    ("tide", tide::TESTS),
    ("heap", heap::TESTS),
    ("heap boxes", heap::boxes::TESTS),
    ("heap contexts", heap::contexts::TESTS),
    ("reserve", reserve::TESTS),
    ("registry", registry::TESTS),
    ("sharing", sharing::TESTS),
    ("greedy", greedy::TESTS),
    ("coexist", coexist::TESTS),
    ("platform", bus::platform::TESTS),
    ("auxiliary", bus::auxiliary::TESTS),
    ("pci", bus::pci::TESTS),
    ("limited", bus::limited::TESTS),
    ("forget", bus::forget::TESTS),
    ("leak", leak::TESTS),
];

/// Those that need a guest which is set up for them, or that leave a fault in its log.
const APART: &[(&str, &[ktap::Test])] = &[
    ("bounce", bus::bounce::TESTS),
    ("stale", bus::stale::TESTS),
    ("beside", bus::beside::TESTS),
    ("inject", inject::TESTS),
    ("eyes", eyes::TESTS),
    ("stress", stress::TESTS),
];

/// A device and its driver, with which pools are held.
struct Holding {
    _device: bus::platform::Device,
    _driver: Pin<KBox<driver::Registration<platform::Adapter<bus::platform::Driver>>>>,
}

struct Module {
    _holding: Option<Holding>,
}

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        // SAFETY: This is the first thing that the module does.
        unsafe { bus::init() };

        if module_parameters::hold.value() != 0 {
            let registration =
                driver::Registration::new(c"mbpool_test", this_module::<LocalModule>());
            return Ok(Self {
                _holding: Some(Holding {
                    _driver: KBox::pin_init(registration, GFP_KERNEL)?,
                    _device: bus::platform::Device::new()?,
                }),
            });
        }

        let devices = devices::Devices::new()?;
        let one = |groups: &'static [_], at| groups.get(at..=at).ok_or(EINVAL);
        let groups = match (
            module_parameters::apart.value().checked_sub(1),
            module_parameters::group.value().checked_sub(1),
        ) {
            (None, None) => GROUPS,
            (None, Some(at)) => one(GROUPS, at)?,
            (Some(at), _) => one(APART, at)?,
        };
        let failed = ktap::run(groups, &devices.fixture());
        if failed != 0 {
            pr_err!("{} tests failed\n", failed);
        }
        Ok(Self { _holding: None })
    }
}
