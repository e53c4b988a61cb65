// SPDX-License-Identifier: GPL-2.0

//! The card itself: a device model that does no input or output of its own.
//!
//! All it needs from outside are a [`Host`] (guest memory, interrupts) and a [`Wire`] (where transmitted
//! frames go). Registers, received frames and time come in by calls, so a test can play any driver and
//! any wire.
//!
//! - `port`: DMA, interrupts, errors, counters
//! - `ring`: both kinds of rings
//! - `group`, `transmit`: what is done with them
//! - `registers`: BAR 0
//! - `misbehave`: what the card does wrong on command
//! - `hostile`: what it does wrong by itself, once it was told to
//! - `generate`, `steer`, `config`: made frames, choice of the group, PCI configuration space

mod config;
mod generate;
mod group;
mod hostile;
mod misbehave;
mod port;
mod registers;
mod ring;
mod steer;
mod transmit;

use std::io;
use std::time::Duration;

use mbcard_regs as regs;
use mbcard_regs::global;
use mbcard_regs::stats;
use mbcard_regs::Tally;

pub use config::SIZE as CONFIG_SIZE;
pub use misbehave::Outcome;
pub use port::Host;
pub use port::Unmapped;

use config::Config;
use generate::Generator;
use group::Group;
use hostile::Hostile;
use misbehave::Misbehaviour;
use port::Port;
use registers::Latches;
use steer::Steer;
use transmit::Transmitter;

/// Where transmitted frames go.
pub trait Wire: Send {
    /// Sends a frame.
    fn send(&mut self, frame: &[u8]) -> io::Result<()>;
}

/// Frames of the generator that came back through the transmitter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Those with each byte as it was made.
    pub good: u64,
    /// The others.
    pub bad: u64,
}

/// See the head of the file.
pub struct Card<H> {
    port: Port<H>,
    wire: Box<dyn Wire>,
    config: Config,
    mac: [u8; 6],
    link: bool,
    receive: bool,
    transmit: bool,
    loopback: bool,
    steer: Steer,
    groups: [Group; regs::GROUPS],
    transmitter: Transmitter,
    latches: Latches,
    misbehaviour: Misbehaviour,
    hostile: Hostile,
    generator: Generator,
    checked: Checked,
}

impl<H: Host> Card<H> {
    /// A card as after power on, with its link up.
    pub fn new(host: H, wire: Box<dyn Wire>, mac: [u8; 6]) -> Self {
        Self {
            port: Port::new(host),
            wire,
            config: Config::new(),
            mac,
            link: true,
            receive: false,
            transmit: false,
            loopback: false,
            steer: Steer::new(),
            groups: new_groups(),
            transmitter: Transmitter::new(),
            latches: Latches::default(),
            misbehaviour: Misbehaviour::default(),
            hostile: Hostile::new(),
            generator: Generator::default(),
            checked: Checked::default(),
        }
    }

    /// The machine that the card sits in.
    pub fn host(&mut self) -> &mut H {
        &mut self.port.host
    }

    /// Reset by register: forgets all that the driver said. The link, the wire, its generator and PCI stay.
    fn reset(&mut self) {
        for n in 0..regs::GROUPS {
            self.forget_group(n);
        }
        self.port.reset();
        self.receive = false;
        self.transmit = false;
        self.loopback = false;
        self.steer = Steer::new();
        self.groups = new_groups();
        self.transmitter = Transmitter::new();
        self.latches = Latches::default();
        self.misbehaviour.reset();
    }

    /// Reset by the bus: PCI's registers too.
    pub fn bus_reset(&mut self) {
        self.reset();
        self.config = Config::new();
        self.port.bus_master = false;
    }

    /// Reads PCI configuration space.
    pub fn read_config(&self, offset: usize, data: &mut [u8]) {
        self.config.read(offset, data);
    }

    /// Writes PCI configuration space.
    pub fn write_config(&mut self, offset: usize, data: &[u8]) {
        self.config.write(offset, data);
        self.port.bus_master = self.config.bus_master();
        self.run();
    }

    /// Whether a frame would be looked at: the receiver and the link are on, and a group is enabled.
    pub fn can_receive(&self) -> bool {
        self.receive
            && self.link
            && !self.port.silent
            && !self.hostile.is_on()
            && self.groups.iter().any(Group::is_enabled)
    }

    /// A frame comes in from the wire.
    pub fn receive(&mut self, frame: &[u8]) {
        if let Err(why) = self.try_receive(frame) {
            self.port.count(why, 1);
        }
    }

    fn try_receive(&mut self, frame: &[u8]) -> Result<(), group::Dropped> {
        if !self.can_receive() {
            return Err(stats::RX_OFF);
        }
        let length = u16::try_from(frame.len()).unwrap_or(u16::MAX);
        if !(regs::FRAME_LENGTH_MIN..=regs::FRAME_LENGTH_MAX).contains(&length) {
            return Err(stats::RX_LENGTH);
        }
        let enabled = self
            .groups
            .iter()
            .filter(|group| group.is_enabled())
            .count();
        let chosen = self.steer.choose(frame, enabled).unwrap_or(0);
        let groups = self.groups.iter_mut().enumerate();
        let mut groups = groups.filter(|(_, group)| group.is_enabled());
        let (n, group) = groups.nth(chosen).ok_or(stats::RX_OFF)?;
        let delivered = group.deliver(&mut self.port, frame, |_| u32::from(length));
        group.returned.fire(&mut self.port);
        self.hostile.returned_in_peace(n, &delivered?);
        Ok(())
    }

    /// Does what can be done now: transmits, and raises what is armed and pending. To be called when a
    /// vector got its listener.
    pub fn run(&mut self) {
        if self.port.silent {
            return;
        }
        self.run_transmitter();
        for group in &mut self.groups {
            group.returned.fire(&mut self.port);
        }
        self.port.fire_misc();
    }

    fn run_transmitter(&mut self) {
        while self.transmit {
            let Some(sending) = self.transmitter.next(&mut self.port) else {
                break;
            };
            let sent = match &sending.frame {
                Some(frame) => self.send(frame),
                None => false,
            };
            if !sent {
                self.port.count(stats::TX_ERRORS, 1);
            }
            let cookie = sending.cookie();
            if !self.transmitter.finish(&mut self.port, sending, sent) {
                break;
            }
            self.hostile.completed(cookie);
        }
        self.transmitter.done.fire(&mut self.port);
    }

    /// Puts a frame on the wire; whether it took it.
    fn send(&mut self, frame: &[u8]) -> bool {
        match generate::check(frame) {
            Some(true) => self.checked.good += 1,
            Some(false) => self.checked.bad += 1,
            None => (),
        }
        if self.loopback {
            self.receive(frame);
        } else if !self.link || self.wire.send(frame).is_err() {
            return false;
        }
        let length = u64::try_from(frame.len()).unwrap_or(0);
        self.port.count(stats::TX_FRAMES, 1);
        self.port.count(stats::TX_BYTES, length);
        true
    }

    /// Plugs the cable in or pulls it.
    pub fn set_link(&mut self, up: bool) {
        if self.link != up {
            self.link = up;
            self.port.event(global::EVENT_LINK);
        }
    }

    /// Begins to make frames that are not IP, as [`regs::lab::GENERATE`] does; false if they cannot
    /// have that length.
    pub fn generate(&mut self, frames: u32, length: u16, seed: u32, rate: u32) -> bool {
        self.generator.start(frames, length, seed, rate, None)
    }

    /// After what time [`tick`](Card::tick) is to be called; `None` if there is nothing to do by itself.
    pub fn wants(&self) -> Option<Duration> {
        let generator =
            (!self.generator.is_done() && self.can_receive()).then(|| self.generator.due());
        let misbehaviour = self.misbehaviour.due();
        let hostile = self.is_hostile().then(|| self.hostile.due());
        generator
            .into_iter()
            .chain(misbehaviour)
            .chain(hostile)
            .min()
    }

    /// Time has passed.
    pub fn tick(&mut self, elapsed: Duration) {
        self.tick_misbehaviour(elapsed);
        self.tick_hostile(elapsed);
        if self.can_receive() {
            for _ in 0..self.generator.advance(elapsed) {
                if let Some(frame) = self.generator.make(self.mac) {
                    self.receive(&frame);
                }
            }
        }
    }

    /// What state it is in, for people, a line each.
    pub fn status(&self) -> Vec<String> {
        let on = |on| if on { "on" } else { "off" };
        let mut lines = vec![
            format!("link {}", if self.link { "up" } else { "down" }),
            format!("bus-master {}", on(self.port.bus_master)),
            format!("receiver {}", on(self.receive)),
            format!("transmitter {}", on(self.transmit)),
            format!("silent {}", on(self.port.silent)),
            format!("generator {} left", self.generator.left()),
            format!("hostile {} left", self.hostile.left()),
            format!("mask {:#x}", self.port.mask()),
        ];
        for (n, group) in self.groups.iter().enumerate() {
            if group.is_enabled() {
                lines.push(format!("group {n} {group}"));
            }
        }
        if self.transmitter.is_enabled() {
            lines.push(format!("transmit {}", self.transmitter));
        }
        match regs::ErrorReport::decode(self.port.error()) {
            Some(error) => lines.push(format!("error {error:?} {:#x}", self.port.error_info())),
            None => lines.push("error none".to_owned()),
        }
        lines
    }

    /// The counters by name.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        let counters = (0..stats::COUNT).filter_map(|n| self.port.counter(n * 8));
        let mut all: Vec<_> = stats::NAMES.into_iter().zip(counters).collect();
        all.push(("checked_good", self.checked.good));
        all.push(("checked_bad", self.checked.bad));
        all.push(("errors", u64::from(self.port.error_count())));
        all
    }

    /// What a hostile card has counted, by name.
    pub fn tallies(&self) -> Vec<(&'static str, u32)> {
        let counts = (0..).map_while(|number| self.tally(number));
        let names = Tally::ALL.iter().map(|kind| kind.name());
        names.zip(counts).collect()
    }
}

/// The groups as after reset.
fn new_groups() -> [Group; regs::GROUPS] {
    std::array::from_fn(|n| Group::new(u8::try_from(n).unwrap_or(u8::MAX)))
}
