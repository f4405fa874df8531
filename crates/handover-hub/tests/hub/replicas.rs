//! Passive replicas that are kept up to date take over when the node of the active one goes.

use std::time::Duration;

use handover_hub::proto::redundancy::Signal;
use handover_hub::proto::row::Role;
use handover_hub::{Hub, Scope};

use crate::moves::Clients;
use crate::world::{Ask, Counter, PATIENCE, Told, World, counter, until};

const COUNTERS: u64 = 200;

/// How often a node dies.
const ROUNDS: u64 = 16;

async fn node(world: &World, name: &str) -> Hub {
    let builder = world.replicated(name, Signal::None);
    builder.start().await.expect("the node starts")
}

/// Three nodes, and counters with one passive replica each.
async fn three(world: &World) -> [Hub; 3] {
    let hubs = [
        node(world, "a").await,
        node(world, "b").await,
        node(world, "c").await,
    ];
    until("all know all", || {
        hubs.iter().all(|hub| hub.nodes().len() == 3)
    })
    .await;
    let children = (0..COUNTERS).map(|n| counter(&format!("c{n}"), 0));
    let started = hubs[0].start_children(children, Default::default()).await;
    assert_eq!(started.unwrap().failed, []);
    replicated(&hubs[0], &hubs).await;
    hubs
}

/// Waits until every counter has an active replica and a passive one that has its state, both on
/// these nodes.
async fn replicated(hub: &Hub, on: &[Hub]) {
    until("every counter has two replicas", || {
        let rows = hub.list(Scope::Hub);
        let whole = rows.iter().filter(|row| {
            let hosts = row.hosts();
            let active = hosts.iter().filter(|host| host.role == Role::Active);
            hosts.len() == 2
                && active.count() == 1
                && hosts
                    .iter()
                    .all(|host| host.filled && on.iter().any(|hub| hub.node() == host.node))
        });
        whole.count() == usize::try_from(COUNTERS).unwrap()
    })
    .await;
}

/// The node is cut off from all others, and they hear that it is gone.
fn die(world: &World, hub: &Hub) {
    world.authority.cut(hub.node());
    world.network.kill(hub.node());
    world.authority.expire(hub.node());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_answered_is_lost_with_a_node() {
    let world = World::default();
    let hubs = three(&world).await;
    let [a, b, c] = &hubs;
    let clients = Clients::start(&[a.clone(), c.clone()], COUNTERS, 8);
    clients.made(1_000).await;
    die(&world, b);
    until("b is gone", || a.nodes().len() == 2).await;
    clients.made(1_000).await;
    replicated(a, &[a.clone(), c.clone()]).await;
    clients.check(a, COUNTERS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_leaves_hands_its_active_replicas_over() {
    let world = World::default();
    let hubs = three(&world).await;
    let [a, b, c] = &hubs;
    let clients = Clients::start(std::slice::from_ref(a), COUNTERS, 8);
    clients.made(1_000).await;
    let left = b.leave(Duration::from_secs(60)).await.unwrap();
    assert_eq!(left.left, []);
    assert!(left.moved > 0);
    until("b is gone", || a.nodes().len() == 2).await;
    clients.made(1_000).await;
    replicated(a, &[a.clone(), c.clone()]).await;
    die(&world, c);
    until("c is gone", || a.nodes().len() == 1).await;
    clients.check(a, COUNTERS).await;
}

/// H3: between the moment at which a replica is to be somewhere and the one at which it has the state
/// it takes nothing over, and whoever it stands in for goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_a_node_dies_while_replicas_are_filled() {
    for round in 0..ROUNDS {
        let world = World::default();
        let hubs = three(&world).await;
        let [a, b, c] = &hubs;
        let clients = Clients::start(std::slice::from_ref(a), COUNTERS, 8);
        clients.made(200).await;
        let others = if round % 2 == 0 {
            let d = node(&world, "d").await;
            // Each time the cluster has come a little further.
            tokio::time::sleep(Duration::from_millis(20 * round)).await;
            vec![c.clone(), d]
        } else {
            let left = c.leave(Duration::from_secs(60)).await.unwrap();
            assert_eq!(left.left, []);
            vec![]
        };
        die(&world, b);
        until("b is gone", || a.nodes().len() == 1 + others.len()).await;
        clients.made(500).await;
        clients.check(a, COUNTERS).await;
    }
}

/// A message to itself rings once, whoever is the active one when it is due.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_follow_a_promotion() {
    async fn all_are(hub: &Hub, value: u64) {
        for n in 0..COUNTERS {
            loop {
                let id = format!("c{n}");
                let told = hub.call_within::<Counter>(&id, Ask::Read, PATIENCE).await;
                let Ok(Told::Value(found)) = told else {
                    panic!("{id}: {told:?}");
                };
                assert!(found <= value, "{id} rang twice: {found}");
                if found == value {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    let world = World::default();
    let hubs = three(&world).await;
    let [a, b, c] = &hubs;
    let later = async |after_ms, by| {
        for n in 0..COUNTERS {
            let ask = Ask::AddLater { after_ms, by };
            let id = format!("c{n}");
            a.call_within::<Counter>(&id, ask, PATIENCE).await.unwrap();
        }
    };
    later(300, 1).await;
    later(3_000, 1_000).await;
    // Some are due by now, some become due while nobody is there to be told.
    die(&world, b);
    all_are(a, 1_001).await;
    replicated(a, &[a.clone(), c.clone()]).await;
    // An active one that becomes a passive one leaves them to its successor.
    later(1_500, 1_000_000).await;
    let d = node(&world, "d").await;
    until("d answers some", || {
        let rows = a.list(Scope::Hub);
        let active = rows.iter().filter_map(|row| row.active());
        active.filter(|host| host.node == d.node()).count() > 10
    })
    .await;
    die(&world, c);
    all_are(a, 1_001_001).await;
    later(500, 10_000_000).await;
    all_are(a, 11_001_001).await;
}
