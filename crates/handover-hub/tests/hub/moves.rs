//! Processes move with their state while they are called.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use handover_hub::{Hub, Scope};

use crate::world::{Ask, Counter, PATIENCE, Told, World, counter, until};

/// Clients that add one to counters, and what they were told.
pub(crate) struct Clients {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<HashMap<u64, u64>>>,
    pub(crate) calls: Arc<AtomicU64>,
}

impl Clients {
    pub(crate) fn start(hubs: &[Hub], counters: u64, clients: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let calls = Arc::new(AtomicU64::new(0));
        let tasks = (0..clients).map(|client| {
            let hub = hubs[usize::try_from(client).unwrap() % hubs.len()].clone();
            let (stop, calls) = (Arc::clone(&stop), Arc::clone(&calls));
            tokio::spawn(async move {
                let mut added = HashMap::new();
                let mut next = client;
                while !stop.load(Ordering::Relaxed) {
                    next = (next * 31 + 7) % counters;
                    let id = format!("c{next}");
                    let told = hub.call_within::<Counter>(&id, Ask::Add(1), PATIENCE).await;
                    assert!(matches!(told, Ok(Told::Value(_))), "{id}: {told:?}");
                    *added.entry(next).or_default() += 1;
                    calls.fetch_add(1, Ordering::Relaxed);
                }
                added
            })
        });
        Self {
            tasks: tasks.collect(),
            stop,
            calls,
        }
    }

    pub(crate) async fn made(&self, more: u64) {
        let goal = self.calls.load(Ordering::Relaxed) + more;
        until("calls are answered", || {
            self.calls.load(Ordering::Relaxed) >= goal
        })
        .await;
    }

    /// Stops them, and compares what they were told with what the counters have.
    pub(crate) async fn check(self, hub: &Hub, counters: u64) {
        self.stop.store(true, Ordering::Relaxed);
        let mut added: HashMap<u64, u64> = HashMap::new();
        for task in self.tasks {
            for (counter, by) in task.await.expect("no client failed") {
                *added.entry(counter).or_default() += by;
            }
        }
        for n in 0..counters {
            let id = format!("c{n}");
            let told = hub
                .call_within::<Counter>(&id, Ask::Read, PATIENCE)
                .await
                .unwrap();
            let expected = added.get(&n).copied().unwrap_or_default();
            assert_eq!(told, Told::Value(expected), "{id}: lost or doubled");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_is_moved_by_command_with_its_state() {
    let world = World::default();
    let (a, b) = (world.node("a").await, world.node("b").await);
    until("both know both", || {
        a.nodes().len() == 2 && b.nodes().len() == 2
    })
    .await;
    a.start_child(counter("one", 5)).await.unwrap();
    let mut places = Vec::new();
    for node in ["b", "a", "b"] {
        let moved = a.move_child("one", node).await;
        let name = a.member(a.whereis(&"one".parse().unwrap()).unwrap().node);
        places.push((moved.is_ok(), name.unwrap().name.to_string()));
        let told = a.call::<Counter>("one", Ask::Where).await.unwrap();
        assert_eq!(told, Told::Node(node.to_owned()), "{moved:?}");
        a.call::<Counter>("one", Ask::Add(1)).await.unwrap();
    }
    let told = b.call::<Counter>("one", Ask::Read).await.unwrap();
    assert_eq!(told, Told::Value(8), "{places:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_nor_doubled_while_nodes_join_and_leave() {
    const COUNTERS: u64 = 200;
    let world = World::default();
    let a = world.node("a").await;
    let children = (0..COUNTERS).map(|n| counter(&format!("c{n}"), 0));
    let started = a.start_children(children, Default::default()).await;
    assert_eq!(started.unwrap().failed, []);
    let clients = Clients::start(std::slice::from_ref(&a), COUNTERS, 16);
    clients.made(500).await;
    let b = world.node("b").await;
    until("b has its share", || b.list(Scope::Node).len() > 50).await;
    clients.made(500).await;
    let c = world.node("c").await;
    until("c has its share", || c.list(Scope::Node).len() > 30).await;
    clients.made(500).await;
    let left = b.leave(Duration::from_secs(30)).await.unwrap();
    assert_eq!(left.left, []);
    assert!(left.moved > 0);
    until("b is gone", || a.nodes().len() == 2).await;
    clients.made(500).await;
    clients.check(&c, COUNTERS).await;
    assert_eq!(
        a.list(Scope::Node).len() + c.list(Scope::Node).len(),
        usize::try_from(COUNTERS).unwrap()
    );
}
