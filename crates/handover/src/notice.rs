//! Telling systemd, or whoever speaks its notify protocol (sd_notify(3)).

use std::ffi::{OsStr, OsString};
use std::io;

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
        // The send may block, so it may not happen on a thread of the reactor.
        let sent = tokio::task::spawn_blocking(move || notify(&socket, &text)).await;
        sent.unwrap_or_else(|failed| Err(io::Error::other(failed)))
    }

    /// Says something that may be lost; in the background.
    pub(crate) fn mention(&self, text: String) {
        let Some(socket) = self.socket.clone() else {
            return;
        };
        tokio::task::spawn_blocking(move || report(&socket, &text));
    }
}

fn report(socket: &OsStr, text: &str) {
    if let Err(error) = notify(socket, text) {
        tracing::warn!(%error, text, "NOTIFY_SOCKET could not be told");
    }
}
