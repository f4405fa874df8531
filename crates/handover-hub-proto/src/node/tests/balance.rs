use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::moves::{assert_marked, mark};
use super::world::{SHARDS, World, child, children, id};
use crate::balance::{Balancing, Shifting};
use crate::event::Event;
use crate::identity::{NodeId, NodeName};
use crate::node::{Answer, Command, Failure, Input, Settings};
use crate::placement::Distribution;
use crate::redundancy::{Factor, Model, Redundancy, Signal};
use crate::row::{Role, Rows};
use crate::spec::{ChildSpec, Placing};
use crate::view::{Guarantees, Load};

const EVERY: Duration = Duration::from_secs(10);

fn settings(distribution: Distribution, redundancy: Redundancy) -> Settings {
    Settings {
        shards: SHARDS,
        guarantees: Guarantees {
            exclusive: true,
            lease: None,
        },
        distribution,
        redundancy,
        ..Settings::default()
    }
}

fn balanced(redundancy: Redundancy) -> World {
    let balancing = Balancing {
        shifting: Some(Shifting {
            limit: 20,
            ..Shifting::default()
        }),
        ..Balancing::default()
    };
    World::with(
        3,
        settings(Distribution::LoadBalanced(balancing), redundancy),
    )
}

const TWICE: Redundancy = Redundancy::Replicated {
    factor: Factor::Nodes(2),
    model: Model::ActivePassive,
    signal: Signal::None,
    state: false,
};

fn with_children(count: usize) -> (World, Vec<Arc<ChildSpec>>) {
    let (mut world, all) = (balanced(Redundancy::Single), children(count));
    world.start(1, all.clone());
    world.settle();
    mark(&mut world, &all);
    (world, all)
}

/// How many of so many children each node runs.
fn counts(world: &World, count: usize) -> BTreeMap<NodeId, u32> {
    let mut counts: BTreeMap<NodeId, u32> = world.places.keys().map(|node| (*node, 0)).collect();
    for child in children(count) {
        for node in world.runs_on(&child.id) {
            *counts.entry(node).or_default() += 1;
        }
    }
    counts
}

/// All measure how busy they are; time passes until the next board.
fn rounds(world: &mut World, rounds: u32, children: usize, queued: impl Fn(NodeId, u32) -> u32) {
    for _ in 0..rounds {
        for (node, processes) in counts(world, children) {
            let load = Load {
                processor: 0,
                memory: 1,
                queued: queued(node, processes),
                processes,
            };
            world.input(node, Input::Load(load));
        }
        world.run(EVERY);
    }
}

/// How many moves began so far.
fn moves(world: &World) -> usize {
    let events = world.places.values().flat_map(|place| &place.events);
    let moving = |event: &&Event| matches!(event, Event::Moving { .. });
    events.filter(moving).count()
}

fn one_is_busy(node: NodeId, _: u32) -> u32 {
    if node == NodeId(2) { 1_000 } else { 0 }
}

#[test]
fn all_know_how_busy_each_is_and_nothing_is_said_without_news() {
    let mut world = World::of(3);
    rounds(&mut world, 2, 0, one_is_busy);
    for place in world.places.values() {
        let members = place.node.status().members;
        let queued: Vec<u32> = members.iter().map(|member| member.load.queued).collect();
        assert_eq!(queued, [0, 1_000, 0]);
        assert!(members.iter().all(|member| member.load.is_known()));
    }
    world.settle();
    let mut measure = |node, queued| {
        let load = Load {
            memory: 1,
            queued,
            ..Load::default()
        };
        world.input(node, Input::Load(load));
        world.places[&node].node.outbox.deadline().is_some()
    };
    for _ in 0..10 {
        for node in [1, 2, 3].map(NodeId) {
            assert!(!measure(node, one_is_busy(node, 0)), "nothing is new");
        }
    }
    assert!(measure(NodeId(3), 200));
}

#[test]
fn new_children_run_at_home_without_a_board_and_where_there_is_room_with_one() {
    let balancing = Balancing {
        every: Duration::from_secs(3600),
        stale: Duration::from_millis(1),
        ..Balancing::default()
    };
    let distribution = Distribution::LoadBalanced(balancing);
    let mut stale = World::with(3, settings(distribution, Redundancy::Single));
    stale.settle();
    stale.start(1, children(50));
    stale.assert_all_placed(&children(50));

    let mut world = balanced(Redundancy::Single);
    rounds(&mut world, 2, 0, one_is_busy);
    world.start(1, children(400));
    world.settle();
    world.assert_all_run(&children(400));
    let counts = counts(&world, 400);
    assert!(counts[&NodeId(2)] < 130, "{counts:?}");
    assert!(counts[&NodeId(1)] > 120 && counts[&NodeId(3)] > 120);
}

#[test]
fn a_few_are_shifted_from_the_busy_node_and_then_all_stay() {
    let (mut world, all) = with_children(120);
    let before = counts(&world, 120);
    let by_count = |node, processes| {
        if node == NodeId(2) { processes * 20 } else { 0 }
    };
    rounds(&mut world, 40, 120, by_count);
    let (after, moved) = (counts(&world, 120), moves(&world));
    assert!(moved > 5, "{moved}");
    assert!(
        after[&NodeId(2)] < before[&NodeId(2)],
        "{before:?} {after:?}"
    );
    rounds(&mut world, 60, 120, by_count);
    assert!(moves(&world) - moved <= 2, "{moved} {}", moves(&world));
    world.assert_all_run(&all);
    assert_marked(&mut world, &all);
    // The leader dies: the next one goes on, and what it ran runs by the board.
    world.kill(1);
    world.settle();
    world.assert_all_run(&all);
    let left = counts(&world, 120);
    for node in [2, 3].map(NodeId) {
        assert!(left[&node] > after[&node] + 10, "{after:?} {left:?}");
    }
    rounds(&mut world, 12, 120, one_is_busy);
    world.assert_all_run(&all);
    let last = counts(&world, 120);
    assert!(last[&NodeId(2)] < left[&NodeId(2)], "{left:?} {last:?}");
}

#[test]
fn a_process_that_keeps_any_node_busy_does_not_go_round() {
    let (mut world, all) = with_children(30);
    let hot = id("child-7");
    for _ in 0..200 {
        let on = world.runs_on(&hot)[0];
        rounds(
            &mut world,
            1,
            30,
            |node, _| if node == on { 1_000 } else { 0 },
        );
    }
    let moved = world.places.values().flat_map(|place| &place.events);
    let moved =
        moved.filter(|event| matches!(event, Event::Moving { process, .. } if *process == hot));
    assert!(moved.count() <= 200 / 30 + 1);
    world.assert_all_run(&all);
    assert_marked(&mut world, &all);
}

#[test]
fn nodes_that_leave_are_emptied_and_newcomers_are_given_some() {
    let (mut world, all) = with_children(90);
    rounds(&mut world, 1, 90, |_, _| 0);
    let before = moves(&world);
    world.join(4);
    world.settle();
    // Its shards came, and nothing moved for that.
    assert_eq!(moves(&world), before);
    rounds(&mut world, 10, 90, |_, processes| processes * 10);
    let given = counts(&world, 90);
    assert!(given[&NodeId(4)] > 3, "{given:?}");
    let timeout = Duration::from_secs(30);
    let request = world.command(3, Command::Leave { timeout });
    let answer = world.answer(3, request);
    assert!(matches!(answer, Answer::Evacuated { ref left, .. } if left.is_empty()));
    world.settle();
    world.assert_all_run(&all);
    assert_marked(&mut world, &all);
}

#[test]
fn replicas_stay_two_whatever_comes_and_goes() {
    let mut world = balanced(TWICE);
    rounds(&mut world, 2, 0, one_is_busy);
    world.start(1, children(60));
    world.settle();
    let check = |world: &World| {
        for child in children(60) {
            let place = world.places.values().next().expect("a node");
            let row = place.node.rows().get(&child.id).expect("a row");
            let hosts = row.hosts();
            let active = hosts.iter().filter(|host| host.role == Role::Active);
            assert_eq!(
                (hosts.len(), active.count()),
                (2, 1),
                "{} {hosts:?}",
                child.id
            );
            assert!(
                hosts
                    .iter()
                    .all(|host| world.places.contains_key(&host.node))
            );
        }
    };
    check(&world);
    world.join(4);
    rounds(&mut world, 12, 60, one_is_busy);
    check(&world);
    let timeout = Duration::from_secs(30);
    let request = world.command(3, Command::Leave { timeout });
    world.answer(3, request);
    world.settle();
    check(&world);
    world.kill(2);
    world.settle();
    check(&world);
}

fn guided(name: &str, nodes: &[&str]) -> Arc<ChildSpec> {
    let mut spec = ChildSpec::clone(&child(name));
    let names = nodes
        .iter()
        .map(|node| NodeName::new(node).expect("a name"));
    spec.placing = Placing::Pinned(names.collect());
    Arc::new(spec)
}

#[test]
fn a_guided_child_runs_where_it_was_said_and_nowhere_else() {
    let mut world = World::with(3, settings(Distribution::Guided, TWICE));
    let why = |world: &mut World, child| match world.start(1, Vec::from([child])) {
        Answer::Started { failed, .. } => failed.into_iter().map(|(_, why)| why).next(),
        answer => panic!("{answer:?}"),
    };
    assert_eq!(why(&mut world, child("x")), Some(Failure::Unguided));
    let twice = guided("x", &["node-1", "node-1"]);
    assert_eq!(why(&mut world, twice), Some(Failure::Nodes));
    assert_eq!(why(&mut world, guided("x", &[])), Some(Failure::Nodes));
    let (expected, found) = (2, 1);
    let few = Failure::Replicas { expected, found };
    assert_eq!(why(&mut world, guided("x", &["node-1"])), Some(few));
    let absent = Failure::UnknownNode(NodeName::new("z").expect("a name"));
    assert_eq!(why(&mut world, guided("x", &["node-1", "z"])), Some(absent));
    let children = [child("x")].into();
    let request = world.command(2, Command::Declare { children });
    assert_eq!(world.answer(2, request), Answer::Failed(Failure::Unguided));

    assert_eq!(why(&mut world, guided("x", &["node-2", "node-3"])), None);
    let request = world.command(
        1,
        Command::Pin {
            process: id("x"),
            placing: Placing::Strategy,
        },
    );
    assert_eq!(world.answer(1, request), Answer::Failed(Failure::Unguided));
    let roles = |world: &World| -> Vec<(NodeId, Role)> {
        let row = world.places[&NodeId(1)].node.rows().get(&id("x"));
        let row = row.expect("a row");
        let hosts = row.hosts().iter();
        hosts.map(|host| (host.node, host.role)).collect()
    };
    world.settle();
    let mut both = roles(&world);
    both.sort_unstable_by_key(|(node, _)| *node);
    assert_eq!(
        both,
        [(NodeId(2), Role::Active), (NodeId(3), Role::Passive)]
    );
    world.kill(2);
    world.settle();
    assert_eq!(roles(&world), [(NodeId(3), Role::Active)]);
    world.kill(3);
    world.settle();
    assert_eq!(roles(&world), []);
    // Another run of the node has its name.
    world.join(5);
    world.rename(5, "node-3");
    world.settle();
    assert_eq!(roles(&world), [(NodeId(5), Role::Active)]);
}
