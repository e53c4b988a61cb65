// SPDX-License-Identifier: GPL-2.0

//! The card as a process: its sockets, its protocol, its commands, how it ends. The library's client plays
//! QEMU, and a file plays guest memory.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;
use std::time::Instant;

use mbcard_regs as regs;
use mbcard_regs::global;
use mbcard_regs::group;
use mbcard_regs::ring;
use mbcard_regs::tx;
use mbcard_regs::FreeEntry;
use mbcard_regs::ReturnEntry;
use mbcard_regs::SendEntry;
use tempfile::TempDir;
use vfio_bindings::bindings::vfio;
use vfio_user::Client;
use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::eventfd::EFD_NONBLOCK;

/// Where guest memory begins, for the card.
const IOVA: u64 = 0x8_0000_0000;
const MEMORY: u64 = 1 << 20;
/// Offsets in guest memory.
const LARGE: u64 = 0;
const RETURNED: u64 = 0x1000;
const SEND: u64 = 0x2000;
const DONE: u64 = 0x3000;
const BUFFERS: u64 = 0x10000;
const SIZE: u16 = 16;

fn mbcard() -> Command {
    Command::new(env!("CARGO_BIN_EXE_mbcard"))
}

/// Waits for what must come soon.
fn wait_for(what: &str, mut there: impl FnMut() -> bool) {
    let start = Instant::now();
    while !there() {
        assert!(start.elapsed() < Duration::from_secs(60), "no {what}");
        sleep(Duration::from_millis(2));
    }
}

/// A running card.
struct Card {
    directory: TempDir,
    child: Child,
}

impl Card {
    fn start(options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut child = mbcard()
            .arg("--socket")
            .arg(directory.path().join("socket"))
            .arg("--control")
            .arg(directory.path().join("control"))
            .args(options)
            .current_dir(directory.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let control = directory.path().join("control");
        wait_for("control socket", || {
            assert!(child.try_wait().unwrap().is_none(), "the card ended");
            control.exists()
        });
        Self { directory, child }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn connect(&self) -> Qemu {
        Qemu::new(&self.path("socket"))
    }

    fn send(&self, command: &str) -> Output {
        let mut send = mbcard();
        send.arg("send").arg(self.path("control"));
        send.args(command.split(' ')).output().unwrap()
    }

    /// Sends a command that works, and gives its answer.
    fn ask(&self, command: &str) -> String {
        let output = self.send(command);
        assert!(output.status.success(), "{command}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits for the card to end by itself, well, and in silence.
    fn ended(mut self) {
        let mut status = None;
        wait_for("end of the card", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        assert_eq!(said, "");
        assert!(status.unwrap().success());
        assert!(!self.path("socket").exists());
        assert!(!self.path("control").exists());
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        // After a test that failed; the card is gone otherwise.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other end of the protocol: QEMU and the driver in one.
struct Qemu {
    client: Client,
    memory: File,
    events: Vec<EventFd>,
}

impl Qemu {
    fn new(socket: &Path) -> Self {
        let client = Client::new(socket).unwrap();
        let memory = tempfile::tempfile().unwrap();
        memory.set_len(MEMORY).unwrap();
        Self {
            client,
            memory,
            events: Vec::new(),
        }
    }

    fn read(&mut self, register: usize) -> u32 {
        let mut data = [0; 4];
        self.client
            .region_read(0, register as u64, &mut data)
            .unwrap();
        u32::from_le_bytes(data)
    }

    fn write(&mut self, register: usize, value: u32) {
        self.client
            .region_write(0, register as u64, &value.to_le_bytes())
            .unwrap();
    }

    fn map(&mut self, offset: u64, address: u64, size: u64) {
        self.client
            .dma_map(offset, address, size, self.memory.as_raw_fd())
            .unwrap();
    }

    fn bytes(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut data = vec![0; length];
        self.memory.read_exact_at(&mut data, offset).unwrap();
        data
    }

    fn put(&self, offset: u64, words: [u32; 4]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        self.memory.write_all_at(&bytes, offset).unwrap();
    }

    fn entry(&self, offset: u64) -> ReturnEntry {
        let bytes = self.bytes(offset, 16);
        let words = [0, 4, 8, 12];
        ReturnEntry::decode(
            words.map(|at| u32::from_ne_bytes(bytes[at..][..4].try_into().unwrap())),
        )
    }

    /// Turns the card on as a driver does: group 0 and the transmitter, all vectors with an eventfd.
    fn bring_up(&mut self) {
        self.client
            .region_write(vfio::VFIO_PCI_CONFIG_REGION_INDEX, 4, &[0x06, 0x00])
            .unwrap();
        self.events = (0..regs::VECTORS)
            .map(|_| EventFd::new(EFD_NONBLOCK).unwrap())
            .collect();
        let fds = Vec::from_iter(self.events.iter().map(AsRawFd::as_raw_fd));
        self.client
            .set_irqs(
                vfio::VFIO_PCI_MSIX_IRQ_INDEX,
                vfio::VFIO_IRQ_SET_DATA_EVENTFD | vfio::VFIO_IRQ_SET_ACTION_TRIGGER,
                0,
                fds.len() as u32,
                &fds,
            )
            .unwrap();
        for (registers, offset) in [
            (regs::group_register(0, group::LARGE), LARGE),
            (regs::group_register(0, group::RETURN), RETURNED),
            (regs::TX_BASE + tx::SEND, SEND),
            (regs::TX_BASE + tx::DONE, DONE),
        ] {
            let (low, high) = regs::split(IOVA + offset);
            self.write(registers + ring::BASE_LOW, low);
            self.write(registers + ring::BASE_HIGH, high);
            self.write(registers + ring::SIZE, SIZE.into());
        }
        for control in [
            regs::group_register(0, group::CONTROL),
            regs::TX_BASE + tx::CONTROL,
        ] {
            self.write(control, regs::ENABLE);
            assert_eq!(self.read(control), regs::ENABLE);
        }
        for n in 0..SIZE {
            let entry = FreeEntry {
                address: IOVA + BUFFERS + u64::from(n) * 2048,
                handle: u32::from(n) << 7,
                size: 2048,
            };
            self.put(LARGE + u64::from(n) * 16, entry.encode());
        }
        let free = regs::group_register(0, group::LARGE + ring::DOORBELL);
        self.write(free, SIZE.into());
        let returned = regs::group_register(0, group::RETURN + ring::DOORBELL);
        self.write(returned, ring::ARM);
        self.write(regs::TX_BASE + tx::DONE + ring::DOORBELL, ring::ARM);
        self.write(global::INT_MASK, 0);
        self.write(global::CONTROL, global::CONTROL_RX | global::CONTROL_TX);
    }

    fn transmit(&mut self, index: u16, offset: u64, length: u16) {
        let entry = SendEntry {
            address: IOVA + offset,
            cookie: u32::from(index),
            length,
        };
        self.put(SEND + u64::from(index) * 16, entry.encode());
        let doorbell = regs::TX_BASE + tx::SEND + ring::DOORBELL;
        self.write(doorbell, u32::from(index) + 1);
    }
}

#[test]
fn a_frame_goes_in_and_out() {
    let card = Card::start(&["--pcap-out", "out.pcap"]);
    let mut qemu = card.connect();
    qemu.map(0, IOVA, MEMORY);
    qemu.bring_up();
    let hex = "525400000001525400000002".to_owned() + &"ab".repeat(50);
    card.ask(&format!("inject {hex}"));
    assert_eq!(qemu.events[0].read().unwrap(), 1);
    let entry = qemu.entry(RETURNED);
    assert_eq!((entry.handle, entry.length, entry.phase), (0, 62, true));
    let frame = qemu.bytes(BUFFERS, 62);
    assert_eq!(frame[12..], [0xab; 50]);

    qemu.transmit(0, BUFFERS, 62);
    assert_eq!(qemu.events[regs::VECTOR_TX].read().unwrap(), 1);
    assert_eq!(qemu.entry(DONE).length, 62);
    let capture = std::fs::read(card.path("out.pcap")).unwrap();
    assert!(capture.ends_with(&frame));
    assert!(card.ask("stats").contains("tx_bytes 62\n"));
    drop(qemu);
    card.ended();
}

#[test]
fn memory_that_is_unmapped_is_not_touched() {
    let card = Card::start(&[]);
    let mut qemu = card.connect();
    // Rings in one mapping, each buffer in its own, as behind an IOMMU.
    qemu.map(0, IOVA, BUFFERS);
    for n in 0..u64::from(SIZE) {
        let offset = BUFFERS + n * 2048;
        qemu.map(offset, IOVA + offset, 2048);
    }
    qemu.bring_up();
    qemu.client.dma_unmap(IOVA + BUFFERS, 2048).unwrap();
    card.ask("generate 2 100 1");
    wait_for("frame", || qemu.entry(RETURNED + 16).phase);
    assert!(qemu.entry(RETURNED).error);
    assert_eq!(qemu.bytes(BUFFERS, 2048), [0; 2048]);
    assert!(!qemu.entry(RETURNED + 16).error);
    assert_eq!(qemu.bytes(BUFFERS + 2048 + 14, 4), [0, 0, 0, 1]);
    let status = card.ask("status");
    assert!(
        status.contains("DmaWrite") && status.contains("0x800010000"),
        "{status}"
    );
    drop(qemu);
    card.ended();
}

#[test]
fn what_protocol_and_pci_say_agrees() {
    let card = Card::start(&["--mac", "02:00:00:00:00:07", "--link-down"]);
    let mut qemu = card.connect();
    let sizes = [7, 0, 1, 2].map(|index| qemu.client.region(index).map(|region| region.size));
    assert_eq!(sizes, [Some(256), Some(0x8000), Some(0x1000), Some(0)]);
    let irqs = [0, 1, 2].map(|index| qemu.client.get_irq_info(index).unwrap().count);
    assert_eq!(irqs, [0, 0, 10], "MSI-X only");
    let mut capability = [0; 12];
    qemu.client.region_read(7, 0x40, &mut capability).unwrap();
    assert_eq!(capability, [0x11, 0, 9, 0, 1, 0, 0, 0, 1, 8, 0, 0]);
    assert_eq!(qemu.read(global::MAC_HIGH), 0x0700);
    assert_eq!(qemu.read(global::STATUS), global::STATUS_READY);
    card.ask("link up");
    assert_eq!(
        qemu.read(global::STATUS),
        global::STATUS_READY | global::STATUS_LINK
    );
    qemu.client.reset().unwrap();
    drop(qemu);
    card.ended();
}

#[test]
fn a_storm_and_its_end_come_through_the_control_socket() {
    let card = Card::start(&[]);
    let mut qemu = card.connect();
    qemu.map(0, IOVA, MEMORY);
    qemu.bring_up();
    card.ask("misbehave interrupt-storm group=3");
    let mut seen = 0;
    wait_for("storm", || {
        seen += qemu.events[3].read().unwrap_or(0);
        seen > 100
    });
    card.ask("misbehave none");
    let _ = qemu.events[3].read();
    sleep(Duration::from_millis(20));
    assert!(qemu.events[3].read().is_err(), "it goes on");
    card.ask("misbehave unknown-handle 2 group=0 arg=0x77");
    assert_eq!(qemu.entry(RETURNED).handle, 0x77);
    assert_eq!(qemu.entry(RETURNED + 16).handle, 0x77);
    for (command, error) in [
        ("misbehave unknown-handle group=5", "the card cannot"),
        ("misbehave unknown-handle group=8", "there is no group 8"),
        ("misbehave sulk", "no such misdeed"),
        ("generate 1 10 1", "10 bytes"),
        ("inject 0", "hexadecimal"),
        ("dance", "no such command"),
    ] {
        let output = card.send(command);
        assert!(!output.status.success());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(error), "{command}: {said}");
    }
    card.ask("quit");
    card.ended();
}

#[test]
fn a_capture_waits_for_the_driver() {
    let first = Card::start(&["--pcap-out", "frames.pcap"]);
    let mut qemu = first.connect();
    qemu.map(0, IOVA, MEMORY);
    qemu.bring_up();
    for n in 0..5 {
        qemu.transmit(n, BUFFERS + u64::from(n), 100 + n);
    }
    let capture = first.path("frames.pcap");
    let second = Card::start(&["--rate", "0", "--pcap-in", capture.to_str().unwrap()]);
    let mut qemu = second.connect();
    qemu.map(0, IOVA, MEMORY);
    sleep(Duration::from_millis(50));
    assert!(second.ask("stats").contains("rx_off 0\n"));
    qemu.bring_up();
    wait_for("frames", || second.ask("stats").contains("rx_frames 5\n"));
    let lengths = Vec::from_iter((0..5).map(|n| qemu.entry(RETURNED + n * 16).length));
    assert_eq!(lengths, [100, 101, 102, 103, 104]);
}

#[test]
fn signals_end_the_card_well() {
    for signal in ["-TERM", "-INT"] {
        let card = Card::start(&[]);
        let qemu = card.connect();
        let pid = card.child.id().to_string();
        // The shell's own kill: /bin/kill is a package that a small root lacks.
        let kill = format!("kill {signal} {pid}");
        let status = Command::new("sh").args(["-c", &kill]).status();
        assert!(status.unwrap().success());
        card.ended();
        drop(qemu);
    }
}

#[test]
fn a_path_in_use_is_refused_and_a_stale_one_can_be_replaced() {
    let card = Card::start(&[]);
    let refusal = |options: &[&str]| {
        let output = mbcard().args(options).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let socket = card.path("socket");
    let socket = socket.to_str().unwrap();
    let said = refusal(&["--socket", socket, "--replace-stale"]);
    assert!(said.contains("another process listens"), "{said}");
    // The first one did not notice.
    let mut qemu = card.connect();
    assert_eq!(qemu.read(global::ID), regs::ID);

    let stale = card.path("stale");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    let stale = stale.to_str().unwrap();
    let said = refusal(&["--socket", stale]);
    assert!(said.contains("--replace-stale"), "{said}");
    let mut second = mbcard()
        .args(["--socket", stale, "--replace-stale"])
        .spawn()
        .unwrap();
    let mut client = None;
    wait_for("second card", || {
        client = Client::new(Path::new(stale)).ok();
        client.is_some()
    });
    drop(client);
    assert!(second.wait().unwrap().success());
}
