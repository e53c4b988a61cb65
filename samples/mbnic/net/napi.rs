// SPDX-License-Identifier: GPL-2.0

//! A NAPI context and the queue that it has to itself.
//!
//! The network stack runs a NAPI context's poll function on one CPU at a time, so what only the poll
//! function touches needs no lock and no atomics. [`Napi`] turns that promise of the stack into
//! `&mut`: the queue inside is lent either to the poll function, or, while polling is disabled, to
//! `ndo_open` and `ndo_stop`.

use super::{
    bindings,
    device::Device,
    skb::Skb,
    waker::Waker, //
};
use core::{
    cell::UnsafeCell,
    marker::PhantomPinned,
    mem::offset_of,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    types::Opaque, //
};

/// What a NAPI context polls.
pub(crate) trait Poll: Send {
    /// Does up to `budget` receive units of work and returns how many it did; in softirq, on one CPU at
    /// a time.
    ///
    /// Work other than receiving, such as freeing what was sent, is not counted, and is all that a
    /// budget of 0 asks for. Whoever returns less than `budget` is not polled again until
    /// the next interrupt, and therefore has enabled that before it returned: an interrupt that comes
    /// until then is not lost.
    fn poll(&mut self, napi: &Context<'_>, budget: usize) -> usize;

    /// What is to wake the context that polls this, if anything but the interrupt.
    fn waker(&self) -> Option<Waker> {
        None
    }
}

/// A NAPI context and its queue.
///
/// # Invariants
///
/// - Once [`Napi::attach`] returned, `napi` is on the list of a network device, until
///   [`Napi::detach`]. Before and after, nothing of the stack points to it.
/// - `queue` is accessed only by [`Napi::poll`], which the stack calls on one CPU at a time and
///   only while polling is enabled, and through [`Napi::queue`], only while it is disabled.
#[pin_data]
pub(super) struct Napi<Q> {
    #[pin]
    napi: Opaque<bindings::napi_struct>,
    waker: Option<Waker>,
    queue: UnsafeCell<Q>,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: By the type invariant the queue is accessed from one thread at a time, to which it may be
// sent. The C functions synchronize access to `napi`.
unsafe impl<Q: Send> Sync for Napi<Q> {}
// SAFETY: As above; neither is tied to a thread.
unsafe impl<Q: Send> Send for Napi<Q> {}

impl<Q: Poll> Napi<Q> {
    pub(super) fn new(queue: Q) -> impl PinInit<Self> {
        // INVARIANT: It is attached to nothing.
        pin_init!(Self {
            napi: Opaque::zeroed(),
            waker: queue.waker(),
            queue: UnsafeCell::new(queue),
            _pin: PhantomPinned,
        })
    }

    pub(super) fn as_raw(&self) -> *mut bindings::napi_struct {
        self.napi.get()
    }

    /// Adds the context, disabled, to a network device. May sleep.
    ///
    /// # Safety
    ///
    /// `dev` is valid and not registered yet. `self` is not attached, and will be detached before `dev`
    /// is freed and before `self` is dropped.
    pub(super) unsafe fn attach(self: Pin<&Self>, dev: NonNull<bindings::net_device>) {
        // SAFETY: By the requirements of this function; `poll` is a function for contexts that
        // are inside of a `Napi<Q>`.
        unsafe {
            bindings::mbnic_netif_napi_add(dev.as_ptr(), self.as_raw(), Some(Self::poll));
        }
        if let Some(waker) = &self.waker {
            // SAFETY: The context was just attached; `detach` keeps the rest.
            unsafe { waker.connect(self.as_raw()) };
        }
    }

    /// Removes the context from its network device and waits for those who look at it. May sleep.
    ///
    /// # Safety
    ///
    /// `self` is attached, and disabled.
    pub(super) unsafe fn detach(&self) {
        if let Some(waker) = &self.waker {
            waker.disconnect();
        }
        // SAFETY: By the requirements of this function. It waits for a grace period, as the waker wants.
        unsafe { bindings::mbnic_netif_napi_del(self.as_raw()) };
    }

    /// Starts polling, with one poll at once. May sleep.
    ///
    /// # Safety
    ///
    /// `self` is attached and disabled, and no reference from [`Napi::queue`] is alive.
    pub(super) unsafe fn enable(&self) {
        // SAFETY: By the requirements of this function. The end of the section without softirqs runs
        // the one that was raised, which in process context nobody else would before the next
        // interrupt.
        unsafe {
            bindings::napi_enable(self.as_raw());
            bindings::mbnic_local_bh_disable();
            bindings::mbnic_napi_schedule(self.as_raw());
            bindings::mbnic_local_bh_enable();
        }
    }

    /// Ends polling, and waits for the end of a poll that is under way. Sleeps.
    ///
    /// # Safety
    ///
    /// `self` is attached and enabled.
    pub(super) unsafe fn disable(&self) {
        // SAFETY: By the requirements of this function.
        unsafe { bindings::napi_disable(self.as_raw()) };
    }

    /// The queue.
    ///
    /// # Safety
    ///
    /// Polling is disabled and stays so for `'a`, and no other reference to the queue is alive.
    #[expect(clippy::mut_from_ref)]
    pub(super) unsafe fn queue<'a>(&'a self) -> &'a mut Q {
        // SAFETY: By the type invariant `poll` does not run, and by the requirements of this function
        // nobody else has a reference.
        unsafe { &mut *self.queue.get() }
    }

    /// The poll function that the stack calls.
    extern "C" fn poll(napi: *mut bindings::napi_struct, budget: c_int) -> c_int {
        let this = napi
            .wrapping_byte_sub(offset_of!(Self, napi))
            .cast_const()
            .cast::<Self>();
        // SAFETY: `attach` gave this function together with a context inside of a `Napi<Q>`, which by
        // the type invariant is alive.
        let this = unsafe { &*this };
        // SAFETY: The stack polls with polling enabled, and on one CPU at a time; so by the type
        // invariant there is no other reference to the queue until this function says that it is
        // done.
        let queue = unsafe { &mut *this.queue.get() };

        let limit = usize::try_from(budget).unwrap_or(0);
        let work = queue.poll(&Context(this.napi.get(), core::marker::PhantomData), limit);
        match c_int::try_from(work) {
            Ok(work) if work < budget => {
                // SAFETY: The context is valid and being polled. `queue` is not used from here on.
                unsafe { bindings::napi_complete_done(napi, work) };
                work
            }
            _ => budget,
        }
    }
}

/// A NAPI context during its poll: what a poll function may do with the stack.
///
/// # Invariants
///
/// `0` is attached to a network device that is open, and is being polled by this CPU, for `'a`.
pub(crate) struct Context<'a>(
    *mut bindings::napi_struct,
    core::marker::PhantomData<&'a Device>,
);

impl Context<'_> {
    /// Makes a packet that holds a copy of `frame`, or `None` when there is no memory.
    pub(crate) fn copy_to_skb(&self, frame: &[u8]) -> Option<Skb> {
        let len = u32::try_from(frame.len()).ok()?;
        // SAFETY: By the type invariant the context is being polled by this CPU.
        let skb = NonNull::new(unsafe { bindings::napi_alloc_skb(self.0, len) })?;
        // SAFETY: `napi_alloc_skb` gave a new packet to us.
        let mut skb = unsafe { Skb::from_raw(skb) };
        skb.append(frame).ok()?;
        Some(skb)
    }

    /// Hands a received Ethernet frame to the stack. One that is too short to be a frame is
    /// given back.
    pub(crate) fn receive(&self, skb: Skb) -> Result<(), Skb> {
        // CAST: A small constant.
        if skb.len() < bindings::ETH_HLEN as usize {
            return Err(skb);
        }
        let skb = skb.into_raw();
        // SAFETY: The packet is ours, and holds an Ethernet header as was just checked. By the type
        // invariant the context is being polled by this CPU.
        unsafe {
            bindings::mbnic_skb_set_protocol(skb, bindings::mbnic_napi_dev(self.0));
            bindings::mbnic_napi_gro_receive(self.0, skb);
        }
        Ok(())
    }

    /// Whether a task waits for this processor while the poll runs, and the scheduler has no say in it: not if
    /// the processor would be idle, nor if the poll runs in a thread of its own.
    pub(crate) fn delays_a_task(&self) -> bool {
        // SAFETY: The function has no requirements.
        unsafe { bindings::mbnic_softirq_delays_a_task() }
    }

    /// Lets the stack transmit again, if it was told to stop.
    pub(crate) fn wake_queue(&self) {
        // SAFETY: By the type invariant the device is open.
        unsafe {
            let dev = bindings::mbnic_napi_dev(self.0);
            if bindings::mbnic_netif_queue_stopped(dev) {
                bindings::mbnic_netif_wake_queue(dev);
            }
        }
    }
}
