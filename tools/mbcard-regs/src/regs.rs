// SPDX-License-Identifier: GPL-2.0

//! What the mbcard and its driver agree on: PCI ids, registers, ring entries and limits.
//!
//! Both sides compile this file, so neither can drift from the other. It uses `core` only, holds no
//! `unsafe`, and touches neither memory nor registers: it gives offsets, bits and encodings.
//! `Documentation/mbcard.rst` tells the same in prose.
//!
//! Registers are 32 bits wide and little endian. Ring entries are four little endian 32-bit words;
//! `encode` yields the words as they lie in memory, `decode` takes them as they were read from memory.
//!
//! # Ring indices
//!
//! An index counts entries since the ring was enabled and wraps at 2^16. Its slot is the index
//! modulo the size of the ring, so a ring is empty when the two indices are equal and full when they
//! are one size apart: all slots can be used.

/// PCI vendor id.
pub const VENDOR_ID: u16 = 0x1af4;
/// PCI device id, from the range that QEMU leaves for experiments.
pub const DEVICE_ID: u16 = 0x10f0;
/// PCI class code: network controller, other.
pub const CLASS: u32 = 0x02_80_00;
/// PCI revision id.
pub const REVISION: u8 = 1;

/// The BAR of the registers.
pub const BAR_REGISTERS: u32 = 0;
/// Size in bytes of the BAR of the registers.
pub const BAR_REGISTERS_SIZE: usize = 0x8000;
/// The BAR of the MSI-X table and of its pending bits; the driver never touches it itself.
pub const BAR_MSIX: u32 = 1;
/// Size in bytes of the BAR of the MSI-X table.
pub const BAR_MSIX_SIZE: usize = 0x1000;
/// Offset of the MSI-X table in its BAR.
pub const MSIX_TABLE: usize = 0;
/// Offset of the MSI-X pending bits in their BAR.
pub const MSIX_PBA: usize = 0x800;

/// Receive groups of the card.
pub const GROUPS: usize = 8;
/// Least number of entries of a ring; each size is a power of two.
pub const RING_SIZE_MIN: u16 = 2;
/// Greatest number of entries of a ring.
pub const RING_SIZE_MAX: u16 = 16384;
/// Alignment in bytes of the base address of each ring.
pub const RING_ALIGN: u64 = 64;
/// Size in bytes of each ring's entries.
pub const ENTRY_SIZE: usize = 16;
/// Least size in bytes of a receive buffer.
pub const BUFFER_SIZE_MIN: u32 = 64;
/// Greatest size in bytes of a receive buffer.
pub const BUFFER_SIZE_MAX: u32 = 16384;
/// Least length in bytes of a frame, without its check sequence.
pub const FRAME_LENGTH_MIN: u16 = 14;
/// Greatest length in bytes of a frame, without its check sequence.
pub const FRAME_LENGTH_MAX: u16 = 9216;

/// Interrupt vectors of the card; group `n` has vector `n`.
pub const VECTORS: usize = 10;
/// The vector of transmit completions.
pub const VECTOR_TX: usize = 8;
/// The vector of [`global::EVENT`].
pub const VECTOR_MISC: usize = 9;

/// What [`global::ID`] reads: "MBC1" in ASCII.
pub const ID: u32 = 0x3143_424d;
/// What [`global::VERSION`] reads: major in the high half, minor in the low half. A driver refuses a
/// card of another major version.
pub const VERSION: u32 = 0x0001_0000;

/// Offset of the first group's registers.
pub const GROUP_BASE: usize = 0x1000;
/// Distance between the registers of two groups.
pub const GROUP_STRIDE: usize = 0x100;
/// Offset of the transmitter's registers.
pub const TX_BASE: usize = 0x2000;
/// Offset of the statistics.
pub const STATS_BASE: usize = 0x3000;
/// Offset of the lab registers.
pub const LAB_BASE: usize = 0x4000;

/// Offset in BAR 0 of register `reg` of [`group`] number `n`.
#[inline]
pub const fn group_register(n: usize, reg: usize) -> usize {
    GROUP_BASE + n * GROUP_STRIDE + reg
}

/// Registers of the whole card.
pub mod global {
    /// RO: [`super::ID`].
    pub const ID: usize = 0x00;
    /// RO: [`super::VERSION`].
    pub const VERSION: usize = 0x04;
    /// RO: `FEATURE_*`.
    pub const FEATURES: usize = 0x08;
    /// RW: `CONTROL_*`.
    pub const CONTROL: usize = 0x0c;
    /// RO: `STATUS_*`.
    pub const STATUS: usize = 0x10;
    /// RO: first four bytes of the MAC address, the first in the lowest bits.
    pub const MAC_LOW: usize = 0x14;
    /// RO: last two bytes of the MAC address, in the low half.
    pub const MAC_HIGH: usize = 0x18;
    /// RO; a write of any value clears it and [`ERROR_INFO_LOW`]: the first error since then, see
    /// [`super::ErrorReport`]. 0 is none.
    pub const ERROR: usize = 0x20;
    /// RO: errors since reset, all of them.
    pub const ERROR_COUNT: usize = 0x24;
    /// RO: low half of the address or value that [`ERROR`] is about.
    pub const ERROR_INFO_LOW: usize = 0x28;
    /// RO: high half of it.
    pub const ERROR_INFO_HIGH: usize = 0x2c;
    /// RW: a set bit masks that vector. All are masked after reset.
    pub const INT_MASK: usize = 0x30;
    /// RO: vectors that have a cause, whether masked, armed or neither.
    pub const INT_PENDING: usize = 0x34;
    /// RO, a set bit written clears it and arms [`super::VECTOR_MISC`]: `EVENT_*`.
    pub const EVENT: usize = 0x38;
    /// RW: how frames are spread over the enabled groups, `STEER_*`.
    pub const STEER: usize = 0x3c;

    /// [`FEATURES`]: number of receive groups.
    pub const FEATURE_GROUPS: u32 = 0xff;
    /// [`FEATURES`]: the lab registers are there.
    pub const FEATURE_LAB: u32 = 1 << 8;

    /// [`CONTROL`]: reset the card; clears itself. Wait for [`STATUS_READY`], which the reset clears.
    pub const CONTROL_RESET: u32 = 1 << 0;
    /// [`CONTROL`]: receive frames into enabled groups.
    pub const CONTROL_RX: u32 = 1 << 1;
    /// [`CONTROL`]: transmit, if the transmitter is enabled.
    pub const CONTROL_TX: u32 = 1 << 2;

    /// [`STATUS`]: the card is out of reset.
    pub const STATUS_READY: u32 = 1 << 0;
    /// [`STATUS`]: the link is up.
    pub const STATUS_LINK: u32 = 1 << 1;
    /// [`STATUS`]: PCI bus mastering is on; without it the card does no DMA.
    pub const STATUS_BUS_MASTER: u32 = 1 << 2;

    /// [`EVENT`]: the link went up or down.
    pub const EVENT_LINK: u32 = 1 << 0;
    /// [`EVENT`]: [`ERROR`] went from none to an error.
    pub const EVENT_ERROR: u32 = 1 << 1;

    /// [`STEER`]: by a hash of the flow, so that a flow stays in order in one group. After reset.
    pub const STEER_FLOW: u32 = 0;
    /// [`STEER`]: one frame to each enabled group in turn.
    pub const STEER_ROUND: u32 = 1;
}

/// Registers of a receive group, from [`group_register`].
pub mod group {
    /// RW: [`super::ENABLE`]. The card checks the rings when it is set; read it back to see
    /// whether it took it, and [`super::global::ERROR`] why not. Clearing it makes the card
    /// forget all buffers of the group and set the indices of its rings to 0.
    pub const CONTROL: usize = 0x00;
    /// RO: frames received by this group since reset.
    pub const RX_FRAMES: usize = 0x08;
    /// RO: frames that found no buffer in this group since reset.
    pub const RX_NO_BUFFER: usize = 0x0c;
    /// Ring registers of the free buffers of the small pool; size 0 when there is none.
    pub const SMALL: usize = 0x20;
    /// Ring registers of the free buffers of the large pool.
    pub const LARGE: usize = 0x40;
    /// Ring registers of the return ring.
    pub const RETURN: usize = 0x60;
}

/// Registers of the transmitter, from [`TX_BASE`].
pub mod tx {
    /// RW: [`super::ENABLE`], as [`super::group::CONTROL`].
    pub const CONTROL: usize = 0x00;
    /// Ring registers of the frames to send.
    pub const SEND: usize = 0x20;
    /// Ring registers of the completions.
    pub const DONE: usize = 0x40;
}

/// `CONTROL` of a group or of the transmitter: run.
pub const ENABLE: u32 = 1 << 0;

/// Registers of a ring, from where its owner's registers say. They hold still while the owner is
/// enabled: a write to one other than [`DOORBELL`](ring::DOORBELL) is then refused.
pub mod ring {
    /// RW: low half of the DMA address of the first entry.
    pub const BASE_LOW: usize = 0x00;
    /// RW: high half of it.
    pub const BASE_HIGH: usize = 0x04;
    /// RW: number of entries.
    pub const SIZE: usize = 0x08;
    /// WO: the driver's index, with [`ARM`] or without. Posted; no read is ever needed after it.
    pub const DOORBELL: usize = 0x0c;
    /// RO: the card's index. For looking, not for the hot path.
    pub const INDEX: usize = 0x10;

    /// [`DOORBELL`]: the index after the last entry that the driver has filled (free and send
    /// rings) or consumed (return and completion rings).
    pub const DOORBELL_INDEX: u32 = 0xffff;
    /// [`DOORBELL`] of a return or completion ring: arm the vector. It fires once, as soon as the ring
    /// holds an entry that is not consumed, which may be at once.
    pub const ARM: u32 = 1 << 31;
}

/// Statistics, each of 64 bits, from [`STATS_BASE`]. Reading the low half keeps the high half for
/// the read that follows. They count from reset.
pub mod stats {
    /// Frames received into a buffer.
    pub const RX_FRAMES: usize = 0x00;
    /// Bytes of them.
    pub const RX_BYTES: usize = 0x08;
    /// Frames dropped: no free buffer that holds them.
    pub const RX_NO_BUFFER: usize = 0x10;
    /// Frames dropped: return ring full.
    pub const RX_RING_FULL: usize = 0x18;
    /// Frames dropped: shorter or longer than a frame may be, or than each buffer at hand.
    pub const RX_LENGTH: usize = 0x20;
    /// Frames dropped: receiver or link off, no group enabled, or the card is silent.
    pub const RX_OFF: usize = 0x28;
    /// Frames transmitted.
    pub const TX_FRAMES: usize = 0x30;
    /// Bytes of them.
    pub const TX_BYTES: usize = 0x38;
    /// Frames not transmitted: bad length, unreadable, link down, or refused by the wire.
    pub const TX_ERRORS: usize = 0x40;
    /// DMA accesses to an address that is not mapped.
    pub const DMA_ERRORS: usize = 0x48;
    /// DMA accesses not made, since bus mastering was off.
    pub const DMA_BLOCKED: usize = 0x50;
    /// Interrupts raised.
    pub const INTERRUPTS: usize = 0x58;
    /// Single misdeeds done on command; see [`super::lab`].
    pub const MISDEEDS: usize = 0x60;
    /// Frames dropped: the buffer or a ring could not be read or written.
    pub const RX_DMA: usize = 0x68;
    /// Number of counters.
    pub const COUNT: usize = 14;
    /// Their names, in the order of their offsets.
    pub const NAMES: [&str; COUNT] = [
        "rx_frames",
        "rx_bytes",
        "rx_no_buffer",
        "rx_ring_full",
        "rx_length",
        "rx_off",
        "tx_frames",
        "tx_bytes",
        "tx_errors",
        "dma_errors",
        "dma_blocked",
        "interrupts",
        "misdeeds",
        "rx_dma",
    ];
}

/// Lab registers, from [`LAB_BASE`]: no real card has them. They make the card do on command what
/// a broken or hostile one might, and make frames without a wire.
pub mod lab {
    /// WO: misbehave; see [`super::Misdeed`] for the kinds and [`super::misbehave`] for the bits.
    pub const MISBEHAVE: usize = 0x00;
    /// RO: single misdeeds done since the card was started; reset does not clear it.
    pub const DONE: usize = 0x04;
    /// RO: how the last command went, `RESULT_*`.
    pub const RESULT: usize = 0x08;
    /// RW: the handle, length or low half of the address that the next commands use; 0 leaves
    /// the choice to the card. Reset clears it.
    pub const ARG_LOW: usize = 0x0c;
    /// RW: high half of the address.
    pub const ARG_HIGH: usize = 0x10;
    /// RW: `LOOPBACK`: what is transmitted is received by this card and does not go to the wire.
    pub const WIRE: usize = 0x14;
    /// RW: seed of the next frames that [`GENERATE`] makes.
    pub const SEED: usize = 0x18;
    /// WO: receive frames made from [`SEED`]: see [`super::generate`]. They are steered and dropped as
    /// those from the wire. 0 frames end what is under way.
    pub const GENERATE: usize = 0x1c;
    /// RW: frames a second that [`GENERATE`] makes; 0 is as many as the card can.
    pub const RATE: usize = 0x20;
    /// RW: the IPv4 address to which the next frames that [`GENERATE`] makes go as UDP datagrams, its
    /// first byte in bits 31:24; 0: they are not IP.
    pub const UDP: usize = 0x24;
    /// RW: return so many descriptors, bits 30:0, with faults that follow from [`SEED`], at [`RATE`]; reads
    /// how many are left. 0 ends it. [`DERAIL`] is among the bits.
    pub const HOSTILE: usize = 0x28;
    /// RO: the first of the registers that hold what a hostile card counts (`Tally` has the list), one for
    /// each; they count since the card was started.
    pub const TALLY: usize = 0x100;

    /// [`HOSTILE`]: with faults that a ring does not get over without a reset.
    pub const DERAIL: u32 = 1 << 31;

    /// [`RESULT`]: it was done, or is under way (a storm, a silence).
    pub const RESULT_DONE: u32 = 0;
    /// [`RESULT`]: no such kind, or no such group.
    pub const RESULT_UNKNOWN: u32 = 1;
    /// [`RESULT`]: the card lacks what it takes: group not enabled, return ring full, no buffer, no
    /// handle from before. What was done until then is in [`DONE`].
    pub const RESULT_CANNOT: u32 = 2;

    /// [`GENERATE`]: a number of frames without an end that anybody would wait for.
    pub const ENDLESS: u16 = 0xffff;

    /// [`WIRE`]: loop back.
    pub const LOOPBACK: u32 = 1 << 0;
}

/// What the card can be told to do wrong. A count of 0 is 1, but where it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Misdeed {
    /// Behave again: ends a storm and a silence.
    None = 0,
    /// Return a handle that it never got. The argument is the handle; the card's own choice begins
    /// with all ones and goes down.
    UnknownHandle = 1,
    /// Return one buffer, with a frame, and then the same handle again, `count` times.
    DuplicateHandle = 2,
    /// Return a handle that the group held when it was disabled or the card reset, and that is not held now.
    /// The argument is the handle; the card's own choice is each such handle once, the last one first.
    HandleAfterReset = 3,
    /// Return a buffer with a length past its end. The argument is the length; the card's own choice
    /// is one more than the buffer's size.
    LengthPastEnd = 4,
    /// Return one buffer, with a frame, and then write 0xa5 over all of it.
    WriteReturned = 5,
    /// Write 64 bytes to an address that it never got. The argument is the address; the card's own
    /// choice begins with the last page of the address space and goes down. Nothing is returned.
    WriteWild = 6,
    /// Raise a vector `count` times without cause, whatever is masked or armed; until reset for 0. The
    /// group is the number of the vector.
    InterruptStorm = 7,
    /// Do no DMA and raise no interrupt for `count` milliseconds, or until reset for 0. Registers
    /// answer, frames are dropped.
    Silence = 8,
}

impl Misdeed {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Misdeed; 9] = [
        Misdeed::None,
        Misdeed::UnknownHandle,
        Misdeed::DuplicateHandle,
        Misdeed::HandleAfterReset,
        Misdeed::LengthPastEnd,
        Misdeed::WriteReturned,
        Misdeed::WriteWild,
        Misdeed::InterruptStorm,
        Misdeed::Silence,
    ];

    /// Its name, as commands have it.
    pub fn name(self) -> &'static str {
        match self {
            Misdeed::None => "none",
            Misdeed::UnknownHandle => "unknown-handle",
            Misdeed::DuplicateHandle => "duplicate-handle",
            Misdeed::HandleAfterReset => "handle-after-reset",
            Misdeed::LengthPastEnd => "length-past-end",
            Misdeed::WriteReturned => "write-returned",
            Misdeed::WriteWild => "write-wild",
            Misdeed::InterruptStorm => "interrupt-storm",
            Misdeed::Silence => "silence",
        }
    }

    /// The kind of that number.
    pub fn from_number(number: u8) -> Option<Misdeed> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// The word for [`lab::MISBEHAVE`]: kind in bits 7:0, group in bits 15:8, count in bits 31:16.
#[inline]
pub fn misbehave(kind: Misdeed, group: u8, count: u16) -> u32 {
    let [count_low, count_high] = count.to_le_bytes();
    u32::from_le_bytes([kind as u8, group, count_low, count_high])
}

/// The parts of a word written to [`lab::MISBEHAVE`]; the kind is `None` if there is none such.
#[inline]
pub fn misbehave_parts(word: u32) -> (Option<Misdeed>, u8, u16) {
    let [kind, group, count_low, count_high] = word.to_le_bytes();
    let count = u16::from_le_bytes([count_low, count_high]);
    (Misdeed::from_number(kind), group, count)
}

/// The word for [`lab::GENERATE`]: number of frames in bits 15:0, length in bytes in bits 31:16.
#[inline]
pub fn generate(frames: u16, length: u16) -> u32 {
    u32::from(frames) | (u32::from(length) << 16)
}

/// What went wrong, in [`global::ERROR`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ErrorCode {
    /// Size of a ring is not a power of two within the limits, or 0 where the ring is needed.
    RingSize = 1,
    /// Base of a ring is not a multiple of [`RING_ALIGN`].
    RingAlign = 2,
    /// A ring does not lie in memory that the card can reach.
    RingAddress = 3,
    /// A doorbell that more entries are filled than the ring holds, or consumed than it held.
    RingIndex = 4,
    /// A ring's register, written while its owner is enabled.
    RingBusy = 5,
    /// A buffer's size in a free ring is out of limits.
    BufferSize = 6,
    /// A frame's length in the send ring is out of limits.
    FrameLength = 7,
    /// DMA read from an address that is not mapped.
    DmaRead = 8,
    /// DMA write to an address that is not mapped.
    DmaWrite = 9,
    /// DMA not done, since bus mastering is off.
    BusMaster = 10,
    /// Access to a register that is not there, or of a wrong width, or a write to a read-only one.
    Register = 11,
    /// A value that the register does not take.
    Value = 12,
}

impl ErrorCode {
    /// All codes, in the order of their numbers.
    pub const ALL: [ErrorCode; 12] = [
        ErrorCode::RingSize,
        ErrorCode::RingAlign,
        ErrorCode::RingAddress,
        ErrorCode::RingIndex,
        ErrorCode::RingBusy,
        ErrorCode::BufferSize,
        ErrorCode::FrameLength,
        ErrorCode::DmaRead,
        ErrorCode::DmaWrite,
        ErrorCode::BusMaster,
        ErrorCode::Register,
        ErrorCode::Value,
    ];
}

/// The ring that an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RingName {
    /// None of them.
    None = 0,
    /// Free buffers of the small pool.
    Small = 1,
    /// Free buffers of the large pool.
    Large = 2,
    /// Return ring.
    Return = 3,
    /// Frames to send.
    Send = 4,
    /// Completions of sent frames.
    Done = 5,
}

impl RingName {
    /// All names, in the order of their numbers.
    pub const ALL: [RingName; 6] = [
        RingName::None,
        RingName::Small,
        RingName::Large,
        RingName::Return,
        RingName::Send,
        RingName::Done,
    ];
}

/// What [`global::ERROR`] holds: code in bits 7:0, ring in bits 15:8, group in bits 23:16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorReport {
    /// What went wrong.
    pub code: ErrorCode,
    /// With which ring.
    pub ring: RingName,
    /// In which group, if the ring is one of a group.
    pub group: u8,
}

impl ErrorReport {
    /// The register's word.
    #[inline]
    pub fn encode(self) -> u32 {
        u32::from_le_bytes([self.code as u8, self.ring as u8, self.group, 0])
    }

    /// The report in a word of the register: `None` for no error, and for numbers not known.
    pub fn decode(word: u32) -> Option<Self> {
        let [code, ring, group, _] = word.to_le_bytes();
        let code = usize::from(code).checked_sub(1)?;
        Some(Self {
            code: *ErrorCode::ALL.get(code)?,
            ring: *RingName::ALL.get(usize::from(ring))?,
            group,
        })
    }
}

/// The slot of `index` in a ring of `size` entries, a power of two.
#[inline]
pub fn slot(index: u16, size: u16) -> usize {
    usize::from(index & size.wrapping_sub(1))
}

/// The phase bit that the entry at `index` of a ring of `size` entries carries when it is valid: true
/// in the first pass over the ring, false in the second, and so on. The driver zeroes the ring
/// before it enables it.
#[inline]
pub fn phase(index: u16, size: u16) -> bool {
    index & size == 0
}

/// Whether a ring may have `size` entries.
#[inline]
pub fn ring_size_is_valid(size: u32) -> bool {
    size.is_power_of_two() && (u32::from(RING_SIZE_MIN)..=u32::from(RING_SIZE_MAX)).contains(&size)
}

/// An entry of a free ring: the driver gives a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreeEntry {
    /// DMA address of the buffer's first byte.
    pub address: u64,
    /// What the card gives back with the buffer; it means nothing to the card.
    pub handle: u32,
    /// Size of the buffer in bytes.
    pub size: u32,
}

impl FreeEntry {
    /// The words in memory.
    #[inline]
    pub fn encode(self) -> [u32; 4] {
        let (low, high) = split(self.address);
        [
            low.to_le(),
            high.to_le(),
            self.handle.to_le(),
            self.size.to_le(),
        ]
    }

    /// The entry in the words from memory.
    #[inline]
    pub fn decode(words: [u32; 4]) -> Self {
        let [low, high, handle, size] = words.map(u32::from_le);
        Self {
            address: join(low, high),
            handle,
            size,
        }
    }
}

/// An entry of the send ring: the driver gives a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendEntry {
    /// DMA address of the frame's first byte.
    pub address: u64,
    /// What the completion gives back; it means nothing to the card.
    pub cookie: u32,
    /// Length of the frame in bytes.
    pub length: u16,
}

impl SendEntry {
    /// The words in memory.
    #[inline]
    pub fn encode(self) -> [u32; 4] {
        let (low, high) = split(self.address);
        [
            low.to_le(),
            high.to_le(),
            self.cookie.to_le(),
            u32::from(self.length).to_le(),
        ]
    }

    /// The entry in the words from memory; the high half of the last word is not looked at.
    #[inline]
    pub fn decode(words: [u32; 4]) -> Self {
        let [low, high, cookie, last] = words.map(u32::from_le);
        Self {
            address: join(low, high),
            cookie,
            length: low_half(last),
        }
    }
}

/// An entry of a return ring (the card gives a buffer back) or of a completion ring (the card is
/// done with a frame).
///
/// The card writes words 0 to 2 first and word [`ReturnEntry::LAST`] after them. The driver reads the
/// last word first, and the others only if [`ReturnEntry::is_valid`] says so and after a read barrier
/// (`dma_rmb()`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReturnEntry {
    /// The buffer's handle, or the frame's cookie.
    pub handle: u32,
    /// Bytes that the card wrote into the buffer, or sent of the frame.
    pub length: u32,
    /// Counts the entries of this ring from 0; a gap is a lost entry.
    pub sequence: u32,
    /// The buffer comes from the large pool's ring. Never set in a completion ring.
    pub large: bool,
    /// The buffer holds no frame: the card could not use it. Or the frame was not sent.
    pub error: bool,
    /// See [`phase`].
    pub phase: bool,
}

impl ReturnEntry {
    /// The word that holds the flags and is written last.
    pub const LAST: usize = 3;
    /// Flag in the last word: [`ReturnEntry::large`].
    pub const LARGE: u32 = 1 << 0;
    /// Flag in the last word: [`ReturnEntry::error`].
    pub const ERROR: u32 = 1 << 1;
    /// Flag in the last word: [`ReturnEntry::phase`].
    pub const PHASE: u32 = 1 << 31;

    /// Whether the entry at `index` of a ring of `size` entries is there, by the last word as read from
    /// memory.
    #[inline]
    pub fn is_valid(last: u32, index: u16, size: u16) -> bool {
        (u32::from_le(last) & Self::PHASE != 0) == phase(index, size)
    }

    /// The words in memory.
    #[inline]
    pub fn encode(self) -> [u32; 4] {
        let mut flags = 0;
        if self.large {
            flags |= Self::LARGE;
        }
        if self.error {
            flags |= Self::ERROR;
        }
        if self.phase {
            flags |= Self::PHASE;
        }
        [
            self.handle.to_le(),
            self.length.to_le(),
            self.sequence.to_le(),
            flags.to_le(),
        ]
    }

    /// The entry in the words from memory.
    #[inline]
    pub fn decode(words: [u32; 4]) -> Self {
        let [handle, length, sequence, flags] = words.map(u32::from_le);
        Self {
            handle,
            length,
            sequence,
            large: flags & Self::LARGE != 0,
            error: flags & Self::ERROR != 0,
            phase: flags & Self::PHASE != 0,
        }
    }
}

/// The two registers' words for a 64-bit address: low half, high half.
#[inline]
pub fn split(address: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = address.to_le_bytes();
    (
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]),
    )
}

/// The 64-bit address of two registers' words.
#[inline]
pub fn join(low: u32, high: u32) -> u64 {
    u64::from(low) | (u64::from(high) << 32)
}

/// The low half of a word.
#[inline]
pub fn low_half(word: u32) -> u16 {
    let [low, high, _, _] = word.to_le_bytes();
    u16::from_le_bytes([low, high])
}
