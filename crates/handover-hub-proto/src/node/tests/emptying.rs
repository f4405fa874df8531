use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::moves::{assert_marked, mark, name, with_children};
use super::world::{World, children};
use crate::identity::NodeId;
use crate::node::{Answer, Command, Evacuation, Failure, Input, StartOptions, Staying};
use crate::spec::{ChildSpec, Placing};
use crate::view::EngineEvent;

const TIME: Duration = Duration::from_secs(60);

fn leave(world: &mut World, node: u64) -> Answer {
    let request = world.command(node, Command::Leave { timeout: TIME });
    world.answer(node, request)
}

fn evacuate(world: &mut World, node: u64, to: &[&str], rate: Option<u32>) -> Answer {
    let evacuation = Evacuation {
        to: to.iter().map(|text| name(text)).collect(),
        rate,
        ..Evacuation::of(name(&alloc::format!("node-{node}")))
    };
    let request = world.command(1, Command::Evacuate(evacuation));
    world.answer(1, request)
}

fn runs_on_of(world: &World, all: &[Arc<ChildSpec>], node: u64) -> usize {
    let runs = |child: &&Arc<ChildSpec>| world.runs_on(&child.id).contains(&NodeId(node));
    all.iter().filter(runs).count()
}

/// H3.
#[test]
fn a_node_that_leaves_takes_nothing_with_it() {
    let (mut world, all) = with_children(3, 300);
    let here = runs_on_of(&world, &all, 2);
    let Answer::Evacuated { moved, left } = leave(&mut world, 2) else {
        panic!("not the answer of a leave");
    };
    assert_eq!((moved, left.len()), (here as u64, 0));
    world.settle();
    assert!(!world.places.contains_key(&NodeId(2)));
    world.assert_settled();
    world.assert_all_run(&all);
    world.assert_all_placed(&all);
    assert_marked(&mut world, &all);
}

/// H3: also while children are being started.
#[test]
fn a_node_that_leaves_while_children_are_started_takes_nothing_with_it() {
    for steps in (0..200).step_by(19) {
        let (mut world, all) = with_children(3, 40);
        let more: Vec<_> = children(140).split_off(40);
        let command = Command::Start {
            children: more.clone(),
            options: StartOptions::default(),
        };
        let started = world.command(1, command);
        for _ in 0..steps {
            world.step();
        }
        let left = world.command(2, Command::Leave { timeout: TIME });
        let Answer::Evacuated { left, .. } = world.answer(2, left) else {
            panic!("not the answer of a leave");
        };
        assert!(left.is_empty(), "{left:?}");
        let Answer::Started { failed, .. } = world.answer(1, started) else {
            panic!("not the answer of a start");
        };
        assert_eq!(failed, []);
        world.settle();
        world.assert_settled();
        world.assert_all_run(&all);
        world.assert_all_run(&more);
        assert_marked(&mut world, &all);
    }
}

#[test]
fn the_last_node_leaves_what_it_has_behind() {
    let (mut world, _) = with_children(1, 5);
    let Answer::Evacuated { moved, left } = leave(&mut world, 1) else {
        panic!("not the answer of a leave");
    };
    assert_eq!((moved, left.len()), (0, 5));
}

#[test]
fn all_nodes_leave_one_after_the_other() {
    let (mut world, all) = with_children(4, 100);
    for node in [3, 1, 4] {
        let Answer::Evacuated { left, .. } = leave(&mut world, node) else {
            panic!("not the answer of a leave");
        };
        assert_eq!(left, []);
        world.settle();
        world.assert_all_run(&all);
        assert_marked(&mut world, &all);
    }
}

/// H9: a node that leaves hears at once that the others have died and that another one has come: that
/// one takes everything.
#[test]
fn the_last_that_leaves_waits_for_whom_it_hears_of_with_the_deaths_of_others() {
    let (mut world, all) = with_children(3, 60);
    world.kill(1);
    world.kill(3);
    let request = world.command(2, Command::Leave { timeout: TIME });
    world.join(4);
    let Answer::Evacuated { left, .. } = world.answer(2, request) else {
        panic!("not the answer of a leave");
    };
    assert_eq!(left, []);
    world.settle();
    world.assert_all_run(&all);
}

#[test]
fn an_evacuated_node_stays_empty_until_that_is_aborted() {
    let (mut world, all) = with_children(3, 200);
    let Answer::Evacuated { left, .. } = evacuate(&mut world, 3, &[], None) else {
        panic!("not the answer of an evacuation");
    };
    assert_eq!(left, []);
    world.run(TIME);
    assert_eq!(runs_on_of(&world, &all, 3), 0);
    world.assert_settled();
    world.assert_all_run(&all);
    let node = name("node-3");
    let request = world.command(2, Command::AbortEvacuation { node });
    assert_eq!(world.answer(2, request), Answer::Done);
    world.settle();
    assert!(runs_on_of(&world, &all, 3) > 40);
    world.assert_settled();
    assert_marked(&mut world, &all);
}

#[test]
fn an_evacuation_goes_where_it_is_told() {
    let (mut world, all) = with_children(4, 200);
    let before = runs_on_of(&world, &all, 1) + runs_on_of(&world, &all, 4);
    evacuate(&mut world, 1, &["node-4"], None);
    world.run(TIME);
    // What went there stays there; shards of node 1 are owned by all others.
    assert_eq!(runs_on_of(&world, &all, 4), before);
    assert_marked(&mut world, &all);
}

#[test]
fn an_evacuation_keeps_to_its_rate() {
    let (mut world, all) = with_children(3, 300);
    let evacuation = Evacuation {
        rate: Some(10),
        ..Evacuation::of(name("node-2"))
    };
    let here = runs_on_of(&world, &all, 2);
    world.command(1, Command::Evacuate(evacuation));
    world.run(Duration::from_secs(5));
    let gone = here - runs_on_of(&world, &all, 2);
    assert!((30..=70).contains(&gone), "{gone} of {here} went in 5 s");
    assert_marked(&mut world, &all);
    mark(&mut world, &all);
}

/// What is pinned to a node that is evacuated serves on there, and its asker hears why.
#[test]
fn what_is_pinned_to_an_evacuated_node_stays() {
    let (mut world, all) = with_children(3, 30);
    let process = all[0].id.clone();
    let placing = Placing::Pinned(Vec::from([name("node-2")]));
    let request = world.command(1, Command::Pin { process, placing });
    assert_eq!(world.answer(1, request), Answer::Done);
    world.settle();
    let Answer::Evacuated { left, .. } = evacuate(&mut world, 2, &[], None) else {
        panic!("not the answer of an evacuation");
    };
    let pinned = Failure::Stays(Staying::Pinned);
    assert_eq!(left, [(all[0].id.clone(), pinned)]);
    world.settle();
    assert_eq!(runs_on_of(&world, &all, 2), 1);
    assert_marked(&mut world, &all);
}

/// What a node that stands still was told is said to it again afterwards.
#[test]
fn an_evacuation_asked_of_a_node_that_stands_still_is_carried_out_once_it_goes_on() {
    let (mut world, all) = with_children(3, 60);
    let here = runs_on_of(&world, &all, 2);
    assert!(here > 5);
    world.input(NodeId(2), Input::Engine(EngineEvent::Fenced));
    let evacuation = Evacuation::of(name("node-2"));
    let request = world.command(1, Command::Evacuate(evacuation));
    world.run(Duration::from_secs(5));
    assert!(!world.places[&NodeId(1)].answers.contains_key(&request));
    world.input(NodeId(2), Input::Engine(EngineEvent::Unfenced));
    let Answer::Evacuated { moved, left } = world.answer(1, request) else {
        panic!("not the answer of an evacuation");
    };
    assert_eq!((moved, left.len()), (here as u64, 0));
    world.settle();
    assert_eq!(runs_on_of(&world, &all, 2), 0);
    assert_marked(&mut world, &all);
}

/// An evacuation that was ended by another node is not begun anew by its asker, who has not heard of
/// its end and asks again.
#[test]
fn an_evacuation_that_was_ended_is_not_begun_again() {
    let (mut world, all) = with_children(3, 60);
    let evacuation = Evacuation {
        rate: Some(1),
        ..Evacuation::of(name("node-2"))
    };
    let request = world.command(1, Command::Evacuate(evacuation));
    world.run(Duration::from_secs(5));
    let node = name("node-2");
    let ended = world.command(3, Command::AbortEvacuation { node });
    assert_eq!(world.answer(3, ended), Answer::Done);
    let Answer::Evacuated { left, .. } = world.answer(1, request) else {
        panic!("not the answer of an evacuation");
    };
    assert!(left.len() > 1);
    let aborted = |(_, why): &(_, Failure)| *why == Failure::Stays(Staying::Aborted);
    assert!(left.iter().all(aborted), "{left:?}");
    world.run(Duration::from_secs(60));
    world.assert_settled();
    assert!(runs_on_of(&world, &all, 2) > 5);
    assert_marked(&mut world, &all);
}

/// H3: a node that has said what it leaves behind takes nothing any more, also what is pinned to it.
#[test]
fn what_is_pinned_to_a_node_that_leaves_does_not_end_with_it() {
    for steps in (0..200).step_by(3) {
        let (mut world, all) = with_children(3, 20);
        let left = world.command(2, Command::Leave { timeout: TIME });
        for _ in 0..steps {
            world.step();
        }
        if !world.places.contains_key(&NodeId(2)) {
            break;
        }
        for child in &all {
            let command = Command::Pin {
                process: child.id.clone(),
                placing: Placing::Pinned(Vec::from([name("node-2")])),
            };
            world.command(1, command);
        }
        let Answer::Evacuated { left, .. } = world.answer(2, left) else {
            panic!("not the answer of a leave");
        };
        let left: Vec<_> = left.into_iter().map(|(process, _)| process).collect();
        world.settle();
        for child in &all {
            let process = child.id.clone();
            let placing = Placing::Strategy;
            world.command(1, Command::Pin { process, placing });
        }
        world.settle();
        world.assert_all_run(&all);
        for (at, child) in all.iter().enumerate() {
            let host = world.runs_on(&child.id)[0];
            let place = world.places.get_mut(&host).expect("it lives");
            let value = *place.hosts.value(&child.id).expect("it runs here");
            let kept = value == at as u64 + 1 || left.contains(&child.id);
            assert!(kept, "{} after {steps} steps", child.id);
        }
    }
}

/// Whoever waited for it is told what is left when the time is over, and it goes on.
#[test]
fn an_evacuation_goes_on_after_its_time() {
    let (mut world, all) = with_children(3, 300);
    let evacuation = Evacuation {
        rate: Some(10),
        timeout: Duration::from_secs(2),
        ..Evacuation::of(name("node-2"))
    };
    let here = runs_on_of(&world, &all, 2);
    let request = world.command(1, Command::Evacuate(evacuation));
    let Answer::Failed(Failure::StillEmptying { node, left }) = world.answer(1, request) else {
        panic!("it was told to take 2 s, and takes more");
    };
    assert_eq!(node, name("node-2"));
    let left = usize::try_from(left).unwrap();
    assert!((here / 2..here).contains(&left), "{left} of {here}");
    world.run(TIME);
    assert_eq!(runs_on_of(&world, &all, 2), 0);
    world.assert_all_run(&all);
    assert_marked(&mut world, &all);
}

#[test]
fn an_evacuation_that_nobody_took_is_not_said_to_go_on() {
    let (mut world, all) = with_children(3, 60);
    world.input(NodeId(2), Input::Engine(EngineEvent::Fenced));
    let evacuation = Evacuation {
        timeout: Duration::from_secs(2),
        ..Evacuation::of(name("node-2"))
    };
    let request = world.command(1, Command::Evacuate(evacuation));
    let late = world.answer(1, request);
    assert_eq!(late, Answer::Failed(Failure::TimedOut));
    // Nor is the end of one waited for longer than of any other command.
    let node = name("node-2");
    let request = world.command(1, Command::AbortEvacuation { node });
    world.run(TIME + Duration::from_secs(5));
    let late = world.places[&NodeId(1)].answers.get(&request);
    assert_eq!(late, Some(&Answer::Failed(Failure::TimedOut)));
    world.input(NodeId(2), Input::Engine(EngineEvent::Unfenced));
    world.settle();
    world.assert_all_run(&all);
}
