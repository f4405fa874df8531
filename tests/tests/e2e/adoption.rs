//! The supervisor dies; the service does not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use handover_proto::event::EventKind;
use handover_proto::outcome::Outcome;
use handover_tests::patience::until;
use handover_tests::{Builder, Program, Service, control, http, process};

use crate::FIXTURE;

/// Between two questions: without a pause, the ports of closed connections would fill the
/// machine's tables, which is another test.
const PACE: Duration = Duration::from_millis(2);

/// Asks again and again, and remembers whether every question was answered.
pub(crate) struct Client {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    thread: JoinHandle<Vec<String>>,
}

impl Client {
    pub(crate) fn start(address: SocketAddr) -> Self {
        let (stop, answered) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (over, count) = (Arc::clone(&stop), Arc::clone(&answered));
        let thread = std::thread::spawn(move || {
            let mut failures = Vec::new();
            while !over.load(Ordering::Relaxed) {
                match http::get(address, "/version") {
                    Ok((200, _)) => {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    other => failures.push(format!("{other:?}")),
                }
                std::thread::sleep(PACE);
            }
            failures
        });
        Self {
            stop,
            answered,
            thread,
        }
    }

    /// Waits until some more were answered.
    pub(crate) fn go_on(&self) {
        let before = self.answered.load(Ordering::Relaxed);
        until("requests are answered", || {
            self.answered.load(Ordering::Relaxed) > before + 20
        });
    }

    pub(crate) fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        let failures = self.thread.join().expect("no panic");
        assert!(failures.is_empty(), "{failures:?}");
    }
}

pub(crate) fn adopted(service: &Service) -> u32 {
    service.event("adoption", |event| match event {
        EventKind::InstanceAdopted { pid, .. } => Some(pid.0),
        _ => None,
    })
}

fn killed_at_rest(behaviour: &str) {
    let program = Program::new(FIXTURE, &format!("--version old {behaviour}"));
    let mut service = Builder::new(program.path()).start();
    let (address, incumbent) = (service.address(), service.incumbent());
    let sockets = process::sockets(incumbent);
    let client = Client::start(address);
    service.kill_supervisor();
    client.go_on();

    service.supervise();
    assert_eq!(adopted(&service), incumbent);
    service.until_serving();
    client.go_on();
    // The same process on the same listener, which the new supervisor holds too.
    assert_eq!(
        (service.incumbent(), service.address()),
        (incumbent, address)
    );
    let held = process::sockets(service.supervisor());
    assert!(
        sockets.intersection(&held).next().is_some(),
        "{sockets:?} and {held:?} have nothing in common"
    );
    assert_eq!(service.count("instance_spawned"), 0);

    program.replace(FIXTURE, &format!("--version new {behaviour}"));
    let outcome = service.upgrade_in_place();
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome}");
    client.go_on();
    client.finish();
    http::until_version(address, "new");
    service.until_alone();
    assert!(!process::is_alive(incumbent));
}

/// I12, with the library: its channel opens again.
#[test]
fn i12_killed_at_rest_the_next_supervisor_adopts_a_native_instance() {
    killed_at_rest("");
}

/// I12, without it: everything is found by the kernel's knowledge alone.
#[test]
fn i12_killed_at_rest_the_next_supervisor_adopts_a_plain_instance() {
    killed_at_rest("--plain");
}

fn killed_while_warming(behaviour: &str) {
    let program = Program::new(FIXTURE, &format!("--version old {behaviour}"));
    let mut service = Builder::new(program.path()).start();
    let (address, incumbent) = (service.address(), service.incumbent());
    let slow = Program::new(FIXTURE, &format!("--never-ready {behaviour}"));
    let client = Client::start(address);
    let asking = {
        let (control, slow) = (service.control(), slow.path().to_owned());
        let body = serde_json::to_string(&control::to(&slow)).expect("JSON");
        // Nobody answers: the supervisor dies over it.
        std::thread::spawn(move || control.request("POST", "/v1/upgrade", &body))
    };
    let status = service.until("the candidate warms", |status| {
        status.successor.as_ref().is_some_and(|s| s.pid.is_some())
    });
    let candidate = status.successor.and_then(|s| s.pid).expect("a process").0;
    service.kill_supervisor();
    client.go_on();
    drop(asking.join().expect("no panic"));

    // I7: the journal tells the next supervisor how far the attempt had come.
    service.supervise();
    service.until_serving();
    client.go_on();
    assert_eq!(service.incumbent(), incumbent);
    until("the candidate is gone", || !process::is_alive(candidate));

    program.replace(FIXTURE, &format!("--version new {behaviour}"));
    let outcome = service.upgrade_in_place();
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome}");
    client.go_on();
    client.finish();
    http::until_version(address, "new");
    let status = service.until_alone();
    assert!(status.successor.is_none());
    assert_eq!(service.processes(), [service.incumbent()]);
}

/// I7, I9, I12: in the middle of an attempt, with the library.
#[test]
fn i7_killed_while_a_native_candidate_warms_the_incumbent_serves_on() {
    killed_while_warming("");
}

/// I7, I9, I12: in the middle of an attempt, without it.
#[test]
fn i7_killed_while_a_plain_candidate_warms_the_incumbent_serves_on() {
    killed_while_warming("--plain");
}

/// What a supervisor says in the course of an upgrade, in order; it is killed after each.
const MOMENTS: [&str; 7] = [
    "audit",
    "handover_started",
    "instance_spawned",
    "instance_ready",
    "instance_retiring",
    "handover_finished",
    "instance_exited",
];

/// Kills the supervisor as soon as its event stream names the moment, and lets another one go on.
fn killed_at(moment: &str, behaviour: &str) {
    let program = Program::new(FIXTURE, &format!("--version old {behaviour}"));
    let mut service = Builder::new(program.path()).start();
    let address = service.address();
    let client = Client::start(address);
    let before = service.count(moment);
    let new = Program::new(FIXTURE, &format!("--version new {behaviour}"));
    let body = serde_json::to_string(&control::to(new.path())).expect("JSON");
    let control = service.control();
    let asking = std::thread::spawn(move || control.request("POST", "/v1/upgrade", &body));
    until(moment, || service.count(moment) > before);
    service.kill_supervisor();
    // Answered or not: the kill may have come before or after the end of the attempt.
    drop(asking.join().expect("no panic"));
    client.go_on();

    service.supervise();
    service.until_alone();
    client.go_on();
    let serving = http::version(address);
    assert!(["old", "new"].contains(&serving.as_str()), "{serving}");
    until("one instance is left", || {
        service.processes() == [service.incumbent()]
    });
    let last = Program::new(FIXTURE, &format!("--version last {behaviour}"));
    let outcome = service.upgrade_to(last.path());
    assert!(
        matches!(outcome, Outcome::Committed { .. }),
        "{moment}: {outcome}"
    );
    client.go_on();
    client.finish();
    http::until_version(address, "last");
}

/// I7, I12: killed at every moment of an upgrade, with the library; no request is lost.
#[test]
fn i12_killed_at_any_moment_a_native_service_goes_on() {
    for moment in MOMENTS {
        killed_at(moment, "");
    }
}

/// I7, I12: the same without it.
#[test]
fn i12_killed_at_any_moment_a_plain_service_goes_on() {
    for moment in MOMENTS {
        killed_at(moment, "--plain");
    }
}

/// I12: the instance dies while nobody supervises; the next supervisor starts another.
#[test]
fn i12_both_killed_the_next_supervisor_starts_anew() {
    let program = Program::new(FIXTURE, "--version old");
    let mut service = Builder::new(program.path()).start();
    let incumbent = service.incumbent();
    service.kill_supervisor();
    process::signal(incumbent, rustix::process::Signal::KILL);
    until("it is gone", || !process::is_alive(incumbent));
    service.supervise();
    service.until_serving();
    assert_eq!(http::version(service.address()), "old");
    assert_ne!(service.incumbent(), incumbent);
}
