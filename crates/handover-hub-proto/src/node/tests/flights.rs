//! Moves in flight, as any node tells of them.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use handover_proto::moment::Machine;

use super::moves::{name, with_children};
use super::world::{World, id};
use crate::identity::{NodeId, ProcessId, RequestId};
use crate::message::{Item, Message};
use crate::node::{Answer, Command, FLIGHTS, Flight, Input, Ordered};
use crate::view::EngineEvent;

type Known = BTreeMap<NodeId, Option<Ordered>>;

fn ask(world: &mut World, node: u64) -> RequestId {
    world.command(node, Command::Moves { others: true })
}

fn known(answer: Answer) -> Known {
    match answer {
        Answer::Moves(all) => all.into_iter().collect(),
        other => panic!("not the answer of a look: {other:?}"),
    }
}

fn look(world: &mut World, node: u64) -> Known {
    let request = ask(world, node);
    known(world.answer(node, request))
}

/// Looks at the moves while nothing that one node says reaches the other.
fn look_past(world: &mut World, mute: u64, node: u64) -> Known {
    let request = ask(world, node);
    loop {
        world.wires.remove(&(NodeId(mute), NodeId(node)));
        let place = world.places.get_mut(&NodeId(node)).expect("it lives");
        if let Some(answer) = place.answers.remove(&request) {
            return known(answer);
        }
        assert!(world.step(), "no answer");
    }
}

fn of(known: &Known, node: u64) -> &Ordered {
    let told = known[&NodeId(node)].as_ref();
    told.unwrap_or_else(|| panic!("the moves of {node} are not known"))
}

/// Time passes, and no more of it than that.
fn pass(world: &mut World, time: Duration) {
    let end = world.now + time;
    loop {
        let mut places = world.places.values();
        let due = places.any(|place| place.node.next_deadline().is_some_and(|due| due <= end));
        let mut places = world.places.values();
        let heard = places.all(|place| place.engine.is_empty());
        if !due && heard && world.wires.values().all(|wire| wire.is_empty()) {
            world.now = end;
            return;
        }
        world.step();
    }
}

fn said(world: &World) -> usize {
    world.places.values().map(|place| place.messages).sum()
}

/// A child that runs at its home, which is this node.
fn at_home(world: &World, node: u64) -> ProcessId {
    let mut all = (0..).map(|n| id(&alloc::format!("child-{n}")));
    all.find(|child| world.runs_on(child) == [NodeId(node)])
        .expect("every node runs some")
}

#[test]
fn a_move_is_seen_from_a_node_that_has_no_part_in_it() {
    let (mut world, _) = with_children(3, 60);
    let child = at_home(&world, 1);
    world.holds_states = true;
    let (process, to) = (child.clone(), name("node-2"));
    let moves = world.command(1, Command::Move { process, to });
    pass(&mut world, Duration::from_secs(2));
    let seen = look(&mut world, 3);
    assert_eq!(seen.len(), 3);
    let flight = &of(&seen, 1).flights[0];
    assert_eq!(
        (&flight.process, flight.from, flight.to),
        (&child, NodeId(1), NodeId(2))
    );
    assert!(flight.elapsed_ms >= 2_000, "{flight:?}");
    assert_eq!(of(&seen, 1).in_flight, 1);
    assert_eq!(of(&seen, 2), &Ordered::default());
    assert_eq!(of(&seen, 3), &Ordered::default());

    world.holds_states = false;
    world.answer(1, moves);
    pass(&mut world, Duration::from_millis(600));
    let seen = look(&mut world, 3);
    let told = of(&seen, 1);
    assert_eq!((told.in_flight, told.moved, told.failed), (0, 1, 0));
    assert_eq!(told.flights, []);
    assert!(told.rate > 0 && told.last.is_some(), "{told:?}");
}

#[test]
fn a_move_that_failed_is_counted() {
    let (mut world, _) = with_children(3, 60);
    let process = at_home(&world, 1);
    world.holds_states = true;
    let to = name("node-2");
    let moves = world.command(1, Command::Move { process, to });
    let answer = world.answer(1, moves);
    assert!(matches!(answer, Answer::Failed(_)), "{answer:?}");
    let seen = look(&mut world, 3);
    assert_eq!((of(&seen, 1).failed, of(&seen, 1).moved), (1, 0));
}

#[test]
fn nothing_is_said_of_moves_while_nobody_looks() {
    let (mut world, _) = with_children(3, 60);
    pass(&mut world, Duration::from_secs(20));
    let minute = |world: &mut World| {
        let before = said(world);
        pass(world, Duration::from_secs(60));
        said(world) - before
    };
    let idle = minute(&mut world);
    let before = said(&world);
    look(&mut world, 3);
    // Two are asked, and answer.
    assert_eq!(said(&world) - before, 4);
    assert_eq!(minute(&mut world), idle);
}

#[test]
fn however_many_look_each_member_is_asked_twice_a_second() {
    let (mut world, _) = with_children(3, 30);
    let before = world.places[&NodeId(3)].messages;
    for _ in 0..40 {
        for _ in 0..10 {
            look(&mut world, 3);
        }
        pass(&mut world, Duration::from_millis(50));
    }
    // Two seconds, two members; and digests.
    let asked = world.places[&NodeId(3)].messages - before;
    assert!((8..=12).contains(&asked), "{asked}");
}

#[test]
fn a_member_that_says_nothing_is_named_and_waited_for_once() {
    let (mut world, _) = with_children(3, 30);
    let begun = world.now;
    let seen = look_past(&mut world, 2, 3);
    let waited = world.now.since(begun);
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
    assert!(waited < Duration::from_secs(2), "{waited:?}");
    assert_eq!(seen[&NodeId(2)], None);
    assert!(seen[&NodeId(1)].is_some() && seen[&NodeId(3)].is_some());

    pass(&mut world, Duration::from_millis(600));
    let begun = world.now;
    let seen = look_past(&mut world, 2, 3);
    assert!(world.now.since(begun) < Duration::from_millis(100));
    assert_eq!(seen[&NodeId(2)], None);

    // It is asked again, and known when it has answered.
    pass(&mut world, Duration::from_secs(1));
    look(&mut world, 3);
    pass(&mut world, Duration::from_millis(100));
    assert!(look(&mut world, 3)[&NodeId(2)].is_some());
}

#[test]
fn what_was_said_long_ago_is_not_known_any_more() {
    let (mut world, _) = with_children(3, 30);
    assert!(look(&mut world, 3)[&NodeId(2)].is_some());
    pass(&mut world, Duration::from_secs(1));
    assert!(look_past(&mut world, 2, 3)[&NodeId(2)].is_some());
    // The first answer is two seconds old by now.
    pass(&mut world, Duration::from_millis(1_200));
    assert_eq!(look_past(&mut world, 2, 3)[&NodeId(2)], None);
}

#[test]
fn a_member_that_goes_is_not_waited_for_and_not_told_of() {
    let (mut world, _) = with_children(3, 30);
    let request = ask(&mut world, 3);
    world.kill(2);
    let begun = world.now;
    let seen = known(world.answer(3, request));
    assert!(world.now.since(begun) < Duration::from_secs(1));
    assert_eq!(Vec::from_iter(seen.keys()), [&NodeId(1), &NodeId(3)]);
}

#[test]
fn only_what_was_asked_for_is_kept_and_no_more_than_fits() {
    let (mut world, _) = with_children(3, 30);
    let flight = |number: usize| Flight {
        process: id(&alloc::format!("lie-{number}")),
        from: NodeId(1),
        to: NodeId(2),
        elapsed_ms: u64::MAX,
    };
    let lie = |question| Item::ToldMoves {
        question,
        ordered: Ordered {
            in_flight: u64::MAX,
            flights: (0..1_000).map(flight).collect(),
            ..Ordered::default()
        },
    };
    let tell = |world: &mut World, from, question| {
        let items = Vec::from([lie(question)]);
        let (from, message) = (NodeId(from), Message { items });
        world.input(NodeId(3), Input::Heard { from, message });
    };
    for question in 0..100 {
        // Nobody looks, and 77 is no member.
        tell(&mut world, 2, question);
        tell(&mut world, 77, question);
    }
    let seen = look(&mut world, 3);
    assert_eq!(seen.len(), 3);
    assert_eq!(of(&seen, 2), &Ordered::default());
    pass(&mut world, Duration::from_secs(1));
    ask(&mut world, 3);
    for question in 0..100 {
        tell(&mut world, 2, question);
    }
    let seen = look(&mut world, 3);
    assert_eq!(of(&seen, 2).flights.len(), FLIGHTS);
    assert_eq!(of(&seen, 2).in_flight, u64::MAX);
}

#[test]
fn a_node_that_stands_still_asks_and_answers() {
    let (mut world, _) = with_children(3, 30);
    world.input(NodeId(2), Input::Engine(EngineEvent::Fenced));
    for node in [2, 3] {
        let seen = look(&mut world, node);
        assert!(seen.values().all(Option::is_some), "{seen:?}");
    }
}
