use alloc::vec::Vec;
use core::time::Duration;

use super::moves::{assert_marked, with_children};
use super::world::{SHARDS, World, child, children, id};
use crate::event::Event;
use crate::identity::NodeId;
use crate::node::{Answer, Command, Failure, Settings};
use crate::redundancy::{Factor, Model, Redundancy, Signal};
use crate::row::{Host, Role, Rows};
use crate::view::Guarantees;

fn declare(world: &mut World, node: u64, names: &[&str]) {
    let children = names.iter().map(|name| child(name)).collect();
    let request = world.command(node, Command::Declare { children });
    assert_eq!(world.answer(node, request), Answer::Done);
    world.settle();
}

#[test]
fn declared_children_run_as_long_as_they_are_on_the_list() {
    let mut world = World::of(3);
    world.start(1, [child("other")].into());
    declare(&mut world, 2, &["a", "b", "c"]);
    for name in ["a", "b", "c", "other"] {
        assert_eq!(world.runs_on(&id(name)).len(), 1, "{name}");
    }
    declare(&mut world, 3, &["b", "d"]);
    for (name, runs) in [("a", 0), ("b", 1), ("c", 0), ("d", 1), ("other", 1)] {
        assert_eq!(world.runs_on(&id(name)).len(), runs, "{name}");
    }
    // One that ends by itself is started again; a node that joins later knows the list.
    let host = world.runs_on(&id("d"))[0];
    world
        .places
        .get_mut(&host)
        .expect("it lives")
        .hosts
        .end(&id("d"));
    world.run(Duration::from_secs(20));
    assert_eq!(world.runs_on(&id("d")).len(), 1);
    world.join(4);
    world.settle();
    for node in [1, 2, 3] {
        world.kill(node);
    }
    world.run(Duration::from_secs(20));
    assert_eq!(world.runs_on(&id("b")), [NodeId(4)]);
    assert_eq!(world.runs_on(&id("d")), [NodeId(4)]);
    assert!(world.runs_on(&id("a")).is_empty());
}

/// A list that is too long for one message comes to all as a whole, and to who joins, or missed it.
#[test]
fn a_long_list_is_declared_in_parts() {
    let mut world = World::of(2);
    let children = children(3_000);
    let request = world.command(
        2,
        Command::Declare {
            children: children.clone(),
        },
    );
    assert_eq!(world.answer(2, request), Answer::Done);
    world.settle();
    world.assert_all_run(&children);
    world.join(3);
    world.settle();
    for place in world.places.values() {
        assert_eq!(place.node.declared().0, 1);
        assert_eq!(place.node.declared().1.len(), children.len());
    }
    // Those that are not on the next one end, all others go on.
    let (fewer, over) = children.split_at(2_500);
    let request = world.command(
        3,
        Command::Declare {
            children: fewer.to_vec(),
        },
    );
    assert_eq!(world.answer(3, request), Answer::Done);
    world.settle();
    world.assert_all_run(fewer);
    assert!(over.iter().all(|child| world.runs_on(&child.id).is_empty()));
}

/// Who is asked for a process tells what its home knows, and waits for a home that does not know yet.
#[test]
fn a_process_is_located_by_its_home() {
    let mut world = World::of(3);
    let children = children(60);
    world.start(1, children.clone());
    world.settle();
    // Its homes take their census when they are asked.
    world.kill(1);
    world.join(4);
    let timeout = Duration::from_secs(30);
    let mut requests = Vec::new();
    for child in children.iter().map(|child| child.id.clone()) {
        let process = child.clone();
        requests.push((
            child,
            world.command(4, Command::Locate { process, timeout }),
        ));
    }
    for (child, request) in requests {
        let Answer::Located(hosts) = world.answer(4, request) else {
            panic!("{child} is not known");
        };
        assert!(
            hosts
                .iter()
                .all(|host| world.places.contains_key(&host.node))
        );
    }
    let process = id("nobody");
    let request = world.command(4, Command::Locate { process, timeout });
    let answer = world.answer(4, request);
    assert_eq!(answer, Answer::Failed(Failure::Unknown(id("nobody"))));
}

fn replicated(model: Model, state: bool) -> World {
    let settings = Settings {
        shards: SHARDS,
        guarantees: Guarantees {
            exclusive: true,
            lease: None,
        },
        redundancy: Redundancy::Replicated {
            factor: Factor::Nodes(2),
            model,
            signal: Signal::default(),
            state,
        },
        ..Settings::default()
    };
    World::with(3, settings)
}

fn assert_replicas(world: &World, count: usize, actives: usize) {
    let hosts: Vec<_> = (0..count)
        .map(|at| {
            let place = world.places.values().next().expect("a node");
            let row = place.node.rows().get(&id(&alloc::format!("child-{at}")));
            row.expect("a row").hosts().to_vec()
        })
        .collect();
    for (at, hosts) in hosts.iter().enumerate() {
        assert_eq!(hosts.len(), 2, "child-{at}: {hosts:?}");
        let active = hosts
            .iter()
            .filter(|host| host.role == Role::Active)
            .count();
        assert_eq!(active, actives, "child-{at}: {hosts:?}");
        assert!(hosts.iter().all(|host| host.filled), "{hosts:?}");
        for host in hosts {
            let place = &world.places[&host.node];
            assert!(place.hosts.answers(&id(&alloc::format!("child-{at}"))));
        }
    }
    let running: usize = world.places.values().map(|place| place.hosts.len()).sum();
    assert_eq!(running, 2 * count);
}

/// H9: with replicas, whoever dies or joins, each child has as many again.
#[test]
fn replicas_are_made_up_for_when_nodes_die_and_join() {
    for (model, actives) in [(Model::ActiveActive, 2), (Model::ActivePassive, 1)] {
        let mut world = replicated(model, model == Model::ActivePassive);
        world.start(1, children(60));
        world.settle();
        assert_replicas(&world, 60, actives);
        world.kill(2);
        world.run(Duration::from_secs(20));
        assert_replicas(&world, 60, actives);
        world.assert_settled();
        world.join(4);
        world.run(Duration::from_secs(20));
        assert_replicas(&world, 60, actives);
        world.join(5);
        world.run(Duration::from_secs(20));
        assert_replicas(&world, 60, actives);
        world.assert_settled();
        world.kill(1);
        world.run(Duration::from_secs(20));
        assert_replicas(&world, 60, actives);
    }
}

fn hosts(world: &World, count: usize) -> Vec<Vec<Host>> {
    let place = world.places.values().next().expect("a node");
    let rows = place.node.rows();
    let all = (0..count).map(|at| rows.get(&id(&alloc::format!("child-{at}"))));
    all.map(|row| row.expect("a row").hosts().to_vec())
        .collect()
}

fn lost(world: &World) -> usize {
    let events = world.places.values().flat_map(|place| &place.events);
    let lost = events.filter(|event| matches!(event, Event::Lost { .. }));
    lost.count()
}

/// What the active replicas and those that were sent it have.
const STATE: u64 = 7;

/// H3: a replica that does not have the state yet is not made the active one while another has it,
/// nor does another go for it, nor does its node leave.
#[test]
fn a_replica_counts_once_it_has_the_state() {
    for (leaves, dies) in [(false, 1), (false, 2), (false, 3), (true, 1), (true, 2)] {
        let mut world = replicated(Model::ActivePassive, true);
        world.start(1, children(60));
        world.settle();
        assert_replicas(&world, 60, 1);
        world.holds_fills = true;
        world.join(4);
        if leaves {
            let timeout = Duration::from_secs(3600);
            world.command(3, Command::Leave { timeout });
        }
        world.run(Duration::from_secs(5));
        let before = hosts(&world, 60);
        let unfilled = before.iter().flatten().filter(|host| !host.filled).count();
        assert!(unfilled > 0, "the test must have something to see");
        for hosts in &before {
            let filled = hosts.iter().filter(|host| host.filled).count();
            assert!(filled >= 2, "{hosts:?}");
        }
        for (at, hosts) in before.iter().enumerate() {
            for host in hosts.iter().filter(|host| host.filled) {
                let place = world.places.get_mut(&host.node).expect("it lives");
                let id = id(&alloc::format!("child-{at}"));
                *place.hosts.value(&id).expect("it runs there") = STATE;
            }
        }
        assert!(world.members.contains_key(&NodeId(3)));
        world.kill(dies);
        world.run(Duration::from_secs(20));
        for (at, hosts) in hosts(&world, 60).iter().enumerate() {
            let actives: Vec<_> = hosts.iter().filter(|h| h.role == Role::Active).collect();
            assert_eq!(actives.len(), 1, "{hosts:?}");
            let place = world.places.get_mut(&actives[0].node).expect("it lives");
            let id = id(&alloc::format!("child-{at}"));
            assert_eq!(place.hosts.value(&id), Some(&mut { STATE }), "{hosts:?}");
        }
        assert_eq!(lost(&world), 0);
        world.holds_fills = false;
        world.run(Duration::from_secs(60));
        assert_replicas(&world, 60, 1);
        world.assert_settled();
        assert_eq!(world.members.contains_key(&NodeId(3)), dies != 3 && !leaves);
    }
}

/// Where no replica is left that has the state, one begins as after a loss, and that is told.
#[test]
fn a_loss_is_told() {
    let mut world = replicated(Model::ActivePassive, true);
    world.holds_fills = true;
    world.start(1, children(60));
    world.run(Duration::from_secs(5));
    let active_on_2 = |hosts: &Vec<Host>| {
        hosts
            .iter()
            .any(|host| host.node == NodeId(2) && host.role == Role::Active)
    };
    let active = hosts(&world, 60)
        .iter()
        .filter(|hosts| active_on_2(hosts))
        .count();
    assert!(active > 0);
    world.kill(2);
    world.run(Duration::from_secs(5));
    assert_eq!(lost(&world), active);
    world.holds_fills = false;
    world.run(Duration::from_secs(60));
    assert_replicas(&world, 60, 1);
    world.assert_settled();
}

/// A passive replica is made the active one where the active one should not be any more, and the
/// node that leaves goes.
#[test]
fn replicas_change_places_when_a_node_leaves() {
    let mut world = replicated(Model::ActivePassive, true);
    world.start(1, children(60));
    world.settle();
    let answered = |world: &World| {
        let rows = world.places[&NodeId(1)].node.rows();
        let hosts = (0..60).map(|at| rows.get(&id(&alloc::format!("child-{at}"))));
        let active = hosts.filter_map(|row| row.and_then(|row| row.active()));
        active.filter(|host| host.node == NodeId(3)).count()
    };
    assert!(answered(&world) > 0);
    let timeout = Duration::from_secs(20);
    let request = world.command(3, Command::Leave { timeout });
    let Answer::Evacuated { moved, left } = world.answer(3, request) else {
        panic!("it does not leave");
    };
    assert_eq!(left, []);
    assert!(moved > 0);
    world.run(Duration::from_secs(20));
    assert!(!world.members.contains_key(&NodeId(3)));
    assert_replicas(&world, 60, 1);
    world.assert_settled();
}

/// The successor of a node's program on the same host goes on with all it had.
#[test]
fn a_node_is_handed_to_its_successor() {
    let (mut world, all) = with_children(3, 60);
    assert!(world.places[&NodeId(2)].node.is_quiet());
    world.succeed(2);
    world.settle();
    world.assert_settled();
    world.assert_all_run(&all);
    assert_marked(&mut world, &all);
    let more: Vec<_> = children(90).split_off(60);
    world.start(2, more.clone());
    world.settle();
    world.assert_all_run(&more);
    world.join(4);
    world.settle();
    world.assert_settled();
    world.assert_all_run(&all);
    assert_marked(&mut world, &all);
}
