//! Takes connections.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;

use super::Shared;
use super::service::Service;
use super::session::{Accepted, Seat, Wire};
use super::settings::{CONNECTION_WINDOW, HEADERS, STREAM_WINDOW, STREAMS};

/// After an error of the listener: it is out of descriptors or memory, and will be for a while.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepted connections that wait for the server to begin with them.
const READY: usize = 64;

/// Accepts until aborted.
pub(super) async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let (ready, begun) = mpsc::channel(READY);
    let server = serve(Arc::clone(&shared), begun);
    tokio::pin!(server);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut server => return,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection of a node could not be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        if !shared.security.allows(remote) {
            shared.counts.rejected();
            continue;
        }
        let (session, evicted) = shared.sessions.enter(remote);
        shared.counts.evicted(evicted);
        let Some(session) = session else {
            shared.counts.rejected();
            continue;
        };
        let seat = Seat {
            shared: Arc::clone(&shared),
            session,
        };
        tokio::spawn(prepare(stream, seat, ready.clone()));
    }
}

/// Encrypts a connection before the server sees it, in bounded time.
async fn prepare(stream: TcpStream, seat: Seat, ready: mpsc::Sender<io::Result<Accepted>>) {
    let _ = stream.set_nodelay(true);
    let session = Arc::clone(&seat.session);
    let deadline = seat.shared.settings.timing.greeting;
    let encrypted = async {
        let Some(ends) = &seat.shared.ends else {
            return Ok(Wire::Plain(stream));
        };
        let stream = ends.acceptor.accept(stream).await?;
        Ok::<_, io::Error>(Wire::Tls(Box::new(TlsStream::Server(stream))))
    };
    let wire = tokio::select! {
        wire = tokio::time::timeout(deadline, encrypted) => wire,
        () = session.over() => return,
    };
    match wire {
        Ok(Ok(wire)) => {
            let _ = ready.send(Ok(Accepted::new(wire, seat))).await;
        }
        Ok(Err(error)) => {
            seat.shared.counts.rejected();
            tracing::debug!(remote = %session.remote, %error, "no TLS with who connected");
        }
        Err(_) => {
            seat.shared.counts.rejected();
            tracing::debug!(remote = %session.remote, "who connected was too slow");
        }
    }
}

async fn serve(shared: Arc<Shared>, begun: mpsc::Receiver<io::Result<Accepted>>) {
    let timing = &shared.settings.timing;
    let served = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS)
        .http2_max_header_list_size(HEADERS)
        .http2_keepalive_interval(Some(timing.ping))
        .http2_keepalive_timeout(Some(timing.silence))
        .serve_with_incoming(Service(Arc::clone(&shared)), ReceiverStream::new(begun))
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "connections of nodes are not served any more");
    }
}
