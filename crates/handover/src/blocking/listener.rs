//! Listeners that stop accepting the moment a drain says so.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::connection::Connection;
use super::core::Core;
use super::slot::{Slot, Step};
use super::stream::Stream;
use crate::address::Address;
use crate::bell::{poll, readable};
use crate::ledger::lock;
use crate::listener::{Patience, Trouble, classify};

/// A TCP or Unix stream listener of an [`Instance`](super::Instance), known by name.
///
/// When the drain stops it, a listener that somebody else holds too (a supervisor, systemd) is
/// closed here within a millisecond, and what waits in its queue is accepted by the others (I4).
/// One that only this process holds first takes over everything that waits in its queue, since
/// nobody else could answer that.
///
/// Dropping it closes our descriptor. A Unix socket's path stays where it is: by then it may be a
/// successor's.
#[derive(Debug)]
pub struct Listener<S: Stream = TcpStream> {
    name: String,
    address: Address,
    inherited: bool,
    slot: Arc<Slot<S>>,
    /// Held by the one thread that waits: a connection wakes it and no other.
    turn: Mutex<()>,
    core: Arc<Core>,
}

impl<S: Stream> Listener<S> {
    /// `shown` is the address to show, where the kernel remembers another one.
    pub(super) fn new(
        name: String,
        (inherited, contested): (bool, bool),
        socket: S::Listener,
        shown: Option<Address>,
        core: Arc<Core>,
    ) -> io::Result<Self> {
        let address = match shown {
            Some(shown) => shown,
            None => S::bound_to(&socket)?,
        };
        core.keep(&name, socket.as_fd(), Some(&address));
        let shared = core.shared(&name, inherited);
        let slot = Slot::new(socket, shared, contested, Arc::clone(&core.ledger));
        core.shelf.add(&slot);
        core.listens_at(address.clone());
        Ok(Self {
            name,
            address,
            inherited,
            slot,
            turn: Mutex::default(),
            core,
        })
    }

    /// Waits for the next connection and accepts it; `None` when the drain has stopped the
    /// listener, at once for every thread that waits and for good. While an exclusive handover
    /// has paused it, it waits on.
    ///
    /// Any number of threads may accept from one listener. Transient trouble is not reported: a
    /// connection that died in the queue, or that another process with the same listener took
    /// first, is skipped; a lack of descriptors or memory is waited out with growing pauses of
    /// 5 ms to 1 s, with one warning in the log. From the first call on SIGTERM and SIGINT begin
    /// the drain, unless [`Builder::signals`](super::Builder::signals) says otherwise.
    ///
    /// # Errors
    /// The listener itself is broken; accepting again will not help.
    pub fn accept(&self) -> io::Result<Option<Connection<S>>> {
        self.core.watch_signals();
        let _turn = lock(&self.turn);
        let stopped = self.core.shelf.stopped();
        let mut patience = Patience::new();
        loop {
            match self.slot.accept() {
                Step::Accepted(connection) => return Ok(Some(connection)),
                Step::Over => return Ok(None),
                Step::Empty(socket) => {
                    poll(&mut [readable(&*socket), readable(stopped)], None)?;
                }
                Step::Failed(error) => match classify(&error) {
                    Trouble::Connection => {}
                    Trouble::Resources => {
                        let pause = patience.pause(&self.name, &error);
                        poll(&mut [readable(stopped)], Some(Instant::now() + pause))?;
                    }
                    Trouble::Listener => return Err(error),
                },
            }
        }
    }

    /// The connections as they come, until the drain stops the listener. See
    /// [`Listener::accept`].
    #[must_use]
    pub const fn incoming(&self) -> Incoming<'_, S> {
        Incoming { listener: self }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is bound, with `:0` resolved. Known even after the drain has closed it.
    #[must_use]
    pub const fn local_addr(&self) -> &Address {
        &self.address
    }

    /// Whether it came from whoever started this process, rather than being bound here.
    #[must_use]
    pub const fn is_inherited(&self) -> bool {
        self.inherited
    }
}

/// The connections of a [`Listener`]. Ends when the drain has stopped it.
#[derive(Debug)]
pub struct Incoming<'a, S: Stream = TcpStream> {
    listener: &'a Listener<S>,
}

impl<S: Stream> Iterator for Incoming<'_, S> {
    type Item = io::Result<Connection<S>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.listener.accept().transpose()
    }
}
