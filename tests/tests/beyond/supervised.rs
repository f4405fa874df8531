//! Daemons on beyond-handoff under `handover run`.

use handover_proto::outcome::{Cause, Outcome};
use handover_tests::patience::until;
use handover_tests::{Service, process};

use crate::world::{Library::Theirs, World, Writer, who};

fn committed(outcome: &Outcome) {
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome}");
}

/// I9: the next good version commits.
fn i9_the_next_commits(world: &World, service: &Service) {
    let next = world.program(Theirs, "next", "");
    committed(&service.upgrade_to(next.path()));
    assert_eq!(who(service.address()), "next");
    service.until_alone();
    assert!(world.is_locked());
}

#[test]
fn a_daemon_of_theirs_is_started_and_upgraded_under_load() {
    let world = World::new();
    let first = world.program(Theirs, "v1", "");
    let service = world.supervise(&first, &[]);
    assert_eq!(who(service.address()), "v1");
    assert!(world.is_locked());
    let writer = Writer::begin(service.address());
    for version in ["v2", "v3", "v4"] {
        let next = world.program(Theirs, version, "");
        committed(&service.upgrade_to(next.path()));
        assert_eq!(who(service.address()), version);
        let seen = world.written();
        until("the new one writes", || world.written() > seen + 3);
        service.until_alone();
    }
    writer.end(&world, 0);
    // I1: each wrote for as long as it was the owner, and never after.
    assert_eq!(world.writers(), ["v1", "v2", "v3", "v4"]);
    assert_eq!(world.hooks("v1"), ["drain", "seal"]);
}

#[test]
fn a_hook_longer_than_silence_may_be_is_kept_alive_by_its_heartbeats() {
    let world = World::new();
    let slow = world.program(Theirs, "slow", "--hook-delay 11000");
    let service = world.supervise(&slow, &[]);
    let next = world.program(Theirs, "next", "");
    committed(&service.upgrade_to(next.path()));
    assert_eq!(world.hooks("slow"), ["drain", "seal"]);
}

#[test]
fn i5_a_version_that_does_not_become_ready_leaves_the_old_one_serving() {
    let world = World::new();
    let first = world.program(Theirs, "v1", "");
    let service = world.supervise(&first, &["--activate-timeout", "2s"]);
    for (more, gave_up) in [
        ("--exit-before-greeting", false),
        ("--exit-before-ready", false),
        ("--never-ready", false),
        ("--unhealthy", true),
        ("--older", true),
    ] {
        // So that there is a revision to be older than.
        handover_tests::http::get(service.address(), "/write").expect("written");
        let bad = world.program(Theirs, "bad", more);
        let outcome = service.upgrade_to(bad.path());
        let cause = match &outcome {
            Outcome::RolledBack { cause } | Outcome::TimedOut { cause } => cause,
            other => panic!("{more}: {other}"),
        };
        let failed = matches!(cause, Cause::SuccessorFailed { .. });
        assert_eq!(failed, gave_up, "{more}: {cause}");
        assert_eq!(who(service.address()), "v1", "{more}");
        let written = handover_tests::http::get(service.address(), "/write").expect("an answer");
        assert_eq!(written.0, 200, "{more}: it owns its data again");
    }
    i9_the_next_commits(&world, &service);
}

#[test]
fn i3_a_seal_that_fails_leaves_the_old_one_serving() {
    let world = World::new();
    let first = world.program(Theirs, "v1", "");
    let service = world.supervise(&first, &[]);
    world.fail_next_seal();
    let next = world.program(Theirs, "v2", "");
    let outcome = service.upgrade_to(next.path());
    let Outcome::RolledBack {
        cause: Cause::SealFailed { reason },
    } = &outcome
    else {
        panic!("{outcome}");
    };
    assert!(reason.contains("the test wants no seal"), "{reason}");
    assert_eq!(world.hooks("v1"), ["drain", "seal", "resume"]);
    i9_the_next_commits(&world, &service);
}

/// In probation theirs stays sealed and reachable, and takes its lock back.
#[test]
fn an_old_daemon_of_theirs_takes_back_in_probation() {
    let world = World::new();
    let first = world.program(Theirs, "v1", "");
    let service = world.supervise(&first, &["--probation", "60s"]);
    let next = world.program(Theirs, "v2", "");
    committed(&service.upgrade_to(next.path()));
    process::signal(service.incumbent(), rustix::process::Signal::KILL);
    until("the old one serves again", || {
        handover_tests::http::get(service.address(), "/who").is_ok_and(|(_, who)| who == "v1")
    });
    assert!(world.is_locked());
    assert_eq!(world.hooks("v1"), ["drain", "seal", "resume"]);
    // Its path is the dead one's, its session is not.
    i9_the_next_commits(&world, &service);
}

#[test]
fn a_handover_between_daemons_of_theirs_is_undone() {
    let world = World::new();
    let first = world.program(Theirs, "v1", "");
    let service = world.supervise(&first, &["--probation", "60s"]);
    let next = world.program(Theirs, "v2", "");
    committed(&service.upgrade_to(next.path()));
    assert_eq!(who(service.address()), "v2");
    let outcome = service.undo();
    assert!(!matches!(outcome, Outcome::Refused { .. }), "{outcome}");
    assert_eq!(who(service.address()), "v1");
    service.until_alone();
    assert_eq!(world.hooks("v1"), ["drain", "seal", "resume"]);
    assert_eq!(world.hooks("v2"), ["drain", "seal"]);
    i9_the_next_commits(&world, &service);
}

/// I12: a supervisor that dies is replaced, and the daemon of theirs is found again.
#[test]
fn i12_a_new_supervisor_finds_a_daemon_of_theirs() {
    let world = World::new();
    let first = world.program(Theirs, "v1", "");
    let mut service = world.supervise(&first, &[]);
    let pid = service.incumbent();
    service.kill_supervisor();
    assert!(process::is_alive(pid));
    service.supervise();
    service.until_serving();
    assert_eq!(service.incumbent(), pid);
    i9_the_next_commits(&world, &service);
}

#[test]
fn stopping_the_supervisor_stops_a_daemon_of_theirs() {
    let world = World::new();
    let first = world.program(Theirs, "v1", "");
    let mut service = world.supervise(&first, &[]);
    service.stop(handover_proto::settings::Stop::Drain);
    assert!(service.ended().success());
    service.until_empty();
    assert!(!world.is_locked());
}
