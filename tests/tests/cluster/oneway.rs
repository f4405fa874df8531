//! The network carries what is sent in one direction only.

#[cfg(feature = "etcd")]
use std::collections::BTreeSet;
use std::path::Path;

use handover_tests::hub::{Node, Place, Record};
use handover_tests::network::{Device, Lan};
use handover_tests::patience::until;
use handover_tests::peer::{installed, root};

use crate::{COUNTERS, LONG, start_counters, until_one_of_each_is_left};

/// What a node sends is lost, or what it is sent, of or from these addresses.
fn cut(device: &Device, nft: &Path, hook: &str, of: &str) {
    let chain = format!("add chain ip cut way {{ type filter hook {hook} priority 0; }}");
    let rule = format!("add rule ip cut way ip {of} drop");
    device
        .network()
        .filter(nft, &["add table ip cut", &chain, &rule]);
}

fn mend(device: &Device, nft: &Path) {
    device.network().filter(nft, &["delete table ip cut"]);
}

fn start(device: &Device, record: &Record, name: &str, number: u8, engine: &str) -> Node {
    let place = Place {
        name,
        address: format!("192.168.77.{number}:7600"),
        record: record.path(),
        engine: engine.to_owned(),
        lease: engine.starts_with("http").then_some(3),
    };
    let command = device.network().command(env!("CARGO_BIN_EXE_hub-node"));
    Node::start(command, &place)
}

const SEEDS: &str = "gossip:192.168.77.1:7600,192.168.77.2:7600,192.168.77.3:7600";

/// Nothing moves: each counter is at its home, and each node is the home of some.
#[cfg(feature = "etcd")]
fn until_at_home(nodes: &[&Node]) {
    until("each counter is at its home", || {
        let homes = nodes[0].homes();
        let names: BTreeSet<&String> = homes.values().map(|(home, _)| home).collect();
        names.len() == nodes.len()
            && homes.values().all(|(home, host)| home == host)
            && nodes.iter().all(|node| node.homes() == homes)
    });
}

/// With etcd: mute, then deaf.
#[cfg(feature = "etcd")]
#[test]
fn a_node_that_is_not_heard_or_does_not_hear_stands_still_before_others_take_over() {
    use std::net::Ipv4Addr;

    use handover_hub::engine::Boottime;
    use handover_tests::etcd::Etcd;

    use crate::{judge, judge_epochs};

    const ETCD: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 4);
    let (true, Some(nft)) = (root(), installed("nft")) else {
        return;
    };
    let lan = Lan::without_bridges(4);
    let [one, two, three, four] = lan.devices() else {
        panic!("four devices");
    };
    let Some(_etcd) = Etcd::start_in(four.network(), ETCD) else {
        return;
    };
    let record = Record::new();
    let engine = format!("http://{ETCD}:2379");
    let a = start(one, &record, "a", 1, &engine);
    let b = start(two, &record, "b", 2, &engine);
    let c = start(three, &record, "c", 3, &engine);
    start_counters(&[&a, &b, &c], &record);
    until_at_home(&[&a, &b, &c]);
    assert_eq!(a.count(COUNTERS, LONG), COUNTERS as usize);
    for (hook, of) in [
        ("output", "daddr 192.168.77.0/24"),
        ("input", "saddr 192.168.77.0/24"),
        // Its own word reaches etcd, which keeps its lease alive for a while; no answer comes.
        ("input", "saddr 192.168.77.4"),
    ] {
        cut(three, &nft, hook, of);
        c.until_suspended(true);
        let still = Boottime::now().0;
        // Those that others run it may reach, its own it must not.
        c.count(COUNTERS, 500);
        a.until_nodes(2);
        for node in [&a, &b] {
            assert_eq!(node.count(COUNTERS, LONG), COUNTERS as usize);
        }
        let places = record.places();
        assert!(places.values().all(|node| node != "c"), "{places:?}");
        let counts = record.counts().into_iter();
        let acted = counts.filter(|count| count.node == "c" && count.moment > still);
        assert_eq!(acted.collect::<Vec<_>>(), [], "it stands still");
        mend(three, &nft);
        c.until_suspended(false);
        for node in [&a, &b, &c] {
            node.until_nodes(3);
        }
        until_at_home(&[&a, &b, &c]);
        assert_eq!(c.count(COUNTERS, LONG), COUNTERS as usize);
    }
    let counts = record.counts();
    judge(&counts, |_| false);
    judge_epochs(&counts);
    until_one_of_each_is_left(&[&a, &b, &c]);
}

#[test]
fn with_gossip_a_node_that_is_not_heard_is_held_for_dead_and_merges_when_it_is_heard() {
    let (true, Some(nft)) = (root(), installed("nft")) else {
        return;
    };
    let lan = Lan::without_bridges(3);
    let [one, two, three] = lan.devices() else {
        panic!("three devices");
    };
    let record = Record::new();
    let a = start(one, &record, "a", 1, SEEDS);
    let b = start(two, &record, "b", 2, SEEDS);
    let c = start(three, &record, "c", 3, SEEDS);
    start_counters(&[&a, &b, &c], &record);
    cut(three, &nft, "output", "daddr 192.168.77.0/24");
    a.until_nodes(2);
    b.until_nodes(2);
    for node in [&a, &b] {
        assert_eq!(node.count(COUNTERS, LONG), COUNTERS as usize);
    }
    mend(three, &nft);
    for node in [&a, &b, &c] {
        node.until_nodes(3);
    }
    until_one_of_each_is_left(&[&a, &b, &c]);
}

#[test]
fn with_gossip_two_that_do_not_reach_each_other_agree_when_they_do() {
    let (true, Some(nft)) = (root(), installed("nft")) else {
        return;
    };
    let lan = Lan::without_bridges(3);
    let [one, two, three] = lan.devices() else {
        panic!("three devices");
    };
    let record = Record::new();
    let a = start(one, &record, "a", 1, SEEDS);
    let b = start(two, &record, "b", 2, SEEDS);
    let c = start(three, &record, "c", 3, SEEDS);
    start_counters(&[&a, &b, &c], &record);
    cut(three, &nft, "input", "saddr 192.168.77.1");
    // The third does not hear the first: some of its calls have no answer.
    until("calls between them fail", || {
        a.count(COUNTERS, 500) < COUNTERS as usize
    });
    // Whoever reaches both is not held up.
    assert_eq!(b.count(COUNTERS, LONG), COUNTERS as usize);
    mend(three, &nft);
    for node in [&a, &b, &c] {
        node.until_nodes(3);
    }
    until_one_of_each_is_left(&[&a, &b, &c]);
}
