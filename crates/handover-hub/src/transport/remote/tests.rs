//! Real sockets on loopback.

mod hostile;
mod meeting;
mod secure;
mod speed;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use handover_hub_proto::identity::{CallId, Epoch, HubName, NodeId, NodeName, ProcessId};

use super::{Remote, Settings, Timing};
use crate::transport::frame::{Call, Part, State};
use crate::transport::{
    Class, Frame, Incoming, Introduction, Limits, PeerEvent, Posted, Security, SendError, Transport,
};

/// For whatever must happen, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Node {
    pub(super) transport: Arc<Remote>,
    pub(super) incoming: Incoming,
}

pub(super) fn socket() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

pub(super) fn introduction(number: u64, name: &str) -> Introduction {
    Introduction {
        hub: HubName::new("hub").unwrap(),
        shards: 64,
        node: NodeId(number),
        name: NodeName::new(name).unwrap(),
        instance: 1,
        address: String::new(),
        agreement: Default::default(),
    }
}

/// Times short enough for tests; none is asserted.
pub(super) fn settings() -> Settings {
    Settings {
        timing: Timing {
            ping: Duration::from_millis(200),
            silence: Duration::from_millis(500),
            retry_most: Duration::from_millis(200),
            ..Timing::default()
        },
        ..Settings::default()
    }
}

impl Node {
    pub(super) fn start(
        who: Introduction,
        socket: TcpListener,
        security: Security,
        settings: Settings,
    ) -> Self {
        let (transport, incoming) = Remote::listen(who, socket, security, settings).unwrap();
        Self {
            transport,
            incoming,
        }
    }

    pub(super) fn plain(number: u64, name: &str) -> Self {
        Self::start(
            introduction(number, name),
            socket(),
            Security::Loopback,
            settings(),
        )
    }

    pub(super) fn id(&self) -> NodeId {
        self.transport.me().node
    }

    pub(super) fn address(&self) -> String {
        self.transport.me().address.clone()
    }

    pub(super) fn socket_address(&self) -> SocketAddr {
        self.address().parse().unwrap()
    }

    pub(super) fn learn(&self, other: &Self) {
        self.transport.learn(other.id(), &other.address());
    }

    /// Waits for an event.
    pub(super) async fn event(&mut self, wanted: impl Fn(&PeerEvent) -> bool) -> PeerEvent {
        let mut seen = Vec::new();
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                let event = self.incoming.events.recv().await.expect("it is open");
                if wanted(&event) {
                    return event;
                }
                seen.push(event);
            }
        });
        match found.await {
            Ok(event) => event,
            Err(_) => panic!("only these events came: {seen:?}"),
        }
    }

    pub(super) async fn connected(&mut self, to: NodeId) {
        self.event(|event| matches!(event, PeerEvent::Connected(who) if who.node == to))
            .await;
    }

    pub(super) async fn control(&mut self) -> (NodeId, Frame) {
        tokio::time::timeout(PATIENCE, self.incoming.control.recv())
            .await
            .expect("in time")
            .expect("it is open")
    }

    /// Sends, waiting for room.
    pub(super) async fn send(&self, to: NodeId, frame: Frame) {
        while let Err(error) = self.transport.send(to, frame.clone()) {
            assert_eq!(error, SendError::Full(to));
            self.transport.room(to, frame.class()).await;
        }
    }
}

pub(super) fn control(text: &str) -> Frame {
    Frame::Control(Bytes::copy_from_slice(text.as_bytes()))
}

pub(super) fn call(number: u64, body: &Bytes) -> Frame {
    Frame::Call(Call {
        id: CallId {
            caller: NodeId(1),
            number,
        },
        floor: 0,
        process: ProcessId::new("alice").unwrap(),
        epoch: Epoch::default(),
        patience_ms: 1000,
        body: body.clone(),
    })
}

pub(super) fn chunk(size: usize) -> Frame {
    Frame::State(State {
        attempt: handover_hub_proto::identity::MoveId {
            home: NodeId(1),
            number: 1,
        },
        process: ProcessId::new("alice").unwrap(),
        epoch: Epoch::default(),
        part: Part::Chunk {
            offset: 0,
            bytes: Bytes::from(vec![7; size]),
        },
    })
}

async fn pair() -> (Node, Node) {
    let (mut a, mut b) = (Node::plain(1, "a"), Node::plain(2, "b"));
    a.learn(&b);
    b.learn(&a);
    a.connected(b.id()).await;
    b.connected(a.id()).await;
    (a, b)
}

#[tokio::test]
async fn frames_arrive_in_order_both_ways() {
    let (mut a, mut b) = pair().await;
    for number in 0..5000_u64 {
        a.send(b.id(), control(&number.to_string())).await;
        b.send(a.id(), control(&number.to_string())).await;
    }
    for number in 0..5000_u64 {
        assert_eq!(b.control().await, (a.id(), control(&number.to_string())));
        assert_eq!(a.control().await, (b.id(), control(&number.to_string())));
    }
    a.send(a.id(), control("oneself")).await;
    assert_eq!(a.control().await, (a.id(), control("oneself")));
}

#[tokio::test]
async fn what_is_sent_to_a_node_just_learnt_arrives() {
    let (a, mut b) = (Node::plain(1, "a"), Node::plain(2, "b"));
    assert_eq!(
        a.transport.send(b.id(), control("early")),
        Err(SendError::Unreachable(b.id()))
    );
    a.learn(&b);
    a.transport.send(b.id(), control("first")).unwrap();
    assert_eq!(b.control().await, (a.id(), control("first")));
}

#[tokio::test]
async fn a_class_that_is_not_taken_fills_up_alone() {
    let (a, mut b) = pair().await;
    let full = loop {
        if let Err(error) = a.transport.send(b.id(), chunk(1 << 20)) {
            break error;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(full, SendError::Full(b.id()));

    a.transport.send(b.id(), control("control")).unwrap();
    a.transport.send(b.id(), call(1, &Bytes::new())).unwrap();
    a.transport
        .post(&b.address(), Bytes::from_static(b"engine"));
    assert_eq!(b.control().await.1, control("control"));
    assert_eq!(b.incoming.calls.recv().await.unwrap().0, a.id());
    loop {
        if let Posted::Bytes {
            from,
            address,
            bytes,
        } = b.incoming.engine.recv().await.unwrap()
        {
            assert_eq!((from, address), (a.id(), a.address()));
            assert_eq!(bytes, "engine");
            break;
        }
    }

    let room = a.transport.room(b.id(), Class::States);
    let drain = async { while b.incoming.states.recv().await.is_some() {} };
    tokio::select! {
        () = room => {}
        () = drain => {}
    }
    a.transport.send(b.id(), chunk(1 << 20)).unwrap();
}

#[tokio::test]
async fn a_frame_over_the_limit_of_either_side_is_not_taken() {
    let small = Settings {
        limits: Limits {
            frame: 10_000,
            ..Limits::default()
        },
        ..settings()
    };
    let mut a = Node::plain(1, "a");
    let mut b = Node::start(introduction(2, "b"), socket(), Security::Loopback, small);
    a.learn(&b);
    a.connected(b.id()).await;
    assert!(matches!(
        a.transport.send(b.id(), chunk(10_000)),
        Err(SendError::TooLarge { limit: 10_000, .. })
    ));
    a.transport.send(b.id(), chunk(9000)).unwrap();
    assert!(b.incoming.states.recv().await.is_some());
}

#[tokio::test]
async fn a_node_that_ends_refuses_and_the_next_one_replaces_it() {
    let (mut a, b) = pair().await;
    let (id, address) = (b.id(), b.address());
    drop(b);
    a.event(|event| *event == PeerEvent::Disconnected(id)).await;
    let refused = a
        .event(|event| matches!(event, PeerEvent::Refused { .. }))
        .await;
    assert_eq!(
        refused,
        PeerEvent::Refused {
            node: id,
            address: address.clone()
        }
    );
    assert_eq!(
        a.transport.send(id, control("nobody")),
        Err(SendError::Unreachable(id))
    );

    let socket = TcpListener::bind(&address).unwrap();
    let mut next = Node::start(introduction(3, "b"), socket, Security::Loopback, settings());
    let replaced = a
        .event(|event| matches!(event, PeerEvent::Replaced { .. }))
        .await;
    assert_eq!(
        replaced,
        PeerEvent::Replaced {
            node: id,
            by: next.transport.me().clone()
        }
    );
    a.learn(&next);
    a.connected(next.id()).await;
    a.transport.send(next.id(), control("again")).unwrap();
    assert_eq!(next.control().await, (a.id(), control("again")));
}

#[tokio::test]
async fn what_was_queued_is_sent_before_a_node_closes() {
    let (a, mut b) = pair().await;
    for number in 0..2000_u64 {
        a.send(b.id(), control(&number.to_string())).await;
        a.send(b.id(), call(number, &Bytes::new())).await;
    }
    let taken = tokio::spawn(async move {
        for number in 0..2000_u64 {
            assert_eq!(b.control().await.1, control(&number.to_string()));
            assert_eq!(
                b.incoming.calls.recv().await.unwrap().1,
                call(number, &Bytes::new())
            );
        }
        b
    });
    a.transport.close(PATIENCE).await;
    taken.await.unwrap();
}

#[tokio::test]
async fn a_forgotten_node_is_left_alone() {
    let (mut a, mut b) = pair().await;
    a.transport.forget(b.id());
    assert_eq!(
        a.transport.send(b.id(), control("x")),
        Err(SendError::Unreachable(b.id()))
    );
    b.event(|event| *event == PeerEvent::Disconnected(a.id()))
        .await;
    a.learn(&b);
    a.transport.send(b.id(), control("again")).unwrap();
    assert_eq!(b.control().await.1, control("again"));

    // An engine's letters keep a connection that a forgotten node had.
    a.transport.post(&b.address(), Bytes::from_static(b"x"));
    a.connected(b.id()).await;
    a.transport.forget(b.id());
    a.learn(&b);
    a.connected(b.id()).await;
}
