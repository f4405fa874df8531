//! Children that run where their starter says, and nodes that do not agree on how to place them.

use handover_hub::engine::gossip::Gossip;
use handover_hub::error::{CommandError, StartError};
use handover_hub::proto::node::Failure;
use handover_hub::proto::partition::Rule;
use handover_hub::proto::placement::Distribution;
use handover_hub::proto::placement::guided::GuideError;
use handover_hub::proto::redundancy::{Factor, Model, Redundancy, Signal};
use handover_hub::proto::row::Role;
use handover_hub::{Builder, Hub};

use crate::world::{Ask, Counter, Told, World, counter, until};

const TWICE: Redundancy = Redundancy::Replicated {
    factor: Factor::Nodes(2),
    model: Model::ActivePassive,
    signal: Signal::None,
    state: true,
};

async fn guided(world: &World, name: &str) -> Hub {
    let builder = world.builder(name).distribution(Distribution::Guided);
    let started = builder.redundancy(TWICE).start().await;
    started.expect("the node starts")
}

/// Who runs a child, by name, and as what.
fn places(hub: &Hub, id: &str) -> Vec<(String, Role)> {
    let row = hub.lookup(id).expect("it is known");
    let named = row.hosts().iter().filter_map(|host| {
        let member = hub.member(host.node)?;
        Some((member.name.to_string(), host.role))
    });
    let mut places: Vec<_> = named.collect();
    places.sort_by(|a, b| a.0.cmp(&b.0));
    places
}

async fn three(world: &World) -> [Hub; 3] {
    let hubs = [
        guided(world, "a").await,
        guided(world, "b").await,
        guided(world, "c").await,
    ];
    until("all know all", || {
        hubs.iter().all(|hub| hub.nodes().len() == 3)
    })
    .await;
    hubs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mistake_of_a_map_is_refused() {
    let world = World::default();
    let [a, _b, _c] = three(&world).await;
    let refused = |error: Result<_, CommandError>| match error.map(drop) {
        Err(CommandError::Failed(failure)) => failure,
        other => panic!("{other:?}"),
    };
    let start = async |nodes: &[&str]| {
        a.start_child(counter("x", 7).pinned(nodes.iter().copied()))
            .await
    };
    assert_eq!(
        refused(a.start_child(counter("x", 7)).await),
        Failure::Unguided
    );
    assert_eq!(refused(start(&[]).await), Failure::Nodes);
    assert_eq!(refused(start(&["b", "b"]).await), Failure::Nodes);
    let (expected, found) = (2, 1);
    assert_eq!(
        refused(start(&["b"]).await),
        Failure::Replicas { expected, found }
    );
    let unknown = refused(start(&["b", "z"]).await);
    assert_eq!(unknown, Failure::UnknownNode("z".parse().unwrap()));
    let map = [("x", ["b", "c"]), ("y", ["b", "c"])];
    let mismatch = a
        .start_guided([counter("x", 7)], map, Default::default())
        .await;
    let process = "y".parse().unwrap();
    assert_eq!(
        mismatch.unwrap_err(),
        CommandError::Guide(GuideError::Mismatch { process })
    );
    assert_eq!(a.lookup("x"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guided_child_runs_where_it_was_said() {
    let world = World::default();
    let hubs = three(&world).await;
    let [a, b, _] = &hubs;
    let map = [("x", ["b", "c"]), ("y", ["c", "a"])];
    let children = [counter("x", 7), counter("y", 8)];
    let started = a
        .start_guided(children, map, Default::default())
        .await
        .unwrap();
    assert_eq!(started.failed, []);
    let both = |one: &str, two: &str| {
        [
            (one.to_owned(), Role::Active),
            (two.to_owned(), Role::Passive),
        ]
    };
    assert_eq!(places(a, "x"), both("b", "c"));
    let told = a.call::<Counter>("x", Ask::Add(1)).await.unwrap();
    assert_eq!(told, Told::Value(8));

    // One of its nodes is killed: the other one goes on with its state, and no other node helps.
    world.authority.cut(b.node());
    world.network.kill(b.node());
    world.authority.expire(b.node());
    let alone = [("c".to_owned(), Role::Active)];
    until("c runs it alone", || places(a, "x") == alone).await;
    let told = a.call::<Counter>("x", Ask::Add(1)).await.unwrap();
    assert_eq!(told, Told::Value(9));
    let mut others = places(a, "y");
    others.reverse();
    assert_eq!(others, both("c", "a"));
    // It comes back under its name, and runs what it is to run.
    let again = guided(&world, "b").await;
    until("both run it", || places(a, "x").len() == 2).await;
    until("it has its place", || places(&again, "x") == both("b", "c")).await;
    let told = again.call::<Counter>("x", Ask::Read).await.unwrap();
    assert_eq!(told, Told::Value(9));
}

fn gossiping(world: &World, node: &str) -> Builder {
    let seeds = Gossip::seeds(["a", "b"]);
    world.builder(node).engine(seeds)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_another_setting_is_refused() {
    let world = World::default();
    let first = gossiping(&world, "a").start();
    let rule = Rule::Majority {
        initial: 1,
        track_max: true,
    };
    let first = first.await.expect("it starts alone");
    for (other, setting) in [
        (
            gossiping(&world, "b").distribution(Distribution::Guided),
            "distribution",
        ),
        (gossiping(&world, "b").redundancy(TWICE), "redundancy"),
        (gossiping(&world, "b").partition(rule), "partition rule"),
    ] {
        let refused = other.start().await.map(drop).unwrap_err();
        assert!(matches!(refused, StartError::Engine(_)), "{refused:?}");
        let words = refused.to_string();
        assert!(words.contains(setting), "{words}");
    }
    // One that agrees is taken.
    let second = gossiping(&world, "b").start().await.expect("it joins");
    until("both know both", || {
        first.nodes().len() == 2 && second.nodes().len() == 2
    })
    .await;
}
