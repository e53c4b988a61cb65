// SPDX-License-Identifier: GPL-2.0

//! The cache of a queue, which one thread has exclusively.

use super::{
    make,
    over_handles,
    Loops,
    Ring,
    BULK, //
};
use crate::meter::{
    barrier,
    opaque,
    opaque_long,
    opaque_ref,
    timed,
    Label,
    Meter, //
};
use kernel::{
    device::{
        Bound,
        Device, //
    },
    prelude::*, //
};
use mbpool::{
    Buffer,
    Handle, //
};

/// One buffer from the cache and back.
pub(crate) fn alloc_free(
    dev: &Device<Bound>,
    meter: &mut Meter,
    loops: &Loops,
    label: Label<'_>,
) -> Result {
    let pool = make(dev, &label)?;
    let mut stock = pool.cache()?;
    let mut cache = stock.on(&pool)?;
    let cost = meter.measure(meter.iterations(), |n| {
        timed(|| {
            for _ in 0..n {
                let buffer = cache.alloc(GFP_ATOMIC)?;
                opaque_ref(&mut cache);
                cache.free(buffer);
            }
            Ok(())
        })
    })?;
    cost.report(label, loops.empty);
    Ok(())
}

/// One buffer to the card, back by its handle, and home.
pub(crate) fn post_take_free(
    dev: &Device<Bound>,
    meter: &mut Meter,
    loops: &Loops,
    label: Label<'_>,
) -> Result {
    let pool = make(dev, &label)?;
    let mut stock = pool.cache()?;
    let mut cache = stock.on(&pool)?;
    let cost = meter.measure(meter.iterations(), |n| {
        timed(|| {
            for _ in 0..n {
                let posted = cache.post(GFP_ATOMIC)?;
                opaque_long(posted.dma);
                opaque_ref(&mut cache);
                let handle = Handle::from_raw(opaque(posted.handle.into_raw()));
                let buffer = cache.take(handle)?;
                opaque_ref(&mut cache);
                cache.free(buffer);
            }
            Ok(())
        })
    })?;
    cost.report(label, loops.empty);
    Ok(())
}

/// The take alone: handles in, buffers put away.
pub(crate) fn take(
    dev: &Device<Bound>,
    meter: &mut Meter,
    loops: &Loops,
    label: Label<'_>,
) -> Result {
    let pool = make(dev, &label)?;
    let mut stock = pool.cache()?;
    let mut cache = stock.on(&pool)?;
    let cost = over_handles(meter, |_| {
        let mut handles = [Handle::from_raw(0); BULK];
        for handle in &mut handles {
            *handle = cache.post(GFP_ATOMIC)?.handle;
        }
        let mut away: [Option<Buffer<'_>>; BULK] = [const { None }; BULK];
        let passed = timed(|| {
            for (handle, place) in handles.iter().zip(&mut away) {
                let buffer = cache.take(Handle::from_raw(opaque(handle.into_raw())))?;
                opaque_ref(&mut cache);
                core::mem::forget(place.replace(buffer));
            }
            Ok(())
        });
        for buffer in away.into_iter().flatten() {
            cache.free(buffer);
        }
        passed
    })?;
    cost.report(label, loops.store);
    Ok(())
}

/// A look at a chunk that the card holds.
pub(crate) fn peek(
    dev: &Device<Bound>,
    meter: &mut Meter,
    loops: &Loops,
    label: Label<'_>,
) -> Result {
    let pool = make(dev, &label)?;
    let mut stock = pool.cache()?;
    let mut cache = stock.on(&pool)?;
    let handle = cache.post(GFP_KERNEL)?.handle;
    let cost = meter.measure(meter.iterations(), |n| {
        timed(|| {
            for _ in 0..n {
                let _peek = cache.peek(Handle::from_raw(opaque(handle.into_raw())))?;
                barrier();
            }
            Ok(())
        })
    })?;
    cost.report(label, loops.empty);
    cache.reclaim_card();
    Ok(())
}

/// To the card, back and home, 64 at once; the cost of one.
pub(crate) fn bulk(
    dev: &Device<Bound>,
    meter: &mut Meter,
    loops: &Loops,
    label: Label<'_>,
) -> Result {
    let pool = make(dev, &label)?;
    let mut stock = pool.cache()?;
    let mut cache = stock.on(&pool)?;
    let mut ring = Ring::new();
    let mut batch = pool.batch();
    let cost = over_handles(meter, |_| {
        timed(|| {
            let posted = cache.post_each(BULK, GFP_ATOMIC, ring.put())?;
            ring.written();
            let taken = cache.take_many(&ring.handles, &mut batch);
            cache.free_many(&mut batch);
            if posted != BULK || taken != BULK {
                return Err(EIO);
            }
            Ok(())
        })
    })?;
    cost.report(label, loops.ring);
    Ok(())
}
