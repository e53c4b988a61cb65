// SPDX-License-Identifier: GPL-2.0

//! Network devices for Rust drivers: what the kernel crate does not have yet.
//!
//! The driver sees [`Registration`], [`Driver`] and the traits and values around them, none of which
//! takes `unsafe` to use, [`Registration::new`] excepted. Below them:
//!
//! | file              | what it holds                                                   |
//! |-------------------|-----------------------------------------------------------------|
//! | `device.rs`       | the driver's side: traits, `Device`, counters                   |
//! | `registration.rs` | `struct net_device`, its operations, its life                   |
//! | `napi.rs`         | NAPI contexts and the queues that they have to themselves       |
//! | `watchdog.rs`     | the reset of a card that completes nothing                      |
//! | `waker.rs`        | a poll without an interrupt                                     |
//! | `skb.rs`          | packets                                                         |
//! | `ethtool.rs`      | the card's own counters                                         |
//! | `sysfs.rs`        | values of the receive queues                                    |
//! | `irq.rs`          | MSI-X vectors and their handlers                                |
//! | `bindings.rs`     | what bindgen makes of `helpers.h`; `helpers.c`: inlines of C    |

mod bindings;
mod device;
mod ethtool;
mod irq;
mod napi;
mod registration;
mod skb;
mod sysfs;
mod waker;
mod watchdog;

pub(crate) use self::device::{
    Device,
    Driver,
    Queues,
    Stats,
    Transmit,
    TxQueue,
    Verdict, //
};
pub(crate) use self::irq::Line;
pub(crate) use self::napi::{
    Context,
    Poll, //
};
pub(crate) use self::registration::{
    Config,
    Registration, //
};
pub(crate) use self::skb::Skb;
pub(crate) use self::sysfs::VALUES;
pub(crate) use self::waker::{
    Alarm,
    Waker, //
};
