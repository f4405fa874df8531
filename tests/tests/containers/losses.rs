//! Networks that lose, double, delay and reorder.

use handover_tests::network::{Fate, Relay, Theirs, possible};

use crate::{WIRE, let_go, ours, serves, version_3};

const BAD: Fate = Fate {
    lost: 30,
    doubled: 30,
    delay: 0..=400,
};

fn hands_over(fate: &Fate, seed: u64, seen: &[&str]) {
    let relay = Relay::between(3, WIRE, fate, seed);
    let containers = [relay.container(0), relay.container(1), relay.container(2)];
    let first = version_3().serving(&containers[0]);
    let second = version_3().serving(&containers[1]);
    let_go(&first, &containers[0]);
    let third = version_3().serving(&containers[2]);
    let_go(&second, &containers[1]);
    serves(&third, &containers[2]);
    for fate in seen {
        relay.until(fate);
    }
}

#[test]
fn datagrams_are_lost_doubled_late_and_out_of_order() {
    if !possible() {
        return;
    }
    for seed in 1..=3 {
        hands_over(&BAD, seed, &["lost", "doubled", "overtaken"]);
    }
}

#[test]
fn every_datagram_is_late() {
    if !possible() {
        return;
    }
    let late = Fate {
        delay: 200..=200,
        ..Fate::KIND
    };
    hands_over(&late, 1, &[]);
}

#[test]
fn theirs_and_ours_find_each_other_nevertheless() {
    let Some(theirs) = Theirs::installed().filter(|_| possible()) else {
        return;
    };
    let relay = Relay::between(3, WIRE, &BAD, 4);
    let containers = [relay.container(0), relay.container(1), relay.container(2)];
    let first = theirs.peer_by_clock(&containers[0], "bridge");
    let second = ours().serving(&containers[1]);
    let_go(&first, &containers[0]);
    let third = theirs.peer_by_clock(&containers[2], "bridge");
    let_go(&second, &containers[1]);
    serves(&third, &containers[2]);
    relay.until("lost");
}
