//! With etcd: at no time do two nodes act for a process.

use handover_hub::engine::Boottime;
use handover_tests::address::own_address;
use handover_tests::etcd::{Etcd, Recipe};
use handover_tests::hub::{Node, Place, Record};
use rustix::process::Signal;

use crate::{COUNTERS, LONG, judge, judge_epochs, program, start_counters, two_of_four_are_killed};

const LEASE: u32 = 3;

fn start(etcd: &Etcd, record: &Record, name: &str) -> Node {
    let place = Place {
        name,
        address: own_address().to_string(),
        record: record.path(),
        engine: etcd.endpoints()[0].clone(),
        lease: Some(LEASE),
    };
    Node::start(program(), &place)
}

#[test]
fn a_node_is_killed_and_its_processes_start_again_elsewhere() {
    let Some(etcd) = Etcd::start(Recipe::default()) else {
        return;
    };
    let record = Record::new();
    let [a, b, c] = ["a", "b", "c"].map(|name| start(&etcd, &record, name));
    start_counters(&[&a, &b, &c], &record);
    c.signal(Signal::KILL);
    a.until_nodes(2);
    assert_eq!(a.count(COUNTERS, LONG), COUNTERS as usize);
    assert_eq!(b.count(COUNTERS, LONG), COUNTERS as usize);
    let places = record.places();
    assert!(places.values().all(|node| node != "c"), "{places:?}");
    judge(&record.counts(), |_| false);
}

#[test]
fn two_of_four_are_killed_in_the_same_moment_and_all_children_are_back() {
    let Some(etcd) = Etcd::start(Recipe::default()) else {
        return;
    };
    let record = Record::new();
    let nodes = ["a", "b", "c", "d"].map(|name| start(&etcd, &record, name));
    two_of_four_are_killed(&nodes, &record);
    judge_epochs(&record.counts());
}

#[test]
fn a_node_that_was_stopped_for_longer_than_its_lease_counts_nothing_that_others_took() {
    let Some(etcd) = Etcd::start(Recipe::default()) else {
        return;
    };
    let record = Record::new();
    let [a, b, c] = ["a", "b", "c"].map(|name| start(&etcd, &record, name));
    start_counters(&[&a, &b, &c], &record);
    // Calls that reach the node while it stands still are there when it goes on.
    c.signal(Signal::STOP);
    let stopped = Boottime::now().0;
    let waiting: Vec<u64> = (0..COUNTERS)
        .map(|number| a.request(&format!("add c{number} {LONG}")))
        .collect();
    a.until_nodes(2);
    for number in waiting {
        let answer = a.answer(number);
        assert!(answer.parse::<u64>().is_ok(), "{answer}");
    }
    let continued = Boottime::now().0;
    let taken = record.places();
    assert!(taken.values().all(|node| node != "c"), "{taken:?}");
    c.signal(Signal::CONT);
    c.until_suspended(false);
    for node in [&a, &b, &c] {
        node.until_nodes(3);
        assert_eq!(node.count(COUNTERS, LONG), COUNTERS as usize);
    }
    let counts = record.counts();
    judge(&counts, |count| {
        count.node == "c" && count.moment > stopped && count.moment < continued
    });
}

#[test]
fn etcd_is_down_for_longer_than_the_lease_and_every_count_goes_on_where_it_was() {
    let Some(mut etcd) = Etcd::start(Recipe::default()) else {
        return;
    };
    let record = Record::new();
    let [a, b, c] = ["a", "b", "c"].map(|name| start(&etcd, &record, name));
    start_counters(&[&a, &b, &c], &record);
    etcd.member(0).kill();
    for node in [&a, &b, &c] {
        node.until_suspended(true);
    }
    let before = record.counts().len();
    assert_eq!(a.count(COUNTERS, 500), 0);
    assert_eq!(record.counts().len(), before, "they stand still");
    etcd.member(0).start();
    for node in [&a, &b, &c] {
        node.until_suspended(false);
    }
    assert_eq!(a.count(COUNTERS, LONG), COUNTERS as usize);
    let counts = record.counts();
    let started = counts.iter().filter(|count| count.value == 1).count();
    assert_eq!(started, COUNTERS as usize, "none began anew");
    judge(&counts, |_| false);
}
