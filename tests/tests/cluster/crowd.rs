//! A hundred thousand processes cost ten times what ten thousand cost, not a hundred times.

use std::time::Duration;

use handover_tests::address::own_address;
use handover_tests::hub::{Node, Place, Record};
use handover_tests::process::processor_time;

use crate::program;

const FEW: u32 = 10_000;
const MANY: u32 = 100_000;
/// Work that grows with the number of processes grows by ten; with its square, by a hundred. Between
/// them, with room for caches that do not hold so much.
const AT_MOST: u32 = 30;
/// Rows are compared once in this time, as the hub's settings say.
const AT_REST: Duration = Duration::from_secs(4);

/// What the nodes have worked so far, all threads of all of them.
fn work(nodes: &[Node]) -> Duration {
    nodes.iter().map(|node| processor_time(node.pid())).sum()
}

fn worked<T>(nodes: &[Node], during: impl FnOnce() -> T) -> Duration {
    let before = work(nodes);
    during();
    work(nodes).saturating_sub(before)
}

#[test]
fn a_hundred_thousand_processes_are_started_and_kept_without_quadratic_work() {
    let record = Record::new();
    let addresses: Vec<String> = (0..3).map(|_| own_address().to_string()).collect();
    let seeds = format!("gossip:{}", addresses.join(","));
    let nodes: Vec<Node> = (0..3)
        .map(|number| {
            let place = Place {
                name: ["a", "b", "c"][number],
                address: addresses[number].clone(),
                record: record.path(),
                engine: seeds.clone(),
                lease: None,
            };
            let mut command = program();
            command.env("HUB_NODE_DIGEST", "1000");
            Node::start(command, &place)
        })
        .collect();
    for node in &nodes {
        node.until_nodes(3);
    }
    let start = |from: u32, to: u32| {
        for first in (from..to).step_by(FEW as usize) {
            let last = first + FEW;
            assert_eq!(nodes[0].ask(&format!("range {first} {last}")), "done");
        }
    };
    let few = worked(&nodes, || start(0, FEW));
    let few_at_rest = worked(&nodes, || std::thread::sleep(AT_REST));
    let more = worked(&nodes, || start(FEW, MANY));
    let many_at_rest = worked(&nodes, || std::thread::sleep(AT_REST));
    let all: usize = nodes.iter().map(Node::processes).sum();
    assert_eq!(all, MANY as usize);
    println!("start: {few:?}, then {more:?}; at rest: {few_at_rest:?}, then {many_at_rest:?}");
    assert!(more < few * AT_MOST, "{few:?}, then {more:?}");
    assert!(
        many_at_rest < few_at_rest * AT_MOST,
        "{few_at_rest:?}, then {many_at_rest:?}"
    );
}
