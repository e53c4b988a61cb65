// SPDX-License-Identifier: GPL-2.0

//! Plugs the parts of the card together.
//!
//! Three kinds of threads share the card under one lock: the server (QEMU's accesses), the main loop
//! (wire and time), and the control socket's.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use anyhow::Context;
use anyhow::Result;
use log::LevelFilter;
use log::Log;
use log::Metadata;
use log::Record;
use mbcard::card::Card;
use mbcard::card::Wire;
use mbcard::cli;
use mbcard::cli::Options;
use mbcard::cli::Request;
use mbcard::control;
use mbcard::host::Machine;
use mbcard::host::Server;
use mbcard::host::SharedCard;
use mbcard::host::SocketPath;
use mbcard::pump::Pump;
use mbcard::wire::NoWire;
use mbcard::wire::PcapSink;
use mbcard::wire::PcapSource;
use mbcard::wire::Source;
use mbcard::wire::Tap;
use signal_hook::consts::SIGINT;
use signal_hook::consts::SIGTERM;
use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::eventfd::EFD_NONBLOCK;

/// Writes what parts and libraries report to standard error.
struct StandardError;

impl Log for StandardError {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        eprintln!("mbcard: {}", record.args());
    }

    fn flush(&self) {}
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mbcard: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut out = std::io::stdout();
    match cli::parse(std::env::args_os().skip(1))? {
        Request::Print(text) => writeln!(out, "{text}").context("cannot print"),
        Request::Send { path, command } => {
            let answer = control::send(&path, &command)?;
            let text: String = answer.into_iter().map(|line| line + "\n").collect();
            out.write_all(text.as_bytes()).context("cannot print")
        }
        Request::Card(options) => serve(&options),
    }
}

/// Is a card until QEMU goes or somebody tells it to quit.
fn serve(options: &Options) -> Result<()> {
    log::set_boxed_logger(Box::new(StandardError)).context("cannot set up reports")?;
    log::set_max_level(LevelFilter::Warn);

    let socket = SocketPath::claim(&options.socket, options.replace_stale)?;
    let control = options.control.as_ref();
    let control = control.map(|path| SocketPath::claim(path, options.replace_stale));
    let control = control.transpose()?;

    let (source, wire) = wire(options)?;
    let mut card = Card::new(Machine::default(), wire, options.mac);
    card.set_link(!options.link_down);
    if let Some((frames, length, seed, rate)) = options.generate {
        if !card.generate(frames, length, seed, rate) {
            anyhow::bail!("--generate: frames cannot be {length} bytes long");
        }
    }
    if let Some(harm) = options.hostile {
        card.hostile(harm.count, harm.seed, harm.rate, harm.derails);
    }
    let card = SharedCard::new(card);

    let kick = EventFd::new(EFD_NONBLOCK).context("cannot make an eventfd")?;
    let (quit, told) = UnixStream::pair().context("cannot make a pair of sockets")?;
    for signal in [SIGINT, SIGTERM] {
        let quit = quit.try_clone().context("cannot clone a socket")?;
        signal_hook::low_level::pipe::register(signal, quit).context("cannot catch signals")?;
    }

    let server = Server::new(&socket, card.clone(), kick.try_clone()?)?;
    if let Some(control) = &control {
        control::serve(control, card.clone(), kick.try_clone()?, quit.try_clone()?)?;
    }
    let server = thread::spawn(move || {
        let result = server.run();
        // If the main loop is gone, it has quit already.
        let _ = (&quit).write_all(b"q");
        result
    });
    Pump::new(card, kick, source)?.run(&told)?;
    if server.is_finished() {
        return server
            .join()
            .unwrap_or_else(|_| anyhow::bail!("the server panicked"));
    }
    Ok(())
}

/// Both directions of the wire.
fn wire(options: &Options) -> Result<(Source, Box<dyn Wire>)> {
    if let Some(name) = &options.tap {
        let tap = Arc::new(Tap::open(name)?);
        return Ok((Source::Tap(tap.clone()), Box::new(tap)));
    }
    let source = match &options.pcap_in {
        Some(path) => Source::Pcap(PcapSource::open(path, options.rate)?),
        None => Source::Nothing,
    };
    let sink: Box<dyn Wire> = match &options.pcap_out {
        Some(path) => Box::new(PcapSink::create(path)?),
        None => Box::new(NoWire),
    };
    Ok((source, sink))
}
