use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::world::{SHARDS, World, children, id};
use crate::event::Event;
use crate::identity::{NodeId, NodeName, ProcessId};
use crate::node::{Answer, Command, Failure};
use crate::placement;
use crate::row::Rows;
use crate::spec::{ChildSpec, Placing};

pub(crate) fn name(text: &str) -> NodeName {
    NodeName::new(text).expect("a name")
}

/// Gives every child a value of its own, so that a state that was lost is seen.
pub(crate) fn mark(world: &mut World, all: &[Arc<ChildSpec>]) {
    for (at, child) in all.iter().enumerate() {
        let host = world.runs_on(&child.id)[0];
        let place = world.places.get_mut(&host).expect("it lives");
        *place.hosts.value(&child.id).expect("it runs here") = at as u64 + 1;
    }
}

pub(crate) fn assert_marked(world: &mut World, all: &[Arc<ChildSpec>]) {
    for (at, child) in all.iter().enumerate() {
        let host = world.runs_on(&child.id)[0];
        let place = world.places.get_mut(&host).expect("it lives");
        let value = *place.hosts.value(&child.id).expect("it runs here");
        assert_eq!(value, at as u64 + 1, "{}", child.id);
    }
}

pub(crate) fn with_children(nodes: u64, count: usize) -> (World, Vec<Arc<ChildSpec>>) {
    let mut world = World::of(nodes);
    let all = children(count);
    world.start(1, all.clone());
    world.settle();
    mark(&mut world, &all);
    (world, all)
}

/// H8, H3: what moves keeps its state, and nothing else moves.
#[test]
fn a_node_that_joins_gets_its_share_with_all_states() {
    let (mut world, all) = with_children(3, 400);
    world.join(4);
    world.settle();
    world.assert_settled();
    world.assert_all_run(&all);
    world.assert_all_placed(&all);
    assert_marked(&mut world, &all);
    let moved = world.places[&NodeId(4)].hosts.len();
    assert!((60..140).contains(&moved), "{moved} of 400 moved");
}

/// Its engine may say who is there later than they speak to it (H9).
#[test]
fn a_node_that_is_spoken_to_before_it_knows_anybody_has_all_rows_soon() {
    let (mut world, all) = with_children(3, 200);
    world.join(4);
    let newcomer = NodeId(4);
    let mut later = VecDeque::new();
    let end = world.now + Duration::from_millis(300);
    while world.now < end {
        let place = world.places.get_mut(&newcomer).expect("it lives");
        later.append(&mut place.engine);
        assert!(world.step());
    }
    let place = world.places.get_mut(&newcomer).expect("it lives");
    let knows = |child: &ProcessId| place.node.rows().get(child).is_some();
    assert!(!all.iter().any(|child| knows(&child.id)));
    later.append(&mut place.engine);
    place.engine = later;
    world.settle();
    world.assert_settled();
    world.assert_all_placed(&all);
}

/// However many move, few stand still at any moment, and while they do the others answer.
#[test]
fn few_stand_still_while_many_move() {
    let mut settings = World::of(1).settings;
    settings.moves.still = 2;
    let mut world = World::with(3, settings);
    let all = children(200);
    world.start(1, all.clone());
    world.settle();
    let from = |child: &Arc<ChildSpec>| world.runs_on(&child.id)[0];
    let from: Vec<NodeId> = all.iter().map(from).collect();
    world.join(4);
    let members: Vec<_> = world.members.values().cloned().collect();
    let homes = placement::homes(&members, SHARDS);
    let to = |child: &ChildSpec| homes[usize::from(placement::shard_of(&child.id, SHARDS).0)];
    let (end, mut most) = (world.now + Duration::from_secs(3), 0);
    while world.now < end && world.step() {
        let answers = |process| world.places.values().any(|p| p.hosts.answers(process));
        let mut still = BTreeMap::<(NodeId, NodeId), usize>::new();
        let stopped = all.iter().zip(&from).filter(|(c, _)| !answers(&c.id));
        stopped.for_each(|(child, from)| *still.entry((*from, to(child))).or_default() += 1);
        assert!(still.values().all(|count| *count <= 2), "{still:?}");
        most = still.into_values().fold(most, usize::max);
        // No state arrives before all is heard that was said: whoever is to depart stands still.
        world.holds_states = world.wires.values().any(|queue| !queue.is_empty());
    }
    assert_eq!(most, 2);
    world.assert_settled();
    world.assert_all_placed(&all);
}

#[test]
fn a_child_is_moved_by_hand_and_stays_there() {
    let (mut world, all) = with_children(3, 20);
    let process = id("child-5");
    let host = world.runs_on(&process)[0];
    let to = NodeId(host.0 % 3 + 1);
    let command = Command::Move {
        process: process.clone(),
        to: name(&alloc::format!("node-{}", to.0)),
    };
    let request = world.command(2, command);
    let Answer::Moved { node, .. } = world.answer(2, request) else {
        panic!("not the answer of a move");
    };
    assert_eq!(node, to);
    world.run(Duration::from_secs(40));
    assert_eq!(world.runs_on(&process), [to]);
    assert_marked(&mut world, &all);
    // Until the members change.
    world.join(4);
    world.settle();
    world.assert_all_placed(&all);
    assert_marked(&mut world, &all);
}

/// H10.
#[test]
fn a_child_that_defers_holds_up_no_other_and_moves_when_it_is_ready() {
    let (mut world, all) = with_children(3, 200);
    for place in world.places.values_mut() {
        place.hosts.busy = all.iter().map(|child| child.id.clone()).take(20).collect();
    }
    world.join(4);
    world.settle();
    world.assert_settled();
    world.assert_all_run(&all);
    world.assert_all_placed(&all[20..]);
    let late: Vec<_> = all[..20]
        .iter()
        .filter(|child| !world.runs_on(&child.id).contains(&NodeId(4)))
        .cloned()
        .collect();
    assert!(!late.is_empty());
    assert_marked(&mut world, &all);
    let deferred = |event: &Event| matches!(event, Event::Deferred { .. });
    assert!(world.places[&NodeId(4)].events.iter().any(deferred));
    // One says that it is ready.
    for place in world.places.values_mut() {
        place.hosts.busy.retain(|busy| *busy != all[3].id);
    }
    let process = all[3].id.clone();
    let request = world.command(2, Command::ReadyToMove { process });
    world.answer(2, request);
    world.run(Duration::from_secs(1));
    world.assert_all_placed(&all[3..4]);
    // The others are moved without being asked when their time is over.
    world.run(Duration::from_secs(620));
    world.assert_all_placed(&all);
    assert_marked(&mut world, &all);
}

/// H5.
#[test]
fn a_child_whose_target_cannot_run_it_serves_where_it_was() {
    let (mut world, all) = with_children(3, 50);
    world.join(4);
    let place = world.places.get_mut(&NodeId(4)).expect("it lives");
    place.hosts.refuses_moves = true;
    world.settle();
    world.assert_settled();
    world.assert_all_run(&all);
    assert_marked(&mut world, &all);
    assert_eq!(world.places[&NodeId(4)].hosts.answering(), 0);
    let place = world.places.get_mut(&NodeId(4)).expect("it lives");
    place.hosts.refuses_moves = false;
    world.run(Duration::from_secs(30));
    world.assert_all_placed(&all);
    assert_marked(&mut world, &all);
}

/// H2, H3: the home, the source or the target dies at any step of a join.
#[test]
fn whoever_dies_during_a_join_every_child_runs_once() {
    for victim in [1, 2, 4] {
        for steps in (0..400).step_by(9) {
            let (mut world, all) = with_children(3, 60);
            world.join(4);
            for _ in 0..steps {
                world.step();
            }
            world.kill(victim);
            world.run(Duration::from_secs(20));
            world.assert_settled();
            world.assert_all_run(&all);
            if victim == 4 {
                // It took some states with it, but nothing that was still elsewhere.
                world.assert_all_placed(&all);
            }
        }
    }
}

/// H2, H5: the home has told others that the target has the process, and dies before it tells the
/// target, which is the next home: the process returns to its source, and is listed nowhere else.
#[test]
fn a_decision_that_only_bystanders_heard_is_taken_back_as_a_whole() {
    for at in 0..60 {
        let (mut world, all) = with_children(4, 60);
        let child = &all[at].id;
        let home = world.runs_on(child)[0];
        let shard = placement::shard_of(child, SHARDS);
        let others: Vec<_> = world.members.values().cloned().collect();
        let others: Vec<_> = others.into_iter().filter(|m| m.id != home).collect();
        let target = placement::homes(&others, SHARDS)[usize::from(shard.0)];
        let bystanders = others.iter().map(|member| member.id);
        let mut bystanders = bystanders.filter(|node| *node != target);
        let (source, bystander) = (bystanders.next().expect("one"), bystanders.next());
        let bystander = bystander.expect("another one");
        let move_to = |node: NodeId| Command::Move {
            process: child.clone(),
            to: world.members[&node].name.clone(),
        };
        let (away, back) = (move_to(source), move_to(target));
        world.command(home.0, away);
        world.settle();
        assert_eq!(world.runs_on(child), [source]);
        world.command(home.0, back);
        let lists = |world: &World, node: NodeId| {
            let row = world.places[&node].node.rows().get(child);
            row.and_then(|row| row.active().map(|host| host.node)) == Some(target)
        };
        while !lists(&world, bystander) {
            assert!(world.step());
            if lists(&world, home) {
                world.wires.remove(&(home, target));
            }
        }
        assert!(!world.runs_on(child).contains(&target));
        world.kill(home.0);
        world.run(Duration::from_secs(20));
        world.assert_settled();
        world.assert_all_run(&all);
        let place = world.places.get_mut(&world.runs_on(child)[0]);
        let value = place.and_then(|place| place.hosts.value(child).copied());
        assert_eq!(value, Some(at as u64 + 1), "{child}");
    }
}

#[test]
fn connections_that_break_during_a_join_lose_nothing() {
    for steps in (0..600).step_by(13) {
        let (mut world, all) = with_children(3, 60);
        world.join(4);
        for _ in 0..steps {
            world.step();
        }
        world.cut(1, 4);
        world.cut(2, 4);
        world.cut(1, 2);
        world.run(Duration::from_secs(30));
        world.assert_settled();
        world.assert_all_run(&all);
        world.assert_all_placed(&all);
        assert_marked(&mut world, &all);
    }
}

/// Homes change again while processes are on their way.
#[test]
fn two_nodes_that_join_one_after_the_other_get_their_share() {
    for steps in (0..500).step_by(17) {
        let (mut world, all) = with_children(2, 60);
        world.join(3);
        for _ in 0..steps {
            world.step();
        }
        world.join(4);
        world.run(Duration::from_secs(30));
        world.assert_settled();
        world.assert_all_run(&all);
        world.assert_all_placed(&all);
        assert_marked(&mut world, &all);
    }
}

#[test]
fn a_pinned_child_runs_where_it_is_pinned_and_nowhere_else() {
    let (mut world, all) = with_children(3, 10);
    let process = id("child-2");
    let placing = Placing::Pinned(Vec::from([name("node-3")]));
    let command = Command::Pin {
        process: process.clone(),
        placing,
    };
    let request = world.command(1, command);
    assert_eq!(world.answer(1, request), Answer::Done);
    world.settle();
    assert_eq!(world.runs_on(&process), [NodeId(3)]);
    assert_marked(&mut world, &all);
    let command = Command::Move {
        process: process.clone(),
        to: name("node-1"),
    };
    let request = world.command(1, command);
    let Answer::Failed(Failure::NotMoved { serves, .. }) = world.answer(1, request) else {
        panic!("a pinned child does not move");
    };
    assert_eq!(serves, NodeId(3));
    world.kill(3);
    world.settle();
    assert!(world.runs_on(&process).is_empty());
    world.join(5);
    world.rename(5, "node-3");
    world.settle();
    assert_eq!(world.runs_on(&process), [NodeId(5)]);
}

#[test]
fn moves_by_hand_that_cannot_be_are_refused() {
    let (mut world, _) = with_children(2, 3);
    let ask = |world: &mut World, process: &str, to: &str| {
        let command = Command::Move {
            process: id(process),
            to: name(to),
        };
        let request = world.command(1, command);
        world.answer(1, request)
    };
    let answer = ask(&mut world, "child-1", "nobody");
    assert_eq!(answer, Answer::Failed(Failure::UnknownNode(name("nobody"))));
    let answer = ask(&mut world, "nothing", "node-1");
    assert_eq!(answer, Answer::Failed(Failure::Unknown(id("nothing"))));
}
