//! Nodes of a hub in processes of their own: killed, stopped, cut off.

mod balance;
mod clocks;
mod crowd;
#[cfg(feature = "etcd")]
mod disk;
#[cfg(feature = "etcd")]
mod etcd;
mod evacuation;
mod gossip;
mod lasting;
mod limits;
mod moves;
mod oneway;
#[cfg(feature = "etcd")]
mod partitions;
#[cfg(feature = "etcd")]
mod replicas;
mod signals;
mod upgrade;
mod world;

use std::collections::BTreeMap;
use std::process::Command;

use handover_tests::etcd::mortal;
use handover_tests::hub::{Count, Node, Record};
use handover_tests::patience::until;
use rustix::process::Signal;

pub(crate) const COUNTERS: u32 = 60;
/// How long a call may take, in milliseconds: as long as a test waits for anything.
pub(crate) const LONG: u32 = 50_000;

pub(crate) fn program() -> Command {
    mortal(env!("CARGO_BIN_EXE_hub-node").as_ref())
}

/// Starts the counters and counts until every node has some.
pub(crate) fn start_counters(nodes: &[&Node], record: &Record) {
    for node in nodes {
        node.until_nodes(nodes.len());
    }
    assert_eq!(nodes[0].ask(&format!("start {COUNTERS}")), "done");
    until("every node has counters", || {
        for node in nodes {
            assert_eq!(node.count(COUNTERS, LONG), COUNTERS as usize);
        }
        let places = record.places();
        let mut names: Vec<&String> = places.values().collect();
        names.sort();
        names.dedup();
        names.len() == nodes.len()
    });
}

/// Kills the last two of these in the same moment.
pub(crate) fn two_of_four_are_killed(nodes: &[Node; 4], record: &Record) {
    let [a, b, c, d] = nodes;
    start_counters(&[a, b, c, d], record);
    let hosts = a.homes();
    let died = |id: &str| ["c", "d"].contains(&hosts[id].1.as_str());
    for dead in [c, d] {
        dead.signal(Signal::KILL);
    }
    for node in [a, b] {
        node.until_nodes(2);
        assert_eq!(node.count(COUNTERS, LONG), COUNTERS as usize);
    }
    until("every child runs once", || {
        a.processes() + b.processes() == COUNTERS as usize
    });
    let counts = record.counts();
    judge(&counts, |_| false);
    let anew: Vec<&str> = (0..)
        .zip(&counts)
        .filter(|(n, count)| count.value == 1 && *n >= COUNTERS)
        .map(|(_, count)| count.id.as_str())
        .collect();
    assert!(
        !anew.is_empty() && anew.iter().all(|id| died(id)),
        "{anew:?}"
    );
}

/// Each of these nodes counts on where the one before it stopped: there is one of each counter.
pub(crate) fn until_one_of_each_is_left(nodes: &[&Node]) {
    // All counters at once: a loaded machine takes its time for each answer.
    let values = |node: &&Node| -> Vec<u64> {
        let asked = (0..COUNTERS).map(|id| node.request(&format!("add c{id} {LONG}")));
        let asked: Vec<u64> = asked.collect();
        let value = |number| node.answer(number).parse().unwrap_or_default();
        asked.into_iter().map(value).collect()
    };
    until("one of each counter is left", || {
        let values: Vec<Vec<u64>> = nodes.iter().map(values).collect();
        let in_turn = |pair: &[Vec<u64>]| {
            let mut counters = pair[0].iter().zip(&pair[1]);
            counters.all(|(before, after)| *before > 0 && *after == before + 1)
        };
        values.windows(2).all(in_turn)
    });
}

/// Every epoch is one node's, and none is left for a lower one: nobody acted beside another.
pub(crate) fn judge_epochs(counts: &[Count]) {
    let mut last: BTreeMap<&str, &Count> = BTreeMap::new();
    for count in counts {
        let Some(before) = last.insert(&count.id, count) else {
            continue;
        };
        let same = count.epoch == before.epoch && count.node == before.node;
        assert!(
            same || count.epoch > before.epoch,
            "{before:?}, then {count:?}"
        );
    }
}

/// Nobody counted on its own after another node had gone on with the counter.
pub(crate) fn judge(counts: &[Count], never_after: impl Fn(&Count) -> bool) {
    let mut last: BTreeMap<&str, &Count> = BTreeMap::new();
    for count in counts {
        if let Some(before) = last.insert(&count.id, count) {
            let went_on = count.value == before.value + 1;
            let anew = count.value == 1 && count.node != before.node;
            assert!(went_on || anew, "{before:?}, then {count:?}");
        }
        assert!(!never_after(count), "{count:?}");
    }
}
