//! Releases on handover-lib are replaced by releases on our library, and the other way round.

use handover_tests::network::{Bridge, PEER, Theirs, Wire, legacy, possible};

use crate::{LONG_AGO, WIRE, let_go, ours, serves};

#[test]
fn theirs_gives_way_to_ours_and_ours_to_theirs() {
    let Some(theirs) = Theirs::installed().filter(|_| possible()) else {
        return;
    };
    let bridge = Bridge::new();
    let containers = [bridge.container(), bridge.container(), bridge.container()];
    let first = theirs.peer_by_clock(&containers[0], "bridge");
    let second = ours().serving(&containers[1]);
    let_go(&first, &containers[0]);
    serves(&second, &containers[1]);

    let third = theirs.peer_by_clock(&containers[2], "bridge");
    let_go(&second, &containers[1]);
    serves(&third, &containers[2]);
    // Nothing confirms that it lives, so there is nothing to wait for either.
    assert!(second.said("probation").is_empty());
}

#[test]
fn what_ours_announces_is_what_theirs_would() {
    if !possible() {
        return;
    }
    let bridge = Bridge::new();
    let witness = Wire::listening(&bridge.join(), WIRE, &[PEER]);
    let container = bridge.container();
    let _ours = ours().started_at(LONG_AGO).serving(&container);
    witness.until(PEER, |datagram| datagram == legacy(LONG_AGO));
    // It is said again long before theirs would be: after 10 s.
    witness.until_count(PEER, 3);
    let heard = witness.heard(PEER);
    assert!(heard.iter().all(|datagram| *datagram == legacy(LONG_AGO)));
}

#[test]
fn theirs_of_an_earlier_start_retires_nobody() {
    let Some(theirs) = Theirs::installed().filter(|_| possible()) else {
        return;
    };
    let bridge = Bridge::new();
    let containers = [bridge.container(), bridge.container(), bridge.container()];
    let serving = ours().started_at(LONG_AGO + 1).serving(&containers[0]);
    let earlier = theirs.peer(&containers[1], LONG_AGO, "bridge");
    let_go(&earlier, &containers[1]);
    serves(&serving, &containers[0]);
    let later = theirs.peer(&containers[2], LONG_AGO + 2, "bridge");
    let_go(&serving, &containers[0]);
    serves(&later, &containers[2]);
}

#[test]
fn with_legacy_off_neither_hears_the_other() {
    let Some(theirs) = Theirs::installed().filter(|_| possible()) else {
        return;
    };
    let bridge = Bridge::new();
    let containers = [bridge.container(), bridge.container(), bridge.container()];
    let first = ours().legacy("off").serving(&containers[0]);
    let second = theirs.peer_by_clock(&containers[1], "bridge");
    second.until("announced");
    let third = ours().serving(&containers[2]);
    let_go(&first, &containers[0]);
    let_go(&second, &containers[1]);
    // The first one let go for the third, which is of version 3, and not for the second.
    assert_eq!(first.said("draining").len(), 1);
    assert!(first.said("draining")[0]["peer"].is_string());
    serves(&third, &containers[2]);
}
