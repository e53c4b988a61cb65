// SPDX-License-Identifier: GPL-2.0

//! `/dev/mbedu`: the card's memory as a file. Position counts on and on, and the bytes go round.

use crate::{
    card::Card,
    engine::SIZE,
    gate::Gate, //
};
use kernel::{
    container_of,
    fs::{
        File,
        Kiocb, //
    },
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    miscdevice::{
        MiscDevice,
        MiscDeviceOptions,
        MiscDeviceRegistration, //
    },
    prelude::*,
    sync::Arc,
    types::ForLt, //
};

type CardGate = Gate<ForLt!(Card<'_>)>;

/// The device node.
#[pin_data]
pub(crate) struct Node {
    #[pin]
    misc: MiscDeviceRegistration<OpenFile>,
    gate: Arc<CardGate>,
}

impl Node {
    /// Makes the node; it may be open before this returns. There is one of this name, so a second card
    /// gets `EEXIST`.
    pub(crate) fn new(gate: Arc<CardGate>) -> impl PinInit<Self, Error> {
        let options = MiscDeviceOptions { name: c"mbedu" };
        // The gate comes first: whoever opens the node uses it.
        try_pin_init!(Self {
            gate,
            misc <- MiscDeviceRegistration::register(options),
        })
    }
}

/// An open file: a reader of the card's.
pub(crate) struct OpenFile {
    gate: Arc<CardGate>,
    reader: u32,
}

#[vtable]
impl MiscDevice for OpenFile {
    type Ptr = KBox<Self>;

    fn open(_: &File, misc: &MiscDeviceRegistration<Self>) -> Result<KBox<Self>> {
        // SAFETY: The only registrations of this type are fields of a `Node`, which is initialised but for
        // this field when it is registered, and stays as long as it is.
        let node = unsafe { &*container_of!(core::ptr::from_ref(misc), Node, misc) };
        let gate = node.gate.clone();
        let reader = gate.through(|card| card.join())?;
        // From here on the reader goes with the file.
        Ok(KBox::new(Self { gate, reader }, GFP_KERNEL)?)
    }

    // User memory is accessed on this side of the gate only: a fault there takes as long as it takes.

    fn read_iter(mut kiocb: Kiocb<'_, Self::Ptr>, iov: &mut IovIterDest<'_>) -> Result<usize> {
        let file = kiocb.file();
        let (at, len) = place(kiocb.ki_pos(), iov.len())?;
        if len == 0 {
            return Ok(0);
        }
        let mut bytes = KVec::from_elem(0, len, GFP_KERNEL)?;
        file.gate
            .through(|card| card.read(file.reader, at, &mut bytes))?;
        advance(&mut kiocb, iov.copy_to_iter(&bytes))
    }

    fn write_iter(mut kiocb: Kiocb<'_, Self::Ptr>, iov: &mut IovIterSource<'_>) -> Result<usize> {
        let file = kiocb.file();
        let (at, len) = place(kiocb.ki_pos(), iov.len())?;
        if len == 0 {
            return Ok(0);
        }
        let mut bytes = KVec::from_elem(0, len, GFP_KERNEL)?;
        let len = iov.copy_from_iter(&mut bytes);
        bytes.truncate(len);
        if len != 0 {
            file.gate.through(|card| card.write(at, &bytes))?;
        }
        advance(&mut kiocb, len)
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // If the driver is not bound any more, the reader is gone already.
        let _ = self.gate.through(|card| card.leave(self.reader));
    }
}

/// Where on the card a file's position is, and how many bytes can be had there at once.
fn place(position: i64, wanted: usize) -> Result<(usize, usize)> {
    let at = usize::try_from(position)? % SIZE;
    Ok((at, wanted.min(SIZE - at)))
}

/// Moves the position on, unless nothing could be copied from or to the user.
fn advance(kiocb: &mut Kiocb<'_, KBox<OpenFile>>, len: usize) -> Result<usize> {
    if len == 0 {
        return Err(EFAULT);
    }
    *kiocb.ki_pos_mut() += i64::try_from(len)?;
    Ok(len)
}
