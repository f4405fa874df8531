//! Children begin, are called, and end.

use handover_hub::Scope;
use handover_hub::error::{CallError, CommandError};
use handover_hub::proto::node::Failure;

use crate::world::{Ask, Counter, Told, World, counter, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_starts_calls_and_stops() {
    let world = World::default();
    let hub = world.node("a").await;
    let started = hub.start_child(counter("one", 40)).await.unwrap();
    assert_eq!(started.node, hub.node());
    let told = hub.call::<Counter>("one", Ask::Add(2)).await.unwrap();
    assert_eq!(told, Told::Value(42));
    let twice = hub.start_child(counter("one", 0)).await.unwrap_err();
    assert!(matches!(
        twice,
        CommandError::Failed(Failure::AlreadyStarted(_))
    ));
    hub.cast::<Counter>("one", Ask::Add(1)).await.unwrap();
    let told = hub.call::<Counter>("one", Ask::Read).await.unwrap();
    assert_eq!(told, Told::Value(43));
    assert_eq!(hub.list(Scope::Node).len(), 1);
    hub.stop_child("one").await.unwrap();
    let gone = hub.call::<Counter>("one", Ask::Read).await.unwrap_err();
    assert!(matches!(gone, CallError::Unknown(_)), "{gone}");
    assert!(hub.list(Scope::Hub).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_share_children_and_any_of_them_calls_any() {
    let world = World::default();
    let hubs = [
        world.node("a").await,
        world.node("b").await,
        world.node("c").await,
    ];
    for hub in &hubs {
        until("all know all", || hub.nodes().len() == 3).await;
    }
    let children = (0..60).map(|n| counter(&format!("c{n}"), n));
    let started = hubs[0]
        .start_children(children, Default::default())
        .await
        .unwrap();
    assert_eq!(started.failed, []);
    assert_eq!(started.started.len(), 60);
    for hub in &hubs {
        for n in 0..60 {
            let told = hub.call::<Counter>(&format!("c{n}"), Ask::Add(1)).await;
            assert!(matches!(told, Ok(Told::Value(_))), "{told:?}");
        }
    }
    for hub in &hubs {
        assert!(!hub.list(Scope::Node).is_empty(), "{hub:?} hosts none");
        let told = hub.call::<Counter>("c7", Ask::Read).await.unwrap();
        assert_eq!(told, Told::Value(10));
    }
}
