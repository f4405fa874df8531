//! More at once than is usual: floods, two moves of one process, a busy child, a leave among starts.

use std::time::Duration;

use handover_hub::error::CallError;
use handover_hub::{Hub, Scope};

use crate::moves::Clients;
use crate::world::{Ask, Counter, PATIENCE, Told, World, counter, until};

async fn two(world: &World) -> (Hub, Hub) {
    let (a, b) = (world.node("a").await, world.node("b").await);
    until("both know both", || {
        a.nodes().len() == 2 && b.nodes().len() == 2
    })
    .await;
    (a, b)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_waits_with_its_senders_and_none_of_it_is_lost_by_moves() {
    const CALLS: u64 = 5000;
    let world = World::default();
    let (a, b) = two(&world).await;
    a.start_child(counter("flooded", 0)).await.unwrap();
    // Nothing is taken for a while: more comes than the mailbox holds.
    let busy = a.call_within::<Counter>("flooded", Ask::Sleep(300), PATIENCE);
    let flood = async {
        let calls: Vec<_> = (0..CALLS)
            .map(|n| {
                let hub = if n % 2 == 0 { a.clone() } else { b.clone() };
                tokio::spawn(async move {
                    let call = hub.call_within::<Counter>("flooded", Ask::Add(1), PATIENCE);
                    call.await
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut moved = 0;
        for node in ["b", "a", "b"] {
            moved += u32::from(a.move_child("flooded", node).await.is_ok());
        }
        for call in calls {
            let told = call.await.unwrap();
            assert!(matches!(told, Ok(Told::Value(_))), "{told:?}");
        }
        moved
    };
    let (busy, moved) = tokio::join!(busy, flood);
    assert!(busy.is_ok());
    assert!(moved > 0, "it did not move at all");
    let told = b.call::<Counter>("flooded", Ask::Read).await.unwrap();
    assert_eq!(told, Told::Value(CALLS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_moves_at_once_leave_one_process() {
    let world = World::default();
    let (a, b) = two(&world).await;
    let c = world.node("c").await;
    until("all know all", || a.nodes().len() == 3).await;
    a.start_child(counter("torn", 3)).await.unwrap();
    for _ in 0..20 {
        let (one, other) = tokio::join!(a.move_child("torn", "b"), b.move_child("torn", "c"));
        assert!(one.is_ok() || other.is_ok(), "{one:?} {other:?}");
        let told = c
            .call_within::<Counter>("torn", Ask::Add(1), PATIENCE)
            .await;
        assert!(told.is_ok(), "{told:?}");
        let back = a.move_child("torn", "a").await;
        assert!(back.is_ok(), "{back:?}");
    }
    let told = a.call::<Counter>("torn", Ask::Read).await.unwrap();
    assert_eq!(told, Told::Value(23));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_child_holds_up_no_other() {
    let world = World::default();
    let a = world.node("a").await;
    let children = (0..60).map(|n| counter(&format!("c{n}"), 0));
    let started = a.start_children(children, Default::default()).await;
    assert_eq!(started.unwrap().failed, []);
    // Some that are busy: one of them is among those that will move.
    let busy: Vec<_> = (0..30)
        .map(|n| {
            let a = a.clone();
            let sleep = Ask::Sleep(3_000);
            tokio::spawn(async move {
                let id = format!("c{n}");
                a.call_within::<Counter>(&id, sleep, PATIENCE).await
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let clients = Clients::start(std::slice::from_ref(&a), 60, 4);
    let b = world.node("b").await;
    until("idle ones move", || b.list(Scope::Node).len() >= 8).await;
    assert!(
        busy.iter().any(|call| !call.is_finished()),
        "too slow to tell"
    );
    for call in busy {
        assert!(call.await.unwrap().is_ok());
    }
    until("busy ones follow", || b.list(Scope::Node).len() >= 20).await;
    clients.check(&b, 60).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_leaves_while_children_are_started() {
    let world = World::default();
    let (a, b) = two(&world).await;
    let starting = {
        let a = a.clone();
        tokio::spawn(async move {
            for batch in 0..20 {
                let children = (0..10).map(|n| counter(&format!("c{}", batch * 10 + n), 0));
                let started = a
                    .start_children(children, Default::default())
                    .await
                    .unwrap();
                assert_eq!(started.failed, []);
                for n in 0..10 {
                    let id = format!("c{}", batch * 10 + n);
                    let told = a.call_within::<Counter>(&id, Ask::Add(1), PATIENCE).await;
                    assert!(told.is_ok(), "{told:?}");
                }
            }
        })
    };
    tokio::time::sleep(Duration::from_millis(20)).await;
    let left = b.leave(PATIENCE).await.unwrap();
    assert_eq!(left.left, []);
    starting.await.unwrap();
    for n in 0..200 {
        let id = format!("c{n}");
        let told = a.call_within::<Counter>(&id, Ask::Read, PATIENCE).await;
        assert_eq!(told, Ok(Told::Value(1)), "{id}");
    }
    assert_eq!(a.list(Scope::Node).len(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_fails_its_call_alone_and_timers_ring() {
    let world = World::default();
    let (a, b) = two(&world).await;
    a.start_child(counter("mortal", 1)).await.unwrap();
    let crash = b.call::<Counter>("mortal", Ask::Panic).await;
    assert!(
        matches!(&crash, Err(CallError::Crashed { reason, .. }) if reason == "as asked"),
        "{crash:?}"
    );
    let told = b.call::<Counter>("mortal", Ask::Read).await;
    assert_eq!(told, Ok(Told::Value(1)));
    // A message to itself moves with it.
    let later = Ask::AddLater {
        after_ms: 300,
        by: 10,
    };
    a.call::<Counter>("mortal", later).await.unwrap();
    for node in ["a", "b", "a"] {
        a.move_child("mortal", node).await.unwrap();
    }
    let value = async || a.call::<Counter>("mortal", Ask::Read).await.unwrap();
    let wait = async {
        while value().await != Told::Value(11) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
}
