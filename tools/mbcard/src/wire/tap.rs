// SPDX-License-Identifier: GPL-2.0

//! A tap device: the host's network stack at the other end of the wire.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::fd::RawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;

use crate::card::Wire;

/// An open tap device.
pub struct Tap(File);

impl Tap {
    /// Opens the tap device of that name in the network namespace of this process. If there is none it is
    /// made, which takes CAP_NET_ADMIN, and goes when it is closed.
    pub fn open(name: &str) -> Result<Self> {
        let flags = libc::c_short::try_from(libc::IFF_TAP | libc::IFF_NO_PI);
        // SAFETY: `ifreq` is plain data, for which all zeroes is a valid value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        request.ifr_ifru.ifru_flags = flags.context("tap flags")?;
        // One byte is left for the zero at the end.
        if name.is_empty() || name.len() >= request.ifr_name.len() || name.contains('\0') {
            bail!(
                "tap name {name:?} must have 1 to {} bytes",
                request.ifr_name.len() - 1
            );
        }
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = libc::c_char::from_ne_bytes([from]);
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/net/tun")
            .context("cannot open /dev/net/tun")?;
        // SAFETY: the descriptor is open, and `request` is the `ifreq` that this call reads and writes.
        let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &mut request) };
        if result < 0 {
            let error = io::Error::last_os_error();
            let hint = match error.kind() {
                ErrorKind::PermissionDenied => {
                    ": make it with `ip tuntap add mode tap`, or run with CAP_NET_ADMIN"
                }
                ErrorKind::ResourceBusy => ": another process has it open",
                _ => "",
            };
            return Err(error).with_context(|| format!("cannot use tap device {name}{hint}"));
        }
        Ok(Self(file))
    }

    /// Reads a frame; `None` if there is none now.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match (&self.0).read(buffer) {
            Ok(length) => Ok(Some(length)),
            // EIO: the interface is down, and will tell when it is up.
            Err(error)
                if error.kind() == ErrorKind::WouldBlock
                    || error.raw_os_error() == Some(libc::EIO) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl AsRawFd for Tap {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Wire for Arc<Tap> {
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        (&self.0).write_all(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_are_refused() {
        for name in ["", "sixteen-bytes-xx", "a\0b"] {
            let error = Tap::open(name).err().unwrap().to_string();
            assert!(error.contains("must have 1 to 15 bytes"), "{error}");
        }
    }
}
