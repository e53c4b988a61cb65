// SPDX-License-Identifier: GPL-2.0

//! What a receive queue shows in sysfs: `/sys/class/net/<interface>/queues/rx-<N>/mbnic/`.
//!
//! The network stack makes a directory for each queue, and has a place in it for a group of a driver's
//! own files.

use super::{
    bindings,
    device::Driver,
    registration::Parts, //
};
use core::marker::PhantomData;
use kernel::{
    prelude::*,
    str::as_char_ptr_in_const_context, //
};

/// The number of values.
pub(crate) const VALUES: usize = 4;

/// The files of a driver's queues.
pub(super) struct Files<T>(PhantomData<T>);

impl<T: Driver> Files<T> {
    pub(super) const GROUP: bindings::attribute_group = bindings::attribute_group {
        name: as_char_ptr_in_const_context(c"mbnic"),
        __bindgen_anon_2: bindings::attribute_group__bindgen_ty_2 {
            attrs_const: Self::ATTRIBUTES.as_ptr(),
        },
        ..pin_init::zeroed()
    };

    /// One for each value, and a null at the end.
    const ATTRIBUTES: &'static [*const bindings::attribute; VALUES + 1] = &[
        &Self::file::<0>().attr,
        &Self::file::<1>().attr,
        &Self::file::<2>().attr,
        &Self::file::<3>().attr,
        core::ptr::null(),
    ];

    /// The file of a value, which anybody may read.
    #[cfg_attr(
        not(CONFIG_DEBUG_LOCK_ALLOC),
        expect(
            clippy::needless_update,
            reason = "lockdep has fields of its own there"
        )
    )]
    const fn file<const N: usize>() -> &'static bindings::rx_queue_attribute {
        const {
            &bindings::rx_queue_attribute {
                attr: bindings::attribute {
                    name: as_char_ptr_in_const_context(T::VALUES[N]),
                    mode: 0o444,
                    ..pin_init::zeroed()
                },
                show: Some(Self::show::<N>),
                store: None,
            }
        }
    }

    extern "C" fn show<const N: usize>(
        queue: *mut bindings::netdev_rx_queue,
        text: *mut c_char,
    ) -> isize {
        // SAFETY: The stack calls this for a queue of a registered device with this group.
        let (parts, number) = unsafe {
            let dev = bindings::mbnic_rx_queue_dev(queue);
            (Parts::<T>::of(dev), bindings::mbnic_rx_queue_index(queue))
        };
        // CAST: `u32` to `usize`, which is no smaller on any machine that runs Linux.
        let value = parts.driver.value(number as usize, N);
        // SAFETY: sysfs gives a page to write to, and the format takes one number.
        let len = unsafe { bindings::sysfs_emit(text, c"%llu\n".as_char_ptr(), value) };
        // CAST: At most a page.
        len as isize
    }
}
