use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::world::{SHARDS, World, child, children, id};
use crate::identity::{NodeId, NodeName, ProcessId};
use crate::node::{Answer, Command, Failure, Input, Settings};
use crate::row::Rows;
use crate::spec::Placing;
use crate::view::{EngineEvent, Guarantees};

fn stop(world: &mut World, node: u64, ids: &[ProcessId]) -> Answer {
    let command = Command::Stop {
        processes: ids.to_vec(),
        timeout: Duration::from_secs(10),
    };
    let request = world.command(node, command);
    world.answer(node, request)
}

#[test]
fn a_stopped_child_is_gone_everywhere() {
    let mut world = World::of(3);
    world.start(1, children(10));
    let Answer::Stopped { stopped, failed } = stop(&mut world, 2, &[id("child-3"), id("nobody")])
    else {
        panic!("not the answer of a stop");
    };
    assert_eq!(stopped.len(), 1);
    assert_eq!(failed, [(id("nobody"), Failure::Unknown(id("nobody")))]);
    world.settle();
    assert!(world.runs_on(&id("child-3")).is_empty());
    for place in world.places.values() {
        assert!(place.node.rows().get(&id("child-3")).is_none());
        assert!(place.node.rows().get(&id("child-4")).is_some());
    }
}

#[test]
fn a_child_that_ends_by_itself_is_forgotten_everywhere() {
    let mut world = World::of(3);
    world.start(1, Vec::from([child("a")]));
    world.settle();
    let host = world.runs_on(&id("a"))[0];
    world
        .places
        .get_mut(&host)
        .expect("it lives")
        .hosts
        .end(&id("a"));
    world.settle();
    for place in world.places.values() {
        assert!(place.node.rows().get(&id("a")).is_none());
    }
}

/// H9: every child that was acknowledged comes back after any two nodes die in one moment.
#[test]
fn all_children_come_back_after_two_of_four_nodes_die() {
    for (one, other) in [(1, 2), (1, 3), (2, 4), (3, 4)] {
        let mut world = World::of(4);
        let all = children(200);
        world.start(1, all.clone());
        world.kill(one);
        world.kill(other);
        world.settle();
        world.assert_settled();
        world.assert_all_run(&all);
    }
}

/// H9: also while the acknowledged row is in two copies only.
#[test]
fn an_acknowledged_child_comes_back_whenever_its_node_dies() {
    for steps in 0..40 {
        let mut world = World::of(3);
        let all = children(20);
        world.start(1, all.clone());
        for _ in 0..steps {
            world.step();
        }
        world.kill(1);
        world.settle();
        world.assert_settled();
        world.assert_all_run(&all);
        world.kill(2);
        world.settle();
        world.assert_all_run(&all);
    }
}

/// Whenever its home dies, each child that was to be started has one answer.
#[test]
fn a_start_has_one_answer_whenever_a_home_dies() {
    for steps in 0..120 {
        let mut world = World::of(3);
        let options = crate::node::StartOptions::default();
        let all = children(20);
        let command = Command::Start {
            children: all.clone(),
            options,
        };
        let request = world.command(1, command);
        for _ in 0..steps {
            world.step();
        }
        world.kill(2);
        let Answer::Started {
            started, failed, ..
        } = world.answer(1, request)
        else {
            panic!("not the answer of a start");
        };
        assert_eq!(failed, Vec::new(), "after {steps} steps");
        assert_eq!(started.len(), 20, "after {steps} steps");
        world.settle();
        world.assert_all_run(&all);
    }
}

/// What was lost with a connection is said again.
#[test]
fn broken_connections_lose_nothing() {
    for steps in (0..200).step_by(7) {
        let mut world = World::of(3);
        let all = children(50);
        let command = Command::Start {
            children: all.clone(),
            options: crate::node::StartOptions::default(),
        };
        let request = world.command(1, command);
        for _ in 0..steps {
            world.step();
        }
        world.cut(1, 2);
        world.cut(1, 3);
        world.cut(2, 3);
        let Answer::Started {
            started, failed, ..
        } = world.answer(1, request)
        else {
            panic!("not the answer of a start");
        };
        assert_eq!(
            (started.len(), failed),
            (50, Vec::new()),
            "after {steps} steps"
        );
        world.settle();
        world.assert_settled();
        world.assert_all_run(&all);
    }
}

/// Three nodes with children that are pinned to node 2, which was cut off with all of them.
fn cut_off(ends_kept: Duration) -> (World, Vec<ProcessId>) {
    let settings = Settings {
        shards: SHARDS,
        guarantees: Guarantees {
            exclusive: true,
            lease: Some(Duration::from_secs(10)),
        },
        ends_kept,
        ..Settings::default()
    };
    let mut world = World::with(3, settings);
    let mut all = children(40);
    for child in &mut all {
        let node = NodeName::new("node-2").expect("a name");
        Arc::make_mut(child).placing = Placing::Pinned([node].into());
    }
    world.start(1, all.clone());
    world.settle();
    let all: Vec<_> = all.iter().map(|child| child.id.clone()).collect();
    for process in &all {
        assert_eq!(world.runs_on(process), [NodeId(2)]);
    }
    world.input(NodeId(2), Input::Engine(EngineEvent::Fenced));
    world.bury(2);
    world.settle();
    (world, all)
}

fn come_back(world: &mut World) {
    world.come_back(2);
    world.input(NodeId(2), Input::Engine(EngineEvent::Unfenced));
    world.run(Duration::from_secs(40));
    world.assert_settled();
}

fn running(world: &World, among: &[ProcessId]) -> usize {
    let runs = among.iter().map(|process| world.runs_on(process).len());
    runs.sum()
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[test]
fn a_child_stopped_while_a_node_was_away_that_ran_it_stays_stopped() {
    let (mut world, all) = cut_off(DAY);
    let Answer::Stopped { stopped, .. } = stop(&mut world, 1, &all) else {
        panic!("not the answer of a stop");
    };
    assert_eq!(stopped.len(), all.len());
    come_back(&mut world);
    assert_eq!(running(&world, &all), 0);
    // The must: a home that has forgotten the end takes what comes back for what was lost.
    let (mut world, all) = cut_off(Duration::ZERO);
    stop(&mut world, 1, &all);
    world.run(Duration::from_secs(40));
    come_back(&mut world);
    assert!(running(&world, &all) > 0);
}

/// Whoever joined since, and decides by now, was told with the rows.
#[test]
fn a_stopped_child_stays_stopped_whoever_is_its_home_by_then() {
    let (mut world, all) = cut_off(DAY);
    stop(&mut world, 1, &all);
    for (joins, dies) in [(4, 1), (5, 3)] {
        world.join(joins);
        world.settle();
        world.kill(dies);
        world.settle();
    }
    world.succeed(4);
    come_back(&mut world);
    assert_eq!(running(&world, &all), 0);
}

#[test]
fn a_child_that_was_started_again_runs_once_when_an_old_host_is_back() {
    let (mut world, all) = cut_off(DAY);
    stop(&mut world, 1, &all);
    let again: Vec<_> = all.iter().map(|id| child(id.as_str())).collect();
    world.start(3, again.clone());
    come_back(&mut world);
    world.assert_all_run(&again);
}

/// All who knew of the children are dead but the node that runs them, which is away: whoever stops
/// one is told that nobody knows it, and it stays stopped all the same.
#[test]
fn a_child_that_nobody_knows_is_stopped_where_it_comes_back() {
    let (mut world, all) = cut_off(DAY);
    world.kill(1);
    world.kill(3);
    world.join(4);
    world.settle();
    let (unwanted, wanted) = all.split_at(20);
    let Answer::Stopped { failed, .. } = stop(&mut world, 4, unwanted) else {
        panic!("not the answer of a stop");
    };
    assert_eq!(failed.len(), unwanted.len());
    come_back(&mut world);
    assert_eq!(running(&world, unwanted), 0);
    assert_eq!(running(&world, wanted), wanted.len());
}
