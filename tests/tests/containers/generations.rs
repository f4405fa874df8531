//! Instances on our library, one after the other, on a network without faults.

use std::fs;
use std::time::Duration;

use handover_tests::network::{Bridge, possible};
use handover_tests::patience::until;
use rustix::process::Signal;

use crate::{let_go, ours, serves, version_3};

#[test]
fn the_old_one_lets_go_once_the_new_one_confirmed() {
    if !possible() {
        return;
    }
    let bridge = Bridge::new();
    let (first, second) = (bridge.container(), bridge.container());
    let old = ours().resumes().serving(&first);
    let young = ours().serving(&second);
    let_go(&old, &first);
    young.until("older_committed");
    assert_eq!(old.said("probation").len(), 1);
    serves(&young, &second);
}

#[test]
fn three_in_a_row_leave_the_last() {
    if !possible() {
        return;
    }
    let bridge = Bridge::new();
    let containers = [bridge.container(), bridge.container(), bridge.container()];
    // Still draining when the third one comes.
    let first = ours().drain(Duration::from_secs(2)).serving(&containers[0]);
    let second = ours().serving(&containers[1]);
    first.until("callback");
    let third = ours().serving(&containers[2]);
    let_go(&first, &containers[0]);
    let_go(&second, &containers[1]);
    serves(&third, &containers[2]);
}

#[test]
fn of_two_that_start_together_one_serves() {
    if !possible() {
        return;
    }
    let bridge = Bridge::new();
    let shared = tempfile::tempdir().expect("a directory");
    let ready = shared.path().join("ready");
    let container = || bridge.container().sees(shared.path());
    let containers = [container(), container()];
    let together = || version_3().started_at(crate::LONG_AGO).ready_on(&ready);
    let instances = containers
        .each_ref()
        .map(|container| together().start(container));
    fs::write(&ready, "").expect("written");
    until("one lets go", || {
        containers.iter().any(|one| one.complete().is_some())
    });
    let winner = containers
        .iter()
        .position(|container| container.complete().is_none());
    let winner = winner.expect("one of them serves");
    let_go(&instances[1 - winner], &containers[1 - winner]);
    serves(&instances[winner], &containers[winner]);

    let next = bridge.container();
    let after = version_3().serving(&next);
    let_go(&instances[winner], &containers[winner]);
    serves(&after, &next);
}

#[test]
fn a_new_one_that_dies_in_probation_is_taken_back_from() {
    if !possible() {
        return;
    }
    let bridge = Bridge::new();
    let containers = [bridge.container(), bridge.container(), bridge.container()];
    let old = ours()
        .probation(Duration::from_secs(600))
        .resumes()
        .serving(&containers[0]);
    let mut young = ours().serving(&containers[1]);
    old.until("probation");
    young.kill();
    old.until("resumed");
    assert_eq!(containers[0].complete(), None);

    // It serves as the youngest, and the next one retires it all the same.
    let next = ours().serving(&containers[2]);
    until("it drains again", || old.said("callback").len() == 2);
    serves(&next, &containers[2]);
}

#[test]
fn who_cannot_take_back_says_that_nobody_serves() {
    if !possible() {
        return;
    }
    let bridge = Bridge::new();
    let (first, second) = (bridge.container(), bridge.container());
    // The drain outlasts its patience, so that it is found out before it is too late.
    let old = ours()
        .drain(Duration::from_secs(3))
        .silence(Duration::from_secs(1))
        .serving(&first);
    let mut young = ours().serving(&second);
    old.until("callback");
    young.kill();
    old.until("successor_lost");
    old.until("nobody_serves");
    assert!(old.said("committed").is_empty());
    assert_eq!(first.complete(), None);
}

#[test]
fn sigterm_completes_it() {
    if !possible() {
        return;
    }
    let bridge = Bridge::new();
    let container = bridge.container();
    let mut alone = ours().serving(&container);
    alone.signal(Signal::TERM);
    assert_eq!(alone.ended(), 0);
    alone.until("finished");
    assert_eq!(alone.said("callback").len(), 1);
    container.until_complete();
}

#[test]
fn services_on_one_network_do_not_retire_each_other() {
    if !possible() {
        return;
    }
    let bridge = Bridge::new();
    let containers = [bridge.container(), bridge.container(), bridge.container()];
    let api = version_3().serving(&containers[0]);
    let worker = version_3().service("worker").serving(&containers[1]);
    let next = version_3().serving(&containers[2]);
    let_go(&api, &containers[0]);
    assert_eq!(api.said("younger_heard").len(), 1);
    serves(&worker, &containers[1]);
    serves(&next, &containers[2]);
}
