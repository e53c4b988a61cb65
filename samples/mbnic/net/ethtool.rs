// SPDX-License-Identifier: GPL-2.0

//! `ethtool`: the link, and the card's own counters (`ethtool -S`).

use super::{
    bindings,
    device::Driver,
    registration::Parts, //
};
use core::marker::PhantomData;
use kernel::prelude::*;

/// Bytes of a counter's name, its terminating zero among them.
const NAME: usize = bindings::ETH_GSTRING_LEN as usize;
/// The set of names that the counters are.
const COUNTERS: c_int = bindings::ethtool_stringset_ETH_SS_STATS as c_int;

/// The operations for devices of a driver.
pub(super) struct Ops<T>(PhantomData<T>);

impl<T: Driver> Ops<T> {
    pub(super) const OPS: bindings::ethtool_ops = bindings::ethtool_ops {
        get_link: Some(bindings::ethtool_op_get_link),
        get_sset_count: Some(Self::get_sset_count),
        get_strings: Some(Self::get_strings),
        get_ethtool_stats: Some(Self::get_ethtool_stats),
        ..pin_init::zeroed()
    };

    extern "C" fn get_sset_count(_dev: *mut bindings::net_device, set: c_int) -> c_int {
        match c_int::try_from(T::COUNTERS.len()) {
            Ok(count) if set == COUNTERS => count,
            _ => EOPNOTSUPP.to_errno(),
        }
    }

    extern "C" fn get_strings(_dev: *mut bindings::net_device, _set: u32, names: *mut u8) {
        // SAFETY: The only set is that of the counters, and the stack gives room for as many names as
        // `get_sset_count` says.
        let names = unsafe { core::slice::from_raw_parts_mut(names, T::COUNTERS.len() * NAME) };
        for (to, name) in names.chunks_exact_mut(NAME).zip(T::COUNTERS) {
            to.fill(0);
            // The last byte stays zero.
            for (to, from) in to.iter_mut().zip(name.bytes().take(NAME - 1)) {
                *to = from;
            }
        }
    }

    extern "C" fn get_ethtool_stats(
        dev: *mut bindings::net_device,
        _stats: *mut bindings::ethtool_stats,
        values: *mut u64,
    ) {
        // SAFETY: The stack calls this for registered devices with these operations, and gives room for
        // as many values as `get_sset_count` says.
        let (parts, values) = unsafe {
            let values = core::slice::from_raw_parts_mut(values, T::COUNTERS.len());
            (Parts::<T>::of(dev), values)
        };
        for (number, value) in values.iter_mut().enumerate() {
            *value = parts.driver.counter(number);
        }
    }
}
