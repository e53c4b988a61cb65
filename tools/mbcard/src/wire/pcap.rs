// SPDX-License-Identifier: GPL-2.0

//! Capture files: frames are read from one, at a rate, and written to another.

use std::fs::File;
use std::io;
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;
use mbcard_regs::FRAME_LENGTH_MAX;
use pcap_file::pcap::PcapHeader;
use pcap_file::pcap::PcapPacket;
use pcap_file::pcap::PcapReader;
use pcap_file::pcap::PcapWriter;
use pcap_file::DataLink;

use crate::card::Wire;
use crate::pace::Pace;

/// A file that frames are read from.
pub struct PcapSource {
    reader: PcapReader<BufReader<File>>,
    pace: Pace,
    done: bool,
}

impl PcapSource {
    /// Opens a capture of Ethernet frames, to be read at `rate` frames a second; 0 is as fast as can be.
    pub fn open(path: &Path, rate: u32) -> Result<Self> {
        let name = path.display();
        let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
        let reader = PcapReader::new(BufReader::new(file))
            .with_context(|| format!("{name} is not a pcap file"))?;
        let datalink = reader.header().datalink;
        if datalink != DataLink::ETHERNET {
            bail!("{name} holds {datalink:?} frames, not Ethernet's");
        }
        Ok(Self {
            reader,
            pace: Pace::new(rate),
            done: false,
        })
    }

    /// When the next frame is due; `None` after the last one.
    pub fn due(&self) -> Option<Duration> {
        (!self.done).then(|| self.pace.due())
    }

    /// The number of frames that are due after that time.
    pub fn advance(&mut self, elapsed: Duration) -> u32 {
        self.pace.advance(elapsed)
    }

    /// The next frame; `None` after the last one.
    pub fn frame(&mut self) -> Result<Option<Vec<u8>>> {
        match self.reader.next_packet() {
            Some(Ok(packet)) => Ok(Some(packet.data.into_owned())),
            Some(Err(error)) => {
                self.done = true;
                Err(error).context("the capture is broken here; frames before it were received")
            }
            None => {
                self.done = true;
                Ok(None)
            }
        }
    }
}

/// A file that frames are written to, without a buffer, so that none is lost whenever the card ends.
pub struct PcapSink(PcapWriter<File>);

impl PcapSink {
    /// Makes a new capture; a file that exists is not overwritten.
    pub fn create(path: &Path) -> Result<Self> {
        let name = path.display();
        let file = File::create_new(path).with_context(|| format!("cannot create {name}"))?;
        let header = PcapHeader {
            snaplen: u32::from(FRAME_LENGTH_MAX),
            datalink: DataLink::ETHERNET,
            ..Default::default()
        };
        let writer = PcapWriter::with_header(file, header)
            .with_context(|| format!("cannot write to {name}"))?;
        Ok(Self(writer))
    }
}

impl Wire for PcapSink {
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
        let packet = PcapPacket::new(now, length, frame);
        self.0.write_packet(&packet).map_err(io::Error::other)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("frames.pcap");
        let mut sink = PcapSink::create(&path).unwrap();
        let frames = [vec![1; 14], vec![2; 1514], vec![3; 9216]];
        for frame in &frames {
            sink.send(frame).unwrap();
        }
        // The sink is still open: each frame is in the file by itself.
        let mut source = PcapSource::open(&path, 0).unwrap();
        for frame in &frames {
            assert_eq!(source.frame().unwrap().as_ref(), Some(frame));
        }
        assert!(source.due().is_some());
        assert_eq!(source.frame().unwrap(), None);
        assert!(source.due().is_none());
    }

    #[test]
    fn files_that_will_not_do_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let refusal = || format!("{:#}", PcapSource::open(&path, 0).err().unwrap());
        assert!(refusal().contains("cannot open"));
        std::fs::write(&path, "no capture").unwrap();
        assert!(refusal().contains("is not a pcap file"));
        assert!(PcapSink::create(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"no capture");
        let header = PcapHeader {
            datalink: DataLink::IPV4,
            ..Default::default()
        };
        PcapWriter::with_header(File::create(&path).unwrap(), header).unwrap();
        assert!(refusal().contains("not Ethernet"));
    }

    #[test]
    fn a_capture_cut_short_gives_what_it_has() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("frames.pcap");
        let mut sink = PcapSink::create(&path).unwrap();
        sink.send(&[1; 60]).unwrap();
        sink.send(&[2; 60]).unwrap();
        let length = std::fs::metadata(&path).unwrap().len();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(length - 10).unwrap();
        let mut source = PcapSource::open(&path, 0).unwrap();
        assert_eq!(source.frame().unwrap(), Some(vec![1; 60]));
        assert!(source.frame().is_err());
        assert!(source.due().is_none());
    }
}
