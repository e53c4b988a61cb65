// SPDX-License-Identifier: GPL-2.0

//! The registration of a network device: from the driver's queues to `ip link`, and all the way back.

use super::{
    bindings,
    device::{
        Device,
        Driver,
        Queues,
        Transmit,
        TxQueue,
        Verdict, //
    },
    ethtool,
    irq::{
        Action,
        Line,
        Lines, //
    },
    napi::Napi,
    skb::Skb,
    sysfs,
    watchdog::Watchdog, //
};
use core::{
    cell::UnsafeCell,
    ptr::NonNull, //
};
use kernel::{
    device::{
        self,
        Bound, //
    },
    error::{
        from_result,
        to_result, //
    },
    pci,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// What a network device is made of.
pub(crate) struct Config<T: Driver> {
    /// The driver.
    pub(crate) driver: T,
    /// The receive queues, each with the number and the name of its interrupt vector.
    pub(crate) rx: KVec<(T::Rx, Line)>,
    /// The transmit side that sends.
    pub(crate) tx: T::Tx,
    /// The transmit side that completes, and its interrupt vector.
    pub(crate) done: (T::Done, Line),
    /// The vector for events.
    pub(crate) event: Line,
    /// Number of vectors to allocate.
    pub(crate) vectors: usize,
    /// The station's address.
    pub(crate) address: [u8; 6],
    /// Greatest MTU, in bytes of payload.
    pub(crate) max_mtu: u32,
}

/// The parts of a driver, at an address that the network device and the handlers know.
///
/// # Invariants
///
/// `tx` is accessed by `ndo_start_xmit`, which holds the lock of the transmit queue and finds it
/// started, and by `ndo_open` and `ndo_stop` under the RTNL, while the queue is stopped
/// and nobody who found it started still holds its lock. It is started only between the end of
/// `ndo_open` and the begin of `ndo_stop`.
pub(super) struct Parts<T: Driver> {
    pub(super) driver: T,
    rx: KVec<Pin<KBox<Napi<T::Rx>>>>,
    tx: UnsafeCell<T::Tx>,
    done: Pin<KBox<Napi<T::Done>>>,
    watchdog: Pin<KBox<Watchdog>>,
    /// Whether `ndo_open` has been and `ndo_stop` has not; changes under the RTNL.
    is_open: Atomic<bool>,
}

impl<T: Driver> Parts<T> {
    /// The parts behind a device.
    ///
    /// # Safety
    ///
    /// `dev` is the device of a [`Registration<T>`], which lives for `'a`.
    pub(super) unsafe fn of<'a>(dev: *mut bindings::net_device) -> &'a Self {
        // SAFETY: By the requirements of this function and the invariant of `Registration`.
        unsafe { &**bindings::mbnic_netdev_priv(dev).cast::<*const Self>() }
    }

    /// All queues.
    ///
    /// # Safety
    ///
    /// Polling is disabled and the transmit queue stopped for as long as the queues are borrowed, and nobody
    /// else has a reference to one of them.
    unsafe fn queues(&self) -> Queues<'_, T> {
        // SAFETY: By the requirements of this function and the type invariant.
        unsafe { Queues::new(&self.rx, &mut *self.tx.get(), self.done.queue()) }
    }
}

/// An allocated network device; dropping it frees it.
///
/// # Invariants
///
/// It is valid, and when it is dropped neither registered nor in use.
struct Netdev(NonNull<bindings::net_device>);

impl Netdev {
    /// Allocates a device with one transmit queue and `rx` receive queues, and private data that holds a
    /// pointer to [`Parts<T>`].
    fn new<T: Driver>(rx: usize) -> Result<Self> {
        let rx = u32::try_from(rx)?;
        // CAST: The size of a pointer.
        let private = core::mem::size_of::<*const Parts<T>>() as c_int;
        // SAFETY: The function has no requirements.
        let dev = unsafe { bindings::mbnic_alloc_etherdev(private, 1, rx) };
        // INVARIANT: Nobody else knows it.
        Ok(Self(NonNull::new(dev).ok_or(ENOMEM)?))
    }

    fn as_ptr(&self) -> *mut bindings::net_device {
        self.0.as_ptr()
    }
}

impl Drop for Netdev {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::free_netdev(self.as_ptr()) };
    }
}

/// A registered network device. Dropping it takes the interface down and unregisters it; sleeps.
///
/// # Invariants
///
/// - `dev` is a valid network device, whose private data is a pointer to `parts`; it is registered if
///   `registered` says so.
/// - The NAPI contexts in `parts` are attached to `dev`, and enabled exactly while `is_open` says so.
pub(crate) struct Registration<'bound, T: Driver> {
    dev: Netdev,
    registered: bool,
    lines: Option<Lines<'bound, T>>,
    parts: KBox<Parts<T>>,
}

// SAFETY: All parts may be sent to another thread, and the C functions be called from any.
unsafe impl<T: Driver> Send for Registration<'_, T> {}

impl<'bound, T: Driver + 'bound> Registration<'bound, T> {
    /// Registers a network device, which then lives on its own: it may be open before this returns.
    /// Sleeps.
    ///
    /// # Safety
    ///
    /// The returned value must not be forgotten: its [`Drop`] ends the use of what it borrows.
    pub(crate) unsafe fn new(pdev: &'bound pci::Device<Bound>, config: Config<T>) -> Result<Self> {
        let mut rx = KVec::with_capacity(config.rx.len(), GFP_KERNEL)?;
        let mut rx_lines = KVec::with_capacity(config.rx.len(), GFP_KERNEL)?;
        for (queue, line) in config.rx {
            rx.push(KBox::pin_init(Napi::new(queue), GFP_KERNEL)?, GFP_KERNEL)?;
            rx_lines.push(line, GFP_KERNEL)?;
        }
        let (done, done_line) = config.done;
        let dev = Netdev::new::<T>(rx.len())?;
        let parts = KBox::new(
            Parts {
                driver: config.driver,
                rx,
                tx: UnsafeCell::new(config.tx),
                done: KBox::pin_init(Napi::new(done), GFP_KERNEL)?,
                // SAFETY: `drop` calls it off before it frees the device, and drops the parts after that.
                watchdog: KBox::pin_init(unsafe { Watchdog::new(dev.0, Self::reset) }, GFP_KERNEL)?,
                is_open: Atomic::new(false),
            },
            GFP_KERNEL,
        )?;

        let mut this = Self::tie(dev, parts, pdev, &config.address, config.max_mtu);
        this.request_lines(pdev, config.vectors, &rx_lines, &done_line, &config.event)?;

        // SAFETY: The device is valid and complete, and not registered.
        to_result(unsafe { bindings::register_netdev(this.dev.as_ptr()) })?;
        // INVARIANT: It just was.
        this.registered = true;
        Ok(this)
    }

    /// Ties the parts to the device.
    fn tie(
        dev: Netdev,
        parts: KBox<Parts<T>>,
        pdev: &pci::Device<Bound>,
        address: &[u8; 6],
        max_mtu: u32,
    ) -> Self {
        let parent: &device::Device<Bound> = pdev.as_ref();
        // The kernel crate's device is transparent: a `struct device` at the same address.
        let parent = core::ptr::from_ref(parent).cast_mut().cast();
        // SAFETY: The device is valid and nobody else knows it yet; its private data holds a pointer.
        // The bus device is valid, and the operations are constant.
        unsafe {
            bindings::mbnic_netdev_priv(dev.as_ptr())
                .cast::<*const Parts<T>>()
                .write(&*parts);
            bindings::mbnic_set_netdev_dev(dev.as_ptr(), parent);
            bindings::mbnic_set_netdev_ops(dev.as_ptr(), &Self::OPS);
            bindings::mbnic_set_ethtool_ops(dev.as_ptr(), &ethtool::Ops::<T>::OPS);
            bindings::mbnic_set_rx_queue_group(dev.as_ptr(), &sysfs::Files::<T>::GROUP);
            bindings::mbnic_set_max_mtu(dev.as_ptr(), max_mtu);
            bindings::mbnic_eth_hw_addr_set(dev.as_ptr(), address.as_ptr());
            bindings::netif_carrier_off(dev.as_ptr());
            // The invariant of `Parts` begins here.
            bindings::mbnic_netif_stop_queue(dev.as_ptr());
        }
        // SAFETY: The device is not registered. `drop` detaches the contexts before it frees the
        // device, and the parts are dropped after that.
        unsafe {
            parts.rx.iter().for_each(|napi| napi.as_ref().attach(dev.0));
            parts.done.as_ref().attach(dev.0);
        }
        // INVARIANT: All of this was just done.
        Self {
            dev,
            registered: false,
            lines: None,
            parts,
        }
    }

    /// Puts the handlers on the interrupt vectors.
    fn request_lines(
        &mut self,
        pdev: &'bound pci::Device<Bound>,
        vectors: usize,
        rx: &[Line],
        done: &Line,
        event: &Line,
    ) -> Result {
        let parts = &*self.parts;
        let mut lines = Lines::new(pdev, vectors)?;
        // SAFETY: The contexts are attached by the type invariant, and the device and the driver are
        // valid. `drop` drops the lines before it detaches and frees anything.
        unsafe {
            for (napi, line) in parts.rx.iter().zip(rx) {
                lines.handle(line, Action::Schedule(napi.as_raw()))?;
            }
            lines.handle(done, Action::Schedule(parts.done.as_raw()))?;
            lines.handle(
                event,
                Action::Event(NonNull::from(&parts.driver), self.dev.0),
            )?;
        }
        self.lines = Some(lines);
        Ok(())
    }

    const OPS: bindings::net_device_ops = bindings::net_device_ops {
        ndo_open: Some(Self::open),
        ndo_stop: Some(Self::stop),
        ndo_start_xmit: Some(Self::start_xmit),
        ndo_tx_timeout: Some(Self::tx_timeout),
        ndo_get_stats64: Some(Self::get_stats64),
        ndo_set_mac_address: Some(bindings::eth_mac_addr),
        ndo_validate_addr: Some(bindings::eth_validate_addr),
        ..pin_init::zeroed()
    };

    extern "C" fn open(dev: *mut bindings::net_device) -> c_int {
        // SAFETY: The stack calls this for devices with `OPS`, which are registered.
        let (parts, device) = unsafe { (Parts::<T>::of(dev), Device::from_raw(dev)) };
        from_result(|| {
            // SAFETY: The device is not open yet, so polling is disabled by the type invariant, and the
            // transmit queue is stopped; both stay so since we hold the RTNL.
            let queues = unsafe { parts.queues() };
            if let Err(err) = parts.driver.open(device, queues) {
                device.set_carrier(false);
                return Err(err);
            }
            // SAFETY: The contexts are attached and disabled, and `queues` is gone. From here on the
            // queues belong to polling and to `start_xmit`, as the invariants say.
            unsafe {
                parts.rx.iter().for_each(|napi| napi.enable());
                parts.done.enable();
                bindings::mbnic_netif_wake_queue(dev);
            }
            parts.is_open.store(true, Relaxed);
            Ok(0)
        })
    }

    extern "C" fn stop(dev: *mut bindings::net_device) -> c_int {
        // SAFETY: The stack calls this for devices with `OPS`, which are registered.
        let (parts, device) = unsafe { (Parts::<T>::of(dev), Device::from_raw(dev)) };
        if !parts.is_open.load(Relaxed) {
            // A reset has failed half way.
            return 0;
        }
        parts.is_open.store(false, Relaxed);
        // SAFETY: The device is open, so polling is enabled. Once it is not, nobody wakes the transmit
        // queue; then it is stopped, and whoever held its lock is waited for.
        unsafe {
            parts.done.disable();
            parts.rx.iter().for_each(|napi| napi.disable());
            bindings::mbnic_netif_tx_disable(dev);
        }
        // SAFETY: Polling was just disabled and the transmit queue stopped; both stay so since we
        // hold the RTNL.
        parts.driver.stop(device, unsafe { parts.queues() });
        device.set_carrier(false);
        0
    }

    extern "C" fn tx_timeout(dev: *mut bindings::net_device, _queue: c_uint) {
        // SAFETY: The stack calls this for devices with `OPS`, which are registered.
        unsafe { Parts::<T>::of(dev) }.watchdog.schedule();
    }

    /// Takes an interface that is up down and up again, or only down when that fails.
    ///
    /// # Safety
    ///
    /// `dev` is the device of a registration of this very type, and the RTNL is held.
    unsafe fn reset(dev: NonNull<bindings::net_device>) {
        // SAFETY: By the requirements of this function.
        let parts = unsafe { Parts::<T>::of(dev.as_ptr()) };
        if !parts.is_open.load(Relaxed) {
            return;
        }
        Self::stop(dev.as_ptr());
        if Self::open(dev.as_ptr()) != 0 {
            // SAFETY: The device is valid, and the RTNL is held.
            unsafe { bindings::dev_close(dev.as_ptr()) };
        }
    }

    extern "C" fn start_xmit(
        skb: *mut bindings::sk_buff,
        dev: *mut bindings::net_device,
    ) -> bindings::netdev_tx_t {
        // SAFETY: The stack calls this for devices with `OPS`, with a packet that it gives away unless
        // the answer is `NETDEV_TX_BUSY`.
        let (parts, skb) = unsafe {
            let skb = Skb::from_raw(NonNull::new_unchecked(skb));
            (Parts::<T>::of(dev), core::mem::ManuallyDrop::new(skb))
        };
        // SAFETY: The stack calls this with the lock of the transmit queue held, and only when the queue
        // is started: the device is open, and by the invariant of `Parts` nobody else accesses `tx`.
        let (tx, queue) = unsafe { (&mut *parts.tx.get(), TxQueue::new(dev)) };

        match tx.transmit(&skb, &queue) {
            Verdict::Busy => return bindings::netdev_tx_NETDEV_TX_BUSY,
            Verdict::Sent => core::mem::ManuallyDrop::into_inner(skb).consume(),
            Verdict::Dropped => drop(core::mem::ManuallyDrop::into_inner(skb)),
        }
        bindings::netdev_tx_NETDEV_TX_OK
    }

    extern "C" fn get_stats64(
        dev: *mut bindings::net_device,
        storage: *mut bindings::rtnl_link_stats64,
    ) {
        // SAFETY: The stack calls this for devices with `OPS`, with counters to fill in.
        let (parts, storage) = unsafe { (Parts::<T>::of(dev), &mut *storage) };
        let stats = parts.driver.stats();
        storage.rx_packets = stats.rx_packets;
        storage.rx_bytes = stats.rx_bytes;
        storage.rx_errors = stats.rx_errors;
        storage.rx_length_errors = stats.rx_length_errors;
        storage.rx_dropped = stats.rx_dropped;
        storage.rx_missed_errors = stats.rx_missed;
        storage.tx_packets = stats.tx_packets;
        storage.tx_bytes = stats.tx_bytes;
        storage.tx_errors = stats.tx_errors;
        storage.tx_dropped = stats.tx_dropped;
    }
}

impl<T: Driver> Drop for Registration<'_, T> {
    fn drop(&mut self) {
        if self.registered {
            // SAFETY: The device is registered by the type invariant. This stops it if it is open.
            unsafe { bindings::unregister_netdev(self.dev.as_ptr()) };
        }
        // The device is not open, and will not be again.
        self.parts.watchdog.cancel();
        // From here on no handler runs.
        self.lines = None;
        // SAFETY: By the type invariant the contexts are attached, and, since the device is not open,
        // disabled. Nobody uses the device any more; it is freed next.
        unsafe {
            self.parts.rx.iter().for_each(|napi| napi.detach());
            self.parts.done.detach();
        }
    }
}
