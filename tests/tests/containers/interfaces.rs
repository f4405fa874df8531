//! Interfaces that come late, or without IPv4.

use std::sync::Arc;

use handover_tests::network::{Bridge, Container, Lan, Namespace, PEER, VERSION_3, Wire, possible};

use crate::{WIRE, let_go, ours, serves};

#[test]
fn an_interface_that_comes_late_is_used() {
    if !possible() {
        return;
    }
    let bridge = Bridge::new();
    let first = bridge.container();
    let old = ours().serving(&first);
    let unplugged = Arc::new(Namespace::new());
    let second = Container::on(Arc::clone(&unplugged));
    let young = ours().start(&second);
    young.until("no_interface");
    serves(&old, &first);
    bridge.plug(&unplugged);
    young.until("interface_joined");
    let_go(&old, &first);
    serves(&young, &second);
}

#[test]
fn in_host_mode_a_missing_bridge_is_waited_for() {
    if !possible() {
        return;
    }
    let lan = Lan::without_bridges(2);
    let [here, there] = lan.devices() else {
        panic!("two devices");
    };
    let witness = Wire::listening(there.network(), WIRE, &[PEER, VERSION_3]);
    let (first, second) = (here.container(), here.container());
    let old = ours().mode("host").start(&first);
    let young = ours().mode("host").start(&second);
    for instance in [&old, &young] {
        let missing = instance.until("no_interface");
        let expected = missing["expected"].as_str().unwrap_or_default();
        assert!(expected.contains("supervisor0"), "{expected}");
    }
    here.add_bridge();
    let_go(&old, &first);
    serves(&young, &second);
    // Not for want of its own did anything go out by another interface.
    assert!(witness.heard(PEER).is_empty());
    assert!(witness.heard(VERSION_3).is_empty());
    let third = here.container();
    let _wrong = ours().serving(&third);
    witness.until(VERSION_3, |datagram| datagram[0] == 3);
}

#[test]
fn without_ipv4_version_3_hands_over_by_ipv6() {
    if !possible() {
        return;
    }
    let bridge = Bridge::ipv6_only();
    let (first, second) = (bridge.container(), bridge.container());
    let old = ours().serving(&first);
    assert_eq!(old.until("interface_joined")["ipv6_only"], true);
    old.until_mentions("legacy");
    let young = ours().serving(&second);
    let_go(&old, &first);
    serves(&young, &second);
}
