// SPDX-License-Identifier: GPL-2.0

//! The card and its buffers: which memory is for what.
//!
//! Each of the three ways to a buffer is taken where its promise is needed. What is *written* may be what
//! frees memory elsewhere, so it must go on when there is none: buffers are set aside ([`Reserve`]).
//! *Reading* can be refused, but not because somebody else reads much: open files share a pool, and
//! each has its minimum ([`Client`]). What is read back to be *compared* is as long as what was written,
//! which may be a byte: it comes from the [`Heap`], and nothing depends on it.

use crate::engine::{
    Engine,
    SIZE, //
};
use core::mem;
use kernel::{
    device::{
        Bound,
        Device, //
    },
    dma::DataDirection,
    new_mutex,
    pci,
    prelude::*,
    str::CString,
    sync::{
        Arc,
        Mutex, //
    },
    transmute::{
        AsBytes,
        FromBytes, //
    }, //
};
use mbpool::{
    Client,
    Config,
    Heap,
    HeapConfig,
    Pool,
    Quota,
    Reserve, //
};

/// Writes that can be under way at once, if there is memory.
const WRITES: u32 = 4;

/// Buffers that are set aside for them: so many can be under way whether there is memory or not.
const SET_ASIDE: u32 = 1;

/// Reads that can be under way at once, in all.
const READS: u32 = 8;

/// A card that the driver is bound to.
#[pin_data]
pub(crate) struct Card<'bound> {
    dev: &'bound Device<Bound>,
    #[pin]
    engine: Engine<'bound>,
    heap: Heap<'bound>,
    writes: Reserve<Arc<Pool<'bound>>>,
    #[pin]
    readers: Mutex<Readers<'bound>>,
    verify: bool,
}

/// The open files. A file may stay open when the driver is unbound, its client may not, so it is kept here.
#[derive(Default)]
struct Readers<'bound> {
    open: KVec<(u32, Arc<Client<'bound>>)>,
    /// How many there ever were.
    count: u32,
}

/// What the card is tested with.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
struct Pattern {
    word: u64,
    inverse: u64,
}

// SAFETY: Words without padding, of which any value is good.
unsafe impl FromBytes for Pattern {}
// SAFETY: As above.
unsafe impl AsBytes for Pattern {}

impl<'bound> Card<'bound> {
    pub(crate) fn new(
        pdev: &'bound pci::Device<Bound>,
        verify: bool,
    ) -> impl PinInit<Self, Error> + 'bound {
        let dev: &'bound Device<Bound> = pdev.as_ref();
        try_pin_init!(Self {
            dev,
            engine <- Engine::new(pdev),
            heap: Heap::new(dev, HeapConfig::new(c"scratch"))?,
            writes: {
                let config = Config::new(c"writes", SIZE).max_pages(WRITES);
                let pool = Pool::new(dev, config, GFP_KERNEL)?;
                Reserve::new(Arc::new(pool, GFP_KERNEL)?, SET_ASIDE)?
            },
            readers <- new_mutex!(Readers::default(), "mbedu::readers"),
            verify,
        }? Error)
    }

    /// Tries whether DMA works, in both directions and with the interrupt. Leaves the card's memory as it
    /// was.
    pub(crate) fn test(&self) -> Result {
        const LEN: usize = mem::size_of::<Pattern>();

        let word = 0x0123_4567_89ab_cdef;
        let pattern = Pattern {
            word,
            inverse: !word,
        };
        let sent = self.heap.boxed_init(pattern, GFP_KERNEL)?;
        let received = self.heap.boxed::<Pattern>(GFP_KERNEL | __GFP_ZERO)?;
        let before = self.heap.boxed::<Pattern>(GFP_KERNEL)?;

        let mut turn = self.engine.turn()?;
        let before = turn.load(before, 0, LEN)?;
        sent.sync(DataDirection::ToDevice);
        let sent = turn.store(sent, 0, LEN)?;
        let received = turn.load(received, 0, LEN)?;
        received.sync(DataDirection::FromDevice);
        turn.store(before, 0, LEN)?;
        self.check(*received == *sent)
    }

    fn check(&self, is_same: bool) -> Result {
        if !is_same {
            dev_err!(self.dev, "the card does not hold what it was given\n");
            return Err(EIO);
        }
        Ok(())
    }

    /// From now on nothing is begun.
    pub(crate) fn stop(&self) {
        self.engine.stop();
    }

    /// A file was opened: makes a reader for it, which has a number. Sleeps.
    ///
    /// # Errors
    ///
    /// `EBUSY`: there are as many as there are reads that can be under way at once.
    pub(crate) fn join(&self) -> Result<u32> {
        let number = {
            let mut readers = self.readers.lock();
            readers.count = readers.count.wrapping_add(1);
            readers.count
        };
        // All ask for the same but for the name, so they share a pool. One read each, at any time; who
        // reads more at once gets what nobody else needs.
        let name = CString::try_from_fmt(fmt!("reader-{number}"))?;
        let config = Config::new(&name, SIZE).max_pages(READS);
        let client = Client::new(self.dev, config, Quota::new(1), GFP_KERNEL);
        let client = client.map_err(|error| if error == ENOSPC { EBUSY } else { error })?;
        let reader = (number, Arc::new(client, GFP_KERNEL)?);
        self.readers.lock().open.push(reader, GFP_KERNEL)?;
        Ok(number)
    }

    /// The file of reader `number` was closed. Sleeps.
    pub(crate) fn leave(&self, number: u32) -> Result {
        let mut readers = self.readers.lock();
        let at = readers.open.iter().position(|(other, _)| *other == number);
        let reader = readers.open.remove(at.ok_or(ENOENT)?);
        drop(readers);
        // Here the client goes, when nobody has the lock.
        drop(reader);
        Ok(())
    }

    fn reader(&self, number: u32) -> Result<Arc<Client<'bound>>> {
        let readers = self.readers.lock();
        let mut open = readers.open.iter();
        let reader = open.find(|(other, _)| *other == number);
        Ok(reader.ok_or(ENOENT)?.1.clone())
    }

    /// Fills `bytes` from `at` of the card, for reader `number`. Sleeps.
    ///
    /// # Errors
    ///
    /// - `EAGAIN`: this reader has its minimum, and there is none for it beyond that now.
    /// - Those of the engine.
    pub(crate) fn read(&self, number: u32, at: usize, bytes: &mut [u8]) -> Result {
        let reader = self.reader(number)?;
        let buffer = reader.alloc(GFP_KERNEL).map_err(|_| EAGAIN)?;
        let buffer = self.engine.turn()?.load(buffer, at, bytes.len())?;
        buffer.sync(0, bytes.len(), DataDirection::FromDevice)?;
        bytes.copy_from_slice(buffer.get(..bytes.len()).ok_or(EINVAL)?);
        Ok(())
    }

    /// Stores `bytes` at `at` of the card, and reads them back to compare. Sleeps; does not fail for want of
    /// memory.
    ///
    /// # Errors
    ///
    /// - `EIO`: the card does not hold what it was given.
    /// - Those of the engine.
    pub(crate) fn write(&self, at: usize, bytes: &[u8]) -> Result {
        let len = bytes.len();
        // Before one of the set aside is ours: nobody is to wait for that one while we look for memory. If
        // there is none, nothing is compared.
        let scratch = if self.verify {
            self.heap.alloc(len, GFP_KERNEL | __GFP_NOWARN).ok()
        } else {
            None
        };
        let mut buffer = self.writes.alloc(GFP_KERNEL)?;
        buffer.get_mut(..len).ok_or(EINVAL)?.copy_from_slice(bytes);
        buffer.sync(0, len, DataDirection::ToDevice)?;

        let mut turn = self.engine.turn()?;
        // The buffer goes home here, to who waits for it.
        drop(turn.store(buffer, at, len)?);
        let Some(scratch) = scratch else {
            return Ok(());
        };
        // Still our turn: nobody has written anything else there.
        let scratch = turn.load(scratch, at, len)?;
        scratch.sync(DataDirection::FromDevice);
        self.check(scratch[..] == *bytes)
    }
}
