//! Binding what was not inherited, and adopting what was.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net;
use std::path::Path;

use handover_sys::control::BindError;
use socket2::{Domain, Protocol, Socket as Raw, Type};
use tokio::net::UdpSocket;

use super::Parked;

/// Connections the kernel may queue for us: its own limit (`net.core.somaxconn`, 4,096 since
/// Linux 5.4). A queue that is full during a stall loses connections, one that is empty costs
/// nothing.
const BACKLOG: i32 = 4096;

fn raw(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Raw> {
    let socket = Raw::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        // Whatever `net.ipv6.bindv6only` says: `[::]` means everybody.
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

/// A listening TCP socket. `[::]` also takes IPv4.
pub(crate) fn tcp(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = raw(address, Type::STREAM, Protocol::TCP)?;
    // Connections of a predecessor that linger in TIME_WAIT must not stop a start. On Linux this
    // does not allow two listeners at once.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A bound UDP socket. `[::]` also takes IPv4.
pub(crate) fn udp(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = raw(address, Type::DGRAM, Protocol::UDP)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// A listening Unix stream socket: at a path, or abstract after `@`. A stale socket file is
/// replaced, a live one is not.
pub(crate) fn unix(path: &Path) -> Result<OwnedFd, BindError> {
    let failed = |doing| {
        move |source| BindError::Io {
            path: path.to_owned(),
            doing,
            source,
        }
    };
    if let [b'@', name @ ..] = path.as_os_str().as_bytes() {
        let address = net::SocketAddr::from_abstract_name(name).map_err(failed("naming"))?;
        return match net::UnixListener::bind_addr(&address) {
            Ok(listener) => Ok(listener.into()),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(BindError::InUse {
                path: path.to_owned(),
                pid: None,
            }),
            Err(error) => Err(failed("binding")(error)),
        };
    }
    let listener = handover_sys::control::bind_private(path)?;
    // Private until it listens, then as open as any bind would have left it: who may connect to a
    // service is its owner's choice, by umask or by the mode of the directory.
    let mode = std::fs::Permissions::from_mode(0o666 & !umask());
    std::fs::set_permissions(path, mode).map_err(failed("setting the mode of"))?;
    Ok(listener.into())
}

/// Permission bits new files do not get. Read from `/proc` (Linux 4.7), because the system call
/// that asks for it changes it for the whole process.
fn umask() -> u32 {
    const STRICT: u32 = 0o077;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("Umask:"))
        .and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok())
        .unwrap_or(STRICT)
}

/// A listening TCP socket, for the reactor to watch when it is first accepted on.
pub(crate) fn tcp_socket(fd: OwnedFd) -> Parked {
    Parked::Tcp(fd.into())
}

/// A listening Unix socket, as [`tcp_socket`].
pub(crate) fn unix_socket(fd: OwnedFd) -> Parked {
    Parked::Unix(fd.into())
}

/// Puts a UDP socket into the reactor.
pub(crate) fn udp_socket(fd: OwnedFd) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::from(fd);
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}
