//! `handover peer` as the first process of containers on a bridge, which find each other by
//! multicast, and load balancers by the status.

use std::sync::Arc;

use handover_proto::container::status::{State, StatusDatagram};
use handover_tests::network::{Bridge, Container, Entrypoint, STATUS, Theirs, Wire, possible};
use handover_tests::service::command_path;
use handover_tests::{eventually, patience, process};
use rustix::process::Signal;

use crate::{FIXTURE, WIRE};

/// Starts the fixture under `handover peer`, and waits for nothing.
fn entrypoint(container: &Container, flags: &[&str], behaviour: &[&str]) -> Entrypoint {
    let mut command = container.command(command_path());
    command
        .args(["peer", "--name", "svc", "--format", "json"])
        .args(["--listen", "http=0.0.0.0:8080", "--drain-notify", "1s"])
        .args(["--silence", "2s", "--probation", "1s"])
        .args(flags)
        .args(["--", FIXTURE])
        .args(behaviour);
    container.start(command)
}

fn step(entrypoint: &Entrypoint, name: &str) {
    entrypoint.until_mentions(&format!("\"event\":\"{name}\""));
}

fn never(entrypoint: &Entrypoint, name: &str) {
    let line = entrypoint.line(&format!("\"event\":\"{name}\""));
    assert_eq!(line, None);
}

/// What was heard of instances, in the order in which it was heard first.
fn statuses(witness: &Wire) -> Vec<StatusDatagram> {
    let mut seen = Vec::new();
    for datagram in witness.heard(STATUS) {
        let status = StatusDatagram::decode(&datagram).expect("a status");
        if !seen.contains(&status) {
            seen.push(status);
        }
    }
    seen
}

#[test]
fn containers_on_a_bridge_hand_over_and_tell_load_balancers() {
    if !possible() {
        return;
    }
    let bridge = Bridge::new();
    let witness = Wire::listening(&bridge.join(), WIRE, &[STATUS]);
    let (one, two) = (bridge.container(), bridge.container());
    let mut old = entrypoint(&one, &[], &["--version", "1"]);
    step(&old, "serving");
    let young = entrypoint(&two, &[], &["--version", "2"]);
    step(&young, "serving");
    step(&old, "probation");
    step(&old, "completed");
    one.until_complete();
    step(&young, "older_committed");
    never(&young, "draining");
    assert_eq!(two.complete(), None);
    // UP of the old one, UP of the young one, and only then DOWN of the old one.
    let heard = eventually("all was heard", || {
        Some(statuses(&witness)).filter(|heard| heard.len() >= 3)
    });
    let up = |status: &&StatusDatagram| status.status == State::Up;
    let started: Vec<i64> = heard.iter().filter(up).map(|one| one.started_ms).collect();
    let [first, second] = started[..] else {
        panic!("{heard:?}")
    };
    assert!(
        first < second,
        "the young one is the younger one: {heard:?}"
    );
    assert_eq!(heard[2].status, State::Down, "{heard:?}");
    assert_eq!(heard[2].started_ms, first, "{heard:?}");
    assert!(heard.iter().all(|one| one.service == "svc"));
    old.signal(Signal::TERM);
    assert_eq!(old.ended(), 0);
}

#[test]
fn one_that_is_killed_in_probation_gives_the_service_back() {
    if !possible() {
        return;
    }
    let bridge = Bridge::new();
    let (one, two) = (bridge.container(), bridge.container());
    let old = entrypoint(&one, &[], &["--version", "1"]);
    step(&old, "serving");
    // Killed before it can be confirmed, whatever the time that takes.
    let mut young = entrypoint(&two, &[], &["--version", "2"]);
    step(&old, "probation");
    young.kill();
    step(&old, "taking_back");
    patience::until("it serves again", || {
        old.said("handover_finished").len() == 2
    });
    assert_eq!(one.complete(), None);
    // The first process of a container takes all others with it.
    assert!(!process::is_alive(young.pid()));
}

fn children(pid: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").expect("read").flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|child| process::parent(*child) == Some(pid))
        .collect()
}

fn is_sleep(pid: u32) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
    name.is_ok_and(|name| name == "sleep\n")
}

/// Both in the network of their device, and no volume through which its listener could cross.
#[test]
fn an_address_that_the_older_one_has_is_refused_with_the_way_out() {
    if !possible() {
        return;
    }
    let network = Bridge::new().join();
    let one = Container::on(Arc::clone(&network));
    let two = Container::on(network);
    let old = entrypoint(&one, &["--no-status"], &["--version", "1"]);
    step(&old, "serving");
    let mut young = entrypoint(&two, &["--no-status"], &["--version", "2"]);
    assert_eq!(young.ended(), 11);
    young.until_mentions("--volume DIR");
    never(&old, "draining");
    assert!(old.is_alive());
}

#[test]
fn a_quiet_container_buries_orphans() {
    if !possible() {
        return;
    }
    let bridge = Bridge::new();
    let (one, two) = (bridge.container(), bridge.container());
    let old = entrypoint(&one, &["--legacy", "off"], &["--orphan"]);
    step(&old, "serving");
    let orphan = eventually("an orphan is its child", || {
        children(old.pid()).into_iter().find(|pid| is_sleep(*pid))
    });
    let _young = entrypoint(&two, &["--legacy", "off"], &[]);
    one.until_complete();
    process::signal(orphan, Signal::KILL);
    patience::until("it is buried", || process::state(orphan).is_none());
    assert!(old.is_alive());
}

/// A release in Node gives way, and a release in Node is given way to; revived, a container hears it
/// and stays quiet.
#[test]
fn releases_on_handover_lib_are_replaced_and_replace() {
    let Some(theirs) = Theirs::installed().filter(|_| possible()) else {
        return;
    };
    let bridge = Bridge::new();
    let containers = [bridge.container(), bridge.container(), bridge.container()];
    let first = theirs.peer_by_clock(&containers[0], "bridge");
    first.until("announced");
    let mut second = entrypoint(&containers[1], &[], &["--version", "2"]);
    step(&second, "serving");
    first.until("callback");
    containers[0].until_complete();
    assert_eq!(containers[1].complete(), None);

    let third = theirs.peer_by_clock(&containers[2], "bridge");
    third.until("announced");
    containers[1].until_complete();
    step(&second, "completed");
    never(&second, "probation");
    assert_eq!(containers[2].complete(), None);

    second.kill();
    let revived = entrypoint(&containers[1], &[], &["--version", "2"]);
    step(&revived, "stays_retired");
    never(&revived, "serving");
    assert!(third.said("callback").is_empty());
}
