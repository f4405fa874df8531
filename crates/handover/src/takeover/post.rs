//! What goes over one connection of the coordinator, without ever waiting.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use handover_sys::passing::{self, PassError};
use rustix::event::PollFlags;
use rustix::io::Errno;

/// Bytes read at once.
const READ_AT_ONCE: usize = 4096;

/// Bytes that may wait for somebody who does not read. A handover has a few hundred; the listeners
/// of the largest service fit.
const MOST: usize = 1024 * 1024;

/// One frame and what goes with its first byte.
#[derive(Debug)]
struct Parcel {
    bytes: Vec<u8>,
    sent: usize,
    descriptors: Vec<OwnedFd>,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Post {
    stream: UnixStream,
    outbox: VecDeque<Parcel>,
    waiting: usize,
}

/// What came of reading.
pub(super) enum Read {
    Bytes(Vec<u8>),
    Nothing,
    /// The other side has closed.
    End,
    /// The other side broke a rule.
    Fault(String),
}

impl Post {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            outbox: VecDeque::new(),
            waiting: 0,
        })
    }

    /// Puts a frame behind those that wait; `false`: too much waits, the connection is to be given
    /// up.
    #[must_use]
    pub(super) fn queue(&mut self, bytes: Vec<u8>, descriptors: Vec<OwnedFd>) -> bool {
        self.waiting += bytes.len();
        self.outbox.push_back(Parcel {
            bytes,
            sent: 0,
            descriptors,
        });
        self.waiting <= MOST
    }

    /// Sends as much as the socket takes. A connection that is broken says so when it is read.
    pub(super) fn flush(&mut self) {
        while let Some(parcel) = self.outbox.front_mut() {
            let rest = parcel.bytes.get(parcel.sent..).unwrap_or_default();
            let descriptors: Vec<_> = parcel.descriptors.iter().map(AsFd::as_fd).collect();
            match passing::send(self.stream.as_fd(), rest, &descriptors) {
                Ok(sent) => {
                    parcel.sent += sent;
                    parcel.descriptors.clear();
                    self.waiting = self.waiting.saturating_sub(sent);
                    if parcel.sent >= parcel.bytes.len() {
                        self.outbox.pop_front();
                    }
                }
                Err(error) if is_later(&error) => return,
                Err(_) => {
                    self.outbox.clear();
                    self.waiting = 0;
                }
            }
        }
    }

    /// Says no more; what the other side says is still read.
    pub(super) fn end(&self) {
        if self.is_flushed()
            && let Err(error) = self.stream.shutdown(std::net::Shutdown::Write)
        {
            tracing::debug!(%error, "it has closed already");
        }
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Reads once. Nobody sends descriptors to a coordinator: those are closed.
    pub(super) fn read(&self) -> Read {
        let mut buffer = [0; READ_AT_ONCE];
        match passing::receive(self.stream.as_fd(), &mut buffer, 0) {
            Ok(received) if received.bytes == 0 => Read::End,
            Ok(received) => Read::Bytes(buffer.get(..received.bytes).unwrap_or_default().into()),
            Err(error) if error.is_would_block() => Read::Nothing,
            Err(PassError::Io(_)) => Read::End,
            Err(error) => Read::Fault(error.to_string()),
        }
    }

    /// What to poll for.
    pub(super) fn interest(&self) -> PollFlags {
        if self.outbox.is_empty() {
            PollFlags::IN
        } else {
            PollFlags::IN | PollFlags::OUT
        }
    }
}

/// Full, or too many descriptors of ours are under way (unix(7), `ETOOMANYREFS`).
fn is_later(error: &PassError) -> bool {
    match error {
        PassError::Io(error) => {
            error.kind() == io::ErrorKind::WouldBlock
                || Errno::from_io_error(error) == Some(Errno::TOOMANYREFS)
        }
        _ => false,
    }
}

impl AsFd for Post {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
