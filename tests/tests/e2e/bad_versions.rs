//! Versions that cannot run, do not start, or do not last. Whatever they do, somebody serves.

use std::fs;
use std::process::Output;

use handover_proto::event::EventKind;
use handover_proto::outcome::{Cause, Exit, Outcome, Refusal};
use handover_tests::patience::until;
use handover_tests::{Builder, Program, Service, http};

use crate::FIXTURE;

fn text(output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    format!("{stdout}{stderr}")
}

fn service(flags: &[&str]) -> (Program, Service) {
    let program = Program::new(FIXTURE, "--version old");
    let service = Builder::new(program.path())
        .flags(flags.iter().copied())
        .start();
    (program, service)
}

/// I9: whatever was tried, the next good version commits.
fn i9_the_next_commits(service: &Service) {
    let good = Program::new(FIXTURE, "--version next");
    let outcome = service.upgrade_to(good.path());
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome}");
    let address = service.address();
    // At once, but for a probation, in which both answer.
    until("the next one answers", || http::version(address) == "next");
}

/// Refused with exit code 11 and these words; nothing was started.
fn refused(service: &Service, binary: &str, words: &str) {
    let (incumbent, spawned) = (service.incumbent(), service.count("instance_spawned"));
    let answer = service.cli(&["upgrade", "--binary", binary]);
    let told = text(&answer);
    assert_eq!(answer.status.code(), Some(11), "{told}");
    assert!(told.contains(words), "{words:?} is not in: {told}");
    assert_eq!(service.count("instance_spawned"), spawned, "{told}");
    assert_eq!(service.incumbent(), incumbent);
    assert_eq!(http::version(service.address()), "old");
}

/// I5: what cannot be run is refused while the old one serves.
#[test]
fn i5_what_cannot_be_run_is_refused_before_anything_starts() {
    let (_program, service) = service(&[]);
    refused(&service, "/no/such/server", "no such file");
    refused(&service, "no-such-command-anywhere", "PATH");

    let locked = Program::new(FIXTURE, "");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(locked.path(), mode).expect("mode set");
    refused(&service, &locked.path().display().to_string(), "chmod +x");

    let mut image = fs::read(FIXTURE).expect("read");
    image.truncate(4096);
    // The machine, in the ELF header: SPARC, which nobody has any more.
    image[18..20].copy_from_slice(&2_u16.to_le_bytes());
    let foreign = Program::raw(&image, 0o755);
    refused(&service, &foreign.path().display().to_string(), "built for");

    let script = Program::raw(b"#!/no/such/interpreter\n", 0o755);
    let path = script.path().display().to_string();
    refused(&service, &path, "/no/such/interpreter");

    let noise = Program::raw(b"hello\n", 0o755);
    let path = noise.path().display().to_string();
    refused(&service, &path, "neither an ELF program nor a script");

    let directory = service.root().display().to_string();
    refused(&service, &directory, "not a regular file");

    i9_the_next_commits(&service);
}

/// The configured program itself is missing: nothing starts, and that is said.
#[test]
fn a_service_without_a_program_does_not_begin() {
    let missing = std::path::Path::new("/no/such/server");
    let mut service = Builder::new(missing).launch();
    assert_eq!(service.ended().code(), Some(11), "{}", service.stderr());
    assert!(service.stderr().contains("no such file"));
    assert!(service.processes().is_empty());
}

/// A test command that says no refuses the version.
#[test]
fn i5_a_version_that_fails_its_test_is_refused() {
    let (_program, service) = service(&[
        "--test-command",
        "grep -q good \"$HANDOVER_CANDIDATE\" || { echo no good in it >&2; exit 4; }",
    ]);
    let bad = Program::raw(b"#!/bin/sh\nexec sleep 1000\n", 0o755);
    let path = bad.path().display().to_string();
    refused(&service, &path, "no good in it");
    let report = text(&service.cli(&["check", "--binary", &path]));
    assert!(report.contains("test command"), "{report}");
    i9_the_next_commits_with(&service, "--version good");
}

fn i9_the_next_commits_with(service: &Service, arguments: &str) {
    let good = Program::new(FIXTURE, arguments);
    let outcome = service.upgrade_to(good.path());
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome}");
}

/// I5: it ends before it is ready; its code and its last words are shown, exit code 10.
#[test]
fn i5_a_version_that_ends_before_it_is_ready_is_rolled_back() {
    let (_program, service) = service(&[]);
    let incumbent = service.incumbent();
    let bad = Program::new(FIXTURE, "--version bad --crash-at-start 7");
    let path = bad.path().display().to_string();
    let answer = service.cli(&["upgrade", "--binary", &path]);
    let told = text(&answer);
    assert_eq!(answer.status.code(), Some(10), "{told}");
    assert!(told.contains("code 7"), "{told}");
    assert!(told.contains("no column email in table users"), "{told}");
    assert_eq!(service.incumbent(), incumbent);
    let outcome = service.upgrade_to(bad.path());
    let exit = Exit::Code(7);
    let cause = Cause::ExitedBeforeReady { exit };
    assert_eq!(outcome, Outcome::RolledBack { cause });
    assert_eq!(http::version(service.address()), "old");
    i9_the_next_commits(&service);
}

/// I5: it never becomes ready; it is killed, exit code 12.
#[test]
fn i5_a_version_that_is_never_ready_is_killed() {
    for behaviour in [
        "--never-ready",
        "--plain --never-ready",
        "--plain --never-ready --ignore-term",
    ] {
        let flags = ["--ready-timeout", "2s", "--kill-after", "300ms"];
        let (_program, service) = service(&flags);
        let incumbent = service.incumbent();
        let bad = Program::new(FIXTURE, behaviour);
        let path = bad.path().display().to_string();
        let answer = service.cli(&["upgrade", "--binary", &path]);
        let told = text(&answer);
        assert_eq!(answer.status.code(), Some(12), "{behaviour}: {told}");
        assert!(told.contains("2s"), "{behaviour}: {told}");
        service.until("the candidate is gone", |status| {
            status.successor.is_none() && status.leaving.is_empty()
        });
        assert_eq!(service.processes(), [incumbent], "{behaviour}");
        assert_eq!(http::version(service.address()), "old");
        i9_the_next_commits(&service);
    }
}

/// It was ready, committed, and ends a second later: the version before it serves again, and that
/// is said.
#[test]
fn i11_a_version_that_does_not_last_is_replaced_by_the_one_before() {
    let (_program, service) = service(&["--restart-pause", "10ms"]);
    let bad = Program::new(FIXTURE, "--version bad --exit-after-ready 1000");
    let outcome = service.upgrade_to(bad.path());
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome}");
    let words = service.event("its end", |event| match event {
        EventKind::InstanceExited {
            exit: Exit::Code(9),
            expected: false,
            last_words,
            ..
        } => Some(last_words.join("\n")),
        _ => None,
    });
    assert!(words.contains("the cache is corrupt"), "{words}");
    service.event("the way back", |event| match event {
        EventKind::RestartScheduled {
            previous_version: true,
            ..
        } => Some(()),
        _ => None,
    });
    service.until_serving();
    assert_eq!(http::version(service.address()), "old");
    i9_the_next_commits(&service);
}

/// In probation the old one is still there and takes back at once: nobody is started.
#[test]
fn i11_in_probation_the_old_instance_takes_back() {
    let (_program, service) = service(&["--probation", "30s"]);
    let incumbent = service.incumbent();
    let bad = Program::new(FIXTURE, "--version bad --exit-after-ready 300");
    let outcome = service.upgrade_to(bad.path());
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome}");
    service.event("the old one takes back", |event| match event {
        EventKind::TakenBack { .. } => Some(()),
        _ => None,
    });
    service.until_serving();
    assert_eq!(service.incumbent(), incumbent);
    // The two versions, and none in place of the bad one.
    assert_eq!(service.count("instance_spawned"), 2);
    assert_eq!(http::version(service.address()), "old");
    i9_the_next_commits(&service);
}

/// A crash is followed by a start, later each time; too many, and the supervisor gives up with
/// exit code 13 and says so.
#[test]
fn crashes_are_followed_by_restarts_until_it_gives_up() {
    let program = Program::new(FIXTURE, "--exit-after-ready 20");
    const LIMIT: u32 = 4;
    let limit = LIMIT.to_string();
    let flags = ["--restart-limit", &limit, "--restart-pause", "10ms"];
    let mut service = Builder::new(program.path()).flags(flags).launch();
    assert_eq!(service.ended().code(), Some(13), "{}", service.stderr());
    let events = service.events();
    let pauses: Vec<_> = events
        .iter()
        .filter_map(|event| match event.kind {
            EventKind::RestartScheduled { after, .. } => Some(after),
            _ => None,
        })
        .collect();
    // The first at once, the following ones ever later.
    assert!(pauses.len() >= 2, "{pauses:?}");
    assert!(pauses[0].is_zero(), "{pauses:?}");
    assert!(
        pauses.is_sorted() && pauses.last() > pauses.first(),
        "{pauses:?}"
    );
    let crashes = events.iter().find_map(|event| match event.kind {
        EventKind::GaveUp { crashes, .. } => Some(crashes),
        _ => None,
    });
    // So many restarts, and the crash after the last of them.
    assert_eq!(crashes, Some(LIMIT + 1));
    assert_eq!(service.count("restart_scheduled"), LIMIT as usize);
    assert!(service.processes().is_empty());
}

/// A good service that is killed is started again, on the same listener.
#[test]
fn i4_a_killed_instance_is_started_again() {
    let (_program, service) = service(&[]);
    let (address, killed) = (service.address(), service.incumbent());
    handover_tests::process::signal(killed, rustix::process::Signal::KILL);
    service.until("another one serves", |status| {
        let pid = status.incumbent.as_ref().and_then(|i| i.pid);
        pid.is_some_and(|pid| pid.0 != killed) && status.handover.is_none()
    });
    assert_eq!(service.address(), address);
    assert_eq!(http::version(address), "old");
}

/// `handover upgrade` on a service that has lost everything says that nobody serves.
#[test]
fn a_refusal_names_its_reason_in_json_too() {
    let (_program, service) = service(&[]);
    let outcome = service.upgrade_to(std::path::Path::new("/no/such/server"));
    let Outcome::Refused {
        refusal: Refusal::Preflight { reason },
    } = outcome
    else {
        panic!("{outcome}")
    };
    assert!(reason.contains("/no/such/server"), "{reason}");
}
