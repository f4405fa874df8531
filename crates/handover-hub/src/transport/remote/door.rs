//! The socket at which others connect: open, shut for a while, or closed for good.

use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

use super::{Shared, acceptor};

#[derive(Debug)]
pub(super) struct Door(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    /// Kept while the door is shut, so that who connects is not refused.
    socket: Option<TcpListener>,
    acceptor: Option<AbortHandle>,
}

impl Door {
    /// Shut. The socket does not block.
    pub(super) fn new(socket: TcpListener) -> Self {
        Self(Mutex::new(Inner {
            socket: Some(socket),
            acceptor: None,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets in who connects, unless it does already or is closed.
    pub(super) fn open(&self, shared: &Arc<Shared>) {
        let mut inner = self.lock();
        let Some(socket) = inner.socket.as_ref().filter(|_| inner.acceptor.is_none()) else {
            return;
        };
        let listener = socket
            .try_clone()
            .and_then(tokio::net::TcpListener::from_std);
        match listener {
            Ok(listener) => {
                let accepting = acceptor::accept(Arc::clone(shared), listener);
                inner.acceptor = Some(tokio::spawn(accepting).abort_handle());
            }
            Err(error) => tracing::error!(%error, "nodes cannot connect to this one"),
        }
    }

    /// Lets nobody in; who connects waits.
    pub(super) fn shut(&self) {
        if let Some(acceptor) = self.lock().acceptor.take() {
            acceptor.abort();
        }
    }

    /// Who connects is refused, unless another program has the socket too.
    pub(super) fn close(&self) {
        self.shut();
        self.lock().socket = None;
    }
}
