//! handover-lib 0.0.10 among its own: what ours is held against, and the proof that these networks
//! carry, confine and lose what they should.

use handover_tests::eventually;
use handover_tests::network::{
    Bridge, Entrypoint, Fate, Lan, PEER, Relay, Theirs, Wire, legacy, possible,
};

use crate::{LONG_AGO, WIRE};

/// The start time, in milliseconds since the epoch, of whoever a peer of handover-lib gave way to.
pub(crate) fn obeyed(peer: &Entrypoint) -> i64 {
    const BEFORE: &str = "new server running with timestamp : ";
    eventually("whom it obeyed", || {
        let line = peer.line(BEFORE)?;
        let (_, rest) = line.split_once(BEFORE)?;
        rest.split(' ').next()?.parse().ok()
    })
}

#[test]
fn the_old_one_stops_once_and_writes_the_file() {
    let Some(theirs) = Theirs::installed().filter(|_| possible()) else {
        return;
    };
    let bridge = Bridge::new();
    let witness = Wire::listening(&bridge.join(), WIRE, &[PEER]);
    let (first, second) = (bridge.container(), bridge.container());
    let old = theirs.peer(&first, LONG_AGO, "bridge");
    let young = theirs.peer(&second, LONG_AGO + 1, "bridge");
    old.until("callback");
    first.until_complete();
    old.until("complete");
    assert_eq!(old.said("callback").len(), 1);
    assert!(old.is_alive(), "it waits to be killed");
    assert!(young.said("callback").is_empty());
    assert_eq!(second.complete(), None);
    // What went over the wire is the datagram that is described.
    witness.until(PEER, |datagram| datagram == legacy(LONG_AGO));
    witness.until(PEER, |datagram| datagram == legacy(LONG_AGO + 1));
}

#[test]
fn equal_and_earlier_times_are_ignored() {
    let Some(theirs) = Theirs::installed().filter(|_| possible()) else {
        return;
    };
    let bridge = Bridge::new();
    let (container, stranger) = (bridge.container(), bridge.join());
    let old = theirs.peer(&container, LONG_AGO, "bridge");
    Wire::send(&stranger, WIRE, PEER, &legacy(LONG_AGO - 1));
    Wire::send(&stranger, WIRE, PEER, &legacy(LONG_AGO));
    // It is told in order, so what it makes of the last says what it made of the others.
    Wire::send(&stranger, WIRE, PEER, &legacy(LONG_AGO + 2));
    container.until_complete();
    assert_eq!(obeyed(&old), LONG_AGO + 2);
}

#[test]
fn an_unknown_version_kills_it() {
    let Some(theirs) = Theirs::installed().filter(|_| possible()) else {
        return;
    };
    let bridge = Bridge::new();
    let container = bridge.container();
    let mut old = theirs.peer(&container, LONG_AGO, "bridge");
    Wire::send(&bridge.join(), WIRE, PEER, &[3; 40]);
    assert_ne!(old.ended(), 0);
    old.until_mentions("version mismatch on HandoverMessage");
    assert_eq!(container.complete(), None);
}

/// The loop of the package's own documentation: a release that starts on one device retires the
/// service of the other, whose supervisor starts it again, which retires the first.
#[test]
fn on_one_lan_devices_in_bridge_mode_retire_each_other() {
    let Some(theirs) = Theirs::installed().filter(|_| possible()) else {
        return;
    };
    let lan = Lan::of(2);
    let mut served = None;
    for round in 0..4 {
        let device = &lan.devices()[round % 2];
        let container = device.container();
        let time = LONG_AGO + i64::try_from(round).expect("a small number");
        let started = theirs.peer(&container, time, "bridge");
        if let Some((other, _peer)) = served.replace((container, started)) {
            other.until_complete();
        }
    }
}

/// Its host mode chooses an interface for the socket that receives, which says where that socket
/// sends. It sends from another, and joins wherever the route to the group leads.
#[test]
fn on_one_lan_devices_in_host_mode_retire_each_other_too() {
    let Some(theirs) = Theirs::installed().filter(|_| possible()) else {
        return;
    };
    let lan = Lan::of(2);
    let (here, there) = (lan.devices()[0].container(), lan.devices()[1].container());
    let old = theirs.peer(&here, LONG_AGO, "host");
    old.until_mentions("Using MulticastInterface 10.114.104.1");
    let _young = theirs.peer(&there, LONG_AGO + 1, "host");
    here.until_complete();
}

/// What confines it is the route, where somebody sets one.
#[test]
fn a_route_to_the_group_confines_its_host_mode() {
    let Some(theirs) = Theirs::installed().filter(|_| possible()) else {
        return;
    };
    let lan = Lan::of(2);
    for device in lan.devices() {
        device
            .network()
            .ip(["route add 239.192.16.16/32 dev supervisor0"]);
    }
    let (here, there) = (lan.devices()[0].container(), lan.devices()[1].container());
    let old = theirs.peer(&here, LONG_AGO, "host");
    let stranger = theirs.peer(&there, LONG_AGO + 2, "host");
    stranger.until("announced");
    // A release on its own device is heard, and the only one that was: it came last.
    let next = lan.devices()[0].container();
    let _young = theirs.peer(&next, LONG_AGO + 1, "host");
    here.until_complete();
    assert_eq!(obeyed(&old), LONG_AGO + 1);
    assert!(stranger.said("callback").is_empty());
}

#[test]
fn a_lost_announcement_is_repeated() {
    let Some(theirs) = Theirs::installed().filter(|_| possible()) else {
        return;
    };
    let fate = Fate {
        lost: 30,
        doubled: 50,
        delay: 0..=200,
    };
    // With this seed the first datagram of the young one is lost, and the second comes twice.
    let relay = Relay::between(2, WIRE, &fate, 3);
    let (first, second) = (relay.container(0), relay.container(1));
    let old = theirs.peer(&first, LONG_AGO, "bridge");
    let young = theirs.peer(&second, LONG_AGO + 1, "bridge");
    relay.until("lost");
    relay.until("doubled");
    old.until("complete");
    assert!(first.complete().is_some());
    assert_eq!(old.said("callback").len(), 1);
    assert!(young.said("callback").is_empty());
}
