// SPDX-License-Identifier: GPL-2.0

//! What a driver may do with its `struct net_device`, and what it answers to.

use super::{
    bindings,
    napi::{
        Napi,
        Poll, //
    },
    skb::Skb,
    sysfs::VALUES, //
};
use core::marker::PhantomData;
use kernel::{
    prelude::*,
    types::Opaque, //
};

/// A network device. All methods work in any context.
///
/// # Invariants
///
/// It is a valid `struct net_device`, made by [`Registration`](super::Registration).
#[repr(transparent)]
pub(crate) struct Device(Opaque<bindings::net_device>);

impl Device {
    /// # Safety
    ///
    /// `dev` is a valid network device of a [`Registration`](super::Registration), and stays so for
    /// `'a`.
    pub(super) unsafe fn from_raw<'a>(dev: *mut bindings::net_device) -> &'a Self {
        // SAFETY: By the requirements of this function; the type is transparent.
        unsafe { &*dev.cast_const().cast() }
    }

    /// Says whether the link is up.
    pub(crate) fn set_carrier(&self, up: bool) {
        // SAFETY: Valid by the type invariant.
        unsafe {
            if up {
                bindings::netif_carrier_on(self.0.get());
            } else {
                bindings::netif_carrier_off(self.0.get());
            }
        }
    }
}

/// The transmit queue as seen by [`Transmit::transmit`], which holds its lock.
///
/// # Invariants
///
/// `0` is a valid network device that is open, and this CPU holds the lock of its transmit queue for
/// `'a`.
pub(crate) struct TxQueue<'a>(*mut bindings::net_device, PhantomData<&'a Device>);

impl TxQueue<'_> {
    /// # Safety
    ///
    /// `dev` is valid and open, and the lock of its transmit queue is held by this CPU, for the
    /// whole life of the value.
    pub(super) unsafe fn new(dev: *mut bindings::net_device) -> Self {
        // INVARIANT: By the requirements of this function.
        Self(dev, PhantomData)
    }

    /// Has the stack stop transmitting.
    pub(crate) fn stop(&self) {
        // SAFETY: Valid by the type invariant.
        unsafe { bindings::mbnic_netif_stop_queue(self.0) };
    }

    /// Takes [`TxQueue::stop`] back.
    pub(crate) fn start(&self) {
        // SAFETY: Valid by the type invariant; the device is open.
        unsafe { bindings::mbnic_netif_start_queue(self.0) };
    }
}

/// What became of a packet that was to be sent.
pub(crate) enum Verdict {
    /// Sent, or copied to where it is sent from.
    Sent,
    /// Not sent, and never will be.
    Dropped,
    /// There was no room: the queue was stopped, and the stack tries again once it is started.
    Busy,
}

/// The transmit side of a driver.
pub(crate) trait Transmit: Send {
    /// Sends a packet; in softirq or with softirqs off, on one CPU at a time.
    fn transmit(&mut self, skb: &Skb, queue: &TxQueue<'_>) -> Verdict;
}

/// The counters of `ip -s link`.
#[derive(Clone, Copy, Default)]
pub(crate) struct Stats {
    /// Frames given to the stack.
    pub(crate) rx_packets: u64,
    /// Their bytes.
    pub(crate) rx_bytes: u64,
    /// Entries of the card that could not be used, those of bad length among them.
    pub(crate) rx_errors: u64,
    /// Frames of a length that no frame or no buffer has.
    pub(crate) rx_length_errors: u64,
    /// Frames dropped for want of memory.
    pub(crate) rx_dropped: u64,
    /// Frames that the card dropped, since it had no buffer.
    pub(crate) rx_missed: u64,
    /// Frames given to the card.
    pub(crate) tx_packets: u64,
    /// Their bytes.
    pub(crate) tx_bytes: u64,
    /// Frames that the card or the driver could not send.
    pub(crate) tx_errors: u64,
    /// Frames dropped for want of memory.
    pub(crate) tx_dropped: u64,
}

/// A driver of a network card with several receive queues and one transmit queue.
///
/// Three kinds of state change hands under rules of the network stack, and each is a type of its own,
/// so that its methods get `&mut self` and need no lock. What all of them share is in the driver
/// itself, or reference counted.
pub(crate) trait Driver: Send + Sync {
    /// A receive queue, polled by its own NAPI context.
    type Rx: Poll;
    /// The transmit side that sends.
    type Tx: Transmit;
    /// The transmit side that completes, polled by its own NAPI context.
    type Done: Poll;

    /// The interface goes up: sets the card up and starts it; sleeps. On an error the card is stopped
    /// again.
    ///
    /// Polling is not yet enabled. Each queue is polled once after this returned.
    fn open(&self, dev: &Device, queues: Queues<'_, Self>) -> Result;

    /// The interface goes down: stops the card, and takes back what it had; sleeps.
    ///
    /// Polling is disabled, and no packet is being sent.
    fn stop(&self, dev: &Device, queues: Queues<'_, Self>);

    /// The card raised the vector for events; hard interrupt.
    fn event(&self, dev: &Device);

    /// The counters of `ip -s link`; may not sleep.
    fn stats(&self) -> Stats;

    /// The names of the counters of `ethtool -S`, up to 31 bytes each.
    const COUNTERS: &'static [&'static str];

    /// The counter of that number.
    fn counter(&self, number: usize) -> u64;

    /// The names of the values that sysfs shows of each receive queue.
    const VALUES: [&'static CStr; VALUES];

    /// The value of that number of a receive queue; 0 of a queue that is not there.
    fn value(&self, queue: usize, number: usize) -> u64;
}

/// All queues of a driver, while neither polling nor transmission goes on.
///
/// # Invariants
///
/// Polling of `rx` is disabled for `'a`, and nobody else has a reference to one of their queues.
pub(crate) struct Queues<'a, T: Driver + ?Sized> {
    rx: &'a [Pin<KBox<Napi<T::Rx>>>],
    /// The transmit queue's sending side.
    pub(crate) tx: &'a mut T::Tx,
    /// The transmit queue's completing side.
    pub(crate) done: &'a mut T::Done,
}

impl<'a, T: Driver + ?Sized> Queues<'a, T> {
    /// # Safety
    ///
    /// Polling of `rx` is disabled for `'a`, and nobody else has a reference to one of their queues.
    pub(super) unsafe fn new(
        rx: &'a [Pin<KBox<Napi<T::Rx>>>],
        tx: &'a mut T::Tx,
        done: &'a mut T::Done,
    ) -> Self {
        // INVARIANT: By the requirements of this function.
        Self { rx, tx, done }
    }

    /// The receive queues, in their order.
    pub(crate) fn rx(&mut self) -> impl Iterator<Item = &mut T::Rx> {
        // SAFETY: By the type invariant polling is disabled, and each queue is lent once for as long as
        // `self` is borrowed.
        self.rx.iter().map(|napi| unsafe { napi.queue() })
    }
}
