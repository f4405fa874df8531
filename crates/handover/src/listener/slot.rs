//! Where a listening socket lives, so that the drain can take it away from a framework that holds
//! the [`Listener`](super::Listener).

use std::collections::VecDeque;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::address::Address;
use crate::connection::{Connection, Stream};
use crate::ledger::{Ledger, lock};
use crate::takeover::Shared;

/// The most connections taken over from the queue of a listener that nobody else holds: the
/// kernel's own limit of a queue (`net.core.somaxconn`, 4,096 since Linux 5.4).
pub(crate) const MAX_QUEUE: usize = 4096;

/// A listening socket in use.
#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A listening socket the reactor does not watch.
#[derive(Debug)]
pub(crate) enum Parked {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

#[derive(Debug)]
enum State {
    /// Nobody has accepted on it yet. Until then it is as it came: whether it blocks is a property
    /// of all processes that hold it, and an incumbent of another library may count on it.
    Fresh(Parked),
    Open(Socket),
    Parked(Parked),
    /// Only what was queued when it closed is left.
    Closed(VecDeque<(Connection, Address)>),
}

#[derive(Debug)]
struct Content {
    state: State,
    /// The task that waits for a connection.
    waiting: Option<Waker>,
}

/// A listening socket that its owner and the drain share.
#[derive(Debug)]
pub(crate) struct Slot {
    content: Mutex<Content>,
    ledger: Arc<Ledger>,
    /// Whether another process holds the same socket.
    shared: Shared,
    /// Whether that may be one that makes the socket block when it starts, and counts on that when
    /// it is its turn (beyond-handoff 0.1.4 does).
    contested: bool,
}

impl Socket {
    fn never_block(&self) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => rustix::io::ioctl_fionbio(listener, true)?,
            Self::Unix(listener) => rustix::io::ioctl_fionbio(listener, true)?,
        }
        Ok(())
    }

    fn park(self) -> io::Result<Parked> {
        match self {
            Self::Tcp(listener) => listener.into_std().map(Parked::Tcp),
            Self::Unix(listener) => listener.into_std().map(Parked::Unix),
        }
    }

    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<(Stream, Address)>> {
        match self {
            Self::Tcp(listener) => listener
                .poll_accept(context)
                .map_ok(|(stream, peer)| (Stream::Tcp(stream), Address::Inet(peer))),
            Self::Unix(listener) => listener.poll_accept(context).map_ok(|(stream, peer)| {
                let peer = Address::of_unix(peer.as_pathname(), peer.as_abstract_name());
                (Stream::Unix(stream), peer)
            }),
        }
    }
}

impl Parked {
    pub(crate) fn local_addr(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Address::Inet),
            Self::Unix(listener) => {
                let address = listener.local_addr()?;
                Ok(Address::of_unix(
                    address.as_pathname(),
                    address.as_abstract_name(),
                ))
            }
        }
    }

    /// Whoever else holds the socket may have changed it meanwhile.
    fn never_block(&self) -> io::Result<()> {
        self.set_nonblocking(true)
    }

    fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => listener.set_nonblocking(on),
            Self::Unix(listener) => listener.set_nonblocking(on),
        }
    }

    fn resume(self) -> io::Result<Socket> {
        self.never_block()?;
        match self {
            Self::Tcp(listener) => TcpListener::from_std(listener).map(Socket::Tcp),
            Self::Unix(listener) => UnixListener::from_std(listener).map(Socket::Unix),
        }
    }

    fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(listener) => listener.try_clone().map(Self::Tcp),
            Self::Unix(listener) => listener.try_clone().map(Self::Unix),
        }
    }

    /// Accepts without waiting; the socket is non-blocking.
    fn accept(&self) -> io::Result<(Stream, Address)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok((
                    Stream::Tcp(TcpStream::from_std(stream)?),
                    Address::Inet(peer),
                ))
            }
            Self::Unix(listener) => {
                let (stream, peer) = listener.accept()?;
                stream.set_nonblocking(true)?;
                let peer = Address::of_unix(peer.as_pathname(), peer.as_abstract_name());
                Ok((Stream::Unix(UnixStream::from_std(stream)?), peer))
            }
        }
    }
}

impl Slot {
    pub(crate) fn new(socket: Parked, shared: Shared, ledger: Arc<Ledger>) -> Self {
        Self {
            content: Mutex::new(Content {
                state: State::Fresh(socket),
                waiting: None,
            }),
            ledger,
            shared,
            contested: false,
        }
    }

    /// Whether whoever accepts after us needs a socket that blocks.
    pub(crate) fn blocking_when_parked(self, contested: bool) -> Self {
        Self { contested, ..self }
    }

    /// Accepts for the one task that owns the listener.
    pub(super) fn poll_accept(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<(Connection, Address)>> {
        let mut content = lock(&self.content);
        if let State::Fresh(fresh) = &content.state {
            // A copy, because a failed registration would consume the only one.
            let socket = fresh.try_clone().and_then(Parked::resume);
            content.state = State::Open(socket?);
        }
        let accepted = match &mut content.state {
            // Counted under the lock: once the drain has closed the slot, no connection appears.
            State::Open(socket) => self
                .unblocked(socket)?
                .poll_accept(context)
                .map_ok(|(stream, peer)| (Connection::new(stream, self.ledger.accept()), peer)),
            State::Fresh(_) | State::Parked(_) => Poll::Pending,
            State::Closed(queue) => queue
                .pop_front()
                .map_or(Poll::Pending, |next| Poll::Ready(Ok(next))),
        };
        if accepted.is_pending() {
            match &mut content.waiting {
                Some(known) => known.clone_from(context.waker()),
                none => *none = Some(context.waker().clone()),
            }
        }
        accepted
    }

    /// The socket, sure not to block: a successor of another library that has just started may have
    /// changed that for us too.
    fn unblocked<'a>(&self, socket: &'a Socket) -> io::Result<&'a Socket> {
        if self.contested {
            socket.never_block()?;
        }
        Ok(socket)
    }

    fn wake(content: &mut Content) {
        if let Some(waker) = content.waiting.take() {
            waker.wake();
        }
    }

    /// Takes the socket out of the reactor, but keeps it.
    fn park(&self) {
        let mut content = lock(&self.content);
        content.state = match std::mem::replace(&mut content.state, State::Closed(VecDeque::new()))
        {
            State::Open(socket) => match socket.park() {
                Ok(parked) => {
                    if self.contested
                        && let Err(error) = parked.set_nonblocking(false)
                    {
                        tracing::warn!(%error, "a listener does not block for its next owner");
                    }
                    State::Parked(parked)
                }
                Err(error) => {
                    tracing::error!(%error, "a listener was lost while it was being paused");
                    State::Closed(VecDeque::new())
                }
            },
            State::Fresh(fresh) => State::Parked(fresh),
            other => other,
        };
    }

    /// Undoes [`Slot::park`]. On failure the socket stays parked.
    fn resume(&self) -> io::Result<()> {
        let mut content = lock(&self.content);
        if let State::Parked(parked) = &content.state {
            // A copy, because a failed registration would consume the only one.
            let socket = parked.try_clone()?.resume()?;
            content.state = State::Open(socket);
            Self::wake(&mut content);
        }
        Ok(())
    }

    /// Closes the socket for good, after taking over its queue when nobody else could.
    fn close(&self) {
        let mut content = lock(&self.content);
        let closed = State::Closed(VecDeque::new());
        let parked = match std::mem::replace(&mut content.state, closed) {
            State::Open(socket) => socket.park(),
            State::Fresh(parked) | State::Parked(parked) => Ok(parked),
            State::Closed(queue) => {
                content.state = State::Closed(queue);
                return;
            }
        };
        let Ok(parked) = parked else { return };
        if !self.shared.now() && parked.never_block().is_ok() {
            content.state = State::Closed(self.take_queue(&parked));
        }
        Self::wake(&mut content);
    }

    fn take_queue(&self, listener: &Parked) -> VecDeque<(Connection, Address)> {
        let mut queue = VecDeque::new();
        while queue.len() < MAX_QUEUE {
            match listener.accept() {
                Ok((stream, peer)) => {
                    queue.push_back((Connection::new(stream, self.ledger.accept()), peer));
                }
                Err(error) if super::classify(&error) == super::Trouble::Connection => {}
                // Empty, or no more can be had: who waits now is refused by the close.
                Err(_) => break,
            }
        }
        queue
    }
}

/// What a drain has done to all listeners alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Gate {
    #[default]
    Open,
    Paused,
    Closed,
}

/// All slots of an instance.
#[derive(Debug, Default)]
pub(crate) struct Shelf(Mutex<(Gate, Vec<Weak<Slot>>)>);

impl Shelf {
    /// Puts a slot under the drain's command; one that comes late is treated like the others.
    pub(crate) fn add(&self, slot: &Arc<Slot>) {
        let mut content = lock(&self.0);
        let (gate, slots) = &mut *content;
        slots.retain(|slot| slot.strong_count() > 0);
        slots.push(Arc::downgrade(slot));
        match gate {
            Gate::Open => {}
            Gate::Paused => slot.park(),
            Gate::Closed => slot.close(),
        }
    }

    fn each(&self, gate: Gate) -> Vec<Arc<Slot>> {
        let mut content = lock(&self.0);
        content.0 = gate;
        content.1.iter().filter_map(Weak::upgrade).collect()
    }

    /// No listener accepts for now. Call inside the runtime.
    pub(crate) fn pause(&self) {
        self.each(Gate::Paused).iter().for_each(|slot| slot.park());
    }

    /// Every listener accepts again.
    ///
    /// # Errors
    /// The first failure; that listener stays paused, the others accept.
    pub(crate) fn reopen(&self) -> io::Result<()> {
        let results: Vec<_> = self
            .each(Gate::Open)
            .iter()
            .map(|slot| slot.resume())
            .collect();
        results.into_iter().collect()
    }

    /// No listener accepts any more, and none holds its socket.
    pub(crate) fn close(&self) {
        self.each(Gate::Closed).iter().for_each(|slot| slot.close());
    }
}
