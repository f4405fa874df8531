//! Datagrams that nobody should have sent.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use handover_tests::network::{Bridge, PEER, STATUS, VERSION_3, Wire, legacy, possible};
use handover_tests::patience::until;

use crate::{LONG_AGO, WIRE, let_go, ours, serves, version_3};

fn key(directory: &Path) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = directory.join("key");
    std::fs::write(&path, "0123456789abcdef0123456789abcdef0123456789abcdef").expect("written");
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&path, private).expect("mode set");
    path
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = since.expect("after the epoch").as_millis();
    i64::try_from(now).expect("a time of this age")
}

#[test]
fn a_flood_of_garbage_changes_nothing() {
    if !possible() {
        return;
    }
    let begun = Instant::now();
    let bridge = Bridge::new();
    let (first, second) = (bridge.container(), bridge.container());
    let old = ours().serving(&first);
    let ports = [PEER, STATUS, VERSION_3];
    let _flood = Wire::flooding(&bridge.join(), WIRE, 1, &ports);
    old.until("refused");
    serves(&old, &first);
    let young = ours().serving(&second);
    let_go(&old, &first);
    serves(&young, &second);
    let minutes = begun.elapsed().as_secs() / 60;
    let told = old.said("refused").len() as u64;
    assert!(told <= 2 * (1 + minutes), "told {told} times");
}

#[test]
fn a_forged_legacy_time_retires_who_obeys() {
    if !possible() {
        return;
    }
    let bridge = Bridge::new();
    let (container, stranger) = (bridge.container(), bridge.join());
    let old = ours().started_at(LONG_AGO).serving(&container);
    Wire::send(&stranger, WIRE, PEER, &legacy(LONG_AGO - 1));
    Wire::send(&stranger, WIRE, PEER, &legacy(LONG_AGO));
    // The documented weakness of that wire.
    Wire::send(&stranger, WIRE, PEER, &legacy(LONG_AGO + 5));
    let_go(&old, &container);
    assert_eq!(old.said("draining")[0]["time_ms"], LONG_AGO + 5);
}

#[test]
fn a_legacy_time_that_is_still_to_come_retires_nobody() {
    if !possible() {
        return;
    }
    let bridge = Bridge::new();
    let (first, second) = (bridge.container(), bridge.container());
    let old = ours().started_at(LONG_AGO).serving(&first);
    let forged = now_ms() + 3_600_000;
    Wire::send(&bridge.join(), WIRE, PEER, &legacy(forged));
    assert_eq!(old.until("legacy_from_future")["time_ms"], forged);
    let young = ours().serving(&second);
    let_go(&old, &first);
    assert_eq!(old.said("draining")[0]["successor"], "peer");
    serves(&young, &second);
}

#[test]
fn with_a_key_a_forged_legacy_time_is_warned_of() {
    if !possible() {
        return;
    }
    let shared = tempfile::tempdir().expect("a directory");
    let key = key(shared.path());
    let bridge = Bridge::new();
    let container = || bridge.container().sees(shared.path());
    let (first, second) = (container(), container());
    let old = ours().key(&key).started_at(LONG_AGO).serving(&first);
    let forged = legacy(LONG_AGO + 5);
    Wire::send(&bridge.join(), WIRE, PEER, &forged);
    assert_eq!(old.until("legacy_not_obeyed")["time_ms"], LONG_AGO + 5);
    old.until_mentions("--legacy obey");
    serves(&old, &first);
    let young = ours().key(&key).serving(&second);
    let_go(&old, &first);
    serves(&young, &second);
}

#[test]
fn with_a_key_only_who_has_it_is_heard() {
    if !possible() {
        return;
    }
    let shared = tempfile::tempdir().expect("a directory");
    let key = key(shared.path());
    let bridge = Bridge::new();
    let container = || bridge.container().sees(shared.path());
    let containers = [container(), container(), container()];
    let old = version_3().key(&key).serving(&containers[0]);
    let forger = version_3().serving(&containers[1]);
    old.until("refused");
    serves(&old, &containers[0]);
    let young = version_3().key(&key).serving(&containers[2]);
    let_go(&old, &containers[0]);
    serves(&young, &containers[2]);
    // Neither does it obey who has one.
    serves(&forger, &containers[1]);
    forger.until("refused");
}

/// A recorded announcement is genuine, key and all. But it cannot answer.
#[test]
fn a_recorded_announcement_retires_nobody() {
    if !possible() {
        return;
    }
    let shared = tempfile::tempdir().expect("a directory");
    let key = key(shared.path());
    let bridge = Bridge::new();
    let first = bridge.container().sees(shared.path());
    let old = version_3().key(&key).serving(&first);

    let recorded = {
        let elsewhere = Bridge::new();
        let witness = Wire::listening(&elsewhere.join(), WIRE, &[VERSION_3]);
        let container = elsewhere.container().sees(shared.path());
        let _young = version_3().key(&key).serving(&container);
        witness.until_count(VERSION_3, 3);
        witness.heard(VERSION_3)
    };
    let stranger = bridge.join();
    for datagram in &recorded {
        Wire::send(&stranger, WIRE, VERSION_3, datagram);
    }
    old.until("candidate_silent");
    serves(&old, &first);
    for datagram in &recorded {
        Wire::send(&stranger, WIRE, VERSION_3, datagram);
    }

    let second = bridge.container().sees(shared.path());
    let young = version_3().key(&key).serving(&second);
    let_go(&old, &first);
    assert_eq!(old.said("draining").len(), 1);
    serves(&young, &second);
}

/// Whoever stops answering after it confirmed is found out before the old one let go.
#[test]
fn a_successor_that_freezes_gets_nothing_for_good() {
    if !possible() {
        return;
    }
    let bridge = Bridge::new();
    let (first, second) = (bridge.container(), bridge.container());
    let old = version_3()
        .probation(Duration::from_secs(600))
        .resumes()
        .serving(&first);
    let young = version_3().serving(&second);
    old.until("probation");
    young.signal(rustix::process::Signal::STOP);
    old.until("resumed");
    assert_eq!(first.complete(), None);
    // It wakes, hears who serves, and gives way.
    young.signal(rustix::process::Signal::CONT);
    let_go(&young, &second);
    until("the old one serves", || {
        old.said("serving").len() == 2 && old.said("callback").len() == 1
    });
}
