//! A TCP stream that remembers what happened on the wire.
//!
//! hyper tells that a request failed, not always how: a reset, a close and a
//! half answer can look alike. This stream counts bytes and keeps the close
//! and the error number, so that every loss is classified by what was on the wire.

use crate::clock::{Micros, micros};
use rustix::io::Errno;
use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// How long the client waits for the server to close first. Whoever closes
/// first keeps the port for a minute (TIME_WAIT); at thousands of connections
/// a second the client's 28,000 ports would not last ten seconds.
const LINGER: Duration = Duration::from_millis(100);

/// What happened on one connection since the last [`Wire::begin`]. Shared
/// between the stream (deep inside hyper) and the one who asks.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    read: AtomicU64,
    written: AtomicU64,
    closed: AtomicBool,
    errno: AtomicI32,
    /// The next write must first make sure that the server has not closed.
    look_first: AtomicBool,
}

impl Wire {
    /// A request begins. On a connection that was idle (`reused`) nothing is
    /// written if the server has closed it meanwhile.
    pub(crate) fn begin(&self, reused: bool) {
        self.read.store(0, Relaxed);
        self.written.store(0, Relaxed);
        self.look_first.store(reused, Relaxed);
    }

    /// Bytes of the answer so far.
    pub(crate) fn read(&self) -> u64 {
        self.read.load(Relaxed)
    }

    /// Whether any byte of the request was sent.
    pub(crate) fn wrote(&self) -> bool {
        self.written.load(Relaxed) > 0
    }

    /// The server closed its side in order.
    pub(crate) fn closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// The server, or something between, reset the connection. A broken pipe
    /// is a reset seen by the second write after it.
    pub(crate) fn reset(&self) -> bool {
        let errno = self.errno.load(Relaxed);
        [Errno::CONNRESET, Errno::PIPE, Errno::CONNABORTED]
            .iter()
            .any(|reset| reset.raw_os_error() == errno)
    }

    fn keep(&self, error: &io::Error) {
        if let Some(errno) = error.raw_os_error() {
            self.errno.store(errno, Relaxed);
        }
    }
}

/// A pause after the first bytes of a request.
pub(crate) struct Hold {
    after: u64,
    pause: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Hold {
    pub(crate) fn new(after: u64, pause: Duration) -> Self {
        Self {
            after,
            pause,
            sleep: None,
        }
    }
}

pub(crate) struct Watched {
    tcp: TcpStream,
    wire: Arc<Wire>,
    hold: Option<Hold>,
    closing: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    pub(crate) fn new(tcp: TcpStream, hold: Option<Hold>) -> (Self, Arc<Wire>) {
        let wire = Arc::new(Wire::default());
        (
            Self {
                tcp,
                wire: Arc::clone(&wire),
                hold,
                closing: None,
            },
            wire,
        )
    }

    /// Asks the kernel, not the runtime: a close that arrived since the last
    /// poll must be seen before a request is written to a dead connection.
    fn server_has_closed(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        match socket2::SockRef::from(&self.tcp).peek(&mut byte) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// How much of `len` may be written now.
    fn allowed(&mut self, cx: &mut Context<'_>, len: usize) -> Poll<usize> {
        let Some(hold) = &mut self.hold else {
            return Poll::Ready(len);
        };
        let left = hold.after.saturating_sub(self.wire.written.load(Relaxed));
        if left > 0 {
            return Poll::Ready(len.min(usize::try_from(left).unwrap_or(len)));
        }
        let pause = hold.pause;
        let sleep = hold
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
        ready!(sleep.as_mut().poll(cx));
        self.hold = None;
        Poll::Ready(len)
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = ready!(Pin::new(&mut self.tcp).poll_read(cx, buf));
        match &result {
            Ok(()) => match buf.filled().len() - before {
                0 if buf.remaining() > 0 => self.wire.closed.store(true, Relaxed),
                count => drop(self.wire.read.fetch_add(count as u64, Relaxed)),
            },
            Err(error) => self.wire.keep(error),
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.wire.look_first.swap(false, Relaxed) && self.server_has_closed() {
            // Not kept as an error: nothing was sent, so nothing is lost.
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        }
        let allowed = ready!(self.allowed(cx, buf.len()));
        let result = ready!(Pin::new(&mut self.tcp).poll_write(cx, &buf[..allowed]));
        match &result {
            Ok(count) => drop(self.wire.written.fetch_add(*count as u64, Relaxed)),
            Err(error) => self.wire.keep(error),
        }
        Poll::Ready(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    /// Waits, for at most [`LINGER`], until the server closes first.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut scratch = [MaybeUninit::uninit(); 512];
            let mut scratch = ReadBuf::uninit(&mut scratch);
            match Pin::new(&mut self.tcp).poll_read(cx, &mut scratch) {
                Poll::Ready(Ok(())) if !scratch.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => break,
            }
        }
        let closing = self
            .closing
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        closing.as_mut().poll(cx).map(Ok)
    }
}

/// How many bytes of an upload go out before the pause.
pub(crate) fn first_half(bytes: usize) -> u64 {
    /// `GET / HTTP/1.1` and a little: inside any head.
    const HALF_HEAD: u64 = 16;
    /// The head of an upload is shorter than this unless the path is long;
    /// half the body more and the pause is inside the body.
    const HEAD: u64 = 300;
    if bytes == 0 {
        HALF_HEAD
    } else {
        HEAD + bytes as u64 / 2
    }
}

/// When the second half of a request begun at `began` is due.
pub(crate) fn second_half_due(began: Micros, hold: Duration) -> Micros {
    began.saturating_add(micros(hold))
}
