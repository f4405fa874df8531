use alloc::vec::Vec;
use core::time::Duration;

use super::world::{World, child, children, id};
use crate::node::{Answer, Command, Failure};
use crate::row::Rows;

fn stop(world: &mut World, node: u64, ids: &[&str]) -> Answer {
    let command = Command::Stop {
        processes: ids.iter().map(|text| id(text)).collect(),
        timeout: Duration::from_secs(10),
    };
    let request = world.command(node, command);
    world.answer(node, request)
}

#[test]
fn a_stopped_child_is_gone_everywhere() {
    let mut world = World::of(3);
    world.start(1, children(10));
    let Answer::Stopped { stopped, failed } = stop(&mut world, 2, &["child-3", "nobody"]) else {
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
