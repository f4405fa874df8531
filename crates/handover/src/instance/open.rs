//! Listeners by name: inherited, or bound.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex};

use handover_sys::inherited::Inherited;
use tokio::net::{ToSocketAddrs, lookup_host};

use super::Instance;
use crate::address::Address;
use crate::datagram::UdpSocket;
use crate::error::ListenError;
use crate::ledger::lock;
use crate::listener::{self, Listener, Parked, Slot};
use crate::pool::{Pool, Unclaimed, Wanted};

impl Instance {
    /// A TCP listener: the one inherited under `name`, wherever that is bound; else an inherited
    /// one without a name that is bound to `address`; else bound here, with a queue of 4,096.
    ///
    /// `[::]` also takes IPv4, whatever the system's default. With `:0` the kernel chooses a port,
    /// see [`Listener::local_addr`]. When it is first accepted on, an inherited socket becomes
    /// non-blocking for every process that holds it.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub async fn tcp(
        &self,
        name: &str,
        address: impl ToSocketAddrs,
    ) -> Result<Listener, ListenError> {
        let (fd, inherited) = self.take_tcp(name, address).await?;
        self.listener(name, fd, inherited, listener::tcp_socket)
    }

    /// As [`Instance::tcp`], for a program that accepts by itself. It takes no part in the drain:
    /// who must not be accepted any more, the program has to know. The socket does not block.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub async fn tcp_socket(
        &self,
        name: &str,
        address: impl ToSocketAddrs,
    ) -> Result<std::net::TcpListener, ListenError> {
        let (fd, inherited) = self.take_tcp(name, address).await?;
        let socket = std::net::TcpListener::from(fd);
        let adopted = socket.set_nonblocking(true).map(|()| socket);
        opened(&self.core.pool, name, inherited, adopted)
    }

    /// A TCP listener: the one inherited under `name`, else what `bind` makes, for a socket with
    /// options of its own, such as `SO_REUSEPORT`.
    ///
    /// # Errors
    /// See [`ListenError`]; [`ListenError::Bind`] for one of `bind`.
    pub async fn tcp_with(
        &self,
        name: &str,
        bind: impl FnOnce() -> io::Result<std::net::TcpListener>,
    ) -> Result<Listener, ListenError> {
        let claimed = lock(&self.core.pool).claim(name, Wanted::Tcp(&[]))?;
        let (fd, inherited) = match claimed {
            Some(entry) => (entry.fd, true),
            None => {
                let bound = bind().map_err(|source| ListenError::Bind {
                    name: name.to_owned(),
                    address: "the program's own choice".into(),
                    source,
                })?;
                (bound.into(), false)
            }
        };
        self.core.keep(name, fd.as_fd(), None);
        self.listener(name, fd, inherited, listener::tcp_socket)
    }

    /// A Unix stream listener: the one inherited under `name`, else an unnamed one at `path`, else
    /// bound here. `@name` is an abstract address.
    ///
    /// A socket file that nobody serves is replaced. Its mode is what the umask leaves. It is
    /// never removed: a successor may be serving it by then.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub async fn unix(&self, name: &str, path: impl AsRef<Path>) -> Result<Listener, ListenError> {
        let path = path.as_ref();
        let claimed = lock(&self.core.pool).claim(name, Wanted::Unix(path))?;
        let (fd, inherited, shown) = match claimed {
            Some(Inherited { fd, facts, .. }) => (fd, true, facts.local),
            None => {
                let bound = listener::unix(path).map_err(|source| ListenError::Path {
                    name: name.to_owned(),
                    source,
                })?;
                (bound, false, Some(path.display().to_string()))
            }
        };
        let shown = Address::Unix(shown);
        self.core.keep(name, fd.as_fd(), Some(&shown));
        let opened = self.listener(name, fd, inherited, listener::unix_socket)?;
        Ok(opened.at(shown))
    }

    /// A UDP socket: the one inherited under `name`, else an unnamed one bound to `address`, else
    /// bound here. Addresses as with [`Instance::tcp`].
    ///
    /// # Errors
    /// See [`ListenError`].
    pub async fn udp(
        &self,
        name: &str,
        address: impl ToSocketAddrs,
    ) -> Result<UdpSocket, ListenError> {
        let addresses = resolve(name, address).await?;
        let claimed = lock(&self.core.pool).claim(name, Wanted::Udp(&addresses))?;
        let (fd, inherited) = match claimed {
            Some(entry) => (entry.fd, true),
            None => (bind_any(name, &addresses, listener::udp)?, false),
        };
        self.core.keep(name, fd.as_fd(), None);
        let adopted = listener::udp_socket(fd).and_then(|socket| {
            UdpSocket::new(name.to_owned(), inherited, socket, Arc::clone(&self.core))
        });
        opened(&self.core.pool, name, inherited, adopted)
    }

    /// The descriptor inherited under exactly this name, for a program that serves it by itself, or
    /// that left it with systemd ([`Instance::store`]). It takes no part in the drain.
    #[must_use]
    pub fn claim(&self, name: &str) -> Option<OwnedFd> {
        let named = lock(&self.core.pool).take_named(name);
        let Some(claimed) = named else {
            return lock(&self.core.pool).take_file(name);
        };
        self.core.keep(name, claimed.fd.as_fd(), None);
        Some(claimed.fd)
    }

    /// Inherited listeners nobody has asked for yet. [`Instance::ready`] closes them.
    #[must_use]
    pub fn listeners_unclaimed(&self) -> Vec<Unclaimed> {
        lock(&self.core.pool).unclaimed()
    }

    /// The socket that [`Instance::tcp`] names, kept for the next upgrade; whether it was inherited.
    async fn take_tcp(
        &self,
        name: &str,
        address: impl ToSocketAddrs,
    ) -> Result<(OwnedFd, bool), ListenError> {
        let addresses = resolve(name, address).await?;
        let claimed = lock(&self.core.pool).claim(name, Wanted::Tcp(&addresses))?;
        let (fd, inherited) = match claimed {
            Some(entry) => (entry.fd, true),
            None => (bind_any(name, &addresses, listener::tcp)?, false),
        };
        self.core.keep(name, fd.as_fd(), None);
        Ok((fd, inherited))
    }

    fn listener(
        &self,
        name: &str,
        fd: OwnedFd,
        inherited: bool,
        socket: impl FnOnce(OwnedFd) -> Parked,
    ) -> Result<Listener, ListenError> {
        let socket = socket(fd);
        let adopted = socket.local_addr().map(|address| {
            let shared = self.core.shared(name, inherited);
            let slot = Slot::new(socket, shared, Arc::clone(&self.core.ledger));
            let slot = slot.blocking_when_parked(self.beside_handoff);
            let slot = Arc::new(slot);
            self.core.shelf.add(&slot);
            self.core.listens_at(address.clone());
            Listener::new(name.to_owned(), address, inherited, slot)
        });
        opened(&self.core.pool, name, inherited, adopted)
    }
}

async fn resolve(name: &str, address: impl ToSocketAddrs) -> Result<Vec<SocketAddr>, ListenError> {
    let failed = |source| ListenError::Resolve {
        name: name.to_owned(),
        source,
    };
    let found: Vec<_> = lookup_host(address).await.map_err(failed)?.collect();
    if found.is_empty() {
        return Err(failed(io::Error::new(
            io::ErrorKind::NotFound,
            "it names no address",
        )));
    }
    Ok(found)
}

/// What became of adopting the socket called `name`; one that was bound here is remembered.
pub(crate) fn opened<T>(
    pool: &Mutex<Pool>,
    name: &str,
    inherited: bool,
    adopted: io::Result<T>,
) -> Result<T, ListenError> {
    match adopted {
        Ok(listener) => {
            if !inherited {
                lock(pool).bound(name);
            }
            Ok(listener)
        }
        Err(source) => Err(ListenError::Adopt {
            name: name.to_owned(),
            source,
        }),
    }
}

/// Binds the first address that can be bound; the error is that of the last.
pub(crate) fn bind_any(
    name: &str,
    addresses: &[SocketAddr],
    bind: impl Fn(SocketAddr) -> io::Result<OwnedFd>,
) -> Result<OwnedFd, ListenError> {
    let mut failure = None;
    for address in addresses {
        match bind(*address) {
            Ok(fd) => return Ok(fd),
            Err(source) => failure = Some((address.to_string(), source)),
        }
    }
    let (address, source) =
        failure.unwrap_or_else(|| (String::new(), io::ErrorKind::AddrNotAvailable.into()));
    let name = name.to_owned();
    Err(match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse { name, address },
        io::ErrorKind::PermissionDenied => ListenError::Denied { name, address },
        _ => ListenError::Bind {
            name,
            address,
            source,
        },
    })
}
