//! `handover peer`, by a volume: containers without the containers.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use handover_proto::identity::{Generation, InstanceId};
use handover_proto::outcome::Outcome;
use handover_tests::patience::{eventually, until};
use handover_tests::{Container, Program, Recipe, http, load, peer, process};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::FIXTURE;

/// A service of several containers with one volume, whose listener is shared.
struct Fleet {
    volume: TempDir,
    /// Where it listens, once the first container does.
    address: Mutex<String>,
    programs: Mutex<Vec<Arc<Program>>>,
}

impl Fleet {
    fn new() -> Self {
        Self {
            volume: tempfile::tempdir().expect("a directory"),
            address: Mutex::new("127.0.0.1:0".into()),
            programs: Mutex::new(Vec::new()),
        }
    }

    /// How to run a container of the fixture with this behaviour.
    fn recipe(&self, behaviour: &str) -> Recipe {
        self.patient(behaviour, "1s", "2s")
    }

    /// The same, with this probation and silence.
    fn patient(&self, behaviour: &str, probation: &str, silence: &str) -> Recipe {
        let program = Arc::new(Program::new(FIXTURE, behaviour));
        let address = self.address.lock().expect("unharmed").clone();
        let recipe = Recipe::new(program.path())
            .volume(self.volume.path())
            .http(&address)
            .flags(["--silence", silence, "--probation", probation]);
        self.programs.lock().expect("unharmed").push(program);
        recipe
    }

    /// The first container, which serves version 1.
    fn first(&self) -> Container {
        self.first_of(self.recipe("--version 1"))
    }

    fn first_of(&self, recipe: Recipe) -> Container {
        let container = recipe.start();
        self.is_at(&container);
        container
    }

    fn is_at(&self, container: &Container) {
        *self.address.lock().expect("unharmed") = container.address().to_string();
    }

    fn version(&self) -> String {
        let address = self.address.lock().expect("unharmed").clone();
        http::version(address.parse().expect("an address"))
    }

    fn until_version(&self, expected: &str) {
        until(&format!("version {expected} alone serves"), || {
            (0..5).all(|_| self.version() == expected)
        });
    }
}

/// A container has let go, and its program had gone before that was said.
fn let_go(container: &Container) {
    container.until_step("completed");
    assert!(container.is_complete());
    assert_eq!(container.programs(), Vec::<u32>::new());
    assert!(process::is_alive(container.pid()));
}

#[test]
fn a_younger_container_takes_over_and_the_older_one_stays_quiet() {
    let fleet = Fleet::new();
    let mut old = fleet.first();
    assert!(!old.is_complete());
    let young = fleet.recipe("--version 2").start();
    young.until_step("listeners_shared");
    old.until_step("probation");
    assert!(!old.is_complete(), "the younger one is on probation");
    let_go(&old);
    fleet.until_version("2");
    young.until_step("older_committed");
    assert_eq!(young.serves(), "this instance");
    let serving = young.until_step("serving");
    assert_eq!(serving["peer"]["peer"], old.serves());
    // The platform ends it in its own time.
    old.signal(Signal::TERM);
    assert_eq!(old.ended().code(), Some(0));
    fleet.until_version("2");
}

#[test]
fn under_load_no_request_fails() {
    let fleet = Arc::new(Fleet::new());
    let first = fleet.first();
    let plan = load::plan(first.address(), 3);
    let containers = Arc::new(Mutex::new(vec![first]));
    let (world, all) = (Arc::clone(&fleet), Arc::clone(&containers));
    let report = load::run(
        &plan,
        move |n| {
            let young = world.recipe(&format!("--version {}", n + 2)).start();
            let mut all = all.lock().expect("unharmed");
            let old = all.last().expect("an older one");
            let_go(old);
            all.push(young);
            Outcome::Committed {
                generation: Generation(u64::from(n) + 2),
                instance: InstanceId(1),
            }
        },
        load::committed,
    );
    load::require_lossless(&report);
    // Three generations in a row, each retired by the next.
    let containers = containers.lock().expect("unharmed");
    let (last, retired) = containers.split_last().expect("containers");
    assert_eq!(retired.len(), 3);
    assert!(retired.iter().all(Container::is_complete));
    assert!(!last.is_complete());
    assert_eq!(last.serves(), "this instance");
}

#[test]
fn without_a_volume_in_common_nobody_retires_anybody() {
    let (one, other) = (Fleet::new(), Fleet::new());
    let first = one.first();
    let second = other.first();
    let third = other.recipe("--version 2").start();
    // The same set-up does retire one that shares the volume.
    let_go(&second);
    assert!(!first.is_complete());
    assert_eq!(first.count("draining"), 0);
    assert_eq!(third.serves(), "this instance");
}

/// The older one's memory of its listeners: clients wait in the queue, none is refused.
fn taken_back_after(kill: impl FnOnce(&mut Container)) {
    let fleet = Fleet::new();
    let recipe = fleet.patient("--version 1", "60s", "2s");
    let old = fleet.first_of(recipe);
    let mut young = fleet.recipe("--version 2").start();
    old.until_step("probation");
    assert_eq!(old.programs(), Vec::<u32>::new());
    fleet.until_version("2");
    kill(&mut young);
    old.until_step("taking_back");
    old.until_nth("serving", 2);
    fleet.until_version("1");
    assert!(!old.is_complete());
    assert_eq!(old.serves(), "this instance");
    // It hands over to the next one as if nothing had been.
    drop(young);
    let next = fleet.recipe("--version 3").start();
    old.until_nth("probation", 2);
    fleet.until_version("3");
    assert_eq!(next.serves(), "this instance");
}

#[test]
fn one_that_is_killed_in_probation_gives_the_service_back() {
    taken_back_after(Container::kill_all);
}

/// Its program lives on without it, and is not heard of any more: the older one serves beside it.
#[test]
fn one_whose_supervisor_alone_is_killed_in_probation_gives_the_service_back() {
    let fleet = Fleet::new();
    let recipe = fleet.patient("--version 1", "60s", "2s");
    let old = fleet.first_of(recipe);
    let mut young = fleet.recipe("--version 2 --plain").start();
    old.until_step("probation");
    young.kill();
    assert_ne!(young.programs(), Vec::<u32>::new());
    old.until_nth("serving", 2);
    until("version 1 serves again", || fleet.version() == "1");
    drop(young);
    fleet.until_version("1");
}

#[test]
fn a_program_that_crashes_in_probation_gives_the_service_back_at_once() {
    let fleet = Fleet::new();
    let old = fleet.first_of(fleet.patient("--version 1", "60s", "50s"));
    let mut young = fleet.recipe("--version 2").start();
    old.until_step("probation");
    young
        .programs()
        .iter()
        .for_each(|pid| process::signal(*pid, Signal::KILL));
    // By its word: the silence would be much longer.
    let back = old.until_step("taking_back");
    assert_eq!(back["peer"]["cause"], "withdrawn", "{back}");
    old.until_nth("serving", 2);
    assert_eq!(young.ended().code(), Some(10));
    young_said(&young, "rolled_back");
    fleet.until_version("1");
    assert!(!old.is_complete());
}

fn young_said(container: &Container, step: &str) {
    assert!(container.count(step) > 0, "{:?}", container.steps());
}

#[test]
fn one_that_crashes_at_its_start_leaves_the_older_one_alone() {
    let fleet = Fleet::new();
    let old = fleet.first();
    let bad = fleet.recipe("--version 2 --crash-at-start 3");
    let mut bad = bad.flags(["--restart-limit", "1"]).launch();
    // Somebody serves, so it is not 13.
    assert_eq!(bad.ended().code(), Some(10));
    young_said(&bad, "gave_up");
    assert_eq!(fleet.version(), "1");
    assert_eq!(old.count("younger_heard"), 0, "{:?}", old.steps());
    // The next one is none the worse for it.
    let _young = fleet.recipe("--version 3").start();
    let_go(&old);
    fleet.until_version("3");
}

#[test]
fn one_that_is_never_ready_leaves_the_older_one_alone() {
    let fleet = Fleet::new();
    let old = fleet.first();
    let bad = fleet.recipe("--version 2 --never-ready");
    let flags = ["--restart-limit", "0", "--ready-timeout", "300ms"];
    let mut bad = bad.flags(flags).launch();
    assert_eq!(bad.ended().code(), Some(10));
    assert_eq!(fleet.version(), "1");
    assert_eq!(old.count("younger_heard"), 0, "{:?}", old.steps());
    assert!(!old.is_complete());
}

#[test]
fn alone_and_failing_for_good_nobody_serves() {
    let fleet = Fleet::new();
    let bad = fleet.recipe("--crash-at-start 3");
    let mut bad = bad.flags(["--restart-limit", "1"]).launch();
    assert_eq!(bad.ended().code(), Some(13));
    young_said(&bad, "gave_up");
    assert!(!bad.is_complete());
}

#[test]
fn a_retired_container_that_is_revived_stays_quiet() {
    let fleet = Fleet::new();
    let mut old = fleet.first();
    let young = fleet.recipe("--version 2").start();
    let_go(&old);
    old.kill_all();
    old.revive();
    let line = old.until_step("stays_retired");
    assert_eq!(line["peer"]["exits"], false);
    assert_eq!(old.programs(), Vec::<u32>::new());
    assert_eq!(young.count("draining"), 0, "{:?}", young.steps());
    fleet.until_version("2");
    old.signal(Signal::TERM);
    assert_eq!(old.ended().code(), Some(0));
}

#[test]
fn a_retired_container_that_is_revived_serves_if_nobody_does() {
    let fleet = Fleet::new();
    let mut old = fleet.first();
    let mut young = fleet.recipe("--version 2").start();
    let_go(&old);
    old.kill_all();
    young.kill_all();
    old.revive();
    old.until_step("serves_again");
    old.until_step("serving");
    fleet.is_at(&old);
    fleet.until_version("1");
    // And may be retired again.
    let _next = fleet.recipe("--version 3").start();
    let_go(&old);
    fleet.until_version("3");
}

#[test]
fn sigterm_at_rest_drains_and_completes() {
    let fleet = Fleet::new();
    let mut alone = fleet.first();
    alone.signal(Signal::TERM);
    assert_eq!(alone.ended().code(), Some(0));
    assert!(alone.is_complete());
    assert_eq!(alone.programs(), Vec::<u32>::new());
    // It was wanted so: started again, it serves.
    alone.revive();
    alone.until_step("serving");
}

#[test]
fn sigterm_while_it_warms_ends_it_and_the_older_one_serves() {
    let fleet = Fleet::new();
    let old = fleet.first();
    let mut young = fleet.recipe("--version 2 --never-ready").launch();
    until("its program runs", || !young.programs().is_empty());
    young.signal(Signal::TERM);
    assert_eq!(young.ended().code(), Some(0));
    assert_eq!(young.programs(), Vec::<u32>::new());
    assert_eq!(fleet.version(), "1");
    assert!(!old.is_complete());
}

#[test]
fn sigterm_while_it_drains_completes_when_the_program_has_gone() {
    let fleet = Fleet::new();
    let recipe = fleet.recipe("--version 1 --plain --ignore-term");
    let mut old = fleet.first_of(recipe.flags(["--drain-grace", "2s"]));
    let young = fleet.recipe("--version 2").start();
    old.until_step("draining");
    assert_ne!(old.programs(), Vec::<u32>::new());
    old.signal(Signal::TERM);
    assert_eq!(old.ended().code(), Some(0));
    assert!(old.is_complete());
    assert_eq!(old.programs(), Vec::<u32>::new());
    fleet.until_version("2");
    assert_eq!(young.serves(), "this instance");
}

#[test]
fn sigterm_in_probation_completes_at_once() {
    let fleet = Fleet::new();
    let recipe = fleet.patient("--version 1", "600s", "2s");
    let mut old = fleet.first_of(recipe);
    let _young = fleet.recipe("--version 2").start();
    old.until_step("probation");
    assert!(!old.is_complete());
    old.signal(Signal::TERM);
    assert_eq!(old.ended().code(), Some(0));
    assert!(old.is_complete());
    fleet.until_version("2");
}

#[test]
fn one_may_exit_when_it_is_done() {
    let fleet = Fleet::new();
    let recipe = fleet.recipe("--version 1").flags(["--exit-when-done"]);
    let mut old = fleet.first_of(recipe);
    let _young = fleet.recipe("--version 2").start();
    assert_eq!(old.ended().code(), Some(0));
    assert!(old.is_complete());
    // A restart policy revives it: it does nothing and ends.
    old.revive();
    assert_eq!(old.ended().code(), Some(0));
    young_said(&old, "stays_retired");
    fleet.until_version("2");
}

/// A third one comes while the second is on probation: it serves in the end, and nothing is drained
/// twice.
#[test]
fn a_third_one_during_a_handover_serves_in_the_end() {
    let fleet = Fleet::new();
    let recipe = fleet.patient("--version 1", "5s", "2s");
    let first = fleet.first_of(recipe);
    let second = fleet.recipe("--version 2").start();
    first.until_step("draining");
    let third = fleet.recipe("--version 3").start();
    let_go(&first);
    let_go(&second);
    fleet.until_version("3");
    assert_eq!(third.serves(), "this instance");
    assert_eq!(first.count("draining"), 1, "{:?}", first.steps());
    assert_eq!(second.count("draining"), 1, "{:?}", second.steps());
}

#[test]
fn the_file_is_written_only_after_the_program_has_gone() {
    let fleet = Fleet::new();
    let recipe = fleet.patient("--version 1 --plain --ignore-term", "0s", "2s");
    let old = fleet.first_of(recipe.flags(["--drain-grace", "1s"]));
    let _young = fleet.recipe("--version 2").start();
    old.until_step("draining");
    // Whenever the file is there, the program is not.
    eventually("it completes", || {
        let complete = old.is_complete();
        assert!(!complete || old.programs().is_empty());
        complete.then_some(())
    });
}

const IN_PYTHON: &str = r#"
import os, socket
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["VERSION"].encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass

class Server(HTTPServer):
    def server_bind(self):
        self.socket = socket.socket(fileno=3)

Server(("", 0), Handler).serve_forever()
"#;

/// A server that knows nothing of us, as anybody would write it.
#[test]
fn a_program_in_another_language_hands_over() {
    let Some(python) = peer::installed("python3") else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let script = directory.path().join("server.py");
    std::fs::write(&script, IN_PYTHON).expect("written");
    let fleet = Fleet::new();
    let recipe = |version: &str| {
        let address = fleet.address.lock().expect("unharmed").clone();
        Recipe::new(Path::new(&python))
            .args([script.to_str().expect("text")])
            .volume(fleet.volume.path())
            .http(&address)
            .flags(["--silence", "2s", "--probation", "0s", "--ready", "accepts"])
            .env("VERSION", version)
    };
    let old = fleet.first_of(recipe("1"));
    assert_eq!(fleet.version(), "1");
    let _young = recipe("2").start();
    let_go(&old);
    fleet.until_version("2");
}

#[test]
fn what_is_wrong_is_said_before_anything_is_started() {
    let program = Program::new(FIXTURE, "");
    let directory = tempfile::tempdir().expect("a directory");
    let short = directory.path().join("key");
    std::fs::write(&short, "short").expect("written");
    let short = short.display().to_string();
    let bad: [&[&str]; 5] = [
        &["--key-file", &short],
        &["--key-file", "/no/such/key"],
        &["--volume", "/no/such/volume"],
        &["--silence", "1s"],
        &["--interface", "eth0"],
    ];
    for flags in bad {
        let recipe = Recipe::new(program.path()).http("127.0.0.1:0");
        let mut refused = recipe.flags(flags.iter().copied()).launch();
        let status = refused.ended();
        assert_eq!(status.code(), Some(2), "{flags:?}: {status:?}");
        assert_eq!(status.signal(), None);
        let words = refused.stderr();
        let named = flags[0].trim_start_matches("--");
        assert!(words.contains(named) || words.contains(flags[1]), "{words}");
        assert_eq!(refused.steps(), Vec::<String>::new());
    }
}
