//! Listeners by name: inherited, or bound.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use handover_sys::inherited::Inherited;

use super::datagram::UdpSocket;
use super::instance::Instance;
use super::listener::Listener;
use super::stream::Stream;
use crate::address::Address;
use crate::error::ListenError;
use crate::instance::open::{bind_any, opened};
use crate::ledger::lock;
use crate::listener;
use crate::pool::{Unclaimed, Wanted};

impl Instance {
    /// A TCP listener: the one inherited under `name`, wherever that is bound; else an inherited
    /// one without a name that is bound to `address`; else bound here, with a queue of 4,096.
    ///
    /// `[::]` also takes IPv4, whatever the system's default. With `:0` the kernel chooses a port,
    /// see [`Listener::local_addr`]. Inherited sockets become non-blocking for every process that
    /// holds them. A host name is looked up, which may take long.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn tcp(&self, name: &str, address: impl ToSocketAddrs) -> Result<Listener, ListenError> {
        let addresses = resolve(name, address)?;
        let claimed = lock(&self.core.pool).claim(name, Wanted::Tcp(&addresses))?;
        let (fd, inherited) = match claimed {
            Some(entry) => (entry.fd, true),
            None => (bind_any(name, &addresses, listener::tcp)?, false),
        };
        self.listener::<TcpStream>(name, fd, inherited, None)
    }

    /// A TCP listener: the one inherited under `name`, else what `bind` makes, for a socket with
    /// options of its own, such as `SO_REUSEPORT`.
    ///
    /// # Errors
    /// See [`ListenError`]; [`ListenError::Bind`] for one of `bind`.
    pub fn tcp_with(
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
        self.listener::<TcpStream>(name, fd, inherited, None)
    }

    /// A Unix stream listener: the one inherited under `name`, else an unnamed one at `path`, else
    /// bound here. `@name` is an abstract address.
    ///
    /// A socket file that nobody serves is replaced. Its mode is what the umask leaves. It is
    /// never removed: a successor may be serving it by then.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn unix(
        &self,
        name: &str,
        path: impl AsRef<Path>,
    ) -> Result<Listener<UnixStream>, ListenError> {
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
        self.listener(name, fd, inherited, Some(Address::Unix(shown)))
    }

    /// A UDP socket: the one inherited under `name`, else an unnamed one bound to `address`, else
    /// bound here. Addresses as with [`Instance::tcp`].
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn udp(&self, name: &str, address: impl ToSocketAddrs) -> Result<UdpSocket, ListenError> {
        let addresses = resolve(name, address)?;
        let claimed = lock(&self.core.pool).claim(name, Wanted::Udp(&addresses))?;
        let (fd, inherited) = match claimed {
            Some(entry) => (entry.fd, true),
            None => (bind_any(name, &addresses, listener::udp)?, false),
        };
        self.core.keep(name, fd.as_fd(), None);
        let core = Arc::clone(&self.core);
        let adopted = UdpSocket::new(name.to_owned(), inherited, fd.into(), core);
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

    fn listener<S: Stream>(
        &self,
        name: &str,
        fd: OwnedFd,
        inherited: bool,
        shown: Option<Address>,
    ) -> Result<Listener<S>, ListenError> {
        let core = Arc::clone(&self.core);
        let contested = inherited && self.is_beside_handoff();
        let kind = (inherited, contested);
        let adopted = Listener::new(name.to_owned(), kind, fd.into(), shown, core);
        opened(&self.core.pool, name, inherited, adopted)
    }
}

fn resolve(name: &str, address: impl ToSocketAddrs) -> Result<Vec<SocketAddr>, ListenError> {
    let failed = |source| ListenError::Resolve {
        name: name.to_owned(),
        source,
    };
    let found: Vec<_> = address.to_socket_addrs().map_err(failed)?.collect();
    if found.is_empty() {
        return Err(failed(io::Error::new(
            io::ErrorKind::NotFound,
            "it names no address",
        )));
    }
    Ok(found)
}
