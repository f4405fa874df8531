//! SIGTERM and SIGINT as bytes of a socket.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use crate::ledger::lock;

/// The end that handlers write to. Kept open here, so that the other end never looks hung up.
#[derive(Debug)]
pub(super) struct Signals {
    write: UnixStream,
    /// Whether the handlers are still to be installed.
    wanted: Mutex<bool>,
}

/// The end that the driver reads.
#[derive(Debug)]
pub(super) struct Arrived(UnixStream);

/// Both ends; `wanted`: whether [`Signals::watch`] is to do anything.
pub(super) fn signals(wanted: bool) -> io::Result<(Signals, Arrived)> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    let wanted = Mutex::new(wanted);
    Ok((Signals { write, wanted }, Arrived(read)))
}

impl Signals {
    /// Installs the handlers: from here on neither signal ends the process. Only the first call
    /// does anything.
    pub(super) fn watch(&self) {
        // Held throughout: whoever comes second may be signalled as soon as this returns, too.
        let mut wanted = lock(&self.wanted);
        if !std::mem::take(&mut *wanted) {
            return;
        }
        let install = |signal| {
            let copy = self.write.try_clone()?;
            pipe::register(signal, copy)
        };
        if let Err(error) = install(SIGTERM).and_then(|_| install(SIGINT)) {
            tracing::warn!(%error, "SIGTERM and SIGINT cannot be handled; they will not drain");
        }
    }
}

impl Arrived {
    /// How many signals have arrived since the last call.
    pub(super) fn count(&self) -> usize {
        // Any length: whoever sends more signals than this at once has been heard.
        let mut bytes = [0; 64];
        (&self.0).read(&mut bytes).unwrap_or(0)
    }
}

impl AsFd for Arrived {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
