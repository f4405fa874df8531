//! An accepted connection that counts as long as it lives.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::ledger::{Entry, Side};

/// What a connection runs over.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection accepted from a [`Listener`](crate::Listener): reads, writes, and counts as open
/// until it is dropped.
///
/// When the drain ladder ends, it is cut: pending and later reads and writes fail with
/// [`io::ErrorKind::ConnectionAborted`], and dropping it resets a TCP connection, so that a client
/// cannot take half an answer for a whole one.
#[derive(Debug)]
pub struct Connection {
    // Before the entry: the count falls after the socket is closed.
    stream: Stream,
    entry: Entry,
}

/// What a reader or writer of a cut connection finds inside its [`io::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection was cut: this instance is retiring and its drain is over")]
pub struct Cut;

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, Cut)
}

impl Connection {
    pub(crate) const fn new(stream: Stream, entry: Entry) -> Self {
        Self { stream, entry }
    }

    /// The TCP stream below, for its socket options. Reading or writing it directly is not undone
    /// by a cut, and is not seen by a drain, which waits for the first bytes of each connection.
    #[must_use]
    pub const fn tcp(&self) -> Option<&TcpStream> {
        match &self.stream {
            Stream::Tcp(stream) => Some(stream),
            Stream::Unix(_) => None,
        }
    }

    /// The Unix stream below, for the credentials of its peer. As with [`Connection::tcp`].
    #[must_use]
    pub const fn unix(&self) -> Option<&UnixStream> {
        match &self.stream {
            Stream::Tcp(_) => None,
            Stream::Unix(stream) => Some(stream),
        }
    }

    /// Sends small writes at once (`TCP_NODELAY`); nothing to do for Unix sockets.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(stream) => stream.set_nodelay(nodelay),
            Stream::Unix(_) => Ok(()),
        }
    }

    fn guarded<T>(
        &mut self,
        context: &mut Context<'_>,
        side: Side,
        poll: impl FnOnce(&mut Stream, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.entry.is_cut() {
            return Poll::Ready(Err(cut()));
        }
        match poll(&mut self.stream, context) {
            Poll::Pending if self.entry.cut_or_register(side, context) => Poll::Ready(Err(cut())),
            other => other,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let connection = self.get_mut();
        let read = connection.guarded(context, Side::Read, |stream, context| match stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        });
        if read.is_ready() {
            connection.entry.was_read();
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut()
            .guarded(context, Side::Write, |stream, context| match stream {
                Stream::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
                Stream::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            })
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut()
            .guarded(context, Side::Write, |stream, context| match stream {
                Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, slices),
                Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut()
            .guarded(context, Side::Write, |stream, context| match stream {
                Stream::Tcp(stream) => Pin::new(stream).poll_flush(context),
                Stream::Unix(stream) => Pin::new(stream).poll_flush(context),
            })
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut()
            .guarded(context, Side::Write, |stream, context| match stream {
                Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
                Stream::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            })
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.entry.is_cut()
            && let Stream::Tcp(stream) = &self.stream
        {
            // A reset instead of an orderly end; if it fails, the end is orderly after all.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}
