//! The guides docs/migrate/tableflip.md and ecdysis.md: what their diffs lead to is built and run.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use handover_proto::outcome::Outcome;
use handover_tests::patience::{eventually, until};
use handover_tests::service::clean;
use handover_tests::{Builder, Service, http, load, peer, process};
use handover_verify::Plan;
use rustix::process::Signal;

/// The server that the guide for ecdysis leads to, of this build.
const FROM_ECDYSIS: &str = env!("CARGO_BIN_EXE_from-ecdysis");

/// Upgrades under load.
const UPGRADES: u32 = 5;

/// The text that the only diff of a guide leads to.
fn after(guide: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/migrate");
    let page = std::fs::read_to_string(page.join(guide)).expect("the guide is there");
    let diff = page.split("```diff\n").nth(1).expect("a diff");
    let diff = diff.split("```").next().expect("its end");
    let kept = |line: &&str| !line.starts_with('-');
    let lines = diff.lines().filter(kept);
    lines
        .map(|line| line.get(1..).unwrap_or_default())
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// What a small server is asked for: new connections and kept ones.
fn plan(address: SocketAddr) -> Plan {
    let mut plan = load::plan(address, UPGRADES);
    (plan.slow, plan.upload, plan.version_header) = (None, None, None);
    plan
}

fn upgraded(service: &Service) {
    let address = service.address();
    let control = service.control();
    let report = load::run(
        &plan(address),
        move |_| control.upgrade_in_place(),
        load::committed,
    );
    load::require_lossless(&report);
    let status = service.until("all were upgraded", |status| status.handover.is_none());
    assert_eq!(status.generation.0, u64::from(UPGRADES) + 1);
}

/// Debian's Go, and nothing but its own packages.
fn build(go: &Path, source: &str, directory: &Path) -> PathBuf {
    let (file, server) = (directory.join("main.go"), directory.join("server"));
    std::fs::write(&file, source).expect("written");
    let output = Command::new(go)
        .args(["build", "-o"])
        .args([&server, &file])
        .env("GOCACHE", directory.join("cache"))
        .env("GOPROXY", "off")
        .env("GO111MODULE", "off")
        .current_dir(directory)
        .output()
        .expect("go runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    server
}

#[test]
fn the_server_of_the_guide_for_tableflip_is_upgraded_without_loss() {
    let Some(go) = peer::find("HANDOVER_TEST_GO") else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let server = build(&go, &after("tableflip.md"), directory.path());
    upgraded(&Builder::new(&server).start());
    upgraded(&Builder::new(&server).flags(["--ready", "http:/"]).start());
}

/// What is built here is what the guide shows.
#[test]
fn the_guide_for_ecdysis_shows_the_server_that_is_tested() {
    let built = include_str!("../../src/bin/from-ecdysis.rs");
    assert_eq!(after("ecdysis.md"), built);
}

#[test]
fn the_server_of_the_guide_for_ecdysis_is_upgraded_without_loss() {
    upgraded(&Builder::new(Path::new(FROM_ECDYSIS)).start());
}

/// Started by hand; killed in the end, whoever serves by then.
struct Alone {
    directory: tempfile::TempDir,
    first: Child,
}

impl Drop for Alone {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            process::signal(pid, Signal::KILL);
        }
        let _ = self.first.kill();
        let _ = self.first.wait();
    }
}

impl Alone {
    fn start(address: SocketAddr) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let first = clean(FROM_ECDYSIS)
            .arg(address.to_string())
            .arg(directory.path().join("web.pid"))
            .env("HANDOVER_RUNTIME_DIR", directory.path())
            .stdin(Stdio::null())
            .spawn()
            .expect("it starts");
        Self { directory, first }
    }

    fn pid(&self) -> Option<u32> {
        read(&self.directory.path().join("web.pid"))
    }
}

fn read(file: &Path) -> Option<u32> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// As before, without a supervisor: SIGHUP.
#[test]
fn the_server_of_the_guide_for_ecdysis_upgrades_itself_without_loss() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = free.local_addr().expect("an address");
    drop(free);
    let alone = Alone::start(address);
    until("it serves", || http::get(address, "/").is_ok());
    let file = alone.directory.path().join("web.pid");
    let mut seen = vec![eventually("a pid file", || read(&file))];
    let hangup = move |_| {
        let old = *seen.last().expect("one is there");
        process::signal(old, Signal::HUP);
        let new = eventually("another one serves", || {
            read(&file).filter(|pid| *pid != old)
        });
        seen.push(new);
        Outcome::Committed {
            generation: handover_proto::identity::Generation(seen.len() as u64),
            instance: handover_proto::identity::InstanceId(seen.len() as u64),
        }
    };
    let mut plan = plan(address);
    plan.interval = Duration::from_millis(500);
    let report = load::run(&plan, hangup, load::committed);
    load::require_lossless(&report);
    let serving = http::get(address, "/").expect("served").1;
    assert_eq!(serving.trim().parse().ok(), alone.pid());
}
