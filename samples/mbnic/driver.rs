// SPDX-License-Identifier: GPL-2.0

//! A network driver for the mbcard, with mbpool for its buffers.
//!
//! It shows how a driver uses a pool; start reading at [`rx`]. A receive group of the card is a NAPI
//! context with an interrupt vector and two pools of its own; sending takes one more of
//! each. `Documentation/mbnic.rst` says what to copy from here.

mod card;
mod counter;
mod net;
mod pace;
mod ring;
mod rx;
mod stock;
mod tx;

use card::{
    regs,
    Card, //
};
use kernel::{
    device::Core,
    dma::{
        Device as _,
        DmaMask, //
    },
    pci,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};
use pace::Load;

/// The longest payload: what a large buffer holds besides an Ethernet header and a VLAN tag.
const MAX_MTU: usize = rx::LARGE - 18;

/// The largest ring of free buffers: the return ring holds those of two, and a ring 16384 entries.
const MAX_RING: u16 = regs::RING_SIZE_MAX / 2;

/// The smallest ring with zero copy. The stack puts off to free up to 64 packets for each processor that
/// receives (net.core.skb_defer_max) until that processor receives again, which it would not if they had
/// all buffers; a pool has twice as many as the ring.
const MIN_RING_ZERO_COPY: u16 = 64;

/// The names of the groups' vectors.
const GROUP_NAMES: [&CStr; regs::GROUPS] = [
    c"mbnic-rx0",
    c"mbnic-rx1",
    c"mbnic-rx2",
    c"mbnic-rx3",
    c"mbnic-rx4",
    c"mbnic-rx5",
    c"mbnic-rx6",
    c"mbnic-rx7",
];

struct Mbnic;

kernel::pci_device_table!(
    PCI_TABLE,
    <Mbnic as pci::Driver>::IdInfo,
    [(
        pci::DeviceId::from_id(pci::Vendor::REDHAT_QUMRANET, regs::DEVICE_ID as u32),
        ()
    )]
);

/// What is kept while the driver is bound; dropping it unregisters the interface.
struct Nic<'bound> {
    _interface: net::Registration<'bound, Port<'bound>>,
}

impl pci::Driver for Mbnic {
    type IdInfo = ();
    type Data<'bound> = Nic<'bound>;

    const ID_TABLE: pci::IdTable<Self::IdInfo> = &PCI_TABLE;

    fn probe<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
        pdev.enable_device_mem()?;
        pdev.set_master();
        // SAFETY: Nothing was allocated for DMA yet.
        unsafe { pdev.dma_set_mask_and_coherent(DmaMask::new::<64>())? };

        let card = Arc::new(Card::new(pdev)?, GFP_KERNEL)?;
        card.reset()?;
        let config = configure(card)?;
        // SAFETY: It goes into the driver's data, which is dropped when the driver is unbound.
        let interface = unsafe { net::Registration::new(pdev, config)? };
        Ok(Nic {
            _interface: interface,
        })
    }
}

/// Makes the queues, their pools and their rings, as the module's parameters want them.
// Out of line, as `receiver`, so that what it has on the stack is gone when the interface is registered.
#[inline(never)]
fn configure<'bound>(card: Arc<Card<'bound>>) -> Result<net::Config<Port<'bound>>> {
    let wanted = module_parameters::groups.value();
    let size = module_parameters::ring.value();
    let zero_copy = module_parameters::zerocopy.value();
    let groups = usize::try_from(wanted)?.min(card.groups());
    let least = if zero_copy == 1 {
        MIN_RING_ZERO_COPY
    } else {
        0
    };
    let is_ring = regs::ring_size_is_valid(u32::from(size)) && (least..=MAX_RING).contains(&size);
    if groups == 0 || zero_copy > 1 || !is_ring {
        dev_err!(
            card.device(),
            "groups={wanted} zerocopy={zero_copy} ring={size}: out of limits\n"
        );
        return Err(EINVAL);
    }

    let config = rx::Config {
        size,
        low: module_parameters::low.value(),
        zero_copy: zero_copy == 1,
    };
    let load = Arc::new(Load::new()?, GFP_KERNEL)?;
    let tx = tx::Shared::new(card.clone(), size)?;
    let mut rx = KVec::with_capacity(groups, GFP_KERNEL)?;
    let mut counters = KVec::with_capacity(groups, GFP_KERNEL)?;
    for number in 0..groups {
        rx.push(receiver(&card, number, &config, &load)?, GFP_KERNEL)?;
    }
    for (group, _) in &rx {
        counters.push(group.counters(), GFP_KERNEL)?;
    }
    let line = |vector, name| net::Line { vector, name };
    Ok(net::Config {
        rx,
        tx: tx::Sender::new(tx.clone())?,
        done: (
            tx::Completer::new(tx.clone())?,
            line(regs::VECTOR_TX, c"mbnic-tx"),
        ),
        event: line(regs::VECTOR_MISC, c"mbnic-event"),
        vectors: regs::VECTORS,
        address: card.address(),
        max_mtu: u32::try_from(MAX_MTU)?,
        driver: Port {
            card,
            rx: counters,
            tx,
            missed: Atomic::new(0),
        },
    })
}

/// A receive group and its interrupt.
#[inline(never)]
fn receiver<'bound>(
    card: &Arc<Card<'bound>>,
    number: usize,
    config: &rx::Config,
    load: &Arc<Load>,
) -> Result<(rx::Group<'bound>, net::Line)> {
    let line = net::Line {
        vector: number,
        name: GROUP_NAMES.get(number).ok_or(EINVAL)?,
    };
    let group = rx::Group::new(card.clone(), number, config, load.clone())?;
    Ok((group, line))
}

/// The interface: what the queues share.
struct Port<'bound> {
    card: Arc<Card<'bound>>,
    rx: KVec<Arc<rx::Counters>>,
    tx: Arc<tx::Shared<'bound>>,
    /// Frames that the card missed until it was last reset.
    missed: Atomic<u64>,
}

impl<'bound> net::Driver for Port<'bound> {
    type Rx = rx::Group<'bound>;
    type Tx = tx::Sender<'bound>;
    type Done = tx::Completer<'bound>;

    fn open(&self, dev: &net::Device, mut queues: net::Queues<'_, Self>) -> Result {
        self.start(&mut queues)
            .inspect_err(|_| self.halt(&mut queues))?;
        dev.set_carrier(self.card.link());
        Ok(())
    }

    fn stop(&self, _dev: &net::Device, mut queues: net::Queues<'_, Self>) {
        self.halt(&mut queues);
    }

    fn event(&self, dev: &net::Device) {
        self.card.take_events();
        dev.set_carrier(self.card.link());
    }

    fn stats(&self) -> net::Stats {
        let mut stats = net::Stats {
            rx_missed: self.missed.load(Relaxed).wrapping_add(self.card.missed()),
            tx_packets: self.tx.packets.get(),
            tx_bytes: self.tx.bytes.get(),
            tx_errors: self.tx.errors.get() + self.tx.refused.get(),
            tx_dropped: self.tx.dropped.get(),
            ..Default::default()
        };
        for group in &self.rx {
            stats.rx_packets += group.packets.get();
            stats.rx_bytes += group.bytes.get();
            stats.rx_errors += group.errors.get();
            stats.rx_length_errors += group.length_errors.get();
            stats.rx_dropped += group.dropped.get();
        }
        stats
    }

    const COUNTERS: &'static [&'static str] = &regs::stats::NAMES;

    fn counter(&self, number: usize) -> u64 {
        // Each counter takes two registers.
        self.card.counter(number * 8)
    }

    const VALUES: [&'static CStr; net::VALUES] =
        [c"fill_small", c"fill_large", c"overloaded", c"starved"];

    fn value(&self, queue: usize, number: usize) -> u64 {
        let Some(group) = self.rx.get(queue) else {
            return 0;
        };
        let values = [
            &group.fill_small,
            &group.fill_large,
            &group.overloaded,
            &group.starved,
        ];
        values.get(number).map_or(0, |value| value.get())
    }
}

impl<'bound> Port<'bound> {
    /// Brings the card up with all buffers on it.
    fn start(&self, queues: &mut net::Queues<'_, Self>) -> Result {
        self.card.reset()?;
        queues.tx.lay_out();
        queues.done.lay_out();
        self.tx.reclaim();
        self.tx.start()?;
        for group in queues.rx() {
            group.start()?;
        }
        self.card.start();
        Ok(())
    }

    /// Stops the card and takes all buffers back.
    fn halt(&self, queues: &mut net::Queues<'_, Self>) {
        self.missed.add(self.card.missed(), Relaxed);
        if self.card.reset().is_err() {
            // It may still write to the buffers. They stay as they are until a reset succeeds, and if none
            // does, the pools leak them rather than free them.
            return;
        }
        self.tx.reclaim();
        for group in queues.rx() {
            group.reclaim();
        }
    }
}

kernel::module_pci_driver! {
    type: Mbnic,
    name: "mbnic",
    authors: ["The mbpool authors"],
    description: "Sample network driver with mbpool receive buffers",
    license: "GPL",
    params: {
        groups: u32 {
            default: 4,
            description: "Receive groups to use, 1 to 8 (4)",
        },
        ring: u16 {
            default: 256,
            description: "Buffers of either size in a group, a power of two from 2, 64 with zerocopy, to 8192 (256)",
        },
        zerocopy: u8 {
            default: 0,
            description: "1: large frames go up the stack as they lie; 0: as copies (0)",
        },
        low: u16 {
            default: 8,
            description: "Least buffers on the card while a processor is overloaded; 0: all always (8)",
        },
    },
}
