// SPDX-License-Identifier: GPL-2.0

//! Commands to the card at run time, over a socket: lines of text.
//!
//! Each command is a line. Its answer is any number of lines and then one that begins with `ok` or with
//! `error: `, which comes when the command is done, so that a test can go step by step.

use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use anyhow::anyhow;
use anyhow::bail;
use anyhow::Context;
use anyhow::Result;
use log::error;
use mbcard_regs::Misdeed;
use vmm_sys_util::eventfd::EventFd;

use crate::card::Outcome;
use crate::host::SharedCard;
use crate::host::SocketPath;

const HELP: &str = "\
help                                 this
stats                                the counters
tally                                what a hostile card counts
status                               link, rings, last error
link up|down                         plug the cable in, or pull it
inject HEX                           receive this frame
generate N LENGTH SEED [RATE]        receive N made frames, RATE a second (0: as fast as can be)
misbehave KIND [COUNT] [group=G] [arg=X]
                                     KIND is none, unknown-handle, duplicate-handle, handle-after-reset,
                                     length-past-end, write-returned, write-wild, interrupt-storm or silence
hostile SEED [COUNT [RATE]] [derail] return COUNT descriptors (1000000) with faults that follow from SEED; derail:
                                     with such that only a reset mends. COUNT 0 ends it
quit                                 end the card";

/// What ends the card: a line to the main loop.
pub type Quit = UnixStream;

/// Serves commands at a path, in threads of its own, for as long as the process lives.
pub fn serve(path: &SocketPath, card: SharedCard, kick: EventFd, quit: Quit) -> Result<()> {
    let listener = UnixListener::bind(path.path())
        .with_context(|| format!("cannot listen at {}", path.path().display()))?;
    thread::spawn(move || {
        for stream in listener.incoming() {
            let result = stream.and_then(|stream| {
                let client = Client {
                    card: card.clone(),
                    kick: kick.try_clone()?,
                    quit: quit.try_clone()?,
                };
                thread::spawn(move || client.serve(&stream));
                Ok(())
            });
            if let Err(error) = result {
                error!("control connection failed: {error}");
            }
        }
    });
    Ok(())
}

/// Sends one command to the card at a path and gives the lines of its answer.
pub fn send(path: &Path, command: &str) -> Result<Vec<String>> {
    let mut stream = UnixStream::connect(path)
        .with_context(|| format!("no card answers at {}", path.display()))?;
    writeln!(stream, "{command}").context("cannot send the command")?;
    let mut lines = Vec::new();
    for line in BufReader::new(stream).lines() {
        let line = line.context("cannot read the answer")?;
        if let Some(error) = line.strip_prefix("error: ") {
            bail!("{error}");
        }
        if line == "ok" {
            return Ok(lines);
        }
        lines.push(line);
    }
    bail!("the card ended before it answered");
}

struct Client {
    card: SharedCard,
    kick: EventFd,
    quit: Quit,
}

impl Client {
    fn serve(mut self, stream: &UnixStream) {
        let lines = BufReader::new(stream).lines();
        for line in lines.map_while(io::Result::ok) {
            let answer = match self.command(&line) {
                Ok(lines) => {
                    lines
                        .into_iter()
                        .map(|line| line + "\n")
                        .collect::<String>()
                        + "ok\n"
                }
                Err(error) => format!("error: {error:#}\n"),
            };
            let mut to = stream;
            if to.write_all(answer.as_bytes()).is_err() {
                return;
            }
            if line.trim() == "quit" && self.quit.write_all(b"q").is_err() {
                error!("cannot tell the main loop to quit");
            }
        }
    }

    fn command(&mut self, line: &str) -> Result<Vec<String>> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut card = self.card.lock();
        let mut answer = Vec::new();
        match words.as_slice() {
            ["help"] => answer.extend(HELP.lines().map(str::to_owned)),
            ["stats"] => {
                let counters = card.counters();
                answer.extend(
                    counters
                        .iter()
                        .map(|(name, value)| format!("{name} {value}")),
                );
            }
            ["tally"] => {
                let tallies = card.tallies().into_iter();
                answer.extend(tallies.map(|(name, count)| format!("{name} {count}")));
            }
            ["hostile", rest @ ..] => {
                let Harm {
                    count,
                    seed,
                    rate,
                    derails,
                } = harm(rest)?;
                card.hostile(count, seed, rate, derails);
            }
            ["status"] => answer = card.status(),
            ["link", "up"] => card.set_link(true),
            ["link", "down"] => card.set_link(false),
            ["inject", hex] => card.receive(&bytes(hex)?),
            ["generate", rest @ ..] => {
                let (frames, length, seed, rate) = made(rest)?;
                if !card.generate(frames, length, seed, rate) {
                    bail!("frames cannot be {length} bytes long");
                }
            }
            ["misbehave", kind, rest @ ..] => {
                let misdeed = misdeed(kind)?;
                let (count, group, argument) = details(rest)?;
                match card.misbehave(Some(misdeed), group, count, argument) {
                    Outcome::Done => (),
                    Outcome::Unknown => bail!("there is no group {group}"),
                    Outcome::Cannot => bail!(
                        "the card cannot: group off, return ring full, no buffer, or no handle from before"
                    ),
                }
            }
            ["quit"] => (),
            _ => bail!("no such command: {line:?}; try help"),
        }
        let wanted = card.wants().is_some();
        drop(card);
        if wanted {
            self.kick.write(1).context("cannot wake the card's clock")?;
        }
        Ok(answer)
    }
}

/// The words of `generate`: frames, length, seed, rate.
pub fn made(words: &[&str]) -> Result<(u32, u16, u32, u32)> {
    let (three, rate) = match words {
        [three @ .., rate] if three.len() == 3 => (three, number(rate)?),
        three => (three, 0),
    };
    let [frames, length, seed] = three else {
        bail!("how many frames, how long and from what seed?");
    };
    Ok((number(frames)?, number(length)?, number(seed)?, rate))
}

/// What a hostile card is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Harm {
    /// Descriptors.
    pub count: u32,
    /// What their faults follow from.
    pub seed: u32,
    /// Descriptors a second, 0 for as many as can be.
    pub rate: u32,
    /// Whether rings may be derailed.
    pub derails: bool,
}

/// The words of `hostile`: seed, count, rate, and whether rings may be derailed.
pub fn harm(words: &[&str]) -> Result<Harm> {
    let (numbers, derails) = match words {
        [numbers @ .., "derail"] => (numbers, true),
        numbers => (numbers, false),
    };
    let (seed, count, rate) = match numbers {
        [seed] => (seed, 1_000_000, 0),
        [seed, count] => (seed, number(count)?, 0),
        [seed, count, rate] => (seed, number(count)?, number(rate)?),
        _ => bail!("hostile from what seed?"),
    };
    Ok(Harm {
        count,
        seed: number(seed)?,
        rate,
        derails,
    })
}

fn misdeed(name: &str) -> Result<Misdeed> {
    let mut all = Misdeed::ALL.into_iter();
    all.find(|misdeed| misdeed.name() == name)
        .ok_or_else(|| anyhow!("no such misdeed: {name:?}; try help"))
}

/// The words after the kind of a misdeed: count, group, argument.
fn details(words: &[&str]) -> Result<(u16, u8, u64)> {
    let (mut count, mut group, mut argument) = (0, 0, 0);
    for word in words {
        match word.split_once('=') {
            Some(("group", value)) => group = number(value)?,
            Some(("arg", value)) => argument = number(value)?,
            None => count = number(word)?,
            Some(_) => bail!("what is {word:?}?"),
        }
    }
    Ok((count, group, argument))
}

/// A number, decimal or with 0x in front, that fits the type.
fn number<T: TryFrom<u64>>(word: &str) -> Result<T> {
    let value = match word.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => word.parse(),
    };
    let value = value.map_err(|_| anyhow!("{word:?} is not a number"))?;
    T::try_from(value).map_err(|_| anyhow!("{word} is too large"))
}

/// Bytes from hexadecimal digits.
fn bytes(hex: &str) -> Result<Vec<u8>> {
    let digits = hex.chars().map(|digit| digit.to_digit(16));
    let digits: Option<Vec<u32>> = digits.collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0);
    let digits = digits.context("a frame is an even number of hexadecimal digits")?;
    let pairs = digits.chunks_exact(2);
    let bytes = pairs.map(|pair| pair.iter().fold(0, |byte, digit| (byte << 4) | digit));
    Ok(bytes.flat_map(u8::try_from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal_or_hexadecimal() {
        assert_eq!(number::<u16>("65535").unwrap(), 65535);
        assert_eq!(number::<u64>("0xffffffffffffffff").unwrap(), u64::MAX);
        assert!(number::<u16>("65536").is_err());
        assert!(number::<u16>("-1").is_err());
        assert!(number::<u16>("").is_err());
        assert!(number::<u16>("0x").is_err());
    }

    #[test]
    fn frames_are_pairs_of_digits() {
        assert_eq!(bytes("00fFa5").unwrap(), [0, 0xff, 0xa5]);
        assert!(bytes("0").is_err());
        assert!(bytes("0g").is_err());
    }

    #[test]
    fn made_frames_have_an_optional_rate() {
        assert_eq!(made(&["1", "60", "7"]).unwrap(), (1, 60, 7, 0));
        assert_eq!(made(&["1", "60", "7", "9"]).unwrap(), (1, 60, 7, 9));
        assert!(made(&["1", "60"]).is_err());
        assert!(made(&["1", "60", "7", "9", "9"]).is_err());
        assert!(made(&["1", "70000", "7"]).is_err());
    }

    #[test]
    fn harm_needs_a_seed_only() {
        let harm = |line: &str| harm(&line.split(' ').collect::<Vec<_>>());
        let expected = Harm {
            count: 1_000_000,
            seed: 7,
            rate: 0,
            derails: false,
        };
        assert_eq!(harm("7").unwrap(), expected);
        let expected = Harm {
            count: 9,
            rate: 5,
            derails: true,
            ..expected
        };
        assert_eq!(harm("7 9 5 derail").unwrap(), expected);
        assert!(harm("derail").is_err());
        assert!(harm("7 9 5 3").is_err());
        assert!(harm("x").is_err());
    }

    #[test]
    fn details_come_in_any_order() {
        assert_eq!(details(&[]).unwrap(), (0, 0, 0));
        assert_eq!(details(&["group=3", "5", "arg=0x10"]).unwrap(), (5, 3, 16));
        assert!(details(&["groups=3"]).is_err());
        assert!(details(&["group=256"]).is_err());
    }

    #[test]
    fn help_names_all_misdeeds() {
        for kind in Misdeed::ALL {
            assert!(HELP.contains(kind.name()), "{kind:?}");
            assert_eq!(misdeed(kind.name()).unwrap(), kind);
        }
        assert!(misdeed("sulk").is_err());
    }
}
