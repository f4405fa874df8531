//! The listeners: bound once, held for as long as any version uses them, closed by nobody else
//! (I4).

use std::fs;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use handover_proto::manifest::{ListenerEntry, ListenerKind};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::config::ListenerSpec;
use super::error::ListenError;

/// Connections the kernel queues while nobody accepts; it caps this at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Removes a Unix socket's path once no listener uses it, if it is still the same socket.
#[derive(Debug)]
pub(super) struct BoundPath {
    path: PathBuf,
    dev: u64,
    ino: u64,
    /// Nobody else has the socket.
    ours: AtomicBool,
}

impl Drop for BoundPath {
    fn drop(&mut self) {
        let same = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (self.dev, self.ino));
        if same && self.ours.load(Ordering::Relaxed) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A listener that is open. The kernel object lives as long as any instance or this value does.
#[derive(Debug)]
pub(super) struct OpenListener {
    pub(super) spec: ListenerSpec,
    pub(super) entry: ListenerEntry,
    fd: OwnedFd,
    path: Option<Arc<BoundPath>>,
    /// A socket unit has it too, and its path.
    units: bool,
}

/// The listeners of one version, in the order they are passed.
pub(super) type Listeners = Vec<Arc<OpenListener>>;

impl AsFd for OpenListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl OpenListener {
    /// A listener that came from a process that serves already.
    pub(super) fn adopted(spec: ListenerSpec, entry: ListenerEntry, fd: OwnedFd) -> Self {
        let path = match entry.kind {
            ListenerKind::Unix => bound_path(Path::new(&entry.address)).ok().map(Arc::new),
            ListenerKind::Tcp | ListenerKind::Udp => None,
        };
        Self {
            spec,
            entry,
            fd,
            path,
            units: false,
        }
    }

    /// A listener that somebody else still serves on: its path stays in any case, until
    /// [`OpenListener::keep`].
    pub(super) fn borrowed(spec: ListenerSpec, entry: ListenerEntry, fd: OwnedFd) -> Self {
        let listener = Self::adopted(spec, entry, fd);
        if let Some(path) = &listener.path {
            path.ours.store(false, Ordering::Relaxed);
        }
        listener
    }

    /// From here on it is the service's alone.
    pub(super) fn keep(&self) {
        if let Some(path) = &self.path {
            path.ours.store(true, Ordering::Relaxed);
        }
    }

    /// A duplicate for another supervisor. The path of a Unix socket is not this one's alone any
    /// more, and stays.
    pub(super) fn share(&self) -> io::Result<OwnedFd> {
        let fd = self.fd.try_clone()?;
        if let Some(path) = &self.path {
            path.ours.store(false, Ordering::Relaxed);
        }
        Ok(fd)
    }

    /// A listener that a socket unit of the service manager opened.
    pub(super) const fn units(spec: ListenerSpec, entry: ListenerEntry, fd: OwnedFd) -> Self {
        Self {
            spec,
            entry,
            fd,
            path: None,
            units: true,
        }
    }

    /// Whether a socket unit holds it open.
    pub(super) const fn is_units(&self) -> bool {
        self.units
    }

    /// The address to connect to, for TCP.
    pub(super) fn tcp_address(&self) -> Option<SocketAddr> {
        match self.entry.kind {
            ListenerKind::Tcp => self.entry.address.parse().ok(),
            ListenerKind::Udp | ListenerKind::Unix => None,
        }
    }
}

/// Opens what `specs` ask for. Sockets in `open` are used again: by name and address, or by
/// address under a new name.
///
/// # Errors
/// The first listener that cannot be had; those opened for this call are closed again.
pub(super) fn open_all(
    specs: &[ListenerSpec],
    open: &[Arc<OpenListener>],
) -> Result<Listeners, ListenError> {
    let mut opened: Listeners = Vec::with_capacity(specs.len());
    for spec in specs {
        let twin = specs
            .iter()
            .filter(|s| s.address == spec.address && s.kind == spec.kind)
            .count();
        opened.push(reuse_or_bind(spec, open, twin > 1)?);
    }
    Ok(opened)
}

fn reuse_or_bind(
    spec: &ListenerSpec,
    open: &[Arc<OpenListener>],
    shared: bool,
) -> Result<Arc<OpenListener>, ListenError> {
    // As it was written, or as it was resolved: `:0` has become a port that people can name.
    let same_place = |listener: &&Arc<OpenListener>| {
        listener.spec.kind == spec.kind
            && (listener.spec.address == spec.address || listener.entry.address == spec.address)
    };
    if let Some(same) = open
        .iter()
        .find(|l| l.spec.name == spec.name && same_place(l))
    {
        return Ok(Arc::clone(same));
    }
    if let (Some(renamed), false) = (open.iter().find(same_place), shared) {
        let fd = renamed
            .fd
            .try_clone()
            .map_err(|source| io_error(spec, source))?;
        let entry = ListenerEntry {
            name: spec.name.clone(),
            ..renamed.entry.clone()
        };
        let path = renamed.path.clone();
        return Ok(Arc::new(OpenListener {
            spec: spec.clone(),
            entry,
            fd,
            path,
            units: renamed.units,
        }));
    }
    bind(spec, shared).map(Arc::new)
}

fn bind(spec: &ListenerSpec, shared: bool) -> Result<OpenListener, ListenError> {
    match spec.kind {
        ListenerKind::Unix => bind_unix(spec),
        ListenerKind::Tcp => bind_inet(spec, Type::STREAM, Protocol::TCP, shared),
        ListenerKind::Udp => bind_inet(spec, Type::DGRAM, Protocol::UDP, shared),
    }
}

fn bind_inet(
    spec: &ListenerSpec,
    kind: Type,
    protocol: Protocol,
    shared: bool,
) -> Result<OpenListener, ListenError> {
    let resolved = spec
        .address
        .to_socket_addrs()
        .and_then(|mut found| found.next().ok_or_else(|| io::Error::other("no address")));
    let address = resolved.map_err(|source| ListenError::Resolve {
        name: spec.name.clone(),
        address: spec.address.clone(),
        source,
    })?;
    let bound = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
        if kind == Type::STREAM {
            // Connections of an earlier life in TIME_WAIT must not keep the port from us.
            socket.set_reuse_address(true)?;
        }
        if shared {
            socket.set_reuse_port(true)?;
        }
        if let SocketAddr::V6(v6) = address
            && v6.ip().is_unspecified()
        {
            socket.set_only_v6(false)?;
        }
        socket.bind(&address.into())?;
        if kind == Type::STREAM {
            socket.listen(BACKLOG)?;
        }
        Ok(socket)
    };
    let socket = bound().map_err(|source| bind_error(spec, address, source))?;
    let local = socket
        .local_addr()
        .ok()
        .and_then(|local| local.as_socket())
        .unwrap_or(address);
    let entry = ListenerEntry {
        name: spec.name.clone(),
        kind: spec.kind,
        address: local.to_string(),
    };
    Ok(OpenListener {
        spec: spec.clone(),
        entry,
        fd: socket.into(),
        path: None,
        units: false,
    })
}

fn bind_unix(spec: &ListenerSpec) -> Result<OpenListener, ListenError> {
    let path = Path::new(&spec.address);
    let io = |source| io_error(spec, source);
    if let Ok(found) = fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            let name = spec.name.clone();
            return Err(ListenError::NotASocket {
                name,
                path: path.into(),
            });
        }
        match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => {
                let (name, address) = (spec.name.clone(), spec.address.clone());
                return Err(ListenError::InUse { name, address });
            }
            // Nobody accepts there any more: a dead process left it.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(io)?;
            }
            Err(error) => return Err(io(error)),
        }
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(io)?;
    socket
        .bind(&SockAddr::unix(path).map_err(io)?)
        .map_err(io)?;
    socket.listen(BACKLOG).map_err(io)?;
    let guard = bound_path(path).map_err(io)?;
    let entry = ListenerEntry {
        name: spec.name.clone(),
        kind: spec.kind,
        address: spec.address.clone(),
    };
    Ok(OpenListener {
        spec: spec.clone(),
        entry,
        fd: socket.into(),
        path: Some(Arc::new(guard)),
        units: false,
    })
}

/// The socket at a path that was just bound.
pub(super) fn bound_path(path: &Path) -> io::Result<BoundPath> {
    let found = fs::symlink_metadata(path)?;
    Ok(BoundPath {
        path: path.into(),
        dev: found.dev(),
        ino: found.ino(),
        ours: AtomicBool::new(true),
    })
}

fn io_error(spec: &ListenerSpec, source: io::Error) -> ListenError {
    ListenError::Io {
        name: spec.name.clone(),
        address: spec.address.clone(),
        source,
    }
}

fn bind_error(spec: &ListenerSpec, address: SocketAddr, source: io::Error) -> ListenError {
    let name = spec.name.clone();
    match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse {
            name,
            address: address.to_string(),
        },
        io::ErrorKind::PermissionDenied => ListenError::NotPermitted {
            name,
            address: address.to_string(),
            first_free: first_unprivileged_port(),
        },
        _ => ListenError::Io {
            name,
            address: address.to_string(),
            source,
        },
    }
}

fn first_unprivileged_port() -> u16 {
    let path = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    let found = fs::read_to_string(path)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    found.unwrap_or(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> ListenerSpec {
        text.parse().expect(text)
    }

    #[test]
    fn a_renamed_listener_keeps_its_socket() {
        let first = open_all(&[spec("a=127.0.0.1:0")], &[]).expect("binds");
        let renamed = open_all(&[spec("b=127.0.0.1:0")], &first).expect("reuses");
        assert_eq!(first[0].entry.address, renamed[0].entry.address);
        assert_eq!(renamed[0].entry.name, "b");
    }

    #[test]
    fn two_listeners_of_one_address_are_two() {
        let probe = open_all(&[spec("a=127.0.0.1:0")], &[]).expect("binds");
        let address = probe[0].entry.address.clone();
        drop(probe);
        let specs = [spec(&format!("a={address}")), spec(&format!("b={address}"))];
        let both = open_all(&specs, &[]).expect("binds both");
        assert_eq!(both[0].entry.address, both[1].entry.address);
    }

    #[test]
    fn an_address_in_use_is_named() {
        let taken = open_all(&[spec("a=127.0.0.1:0")], &[]).expect("binds");
        let again = spec(&format!("b={}", taken[0].entry.address));
        let error = open_all(&[again], &[]).expect_err("taken");
        assert!(matches!(error, ListenError::InUse { name, .. } if name == "b"));
    }

    #[test]
    fn a_unix_path_is_removed_when_nobody_uses_it_and_a_file_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        let text = format!("s=unix:{}", path.display());
        let open = open_all(&[spec(&text)], &[]).expect("binds");
        assert!(matches!(
            open_all(&[spec(&text)], &[]),
            Err(ListenError::InUse { .. })
        ));
        drop(open);
        assert!(!path.exists());
        fs::write(&path, "data").expect("writes");
        assert!(matches!(
            open_all(&[spec(&text)], &[]),
            Err(ListenError::NotASocket { .. })
        ));
    }
}
