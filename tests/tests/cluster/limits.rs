//! What cannot move stays, and serves.

use handover_tests::address::own_address;
use handover_tests::hub::{Node, Place, Record};
use handover_tests::patience::until;

use crate::{COUNTERS, LONG, judge, program, start_counters};

/// The name of a node, and what is not as usual there.
type Settings<'a> = (&'a str, &'a [(&'a str, &'a str)]);

/// Nodes with gossip, each with settings of its own.
fn nodes(record: &Record, settings: &[Settings<'_>]) -> Vec<Node> {
    let addresses: Vec<String> = settings.iter().map(|_| own_address().to_string()).collect();
    let engine = format!("gossip:{}", addresses.join(","));
    let start = |(address, (name, settings)): (&String, &Settings<'_>)| {
        let place = Place {
            name,
            address: address.clone(),
            record: record.path(),
            engine: engine.clone(),
            lease: None,
        };
        let mut command = program();
        command.envs(settings.iter().copied());
        Node::start(command, &place)
    };
    addresses.iter().zip(settings).map(start).collect()
}

fn host(node: &Node, id: &str) -> String {
    node.homes()[id].1.clone()
}

/// One that runs on this node, and is not this one.
fn another_on(node: &Node, name: &str, not: &str) -> String {
    let homes = node.homes().into_iter();
    let mut there = homes.filter(|(id, (_, host))| host == name && id != not);
    there.next().expect("it has several").0
}

#[test]
fn a_flood_of_calls_is_answered_while_its_process_moves() {
    const CALLS: u64 = 1_000;
    let record = Record::new();
    let nodes = nodes(&record, &[("a", &[]), ("b", &[]), ("c", &[])]);
    start_counters(&[&nodes[0], &nodes[1], &nodes[2]], &record);
    let before: u64 = nodes[0]
        .ask(&format!("add c0 {LONG}"))
        .parse()
        .expect("it counts");
    let flood: Vec<(&Node, u64)> = (0..CALLS)
        .flat_map(|_| nodes.iter())
        .map(|node| (node, node.request(&format!("add c0 {LONG}"))))
        .collect();
    for round in 0..6 {
        let to = ["a", "b", "c"][round % 3];
        if host(&nodes[0], "c0") != to {
            assert_eq!(nodes[0].ask(&format!("move c0 {to}")), "done");
        }
    }
    let mut values: Vec<u64> = flood
        .into_iter()
        .map(|(node, number)| node.answer(number).parse().expect("it counts"))
        .collect();
    values.sort_unstable();
    let expected: Vec<u64> = (before + 1..=before + 3 * CALLS).collect();
    assert_eq!(values, expected, "each call counted once");
    judge(&record.counts(), |_| false);
    let mut hosts: Vec<String> = record
        .counts()
        .into_iter()
        .map(|count| count.node)
        .collect();
    hosts.dedup();
    assert!(hosts.len() > 2, "it moved while it was called: {hosts:?}");
}

#[test]
fn a_state_that_is_too_large_stays_and_the_others_move() {
    let record = Record::new();
    let small: &[(&str, &str)] = &[("HUB_NODE_STATE_LIMIT", "100000")];
    let nodes = nodes(&record, &[("a", small), ("b", small)]);
    let [a, b] = nodes.as_slice() else {
        panic!("two");
    };
    start_counters(&[a, b], &record);
    assert_eq!(a.ask("large big 200000"), "done");
    let (from, to) = match host(a, "big").as_str() {
        "a" => ("a", "b"),
        _ => ("b", "a"),
    };
    assert_eq!(b.ask(&format!("add big {LONG}")), "1");
    let refused = a.ask(&format!("move big {to}"));
    assert!(refused.contains("at most 100000"), "{refused}");
    assert_eq!(b.ask(&format!("add big {LONG}")), "2");
    assert_eq!(host(b, "big"), from);
    let neighbour = another_on(a, from, "big");
    assert_eq!(a.ask(&format!("move {neighbour} {to}")), "done");
    judge(&record.counts(), |_| false);
}

#[test]
fn what_a_node_has_no_kind_for_stays_where_it_is() {
    let record = Record::new();
    let addresses: Vec<String> = (0..3).map(|_| own_address().to_string()).collect();
    let engine = format!("gossip:{}", addresses.join(","));
    let place = |name, number: usize| Place {
        name,
        address: addresses[number].clone(),
        record: record.path(),
        engine: engine.clone(),
        lease: None,
    };
    let a = Node::start(program(), &place("a", 0));
    let b = Node::start(program(), &place("b", 1));
    start_counters(&[&a, &b], &record);
    let mut command = program();
    command.env("HUB_NODE_KIND", "other");
    let c = Node::start(command, &place("c", 2));
    for node in [&a, &b, &c] {
        node.until_nodes(3);
    }
    until("it is the home of some", || {
        c.homes().values().any(|(home, _)| home == "c")
    });
    for node in [&a, &b, &c] {
        assert_eq!(node.count(COUNTERS, LONG), COUNTERS as usize);
    }
    let refused = b.ask("move c0 c");
    assert!(refused.contains("no such kind"), "{refused}");
    assert_eq!(c.count(COUNTERS, LONG), COUNTERS as usize);
    assert!(a.homes().values().all(|(_, host)| host != "c"));
    let counts = record.counts();
    judge(&counts, |_| false);
    let begun = counts.iter().filter(|count| count.value == 1).count();
    assert_eq!(begun, COUNTERS as usize, "none began anew");
}

#[test]
fn a_process_that_is_busy_for_longer_than_its_deadline_stays_and_its_neighbours_move_on() {
    let record = Record::new();
    let soon: &[(&str, &str)] = &[("HUB_NODE_DEADLINE", "1000")];
    let nodes = nodes(&record, &[("a", soon), ("b", soon), ("c", soon)]);
    let [a, b, c] = nodes.as_slice() else {
        panic!("three");
    };
    start_counters(&[a, b, c], &record);
    let id = another_on(a, "b", "");
    let neighbour = another_on(a, "b", &id);
    let before: u64 = c
        .ask(&format!("add {id} {LONG}"))
        .parse()
        .expect("it counts");
    let busy = c.request(&format!("sleep {id} 6000"));
    until("it is busy", || b.ask("sleeping") == "1");
    let late = a.request(&format!("move {id} c"));
    assert_eq!(a.ask(&format!("move {neighbour} c")), "done");
    let stayed = a.answer(late);
    assert!(stayed.contains("not at the target in time"), "{stayed}");
    assert_eq!(c.answer(busy), before.to_string());
    assert_eq!(c.ask(&format!("add {id} {LONG}")), (before + 1).to_string());
    assert_eq!(host(c, &id), "b");
    until("it moves when it is not busy", || {
        a.ask(&format!("move {id} c")) == "done"
    });
    assert_eq!(c.ask(&format!("add {id} {LONG}")), (before + 2).to_string());
    judge(&record.counts(), |_| false);
}
