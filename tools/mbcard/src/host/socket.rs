// SPDX-License-Identifier: GPL-2.0

//! The paths of the sockets that the card listens at.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::path::PathBuf;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;

/// A path at which a socket is, or is about to be. Dropping it removes the socket.
pub struct SocketPath(PathBuf);

impl SocketPath {
    /// Claims a path that nothing is at. With `replace`, a socket there that nobody listens at any more
    /// is removed first.
    pub fn claim(path: &Path, replace: bool) -> Result<Self> {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => (),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot look at {}", path.display()));
            }
            Ok(metadata) if !metadata.file_type().is_socket() => {
                bail!("{} exists and is not a socket", path.display());
            }
            Ok(_) if is_listened_at(path)? => {
                bail!("another process listens at {}", path.display());
            }
            Ok(_) if replace => fs::remove_file(path)
                .with_context(|| format!("cannot remove the stale socket {}", path.display()))?,
            Ok(_) => bail!(
                "{} is left over from a process that is gone: remove it, or give --replace-stale",
                path.display()
            ),
        }
        Ok(Self(path.to_owned()))
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        // It may be gone already, and nobody is left to be told.
        let _ = fs::remove_file(&self.0);
    }
}

/// Whether a process has the socket open. It must not notice: a connection would be taken for QEMU's. So
/// this connects with the wrong type of socket, which fails in another way if anybody is there.
fn is_listened_at(path: &Path) -> Result<bool> {
    let probe = UnixDatagram::unbound().context("cannot make a socket")?;
    match probe.connect(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(false),
        Err(error) if error.raw_os_error() == Some(libc::EPROTOTYPE) => Ok(true),
        Err(error) => Err(error).with_context(|| format!("cannot probe {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn refusal(path: &Path, replace: bool) -> String {
        SocketPath::claim(path, replace).err().unwrap().to_string()
    }

    #[test]
    fn a_free_path_is_claimed_and_left_clean() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let claimed = SocketPath::claim(&path, false).unwrap();
        let _listener = UnixListener::bind(claimed.path()).unwrap();
        drop(claimed);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_on_request_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        drop(UnixListener::bind(&path).unwrap());
        assert!(refusal(&path, false).contains("--replace-stale"));
        assert!(path.exists());
        assert!(SocketPath::claim(&path, true).is_ok());
    }

    #[test]
    fn a_live_socket_is_refused_and_not_disturbed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        assert!(refusal(&path, true).contains("another process"));
        listener.set_nonblocking(true).unwrap();
        assert_eq!(
            listener.accept().err().unwrap().kind(),
            ErrorKind::WouldBlock
        );
    }

    #[test]
    fn other_files_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "kept").unwrap();
        assert!(refusal(&path, true).contains("not a socket"));
        assert_eq!(fs::read(&path).unwrap(), b"kept");
        let nowhere = directory.path().join("file/below");
        assert!(refusal(&nowhere, true).contains("cannot look at"));
    }
}
