//! What a node tells hooks.

use alloc::vec::Vec;
use core::time::Duration;

use super::moves::{name, with_children};
use super::world::{World, child, children};
use crate::event::Event;
use crate::identity::NodeId;
use crate::node::{Answer, Command, Evacuation, StartOptions};

const TIME: Duration = Duration::from_secs(60);

fn take_events(world: &mut World, node: u64) -> Vec<Event> {
    let place = world.places.get_mut(&NodeId(node)).expect("it lives");
    core::mem::take(&mut place.events)
}

fn at(events: &[Event], what: impl Fn(&Event) -> bool) -> usize {
    let found = events.iter().position(what);
    found.unwrap_or_else(|| panic!("not among {events:?}"))
}

/// Every redistribution that begins ends, and moves are between.
#[test]
fn a_redistribution_is_over_when_its_moves_are() {
    let (mut world, _) = with_children(3, 120);
    for node in 1..=3 {
        let events = take_events(&mut world, node);
        let begins = at(&events, |event| *event == Event::Redistributing);
        assert!(begins < at(&events, |event| *event == Event::Settled));
    }
    world.join(4);
    world.settle();
    let mut moved = 0;
    for node in 1..=4 {
        let events = take_events(&mut world, node);
        let begins = at(&events, |event| *event == Event::Redistributing);
        let over = at(&events, |event| *event == Event::Settled);
        assert!(begins < over, "{node}");
        let moves = events.iter().enumerate();
        let moves = moves.filter(|(_, event)| matches!(event, Event::Moved { .. }));
        for (when, event) in moves {
            assert!(begins < when && when < over, "{node}: {event:?}");
            moved += 1;
        }
    }
    assert!(moved > 10, "{moved}");
    // A move that somebody asks for is no redistribution.
    let to = name("node-1");
    for number in 0..5 {
        let process = child(&alloc::format!("child-{number}")).id.clone();
        let to = to.clone();
        let request = world.command(2, Command::Move { process, to });
        world.answer(2, request);
    }
    let events = take_events(&mut world, 1);
    assert!(!events.contains(&Event::Settled), "{events:?}");
}

#[test]
fn a_node_that_is_emptied_says_so_once() {
    let (mut world, _) = with_children(3, 90);
    let evacuation = Evacuation::of(name("node-2"));
    let request = world.command(1, Command::Evacuate(evacuation));
    let Answer::Evacuated { moved, .. } = world.answer(1, request) else {
        panic!("not the answer of an evacuation");
    };
    let emptied = |event: &Event| matches!(event, Event::Emptied { .. });
    let events = take_events(&mut world, 2);
    let said: Vec<&Event> = events.iter().filter(|event| emptied(event)).collect();
    assert_eq!(said, [&Event::Emptied { moved, left: 0 }]);
    assert!(moved > 0);

    let request = world.command(3, Command::Leave { timeout: TIME });
    let Answer::Evacuated { moved, .. } = world.answer(3, request) else {
        panic!("not the answer of a leave");
    };
    let events = take_events(&mut world, 3);
    at(&events, |event| *event == Event::Emptied { moved, left: 0 });
    let events = take_events(&mut world, 1);
    assert!(!events.iter().any(emptied), "it was not emptied");
}

/// Children are asked to be started while their homes change: the next home is asked.
#[test]
fn a_start_that_is_passed_on_says_to_whom() {
    let mut forwarded = 0;
    for steps in 0..12 {
        let mut world = World::of(3);
        world.join(4);
        for _ in 0..steps * 20 {
            world.step();
        }
        take_events(&mut world, 1);
        let children = children(60);
        let options = StartOptions::default();
        let request = world.command(1, Command::Start { children, options });
        world.answer(1, request);
        for event in take_events(&mut world, 1) {
            if let Event::Forwarded { process, to } = event {
                forwarded += 1;
                assert!(world.members.contains_key(&to));
                assert_eq!(world.runs_on(&process).len(), 1);
            }
        }
    }
    assert!(forwarded > 0, "no start met a change of homes");
    let mut world = World::of(3);
    take_events(&mut world, 1);
    world.start(1, children(60));
    let still = take_events(&mut world, 1);
    let none = |event: &Event| !matches!(event, Event::Forwarded { .. });
    assert!(still.iter().all(none));
}
