//! Telling systemd, or whoever speaks its notify protocol (sd_notify(3)).

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use handover_sys::notify::notify;

/// The notify socket, where nobody speaks the native protocol.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notice {
    socket: Option<OsString>,
}

impl Notice {
    pub(crate) const fn new(socket: Option<OsString>) -> Self {
        Self { socket }
    }

    /// Says something that must arrive; waits up to two seconds for a receiver that is busy.
    pub(crate) async fn say(&self, text: String) -> io::Result<()> {
        let Some(socket) = self.socket.clone() else {
            return Ok(());
        };
        match try_notify(&socket, &text) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
        // This send may block, so it may not happen on a thread of the reactor.
        let sent = tokio::task::spawn_blocking(move || notify(&socket, &text)).await;
        sent.unwrap_or_else(|failed| Err(io::Error::other(failed)))
    }

    /// [`Notice::say`] for a thread that may block.
    pub(crate) fn insist(&self, text: &str) -> io::Result<()> {
        let socket = self.socket.as_deref();
        socket.map_or(Ok(()), |socket| notify(socket, text))
    }

    /// Says something that may be lost when the receiver is busy. Said before it returns: the
    /// process may end next.
    pub(crate) fn mention(&self, text: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = try_notify(socket, text)
        {
            tracing::warn!(%error, text, "NOTIFY_SOCKET could not be told");
        }
    }
}

/// [`notify`] without waiting: `WouldBlock` when the receiver's queue is full.
fn try_notify(socket: &OsStr, text: &str) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(socket)?,
        // It explains what is wrong with the address, and does not block over it.
        _ => return notify(socket, text),
    };
    let sender = UnixDatagram::unbound()?;
    sender.set_nonblocking(true)?;
    sender.send_to_addr(text.as_bytes(), &address).map(drop)
}
