//! `examples/haproxy`: the real haproxy follows UP and DOWN under load, while the name in its
//! configuration is still that of the old container.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use handover_proto::identity::{Generation, InstanceId};
use handover_proto::outcome::Outcome;
use handover_tests::network::{Bridge, Container, Entrypoint, Namespace, Teller, possible};
use handover_tests::patience::until;
use handover_tests::service::command_path;
use handover_tests::{http, load, peer};
use handover_verify::Report;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::FIXTURE;

/// Where haproxy listens, in its own namespace.
const FRONT: &str = "127.0.0.1:8080";

/// The port of the service in its containers.
const PORT: u16 = 8080;

/// What a namespace on the bridge gets as its address: they are given in order.
const ADDRESSES: [&str; 3] = ["10.77.0.2", "10.77.0.3", "10.77.0.4"];

fn example(name: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.join("../examples/haproxy").join(name)
}

/// A container of the service: its server, and what says its status.
struct Instance {
    server: Entrypoint,
    status: Teller,
}

impl Instance {
    /// Serves; its status is not told yet.
    fn start(namespace: &Arc<Namespace>, address: &str, version: u64) -> Self {
        let mut command = namespace.command(FIXTURE);
        command.args(["--bind", &format!("{address}:{PORT}")]);
        command.args(["--version", &version.to_string()]);
        let server = Entrypoint::plain(command);
        let there: SocketAddr = format!("{address}:{PORT}").parse().expect("an address");
        namespace.enter(|| until("it serves", || http::get(there, "/").is_ok()));
        Self {
            server,
            status: Teller::new(namespace, "api", version),
        }
    }
}

/// haproxy with the files of the example, and what `follow.sh` is told.
struct Front {
    namespace: Arc<Namespace>,
    directory: TempDir,
    haproxy: Entrypoint,
}

impl Front {
    /// Routes to the old container, by its name.
    fn start(haproxy: &Path, namespace: Arc<Namespace>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let haproxy = Entrypoint::plain(command(haproxy, &namespace, directory.path()));
        Self {
            namespace,
            directory,
            haproxy,
        }
    }

    /// As a new container of it is: with the same files.
    fn restart(&mut self, haproxy: &Path) {
        self.haproxy.kill();
        let command = command(haproxy, &self.namespace, self.directory.path());
        self.haproxy = Entrypoint::plain(command);
    }

    /// `peer watch` beside it.
    fn watch(&self) -> Entrypoint {
        let mut command = self.namespace.command(command_path());
        command.args(["peer", "watch", "--service", "api", "--settle", "0s"]);
        command.args(["--json", "--exec"]).arg(example("follow.sh"));
        command.env("SOCKET", self.directory.path().join("admin.sock"));
        command.env("STATE", self.directory.path().join("state"));
        command.env("PORT", PORT.to_string());
        let watch = Entrypoint::plain(command);
        watch.until_mentions("listens to");
        watch
    }

    fn until_version(&self, version: &str) {
        let front: SocketAddr = FRONT.parse().expect("an address");
        let answers = || http::get(front, "/version").is_ok_and(|(_, body)| body == version);
        self.namespace.enter(|| until("a version", answers));
    }
}

/// haproxy where the name `api` is that of the old container, as it is until that is gone.
fn command(haproxy: &Path, namespace: &Namespace, directory: &Path) -> Command {
    let hosts = directory.join("hosts");
    fs::write(&hosts, format!("{} api\n", ADDRESSES[1])).expect("written");
    let mut command = namespace.command("unshare");
    let named = "mount --bind \"$HOSTS\" /etc/hosts && exec \"$@\"";
    command.args(["--mount", "sh", "-c", named, "sh"]);
    command.arg(haproxy).arg("-db");
    command.arg("-f").arg(example("haproxy.cfg"));
    command.env("HOSTS", hosts);
    command.env("FRONT", FRONT);
    command.env("API", format!("api:{PORT}"));
    command.env("SOCKET", directory.join("admin.sock"));
    command.env("STATE", directory.join("state"));
    command
}

/// An upgrade under load, with `peer watch` or without: the young container is up, the old one says
/// that it goes, and goes.
fn upgrade(haproxy: &Path, watched: bool) -> Report {
    let bridge = Bridge::new();
    let [front, old, young] = ADDRESSES.map(|_| bridge.join());
    let mut old = Instance::start(&old, ADDRESSES[1], 1);
    let young = Instance::start(&young, ADDRESSES[2], 2);
    let front = Front::start(haproxy, front);
    front.until_version("1");
    let watch = watched.then(|| front.watch());
    old.status.up().expect("it is told");
    if let Some(watch) = &watch {
        watch.until_mentions("\"change\":\"up\"");
    }
    let plan = load::plan(FRONT.parse().expect("an address"), 1);
    let namespace = Arc::clone(&front.namespace);
    let report = namespace.enter(|| {
        let trigger = move |_| {
            young.status.up().expect("it is told");
            old.status.down().expect("it is told");
            if watched {
                // What a container waits for with --drain-announce.
                front.until_version("2");
            }
            old.server.signal(Signal::TERM);
            old.server.ended();
            Outcome::Committed {
                generation: Generation(2),
                instance: InstanceId(2),
            }
        };
        load::run(&plan, trigger, load::committed)
    });
    drop(watch);
    report
}

/// How long an old container accepts after it said DOWN: what haproxy may need on a machine that has
/// much else to do. All of it passes.
const ANNOUNCE: &str = "30s";

/// `handover peer` as a container's entrypoint, with time for haproxy to look away from the old one.
fn entrypoint(container: &Container, version: u64) -> Command {
    let mut command = container.command(command_path());
    command.args(["peer", "--name", "api", "--format", "json"]);
    command.args(["--listen", &format!("http=0.0.0.0:{PORT}")]);
    command.args([
        "--drain-announce",
        ANNOUNCE,
        "--probation",
        "1s",
        "--",
        FIXTURE,
    ]);
    command.args(["--version", &version.to_string()]);
    command
}

/// Starts a container when it is told to, on a thread that outlives the load: a container ends with
/// the thread that started it.
fn later(container: Container, command: Command) -> (Sender<()>, Receiver<Entrypoint>) {
    let (go, told) = channel();
    let (started, young) = channel();
    thread::spawn(move || {
        if told.recv().is_ok() && started.send(container.start(command)).is_ok() {
            let _ = told.recv();
        }
    });
    (go, young)
}

/// haproxy and what `follow.sh` needs; `None`, with the reason printed, where it is missing.
fn haproxy() -> Option<PathBuf> {
    peer::installed("socat")?;
    peer::installed("haproxy").filter(|_| possible())
}

#[test]
fn nothing_is_lost_when_haproxy_follows_the_status() {
    let Some(haproxy) = haproxy() else { return };
    let report = upgrade(&haproxy, true);
    load::require_lossless(&report);
}

#[test]
fn nothing_is_lost_when_a_container_of_handover_peer_replaces_another() {
    let Some(haproxy) = haproxy() else { return };
    let bridge = Bridge::new();
    let front = bridge.join();
    let [old, young] = [bridge.container(), bridge.container()];
    let mut first = old.start(entrypoint(&old, 1));
    let front = Front::start(&haproxy, front);
    let watch = front.watch();
    front.until_version("1");
    watch.until("status");
    let command = entrypoint(&young, 2);
    let (go, second) = later(young, command);
    let mut plan = load::plan(FRONT.parse().expect("an address"), 1);
    // It goes on for long.
    (plan.new_rate, plan.keep_alive_rate) = (40.0, 40.0);
    let namespace = Arc::clone(&front.namespace);
    let (report, second) = namespace.enter(|| {
        let (kept, second_kept) = channel();
        let trigger = move |_| {
            go.send(()).expect("it waits");
            let second = second.recv().expect("it starts");
            old.until_complete();
            // What the platform does once the file is there.
            first.signal(Signal::TERM);
            assert_eq!(first.ended(), 0);
            front.until_version("2");
            // It serves until the load is over.
            kept.send((second, go.clone())).expect("somebody waits");
            Outcome::Committed {
                generation: Generation(2),
                instance: InstanceId(2),
            }
        };
        (
            load::run(&plan, trigger, load::committed),
            second_kept.recv(),
        )
    });
    load::require_lossless(&report);
    drop(second);
}

#[test]
fn without_the_watch_requests_go_to_the_container_that_has_gone() {
    let Some(haproxy) = haproxy() else { return };
    let report = upgrade(&haproxy, false);
    assert!(!report.lossless(), "{}", report.table());
}

#[test]
fn haproxy_that_is_started_again_routes_where_it_did() {
    let Some(haproxy) = haproxy() else { return };
    let bridge = Bridge::new();
    let [front, old, young] = ADDRESSES.map(|_| bridge.join());
    let _old = Instance::start(&old, ADDRESSES[1], 1);
    let young = Instance::start(&young, ADDRESSES[2], 2);
    let mut front = Front::start(&haproxy, front);
    front.until_version("1");
    let watch = front.watch();
    young.status.up().expect("it is told");
    front.until_version("2");
    let state = front.directory.path().join("state");
    until("its state is kept", || state.exists());
    drop(watch);
    front.restart(&haproxy);
    front.until_version("2");
    // Without that state it goes by the name.
    fs::remove_file(&state).expect("it is there");
    front.restart(&haproxy);
    front.until_version("1");
}
