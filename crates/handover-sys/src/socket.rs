//! What a socket is, asked of the kernel.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::net::sockopt::{ipv6_v6only, socket_acceptconn, socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix, SocketType, getsockname};
use thiserror::Error;

/// The address family of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    Inet4,
    /// IPv6, perhaps with IPv4 too: see [`SocketFacts::dual_stack`].
    Inet6,
    /// A Unix socket, by path, abstract or unnamed.
    Unix,
    /// Anything else (netlink, vsock, …) by the kernel's number.
    Other(u16),
}

/// How a socket carries data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A stream of bytes.
    Stream,
    /// Separate messages, unconnected.
    Datagram,
    /// Separate messages over a connection.
    SeqPacket,
    /// Anything else (raw, …).
    Other,
}

/// What the kernel says about a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketFacts {
    /// Its address family.
    pub family: Family,
    /// How it carries data.
    pub kind: Kind,
    /// Whether `listen` was called on it.
    pub listening: bool,
    /// The bound address as people write it: `127.0.0.1:80`, `[::]:80`, `/run/x.sock`, or `@x`
    /// for an abstract name. `None` when not bound or of another family.
    ///
    /// A Unix path is the one given to `bind`, which a rename does not change.
    pub local: Option<String>,
    /// The bound Internet address, when it is one.
    pub inet: Option<SocketAddr>,
    /// An IPv6 socket that also takes IPv4 (`IPV6_V6ONLY` is off).
    pub dual_stack: bool,
}

/// Why a descriptor could not be described.
#[derive(Debug, Error)]
pub enum SocketError {
    /// The descriptor is something else.
    #[error("descriptor {number} is {found}, not a socket; pass the listening socket itself")]
    NotASocket {
        /// The descriptor's number.
        number: i32,
        /// What it is.
        found: String,
    },
    /// The kernel refused to answer.
    #[error("the socket cannot be examined: {0}")]
    Io(#[from] io::Error),
}

/// Describes a socket. Changes nothing.
///
/// # Errors
/// [`SocketError::NotASocket`] with what it is instead.
pub fn describe(fd: impl AsFd) -> Result<SocketFacts, SocketError> {
    let fd = fd.as_fd();
    let domain = match socket_domain(fd) {
        Ok(domain) => domain,
        Err(Errno::NOTSOCK) => {
            return Err(SocketError::NotASocket {
                number: fd.as_raw_fd(),
                found: what_it_is(fd),
            });
        }
        Err(error) => return Err(io::Error::from(error).into()),
    };
    let family = match domain {
        AddressFamily::INET => Family::Inet4,
        AddressFamily::INET6 => Family::Inet6,
        AddressFamily::UNIX => Family::Unix,
        other => Family::Other(other.as_raw()),
    };
    let kind = match socket_type(fd).map_err(io::Error::from)? {
        SocketType::STREAM => Kind::Stream,
        SocketType::DGRAM => Kind::Datagram,
        SocketType::SEQPACKET => Kind::SeqPacket,
        _ => Kind::Other,
    };
    let listening = socket_acceptconn(fd).map_err(io::Error::from)?;
    let (local, inet) = match family {
        Family::Other(_) => (None, None),
        _ => local_address(&getsockname(fd).map_err(io::Error::from)?),
    };
    let dual_stack = family == Family::Inet6 && !ipv6_v6only(fd).map_err(io::Error::from)?;
    Ok(SocketFacts {
        family,
        kind,
        listening,
        local,
        inet,
        dual_stack,
    })
}

fn local_address(address: &SocketAddrAny) -> (Option<String>, Option<SocketAddr>) {
    if let Ok(inet) = SocketAddr::try_from(address.clone()) {
        // An unbound socket has port 0; the kernel never binds a TCP or UDP socket to it.
        if inet.port() == 0 {
            return (None, None);
        }
        return (Some(inet.to_string()), Some(inet));
    }
    let Ok(unix) = SocketAddrUnix::try_from(address.clone()) else {
        return (None, None);
    };
    let name = match (unix.path(), unix.abstract_name()) {
        (Some(path), _) => Some(path.to_string_lossy().into_owned()),
        // The kernel reports an unnamed socket as one with an empty abstract name.
        (None, Some(name)) if !name.is_empty() => {
            Some(format!("@{}", String::from_utf8_lossy(name)))
        }
        (None, _) => None,
    };
    (name, None)
}

/// What a descriptor that is no socket is, as `/proc` names it: a path, `pipe:[1]`, …
fn what_it_is(fd: BorrowedFd<'_>) -> String {
    match std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())) {
        Ok(target) => target.display().to_string(),
        Err(_) => "another kind of file".to_owned(),
    }
}

/// `SO_NETNS_COOKIE` (Linux 5.14, `asm-generic/socket.h`): a number that names the network
/// namespace of a socket. Unlike `SIOCGSKNS` it needs no privilege.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// Whether a socket lives in the network namespace of the calling thread. A listener that was
/// passed in from another one still belongs to the old one, and nobody here can connect to it.
///
/// `None` when the kernel (before 5.14) cannot tell.
///
/// # Errors
/// `ENOTSOCK`, or no descriptor is free for the comparison. Nothing changed.
pub fn same_network_namespace(fd: impl AsFd) -> io::Result<Option<bool>> {
    let Some(theirs) = namespace_cookie(fd.as_fd())? else {
        return Ok(None);
    };
    Ok(network_namespace()?.map(|ours| ours == theirs))
}

/// A number that names the network namespace of the calling thread, the same in every process of
/// it until the machine ends. `None` when the kernel (before 5.14) cannot tell.
///
/// # Errors
/// No descriptor is free for the look.
pub fn network_namespace() -> io::Result<Option<u64>> {
    // A Unix socket is enough: every socket belongs to a network namespace.
    let ours = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    namespace_cookie(ours.as_fd())
}

fn namespace_cookie(fd: BorrowedFd<'_>) -> io::Result<Option<u64>> {
    let mut cookie = 0u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the pointer and the length describe `cookie`, which lives across the call.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &mut length,
        )
    };
    if result == 0 {
        return Ok(Some(cookie));
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ENOPROTOOPT) {
        Ok(None)
    } else {
        Err(error)
    }
}
