//! Readiness that is asked for, not told.

use std::path::{Path, PathBuf};

use handover_proto::event::{EventKind, Readiness};
use handover_proto::outcome::Outcome;
use handover_tests::patience::until;
use handover_tests::{Builder, Program, Service, control, http};
use tempfile::TempDir;

use crate::FIXTURE;

fn file() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("healthy");
    (directory, file)
}

fn last_readiness(service: &Service) -> Option<Readiness> {
    let events = service.events();
    events.iter().rev().find_map(|event| match event.kind {
        EventKind::InstanceReady { how, .. } => Some(how),
        _ => None,
    })
}

/// Upgrades to a version that is not healthy at first: nothing may be committed before it is.
fn unhealthy_at_first(service: &Service, healthy: &Path, asked: &Path, arguments: &str) {
    let new = Program::new(FIXTURE, arguments);
    let (control, request) = (service.control(), control::to(new.path()));
    let upgrade = std::thread::spawn(move || control.upgrade(&request));
    until("the new instance is asked", || asked.exists());
    // The old one would have said yes on the same port; and others are served by both.
    let status = service.status();
    assert!(status.successor.is_some() && status.handover.is_some());
    assert_eq!(status.generation.0, 1);
    std::fs::write(healthy, "").expect("written");
    let outcome = upgrade.join().expect("no panic");
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome}");
    http::until_version(service.address(), "new");
}

fn shared_port(behaviour: &str) {
    let old = Program::new(FIXTURE, &format!("--version old {behaviour}"));
    let service = Builder::new(old.path())
        .flags(["--ready", "http:/healthz"])
        .start();
    let (_directory, healthy) = file();
    let arguments = format!(
        "--version new {behaviour} --healthy-when {}",
        healthy.display()
    );
    let asked = healthy.with_extension("asked");
    unhealthy_at_first(&service, &healthy, &asked, &arguments);
    assert_eq!(last_readiness(&service), Some(Readiness::Probe));
}

/// I5: the port is shared with a healthy old instance, and only the new one's answer counts.
#[test]
fn i5_a_probe_on_the_shared_port_is_answered_by_the_new_instance() {
    shared_port("--plain");
}

/// The same with the library, whose own word does not count where a probe is configured.
#[test]
fn i5_a_probe_is_asked_of_a_program_with_the_library_too() {
    shared_port("");
}

/// A command decides.
#[test]
fn i5_a_probe_command_decides() {
    let (_directory, healthy) = file();
    std::fs::write(&healthy, "").expect("written");
    let asked = healthy.with_extension("asked");
    let command = format!(
        "command:test -n \"$HANDOVER_PROBE_PID\" && {{ test -e '{0}' || {{ touch '{1}'; exit 1; }}; }}",
        healthy.display(),
        asked.display()
    );
    let old = Program::new(FIXTURE, "--plain --version old");
    let service = Builder::new(old.path())
        .flags(["--ready", &command])
        .start();
    std::fs::remove_file(&healthy).expect("removed");
    unhealthy_at_first(&service, &healthy, &asked, "--plain --version new");
    assert_eq!(last_readiness(&service), Some(Readiness::Command));
}

/// A named address, which here is the shared one.
#[test]
fn a_tcp_probe_finds_out_who_accepts() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = free.local_addr().expect("an address");
    drop(free);
    let program = Program::new(FIXTURE, "--plain --start-delay 200");
    let service = Builder::bare(program.path())
        .flags(["--listen", &format!("http={address}")])
        .flags(["--ready", &format!("tcp:{address}")])
        .start();
    assert!(matches!(
        service.upgrade_in_place(),
        Outcome::Committed { .. }
    ));
    assert_eq!(last_readiness(&service), Some(Readiness::Accepts));
    service.until_alone();
    assert_eq!(http::pid(address), service.incumbent());
}

/// Other words than the expected ones are none: a program that never notifies is never ready.
#[test]
fn i5_a_program_that_does_not_notify_is_not_ready_where_that_is_expected() {
    let program = Program::new(FIXTURE, "--notify --version old");
    let service = Builder::new(program.path())
        .flags(["--ready", "notify", "--ready-timeout", "2s"])
        .start();
    let silent = Program::new(FIXTURE, "--plain --version new");
    let outcome = service.upgrade_to(silent.path());
    assert!(matches!(outcome, Outcome::TimedOut { .. }), "{outcome}");
    service.until_alone();
    assert_eq!(http::version(service.address()), "old");
}
