use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use handover_hub_proto::identity::{HubName, NodeId, NodeName};

use super::Network;
use crate::transport::{
    Class, Frame, Incoming, Introduction, Limits, PeerEvent, Posted, Rejection, SendError,
    Transport,
};

fn introduction(number: u64) -> Introduction {
    Introduction {
        hub: HubName::new("hub").unwrap(),
        shards: 16,
        node: NodeId(number),
        name: NodeName::new(&format!("n{number}")).unwrap(),
        instance: 1,
        address: format!("127.0.0.1:{number}"),
        agreement: Default::default(),
    }
}

fn join(network: &Network, number: u64) -> (Arc<dyn Transport>, Incoming) {
    network.join(introduction(number), Limits::default())
}

fn control(text: &str) -> Frame {
    Frame::Control(Bytes::copy_from_slice(text.as_bytes()))
}

async fn event(incoming: &mut Incoming) -> PeerEvent {
    tokio::time::timeout(Duration::from_secs(60), incoming.events.recv())
        .await
        .expect("an event")
        .expect("the network is there")
}

/// The next event that is not about the node itself.
async fn peer_event(incoming: &mut Incoming, me: u64) -> PeerEvent {
    loop {
        match event(incoming).await {
            PeerEvent::Connected(introduction) if introduction.node == NodeId(me) => {}
            event => return event,
        }
    }
}

#[tokio::test]
async fn frames_arrive_in_order_with_their_sender() {
    let network = Network::new();
    let (a, mut into_a) = join(&network, 1);
    let (b, mut into_b) = join(&network, 2);
    a.learn(NodeId(2), &b.me().address);
    for number in 0..100 {
        a.send(NodeId(2), control(&number.to_string())).unwrap();
    }
    for number in 0..100 {
        let (from, frame) = into_b.control.recv().await.unwrap();
        assert_eq!(from, NodeId(1));
        assert_eq!(frame, control(&number.to_string()));
    }
    assert_eq!(
        peer_event(&mut into_a, 1).await,
        PeerEvent::Connected(introduction(2))
    );
    a.send(NodeId(1), control("to oneself")).unwrap();
    assert_eq!(into_a.control.recv().await.unwrap().0, NodeId(1));
    assert_eq!(
        b.send(NodeId(1), control("not learnt")),
        Err(SendError::Unreachable(NodeId(1)))
    );
}

#[tokio::test]
async fn a_cut_is_told_and_heals() {
    let network = Network::new();
    let (a, mut into_a) = join(&network, 1);
    let (_b, mut into_b) = join(&network, 2);
    a.learn(NodeId(2), "127.0.0.1:2");
    assert!(matches!(
        peer_event(&mut into_a, 1).await,
        PeerEvent::Connected(_)
    ));
    network.divide(&[&[NodeId(1)], &[NodeId(2)]]);
    assert_eq!(
        peer_event(&mut into_a, 1).await,
        PeerEvent::Disconnected(NodeId(2))
    );
    assert_eq!(
        a.send(NodeId(2), control("lost")),
        Err(SendError::Unreachable(NodeId(2)))
    );
    network.heal();
    assert!(matches!(
        peer_event(&mut into_a, 1).await,
        PeerEvent::Connected(_)
    ));
    a.send(NodeId(2), control("found")).unwrap();
    assert_eq!(into_b.control.recv().await.unwrap().1, control("found"));
}

#[tokio::test]
async fn a_killed_node_refuses_and_its_successor_replaces_it() {
    let network = Network::new();
    let (a, mut into_a) = join(&network, 1);
    let (b, _into_b) = join(&network, 2);
    a.learn(NodeId(2), "127.0.0.1:2");
    peer_event(&mut into_a, 1).await;
    network.kill(NodeId(2));
    assert_eq!(
        peer_event(&mut into_a, 1).await,
        PeerEvent::Disconnected(NodeId(2))
    );
    assert_eq!(
        peer_event(&mut into_a, 1).await,
        PeerEvent::Refused {
            node: NodeId(2),
            address: "127.0.0.1:2".to_owned()
        }
    );
    drop(b);
    let successor = Introduction {
        node: NodeId(3),
        ..introduction(2)
    };
    let _successor = network.join(successor.clone(), Limits::default());
    assert_eq!(
        peer_event(&mut into_a, 1).await,
        PeerEvent::Replaced {
            node: NodeId(2),
            by: successor
        }
    );
}

#[tokio::test]
async fn a_muted_way_loses_and_the_other_does_not() {
    let network = Network::new();
    let (a, mut into_a) = join(&network, 1);
    let (b, mut into_b) = join(&network, 2);
    a.learn(NodeId(2), "127.0.0.1:2");
    b.learn(NodeId(1), "127.0.0.1:1");
    network.mute(NodeId(1), NodeId(2));
    a.send(NodeId(2), control("lost")).unwrap();
    b.send(NodeId(1), control("kept")).unwrap();
    assert_eq!(into_a.control.recv().await.unwrap().1, control("kept"));
    // The way from A is emptied before it opens again.
    tokio::time::sleep(Duration::from_millis(50)).await;
    network.heal();
    a.send(NodeId(2), control("kept")).unwrap();
    assert_eq!(into_b.control.recv().await.unwrap().1, control("kept"));
}

#[tokio::test]
async fn a_receiver_that_does_not_take_fills_the_queue_and_no_other_class() {
    let network = Network::new();
    let limits = Limits {
        queue: 10_000,
        arrived: 4,
        ..Limits::default()
    };
    let (a, _into_a) = network.join(introduction(1), limits.clone());
    let (_b, mut into_b) = network.join(introduction(2), limits);
    a.learn(NodeId(2), "127.0.0.1:2");
    let mut sent = 0;
    let full = loop {
        match a.send(NodeId(2), control("x")) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(full, SendError::Full(NodeId(2)));
    a.post("127.0.0.1:2", Bytes::from_static(b"hello"));
    assert!(matches!(
        into_b.engine.recv().await,
        Some(Posted::Peer(_) | Posted::Bytes { .. })
    ));
    let room = a.room(NodeId(2), Class::Control);
    for _ in 0..sent {
        into_b.control.recv().await.unwrap();
    }
    room.await;
    a.send(NodeId(2), control("again")).unwrap();
    assert_eq!(into_b.control.recv().await.unwrap().1, control("again"));
}

#[tokio::test]
async fn a_node_of_another_hub_is_rejected() {
    let network = Network::new();
    let (a, mut into_a) = join(&network, 1);
    let other = Introduction {
        hub: HubName::new("other").unwrap(),
        ..introduction(2)
    };
    let _b = network.join(other, Limits::default());
    a.learn(NodeId(2), "127.0.0.1:2");
    assert!(matches!(
        peer_event(&mut into_a, 1).await,
        PeerEvent::Rejected {
            rejection: Rejection::Hub { .. },
            ..
        }
    ));
}
