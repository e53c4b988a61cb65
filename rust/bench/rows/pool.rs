// SPDX-License-Identifier: GPL-2.0

//! The shared pool: any context, any CPU.

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
    timed,
    Label,
    Meter, //
};
use kernel::{
    device::{
        Bound,
        Device, //
    },
    prelude::*,
    sync::rcu, //
};
use mbpool::{
    Buffer,
    Handle, //
};

/// One buffer from the pool and back.
pub(crate) fn alloc_free(
    dev: &Device<Bound>,
    meter: &mut Meter,
    loops: &Loops,
    label: Label<'_>,
) -> Result {
    let pool = make(dev, &label)?;
    let cost = meter.measure(meter.iterations(), |n| {
        timed(|| {
            for _ in 0..n {
                let buffer = pool.alloc(GFP_ATOMIC)?;
                barrier();
                drop(buffer);
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
    let cost = meter.measure(meter.iterations(), |n| {
        timed(|| {
            for _ in 0..n {
                let posted = pool.post(GFP_ATOMIC)?;
                opaque_long(posted.dma);
                let handle = Handle::from_raw(opaque(posted.handle.into_raw()));
                drop(pool.take(handle)?);
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
    let cost = over_handles(meter, |_| {
        let mut handles = [Handle::from_raw(0); BULK];
        for handle in &mut handles {
            *handle = pool.post(GFP_ATOMIC)?.handle;
        }
        let mut away: [Option<Buffer<'_>>; BULK] = [const { None }; BULK];
        timed(|| {
            for (handle, place) in handles.iter().zip(&mut away) {
                let buffer = pool.take(Handle::from_raw(opaque(handle.into_raw())))?;
                core::mem::forget(place.replace(buffer));
            }
            Ok(())
        })
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
    let handle = pool.post(GFP_KERNEL)?.handle;
    let cost = meter.measure(meter.iterations(), |n| {
        timed(|| {
            for _ in 0..n {
                let _peek = pool.peek(Handle::from_raw(opaque(handle.into_raw())))?;
                barrier();
            }
            Ok(())
        })
    })?;
    cost.report(label, loops.empty);
    pool.reclaim_card();
    Ok(())
}

/// The same in an RCU read-side section that there is anyway.
pub(crate) fn peek_under(
    dev: &Device<Bound>,
    meter: &mut Meter,
    loops: &Loops,
    label: Label<'_>,
) -> Result {
    let pool = make(dev, &label)?;
    let handle = pool.post(GFP_KERNEL)?.handle;
    let cost = meter.measure(meter.iterations(), |n| {
        let rcu = rcu::read_lock();
        timed(|| {
            for _ in 0..n {
                let _peek = pool.peek_under(Handle::from_raw(opaque(handle.into_raw())), &rcu)?;
                barrier();
            }
            Ok(())
        })
    })?;
    cost.report(label, loops.empty);
    pool.reclaim_card();
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
    let mut ring = Ring::new();
    let cost = over_handles(meter, |_| {
        let mut batch = pool.batch();
        timed(|| {
            let posted = pool.post_each(BULK, GFP_ATOMIC, ring.put())?;
            ring.written();
            let taken = pool.take_many(&ring.handles, &mut batch);
            drop(batch);
            if posted != BULK || taken != BULK {
                return Err(EIO);
            }
            Ok(())
        })
    })?;
    cost.report(label, loops.ring);
    Ok(())
}
