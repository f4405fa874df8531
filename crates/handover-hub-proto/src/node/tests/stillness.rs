use core::time::Duration;

use super::moves::{assert_marked, with_children};
use super::world::{SHARDS, World, child, children, id};
use crate::event::Event;
use crate::identity::NodeId;
use crate::node::{Answer, Command, Failure, Input, Settings};
use crate::partition::Rule;
use crate::view::EngineEvent;

/// H12: what stood still goes on when its home has confirmed it, and has lost nothing.
#[test]
fn a_node_that_was_fenced_for_a_while_goes_on_with_all_it_had() {
    let (mut world, all) = with_children(3, 60);
    let node = NodeId(2);
    let here = world.places[&node].hosts.answering();
    assert!(here > 5);
    world.input(node, Input::Engine(EngineEvent::Fenced));
    let answers = all
        .iter()
        .filter(|c| world.runs_on(&c.id).contains(&node))
        .count();
    assert_eq!(answers, 0);
    let command = Command::Stop {
        processes: [id("child-1")].into(),
        timeout: Duration::from_secs(5),
    };
    let request = world.command(2, command);
    let Answer::Failed(Failure::Suspended { .. }) = world.answer(2, request) else {
        panic!("a node that stands still takes no commands");
    };
    world.run(Duration::from_secs(30));
    world.input(node, Input::Engine(EngineEvent::Unfenced));
    world.settle();
    world.assert_settled();
    world.assert_all_run(&all);
    assert_marked(&mut world, &all);
}

/// H2, H7: the others took over what a fenced node ran; when it comes back it stops its copies.
#[test]
fn a_node_that_was_buried_while_it_was_fenced_stops_what_others_run() {
    let (mut world, all) = with_children(3, 60);
    let node = NodeId(2);
    world.input(node, Input::Engine(EngineEvent::Fenced));
    world.bury(2);
    world.settle();
    let elsewhere = all.iter().all(|c| !world.runs_on(&c.id).contains(&node));
    assert!(elsewhere);
    world.come_back(2);
    world.input(node, Input::Engine(EngineEvent::Unfenced));
    world.run(Duration::from_secs(20));
    world.assert_settled();
    world.assert_all_run(&all);
    world.assert_all_placed(&all);
}

#[test]
fn a_part_that_is_too_small_stands_still_until_others_come() {
    let settings = Settings {
        shards: SHARDS,
        partition: Rule::StaticQuorum {
            size: 2,
            startup_confirm: false,
        },
        ..Settings::default()
    };
    let mut world = World::with(3, settings);
    let all = children(30);
    world.start(1, all.clone());
    world.kill(2);
    world.settle();
    world.assert_all_run(&all);
    world.kill(3);
    world.settle();
    assert!(all.iter().all(|child| world.runs_on(&child.id).is_empty()));
    let suspended = |event: &Event| matches!(event, Event::Suspended { .. });
    assert!(world.places[&NodeId(1)].events.iter().any(suspended));
    world.join(4);
    world.run(Duration::from_secs(20));
    world.assert_settled();
    world.assert_all_run(&all);
}

#[test]
fn a_part_goes_on_when_it_is_said_to_be_all_there_is() {
    let settings = Settings {
        shards: SHARDS,
        partition: Rule::Majority {
            initial: 1,
            track_max: true,
        },
        ..Settings::default()
    };
    let mut world = World::with(3, settings);
    world.start(1, [child("a")].into());
    world.kill(2);
    world.kill(3);
    world.settle();
    assert!(world.runs_on(&id("a")).is_empty());
    let request = world.command(1, Command::ResetClusterSize { size: 1 });
    assert_eq!(world.answer(1, request), Answer::Done);
    world.run(Duration::from_secs(20));
    world.assert_all_run(&[child("a")]);
}
