use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::moves::{assert_marked, with_children};
use super::world::{SHARDS, World, child, children, id};
use crate::event::Event;
use crate::identity::{Epoch, MoveId, NodeId, ProcessId};
use crate::message::{Item, Message};
use crate::migration::{Report, Word};
use crate::node::{Answer, Command, Failure, HostFailure, Input, Settings};
use crate::partition::Rule;
use crate::row::Rows;
use crate::spec::ChildSpec;
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

/// Of the first host of a child, as a node knows it.
fn epoch(world: &World, node: NodeId, child: &ProcessId) -> Epoch {
    let row = world.places[&node].node.rows().get(child);
    row.expect("a row").hosts()[0].epoch
}

/// Two nodes of which the second was held for dead and stands still, and then the first, which had taken
/// over what the second ran: that, and under which epochs.
fn both_stand_still(children: usize) -> (World, Vec<(ProcessId, Epoch)>) {
    let (mut world, all) = with_children(2, children);
    let (one, two) = (NodeId(1), NodeId(2));
    let mine = all.iter().map(|child| child.id.clone());
    let mine: Vec<_> = mine.filter(|id| world.runs_on(id) == [two]).collect();
    assert!(mine.len() > 3);
    world.input(two, Input::Engine(EngineEvent::Fenced));
    world.bury(2);
    world.settle();
    let seen = mine.into_iter().map(|id| {
        let seen = epoch(&world, one, &id);
        (id, seen)
    });
    let seen = seen.collect();
    world.input(one, Input::Engine(EngineEvent::Fenced));
    world.bury(1);
    (world, seen)
}

/// The second one is back.
fn second_goes_on(world: &mut World) {
    world.come_back(2);
    world.input(NodeId(2), Input::Engine(EngineEvent::Unfenced));
    world.run(Duration::from_secs(20));
}

/// H7: whoever took over what a fenced node ran is gone with all it granted; what goes on has a higher
/// epoch than any that can have been seen.
#[test]
fn what_stood_still_goes_on_above_all_that_an_unknown_home_granted() {
    let (mut world, mine) = both_stand_still(20);
    let two = NodeId(2);
    second_goes_on(&mut world);
    for (id, seen) in mine {
        assert!(world.runs_on(&id).contains(&two), "{id} does not answer");
        assert!(epoch(&world, two, &id) > seen, "{id}");
    }
}

/// H7: the same with a newcomer as the home, who knows of nobody before it, and passes on what it found.
#[test]
fn what_stood_still_goes_on_above_all_that_was_granted_before_a_newcomer_came() {
    let (mut world, mine) = both_stand_still(40);
    world.join(3);
    world.run(Duration::from_secs(5));
    second_goes_on(&mut world);
    for (id, seen) in mine {
        assert_eq!(world.runs_on(&id).len(), 1, "{id}");
        assert!(epoch(&world, NodeId(3), &id) > seen, "{id}");
    }
}

/// H9: a node that was alone acknowledged a start, and was held for dead before anybody heard of it.
#[test]
fn a_start_that_only_one_node_knows_is_kept_when_that_node_is_back() {
    let (mut world, mut all) = with_children(2, 20);
    let (one, two) = (NodeId(1), NodeId(2));
    world.input(two, Input::Engine(EngineEvent::Fenced));
    world.bury(2);
    world.settle();
    let late: Vec<_> = (0..10).map(|n| child(&format!("late-{n}"))).collect();
    world.start(1, late.clone());
    world.settle();
    world.input(one, Input::Engine(EngineEvent::Fenced));
    world.bury(1);
    world.come_back(2);
    world.input(two, Input::Engine(EngineEvent::Unfenced));
    world.run(Duration::from_secs(20));
    assert!(late.iter().all(|child| world.runs_on(&child.id).is_empty()));
    world.come_back(1);
    world.input(one, Input::Engine(EngineEvent::Unfenced));
    world.run(Duration::from_secs(20));
    all.extend(late);
    world.assert_all_run(&all);
}

/// A copy that ran apart and is not ready to move is not taken for one that has gone.
#[test]
fn a_copy_that_defers_a_move_nobody_makes_any_more_is_merged() {
    let settings = Settings {
        shards: SHARDS,
        ..Settings::default()
    };
    for steps in 0..40 {
        let mut world = World::with(2, settings.clone());
        let all = children(20);
        world.start(1, all.clone());
        world.settle();
        let two = NodeId(2);
        let on_two = |child: &&Arc<ChildSpec>| world.runs_on(&child.id) == [two];
        let process = all.iter().find(on_two).expect("one of 20").id.clone();
        let row = world.places[&two].node.rows().get(&process);
        let epoch = row.expect("a row").hosts()[0].epoch;
        world.bury(2);
        world.settle();
        assert_eq!(world.runs_on(&process).len(), 2, "it runs apart");
        world.come_back(2);
        for _ in 0..steps {
            world.step();
        }
        let attempt = MoveId {
            home: NodeId(1),
            number: 1_000,
        };
        let result = Err(HostFailure::Deferred);
        let report = Report {
            process: process.clone(),
            attempt,
            word: Word::Departed { epoch, result },
        };
        let items = Vec::from([Item::Reported(report)]);
        let message = Message { items };
        let heard = Input::Heard { from: two, message };
        world.input(NodeId(1), heard);
        world.run(Duration::from_secs(30));
        world.assert_all_run(&all);
    }
}

/// A cluster of three whose nodes held each other for dead, and one process that all three run.
fn with_three_copies() -> (World, Vec<Arc<ChildSpec>>, ProcessId) {
    let settings = Settings {
        shards: SHARDS,
        ..Settings::default()
    };
    let mut world = World::with(3, settings);
    let all = children(20);
    world.start(1, all.clone());
    world.settle();
    let mut apart = Vec::new();
    let on_two = |child: &&Arc<ChildSpec>| world.runs_on(&child.id) == [NodeId(2)];
    let process = all.iter().find(on_two).expect("one of 20").id.clone();
    for _ in 0..2 {
        let runs = world.runs_on(&process);
        let next = runs.iter().find(|node| !apart.contains(*node));
        let next = *next.expect("it was started again");
        world.bury(next.0);
        world.settle();
        apart.push(next);
    }
    let copies = world.runs_on(&process);
    assert_eq!(copies.len(), 3, "it runs apart");
    for (node, value) in copies.into_iter().zip([1, 10, 100]) {
        let place = world.places.get_mut(&node).expect("it lives");
        *place.hosts.value(&process).expect("it runs") = value;
    }
    for node in apart {
        world.come_back(node.0);
    }
    (world, all, process)
}

/// Whenever their home begins anew, copies that ran apart are merged, each once.
#[test]
fn three_copies_are_merged_whenever_their_home_begins_anew() {
    for steps in 0..60 {
        let (mut world, all, process) = with_three_copies();
        for _ in 0..steps {
            world.step();
        }
        let shard = crate::placement::shard_of(&process, SHARDS);
        let home = world.owners[&shard].node;
        world.anew(home, shard);
        world.run(Duration::from_secs(60));
        world.assert_all_run(&all);
        let host = world.runs_on(&process)[0];
        let place = world.places.get_mut(&host).expect("it lives");
        let value = place.hosts.value(&process).copied();
        assert_eq!(value, Some(111), "after {steps} steps");
    }
}

/// H7: a process is stopped of which copies run apart, since they could not be merged: all of them end.
#[test]
fn copies_that_could_not_be_merged_end_when_their_process_is_stopped() {
    for seconds in (0..120).step_by(4) {
        let (mut world, mut all, process) = with_three_copies();
        world.holds_states = true;
        world.run(Duration::from_secs(seconds));
        let timeout = Duration::from_secs(60);
        let processes = Vec::from([process.clone()]);
        let request = world.command(1, Command::Stop { processes, timeout });
        let answer = world.answer(1, request);
        assert!(matches!(answer, Answer::Stopped { .. }), "{answer:?}");
        world.run(Duration::from_secs(60));
        let left = world.runs_on(&process);
        assert!(left.is_empty(), "{left:?} after {seconds} s");
        world.holds_states = false;
        all.retain(|child| child.id != process);
        world.run(Duration::from_secs(120));
        world.assert_all_run(&all);
    }
}

/// H7: the same while their home begins anew: none of them is left frozen either.
#[test]
fn copies_that_are_being_merged_end_when_their_process_is_stopped_by_the_next_home() {
    for steps in 0..160 {
        let (mut world, mut all, process) = with_three_copies();
        for _ in 0..steps {
            world.step();
        }
        let shard = crate::placement::shard_of(&process, SHARDS);
        let home = world.owners[&shard].node;
        world.anew(home, shard);
        let timeout = Duration::from_secs(60);
        let processes = Vec::from([process.clone()]);
        let request = world.command(1, Command::Stop { processes, timeout });
        let answer = world.answer(1, request);
        assert!(matches!(answer, Answer::Stopped { .. }), "{answer:?}");
        world.run(Duration::from_secs(60));
        let places = world.places.iter_mut();
        let has = places.filter_map(|(at, place)| place.hosts.value(&process).map(|_| *at));
        let left: Vec<NodeId> = has.collect();
        assert_eq!(left, [], "after {steps} steps");
        all.retain(|child| child.id != process);
        world.assert_all_run(&all);
    }
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
