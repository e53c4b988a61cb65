// SPDX-License-Identifier: GPL-2.0

//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;
use lexopt::Arg;
use lexopt::Parser;
use lexopt::ValueExt;

use crate::control;
use crate::control::Harm;

/// What `--help` prints.
pub const HELP: &str = "\
mbcard - a virtual PCI card for QEMU's vfio-user-pci

  mbcard --socket PATH [OPTION]...    be a card until QEMU goes
  mbcard send PATH COMMAND...         send a command to the control socket of a card

  --socket PATH          listen here for QEMU
  --control PATH         listen here for commands; `mbcard send PATH help` lists them
  --replace-stale        remove sockets that nobody listens at any more
  --mac ADDRESS          MAC address; 52:54:00:6d:62:01 unless told
  --link-down            begin with the link down
  --tap NAME             frames come from and go to this tap device, made if it is not there
  --pcap-in FILE         frames come from this capture, once the driver is up
  --pcap-out FILE        frames go to this capture, which must not exist
  --rate N               frames a second from --pcap-in; 1000 unless told, 0 is as fast as can be
  --generate N,LENGTH,SEED[,RATE]
                         receive made frames, once the driver is up
  --hostile SEED[,COUNT[,RATE]][,derail]
                         return descriptors with faults instead, as the command `hostile` does
  --help, --version

The card ends with 0 when QEMU disconnects, on `quit`, SIGINT and SIGTERM.";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// Print this.
    Print(String),
    /// Send a command to a control socket.
    Send {
        /// The socket.
        path: PathBuf,
        /// The command.
        command: String,
    },
    /// Be a card.
    Card(Options),
}

/// What kind of card.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// Where to listen for QEMU.
    pub socket: PathBuf,
    /// Where to listen for commands.
    pub control: Option<PathBuf>,
    /// Remove stale sockets.
    pub replace_stale: bool,
    /// MAC address.
    pub mac: [u8; 6],
    /// Begin with the link down.
    pub link_down: bool,
    /// Tap device.
    pub tap: Option<String>,
    /// Capture to read.
    pub pcap_in: Option<PathBuf>,
    /// Capture to write.
    pub pcap_out: Option<PathBuf>,
    /// Frames a second from the capture.
    pub rate: u32,
    /// Frames to make: number, length, seed, rate.
    pub generate: Option<(u32, u16, u32, u32)>,
    /// Descriptors with faults to return.
    pub hostile: Option<Harm>,
}

/// Understands the arguments, the program's name not among them.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Request> {
    let mut parser = Parser::from_args(arguments);
    let mut socket = None;
    let mut options = Options {
        socket: PathBuf::new(),
        control: None,
        replace_stale: false,
        mac: [0x52, 0x54, 0x00, 0x6d, 0x62, 0x01],
        link_down: false,
        tap: None,
        pcap_in: None,
        pcap_out: None,
        rate: 1000,
        generate: None,
        hostile: None,
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("help") | Arg::Short('h') => return Ok(Request::Print(HELP.to_owned())),
            Arg::Long("version") => {
                let version = concat!("mbcard ", env!("CARGO_PKG_VERSION"));
                return Ok(Request::Print(version.to_owned()));
            }
            Arg::Long("socket") => socket = Some(parser.value()?.into()),
            Arg::Long("control") => options.control = Some(parser.value()?.into()),
            Arg::Long("replace-stale") => options.replace_stale = true,
            Arg::Long("mac") => options.mac = mac(&parser.value()?.string()?)?,
            Arg::Long("link-down") => options.link_down = true,
            Arg::Long("tap") => options.tap = Some(parser.value()?.string()?),
            Arg::Long("pcap-in") => options.pcap_in = Some(parser.value()?.into()),
            Arg::Long("pcap-out") => options.pcap_out = Some(parser.value()?.into()),
            Arg::Long("rate") => options.rate = parser.value()?.parse()?,
            Arg::Long("generate") => {
                let value = parser.value()?.string()?;
                let words: Vec<&str> = value.split(',').collect();
                options.generate = Some(control::made(&words).context("--generate")?);
            }
            Arg::Long("hostile") => {
                let value = parser.value()?.string()?;
                let words: Vec<&str> = value.split(',').collect();
                options.hostile = Some(control::harm(&words).context("--hostile")?);
            }
            Arg::Value(word) if word == "send" && socket.is_none() => return send(parser),
            other => return Err(other.unexpected().into()),
        }
    }
    options.socket = socket.context("--socket is missing; try --help")?;
    if options.tap.is_some() && (options.pcap_in.is_some() || options.pcap_out.is_some()) {
        bail!("a wire has one other end: give --tap, or --pcap-in and --pcap-out, not both");
    }
    if options.control.as_ref() == Some(&options.socket) {
        bail!("--control and --socket must be two paths");
    }
    Ok(Request::Card(options))
}

fn send(mut parser: Parser) -> Result<Request> {
    let mut words = parser.raw_args()?;
    let path = words.next().context("send to which control socket?")?;
    let command: Result<Vec<String>, OsString> = words.map(OsString::into_string).collect();
    let Ok(command) = command else {
        bail!("the command is not text");
    };
    if command.is_empty() {
        bail!("send which command? try help");
    }
    Ok(Request::Send {
        path: path.into(),
        command: command.join(" "),
    })
}

/// A MAC address of one station.
fn mac(text: &str) -> Result<[u8; 6]> {
    let bytes: Option<Vec<u8>> = text
        .split(':')
        .map(|byte| {
            u8::from_str_radix(byte, 16)
                .ok()
                .filter(|_| byte.len() == 2)
        })
        .collect();
    let bytes = bytes.and_then(|bytes| <[u8; 6]>::try_from(bytes).ok());
    let bytes = bytes.with_context(|| format!("{text:?} is not a MAC address"))?;
    if bytes.first().is_some_and(|first| first & 1 != 0) || bytes == [0; 6] {
        bail!("{text} is not the address of one station");
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Request> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn options(line: &str) -> Options {
        match parse_line(line).unwrap() {
            Request::Card(options) => options,
            other => panic!("{other:?}"),
        }
    }

    fn refusal(line: &str) -> String {
        format!("{:#}", parse_line(line).err().unwrap())
    }

    #[test]
    fn a_card_needs_a_socket_only() {
        let options = options("--socket s");
        assert_eq!(options.socket, PathBuf::from("s"));
        assert_eq!(options.rate, 1000);
        assert!(!options.link_down);
        assert!(refusal("").contains("--socket is missing"));
    }

    #[test]
    fn all_options_arrive() {
        let options = options(
            "--socket=s --control c --replace-stale --mac 02:00:00:00:00:09 --link-down \
             --pcap-in i --pcap-out o --rate 5 --generate 10,60,0x7 --hostile 3,20,derail",
        );
        assert_eq!(options.control, Some("c".into()));
        assert!(options.replace_stale && options.link_down);
        assert_eq!(options.mac, [2, 0, 0, 0, 0, 9]);
        assert_eq!(options.pcap_in, Some("i".into()));
        assert_eq!(options.pcap_out, Some("o".into()));
        assert_eq!(options.rate, 5);
        assert_eq!(options.generate, Some((10, 60, 7, 0)));
        let harm = options.hostile.unwrap();
        assert_eq!((harm.seed, harm.count, harm.derails), (3, 20, true));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(refusal("--socket s --tap t --pcap-in i").contains("one other end"));
        assert!(refusal("--socket s --control s").contains("two paths"));
        assert!(refusal("--socket s --colour").contains("--colour"));
        assert!(refusal("--socket s stray").contains("stray"));
        assert!(refusal("--socket").contains("--socket"));
        assert!(refusal("--socket s --rate fast").contains("fast"));
        assert!(refusal("--socket s --generate 1,2").contains("--generate"));
        assert!(refusal("--socket s --hostile derail").contains("--hostile"));
        for mac in ["01:00:00:00:00:00", "00:00:00:00:00:00", "2:0:0:0:0:9", "x"] {
            assert!(refusal(&format!("--socket s --mac {mac}")).contains(mac));
        }
    }

    #[test]
    fn commands_are_sent_as_they_are() {
        let request = parse_line("send c misbehave write-wild 2 arg=0x10").unwrap();
        let Request::Send { path, command } = request else {
            panic!("{request:?}");
        };
        assert_eq!(path, PathBuf::from("c"));
        assert_eq!(command, "misbehave write-wild 2 arg=0x10");
        assert!(refusal("send").contains("which control socket"));
        assert!(refusal("send c").contains("which command"));
    }
}
