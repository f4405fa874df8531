//! `axum::serve` with our listeners.

use std::io;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;

use crate::address::Address;
use crate::connection::Connection;
use crate::listener::Listener;

/// Pause after a listener has failed for good: the trait cannot say so, and trying again at once
/// would only burn a processor. As long as axum's own.
const BROKEN_PAUSE: Duration = Duration::from_secs(1);

impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = Address;

    async fn accept(&mut self) -> (Connection, Address) {
        loop {
            match Self::accept(self).await {
                Ok(accepted) => return accepted,
                Err(error) => {
                    tracing::error!(listener = self.name(), %error, "the listener is broken");
                    tokio::time::sleep(BROKEN_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Address> {
        Ok(self.local_addr().clone())
    }
}

/// So that handlers can take `ConnectInfo<handover::Address>`.
impl Connected<IncomingStream<'_, Listener>> for Address {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        stream.remote_addr().clone()
    }
}
