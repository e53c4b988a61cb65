// SPDX-License-Identifier: GPL-2.0

//! Interrupt vectors of a card, and the handlers on them.

use super::{
    bindings,
    device::{
        Device,
        Driver, //
    }, //
};
use core::ptr::NonNull;
use kernel::{
    device::Bound,
    irq::{
        Flags,
        Handler,
        IrqReturn,
        Registration, //
    },
    pci,
    prelude::*, //
};

/// An interrupt vector of the card.
pub(crate) struct Line {
    /// Its number.
    pub(crate) vector: usize,
    /// Its name in `/proc/interrupts`.
    pub(crate) name: &'static CStr,
}

/// What an interrupt does.
///
/// # Invariants
///
/// What the pointers point to is valid until the handler is freed; a NAPI context is attached.
pub(super) enum Action<T> {
    /// Has a NAPI context polled.
    Schedule(*mut bindings::napi_struct),
    /// Tells the driver of an event.
    Event(NonNull<T>, NonNull<bindings::net_device>),
}

// SAFETY: The pointers are valid until the handler is freed by the type invariant, wherever it
// runs. Scheduling a NAPI context works from any CPU, and a driver is `Sync`.
unsafe impl<T: Driver> Send for Action<T> {}
// SAFETY: As above.
unsafe impl<T: Driver> Sync for Action<T> {}

impl<T: Driver> Handler for Action<T> {
    fn handle(&self) -> IrqReturn {
        match self {
            // SAFETY: Valid and attached by the type invariant. A disabled context stays as it is.
            Action::Schedule(napi) => unsafe {
                bindings::mbnic_napi_schedule(*napi);
            },
            // SAFETY: Both are valid by the type invariant.
            Action::Event(driver, dev) => unsafe {
                driver.as_ref().event(Device::from_raw(dev.as_ptr()));
            },
        }
        IrqReturn::Handled
    }
}

/// The MSI-X vectors of a card, with their handlers.
///
/// # Invariants
///
/// The handlers borrow `vectors` for `'bound`, in truth for as long as they exist: they are declared,
/// and therefore dropped, before it, and it does not move.
pub(super) struct Lines<'bound, T: Driver + 'bound> {
    handlers: KVec<Pin<KBox<Registration<'bound, Action<T>>>>>,
    vectors: KBox<pci::IrqVectorRegistration<'bound>>,
}

impl<'bound, T: Driver + 'bound> Lines<'bound, T> {
    /// Allocates `count` vectors. May sleep.
    pub(super) fn new(pdev: &'bound pci::Device<Bound>, count: usize) -> Result<Self> {
        let count = u32::try_from(count)?;
        let types = pci::IrqTypes::default().with(pci::IrqType::MsiX);
        Ok(Self {
            handlers: KVec::new(),
            vectors: KBox::new(pdev.alloc_irq_vectors(count, count, types)?, GFP_KERNEL)?,
        })
    }

    /// Sets the handler of a vector; it runs from now on. May sleep.
    ///
    /// # Safety
    ///
    /// What `action` points to lives longer than `self`, which must not be forgotten.
    pub(super) unsafe fn handle(&mut self, line: &Line, action: Action<T>) -> Result {
        // SAFETY: The vectors are on the heap and live longer than the handler, by the type
        // invariant.
        let vectors: &'bound pci::IrqVectorRegistration<'bound> =
            unsafe { &*core::ptr::from_ref(&*self.vectors) };
        let request = vectors.index(line.vector)?.into();
        // SAFETY: The registration is kept in `self`, which is not forgotten.
        let handler =
            unsafe { Registration::new(request, Flags::TRIGGER_NONE, line.name, Ok(action)) };
        let handler = KBox::pin_init(handler, GFP_KERNEL)?;
        Ok(self.handlers.push(handler, GFP_KERNEL)?)
    }
}
