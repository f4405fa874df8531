//! UDP sockets that stop receiving when a drain says so.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use crate::core::Core;

/// A UDP socket of an [`Instance`](crate::Instance), known by name.
///
/// While two instances hold the same socket, the kernel gives each datagram to whichever reads
/// first: a protocol with state per peer needs connections of its own. From the moment the drain
/// stops an instance, it receives no more and can still send answers.
#[derive(Debug)]
pub struct UdpSocket {
    name: String,
    address: SocketAddr,
    inherited: bool,
    socket: tokio::net::UdpSocket,
    core: Arc<Core>,
}

impl UdpSocket {
    pub(crate) fn new(
        name: String,
        inherited: bool,
        socket: tokio::net::UdpSocket,
        core: Arc<Core>,
    ) -> io::Result<Self> {
        Ok(Self {
            name,
            address: socket.local_addr()?,
            inherited,
            socket,
            core,
        })
    }

    /// Receives a datagram: its length and sender. What does not fit into `buffer` is lost. Once
    /// the drain has stopped the instance this never resolves.
    ///
    /// # Cancel safety
    /// Cancelling loses no datagram.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let mut standing = self.core.standing.subscribe();
        loop {
            // The sender lives in `core`, so waiting cannot fail.
            let _ = standing.wait_for(|standing| standing.accepts()).await;
            tokio::select! {
                biased;
                _ = standing.wait_for(|standing| !standing.accepts()) => {}
                received = self.socket.recv_from(buffer) => return received,
            }
        }
    }

    /// Sends a datagram; also while draining.
    ///
    /// # Cancel safety
    /// When cancelled, nothing was sent.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.socket.send_to(bytes, to).await
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

    /// The socket below, for its options and for protocols that poll. Receiving from it directly
    /// goes on while draining.
    #[must_use]
    pub const fn get_ref(&self) -> &tokio::net::UdpSocket {
        &self.socket
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
