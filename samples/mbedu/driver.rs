// SPDX-License-Identifier: GPL-2.0

//! A driver for QEMU's `edu` card, with mbpool for its memory: `/dev/mbedu` stores bytes on the card and
//! brings them back.
//!
//! It shows what a network driver does not need: buffers set aside for who must not fail, a pool that
//! open files share, and memory of any size; all of that is in [`card`]. [`file`] is the device node,
//! [`gate`] why a file may stay open when the driver is unbound, [`engine`] the card's DMA engine.
//! `Documentation/mbedu.rst` says what to copy from here.

mod card;
mod done;
mod engine;
mod file;
mod gate;

use card::Card;
use file::Node;
use gate::{
    Gate,
    Opening, //
};
use kernel::{
    device::Core,
    dma::{
        Device as _,
        DmaMask, //
    },
    pci,
    prelude::*,
    sync::Arc,
    types::ForLt, //
};

/// The card, whose vendor is none that the kernel crate knows, so it is found by its class: others.
const VENDOR: u16 = 0x1234;
const DEVICE: u16 = 0x11e8;
const CLASS: u32 = 0x00_ff00;
const CLASS_MASK: u32 = 0xff_ff00;

struct Mbedu;

kernel::pci_device_table!(
    PCI_TABLE,
    <Mbedu as pci::Driver>::IdInfo,
    [(pci::DeviceId::from_class(CLASS, CLASS_MASK), ())]
);

/// What is kept while the driver is bound, in the order in which it goes: first nobody opens `/dev/mbedu`
/// any more, then who has it open is kept out, and then there is nobody left who uses the card.
#[pin_data]
struct Bound<'bound> {
    #[pin]
    node: Node,
    opening: Opening<ForLt!(Card<'_>)>,
    card: Pin<KBox<Card<'bound>>>,
}

impl pci::Driver for Mbedu {
    type IdInfo = ();
    type Data<'bound> = Bound<'bound>;

    const ID_TABLE: pci::IdTable<Self::IdInfo> = &PCI_TABLE;

    fn probe<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
        pin_init::pin_init_scope(move || {
            if (pdev.vendor_id().as_raw(), pdev.device_id()) != (VENDOR, DEVICE) {
                return Err(ENODEV);
            }
            pdev.enable_device_mem()?;
            pdev.set_master();
            // SAFETY: Nothing was allocated for DMA yet.
            unsafe { pdev.dma_set_mask_and_coherent(DmaMask::new::<{ engine::ADDRESS_BITS }>())? };

            let verify = module_parameters::verify.value();
            let card = KBox::pin_init(Card::new(pdev, verify), GFP_KERNEL)?;
            card.test()?;
            let gate = Arc::pin_init(Gate::new(), GFP_KERNEL)?;
            // SAFETY: The card is on the heap, and goes after the opening, which is not forgotten: both are in
            // the driver's data.
            let opening = unsafe { Opening::new(gate.clone(), &*card) };
            Ok(try_pin_init!(Bound {
                card,
                opening,
                node <- Node::new(gate),
            }? Error))
        })
    }

    fn unbind<'bound>(_: &'bound pci::Device<Core<'_>>, this: Pin<&Self::Data<'bound>>) {
        // Who waits for a turn need not have it.
        this.card.stop();
    }
}

kernel::module_pci_driver! {
    type: Mbedu,
    name: "mbedu",
    authors: ["The mbpool authors"],
    description: "Sample driver for QEMU's edu card with mbpool buffers",
    license: "GPL",
    params: {
        verify: bool {
            default: true,
            description: "Read back what was written and compare (Y)",
        },
    },
}
