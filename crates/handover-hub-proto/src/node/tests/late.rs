//! Hosts that take their time to do what they are told.

use alloc::vec::Vec;
use core::time::Duration;

use super::world::{SHARDS, World, child, children, id};
use crate::identity::NodeId;
use crate::node::{Answer, Command};
use crate::placement::shard_of;
use crate::row::Rows;
use crate::spec::Placing;

fn lingers(world: &mut World, node: NodeId, lingers: bool) {
    let place = world.places.get_mut(&node).expect("it lives");
    match lingers {
        true => place.hosts.lingers = true,
        false => place.hosts.stop_now(),
    }
}

/// H2: whoever is told to end a process answers until it has, also for a home that comes after the
/// one that said so; and what was said to end ends for good.
#[test]
fn what_is_being_stopped_begins_nowhere_else_under_the_next_home() {
    for steps in (0..120).step_by(10) {
        let mut world = World::of(3);
        let all = children(30);
        world.start(1, all.clone());
        world.settle();
        let ran: Vec<_> = all.iter().map(|child| world.runs_on(&child.id)).collect();
        for node in 1..=3 {
            lingers(&mut world, NodeId(node), true);
        }
        let command = Command::Stop {
            processes: all.iter().map(|child| child.id.clone()).collect(),
            timeout: Duration::from_secs(60),
        };
        let request = world.command(1, command);
        for _ in 0..60 + steps {
            world.step();
        }
        // Some shards get another home.
        world.join(4);
        world.join(5);
        world.run(Duration::from_secs(8));
        for (child, ran) in all.iter().zip(&ran) {
            assert_eq!(world.runs_on(&child.id), *ran, "after {steps} steps");
        }
        // The must: they end, and whoever asked is told.
        for node in 1..=3 {
            lingers(&mut world, NodeId(node), false);
        }
        let answer = world.answer(1, request);
        assert!(matches!(answer, Answer::Stopped { failed, .. } if failed.is_empty()));
        world.settle();
        for child in &all {
            assert!(world.runs_on(&child.id).is_empty(), "after {steps} steps");
            for place in world.places.values() {
                assert!(place.node.rows().get(&child.id).is_none());
            }
        }
    }
}

/// Nobody is asked any more who wanted it stopped: it stays stopped where its home died over it.
#[test]
fn what_a_home_had_ended_before_it_died_stays_ended() {
    for steps in 0..60 {
        let mut world = World::of(4);
        world.start(1, children(40));
        world.settle();
        let rows = world.places[&NodeId(1)].node.rows();
        let elsewhere = |name: &alloc::string::String| {
            let home = world.owners[&shard_of(&id(name), SHARDS)].node;
            home != NodeId(1) && rows.get(&id(name)).is_some()
        };
        let names = (0..40).map(|n| alloc::format!("child-{n}"));
        let name = names.into_iter().find(elsewhere).expect("one of them");
        let host = world.runs_on(&id(&name))[0];
        // It runs on another node than its home.
        let command = Command::Move {
            process: id(&name),
            to: world.members[&NodeId(1)].name.clone(),
        };
        let request = world.command(2, command);
        world.answer(2, request);
        world.settle();
        assert_eq!(world.runs_on(&id(&name)), [NodeId(1)]);
        lingers(&mut world, NodeId(1), true);
        let stop = Command::Stop {
            processes: Vec::from([id(&name)]),
            timeout: Duration::from_secs(60),
        };
        world.command(host.0, stop);
        for _ in 0..100 + steps {
            world.step();
        }
        world.kill(host.0);
        world.run(Duration::from_secs(8));
        assert_eq!(world.runs_on(&id(&name)), [NodeId(1)]);
        lingers(&mut world, NodeId(1), false);
        world.settle();
        assert!(world.runs_on(&id(&name)).is_empty(), "after {steps} steps");
    }
}

/// H2: a node that leaves waits for what it leaves behind to stop, but not for ever; what has not
/// stopped by then stands still before others begin it.
#[test]
fn a_node_that_leaves_suspends_what_does_not_stop() {
    for lingering in [false, true] {
        let mut world = World::of(3);
        world.start(1, Vec::from([child("a")]));
        world.settle();
        let name = world.members[&NodeId(2)].name.clone();
        let command = Command::Pin {
            process: id("a"),
            placing: Placing::Pinned(Vec::from([name])),
        };
        let request = world.command(1, command);
        world.answer(1, request);
        world.settle();
        assert_eq!(world.runs_on(&id("a")), [NodeId(2)]);
        lingers(&mut world, NodeId(2), lingering);
        let timeout = Duration::from_secs(1);
        let request = world.command(2, Command::Leave { timeout });
        world.answer(2, request);
        while !world.places[&NodeId(2)].left {
            world.step();
        }
        let hosts = &world.places[&NodeId(2)].hosts;
        assert_eq!(hosts.suspended, u32::from(lingering));
        assert!(!hosts.answers(&id("a")));
    }
}
