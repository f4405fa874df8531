//! UDP sockets that stop receiving when a drain says so.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags};

use super::core::Core;
use super::park;
use crate::bell::{poll, readable};
use crate::stage::{self, Stage};

/// A UDP socket of an [`Instance`](super::Instance), known by name.
///
/// While two instances hold the same socket, the kernel gives each datagram to whichever reads
/// first: a protocol with state per peer needs connections of its own. From the moment the drain
/// stops an instance, it receives no more and can still send answers.
#[derive(Debug)]
pub struct UdpSocket {
    name: String,
    address: SocketAddr,
    inherited: bool,
    socket: std::net::UdpSocket,
    core: Arc<Core>,
}

impl UdpSocket {
    pub(super) fn new(
        name: String,
        inherited: bool,
        socket: std::net::UdpSocket,
        core: Arc<Core>,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            name,
            address: socket.local_addr()?,
            inherited,
            socket,
            core,
        })
    }

    /// Waits for a datagram: its length and sender. What does not fit into `buffer` is lost. `None`
    /// once the drain has stopped the instance; while an exclusive handover has paused it, it
    /// waits on. Signals as in [`Listener::accept`](super::Listener::accept).
    ///
    /// # Errors
    /// The kernel's.
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<Option<(usize, SocketAddr)>> {
        self.core.watch_signals();
        loop {
            let standing = *self.core.standing.borrow();
            if standing.stage >= Stage::Notified {
                return Ok(None);
            }
            if !standing.accepts() {
                let on = stage::wait(self.core.standing.subscribe(), |standing| {
                    !standing.paused || standing.stage >= Stage::Notified
                });
                park::wait(on, None);
                continue;
            }
            match self.socket.recv_from(buffer) {
                Ok(received) => return Ok(Some(received)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let stopped = self.core.shelf.stopped();
                    poll(&mut [readable(&self.socket), readable(stopped)], None)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a datagram, waiting for room; also while draining.
    ///
    /// # Errors
    /// The kernel's; nothing was sent.
    pub fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        loop {
            match self.socket.send_to(bytes, to) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll(&mut [PollFd::new(&self.socket, PollFlags::OUT)], None)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => return sent,
            }
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is bound, with `:0` resolved.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Whether it came from whoever started this process, rather than being bound here.
    #[must_use]
    pub const fn is_inherited(&self) -> bool {
        self.inherited
    }

    /// The socket below, for its options; it is non-blocking. Receiving from it directly goes on
    /// while draining.
    #[must_use]
    pub const fn get_ref(&self) -> &std::net::UdpSocket {
        &self.socket
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
