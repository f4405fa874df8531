//! A directory that old and new container share: datagrams from process to process, and the
//! register and the key beside them.

mod crossing;

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use handover_proto::container::{MAX_SERVICE, PeerId};
use handover_sys::filesystem::{self, Filesystem};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::net::{SendFlags, SocketAddrUnix, sendto};
use tokio::net::UnixDatagram;

pub(super) use crossing::{Counter, Shelf, ask};
pub use crossing::{Crossed, CrossingError};

use crate::runtime;

/// End of the name of a socket for datagrams.
const DATAGRAMS: &str = ".sock";

/// End of the name of a socket that gives listeners.
const LISTENERS: &str = ".listeners";

/// Most peers that are sent to: more than a service has instances, so that a directory full of
/// sockets costs no more than this.
const MOST: usize = 64;

/// Longest path of a socket (`sun_path`, unix(7)), without the closing zero.
const MAX_PATH: usize = 107;

/// Why a volume cannot be used. Who served before serves on.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// There is no such directory: it is not mounted, and making one would share it with nobody.
    #[error(
        "the volume {} is no directory; mount one that old and new container share",
        path.display()
    )]
    Missing {
        /// The volume.
        path: PathBuf,
    },
    /// The service's directory in it cannot be used.
    #[error("{} cannot be used: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Its filesystem has no sockets, or there is another reason.
    #[error(
        "no socket can be bound in {}: {source}; use a volume on a local filesystem",
        path.display()
    )]
    Bind {
        /// The directory.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

/// The name of a service that can be a directory's and fits into a datagram.
pub(super) fn is_service(name: &str) -> bool {
    let odd = name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']);
    !odd && name.len() <= MAX_SERVICE
}

/// The directory of a service in a volume, private to its user; made if need be.
pub(super) fn directory(volume: &Path, service: &str) -> Result<PathBuf, VolumeError> {
    if !volume.is_dir() {
        return Err(VolumeError::Missing {
            path: volume.to_owned(),
        });
    }
    let path = volume.join(service);
    match runtime::create_private(&path) {
        Ok(()) => Ok(path),
        Err(source) => Err(VolumeError::Directory { path, source }),
    }
}

/// The sockets of one instance in its service's directory. They are removed when dropped.
#[derive(Debug)]
pub(super) struct Volume {
    place: Place,
    own: String,
    socket: UnixDatagram,
    /// Whether the last look found the own socket missing.
    lost: bool,
}

/// A directory that is held open, so that the paths of sockets in it are short.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    handle: OwnedFd,
}

impl Place {
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = openat(CWD, &path, flags, Mode::empty())?;
        Ok(Self { path, handle })
    }

    /// A path by which `name` in it can be bound or connected to.
    fn socket(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        if path.as_os_str().len() <= MAX_PATH {
            return path;
        }
        let number = self.handle.as_fd().as_raw_fd();
        PathBuf::from(format!("/proc/self/fd/{number}/{name}"))
    }

    /// The names in it that end so, at most [`MOST`], in no order.
    fn named(&self, end: &str) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.path)?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names
            .filter(|name| name.ends_with(end))
            .take(MOST)
            .collect())
    }

    /// Removes what a process left that is gone: names are drawn at random, so nobody else has it.
    fn remove(&self, name: &str) {
        match fs::remove_file(self.path.join(name)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::debug!(%error, name, "a stale socket stays"),
        }
    }
}

impl Volume {
    /// Binds this instance's socket in `directory` (see [`directory`]). Call it inside a runtime.
    pub(super) fn open(directory: PathBuf, peer: PeerId) -> Result<Self, VolumeError> {
        let failed = |source| VolumeError::Bind {
            path: directory.clone(),
            source,
        };
        let place = Place::open(directory.clone()).map_err(failed)?;
        let own = format!("{peer}{DATAGRAMS}");
        let socket = bind(&place, &own).map_err(failed)?;
        Ok(Self {
            place,
            own,
            socket,
            lost: false,
        })
    }

    /// The directory.
    pub(super) fn path(&self) -> &Path {
        &self.place.path
    }

    /// Whether locks and sockets there reach all containers, and if not, why.
    pub(super) fn doubt(&self) -> Option<Filesystem> {
        let found = filesystem::of(&self.place.handle).ok()?;
        (!found.locks_exclude()).then_some(found)
    }

    /// Sends to every other instance, at once; one whose queue is full misses it. Sockets of
    /// processes that are gone are removed.
    ///
    /// # Errors
    /// The directory cannot be read, or no descriptor is free.
    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let names = self.place.named(DATAGRAMS)?;
        // What a receiver has not read counts towards the buffer of the socket that sent it. With
        // one socket for all of them, a process that is stopped would in time silence this one to
        // the others; so each datagram has a socket of its own.
        let socket = std::os::unix::net::UnixDatagram::unbound()?;
        for name in names.iter().filter(|name| **name != self.own) {
            let sent = SocketAddrUnix::new(self.place.socket(name)).and_then(|to| {
                let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
                sendto(&socket, bytes, flags, &to)
            });
            match sent {
                Ok(_) => {}
                Err(Errno::CONNREFUSED) => {
                    self.place.remove(name);
                    let peer = name.strip_suffix(DATAGRAMS).unwrap_or(name);
                    self.place.remove(&format!("{peer}{LISTENERS}"));
                }
                Err(error) => tracing::debug!(%error, name, "a peer was not sent to"),
            }
        }
        Ok(())
    }

    /// The next datagram, cut after `room` bytes. Cancel-safe: none is lost.
    pub(super) async fn receive(&self, room: usize) -> io::Result<Vec<u8>> {
        loop {
            self.socket.readable().await?;
            let mut bytes = vec![0; room];
            match self.socket.try_recv(&mut bytes) {
                Ok(length) => {
                    bytes.truncate(length);
                    return Ok(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Binds again if somebody removed the socket, by which others reach this instance. Whether it
    /// did.
    pub(super) fn repair(&mut self) -> bool {
        if self.place.path.join(&self.own).exists() {
            return false;
        }
        match bind(&self.place, &self.own) {
            Ok(socket) => {
                self.socket = socket;
                self.lost = false;
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut self.lost, true) {
                    tracing::warn!(%error, path = %self.place.path.display(), "the socket is gone");
                }
                false
            }
        }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        self.place.remove(&self.own);
    }
}

fn bind(place: &Place, name: &str) -> io::Result<UnixDatagram> {
    let path = place.socket(name);
    // The directory is private, so nobody connects before the mode is set.
    let socket = UnixDatagram::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(socket)
}

#[cfg(test)]
mod tests;
