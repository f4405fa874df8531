//! A connection that another node made to this one.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsStream;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tonic::transport::server::Connected;

use super::Shared;
use crate::transport::{Class, Introduction};

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Greeting,
    Greeted,
    Over,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) number: u64,
    pub(super) remote: SocketAddr,
    leaf: OnceLock<CertificateDer<'static>>,
    who: OnceLock<Introduction>,
    progress: watch::Sender<Progress>,
    opened: AtomicU8,
}

impl Session {
    pub(super) fn new(number: u64, remote: SocketAddr) -> Self {
        Self {
            number,
            remote,
            leaf: OnceLock::new(),
            who: OnceLock::new(),
            progress: watch::channel(Progress::Greeting).0,
            opened: AtomicU8::new(0),
        }
    }

    /// The certificate it proved to have.
    pub(super) fn leaf(&self) -> Option<&CertificateDer<'static>> {
        self.leaf.get()
    }

    /// Who is there, once it has greeted and was welcome.
    pub(super) fn who(&self) -> Option<&Introduction> {
        self.who.get()
    }

    /// It is welcome. False if it was before, or is over.
    pub(super) fn greeted(&self, who: Introduction) -> bool {
        self.who.set(who).is_ok()
            && self.progress.send_if_modified(|progress| {
                let first = *progress == Progress::Greeting;
                if first {
                    *progress = Progress::Greeted;
                }
                first
            })
    }

    /// Closes it.
    pub(super) fn end(&self) {
        self.progress.send_replace(Progress::Over);
    }

    pub(super) fn is_over(&self) -> bool {
        *self.progress.borrow() == Progress::Over
    }

    /// Waits until it is closed.
    pub(super) async fn over(&self) {
        let mut progress = self.progress.subscribe();
        let _ = progress
            .wait_for(|progress| *progress == Progress::Over)
            .await;
    }

    /// Opens the stream of a class. False if it was opened before.
    pub(super) fn open(&self, class: Class) -> bool {
        let bit = 1 << class.index();
        self.opened.fetch_or(bit, Ordering::AcqRel) & bit == 0
    }

    /// Ends when the connection has to be closed: it was told to, or did not greet in time.
    async fn doom(self: Arc<Self>, greeting: Duration) {
        let mut progress = self.progress.subscribe();
        let greeted = async {
            let _ = progress
                .wait_for(|progress| *progress != Progress::Greeting)
                .await;
        };
        match tokio::time::timeout(greeting, greeted).await {
            Ok(()) => self.over().await,
            Err(_) => self.end(),
        }
    }
}

/// The session's place among all, given back when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) shared: Arc<Shared>,
    pub(super) session: Arc<Session>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.session.end();
        self.shared.sessions.leave(&self.session);
        if let Some(who) = self.session.who() {
            // Its address may refuse now, which would prove that it is gone.
            self.shared.links.hint(who);
        }
    }
}

/// What a connection reads from and writes to.
#[derive(Debug)]
pub(super) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    /// The certificate that the other side proved to have.
    pub(super) fn leaf(&self) -> Option<CertificateDer<'static>> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => {
                let (_, connection) = stream.get_ref();
                let chain = connection.peer_certificates()?;
                chain.first().map(|leaf| leaf.clone().into_owned())
            }
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

/// An accepted connection that fails as soon as its session is over.
pub(super) struct Accepted {
    wire: Wire,
    doom: BoxFuture<'static, ()>,
    seat: Seat,
}

impl Accepted {
    pub(super) fn new(wire: Wire, seat: Seat) -> Self {
        if let Some(leaf) = wire.leaf() {
            let _ = seat.session.leaf.set(leaf);
        }
        let greeting = seat.shared.settings.timing.greeting;
        Self {
            wire,
            doom: Box::pin(Arc::clone(&seat.session).doom(greeting)),
            seat,
        }
    }

    fn doomed(&mut self, context: &mut Context<'_>) -> bool {
        self.seat.session.is_over() || self.doom.as_mut().poll(context).is_ready()
    }
}

fn over() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionAborted)
}

impl Connected for Accepted {
    type ConnectInfo = Arc<Session>;

    fn connect_info(&self) -> Arc<Session> {
        Arc::clone(&self.seat.session)
    }
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.doomed(context) {
            return Poll::Ready(Err(over()));
        }
        Pin::new(&mut self.wire).poll_read(context, buffer)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.seat.session.is_over() {
            return Poll::Ready(Err(over()));
        }
        Pin::new(&mut self.wire).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.seat.session.is_over() {
            return Poll::Ready(Err(over()));
        }
        Pin::new(&mut self.wire).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }
}
