//! With gossip.

use handover_tests::address::own_address;
use handover_tests::hub::{Node, Place, Record};
use handover_tests::network::Lan;
use handover_tests::peer::root;
use rustix::process::Signal;

use crate::{
    COUNTERS, LONG, judge, program, start_counters, two_of_four_are_killed,
    until_one_of_each_is_left,
};

#[test]
fn a_node_is_killed_and_its_processes_start_again_elsewhere() {
    let record = Record::new();
    let addresses: Vec<String> = (0..3).map(|_| own_address().to_string()).collect();
    let seeds = format!("gossip:{}", addresses.join(","));
    let place = |name, number: usize| Place {
        name,
        address: addresses[number].clone(),
        record: record.path(),
        engine: seeds.clone(),
        lease: None,
    };
    let a = Node::start(program(), &place("a", 0));
    let b = Node::start(program(), &place("b", 1));
    let c = Node::start(program(), &place("c", 2));
    start_counters(&[&a, &b, &c], &record);
    c.signal(Signal::KILL);
    a.until_nodes(2);
    b.until_nodes(2);
    assert_eq!(a.count(COUNTERS, LONG), COUNTERS as usize);
    assert_eq!(b.count(COUNTERS, LONG), COUNTERS as usize);
    let places = record.places();
    assert!(places.values().all(|node| node != "c"), "{places:?}");
    judge(&record.counts(), |_| false);
}

#[test]
fn two_of_four_are_killed_in_the_same_moment_and_all_children_are_back() {
    let record = Record::new();
    let addresses: Vec<String> = (0..4).map(|_| own_address().to_string()).collect();
    let seeds = format!("gossip:{}", addresses.join(","));
    let start = |name, number: usize| {
        let place = Place {
            name,
            address: addresses[number].clone(),
            record: record.path(),
            engine: seeds.clone(),
            lease: None,
        };
        Node::start(program(), &place)
    };
    two_of_four_are_killed(
        &[start("a", 0), start("b", 1), start("c", 2), start("d", 3)],
        &record,
    );
}

#[test]
fn both_parts_of_a_divided_network_go_on_and_one_of_each_process_is_left_when_it_heals() {
    divided_and_healed(&[], |nodes| {
        for node in nodes {
            let told = node.ask("failures");
            assert!(!told.contains("panicked"), "{told}");
        }
    });
}

/// What the other copy was is dropped, and that is told.
#[test]
fn one_of_each_process_is_left_when_all_panic_at_their_merge() {
    divided_and_healed(&[("HUB_NODE_MERGE", "panics")], |nodes| {
        let told = nodes.iter().map(|node| node.ask("failures"));
        let told = told.collect::<Vec<_>>().join("; ");
        assert!(told.contains("panicked: merge breaks"), "{told}");
    });
}

fn divided_and_healed(environment: &[(&str, &str)], judge: impl FnOnce(&[&Node; 3])) {
    if !root() {
        return;
    }
    let lan = Lan::without_bridges(3);
    let record = Record::new();
    let address = |number: usize| format!("192.168.77.{number}:7600");
    let seeds = format!("gossip:{},{},{}", address(1), address(2), address(3));
    let start = |name, number: usize| {
        let place = Place {
            name,
            address: address(number),
            record: record.path(),
            engine: seeds.clone(),
            lease: None,
        };
        let network = lan.devices()[number - 1].network();
        let mut command = network.command(env!("CARGO_BIN_EXE_hub-node"));
        command.envs(environment.iter().copied());
        Node::start(command, &place)
    };
    let (a, b, c) = (start("a", 1), start("b", 2), start("c", 3));
    start_counters(&[&a, &b, &c], &record);
    let cut = lan.devices()[2].network();
    cut.ip(["link set eth0 down"]);
    a.until_nodes(2);
    b.until_nodes(2);
    c.until_nodes(1);
    assert_eq!(a.count(COUNTERS, LONG), COUNTERS as usize);
    assert_eq!(
        c.count(COUNTERS, LONG),
        COUNTERS as usize,
        "it goes on, too"
    );
    cut.ip(["link set eth0 up"]);
    for node in [&a, &b, &c] {
        node.until_nodes(3);
    }
    until_one_of_each_is_left(&[&a, &b, &c]);
    judge(&[&a, &b, &c]);
}
