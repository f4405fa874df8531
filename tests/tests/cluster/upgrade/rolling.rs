//! All nodes of a cluster are replaced by the next version of their program, whose states have
//! another form, and by the version before again.

use handover_tests::hub::Node;
use handover_tests::load;

use super::{Owned, tally};
use crate::COUNTERS;
use crate::world::World;

const OLD: [&str; 2] = ["--schema", "1"];
const NEW: [&str; 2] = ["--schema", "2"];

fn hammered(world: &World, nodes: usize) -> Node {
    let client = world.client("d");
    client.until_nodes(nodes + 1);
    assert_eq!(client.ask(&format!("start-all {COUNTERS}")), "done");
    assert_eq!(client.ask(&format!("hammer {COUNTERS} 8")), "done");
    client
}

fn judged(client: &Node, nodes: usize) {
    client.until_nodes(nodes + 1);
    let tally = tally(client);
    assert!(tally.answered > 0);
    assert_eq!((tally.failed, tally.wrong), (0, 0), "{tally:?}");
}

#[test]
fn node_by_node_over_the_network_there_and_back() {
    let world = World::gossip();
    let names = ["a", "b", "c"];
    let mut nodes = names.map(|name| world.versioned(name, &OLD));
    let client = hammered(&world, 3);
    for version in [NEW, OLD] {
        for (node, name) in nodes.iter_mut().zip(names) {
            assert_eq!(node.ask("leave"), "done");
            *node = world.versioned(name, &version);
            client.until_nodes(4);
        }
    }
    judged(&client, 3);
}

#[test]
fn node_by_node_through_memory_there_and_back() {
    let world = World::gossip();
    let flags = |version: [&str; 2]| version.join(" ");
    let nodes = ["a", "b", "c"].map(|name| Owned::start(&flags(OLD), &world.place(name), None));
    let client = hammered(&world, 3);
    for version in [NEW, OLD] {
        for node in &nodes {
            node.deploy(&flags(version));
            let outcome = node.service.upgrade_in_place();
            let said = node.service.stderr();
            assert!(load::committed(&outcome), "{outcome}\n{said}");
        }
    }
    judged(&client, 3);
}
