//! SIGHUP and SIGUSR2 as a request to be replaced. SIGINT is none.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use signal_hook::consts::{SIGHUP, SIGUSR2};
use signal_hook::low_level::pipe;

/// The end of a socket to which the handlers write a byte for each signal.
#[derive(Debug)]
pub(super) struct Triggers {
    read: UnixStream,
    /// Kept open, so that `read` never looks hung up.
    _write: UnixStream,
}

impl Triggers {
    /// From here on neither signal ends the process.
    pub(super) fn install() -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        for signal in [SIGHUP, SIGUSR2] {
            pipe::register(signal, write.try_clone()?)?;
        }
        Ok(Self {
            read,
            _write: write,
        })
    }

    /// Whether one has arrived since the last call.
    pub(super) fn arrived(&self) -> bool {
        let mut bytes = [0; 64];
        let mut any = false;
        while (&self.read).read(&mut bytes).is_ok_and(|read| read > 0) {
            any = true;
        }
        any
    }
}

impl AsFd for Triggers {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}
