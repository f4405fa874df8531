//! Whatever goes wrong, the old program serves on as if nothing had been tried.

use handover_proto::event::EventKind;
use handover_proto::outcome::Outcome;
use handover_proto::phase::Phase;
use handover_tests::patience::until;
use handover_tests::{Builder, Program, Service, Stranger, http, load, process};
use rustix::process::Signal;

use crate::{FIXTURE, first_outcome, until_gone};

/// A server that ends at once on SIGTERM.
fn old() -> Stranger {
    let words = ["python3", "-m", "http.server", "0", "--bind", "127.0.0.1"];
    Stranger::start(&words, |directory| {
        std::fs::write(directory.path().join("version"), "old").expect("written");
    })
}

fn untouched(stranger: &mut Stranger, sockets: &std::collections::BTreeSet<String>) {
    assert!(stranger.is_alive());
    assert_ne!(process::state(stranger.pid()), Some('T'), "held still");
    assert_eq!(http::version(stranger.address()), "old");
    until("its connections are closed", || {
        &process::sockets(stranger.pid()) == sockets
    });
}

fn nothing_is_left(service: &Service) {
    service.until_empty();
    let left: Vec<_> = std::fs::read_dir(service.dir())
        .expect("the runtime directory")
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| name != "supervisor.lock" && name != "history.jsonl")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Adopts with a new version that fails, and ends with this code.
fn fails(arguments: &str, flags: &[&str], code: i32) {
    let mut stranger = old();
    let sockets = process::sockets(stranger.pid());
    let program = Program::new(FIXTURE, arguments);
    let adopt = Builder::bare(program.path()).flags(flags.iter().copied());
    let mut service = adopt.adopt(stranger.pid()).launch();
    assert_eq!(service.ended().code(), Some(code), "{}", service.stderr());
    untouched(&mut stranger, &sockets);
    nothing_is_left(&service);

    // A failed try poisons nothing.
    program.replace(FIXTURE, "--version new --plain");
    let again = Builder::bare(program.path()).adopt(stranger.pid()).launch();
    assert!(load::committed(&first_outcome(&again)));
    until_gone(&again);
    assert_eq!(http::version(again.address()), "new");
}

#[test]
fn a_version_that_ends_before_it_is_ready_is_rolled_back() {
    fails("--plain --crash-at-start 3", &[], 10);
}

#[test]
fn a_version_that_never_is_ready_times_out() {
    fails("--plain --never-ready", &["--ready-timeout", "300ms"], 12);
}

#[test]
fn a_version_that_fails_its_test_is_refused() {
    fails("--plain --version bad", &["--test-command", "false"], 11);
}

#[test]
fn a_program_that_is_not_there_is_refused() {
    let mut stranger = old();
    let sockets = process::sockets(stranger.pid());
    let missing = stranger.file("no-such-server");
    let mut service = Builder::bare(&missing).adopt(stranger.pid()).launch();
    assert_eq!(service.ended().code(), Some(11));
    assert!(service.stderr().contains("no-such-server"));
    untouched(&mut stranger, &sockets);
    nothing_is_left(&service);
}

/// An adoption whose new version takes its time.
fn warming(stranger: &Stranger) -> (Service, Program) {
    let program = Program::new(FIXTURE, "--plain --start-delay 600000");
    let builder = Builder::bare(program.path()).flags(["--ready-timeout", "600s"]);
    let service = builder.adopt(stranger.pid()).launch();
    service.event("the new version was started", |event| match event {
        EventKind::InstanceSpawned { .. } => Some(()),
        _ => None,
    });
    (service, program)
}

/// Who stops it, and how.
type Way = (&'static str, fn(&Service));

#[test]
fn whoever_stops_the_adoption_does_not_stop_the_old_program() {
    let by: [Way; 3] = [
        ("Ctrl-C", |service| service.signal(Signal::INT)),
        ("SIGTERM", |service| service.signal(Signal::TERM)),
        ("handover stop", |service| {
            assert!(service.cli(&["stop"]).status.success());
        }),
    ];
    for (what, stop) in by {
        let mut stranger = old();
        let sockets = process::sockets(stranger.pid());
        let (mut service, _program) = warming(&stranger);
        stop(&service);
        assert_eq!(service.ended().code(), Some(10), "{what}");
        untouched(&mut stranger, &sockets);
        nothing_is_left(&service);
    }
}

#[test]
fn another_request_is_refused_while_an_adoption_runs() {
    let stranger = old();
    let (service, _program) = warming(&stranger);
    let outcome = service.cli(&["upgrade"]);
    assert_eq!(outcome.status.code(), Some(11), "{outcome:?}");
    let status = service.status();
    assert_eq!(status.phase, Phase::Warm);
    let incumbent = status.incumbent.expect("the old program");
    assert_eq!(incumbent.pid.expect("a process").0, stranger.pid());
    assert!(incumbent.program.contains("http.server"), "{incumbent:?}");
}

/// I12: the journal names the old program, since its environment does not.
#[test]
fn i12_a_supervisor_killed_in_between_leaves_an_incumbent_to_the_next_one() {
    let mut stranger = old();
    let sockets = process::sockets(stranger.pid());
    let (mut service, _slow) = warming(&stranger);
    service.kill_supervisor();
    untouched(&mut stranger, &sockets);

    let program = Program::new(FIXTURE, "--version new --plain");
    service.adopt_no_more();
    service.supervise();
    let status = service.until("the old program is the incumbent", |status| {
        status.phase == Phase::Serving && status.leaving.is_empty()
    });
    assert_eq!(
        status.incumbent.expect("serves").pid.expect("a process").0,
        stranger.pid()
    );
    let binary = program.path().display().to_string();
    let upgraded = service.cli(&["upgrade", "--binary", &binary]);
    assert!(upgraded.status.success(), "{upgraded:?}");
    until("the old program goes", || !stranger.is_alive());
    assert_eq!(http::version(service.address()), "new");
}

/// The old program may die too; then the new one is all there is.
#[test]
fn an_old_program_that_ends_meanwhile_leaves_its_queue_to_the_new_one() {
    let stranger = old();
    let address = stranger.address();
    let program = Program::new(FIXTURE, "--version new --plain --start-delay 1000");
    let service = Builder::bare(program.path()).adopt(stranger.pid()).launch();
    service.event("the new version was started", |event| match event {
        EventKind::InstanceSpawned { .. } => Some(()),
        _ => None,
    });
    drop(stranger);
    // Nobody accepts now; the connection waits.
    assert_eq!(http::version(address), "new");
    assert!(load::committed(&first_outcome(&service)));
}

/// In probation the old program goes on serving, and takes back.
#[test]
fn a_version_that_dies_in_probation_leaves_the_old_program_serving() {
    let mut stranger = old();
    let program = Program::new(FIXTURE, "--version new --plain");
    let builder = Builder::bare(program.path()).flags(["--probation", "600s"]);
    let service = builder.adopt(stranger.pid()).launch();
    assert!(matches!(first_outcome(&service), Outcome::Committed { .. }));
    process::signal(service.incumbent(), Signal::KILL);
    service.event("it is taken back", |event| match event {
        EventKind::TakenBack { .. } => Some(()),
        _ => None,
    });
    assert!(stranger.is_alive());
    assert_eq!(service.incumbent(), stranger.pid());
    assert_eq!(http::version(stranger.address()), "old");
}

/// A program that hangs with a client on the line is told at the end of the drain, whatever it does.
#[test]
fn a_client_that_never_leaves_holds_nobody_up_for_ever() {
    let mut stranger = old();
    let address = stranger.address();
    let _client = std::net::TcpStream::connect(address).expect("connects");
    until("it was accepted", || {
        let found = handover_sys::diag::tcp_connections().expect("lists");
        found.iter().any(|one| one.local == address)
    });
    let program = Program::new(FIXTURE, "--version new --plain");
    let builder = Builder::bare(program.path()).flags(["--drain-grace", "500ms"]);
    let service = builder.drain_notify("500ms").adopt(stranger.pid()).launch();
    until_gone(&service);
    assert!(!stranger.is_alive());
    assert_eq!(http::version(address), "new");
}
