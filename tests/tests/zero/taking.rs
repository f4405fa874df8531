//! Ours takes over from Go.

use std::path::Path;

use handover_proto::event::EventKind;
use handover_proto::outcome::Outcome;
use handover_proto::phase::Phase;
use handover_proto::zero::{Step, Way};
use handover_tests::crash::{Crashes, How, Point};
use handover_tests::{Program, Service, http, process};

use crate::FIXTURE;
use crate::world::{Go, World, fixture, mode, steps, until_step};

/// The new version is started on a duplicate of the listener, and Go is asked to go when it is ready.
/// I4: the listener is the same socket throughout.
#[test]
fn i4_a_go_server_is_taken_over_from() {
    let Some(world) = World::new() else { return };
    let mut go = world.serving_go("go1");
    let program = fixture("--version ours");
    let service = world.taker(&program).start();
    service.until("it serves", |status| status.generation.0 == 2);
    assert_eq!(service.address(), world.address);
    let pid = go.pid();
    let way = Way::ReadyFirst;
    until_step(&service, "Go was asked", |step| {
        *step == Step::Taken { pid }
    });
    assert_eq!(steps(&service)[0], Step::Found { pid, way });
    assert!(go.ended().success(), "{}", go.log());
    service.until_alone();
    world.until_only("ours");
    until_step(&service, "others can take over", |step| {
        *step == Step::Offered
    });
    assert_eq!(mode(&world.path()), 0o600);
    let outcome = service.history().pop().expect("an attempt").outcome;
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome}");
}

/// Starts a taker that is to fail, and returns its exit code and words.
fn failing(world: &World, behaviour: &str, flags: &[&str]) -> (Option<i32>, String) {
    let program = fixture(behaviour);
    let mut service = world.taker(&program).flags(flags.iter().copied()).launch();
    let code = service.ended().code();
    service.until_empty();
    (code, service.stderr())
}

/// I5, I9: whatever is wrong with the new version, Go has not noticed, and the next one takes over.
#[test]
fn i5_a_bad_version_leaves_go_serving() {
    let Some(world) = World::new() else { return };
    let mut go = world.serving_go("go1");
    let bad: [(&str, &[&str], i32); 4] = [
        ("--crash-at-start 3", &[], 10),
        ("--never-ready", &["--ready-timeout", "500ms"], 12),
        ("--version new", &["--test-command", "false"], 11),
        ("--exit-after-ready 50", &["--probation", "60s"], 10),
    ];
    for (behaviour, flags, expected) in bad {
        let (code, words) = failing(&world, behaviour, flags);
        assert_eq!(code, Some(expected), "{behaviour}: {words}");
        world.until_only("go1");
        assert!(!go.has_ended(), "{behaviour}: {}", go.log());
    }
    let program = fixture("--version ours");
    let service = world.taker(&program).start();
    assert!(go.ended().success());
    world.until_only("ours");
    service.until_alone();
}

/// Go serves on through the probation, beside the new version, and is asked at its end.
#[test]
fn a_probation_comes_before_the_request() {
    let Some(world) = World::new() else { return };
    let mut go = world.serving_go("go1");
    let program = fixture("--version ours");
    let service = world.taker(&program).flags(["--probation", "1s"]).start();
    service.until("probation", |status| status.phase == Phase::Probation);
    let pid = go.pid();
    assert!(!steps(&service).contains(&Step::Taken { pid }));
    until_step(&service, "Go was asked", |step| {
        *step == Step::Taken { pid }
    });
    assert!(go.ended().success());
    world.until_only("ours");
}

/// Stopped before it was ready: nothing was taken.
#[test]
fn a_taker_that_is_stopped_leaves_go_serving() {
    let Some(world) = World::new() else { return };
    let mut go = world.serving_go("go1");
    let program = fixture("--never-ready");
    let mut service = world.taker(&program).launch();
    service.until("it warms", |status| status.phase == Phase::Warm);
    assert!(service.cli(&["stop"]).status.success());
    assert_eq!(service.ended().code(), Some(0));
    world.until_only("go1");
    assert!(!go.has_ended());
    assert!(world.is_offered());
}

/// I11: Go dies while the new version starts; its queue waits for the new one.
#[test]
fn i11_go_dies_while_the_new_version_starts() {
    let Some(world) = World::new() else { return };
    let mut go = world.serving_go("go1");
    let program = fixture("--version ours --start-delay 700");
    let service = world.taker(&program).launch();
    service.until("it warms", |status| status.phase == Phase::Warm);
    go.kill();
    // Refused would be an error; it is queued, and answered.
    assert_eq!(http::version(world.address), "ours");
    service.until_serving();
    until_step(&service, "others can take over", |step| {
        *step == Step::Offered
    });
}

fn taken_after_all(mut service: Service, mut go: Go, world: &World) {
    // Waits for the last of its threads as well.
    service.kill_supervisor();
    service.supervise();
    assert!(go.ended().success(), "{}", go.log());
    service.until_alone();
    world.until_only("ours");
    assert_eq!(service.processes().len(), 1);
}

/// I7, I12: `kill -9` of the supervisor before each of its effects, from the first on. Go or ours
/// serves, and the next supervisor ends what was begun.
#[test]
fn i12_the_supervisor_is_killed_at_every_step() {
    let Some(world) = World::new() else { return };
    let mut struck = Vec::new();
    for k in 1.. {
        let crashes = Crashes::new();
        let point = Point {
            who: "supervisor".into(),
            k,
            how: How::Kill,
        };
        crashes.plan(std::slice::from_ref(&point));
        // Theirs refuses to start where one was killed.
        let _ = std::fs::remove_file(world.path());
        let go = world.serving_go(&format!("go{k}"));
        let program = fixture("--version ours");
        let service = world
            .taker(&program)
            .env("HANDOVER_CRASH_DIR", crashes.path())
            .launch();
        let pid = go.pid();
        handover_tests::patience::until("it is killed, or done", || {
            let done = || {
                let taken = steps(&service).contains(&Step::Taken { pid });
                let alone = service
                    .control()
                    .try_status()
                    .is_some_and(|status| status.incumbent.is_some() && status.leaving.is_empty());
                taken && alone
            };
            !process::is_alive(service.supervisor()) || done()
        });
        crashes.over();
        let Some(effect) = crashes.fired(&point) else {
            // Longer than the last effect.
            assert!(struck.contains(&"terminate".to_owned()), "{struck:?}");
            break;
        };
        // Whoever it is, somebody answers.
        let version = http::version(world.address);
        assert!(
            version == "ours" || version == format!("go{k}"),
            "{version}"
        );
        struck.push(effect);
        taken_after_all(service, go, &world);
    }
    eprintln!("killed before {struck:?}");
}

/// Where descriptors cannot be taken out of processes, the exchange is the plain one, and it says so.
#[test]
fn without_duplicates_the_plain_exchange_is_used() {
    let Some(world) = World::new() else { return };
    let mut go = world.serving_go("go1");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/forbid_pidfd_getfd.py");
    let script = script.display().to_string();
    // The other fixture takes its listener out of itself.
    let program = Program::new(FIXTURE, "--version ours");
    let service = world
        .taker(&program)
        .wrapper(["python3", script.as_str()])
        .start();
    let (pid, way) = (go.pid(), Way::Plain);
    assert_eq!(
        steps(&service)[..2],
        [Step::Found { pid, way }, Step::Taken { pid }]
    );
    assert!(go.ended().success());
    world.until_only("ours");
    assert_eq!(service.address(), world.address);
}

/// A server that knows no exchange, and closes the connection: it serves on, and the new version goes.
#[test]
fn a_server_that_is_no_giver_serves_on() {
    let Some(world) = World::new() else { return };
    let script = "\
import http.server, socket, sys, threading
path = socket.socket(socket.AF_UNIX)
path.bind(sys.argv[1])
path.listen()
at = (sys.argv[2], int(sys.argv[3]))
server = http.server.HTTPServer(at, http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever).start()
while True:
    asked, _ = path.accept()
    asked.recv(99)
    asked.close()
";
    let server = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(world.path())
        .arg(world.address.ip().to_string())
        .arg(world.address.port().to_string())
        .current_dir("/dev/shm")
        .stderr(std::process::Stdio::null())
        .spawn();
    let mut server = server.expect("python3 runs");
    handover_tests::patience::until("it serves", || {
        world.path().exists() && http::get(world.address, "/").is_ok()
    });
    let program = fixture("--version ours");
    let mut service = world.taker(&program).launch();
    let code = service.ended().code();
    let (alive, answer) = (server.try_wait(), http::get(world.address, "/"));
    let _ = server.kill();
    let _ = server.wait();
    assert_eq!(code, Some(11), "{}", service.stderr());
    assert!(matches!(alive, Ok(None)));
    assert_eq!(answer.expect("an answer").0, 200);
}

/// Two at once: one takes over, the other is refused and says so.
#[test]
fn of_two_takers_one_wins() {
    let Some(world) = World::new() else { return };
    let mut go = world.serving_go("go1");
    let programs = [fixture("--version a"), fixture("--version b")];
    let mut services: Vec<Service> = programs
        .iter()
        .map(|program| {
            world
                .taker(program)
                .flags(["--ready-timeout", "20s"])
                .launch()
        })
        .collect();
    assert!(go.ended().success());
    let lost = handover_tests::eventually("one of them ends", || {
        services
            .iter()
            .position(|service| !process::is_alive(service.supervisor()))
    });
    let mut loser = services.remove(lost);
    assert_eq!(loser.ended().code(), Some(11), "{}", loser.stderr());
    let winner = services.remove(0);
    winner.until_alone();
    world.until_only(if lost == 0 { "b" } else { "a" });
    assert!(
        loser.events().iter().any(|event| matches!(&event.kind,
            EventKind::Warning { text } if text.contains("another"))),
        "{:?}",
        loser.events()
    );
}
