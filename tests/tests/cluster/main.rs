//! Nodes of a hub in processes of their own: killed, stopped, cut off.

#[cfg(feature = "etcd")]
mod etcd;
mod gossip;
#[cfg(feature = "etcd")]
mod partitions;
#[cfg(feature = "etcd")]
mod replicas;

use std::collections::BTreeMap;
use std::process::Command;

use handover_tests::etcd::mortal;
use handover_tests::hub::{Count, Node, Record};
use handover_tests::patience::until;

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
