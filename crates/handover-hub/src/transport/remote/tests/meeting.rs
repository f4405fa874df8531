//! Who speaks with whom, and when a connection counts as broken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use handover_hub_proto::identity::{HubName, NodeId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::{Node, control, introduction, pair, settings, socket};
use crate::transport::remote::{Settings, Versions};
use crate::transport::{Introduction, PeerEvent, Rejection, Security, Transport};

/// What both nodes say when `b` is rejected by `a` as it says.
async fn rejection(who: Introduction, settings_of_b: Settings) -> (Rejection, Rejection) {
    let mut a = Node::plain(1, "a");
    let mut b = Node::start(who, socket(), Security::Loopback, settings_of_b);
    // Not by its id, which one of them claims to have itself.
    b.transport.learn(NodeId(99), &a.address());
    let mut told = Vec::new();
    for (node, by_us) in [(&mut a, true), (&mut b, false)] {
        let event = node
            .event(|event| matches!(event, PeerEvent::Rejected { .. }))
            .await;
        let PeerEvent::Rejected {
            by_us: by,
            rejection,
            ..
        } = event
        else {
            panic!("{event:?}");
        };
        assert_eq!(by, by_us);
        told.push(rejection);
    }
    assert!(b.transport.send(NodeId(99), control("x")).is_err());
    let second = told.pop().unwrap();
    (told.pop().unwrap(), second)
}

#[tokio::test]
async fn nodes_of_other_hubs_shards_and_names_are_rejected_and_both_are_told() {
    let other_hub = Introduction {
        hub: HubName::new("other").unwrap(),
        ..introduction(2, "b")
    };
    let other_shards = Introduction {
        shards: 65,
        ..introduction(2, "b")
    };
    for (who, expected) in [
        (
            other_hub,
            Rejection::Hub {
                expected: "hub".to_owned(),
                found: "other".to_owned(),
            },
        ),
        (
            other_shards,
            Rejection::Shards {
                expected: 64,
                found: 65,
            },
        ),
        (
            introduction(2, "a"),
            Rejection::NameTaken {
                name: "a".to_owned(),
                alive: NodeId(1),
            },
        ),
        (introduction(1, "a"), Rejection::Oneself),
    ] {
        let (by_a, to_b) = rejection(who, settings()).await;
        assert_eq!((by_a, to_b), (expected.clone(), expected));
    }
}

#[tokio::test]
async fn versions_without_a_common_one_are_rejected_and_overlapping_ones_meet() {
    let with = |lowest, highest| Settings {
        versions: Versions { lowest, highest },
        ..settings()
    };
    let mut a = Node::plain(1, "a");
    let newer = Node::start(
        introduction(2, "b"),
        socket(),
        Security::Loopback,
        with(1, 2),
    );
    a.learn(&newer);
    a.connected(newer.id()).await;

    let too_new = Node::start(
        introduction(3, "c"),
        socket(),
        Security::Loopback,
        with(2, 3),
    );
    too_new.learn(&a);
    let told = a
        .event(|event| matches!(event, PeerEvent::Rejected { .. }))
        .await;
    assert!(matches!(
        told,
        PeerEvent::Rejected {
            by_us: true,
            rejection: Rejection::Version {
                expected_lowest: 1,
                expected_highest: 1,
                found_lowest: 2,
                found_highest: 3
            },
            ..
        }
    ));
}

#[tokio::test]
async fn a_name_is_taken_while_its_node_lives_and_free_after_it() {
    let (a, b) = pair().await;
    let mut impostor = Node::plain(3, "b");
    impostor.learn(&a);
    let taken = |event: &PeerEvent| {
        matches!(
            event,
            PeerEvent::Rejected {
                rejection: Rejection::NameTaken {
                    alive: NodeId(2),
                    ..
                },
                ..
            }
        )
    };
    impostor.event(taken).await;
    drop(b);
    impostor.connected(a.id()).await;
}

#[tokio::test]
async fn a_successor_on_the_same_host_ends_its_predecessor() {
    let (mut a, b) = pair().await;
    let address = b.address();
    let successor = Introduction {
        instance: 2,
        address: address.clone(),
        ..introduction(2, "b")
    };
    // It inherits the listening socket; here, another one at the same address will do.
    let mut next = Node::start(successor, socket(), Security::Loopback, settings());
    next.learn(&a);
    next.connected(a.id()).await;
    next.transport
        .send(a.id(), control("from instance 2"))
        .unwrap();
    assert_eq!(a.control().await, (NodeId(2), control("from instance 2")));

    let mut b = b;
    let superseded = |event: &PeerEvent| {
        matches!(
            event,
            PeerEvent::Rejected {
                by_us: false,
                rejection: Rejection::Superseded { alive: 2 },
                ..
            }
        )
    };
    b.event(superseded).await;
}

#[tokio::test]
async fn two_that_dial_each_other_at_once_stay_connected() {
    for round in 0..10 {
        let (mut a, mut b) = (Node::plain(1, "a"), Node::plain(2, "b"));
        tokio::join!(async { a.learn(&b) }, async { b.learn(&a) });
        a.connected(b.id()).await;
        b.connected(a.id()).await;
        for number in 0..50 {
            let text = format!("{round} {number}");
            a.transport.send(b.id(), control(&text)).unwrap();
            b.transport.send(a.id(), control(&text)).unwrap();
            assert_eq!(b.control().await.1, control(&text));
            assert_eq!(a.control().await.1, control(&text));
        }
        assert!(a.incoming.events.try_recv().is_err());
        assert!(b.incoming.events.try_recv().is_err());
    }
}

/// Passes bytes on while the network is whole.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, whole: Arc<AtomicBool>) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if whole.load(Ordering::Acquire) && to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn silence_breaks_a_connection_and_is_not_taken_for_death() {
    let (mut a, mut b) = (Node::plain(1, "a"), Node::plain(2, "b"));
    let network = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let through = network.local_addr().unwrap().to_string();
    let whole = Arc::new(AtomicBool::new(true));
    let (behind, switch) = (b.socket_address(), Arc::clone(&whole));
    let proxy = tokio::spawn(async move {
        while let Ok((one, _)) = network.accept().await {
            let other = tokio::net::TcpStream::connect(behind).await.unwrap();
            let (from_one, to_one) = one.into_split();
            let (from_other, to_other) = other.into_split();
            tokio::spawn(pump(from_one, to_other, Arc::clone(&switch)));
            tokio::spawn(pump(from_other, to_one, Arc::clone(&switch)));
        }
    });
    a.transport.learn(b.id(), &through);
    a.connected(b.id()).await;
    a.transport.send(b.id(), control("before")).unwrap();
    assert_eq!(b.control().await.1, control("before"));

    whole.store(false, Ordering::Release);
    let first = a.event(|_| true).await;
    assert_eq!(first, PeerEvent::Disconnected(b.id()));
    let more = tokio::time::timeout(Duration::from_secs(1), a.incoming.events.recv()).await;
    assert!(more.is_err(), "silence was taken for {more:?}");

    whole.store(true, Ordering::Release);
    a.connected(b.id()).await;
    a.transport.send(b.id(), control("after")).unwrap();
    assert_eq!(b.control().await.1, control("after"));
    proxy.abort();
}
