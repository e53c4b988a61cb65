// SPDX-License-Identifier: GPL-2.0

//! The vfio-user server: turns QEMU's messages into calls of the card.
//!
//! It upholds: a message that makes no sense changes nothing, and is said on standard error; the card and
//! the connection stay as they are. (An error given back to the protocol's library would answer even
//! messages that want no answer.)

use std::fs::File;
use std::io;

use anyhow::Context;
use anyhow::Result;
use log::error;
use mbcard_regs as regs;
use vfio_bindings::bindings::vfio;
use vfio_user::DmaMapFlags;
use vfio_user::DmaUnmapFlags;
use vfio_user::IrqInfo;
use vfio_user::ServerBackend;
use vfio_user::ServerRegion;
use vmm_sys_util::eventfd::EventFd;

use super::SharedCard;
use super::SocketPath;
use crate::card::CONFIG_SIZE;

/// Listens for QEMU.
pub struct Server {
    server: vfio_user::Server,
    backend: Backend,
}

impl Server {
    /// Listens at a path. `kick` is raised when the card wants to be ticked.
    pub fn new(path: &SocketPath, card: SharedCard, kick: EventFd) -> Result<Self> {
        let server = vfio_user::Server::new(path.path(), true, irqs(), regions())
            .with_context(|| format!("cannot listen at {}", path.path().display()))?;
        Ok(Self {
            server,
            backend: Backend { card, kick },
        })
    }

    /// Serves one connection until QEMU ends it.
    pub fn run(mut self) -> Result<()> {
        use vfio_user::Error;
        match self.server.run(&mut self.backend) {
            // QEMU was killed.
            Ok(())
            | Err(Error::ReceiveWithFd(_) | Error::StreamRead(_) | Error::StreamWrite(_)) => Ok(()),
            Err(error) => Err(error).context("vfio-user connection failed"),
        }
    }
}

struct Backend {
    card: SharedCard,
    kick: EventFd,
}

impl Backend {
    /// Wakes the thread that ticks the card, if the card wants it.
    fn kick_if(&self, wanted: bool) {
        if wanted {
            if let Err(error) = self.kick.write(1) {
                error!("cannot wake the card's clock: {error}");
            }
        }
    }
}

impl ServerBackend for Backend {
    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut card = self.card.lock();
        match region {
            vfio::VFIO_PCI_CONFIG_REGION_INDEX => card.read_config(offset, data),
            vfio::VFIO_PCI_BAR0_REGION_INDEX => card.read_bar(offset, data),
            // QEMU keeps the MSI-X table itself.
            vfio::VFIO_PCI_BAR1_REGION_INDEX => data.fill(0),
            _ => {
                error!("read from region {region}, which is not there");
                data.fill(0xff);
            }
        }
        Ok(())
    }

    fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut card = self.card.lock();
        match region {
            vfio::VFIO_PCI_CONFIG_REGION_INDEX => card.write_config(offset, data),
            vfio::VFIO_PCI_BAR0_REGION_INDEX => card.write_bar(offset, data),
            vfio::VFIO_PCI_BAR1_REGION_INDEX => (),
            _ => error!("write to region {region}, which is not there"),
        }
        let wanted = card.wants().is_some();
        drop(card);
        self.kick_if(wanted);
        Ok(())
    }

    fn dma_map(
        &mut self,
        flags: DmaMapFlags,
        offset: u64,
        address: u64,
        size: u64,
        file: Option<File>,
    ) -> io::Result<()> {
        // Without a file it is memory that the card cannot reach, such as a ROM's.
        let Some(file) = file else {
            return Ok(());
        };
        let read = flags.contains(DmaMapFlags::READ);
        let write = flags.contains(DmaMapFlags::WRITE);
        let mut card = self.card.lock();
        let memory = &mut card.host().memory;
        if let Err(error) = memory.map(address, size, file, offset, read, write) {
            error!("cannot map {size:#x} bytes at {address:#x}: {error}");
        }
        Ok(())
    }

    fn dma_unmap(&mut self, flags: DmaUnmapFlags, address: u64, size: u64) -> io::Result<()> {
        let mut card = self.card.lock();
        let memory = &mut card.host().memory;
        if flags.contains(DmaUnmapFlags::UNMAP_ALL) {
            memory.clear();
        } else {
            memory.unmap(address, size);
        }
        Ok(())
    }

    fn reset(&mut self) -> io::Result<()> {
        self.card.lock().bus_reset();
        Ok(())
    }

    fn set_irqs(
        &mut self,
        index: u32,
        flags: u32,
        start: u32,
        count: u32,
        files: Vec<File>,
    ) -> io::Result<()> {
        let action = flags & vfio::VFIO_IRQ_SET_ACTION_TYPE_MASK;
        if index != vfio::VFIO_PCI_MSIX_IRQ_INDEX || action != vfio::VFIO_IRQ_SET_ACTION_TRIGGER {
            return Ok(());
        }
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut card = self.card.lock();
        let interrupts = &mut card.host().interrupts;
        if flags & vfio::VFIO_IRQ_SET_DATA_EVENTFD != 0 {
            interrupts.set(start, count, files);
            // What was armed before anybody listened is raised now.
            card.run();
        } else if count == 0 {
            interrupts.clear();
        } else {
            for vector in start..start.saturating_add(count).min(regs::VECTORS) {
                interrupts.raise(vector);
            }
        }
        Ok(())
    }
}

/// What QEMU is told of the regions.
fn regions() -> Vec<ServerRegion> {
    let region = |index| {
        let size = match index {
            vfio::VFIO_PCI_CONFIG_REGION_INDEX => CONFIG_SIZE,
            vfio::VFIO_PCI_BAR0_REGION_INDEX => regs::BAR_REGISTERS_SIZE,
            vfio::VFIO_PCI_BAR1_REGION_INDEX => regs::BAR_MSIX_SIZE,
            _ => 0,
        };
        let flags = if size == 0 {
            0
        } else {
            vfio::VFIO_REGION_INFO_FLAG_READ | vfio::VFIO_REGION_INFO_FLAG_WRITE
        };
        ServerRegion {
            region_info: vfio::vfio_region_info {
                argsz: u32::try_from(size_of::<vfio::vfio_region_info>()).unwrap_or(0),
                flags,
                index,
                size: u64::try_from(size).unwrap_or(0),
                ..Default::default()
            },
            sparse_areas: Vec::new(),
            mmap_fd: None,
        }
    };
    (0..vfio::VFIO_PCI_NUM_REGIONS).map(region).collect()
}

/// What QEMU is told of the interrupts: MSI-X and nothing else.
fn irqs() -> Vec<IrqInfo> {
    let irq = |index| match index {
        vfio::VFIO_PCI_MSIX_IRQ_INDEX => IrqInfo {
            index,
            flags: vfio::VFIO_IRQ_INFO_EVENTFD | vfio::VFIO_IRQ_INFO_NORESIZE,
            count: u32::try_from(regs::VECTORS).unwrap_or(0),
        },
        _ => IrqInfo {
            index,
            flags: 0,
            count: 0,
        },
    };
    (0..vfio::VFIO_PCI_NUM_IRQS).map(irq).collect()
}
