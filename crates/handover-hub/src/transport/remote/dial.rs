//! Connects to an address and greets who is there.

use std::future::Future;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, FuturesUnordered, Stream, StreamExt};
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use super::Shared;
use super::batch::{BATCH, pack};
use super::greeting::{Answer, GREETING_MAX, unauthorised};
use super::link::{Lanes, Link};
use super::service::{DECLINE, GREET, Octets, stream_path};
use super::session::Wire;
use super::settings::{CONNECTION_WINDOW, HEADERS, STREAM_WINDOW};
use crate::transport::{Class, Introduction, Rejection};

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Failure {
    /// The kernel there says that nobody listens.
    Refused,
    /// One of both does not speak with the other.
    Rejected { by_us: bool, rejection: Rejection },
    /// Anything else: no answer, a broken connection, a name that does not resolve.
    Silent(String),
}

/// A connection that was greeted, with a stream for each class.
pub(super) struct Connection {
    pub(super) who: Introduction,
    /// The longest frame that both sides take.
    pub(super) frame: usize,
    /// Each ends when all that was sent in its class has been taken, or the connection broke.
    streams: Vec<Streaming<Bytes>>,
    _channel: Channel,
}

impl Connection {
    /// Waits until it broke, or all that was sent has been taken and nothing will follow.
    pub(super) async fn broken(mut self) {
        let mut ends: FuturesUnordered<_> = self
            .streams
            .iter_mut()
            .map(|stream| async move {
                while let Some(_nothing) = stream.message().await? {}
                Ok::<_, Status>(())
            })
            .collect();
        while let Some(Ok(())) = ends.next().await {}
    }
}

fn silent(reason: impl std::fmt::Display) -> Failure {
    Failure::Silent(reason.to_string())
}

impl Shared {
    /// One attempt, in bounded time.
    pub(super) async fn dial(&self, link: &Link) -> Result<Connection, Failure> {
        let deadline = self.settings.timing.greeting;
        match tokio::time::timeout(deadline, self.connect(link)).await {
            Ok(result) => result,
            Err(_) => Err(silent("no answer in time")),
        }
    }

    async fn connect(&self, link: &Link) -> Result<Connection, Failure> {
        let stream = self.reach(&link.address).await?;
        let wire = self.encrypt(stream).await?;
        let leaf = wire.leaf();
        let channel = self.channel(wire).await?;
        let greeting = self.greeting().encode(self.settings.versions);
        let answer = unary(&channel, GREET, greeting).await?;
        let who = match Answer::decode(&answer, self.settings.versions) {
            Ok((Answer::Welcome(who), _version)) => who,
            Ok((Answer::Rejected(rejection), _)) => {
                return Err(Failure::Rejected {
                    by_us: false,
                    rejection,
                });
            }
            Err(rejection) => return Err(self.decline(&channel, rejection).await),
        };
        if let Err(rejection) = self.check(leaf.as_ref(), &who.who) {
            return Err(self.decline(&channel, rejection).await);
        }
        let lanes = link.lanes();
        let mut streams = Vec::with_capacity(Class::ALL.len());
        for class in Class::ALL {
            let batches = self.batches(Arc::clone(&lanes), class);
            let mut grpc = Grpc::new(channel.clone()).max_decoding_message_size(GREETING_MAX);
            grpc.ready().await.map_err(silent)?;
            let path = PathAndQuery::from_static(stream_path(class));
            let response = grpc
                .streaming(Request::new(batches), path, Octets)
                .await
                .map_err(|status| status_failure(&status))?;
            streams.push(response.into_inner());
        }
        let theirs = usize::try_from(who.frame).unwrap_or(usize::MAX);
        Ok(Connection {
            who: who.who,
            frame: self.settings.limits.frame.min(theirs),
            streams,
            _channel: channel,
        })
    }

    /// A connection to any of the addresses that a name stands for.
    async fn reach(&self, address: &str) -> Result<TcpStream, Failure> {
        let mut failure = silent("no address");
        let mut refused = true;
        for address in tokio::net::lookup_host(address).await.map_err(silent)? {
            if !self.security.allows(address) {
                return Err(Failure::Rejected {
                    by_us: true,
                    rejection: unauthorised(
                        "without TLS only loopback addresses are connected to, unless that is allowed",
                    ),
                });
            }
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => {
                    refused &= error.kind() == io::ErrorKind::ConnectionRefused;
                    failure = if refused {
                        Failure::Refused
                    } else {
                        silent(error)
                    };
                }
            }
        }
        Err(failure)
    }

    async fn encrypt(&self, stream: TcpStream) -> Result<Wire, Failure> {
        let Some(ends) = &self.ends else {
            return Ok(Wire::Plain(stream));
        };
        // Not checked: which node this is will be known by its greeting.
        let name = ServerName::try_from("hub").map_err(silent)?;
        match ends.connector.connect(name, stream).await {
            Ok(stream) => Ok(Wire::Tls(Box::new(TlsStream::Client(stream)))),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(Failure::Rejected {
                by_us: true,
                rejection: unauthorised(error),
            }),
            Err(error) => Err(silent(error)),
        }
    }

    /// HTTP/2 over a connection that exists. When it breaks there is no other one.
    async fn channel(&self, wire: Wire) -> Result<Channel, Failure> {
        let timing = &self.settings.timing;
        let mut wire = Some(wire);
        let once = tower::service_fn(move |_: http::Uri| {
            let wire = wire.take().map(TokioIo::new);
            async move { wire.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)) }
        });
        // The name is only that of the `:authority` header, which nobody reads.
        Endpoint::from_static("http://hub")
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_max_header_list_size(HEADERS)
            .http2_keep_alive_interval(timing.ping)
            .keep_alive_timeout(timing.silence)
            .keep_alive_while_idle(true)
            .connect_with_connector(once)
            .await
            .map_err(silent)
    }

    /// Tells who answered that it is rejected.
    async fn decline(&self, channel: &Channel, rejection: Rejection) -> Failure {
        let answer = Answer::Rejected(rejection.clone()).encode(self.settings.versions);
        let _ = unary(channel, DECLINE, answer).await;
        Failure::Rejected {
            by_us: true,
            rejection,
        }
    }

    /// What waits in a class, in batches.
    fn batches(&self, lanes: Arc<Lanes>, class: Class) -> impl Stream<Item = Bytes> + Send + use<> {
        let counts = Arc::clone(&self.counts);
        stream::unfold((lanes, counts), move |(lanes, counts)| async move {
            let frames = lanes.queue(class).take(BATCH).await?;
            counts.sent();
            Some((pack(frames), (lanes, counts)))
        })
    }
}

fn unary(
    channel: &Channel,
    path: &'static str,
    message: Vec<u8>,
) -> impl Future<Output = Result<Bytes, Failure>> + Send {
    let mut grpc = Grpc::new(channel.clone()).max_decoding_message_size(GREETING_MAX);
    async move {
        grpc.ready().await.map_err(silent)?;
        let request = Request::new(Bytes::from(message));
        grpc.unary(request, PathAndQuery::from_static(path), Octets)
            .await
            .map(tonic::Response::into_inner)
            .map_err(|status| status_failure(&status))
    }
}

/// What who answered means by a status: that it is no node, or that the connection broke.
fn status_failure(status: &Status) -> Failure {
    match status.code() {
        tonic::Code::Unimplemented => Failure::Rejected {
            by_us: true,
            rejection: Rejection::Garbled,
        },
        _ => silent(status),
    }
}
