//! Instances that reach each other over a network.

use crate::world::{Namespace, World, can_make_networks};

fn world() -> World {
    let mut world = World::new();
    world.set("ACTOR_PROBATION_MS", 0);
    world.set("ACTOR_LEGACY", "off");
    world
}

#[test]
fn two_containers_on_one_bridge_hand_over() {
    if !can_make_networks() {
        return;
    }
    let (one, other) = Namespace::addressed_pair();
    let world = world();
    let old = world.serving_in(Some(&one), "old");
    let young = world.serving_in(Some(&other), "young");
    old.says("drains");
    old.says("wrote ");
    young.says("event older_committed");
    assert!(!young.has_said("drains"));
}

#[test]
fn two_services_on_one_bridge_leave_each_other_alone() {
    if !can_make_networks() {
        return;
    }
    let (one, other) = Namespace::addressed_pair();
    let mut world = world();
    let api = world.serving_in(Some(&one), "api");
    world.set("ACTOR_SERVICE", "web");
    let web = world.serving_in(Some(&one), "web");
    let young = world.serving_in(Some(&other), "young");
    web.says("wrote ");
    assert!(!api.has_said("drains") && !young.has_said("drains"));
}

#[test]
fn another_key_is_refused_and_the_same_key_is_obeyed() {
    if !can_make_networks() {
        return;
    }
    let (one, other) = Namespace::addressed_pair();
    let mut world = world();
    world.set("ACTOR_KEY", world.key("ours").display());
    let old = world.serving_in(Some(&one), "old");
    world.set("ACTOR_KEY", world.key("theirs").display());
    let _forger = world.serving_in(Some(&other), "forger");
    old.says("event refused");
    world.unset("ACTOR_KEY");
    let _careless = world.serving_in(Some(&other), "careless");
    world.set("ACTOR_KEY", world.key("ours").display());
    let _young = world.serving_in(Some(&other), "young");
    old.says("drains");
    old.says("wrote ");
}

#[test]
fn without_a_network_it_says_so_and_uses_the_interface_that_appears() {
    if !can_make_networks() {
        return;
    }
    let (one, other) = (Namespace::new(), Namespace::new());
    let world = world();
    let mut old = world.start_in(Some(&one), "old");
    old.says("event no_interface");
    old.tell("announce");
    old.says("announced");
    let young = world.serving_in(Some(&other), "young");
    let there = other.pid();
    one.ip(&format!(
        "link add eth0 type veth peer name eth0 netns {there}"
    ));
    for (namespace, address) in [(&one, "10.1.0.1/24"), (&other, "10.1.0.2/24")] {
        namespace.ip(&format!("addr add {address} dev eth0"));
        namespace.ip("link set eth0 up");
    }
    old.says("event interface_joined");
    old.says("drains");
    old.says("wrote ");
    young.says("event older_committed");
}

#[test]
fn an_interface_that_goes_and_comes_back_with_another_address_is_used_again() {
    if !can_make_networks() {
        return;
    }
    let (one, other) = Namespace::addressed_pair();
    let world = world();
    let old = world.serving_in(Some(&one), "old");
    one.ip("link del eth0");
    old.says("event interface_left");
    old.says("event no_interface");
    old.says("event interface_joined");
    let there = other.pid();
    one.ip(&format!(
        "link add eth0 type veth peer name eth0 netns {there}"
    ));
    for (namespace, address) in [(&one, "10.9.0.1/24"), (&other, "10.9.0.2/24")] {
        namespace.ip(&format!("addr add {address} dev eth0"));
        namespace.ip("link set eth0 up");
    }
    old.says("event interface_joined");
    let _young = world.serving_in(Some(&other), "young");
    old.says("drains");
}

#[test]
fn a_changed_address_changes_nothing() {
    if !can_make_networks() {
        return;
    }
    let (one, other) = Namespace::addressed_pair();
    let world = world();
    let old = world.serving_in(Some(&one), "old");
    for (namespace, address) in [(&one, "10.7.0.1/24"), (&other, "10.7.0.2/24")] {
        namespace.ip("addr flush dev eth0");
        namespace.ip(&format!("addr add {address} dev eth0"));
    }
    let _young = world.serving_in(Some(&other), "young");
    old.says("drains");
}

#[test]
fn ipv6_alone_is_enough_for_version_3() {
    if !can_make_networks() {
        return;
    }
    let (one, other) = Namespace::pair();
    let mut world = world();
    // Legacy peers cannot be reached without IPv4, and that is said.
    world.set("ACTOR_LEGACY", "obey");
    let mut old = world.start_in(Some(&one), "old");
    let joined = old.says("event interface_joined");
    assert!(
        joined.contains("legacy peers cannot be reached"),
        "{joined}"
    );
    old.tell("announce");
    let _young = world.serving_in(Some(&other), "young");
    old.says("drains");
    old.says("wrote ");
}

#[test]
fn in_host_mode_only_the_named_interface_is_used() {
    if !can_make_networks() {
        return;
    }
    // Two containers in the host's network, beside a LAN.
    let (host, lan) = Namespace::addressed_pair();
    let mut world = world();
    world.set("HANDOVER_NETWORK_MODE", "host");
    let mut old = world.start_in(Some(&host), "old");
    let missing = old.says("event no_interface");
    assert!(missing.contains("supervisor0"), "{missing}");
    old.tell("announce");
    old.says("announced");
    // One on the LAN that is in the wrong mode does not reach it.
    world.unset("HANDOVER_NETWORK_MODE");
    let stranger = world.serving_in(Some(&lan), "stranger");
    host.ip("link add supervisor0 type bridge");
    host.ip("addr add 10.114.104.1/25 dev supervisor0");
    host.ip("link set supervisor0 up");
    let joined = old.says("event interface_joined");
    assert!(joined.contains("supervisor0"), "{joined}");
    world.set("HANDOVER_NETWORK_MODE", "host");
    let young = world.serving_in(Some(&host), "young");
    old.says("drains");
    old.says("wrote ");
    young.says("event older_committed");
    assert!(!stranger.has_said("event younger_heard"));
    // In the wrong mode the young one on the host would have been heard there.
    world.unset("HANDOVER_NETWORK_MODE");
    let _wrong = world.serving_in(Some(&host), "wrong");
    stranger.says("event younger_heard");
}

#[test]
fn without_a_key_a_legacy_announcement_is_obeyed_and_with_one_it_is_not() {
    if !can_make_networks() {
        return;
    }
    let (one, other) = Namespace::addressed_pair();
    let mut world = world();
    world.unset("ACTOR_LEGACY");
    world.set("ACTOR_SERVICE", "keyless");
    let keyless = world.serving_in(Some(&one), "keyless");
    world.set("ACTOR_SERVICE", "keyed");
    world.set("ACTOR_KEY", world.key("ours").display());
    let keyed = world.serving_in(Some(&other), "keyed");
    // A version 3 instance of another service is nothing but a legacy one to the first.
    keyless.says("drains");
    keyless.says("wrote ");
    world.unset("ACTOR_KEY");
    world.set("ACTOR_SERVICE", "third");
    let _third = world.serving_in(Some(&one), "third");
    let warned = keyed.says("event legacy_not_obeyed");
    assert!(warned.contains("--legacy obey"), "{warned}");
    assert!(!keyed.has_said("drains"));
}
