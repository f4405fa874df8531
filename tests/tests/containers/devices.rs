//! Devices on one LAN, whose containers live in the host's network.

use handover_tests::network::{Lan, PEER, Theirs, VERSION_3, Wire, possible};

use crate::{WIRE, let_go, ours, serves, version_3};

/// The very topology in which handover-lib retires across devices (see `theirs`).
#[test]
fn in_host_mode_nothing_crosses_devices() {
    if !possible() {
        return;
    }
    let lan = Lan::of(3);
    let [here, there, elsewhere] = lan.devices() else {
        panic!("three devices");
    };
    let witness = Wire::listening(elsewhere.network(), WIRE, &[PEER, VERSION_3]);
    let containers = [here.container(), there.container(), here.container()];
    let old = ours().mode("host").serving(&containers[0]);
    let other = ours().mode("host").serving(&containers[1]);
    let young = ours().mode("host").serving(&containers[2]);
    let_go(&old, &containers[0]);
    serves(&other, &containers[1]);
    serves(&young, &containers[2]);
    assert!(witness.heard(PEER).is_empty(), "it left the device");
    assert!(witness.heard(VERSION_3).is_empty(), "it left the device");

    // The other one would have let go: it does for one of its own device.
    let next = there.container();
    let _next = ours().mode("host").serving(&next);
    let_go(&other, &containers[1]);
    assert!(other.said("elsewhere").is_empty());
    // And the witness would have heard: it hears whoever chooses the wrong mode.
    let wrong = elsewhere_in_bridge_mode(here);
    witness.until(PEER, |datagram| datagram[0] == 1);
    witness.until(VERSION_3, |datagram| datagram[0] == 3);
    drop(wrong);
}

fn elsewhere_in_bridge_mode(device: &handover_tests::network::Device) -> impl Drop {
    ours().serving(&device.container())
}

#[test]
fn in_the_wrong_mode_version_3_knows_another_device() {
    if !possible() {
        return;
    }
    let lan = Lan::of(2);
    let [here, there] = lan.devices() else {
        panic!("two devices");
    };
    let containers = [here.container(), there.container(), here.container()];
    let old = version_3().serving(&containers[0]);
    let other = version_3().serving(&containers[1]);
    old.until("elsewhere");
    let young = version_3().serving(&containers[2]);
    let_go(&old, &containers[0]);
    assert_eq!(old.said("elsewhere").len(), 1, "told once");
    serves(&other, &containers[1]);
    serves(&young, &containers[2]);
}

/// What the wrong mode costs with legacy peers: their datagrams name no device.
#[test]
fn in_the_wrong_mode_theirs_retires_ours_on_another_device() {
    let Some(theirs) = Theirs::installed().filter(|_| possible()) else {
        return;
    };
    let lan = Lan::of(2);
    let [here, there] = lan.devices() else {
        panic!("two devices");
    };
    let containers = [here.container(), there.container()];
    let old = ours().serving(&containers[0]);
    let other = theirs.peer_by_clock(&containers[1], "bridge");
    let_go(&old, &containers[0]);
    serves(&other, &containers[1]);
}

/// In host mode theirs sends over the default route's interface, to the LAN: ours hears it on its own
/// device, and on no other.
#[test]
fn in_host_mode_theirs_replaces_ours_on_its_own_device_only() {
    let Some(theirs) = Theirs::installed().filter(|_| possible()) else {
        return;
    };
    let lan = Lan::of(3);
    let [here, there, elsewhere] = lan.devices() else {
        panic!("three devices");
    };
    let witness = Wire::listening(elsewhere.network(), WIRE, &[PEER]);
    let containers = [here.container(), there.container(), here.container()];
    let old = ours().mode("host").serving(&containers[0]);
    let other = ours().mode("host").serving(&containers[1]);
    let young = theirs.peer_by_clock(&containers[2], "host");
    let_go(&old, &containers[0]);
    serves(&young, &containers[2]);
    // It was on the LAN, where the other one could have heard it.
    witness.until(PEER, |datagram| datagram[0] == 1);
    let next = there.container();
    let next = theirs.peer_by_clock(&next, "host");
    let_go(&other, &containers[1]);
    // For the first it heard, which is the one of its own device.
    let by = &other.said("draining")[0];
    assert_eq!(by["time_ms"], next.until("started")["started_ms"], "{by}");
}
