//! The network is cut between nodes on devices of their own; an etcd is on a fourth one.

use std::net::Ipv4Addr;

use handover_hub::engine::Boottime;
use handover_tests::etcd::Etcd;
use handover_tests::hub::{Count, Node, Place, Record};
use handover_tests::network::{Device, Lan};
use handover_tests::peer::root;

use crate::{COUNTERS, LONG, judge, start_counters};

const LEASE: u32 = 3;
const ETCD: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 4);

fn start(device: &Device, record: &Record, name: &str, number: u8) -> Node {
    let place = Place {
        name,
        address: format!("192.168.77.{number}:7600"),
        record: record.path(),
        engine: format!("http://{ETCD}:2379"),
        lease: Some(LEASE),
    };
    let command = device.network().command(env!("CARGO_BIN_EXE_hub-node"));
    Node::start(command, &place)
}

fn begun(counts: &[Count]) -> usize {
    counts.iter().filter(|count| count.value == 1).count()
}

#[test]
fn one_of_three_is_cut_off_and_stands_still_while_the_others_go_on() {
    if !root() {
        return;
    }
    let lan = Lan::without_bridges(4);
    let [one, two, three, four] = lan.devices() else {
        panic!("four devices");
    };
    let Some(_etcd) = Etcd::start_in(four.network(), ETCD) else {
        return;
    };
    let record = Record::new();
    let a = start(one, &record, "a", 1);
    let b = start(two, &record, "b", 2);
    let c = start(three, &record, "c", 3);
    start_counters(&[&a, &b, &c], &record);
    three.network().ip(["link set eth0 down"]);
    c.until_suspended(true);
    let still = Boottime::now().0;
    a.until_nodes(2);
    for node in [&a, &b] {
        assert_eq!(node.count(COUNTERS, LONG), COUNTERS as usize);
    }
    assert_eq!(c.count(COUNTERS, 500), 0, "it stands still");
    let mended = Boottime::now().0;
    let before = record.counts();
    three.network().ip([
        "link set eth0 up",
        "route replace default via 192.168.77.254",
    ]);
    c.until_suspended(false);
    for node in [&a, &b, &c] {
        node.until_nodes(3);
        assert_eq!(node.count(COUNTERS, LONG), COUNTERS as usize);
    }
    let counts = record.counts();
    judge(&counts, |count| {
        count.node == "c" && count.moment > still && count.moment < mended
    });
    // What the others counted meanwhile goes on where it was: nothing begins anew by the healing.
    assert_eq!(begun(&counts), begun(&before));
}

#[test]
fn every_node_is_cut_off_from_etcd_and_from_each_other_and_nothing_begins_anew() {
    if !root() {
        return;
    }
    let lan = Lan::without_bridges(4);
    let [one, two, three, four] = lan.devices() else {
        panic!("four devices");
    };
    let Some(_etcd) = Etcd::start_in(four.network(), ETCD) else {
        return;
    };
    let record = Record::new();
    let a = start(one, &record, "a", 1);
    let b = start(two, &record, "b", 2);
    let c = start(three, &record, "c", 3);
    start_counters(&[&a, &b, &c], &record);
    for device in [one, two, three] {
        device.network().ip(["link set eth0 down"]);
    }
    for node in [&a, &b, &c] {
        node.until_suspended(true);
    }
    for device in [one, two, three] {
        device.network().ip(["link set eth0 up"]);
    }
    for node in [&a, &b, &c] {
        node.until_suspended(false);
        node.until_nodes(3);
    }
    assert_eq!(a.count(COUNTERS, LONG), COUNTERS as usize);
    let counts = record.counts();
    judge(&counts, |_| false);
    assert_eq!(begun(&counts), COUNTERS as usize, "one began anew");
}
