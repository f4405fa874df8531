//! Listeners outlive the supervisor where nobody may take them back out of the instances.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use handover_proto::outcome::Outcome;
use handover_proto::status::UpgradeRequest;
use handover_tests::patience::{eventually, until};
use handover_tests::{Builder, Program, Service, http, peer, process};
use rustix::process::Signal;

use crate::FIXTURE;
use crate::adoption::{Client, adopted};

/// The keeper of a service, by its command line.
fn keeper(service: &Service) -> Option<u32> {
    let wanted = [b"__keeper\0", service.dir().as_os_str().as_bytes(), b"\0"].concat();
    let is_keeper = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.ends_with(&wanted) && process::is_alive(*pid)
    };
    let entries = fs::read_dir("/proc").expect("is there").flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.find(is_keeper)
}

fn some_keeper(service: &Service) -> u32 {
    eventually("there is a keeper", || keeper(service))
}

fn without_keeper(service: &Service) {
    until("the keeper has ended", || keeper(service).is_none());
}

/// The sockets of this machine that listen for TCP, as `/proc/PID/fd` names them.
fn listening() -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/net/tcp").expect("is there");
    let of_line = |line: &str| {
        // sl local rem st tx:rx tr:tm retrnsmt uid timeout inode
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields[3] == "0A").then(|| format!("socket:[{}]", fields[9]))
    };
    table.lines().skip(1).filter_map(of_line).collect()
}

/// Whether the keeper holds every listener of the supervisor's.
fn holds_all(service: &Service, keeper: u32) -> bool {
    let listening = listening();
    let ours = process::sockets(service.supervisor());
    let wanted: Vec<_> = ours.intersection(&listening).collect();
    let held = process::sockets(keeper);
    !wanted.is_empty() && wanted.into_iter().all(|socket| held.contains(socket))
}

/// Where the kernel refuses `pidfd_getfd` to the supervisor, as in many containers.
fn confined(builder: Builder) -> Option<Builder> {
    let python = std::process::Command::new("python3")
        .arg("--version")
        .output();
    if python.is_err() {
        peer::skip("it needs python3, to have the kernel refuse a system call");
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/forbid_pidfd_getfd.py");
    Some(builder.wrapper(["python3", &script.display().to_string()]))
}

fn supervisor_killed(builder: Builder, behaviour: &str, program: &Program) {
    let mut service = builder.start();
    let (address, incumbent) = (service.address(), service.incumbent());
    let first = some_keeper(&service);
    let client = Client::start(address);
    service.kill_supervisor();
    client.go_on();

    service.supervise();
    assert_eq!(adopted(&service), incumbent);
    service.until_serving();
    client.go_on();
    assert_eq!(
        (service.incumbent(), service.address()),
        (incumbent, address)
    );
    assert_eq!(keeper(&service), Some(first), "the same keeper goes on");
    assert!(holds_all(&service, first));

    program.replace(FIXTURE, &format!("--version new {behaviour}"));
    let outcome = service.upgrade_in_place();
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome}");
    client.go_on();
    client.finish();
    http::until_version(address, "new");
    service.until_alone();

    service.signal(Signal::TERM);
    assert!(service.ended().success());
    service.until_empty();
    without_keeper(&service);
}

/// I4, I12: the kernel refuses, so the supervisor starts a keeper by itself.
#[test]
fn i12_where_descriptors_cannot_be_taken_the_keeper_gives_them() {
    let program = Program::new(FIXTURE, "--version old");
    if let Some(builder) = confined(Builder::new(program.path())) {
        supervisor_killed(builder, "", &program);
    }
}

/// I4, I12: asked for where it would not be needed, also with a program without the library.
#[test]
fn i12_a_keeper_may_be_asked_for() {
    for behaviour in ["", "--plain"] {
        let program = Program::new(FIXTURE, &format!("--version old {behaviour}"));
        let builder = Builder::new(program.path()).flags(["--keeper", "always"]);
        supervisor_killed(builder, behaviour, &program);
    }
}

/// Without a keeper the same place is one where nobody can adopt; the old instance serves on.
#[test]
fn where_descriptors_cannot_be_taken_and_nobody_kept_them_a_supervisor_is_refused() {
    let program = Program::new(FIXTURE, "--version old");
    let builder = Builder::new(program.path()).flags(["--keeper", "never"]);
    let Some(builder) = confined(builder) else {
        return;
    };
    let mut service = builder.start();
    let address = service.address();
    assert_eq!(keeper(&service), None);
    service.kill_supervisor();
    service.supervise();
    assert_eq!(service.ended().code(), Some(11), "{}", service.stderr());
    assert_eq!(http::version(address), "old");
}

/// I4: a keeper that is killed is replaced, and the new one is as good.
#[test]
fn i4_a_keeper_that_is_killed_is_replaced() {
    let program = Program::new(FIXTURE, "--version old");
    let Some(builder) = confined(Builder::new(program.path())) else {
        return;
    };
    let mut service = builder.start();
    let (address, incumbent) = (service.address(), service.incumbent());
    let first = some_keeper(&service);
    process::signal(first, Signal::KILL);
    let second = eventually("another keeper", || {
        keeper(&service).filter(|pid| *pid != first)
    });
    until("it holds the listeners", || holds_all(&service, second));
    let client = Client::start(address);
    service.kill_supervisor();
    service.supervise();
    assert_eq!(adopted(&service), incumbent);
    client.go_on();
    client.finish();
}

/// I4: supervisor and instance are killed together; whoever connects waits for the next ones.
#[test]
fn i4_with_nobody_alive_clients_wait_for_a_moment() {
    let program = Program::new(FIXTURE, "--version old");
    let mut service = Builder::new(program.path())
        .flags(["--keeper", "always"])
        .start();
    let (address, incumbent) = (service.address(), service.incumbent());
    some_keeper(&service);
    service.kill_supervisor();
    process::signal(incumbent, Signal::KILL);
    until("it is gone", || !process::is_alive(incumbent));
    let asking = std::thread::spawn(move || http::get(address, "/version"));
    service.supervise();
    let answer = asking.join().expect("no panic");
    assert!(matches!(answer, Ok((200, _))), "{answer:?}");
    service.until_serving();
    assert_eq!(
        service.address(),
        address,
        "the same port, although any was asked for"
    );
}

/// An instance that no record names serves on: nobody is started beside it on what was kept.
#[test]
fn without_a_record_a_living_instance_is_let_be() {
    let program = Program::new(FIXTURE, "--version old");
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let listen = format!("http={address}");
    let mut service = Builder::bare(program.path())
        .flags(["--keeper", "always", "--listen", &listen])
        .start();
    let incumbent = service.incumbent();
    some_keeper(&service);
    service.kill_supervisor();
    for name in ["journal-a", "journal-b"] {
        let _ = fs::remove_file(service.dir().join(name));
    }
    service.supervise();
    assert_eq!(service.ended().code(), Some(11), "{}", service.stderr());
    assert_eq!(service.processes(), [incumbent]);
    assert_eq!(http::version(address), "old");
}

/// The keeper does not hold an address for nobody.
#[test]
fn a_keeper_that_nobody_needs_ends() {
    let program = Program::new(FIXTURE, "--version old");
    let mut service = Builder::new(program.path())
        .flags(["--keeper", "always"])
        .start();
    let (address, incumbent) = (service.address(), service.incumbent());
    some_keeper(&service);
    service.kill_supervisor();
    process::signal(incumbent, Signal::KILL);
    without_keeper(&service);
    let free = TcpListener::bind(address);
    assert!(free.is_ok(), "{free:?}");
}

/// Listeners that an upgrade brings or leaves out are kept and closed like the supervisor's own.
#[test]
fn the_keeper_holds_what_the_supervisor_holds() {
    let one = Program::new(FIXTURE, "--version one");
    let mut service = Builder::new(one.path())
        .flags(["--keeper", "always"])
        .start();
    let keeper = some_keeper(&service);
    assert!(holds_all(&service, keeper));
    let before = process::descriptors(keeper);
    let two = Program::new(FIXTURE, "--version two --listeners http,admin");
    let three = Program::new(FIXTURE, "--version three");
    let last = Program::new(FIXTURE, "--version last");
    let (http, admin) = ("http=127.0.0.1:0", "admin=127.0.0.1:0");
    for (program, listeners) in [
        (&two, &[http, admin][..]),
        (&three, &[http]),
        (&last, &[http]),
    ] {
        let outcome = service.upgrade(&UpgradeRequest {
            binary: Some(program.path().display().to_string()),
            listeners: Some(listeners.iter().map(|&text| text.to_owned()).collect()),
            ..UpgradeRequest::default()
        });
        assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome}");
        service.until_alone();
        until("it holds the same", || holds_all(&service, keeper));
        if listeners.len() == 2 {
            assert_eq!(process::descriptors(keeper), before + 1);
        }
    }
    // The version that had it cannot be rolled back to any more.
    until("it has closed the other", || {
        process::descriptors(keeper) == before
    });
    service.signal(Signal::TERM);
    assert!(service.ended().success());
    without_keeper(&service);
}

/// One that hangs holds up nobody for long, and the other way is open.
#[test]
fn i12_a_keeper_that_hangs_is_done_without() {
    let program = Program::new(FIXTURE, "--version old");
    let mut service = Builder::new(program.path())
        .flags(["--keeper", "always"])
        .start();
    let incumbent = service.incumbent();
    let keeper = some_keeper(&service);
    process::signal(keeper, Signal::STOP);
    let client = Client::start(service.address());
    service.kill_supervisor();
    service.supervise();
    assert_eq!(adopted(&service), incumbent);
    let outcome = service.upgrade_in_place();
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome}");
    client.go_on();
    client.finish();
    process::signal(keeper, Signal::KILL);
}
