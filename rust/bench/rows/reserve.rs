// SPDX-License-Identifier: GPL-2.0

//! The reserve, where nothing is short.

use super::{
    make,
    Loops, //
};
use crate::meter::{
    barrier,
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
use mbpool::Reserve;

/// One buffer through the reserve and back.
pub(crate) fn alloc_free(
    dev: &Device<Bound>,
    meter: &mut Meter,
    loops: &Loops,
    label: Label<'_>,
) -> Result {
    let pool = make(dev, &label)?;
    let reserve = Reserve::new(&pool, 16)?;
    let cost = meter.measure(meter.iterations(), |n| {
        timed(|| {
            for _ in 0..n {
                let buffer = reserve.alloc(GFP_ATOMIC)?;
                barrier();
                drop(buffer);
            }
            Ok(())
        })
    })?;
    cost.report(label, loops.empty);
    Ok(())
}
