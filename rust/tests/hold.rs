// SPDX-License-Identifier: GPL-2.0

//! Pools in known states, for a script that looks at them from outside: at sysfs, and at what the
//! kernel log says when they go.

use crate::eyes::Crowd;
use kernel::{
    device::{
        Bound,
        Device, //
    },
    prelude::*, //
};
use mbpool::{
    Config,
    Ext,
    Handle,
    Pool, //
};

/// What a driver holds.
#[expect(dead_code, reason = "held to be seen, and dropped")]
pub(crate) enum Held<'bound> {
    /// Two pools in known states.
    Two(Two<'bound>),
    /// A crowd.
    Crowd(Crowd<'bound>),
}

impl<'bound> Held<'bound> {
    /// What the parameter `hold` asks for; `None` if nothing.
    pub(crate) fn new(dev: &'bound Device<Bound>) -> Result<Option<Self>> {
        match crate::module_parameters::hold.value() {
            0 => Ok(None),
            1 => Two::new(dev, false).map(Self::Two).map(Some),
            2 => Two::new(dev, true).map(Self::Two).map(Some),
            3 => Crowd::new(dev, false).map(Self::Crowd).map(Some),
            _ => Crowd::new(dev, true).map(Self::Crowd).map(Some),
        }
    }
}

/// A buffer that is lent.
struct Lent(Ext);

// SAFETY: What is lent may be given back from any thread, and this is all that is done with it.
unsafe impl Send for Lent {}

/// Two pools: `large` with 3 chunks on card, 1 used and 8 free, and of each kind of bad handle as
/// many as its place in the list; `small` with nothing in it.
pub(crate) struct Two<'bound> {
    /// Leave out what is out when the driver is unbound.
    leak: bool,
    large: Pool<'bound>,
    lent: Option<Lent>,
    _small: Pool<'bound>,
}

impl<'bound> Two<'bound> {
    fn new(dev: &'bound Device<Bound>, leak: bool) -> Result<Self> {
        let large = Config::new(c"large", 1500)
            .align(4)
            .boundary(4096)
            .page_size(8192)
            .max_pages(3)
            .initial_pages(3)
            .user_bits(2, 7);
        let large = Pool::new(dev, large, GFP_KERNEL)?;
        let small = Pool::new(dev, Config::new(c"small", 64), GFP_KERNEL)?;

        // Six out, of which one comes back, one is taken and goes again, one is lent.
        let first = large.post(GFP_KERNEL)?.handle;
        let second = large.post(GFP_KERNEL)?.handle;
        for _ in 0..2 {
            large.post(GFP_KERNEL)?;
        }
        let lent = Some(Lent(large.alloc(GFP_KERNEL)?.into_ext()));
        drop(large.alloc(GFP_KERNEL)?);
        drop(large.take(first)?);
        large.take(second)?.post();
        let bad = [
            Handle::from_raw(u32::MAX),
            second,
            second,
            first,
            first,
            first,
        ];
        for handle in bad {
            if large.take(handle).is_ok() {
                return Err(EBADF);
            }
        }
        Ok(Self {
            leak,
            large,
            lent,
            _small: small,
        })
    }
}

impl Drop for Two<'_> {
    fn drop(&mut self) {
        if self.leak {
            return;
        }
        if let Some(Lent(out)) = self.lent.take() {
            // SAFETY: The first call with these arguments.
            unsafe { (out.free)(out.pool, out.token) };
        }
        self.large.reclaim_card();
    }
}
