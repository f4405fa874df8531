//! Listeners that cannot be had, and listeners that change between versions.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::chown;

use handover_proto::event::EventKind;
use handover_proto::outcome::Outcome;
use handover_proto::status::UpgradeRequest;
use handover_tests::service::{NAME, clean, command_path};
use handover_tests::{Builder, Program, Service, http, peer, process};

use crate::FIXTURE;

/// `nobody`, on every Linux system.
const NOBODY: u32 = 65534;

fn address_of(service: &Service, name: &str) -> Option<SocketAddr> {
    let listeners = service.status().listeners;
    let found = listeners.into_iter().find(|entry| entry.name == name)?;
    Some(found.address.parse().expect("an address"))
}

fn upgrade(service: &Service, program: &Program, listeners: &[&str]) -> Outcome {
    service.upgrade(&UpgradeRequest {
        binary: Some(program.path().display().to_string()),
        listeners: Some(listeners.iter().map(|&text| text.to_owned()).collect()),
        ..UpgradeRequest::default()
    })
}

/// Somebody else has the address: refused at the start, and by an upgrade; the old one serves.
#[test]
fn i5_an_address_in_use_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("an address");
    let listen = format!("http={address}");
    let program = Program::new(FIXTURE, "");
    let mut service = Builder::bare(program.path())
        .flags(["--listen", &listen])
        .launch();
    assert_eq!(service.ended().code(), Some(11));
    let told = service.stderr();
    assert!(
        told.contains(&address.to_string()) && told.contains("in use"),
        "{told}"
    );
    assert!(service.processes().is_empty());

    let service = Builder::new(program.path()).start();
    let spawned = service.count("instance_spawned");
    let outcome = upgrade(
        &service,
        &program,
        &["http=127.0.0.1:0", &format!("more={address}")],
    );
    assert!(matches!(outcome, Outcome::Refused { .. }), "{outcome}");
    assert!(outcome.to_string().contains("in use"), "{outcome}");
    assert_eq!(service.count("instance_spawned"), spawned);
    http::until_version(service.address(), "0");
    assert!(matches!(
        service.upgrade_in_place(),
        Outcome::Committed { .. }
    ));
}

/// A port that only root may have.
#[test]
fn a_privileged_port_is_refused_with_the_reason() {
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let first: u32 = first.expect("read").trim().parse().expect("a number");
    if first <= 1 {
        return peer::skip("every port is free for all here (ip_unprivileged_port_start)");
    }
    let program = Program::raw(b"#!/bin/sh\nexec sleep 1000\n", 0o755);
    let directory = tempfile::tempdir().expect("a directory");
    let command = command_path();
    // Some other user's home may be closed to nobody; a copy in a directory of its own is not.
    let copy = directory.path().join("handover");
    std::fs::copy(command, &copy).expect("copied");
    let mut words = vec![copy.display().to_string()];
    if rustix::process::geteuid().is_root() {
        chown(directory.path(), Some(NOBODY), Some(NOBODY)).expect("given away");
        let id = NOBODY.to_string();
        let other = ["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"];
        words = other.iter().map(|&word| word.into()).chain(words).collect();
    }
    let port = first - 1;
    let output = clean(&words[0])
        .args(&words[1..])
        .args([
            "run",
            "--name",
            NAME,
            "--listen",
            &format!("http=127.0.0.1:{port}"),
            "--",
        ])
        .arg(program.path())
        .env("HANDOVER_RUNTIME_DIR", directory.path().join("run"))
        .output()
        .expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(11), "{told}");
    assert!(told.contains("CAP_NET_BIND_SERVICE"), "{told}");
}

/// What is no listener is a matter of usage.
#[test]
fn a_wrong_listener_is_explained() {
    let program = Program::new(FIXTURE, "");
    for (listen, words) in [
        ("8080", "NAME=ADDRESS"),
        ("http=localhost", "no port"),
        ("http=127.0.0.1:99999", "no port"),
        ("ht tp=127.0.0.1:0", "LISTEN_FDNAMES"),
        ("s=unix:", "needs a path"),
    ] {
        let mut service = Builder::bare(program.path())
            .flags(["--listen", listen])
            .launch();
        let code = service.ended().code();
        let told = service.stderr();
        assert_eq!(code, Some(2), "{listen}: {told}");
        assert!(
            told.contains(words) || words == "LISTEN_FDNAMES" && told.contains("printable"),
            "{listen}: {told}"
        );
    }
    let service = Builder::new(program.path()).start();
    let outcome = upgrade(&service, &program, &["8080"]);
    assert!(matches!(outcome, Outcome::Refused { .. }), "{outcome}");
}

/// I4, I8: a listener is added, another version renames it, and a last one does without.
#[test]
fn i8_listeners_come_and_go_with_the_versions() {
    let one = Program::new(FIXTURE, "--version one");
    let service = Builder::new(one.path()).start();
    let address = service.address();

    let two = Program::new(FIXTURE, "--version two --listeners http,admin");
    let outcome = upgrade(&service, &two, &["http=127.0.0.1:0", "admin=127.0.0.1:0"]);
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome}");
    let admin = address_of(&service, "admin").expect("it was added");
    assert_eq!(address_of(&service, "http"), Some(address));
    assert_eq!(
        (http::version(address), http::version(admin)),
        ("two".into(), "two".into())
    );

    let three = Program::new(FIXTURE, "--version three --listeners web");
    let spec = "web=127.0.0.1:0";
    let outcome = upgrade(&service, &three, &[spec]);
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome}");
    // The first socket of that address goes by a new name; the other one is closed.
    assert_eq!(address_of(&service, "web"), Some(address));
    http::until_version(address, "three");
    // For as long as a rollback would need it, a listener is kept; the next version ends that.
    let four = Program::new(FIXTURE, "--version four --listeners web");
    let outcome = service.upgrade_to(four.path());
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome}");
    http::until_version(address, "four");
    service.event("the listener is closed", |event| match event {
        EventKind::ListenerClosed { name } if name == "admin" => Some(()),
        _ => None,
    });
    service.until_alone();
    handover_tests::patience::until("nobody listens there", || {
        TcpStream::connect(admin).is_err()
    });
    assert_eq!(service.status().listeners.len(), 1);
}

/// I8: a listener the program does not ask for is closed in it, and that is said.
#[test]
fn i8_a_listener_nobody_asked_for_is_reported_and_closed() {
    let program = Program::new(FIXTURE, "");
    let service = Builder::new(program.path())
        .flags(["--listen", "spare=127.0.0.1:0"])
        .start();
    service.event("it is reported", |event| match event {
        EventKind::ListenerUnclaimed { name, .. } if name == "spare" => Some(()),
        _ => None,
    });
    let ours = process::sockets(service.supervisor());
    let theirs = process::sockets(service.incumbent());
    // Both hold `http`; only the supervisor holds `spare`.
    let shared: Vec<_> = ours.intersection(&theirs).collect();
    assert_eq!(shared.len(), 1, "{ours:?} {theirs:?}");
}
