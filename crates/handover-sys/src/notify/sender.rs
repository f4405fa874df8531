//! The sending end.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::time::{ClockId, clock_gettime};

use crate::passing::{self, PassError};

/// How long [`notify`] waits when the receiver's queue is full. A receiver that is stuck must not
/// stop the service that reports to it.
const SEND_PATIENCE: Duration = Duration::from_secs(2);

/// Sends `text` (assignments separated by newlines) to the notify socket named as in
/// `NOTIFY_SOCKET`: an absolute path, or an abstract name after `@`.
///
/// Blocks for up to two seconds when the receiver's queue is full.
///
/// # Errors
/// `Unsupported` for other kinds of address (`vsock:`), `NotFound` and `ConnectionRefused` when
/// nobody receives, `WouldBlock` after the two seconds. Nothing was sent.
pub fn notify(socket: &OsStr, text: &str) -> io::Result<()> {
    notify_with(socket, text, &[])
}

/// [`notify`] with descriptors in the same message, for `FDSTORE=1`. The caller keeps its own.
///
/// # Errors
/// As [`notify`]; `InvalidInput` for more than
/// [`MAX_DESCRIPTORS`](crate::passing::MAX_DESCRIPTORS).
pub fn notify_with(socket: &OsStr, text: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let sender = connected(socket)?;
    sender.set_write_timeout(Some(SEND_PATIENCE))?;
    send(&sender, text, descriptors)
}

/// [`notify`] without waiting.
///
/// # Errors
/// As [`notify`]; `WouldBlock` at once when the receiver's queue is full.
pub fn try_notify(socket: &OsStr, text: &str) -> io::Result<()> {
    let sender = connected(socket)?;
    sender.set_nonblocking(true)?;
    send(&sender, text, &[])
}

/// Waits until the receiver has handled everything sent before (`BARRIER=1`): it closes the pipe
/// that comes with the message. Needed before an end: what a process says that is gone when it is
/// read may no longer be put down to its service.
///
/// # Errors
/// As [`notify`]; `TimedOut` when it was not handled `within` that time, as by a receiver that does
/// not know of barriers (systemd before 246) and leaves the pipe open.
pub fn barrier(socket: &OsStr, within: Duration) -> io::Result<()> {
    let (closes, passed) = pipe_with(PipeFlags::CLOEXEC)?;
    // Nothing else may be in this message.
    notify_with(socket, "BARRIER=1", &[passed.as_fd()])?;
    drop(passed);
    let until = Instant::now() + within;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        // What does not fit is as good as for ever.
        let left = Timespec::try_from(left).ok();
        match poll(
            &mut [PollFd::new(&closes, PollFlags::empty())],
            left.as_ref(),
        ) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// `CLOCK_MONOTONIC` in microseconds: what `MONOTONIC_USEC=` beside `RELOADING=1` must be.
#[must_use]
pub fn monotonic_usec() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(now.tv_nsec).unwrap_or_default();
    seconds
        .saturating_mul(1_000_000)
        .saturating_add(nanos / 1000)
}

fn connected(socket: &OsStr) -> io::Result<UnixDatagram> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(socket)?,
        _ => {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("NOTIFY_SOCKET must be an absolute path or begin with @, not {socket:?}"),
            ));
        }
    };
    let sender = UnixDatagram::unbound()?;
    sender.connect_addr(&address)?;
    Ok(sender)
}

fn send(sender: &UnixDatagram, text: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let sent = passing::send(sender.as_fd(), text.as_bytes(), descriptors);
    sent.map(drop).map_err(|error| match error {
        PassError::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidInput, other),
    })
}
