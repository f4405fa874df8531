//! Listeners that stop accepting the moment a drain says so.

mod accept;
mod bind;
mod slot;

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use crate::address::Address;
use crate::connection::Connection;

pub(crate) use accept::{Patience, Trouble, classify};
pub(crate) use bind::{tcp, tcp_socket, udp, udp_socket, unix, unix_socket};
pub(crate) use slot::{MAX_QUEUE, Parked, Shelf, Slot};

/// A TCP or Unix stream listener of an [`Instance`](crate::Instance), known by name.
///
/// When the drain stops it, a listener that somebody else holds too (a supervisor, systemd) is
/// closed here within a millisecond, and what waits in its queue is accepted by the others (I4).
/// One that only this process holds first takes over everything that waits in its queue, since
/// nobody else could answer that.
///
/// Dropping it closes our descriptor. A Unix socket's path stays where it is: by then it may be a
/// successor's.
#[derive(Debug)]
pub struct Listener {
    name: String,
    address: Address,
    inherited: bool,
    slot: Arc<Slot>,
}

impl Listener {
    pub(crate) const fn new(
        name: String,
        address: Address,
        inherited: bool,
        slot: Arc<Slot>,
    ) -> Self {
        Self {
            name,
            address,
            inherited,
            slot,
        }
    }

    /// The address to show, where the kernel remembers another one.
    pub(crate) fn at(mut self, address: Address) -> Self {
        self.address = address;
        self
    }

    /// Accepts the next connection.
    ///
    /// Transient trouble is not reported: a connection that died in the queue is skipped, and a
    /// lack of descriptors or memory is waited out with growing pauses of 5 ms to 1 s, with one
    /// warning in the log. Once the drain has stopped the listener this never resolves: select
    /// over it and [`Instance::draining`](crate::Instance::draining).
    ///
    /// # Cancel safety
    /// Cancelling loses no connection.
    ///
    /// # Errors
    /// The listener itself is broken; accepting again will not help.
    pub async fn accept(&mut self) -> io::Result<(Connection, Address)> {
        let mut patience = Patience::new();
        loop {
            match poll_fn(|context| self.slot.poll_accept(context)).await {
                Ok(accepted) => return Ok(accepted),
                Err(error) => match classify(&error) {
                    Trouble::Connection => {}
                    Trouble::Resources => patience.wait(&self.name, &error).await,
                    Trouble::Listener => return Err(error),
                },
            }
        }
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
