//! Frames over the network: one HTTP/2 connection each way between two nodes, made by who sends.
//!
//! A node dials every node that it wants to send to; what it receives comes over connections that
//! others dialled. So two nodes that dial each other at once have what they need, and neither has to
//! give way. On a connection each [class](Class) has a stream of its own with its own flow control: a
//! state of a gigabyte never holds up a call. Small frames that wait together cross together.
//!
//! Before anything else both say who they are; see [`Rejection`](super::Rejection) for what keeps them apart. With
//! [`Security::Tls`] both prove it.
//!
//! It is gRPC, by tonic, so that framing, flow control, keepalive and the limits against hostile
//! peers are those of a well-kept stack, but without generated code: see `remote/service.rs`.

mod acceptor;
mod batch;
mod counts;
mod dial;
mod door;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod greeting;
mod link;
mod links;
mod service;
mod session;
mod sessions;
mod settings;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use handover_hub_proto::identity::NodeId;
use tokio::sync::mpsc;

use self::counts::Counters;
pub use self::counts::Counts;
use self::door::Door;
use self::greeting::Greeting;
pub use self::greeting::Versions;
use self::link::Link;
use self::links::Links;
use self::sessions::Sessions;
pub use self::settings::{Settings, Timing};
use super::tls::{Ends, Security, TlsError};
use super::{Class, Frame, Incoming, Introduction, PeerEvent, Posted, SendError, Transport};

/// Events that wait to be taken by a node; who connects waits for room.
const EVENTS: usize = 1024;

/// Messages between engines that wait to be taken; more are dropped, engines repeat themselves.
const POSTED: usize = 1024;

/// Why a node cannot be reached by others.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The address cannot be bound.
    #[error("{address}: {source}")]
    Bind {
        /// Which.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// It is not a loopback address, and there is no TLS.
    #[error(
        "{address} is reached from other machines, and without TLS everybody there would be \
         trusted: give the hub certificates, say that its network is trusted, or listen on 127.0.0.1"
    )]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// It is no address that others can dial.
    #[error("{address} is every address of this machine: say which one peers shall use")]
    Unspecified {
        /// The address.
        address: SocketAddr,
    },
    /// The certificates cannot be used.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
}

#[derive(Debug)]
struct Shared {
    me: Introduction,
    security: Security,
    ends: Option<Ends>,
    settings: Settings,
    frames: [mpsc::Sender<(NodeId, Frame)>; 3],
    events: mpsc::Sender<PeerEvent>,
    engine: mpsc::Sender<Posted>,
    links: Links,
    sessions: Sessions,
    counts: Arc<Counters>,
}

impl Shared {
    fn greeting(&self) -> Greeting {
        Greeting {
            who: self.me.clone(),
            frame: u32::try_from(self.settings.limits.frame).unwrap_or(u32::MAX),
        }
    }

    async fn tell(&self, event: PeerEvent) {
        let _ = self.engine.try_send(Posted::Peer(event.clone()));
        // Closed when the hub is not interested any more.
        let _ = self.events.send(event).await;
    }

    /// For what anybody can cause at any rate: told while there is plenty of room, so that it takes
    /// none from what matters, and not to the engine, which has no use for it.
    fn tell_soon(&self, event: PeerEvent) {
        if self.events.capacity() > EVENTS / 2 {
            let _ = self.events.try_send(event);
        }
    }

    async fn replaced(&self, node: NodeId, by: &Introduction) {
        self.tell(PeerEvent::Replaced {
            node,
            by: by.clone(),
        })
        .await;
    }
}

/// A transport over sockets. Dropped, it closes all its connections at once.
#[derive(Debug)]
pub struct Remote {
    shared: Arc<Shared>,
    door: Arc<Door>,
}

impl Remote {
    /// Listens on a socket and connects to nobody yet.
    ///
    /// An empty address in the introduction stands for the socket's own. Needs a running tokio
    /// runtime. Blocks on the files of certificates.
    ///
    /// # Errors
    ///
    /// [`ListenError`]; the socket is closed.
    pub fn listen(
        me: Introduction,
        socket: TcpListener,
        security: Security,
        settings: Settings,
    ) -> Result<(Arc<Self>, Incoming), ListenError> {
        let (remote, incoming) = Self::resting(me, socket, security, settings)?;
        remote.shared.sessions.open();
        remote.shared.links.open();
        remote.door.open(&remote.shared);
        Ok((remote, incoming))
    }

    /// As [`listen`](Self::listen), but nobody is let in or connected to before
    /// [`resume`](Transport::resume).
    ///
    /// # Errors
    ///
    /// [`ListenError`]; the socket is closed.
    pub fn resting(
        mut me: Introduction,
        socket: TcpListener,
        security: Security,
        settings: Settings,
    ) -> Result<(Arc<Self>, Incoming), ListenError> {
        let bind = |source| ListenError::Bind {
            address: me.address.clone(),
            source,
        };
        let address = socket.local_addr().map_err(bind)?;
        if !security.allows(address) {
            return Err(ListenError::NotLoopback { address });
        }
        socket.set_nonblocking(true).map_err(bind)?;
        if me.address.is_empty() {
            if address.ip().is_unspecified() {
                return Err(ListenError::Unspecified { address });
            }
            me.address = address.to_string();
        }
        let ends = match &security {
            Security::Tls(tls) => Some(Ends::new(tls, &me.name)?),
            Security::Loopback | Security::Insecure => None,
        };

        let arrived = settings.limits.arrived;
        let (control, control_arrived) = mpsc::channel(arrived);
        let (calls, calls_arrived) = mpsc::channel(arrived);
        let (states, states_arrived) = mpsc::channel(arrived);
        let (events, events_arrived) = mpsc::channel(EVENTS);
        let (engine, engine_arrived) = mpsc::channel(POSTED);
        let shared = Arc::new(Shared {
            me,
            security,
            ends,
            settings,
            frames: [control, calls, states],
            events,
            engine,
            links: Links::default(),
            sessions: Sessions::default(),
            counts: Arc::default(),
        });
        shared.links.rest();
        shared.sessions.close();
        let incoming = Incoming {
            control: control_arrived,
            calls: calls_arrived,
            states: states_arrived,
            events: events_arrived,
            engine: engine_arrived,
        };
        let door = Arc::new(Door::new(socket));
        Ok((Arc::new(Self { shared, door }), incoming))
    }

    /// What it did so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.counts.read(self.shared.sessions.count())
    }

    fn send_to_oneself(&self, frame: Frame) -> Result<(), SendError> {
        let me = self.shared.me.node;
        match self.shared.frames.get(frame.class().index()) {
            Some(class) => class.try_send((me, frame)).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => SendError::Full(me),
                mpsc::error::TrySendError::Closed(_) => SendError::Unreachable(me),
            }),
            None => Ok(()),
        }
    }
}

impl Transport for Remote {
    fn me(&self) -> &Introduction {
        &self.shared.me
    }

    fn send(&self, to: NodeId, frame: Frame) -> Result<(), SendError> {
        if to == self.shared.me.node {
            return self.send_to_oneself(frame);
        }
        match self.shared.links.to(to) {
            Some(link) => link.send(to, frame),
            None => Err(SendError::Unreachable(to)),
        }
    }

    fn room(&self, to: NodeId, class: Class) -> BoxFuture<'static, ()> {
        if to == self.shared.me.node {
            let class = self.shared.frames.get(class.index()).cloned();
            return Box::pin(async move {
                if let Some(class) = class {
                    let _ = class.reserve().await;
                }
            });
        }
        let lanes = self.shared.links.to(to).map(|link| link.lanes());
        Box::pin(async move {
            if let Some(lanes) = lanes {
                lanes.queue(class).room().await;
            }
        })
    }

    fn learn(&self, node: NodeId, address: &str) {
        if node != self.shared.me.node {
            self.shared.links.learn(&self.shared, node, address);
        }
    }

    fn forget(&self, node: NodeId) {
        self.shared.links.forget(node);
        self.shared.sessions.end(node);
    }

    fn post(&self, address: &str, bytes: Bytes) {
        if address == self.shared.me.address {
            return;
        }
        if let Some(link) = self.shared.links.at(&self.shared, address) {
            link.posted();
            let _ = link.send(self.shared.me.node, Frame::Engine(bytes));
        }
    }

    fn rest(&self, within: Duration) -> BoxFuture<'static, ()> {
        let (shared, door) = (Arc::clone(&self.shared), Arc::clone(&self.door));
        Box::pin(async move {
            door.shut();
            shared.hang_up(shared.links.rest(), within).await;
            shared.sessions.close();
        })
    }

    fn resume(&self) -> BoxFuture<'static, ()> {
        let (shared, door) = (Arc::clone(&self.shared), Arc::clone(&self.door));
        Box::pin(async move {
            shared.sessions.open();
            let known = shared.links.open();
            for (node, _) in &known {
                shared.tell(PeerEvent::Disconnected(*node)).await;
            }
            for (node, address) in known {
                shared.links.learn(&shared, node, &address);
            }
            door.open(&shared);
        })
    }

    fn close(&self, within: Duration) -> BoxFuture<'static, ()> {
        let (shared, door) = (Arc::clone(&self.shared), Arc::clone(&self.door));
        Box::pin(async move {
            door.close();
            shared.hang_up(shared.links.close(), within).await;
            shared.sessions.close();
        })
    }
}

impl Shared {
    /// Sends what waits on these ways and stops them.
    async fn hang_up(&self, links: Vec<Arc<Link>>, within: Duration) {
        let all_sent = async {
            for link in &links {
                link.lanes().close();
            }
            for link in &links {
                while link.is_up() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        };
        let _ = tokio::time::timeout(within, all_sent).await;
        for link in links {
            link.stop();
        }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.door.close();
        for link in self.shared.links.close() {
            link.stop();
        }
        self.shared.sessions.close();
    }
}

/// A wait that differs from node to node by up to a quarter, so that many do not try at once.
fn jitter(pause: Duration) -> Duration {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let seed = (u64::from(std::process::id()) << 32) ^ count;
    let part = xxhash_rust::xxh3::xxh3_64(&seed.to_le_bytes()) % 256;
    pause - pause * u32::try_from(part).unwrap_or_default() / 1024
}

#[cfg(test)]
mod tests;
