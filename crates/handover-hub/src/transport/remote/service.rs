//! What a node serves to those that connect to it, by hand instead of generated from a `.proto`
//! file: the messages are bytes of our own, so a generator (and `protoc`, which the default build
//! must not need) would add nothing but a second description of them.
//!
//! | method | takes | gives |
//! |---|---|---|
//! | `Greet` | a greeting | an answer |
//! | `Decline` | an answer that rejects, when who dialled rejects who answers | nothing |
//! | `Control`, `Calls`, `States`, `Engine` | a stream of batches of frames | nothing, until all were taken |

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, Stream, StreamExt};
use handover_hub_proto::identity::NodeId;
use tokio::sync::oneshot;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::Grpc;
use tonic::{Request, Response, Status, Streaming};

use super::Shared;
use super::batch::{BATCH, unpack};
use super::greeting::{Answer, GREETING_MAX, Greeting, unauthorised};
use super::session::Session;
use crate::transport::{Class, Frame, PeerEvent, Posted, Rejection};

pub(super) const GREET: &str = "/handover.hub.Peer/Greet";
pub(super) const DECLINE: &str = "/handover.hub.Peer/Decline";

/// The method of a class.
pub(super) const fn stream_path(class: Class) -> &'static str {
    match class {
        Class::Control => "/handover.hub.Peer/Control",
        Class::Calls => "/handover.hub.Peer/Calls",
        Class::States => "/handover.hub.Peer/States",
        Class::Engine => "/handover.hub.Peer/Engine",
    }
}

/// Messages as they are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Octets;

impl Codec for Octets {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Octets {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Octets {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// The longest message of a stream, in bytes.
pub(super) fn message_max(frame: usize) -> usize {
    frame.max(BATCH)
}

#[derive(Clone)]
pub(super) struct Service(pub(super) Arc<Shared>);

type Nothing = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

impl tower::Service<http::Request<Body>> for Service {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move { Ok(shared.serve(request).await) })
    }
}

impl Shared {
    async fn serve(self: Arc<Self>, request: http::Request<Body>) -> http::Response<Body> {
        let Some(session) = request.extensions().get::<Arc<Session>>().cloned() else {
            return Status::internal("no session").into_http();
        };
        let path = request.uri().path().to_owned();
        let short = || Grpc::new(Octets).max_decoding_message_size(GREETING_MAX);
        if path == GREET {
            let greet = tower::service_fn(move |request: Request<Bytes>| {
                let (shared, session) = (Arc::clone(&self), Arc::clone(&session));
                async move {
                    let answer = shared.greeted(&session, &request.into_inner()).await;
                    let bytes = answer.encode(shared.settings.versions);
                    Ok::<_, Status>(Response::new(Bytes::from(bytes)))
                }
            });
            return short().unary(greet, request).await;
        }
        if path == DECLINE {
            let decline = tower::service_fn(move |request: Request<Bytes>| {
                let (shared, session) = (Arc::clone(&self), Arc::clone(&session));
                async move {
                    shared.declined(&session, &request.into_inner());
                    Ok::<_, Status>(Response::new(Bytes::new()))
                }
            });
            return short().unary(decline, request).await;
        }
        let Some(class) = Class::ALL
            .into_iter()
            .find(|class| path == stream_path(*class))
        else {
            // A newer node knows more methods.
            self.counts.unknown(1);
            return Status::unimplemented("no such method").into_http();
        };
        let limit = message_max(self.settings.limits.frame);
        let streams = tower::service_fn(move |request: Request<Streaming<Bytes>>| {
            let opened = Arc::clone(&self).opened(&session, class, request.into_inner());
            async move { opened }
        });
        Grpc::new(Octets)
            .max_decoding_message_size(limit)
            .streaming(streams, request)
            .await
    }

    /// Decides whether a node that introduces itself is welcome.
    async fn greeted(&self, session: &Session, bytes: &[u8]) -> Answer {
        match self.welcome(session, bytes).await {
            Ok(greeting) => Answer::Welcome(greeting),
            Err(rejection) => {
                self.counts.rejected();
                self.tell_soon(PeerEvent::Rejected {
                    address: session.remote.to_string(),
                    by_us: true,
                    rejection: rejection.clone(),
                });
                Answer::Rejected(rejection)
            }
        }
    }

    async fn welcome(&self, session: &Session, bytes: &[u8]) -> Result<Greeting, Rejection> {
        let (greeting, _version) = Greeting::decode(bytes, self.settings.versions)?;
        let who = greeting.who;
        self.check(session.leaf(), &who)?;
        if let Some((alive, address)) = self.links.named(&who.name)
            && alive != who.node
            && address != who.address
        {
            return Err(Rejection::NameTaken {
                name: who.name.to_string(),
                alive,
            });
        }
        let admission = self.sessions.admit(session, who.clone())?;
        for node in admission.replaced {
            self.replaced(node, &who).await;
        }
        self.links.hint(&who);
        Ok(self.greeting())
    }

    fn declined(&self, session: &Session, bytes: &[u8]) {
        if let Ok((Answer::Rejected(rejection), _)) = Answer::decode(bytes, self.settings.versions)
        {
            self.counts.rejected();
            self.tell_soon(PeerEvent::Rejected {
                address: session.remote.to_string(),
                by_us: false,
                rejection,
            });
        }
        session.end();
    }

    /// A peer opens the stream of a class.
    fn opened(
        self: Arc<Self>,
        session: &Arc<Session>,
        class: Class,
        messages: Streaming<Bytes>,
    ) -> Result<Response<Nothing>, Status> {
        let Some(who) = session.who() else {
            self.counts.rejected();
            return Err(Status::unauthenticated("greet first"));
        };
        if !session.open(class) {
            return Err(Status::already_exists("one stream of a class"));
        }
        let (node, address) = (who.node, who.address.clone());
        let (taken, all_taken) = oneshot::channel::<()>();
        let session = Arc::clone(session);
        tokio::spawn(async move {
            tokio::select! {
                () = self.take(node, &address, class, messages) => {}
                () = session.over() => {}
            }
            drop(taken);
        });
        // It ends, without having said anything, when all that was sent has been taken.
        let until = stream::once(all_taken).filter_map(|_| async { None });
        Ok(Response::new(Box::pin(until)))
    }

    /// Takes what one node sends in one class. What it sends faster than it is taken here stays on
    /// its side.
    async fn take(
        &self,
        from: NodeId,
        address: &str,
        class: Class,
        mut messages: Streaming<Bytes>,
    ) {
        while let Ok(Some(message)) = messages.message().await {
            self.counts.arrived(message.len());
            let unpacked = unpack(message);
            let mut unknown = unpacked.unknown;
            for frame in unpacked.frames {
                if frame.class() != class {
                    unknown += 1;
                } else if !self.deliver(from, address, frame).await {
                    return;
                }
            }
            if unknown > 0 {
                self.counts.unknown(unknown);
            }
        }
    }

    async fn deliver(&self, from: NodeId, address: &str, frame: Frame) -> bool {
        self.counts.frame();
        match frame {
            Frame::Engine(bytes) => {
                let posted = Posted::Bytes {
                    from,
                    address: address.to_owned(),
                    bytes,
                };
                if self.engine.try_send(posted).is_err() {
                    self.counts.dropped();
                }
                true
            }
            frame => match self.frames.get(frame.class().index()) {
                Some(class) => class.send((from, frame)).await.is_ok(),
                None => true,
            },
        }
    }

    /// Why a node that introduces itself, with a certificate if there is one, is rejected.
    pub(super) fn check(
        &self,
        leaf: Option<&tokio_rustls::rustls::pki_types::CertificateDer<'_>>,
        who: &crate::transport::Introduction,
    ) -> Result<(), Rejection> {
        if let Some(ends) = &self.ends
            && !ends.names(leaf, &who.name)
        {
            return Err(unauthorised(format_args!(
                "its certificate is not for node {:?}",
                who.name
            )));
        }
        if who.node == self.me.node && who.instance == self.me.instance {
            return Err(Rejection::Oneself);
        }
        match self.me.rejects(who) {
            Some(rejection) => Err(rejection),
            None => Ok(()),
        }
    }
}
