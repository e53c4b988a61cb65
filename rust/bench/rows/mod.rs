// SPDX-License-Identifier: GPL-2.0

//! Rows: what is measured of the pool, and the pools it is measured with.

pub(crate) mod cache;
pub(crate) mod pool;
pub(crate) mod reserve;

use crate::meter::{
    barrier,
    opaque,
    opaque_ref,
    timed,
    Cost,
    Label,
    Meter,
    Of, //
};
use kernel::{
    device::{
        Bound,
        Device, //
    },
    dma::DmaAddress,
    page::PAGE_SIZE,
    prelude::*, //
};
use mbpool::{
    Config,
    Handle,
    Pool,
    Posted, //
};

/// Measures a row and reports it.
pub(crate) type Measure = fn(&Device<Bound>, &mut Meter, &Loops, Label<'_>) -> Result;

/// Buffers that are handled at once where more than one is out.
pub(crate) const BULK: usize = 64;

/// What loops cost without what they are for.
pub(crate) struct Loops {
    /// A loop and nothing else.
    pub(crate) empty: Cost,
    /// A loop that writes [`BULK`] descriptors.
    pub(crate) ring: Cost,
    /// A loop over [`BULK`] handles that puts something of a buffer's size away for each.
    pub(crate) store: Cost,
}

impl Loops {
    pub(crate) fn measure(meter: &mut Meter) -> Result<Self> {
        let events = meter.iterations();
        let empty = meter.measure(events, |n| {
            timed(|| {
                for _ in 0..n {
                    barrier();
                }
                Ok(())
            })
        })?;
        let handles = [Handle::from_raw(0); BULK];
        Ok(Self {
            empty,
            ring: over_handles(meter, |_| {
                let mut ring = Ring::new();
                timed(|| {
                    let posted = handles.iter().map(|handle| Posted {
                        handle: *handle,
                        dma: DmaAddress::from(opaque(handle.into_raw())),
                    });
                    posted.for_each(ring.put());
                    ring.written();
                    Ok(())
                })
            })?,
            store: over_handles(meter, |_| {
                let mut away = [const { None }; BULK];
                let passed = timed(|| {
                    for (handle, place) in handles.iter().zip(&mut away) {
                        *place = Some((handle, opaque(handle.into_raw())));
                    }
                    Ok(())
                });
                opaque_ref(&mut away);
                passed
            })?,
        })
    }
}

/// Measures what is done with [`BULK`] buffers one by one; once a round is enough for a clock that counts
/// instructions, many times are needed for one that does not.
pub(crate) fn over_handles(
    meter: &mut Meter,
    mut once: impl FnMut(u32) -> Result<u64>,
) -> Result<Cost> {
    let times = meter.iterations().div_ceil(BULK as u32);
    meter.measure(times * BULK as u32, |_| {
        let mut passed = 0;
        for time in 0..times {
            passed += once(time)?;
        }
        Ok(passed)
    })
}

/// A card's ring: what posting in bulk fills and taking reads.
pub(crate) struct Ring {
    addresses: [DmaAddress; BULK],
    pub(crate) handles: [Handle; BULK],
}

impl Ring {
    pub(crate) fn new() -> Self {
        Self {
            addresses: [0; BULK],
            handles: [Handle::from_raw(0); BULK],
        }
    }

    /// What writes one descriptor after the other.
    #[inline]
    pub(crate) fn put(&mut self) -> impl FnMut(Posted) + '_ {
        let mut places = self.addresses.iter_mut().zip(&mut self.handles);
        move |posted| {
            if let Some((address, handle)) = places.next() {
                *address = posted.dma;
                *handle = posted.handle;
            }
        }
    }

    /// Descriptors were written, and the card may have changed them.
    #[inline]
    pub(crate) fn written(&mut self) {
        opaque_ref(self);
    }
}

/// A pool as `label` says, all there from the start.
pub(crate) fn make<'a>(dev: &'a Device<Bound>, label: &Label<'_>) -> Result<Pool<'a>> {
    let Of::Buffers(buffers) = label.of else {
        return Err(EINVAL);
    };
    let pages = pages(label.size, buffers)?;
    let config = Config::new(c"bench", label.size)
        .page_size(PAGE_SIZE)
        .max_pages(pages)
        .initial_pages(pages);
    Pool::new(dev, config, GFP_KERNEL)
}

/// Pages of a pool of so many chunks, but one at the least.
pub(crate) fn pages(size: usize, buffers: u32) -> Result<u32> {
    let in_page = PAGE_SIZE.checked_div(size).ok_or(EINVAL)?.max(1);
    Ok(buffers.div_ceil(u32::try_from(in_page)?))
}
