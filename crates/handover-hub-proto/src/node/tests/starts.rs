use alloc::vec::Vec;
use core::time::Duration;

use super::world::{SHARDS, World, child, children, id};
use crate::identity::{NodeId, ShardId};
use crate::node::{Answer, Command, Failure, OnFailure, StartOptions};
use crate::row::Rows as _;

/// H8, H2.
#[test]
fn children_started_on_one_node_run_once_each_and_all_nodes_know() {
    let mut world = World::of(3);
    world.assert_settled();
    let all = children(300);
    let Answer::Started {
        started, failed, ..
    } = world.start(1, all.clone())
    else {
        panic!("not the answer of a start");
    };
    assert_eq!((started.len(), failed.len()), (300, 0));
    world.settle();
    world.assert_settled();
    world.assert_all_run(&all);
    world.assert_all_placed(&all);
}

#[test]
fn a_lone_node_starts_children_without_others() {
    let mut world = World::of(1);
    let all = children(10);
    let Answer::Started { started, .. } = world.start(1, all.clone()) else {
        panic!("not the answer of a start");
    };
    assert_eq!(started.len(), 10);
    world.assert_all_run(&all);
}

#[test]
fn starting_many_takes_few_messages() {
    let mut world = World::of(3);
    let before: usize = world.places.values().map(|place| place.messages).sum();
    world.start(1, children(10_000));
    let after: usize = world.places.values().map(|place| place.messages).sum();
    assert!(after - before < 600, "{} messages", after - before);
}

#[test]
fn a_child_that_runs_is_not_started_again_if_that_is_checked() {
    let mut world = World::of(3);
    world.start(1, Vec::from([child("a")]));
    let Answer::Started {
        started, failed, ..
    } = world.start(2, Vec::from([child("a")]))
    else {
        panic!("not the answer of a start");
    };
    assert!(started.is_empty());
    assert_eq!(failed, [(id("a"), Failure::AlreadyStarted(id("a")))]);
    let options = StartOptions {
        check_existing: false,
        ..StartOptions::default()
    };
    let children = Vec::from([child("a")]);
    let request = world.command(3, Command::Start { children, options });
    let Answer::Started {
        started, failed, ..
    } = world.answer(3, request)
    else {
        panic!("not the answer of a start");
    };
    assert_eq!((started.len(), failed.len()), (1, 0));
    world.assert_all_run(&[child("a")]);
}

#[test]
fn a_failure_rolls_the_others_back_if_asked() {
    let mut world = World::of(3);
    for place in world.places.values_mut() {
        place.hosts.broken.push(id("child-7"));
    }
    let options = StartOptions {
        on_failure: OnFailure::Rollback,
        ..StartOptions::default()
    };
    let all = children(20);
    let command = Command::Start {
        children: all.clone(),
        options,
    };
    let request = world.command(1, command);
    let Answer::Started {
        started,
        failed,
        rolled_back,
    } = world.answer(1, request)
    else {
        panic!("not the answer of a start");
    };
    assert!(rolled_back && started.is_empty());
    assert_eq!(failed.len(), 20);
    world.settle();
    assert!(all.iter().all(|child| world.runs_on(&child.id).is_empty()));
    assert_eq!(
        world
            .places
            .values()
            .map(|place| place.hosts.len())
            .sum::<usize>(),
        0
    );
}

#[test]
fn a_start_that_nobody_answers_times_out() {
    let mut world = World::of(2);
    for place in world.places.values_mut() {
        place.hosts.silent = true;
    }
    let Answer::Started {
        started, failed, ..
    } = world.start(1, Vec::from([child("a")]))
    else {
        panic!("not the answer of a start");
    };
    assert!(started.is_empty());
    assert_eq!(failed, [(id("a"), Failure::TimedOut)]);
}

#[test]
fn idle_nodes_say_nothing_but_digests() {
    let mut world = World::of(3);
    world.start(1, children(1000));
    world.settle();
    let before: usize = world.places.values().map(|place| place.messages).sum();
    world.run(Duration::from_secs(60));
    let after: usize = world.places.values().map(|place| place.messages).sum();
    // Four digests of each to two others, and as many answers, in a few messages each.
    assert!(
        after - before <= 4 * 3 * 2 * 4,
        "{} messages",
        after - before
    );
}

/// H8: what members say to a node whose engine has not shown it anybody is not heard, and said again.
#[test]
fn a_newcomer_knows_all_rows_soon_though_it_knew_nobody_when_it_was_told() {
    let mut world = World::of(3);
    let children = children(60);
    world.start(1, children.clone());
    world.settle();
    world.join(4);
    let place = world.places.get_mut(&NodeId(4)).expect("it joined");
    let mut known = core::mem::take(&mut place.engine);
    // Told, and not heard.
    world.run(Duration::from_millis(50));
    let place = world.places.get_mut(&NodeId(4)).expect("it is there");
    let rows = |shard| place.node.rows().count(ShardId(shard));
    assert_eq!((0..SHARDS).map(rows).sum::<usize>(), 0, "it hears nobody");
    known.append(&mut place.engine);
    place.engine = known;
    world.settle();
    world.assert_settled();
    world.assert_all_run(&children);
}
