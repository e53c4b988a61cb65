// SPDX-License-Identifier: GPL-2.0

//! The card's DMA engine: copies between memory and the card's own, one transfer at a time, and
//! interrupts when it is done.
//!
//! It upholds that no memory is freed that the card may still use: a transfer takes the buffer, and gives it
//! back when the card is done with it, or never.

use crate::done::Done;
use core::mem;
use kernel::{
    device::{
        Bound,
        Device, //
    },
    dma::DmaAddress,
    io::Io,
    irq::{
        Flags,
        Handler,
        IrqReturn,
        Registration, //
    },
    pci,
    prelude::*,
    sync::{
        new_mutex,
        Arc,
        Mutex,
        MutexGuard, //
    },
    time::Msecs,
    transmute::{
        AsBytes,
        FromBytes, //
    }, //
};
use mbpool::{
    Buffer,
    ClientBuffer,
    DmaBox,
    DmaSlice, //
};

/// How many address bits the engine has.
pub(crate) const ADDRESS_BITS: u32 = 28;

/// Bytes of memory on the card.
pub(crate) const SIZE: usize = 4096;

/// Registers, as QEMU's docs/specs/edu.rst has them.
mod reg {
    pub(super) const INTERRUPTS: usize = 0x24;
    pub(super) const ACKNOWLEDGE: usize = 0x64;
    pub(super) const SOURCE: usize = 0x80;
    pub(super) const TARGET: usize = 0x88;
    pub(super) const COUNT: usize = 0x90;
    pub(super) const COMMAND: usize = 0x98;

    pub(super) const START: u32 = 1;
    pub(super) const TO_MEMORY: u32 = 2;
    pub(super) const INTERRUPT: u32 = 4;

    /// The interrupt of the engine's.
    pub(super) const TRANSFERRED: u32 = 0x100;

    /// Where the card's memory is, for the engine.
    pub(super) const OWN: u32 = 0x40000;

    pub(super) const SIZE: usize = 0xa0;
}

/// A transfer takes the card a tenth of a second, on a machine that has nothing else to do.
const TIMEOUT_MS: Msecs = 10_000;

/// What the engine copies from and to: memory with an address for the card, that is not the card's
/// any more once it is dropped.
pub(crate) trait Memory {
    /// The address for the card.
    fn dma_address(&self) -> DmaAddress;
    /// Bytes that are there.
    fn size(&self) -> usize;
}

macro_rules! impl_memory {
    ($($slice:ty),*) => {$(
        impl Memory for $slice {
            fn dma_address(&self) -> DmaAddress {
                self.dma_address()
            }

            fn size(&self) -> usize {
                self.len()
            }
        }
    )*};
}

impl_memory!(Buffer<'_>, ClientBuffer<'_>, DmaSlice<'_>);

impl<T: AsBytes + FromBytes> Memory for DmaBox<'_, T> {
    fn dma_address(&self) -> DmaAddress {
        self.dma_address()
    }

    fn size(&self) -> usize {
        mem::size_of::<T>()
    }
}

/// What the interrupt handler needs.
#[pin_data]
struct Registers<'bound> {
    bar: pci::Bar<'bound, { reg::SIZE }>,
    #[pin]
    done: Done,
}

/// The handler.
struct Line<'bound>(Arc<Registers<'bound>>);

impl Handler for Line<'_> {
    fn handle(&self) -> IrqReturn {
        let bar = &self.0.bar;
        let interrupts = bar.read32(reg::INTERRUPTS);
        // All ones: the card is gone.
        if interrupts == 0 || interrupts == u32::MAX {
            return IrqReturn::None;
        }
        bar.write32(interrupts, reg::ACKNOWLEDGE);
        if interrupts & reg::TRANSFERRED != 0 {
            self.0.done.signal();
        }
        IrqReturn::Handled
    }
}

/// What became of the engine.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Works,
    /// The driver is being unbound.
    Stopped,
    /// It did not end a transfer, and may still be at it.
    Stuck,
}

/// The engine.
///
/// # Invariants
///
/// The handler borrows `vectors` for `'bound`, in truth for as long as it exists: it is declared, and
/// therefore dropped, before them, and they do not move.
#[pin_data]
pub(crate) struct Engine<'bound> {
    dev: &'bound Device<Bound>,
    _line: Pin<KBox<Registration<'bound, Line<'bound>>>>,
    _vectors: KBox<pci::IrqVectorRegistration<'bound>>,
    registers: Arc<Registers<'bound>>,
    #[pin]
    state: Mutex<State>,
}

impl<'bound> Engine<'bound> {
    /// Maps the registers and requests the interrupt. May sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY`: the card has not ended what another driver began.
    pub(crate) fn new(pdev: &'bound pci::Device<Bound>) -> impl PinInit<Self, Error> + 'bound {
        pin_init::pin_init_scope(move || {
            let registers = Arc::pin_init(
                try_pin_init!(Registers {
                    bar: pdev.iomap_region_sized(0, c"mbedu")?,
                    done <- Done::new(),
                }? Error),
                GFP_KERNEL,
            )?;
            // What an earlier driver began may still go on, and would end our first transfer.
            if registers.bar.read32(reg::COMMAND) & reg::START != 0 {
                dev_err!(pdev, "the card is still busy\n");
                return Err(EBUSY);
            }
            let types = pci::IrqTypes::default().with(pci::IrqType::Msi);
            let vectors = KBox::new(pdev.alloc_irq_vectors(1, 1, types)?, GFP_KERNEL)?;
            // SAFETY: The vectors are on the heap and live longer than the handler, by the type invariant.
            let borrowed: &'bound pci::IrqVectorRegistration<'bound> =
                unsafe { &*core::ptr::from_ref(&*vectors) };
            // SAFETY: The registration goes into the engine, which is not forgotten: it is in the driver's
            // data.
            let line = unsafe {
                Registration::new(
                    borrowed.index(0)?.into(),
                    Flags::TRIGGER_NONE,
                    c"mbedu",
                    Ok(Line(registers.clone())),
                )
            };
            // INVARIANT: As the order of the fields says.
            Ok(try_pin_init!(Self {
                dev: pdev.as_ref(),
                _line: KBox::pin_init(line, GFP_KERNEL)?,
                _vectors: vectors,
                registers,
                state <- new_mutex!(State::Works, "mbedu::engine"),
            }? Error))
        })
    }

    /// Waits for the engine. Process context.
    ///
    /// # Errors
    ///
    /// - `ENODEV`: the driver is being unbound.
    /// - `EIO`: the card has not ended an earlier transfer.
    pub(crate) fn turn(&self) -> Result<Turn<'_, 'bound>> {
        let state = self.state.lock();
        match *state {
            State::Works => Ok(Turn {
                engine: self,
                state,
            }),
            State::Stopped => Err(ENODEV),
            State::Stuck => Err(EIO),
        }
    }

    /// From now on nobody gets a turn.
    pub(crate) fn stop(&self) {
        let mut state = self.state.lock();
        if *state == State::Works {
            *state = State::Stopped;
        }
    }
}

/// Who has this has the engine, and the card's memory, for itself.
pub(crate) struct Turn<'a, 'bound> {
    engine: &'a Engine<'bound>,
    state: MutexGuard<'a, State>,
}

impl Turn<'_, '_> {
    /// Has the card copy the first `len` bytes of `memory` to `at`.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: there are not so many bytes there. `memory` goes home.
    /// - `ETIMEDOUT`: the card does not say that it is done, so `memory` is leaked.
    pub(crate) fn store<M: Memory>(&mut self, memory: M, at: usize, len: usize) -> Result<M> {
        let (card, address) = places(&memory, at, len)?;
        self.run(memory, (address, card), len, 0)
    }

    /// Has the card copy `len` bytes from `at` to the beginning of `memory`. Errors as for [`Turn::store`].
    pub(crate) fn load<M: Memory>(&mut self, memory: M, at: usize, len: usize) -> Result<M> {
        let (card, address) = places(&memory, at, len)?;
        self.run(memory, (card, address), len, reg::TO_MEMORY)
    }

    fn run<M>(&mut self, memory: M, (from, to): (u32, u32), len: usize, way: u32) -> Result<M> {
        // CAST: At most `SIZE`.
        let count = len as u32;
        let Registers { bar, done, .. } = &*self.engine.registers;
        // Addresses have fewer than 32 bits; a write of 32 clears the register's upper half.
        bar.write32(from, reg::SOURCE);
        bar.write32(to, reg::TARGET);
        bar.write32(count, reg::COUNT);
        // After all writes to memory before it.
        bar.write32(way | reg::INTERRUPT | reg::START, reg::COMMAND);
        if done.wait(TIMEOUT_MS) {
            return Ok(memory);
        }
        *self.state = State::Stuck;
        mem::forget(memory);
        dev_err!(
            self.engine.dev,
            "a transfer does not end; its memory is leaked\n"
        );
        Err(ETIMEDOUT)
    }
}

/// The addresses of both ends of a transfer, for the card: its own memory and ours.
fn places(memory: &impl Memory, at: usize, len: usize) -> Result<(u32, u32)> {
    let end = at.checked_add(len).ok_or(EINVAL)?;
    if len == 0 || end > SIZE || len > memory.size() {
        return Err(EINVAL);
    }
    // Not too large: that is what the device's mask is for.
    Ok((
        reg::OWN + u32::try_from(at)?,
        u32::try_from(memory.dma_address())?,
    ))
}
