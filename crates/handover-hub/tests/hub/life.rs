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

/// A node that has just joined does not know all rows: it waits for the answer of those that exist,
/// and says of others that they do not, though nobody gives it time for both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_joins_knows_at_once_who_exists_and_who_does_not() {
    let world = World::default();
    let hub = world.node("a").await;
    let children = (0..2_000).map(|n| counter(&format!("c{n}"), n));
    let started = hub.start_children(children, Default::default()).await;
    assert_eq!(started.unwrap().failed, []);
    let joins = world.node("b").await;
    for n in (0..2_000).step_by(101) {
        let told = joins.call::<Counter>(&format!("c{n}"), Ask::Read).await;
        assert_eq!(told, Ok(Told::Value(n)));
        let none = joins.call::<Counter>(&format!("x{n}"), Ask::Read).await;
        assert!(matches!(none, Err(CallError::Unknown(_))), "{none:?}");
    }
    let whole = || joins.list(Scope::Hub).len() == 2_000;
    until("its copy of the rows is whole", whole).await;
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
