//! The conversation with a coordinator, which is played by the test over a real socket.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use handover::{DrainReport, InstanceId, ReadyError, Stage};
use handover_proto::message::{FromInstance, Role, ToInstance};
use handover_proto::phase::Mode;

use crate::world::{
    ATTEMPT, Coordinator, DEADLINE, NEVER, begin, client, echo, eventually, inet, instance_of,
    ladder, pair,
};

#[test]
fn a_successor_greets_waits_for_its_welcome_and_names_what_it_claimed() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let spare = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut coordinator, inheritance) = Coordinator::with(None);
    let inheritance = inheritance.listener("http", socket.into()).unwrap();
    let inheritance = inheritance.listener("spare", spare.into()).unwrap();
    let instance = instance_of(inheritance);
    assert_eq!(instance.id(), Some(InstanceId(7)));
    coordinator.hello(Role::Successor);
    let _http = instance.tcp("http", "127.0.0.1:0").unwrap();
    let _own = instance.tcp("own", "127.0.0.1:0").unwrap();

    let other = instance.clone();
    let ready = begin("ready", move || other.ready());
    coordinator.welcome(Mode::Overlap, true);
    ready.end().unwrap();
    let claimed = vec!["http".to_owned()];
    let lease = None;
    let ready = FromInstance::Ready { claimed, lease };
    assert_eq!(coordinator.hear(), Some(ready));
    let again = instance.ready().unwrap_err();
    assert!(matches!(again, ReadyError::Twice), "{again}");

    assert!(!instance.committed_within(Duration::ZERO));
    coordinator.say(&ToInstance::Commit { id: ATTEMPT });
    assert!(instance.committed_within(DEADLINE));
}

#[test]
fn words_time_and_counts_reach_the_coordinator() {
    let (mut coordinator, inheritance) = Coordinator::with(None);
    let instance = instance_of(inheritance);
    coordinator.hello(Role::Successor);
    instance.status("loading");
    let text = "loading".to_owned();
    assert_eq!(coordinator.hear(), Some(FromInstance::Status { text }));
    instance.extend(Duration::from_millis(1500));
    let millis = 1500;
    assert_eq!(coordinator.hear(), Some(FromInstance::Extend { millis }));
    let guards = [instance.guard(), instance.guard()];
    // Whichever counts are told on the way, the last one is true.
    while coordinator.hear_any() != Some(FromInstance::Connections { open: 2 }) {}
    drop(guards);
    while coordinator.hear_any() != Some(FromInstance::Connections { open: 0 }) {}
}

#[test]
fn a_retired_instance_reports_and_keeps_its_channel() {
    let (mut coordinator, inheritance) = Coordinator::with(None);
    let instance = instance_of(inheritance);
    let listener = instance.tcp("http", "127.0.0.1:0").unwrap();
    coordinator.ready(&instance);
    let (mut client, connection) = pair(&listener);
    let ladder = ladder(Duration::ZERO, NEVER);
    coordinator.say(&ToInstance::Retire { ladder });
    assert!(instance.draining_within(DEADLINE));
    echo(&mut client, &connection, b"in flight");
    drop(connection);
    let report = DrainReport {
        finished: 1,
        ..DrainReport::default()
    };
    assert_eq!(instance.retired_within(DEADLINE), Some(report));
    // Told before whoever waits here, who may end the process.
    coordinator.stream.set_nonblocking(true).unwrap();
    assert_eq!(coordinator.hear(), Some(FromInstance::Retired { report }));
    // The end of the channel is the end of the process, nothing less.
    let read = coordinator.stream.read(&mut [0]);
    assert_eq!(read.unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// Exclusive handovers drain before anybody else is ready, and may be taken back (I5).
#[test]
fn a_drain_that_is_aborted_is_resumed() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut coordinator, inheritance) = Coordinator::with(None);
    let inheritance = inheritance.listener("http", socket.into()).unwrap();
    let instance = instance_of(inheritance);
    let listener = instance.tcp("http", "127.0.0.1:0").unwrap();
    let address = inet(&listener);
    coordinator.ready(&instance);

    // One thread waits when the pause comes, one begins during it.
    let accept = move || {
        let mut connection = listener.accept().unwrap().unwrap();
        connection.write_all(b"resumed").unwrap();
    };
    let accepting = begin("accepted", accept);
    let id = ATTEMPT;
    let within_ms = 60_000;
    coordinator.say(&ToInstance::Drain { id, within_ms });
    let report = DrainReport::default();
    assert_eq!(
        coordinator.hear(),
        Some(FromInstance::Drained { id, report })
    );
    // Not lost: it waits in the queue until somebody accepts again.
    let mut client = client(address);
    assert!(!accepting.is_over());
    assert_eq!(instance.connections(), 0);
    assert!(instance.asks_to_reconnect());

    coordinator.say(&ToInstance::Resume { id });
    let lease = None;
    assert_eq!(
        coordinator.hear(),
        Some(FromInstance::Resumed { id, lease })
    );
    accepting.end();
    let mut text = [0; 7];
    client.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"resumed");
    assert_eq!(instance.stage(), Stage::Serving);
    assert!(!instance.asks_to_reconnect());
}

#[test]
fn without_an_incumbent_a_lost_coordinator_does_not_stop_a_start() {
    let (mut coordinator, inheritance) = Coordinator::with(None);
    let instance = instance_of(inheritance);
    coordinator.hello(Role::Successor);
    coordinator.welcome(Mode::Overlap, false);
    drop(coordinator);
    instance.ready().unwrap();
    assert_eq!(instance.stage(), Stage::Serving);
}

/// I5: nobody asked it to serve, and somebody else does.
#[test]
fn with_an_incumbent_a_lost_coordinator_ends_the_successor() {
    let (mut coordinator, inheritance) = Coordinator::with(None);
    let instance = instance_of(inheritance);
    coordinator.hello(Role::Successor);
    coordinator.welcome(Mode::Overlap, true);
    drop(coordinator);
    assert!(instance.draining_within(DEADLINE), "told to end");
    let error = instance.ready().unwrap_err();
    assert!(matches!(error, ReadyError::CoordinatorGone), "{error}");
}

#[test]
fn ready_is_refused_in_exclusive_mode_with_the_reason() {
    let (mut coordinator, inheritance) = Coordinator::with(None);
    let instance = instance_of(inheritance);
    coordinator.hello(Role::Successor);
    coordinator.welcome(Mode::Exclusive, true);
    let error = instance.ready().unwrap_err();
    assert!(matches!(error, ReadyError::Exclusive), "{error}");
    let reason = error.to_string();
    assert_eq!(coordinator.hear(), Some(FromInstance::Failed { reason }));
}

#[test]
fn a_drain_before_ready_ends_the_successor() {
    let (mut coordinator, inheritance) = Coordinator::with(None);
    let instance = instance_of(inheritance);
    coordinator.hello(Role::Successor);
    instance.drain();
    assert!(instance.draining_within(DEADLINE));
    let error = instance.ready().unwrap_err();
    assert!(matches!(error, ReadyError::Terminated), "{error}");
}

/// I12: an instance serves on without its coordinator, finds the next one, and retires for it.
#[test]
fn a_new_coordinator_is_found_and_obeyed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("native.sock");
    let (mut coordinator, inheritance) = Coordinator::with(Some(path.clone()));
    let instance = instance_of(inheritance);
    let listener = instance.tcp("http", "127.0.0.1:0").unwrap();
    coordinator.ready(&instance);
    // Half a frame must not confuse the next conversation.
    coordinator.stream.write_all(&[9, 0, 0]).unwrap();
    drop(coordinator);

    let (mut client, connection) = pair(&listener);
    echo(&mut client, &connection, b"serving alone");
    let knock = || {
        let bound = UnixListener::bind(&path).unwrap();
        let knocked = begin("knock", move || bound.accept().unwrap().0);
        let mut next = Coordinator::over(knocked.end());
        next.hello(Role::Incumbent);
        next
    };
    // Nobody listens there at first, and a first coordinator dies again.
    for _ in 0..2 {
        drop(knock());
        std::fs::remove_file(&path).unwrap();
    }
    let mut next = knock();
    next.welcome(Mode::Overlap, true);
    // The new one learns what is open although nothing has changed.
    assert_eq!(next.hear_any(), Some(FromInstance::Connections { open: 1 }));
    drop(connection);
    let ladder = ladder(NEVER, NEVER);
    next.say(&ToInstance::Retire { ladder });
    assert!(instance.retired_within(DEADLINE).is_some());
    eventually("it is over", || instance.stage() == Stage::Over);
}

/// A coordinator that talks nonsense is left, and the instance serves on.
#[test]
fn nonsense_closes_the_channel_and_nothing_else() {
    let (mut coordinator, inheritance) = Coordinator::with(None);
    let instance = instance_of(inheritance);
    let listener = instance.tcp("http", "127.0.0.1:0").unwrap();
    coordinator.ready(&instance);
    coordinator.stream.write_all(&[0xff; 64]).unwrap();
    while coordinator.hear().is_some() {}
    let (mut client, connection) = pair(&listener);
    echo(&mut client, &connection, b"still here");
}
