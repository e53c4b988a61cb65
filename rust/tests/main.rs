// SPDX-License-Identifier: GPL-2.0

//! Tests of the pool in the kernel: real DMA memory, real contexts, real CPUs.
//!
//! They run when the module is loaded and report to the kernel log in KTAP. The module loads whatever
//! they find; the report says it. With `hold=1` no test runs: some pools are made in known states, and
//! stay until the module is unloaded, for a script that looks at sysfs.

mod config;
mod context;
mod cpus;
mod devices;
mod gfp;
mod handles;
mod irq;
mod ktap;
mod layout;
mod life;
mod support;
mod sysfs;
mod tide;

use kernel::prelude::*;

module! {
    type: Module,
    name: "mbpool_test",
    authors: ["The mbpool authors"],
    description: "Tests of mbpool",
    license: "GPL",
}

struct Module {
    _devices: devices::Devices,
}

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let devices = devices::Devices::new()?;
        let groups: &[(&str, &[ktap::Test])] = &[
            ("config", config::TESTS),
            ("layout", layout::TESTS),
            ("life", life::TESTS),
            ("handles", handles::TESTS),
            ("gfp", gfp::TESTS),
            ("irq", irq::TESTS),
            ("cpus", cpus::TESTS),
            ("sysfs", sysfs::TESTS),
            ("tide", tide::TESTS),
        ];
        let failed = ktap::run(groups, &devices.fixture());
        if failed != 0 {
            pr_err!("{} tests failed\n", failed);
        }
        Ok(Self { _devices: devices })
    }
}
