// SPDX-License-Identifier: GPL-2.0

//! The main loop: brings frames from the wire to the card, and time.
//!
//! It upholds: the card is locked for one batch of frames at a time, and then handed to whoever waits for it,
//! so that the driver's doorbells get their turn.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use log::error;
use parking_lot::MutexGuard;
use vmm_sys_util::epoll::ControlOperation;
use vmm_sys_util::epoll::Epoll;
use vmm_sys_util::epoll::EpollEvent;
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::eventfd::EventFd;

use crate::host::SharedCard;
use crate::pace::BATCH;
use crate::wire::Source;
use crate::wire::Tap;

/// Longer than any frame of a tap device.
const BUFFER: usize = 65536;
/// A pcap file that waits for the driver looks again after this time.
const IDLE: Duration = Duration::from_millis(20);

const QUIT: u64 = 0;
const KICK: u64 = 1;
const WIRE: u64 = 2;

/// See the head of the file.
pub struct Pump {
    card: SharedCard,
    kick: EventFd,
    source: Source,
    epoll: Epoll,
    buffer: Vec<u8>,
}

impl Pump {
    /// A loop that is woken by `kick` when the card wants time.
    pub fn new(card: SharedCard, kick: EventFd, source: Source) -> Result<Self> {
        let epoll = Epoll::new().context("cannot make an epoll")?;
        add(&epoll, &kick, KICK)?;
        if let Source::Tap(tap) = &source {
            add(&epoll, tap.as_ref(), WIRE)?;
        }
        Ok(Self {
            card,
            kick,
            source,
            epoll,
            buffer: vec![0; BUFFER],
        })
    }

    /// Runs until `quit` can be read.
    pub fn run(mut self, quit: &UnixStream) -> Result<()> {
        add(&self.epoll, quit, QUIT)?;
        let mut events = [EpollEvent::default(); 4];
        let mut last = Instant::now();
        let mut wanted = self.turn(Duration::ZERO)?;
        loop {
            let count = match self.epoll.wait(timeout(wanted), &mut events) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                Err(error) => return Err(error).context("cannot wait for events"),
            };
            let ready = events.iter().take(count);
            for event in ready {
                match event.data() {
                    QUIT => return Ok(()),
                    KICK => self.kick.read().map(|_| ()).context("cannot take a kick")?,
                    _ => (),
                }
            }
            if let Some(wait) = wanted.filter(|wait| *wait < Duration::from_millis(1)) {
                thread::sleep(wait);
            }
            // Time in which nobody asked for it does not count.
            let now = Instant::now();
            let elapsed = wanted.map_or(Duration::ZERO, |_| now - last);
            last = now;
            wanted = self.turn(elapsed)?;
        }
    }

    /// One batch of all that is due; gives the time until the next one.
    fn turn(&mut self, elapsed: Duration) -> Result<Option<Duration>> {
        let mut card = self.card.lock();
        card.tick(elapsed);
        let mut due = None;
        match &mut self.source {
            Source::Nothing => (),
            Source::Tap(tap) => {
                let received = receive(tap, &mut self.buffer, |frame| card.receive(frame));
                if let Err(error) = received {
                    error!("the tap device is lost, and with it the wire: {error}");
                    // What stays readable for ever must not be waited for.
                    self.epoll.ctl(
                        ControlOperation::Delete,
                        tap.as_raw_fd(),
                        EpollEvent::default(),
                    )?;
                    card.set_link(false);
                    self.source = Source::Nothing;
                }
            }
            Source::Pcap(_) if !card.can_receive() => due = Some(IDLE),
            Source::Pcap(pcap) => {
                for _ in 0..pcap.advance(elapsed) {
                    match pcap.frame() {
                        Ok(Some(frame)) => card.receive(&frame),
                        Ok(None) => break,
                        Err(error) => error!("{error:#}"),
                    }
                }
                due = pcap.due();
            }
        }
        let wanted = card.wants().into_iter().chain(due).min();
        MutexGuard::unlock_fair(card);
        Ok(wanted)
    }
}

/// Lets the epoll wait for this to be readable.
fn add(epoll: &Epoll, what: &impl AsRawFd, data: u64) -> Result<()> {
    let event = EpollEvent::new(EventSet::IN, data);
    epoll
        .ctl(ControlOperation::Add, what.as_raw_fd(), event)
        .context("cannot wait for events")
}

/// Receives a batch of frames from a tap device.
fn receive(tap: &Tap, buffer: &mut [u8], mut each: impl FnMut(&[u8])) -> io::Result<()> {
    for _ in 0..BATCH {
        match tap.receive(buffer)? {
            Some(length) => each(buffer.get(..length).unwrap_or_default()),
            None => break,
        }
    }
    Ok(())
}

/// How long epoll may wait, in its milliseconds; what is less than one is slept by itself.
fn timeout(wanted: Option<Duration>) -> i32 {
    wanted.map_or(-1, |wait| {
        i32::try_from(wait.as_millis()).unwrap_or(i32::MAX)
    })
}
