//! What makes an upgrade happen, what happens when triggers pile up, and how it all stops.

use std::io::Write;
use std::net::TcpStream;
use std::thread::JoinHandle;

use handover_proto::event::EventKind;
use handover_proto::outcome::{Cause, Exit, Outcome, Refusal};
use handover_proto::settings::{Stop, WhenBusy};
use handover_proto::status::UpgradeRequest;
use handover_tests::control::{to, to_when_busy};
use handover_tests::patience::until;
use handover_tests::{Builder, Program, Service, http, process};
use rustix::process::Signal;

use crate::FIXTURE;

fn service(arguments: &str, flags: &[&str]) -> (Program, Service) {
    let program = Program::new(FIXTURE, arguments);
    let service = Builder::new(program.path())
        .flags(flags.iter().copied())
        .start();
    (program, service)
}

fn asking(service: &Service, request: UpgradeRequest) -> JoinHandle<Outcome> {
    let control = service.control();
    std::thread::spawn(move || control.upgrade(&request))
}

/// An attempt that goes on until it is abandoned.
fn endless(service: &Service) -> (Program, JoinHandle<Outcome>) {
    let never = Program::new(FIXTURE, "--never-ready");
    let asked = asking(service, to(never.path()));
    service.until("it warms", |status| status.successor.is_some());
    (never, asked)
}

fn joined(asked: JoinHandle<Outcome>) -> Outcome {
    asked.join().expect("no panic")
}

/// A deploy as of old: replace the file, send a signal.
#[test]
fn signals_upgrade_to_what_stands_at_the_path() {
    let (program, service) = service("--version 1", &[]);
    for (n, signal) in [(2, Signal::HUP), (3, Signal::USR2), (4, Signal::HUP)] {
        program.replace(FIXTURE, &format!("--version {n}"));
        service.signal(signal);
        service.until("the upgrade commits", |status| status.generation.0 == n);
        http::until_version(service.address(), &n.to_string());
    }
    // It has no logs of its own to open again, says so, and serves on.
    service.signal(Signal::USR1);
    service.event("a word about it", |event| match event {
        EventKind::Warning { text } if text.contains("SIGUSR1") => Some(()),
        _ => None,
    });
    http::until_version(service.address(), "4");
}

/// `upgrade --binary` and `rollback`, there and back.
#[test]
fn the_command_upgrades_and_rolls_back() {
    let (_program, service) = service("--version old", &[]);
    let none = service.cli(&["rollback"]);
    assert_eq!(none.status.code(), Some(11), "{none:?}");

    let new = Program::new(FIXTURE, "--version new");
    let path = new.path().display().to_string();
    let upgrade = service.cli(&["upgrade", "--binary", &path]);
    assert_eq!(upgrade.status.code(), Some(0), "{upgrade:?}");
    http::until_version(service.address(), "new");

    for expected in ["old", "new"] {
        let rollback = service.cli(&["rollback"]);
        assert_eq!(rollback.status.code(), Some(0), "{rollback:?}");
        http::until_version(service.address(), expected);
    }
    assert_eq!(service.history().len(), 4);
}

/// What ran is what a rollback runs, whatever was copied over its path since.
#[test]
fn a_rollback_runs_the_file_that_ran() {
    let (program, service) = service("--version first", &[]);
    program.replace(FIXTURE, "--version second");
    assert!(matches!(
        service.upgrade_in_place(),
        Outcome::Committed { .. }
    ));
    http::until_version(service.address(), "second");
    std::fs::remove_file(program.path()).expect("removed");
    assert!(matches!(service.rollback(), Outcome::Committed { .. }));
    http::until_version(service.address(), "first");
}

/// `--fail`: whoever comes second is refused, and the attempt goes on.
#[test]
fn i9_a_second_trigger_can_be_refused() {
    let (_program, service) = service("--version old", &[]);
    let (_never, asked) = endless(&service);
    let good = Program::new(FIXTURE, "--version good");
    let path = good.path().display().to_string();
    let refused = service.cli(&["upgrade", "--fail", "--binary", &path]);
    assert_eq!(refused.status.code(), Some(11), "{refused:?}");
    service.abort();
    let cancelled = Outcome::RolledBack {
        cause: Cause::Cancelled,
    };
    // I5: abandoned, and the old one serves.
    assert_eq!(joined(asked), cancelled);
    assert_eq!(http::version(service.address()), "old");
    assert!(matches!(
        service.upgrade_to(good.path()),
        Outcome::Committed { .. }
    ));
}

/// `--supersede`: the running attempt gives way.
#[test]
fn i9_a_second_trigger_can_take_its_place() {
    let (_program, service) = service("--version old", &[]);
    let (_never, asked) = endless(&service);
    let good = Program::new(FIXTURE, "--version good");
    let outcome = service.upgrade(&to_when_busy(good.path(), WhenBusy::Supersede));
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome}");
    let superseded = Outcome::RolledBack {
        cause: Cause::Superseded,
    };
    assert_eq!(joined(asked), superseded);
    http::until_version(service.address(), "good");
}

/// `--queue`, the default: only the newest waits, and it runs when the attempt is over.
#[test]
fn i9_of_waiting_triggers_the_newest_runs() {
    let (_program, service) = service("--version old", &[]);
    let (_never, asked) = endless(&service);
    let older = Program::new(FIXTURE, "--version older");
    let newer = Program::new(FIXTURE, "--version newer");
    let first = asking(&service, to(older.path()));
    service.until("it waits", |status| status.queued);
    let second = asking(&service, to(newer.path()));
    let refusal = Refusal::Superseded;
    assert_eq!(joined(first), Outcome::Refused { refusal });
    let abort = service.cli(&["abort"]);
    assert_eq!(abort.status.code(), Some(0), "{abort:?}");
    assert!(matches!(joined(asked), Outcome::RolledBack { .. }));
    assert!(matches!(joined(second), Outcome::Committed { .. }));
    http::until_version(service.address(), "newer");
}

/// Requests from all sides at once: one attempt at a time, and the service is whole afterwards.
#[test]
fn i9_a_storm_of_triggers_leaves_one_instance() {
    let (_program, service) = service("--version 1", &[]);
    let busy = [WhenBusy::Queue, WhenBusy::Supersede, WhenBusy::Fail];
    let asked: Vec<_> = (0..12)
        .map(|n| {
            let when_busy = busy[n % busy.len()];
            let request = UpgradeRequest {
                when_busy,
                ..UpgradeRequest::default()
            };
            asking(&service, request)
        })
        .collect();
    let outcomes: Vec<_> = asked.into_iter().map(joined).collect();
    assert!(
        outcomes
            .iter()
            .any(|outcome| matches!(outcome, Outcome::Committed { .. })),
        "{outcomes:?}"
    );
    let lost = outcomes
        .iter()
        .any(|outcome| matches!(outcome, Outcome::NobodyServes { .. }));
    assert!(!lost, "{outcomes:?}");
    service.until_alone();
    until("one instance is left", || {
        service.processes() == [service.incumbent()]
    });
    assert!(matches!(
        service.upgrade_in_place(),
        Outcome::Committed { .. }
    ));
}

/// A connection with half a request on it, accepted by the instance that serves.
fn half_asked(service: &Service) -> TcpStream {
    let incumbent = service.incumbent();
    let sockets = process::sockets(incumbent);
    let mut stream = http::connect(service.address()).expect("connects");
    stream.write_all(b"GET /slow HTTP/1.1\r\n").expect("sent");
    until("the connection is accepted", || {
        let now = process::sockets(incumbent);
        now.difference(&sockets).next().is_some()
    });
    stream
}

/// A request is under way, and a stop that drains waits for its answer.
#[test]
fn a_stop_that_drains_answers_what_it_has_begun() {
    for how in ["control", "TERM", "QUIT", "command"] {
        let program = Program::new(FIXTURE, "");
        let mut service = Builder::new(program.path()).drain_notify("10s").start();
        let mut asked = half_asked(&service);
        match how {
            "control" => service.stop(Stop::Drain),
            "TERM" => service.signal(Signal::TERM),
            "QUIT" => service.signal(Signal::QUIT),
            _ => assert!(service.cli(&["stop"]).status.success()),
        }
        service.event("it drains", |event| match event {
            EventKind::Stopping { how: Stop::Drain } => Some(()),
            _ => None,
        });
        let rest = b"Host: test\r\nConnection: close\r\n\r\n";
        asked.write_all(rest).expect("sent");
        let (status, body) = http::finish(asked).expect("an answer");
        assert_eq!((status, body.as_str()), (200, "slow\n"), "{how}");
        assert_eq!(service.ended().code(), Some(0), "{how}");
        service.until_empty();
    }
}

/// `fast`: SIGTERM, and SIGKILL for whoever does not hear it. SIGINT is that, and never a swap.
#[test]
fn a_fast_stop_kills_who_does_not_hear() {
    for how in ["control", "INT", "command"] {
        let (_program, mut service) = service("--plain --ignore-term", &["--kill-after", "200ms"]);
        match how {
            "control" => service.stop(Stop::Fast),
            "INT" => service.signal(Signal::INT),
            _ => assert!(service.cli(&["stop", "--fast"]).status.success()),
        }
        assert_eq!(service.ended().code(), Some(0), "{how}");
        service.until_empty();
        assert_eq!(service.count("instance_killed"), 1, "{how}");
        assert_eq!(service.count("instance_spawned"), 1, "{how}");
    }
}

/// `now`, or a second SIGTERM while it drains: SIGKILL at once, connections or not.
#[test]
fn a_stop_now_kills_at_once() {
    for how in ["control", "TERM TERM", "command"] {
        let program = Program::new(FIXTURE, "");
        let builder = Builder::new(program.path()).flags(["--kill-after", "1000s"]);
        let mut service = builder.drain_notify("1000s").start();
        let _held = half_asked(&service);
        match how {
            "control" => service.stop(Stop::Now),
            "command" => assert!(service.cli(&["stop", "--now"]).status.success()),
            _ => {
                service.signal(Signal::TERM);
                service.event("it drains", |event| match event {
                    EventKind::Stopping { how: Stop::Drain } => Some(()),
                    _ => None,
                });
                service.signal(Signal::TERM);
            }
        }
        assert_eq!(service.ended().code(), Some(0), "{how}");
        service.until_empty();
        service.event("it was killed", |event| match event {
            EventKind::InstanceExited {
                exit: Exit::Signal(9),
                ..
            } => Some(()),
            _ => None,
        });
    }
}

/// A stop in the middle of an attempt ends both processes.
#[test]
fn a_stop_in_the_middle_of_an_upgrade_leaves_nobody() {
    // A candidate that warms is drained as one that serves: by the whole ladder.
    let short = ["--drain-grace", "500ms", "--kill-after", "500ms"];
    let (_program, mut service) = service("--version old", &short);
    let (_never, asked) = endless(&service);
    service.stop(Stop::Drain);
    let outcome = joined(asked);
    assert!(!matches!(outcome, Outcome::Committed { .. }), "{outcome}");
    assert_eq!(service.ended().code(), Some(0));
    service.until_empty();
}
