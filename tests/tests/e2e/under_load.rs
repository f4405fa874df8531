//! Upgrades nobody notices.

use std::io::Write;

use handover_proto::outcome::Outcome;
use handover_tests::patience::until;
use handover_tests::{Builder, Program, Service, http, load, process};
use handover_verify::{Load, Report};

use crate::FIXTURE;

/// Few enough to wait for, and enough for a loss of one in a few thousand to show.
const UPGRADES: u32 = 10;

/// Replaces the program and upgrades, under load, again and again.
fn upgraded(behaviour: &'static str, flags: &[&str]) -> (Service, Report) {
    let version = move |n: u32| format!("--version {n} {behaviour}");
    let program = Program::new(FIXTURE, &version(0));
    let service = Builder::new(program.path())
        .flags(flags.iter().copied())
        .start();
    let plan = load::plan(service.address(), UPGRADES);
    let control = service.control();
    let upgrade = move |n| {
        program.replace(FIXTURE, &version(n));
        control.upgrade_in_place()
    };
    let report = load::run(&plan, upgrade, load::committed);
    (service, report)
}

fn require_seamless(service: &Service, report: &Report) {
    load::require_lossless(report);
    for load in Load::ALL {
        let client = report.client(load).expect("it was asked for");
        assert!(client.answered > 0, "{}", report.table());
    }
    for upgrade in &report.upgrades {
        let after = upgrade.version_after.as_deref();
        let n = upgrade.n.to_string();
        assert_eq!(after, Some(n.as_str()), "{}", report.table());
    }
    let status = service.until_alone();
    assert_eq!(status.generation.0, u64::from(UPGRADES) + 1);
    http::until_version(service.address(), &UPGRADES.to_string());
    // Whoever was replaced has gone: the incumbent is the only process of the service.
    assert_eq!(service.processes(), [service.incumbent()]);
}

/// I4: the listening socket is never closed, and nothing queued in it is lost. I6: each attempt
/// that became ready commits. I10: nothing disturbs it, so it commits.
#[test]
fn i10_a_program_with_the_library_is_upgraded_without_loss() {
    let (service, report) = upgraded("", &[]);
    require_seamless(&service, &report);
    // Nobody was cut: whoever kept a connection was told to make another.
    let keep_alive = report.client(Load::KeepAlive).expect("it was asked for");
    assert!(keep_alive.told_to_close > 0, "{}", report.table());
}

/// I4, with a program that only takes `LISTEN_FDS` and drains on SIGTERM.
#[test]
fn i4_a_program_that_knows_nothing_of_us_is_upgraded_without_loss() {
    let (service, report) = upgraded("--plain", &["--ready", "accepts"]);
    require_seamless(&service, &report);
}

/// I4, with a program that says `READY=1`.
#[test]
fn i4_a_program_that_notifies_is_upgraded_without_loss() {
    let (service, report) = upgraded("--notify --start-delay 100", &["--ready", "notify"]);
    require_seamless(&service, &report);
}

/// Half a request is sent, the service upgraded, and the other half sent.
fn half_sent(behaviour: &str) {
    let program = Program::new(FIXTURE, &format!("--version old {behaviour}"));
    let service = Builder::new(program.path()).drain_notify("10s").start();
    let address = service.address();
    let old = service.incumbent();
    let sockets = process::sockets(old);
    let mut stream = http::connect(address).expect("connects");
    stream
        .write_all(b"POST /echo HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Le")
        .expect("sent");
    until("the old instance has accepted it", || {
        process::sockets(old).difference(&sockets).next().is_some()
    });

    program.replace(FIXTURE, &format!("--version new {behaviour}"));
    let outcome = service.upgrade_in_place();
    assert!(load::committed(&outcome), "{outcome}");
    http::until_version(address, "new");

    stream.write_all(b"ngth: 10\r\n\r\nhello").expect("sent");
    // The new one answers others meanwhile.
    http::until_version(address, "new");
    stream.write_all(b"world").expect("sent");
    let (status, body) = http::finish(stream).expect("an answer");
    assert_eq!((status, body.as_str()), (200, "helloworld"));
    service.until_alone();
    assert!(!process::is_alive(old));
}

/// A client that sends half a request across the upgrade is answered.
#[test]
fn a_half_sent_request_is_answered_by_a_program_with_the_library() {
    half_sent("");
}

/// The same without the library.
#[test]
fn a_half_sent_request_is_answered_by_a_plain_program() {
    half_sent("--plain");
}

/// Its start-up takes long, yet nobody waits for it.
#[test]
fn i6_a_slow_start_and_a_failed_one_are_not_noticed_either() {
    let program = Program::new(FIXTURE, "--version good");
    let service = Builder::new(program.path())
        .flags(["--ready-timeout", "3s"])
        .start();
    let plan = load::plan(service.address(), 4);
    let control = service.control();
    let candidates = [
        Program::new(FIXTURE, "--version crashing --crash-at-start 3"),
        Program::new(FIXTURE, "--version never --never-ready"),
        Program::new(FIXTURE, "--version slow --start-delay 300"),
        Program::new(FIXTURE, "--version big --hold 64"),
    ];
    let upgrade = move |n: u32| control.upgrade_to(candidates[n as usize - 1].path());
    // The first two must not be committed, and of the others the test asks below.
    let report = load::run(&plan, upgrade, |_| true);
    load::require_lossless(&report);
    let outcomes: Vec<_> = service.history().into_iter().map(|e| e.outcome).collect();
    assert!(
        matches!(
            outcomes.as_slice(),
            [
                Outcome::Committed { .. },
                Outcome::RolledBack { .. },
                Outcome::TimedOut { .. },
                Outcome::Committed { .. },
                Outcome::Committed { .. },
            ]
        ),
        "{outcomes:?}"
    );
    http::until_version(service.address(), "big");
}
