//! Every test of the repository, and what they need.

use std::process::Command;

use crate::steps::{Failure, Steps};
use crate::{peers, scratch};

/// Variables a supervisor or systemd gives its children. Set in the shell that runs the tests
/// they would be taken for the test's own, so they stop here.
const INHERITED: [&str; 4] = [
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
];

/// Tests that need `protoc` to be built.
const ETCD: &str = "handover-tests/etcd";

/// Installs the peers, builds every target once, runs every test that matches `filter`.
///
/// The whole workspace is built before any test runs: the end-to-end tests start the programs of
/// other crates, which `cargo test` builds only when it comes to them.
pub(crate) fn run(steps: &mut Steps, filter: &[&str]) -> Result<(), Failure> {
    let peers = peers::prepare(steps)?;
    let features: &[&str] = if peers::protoc(steps)? {
        &["--features", ETCD]
    } else {
        &[]
    };
    steps.cargo("build", |cargo| {
        isolated(cargo)
            .args(["build", "--workspace", "--all-targets"])
            .args(features)
    })?;
    let programs = scratch::build(steps)?;
    steps.cargo("test", |cargo| {
        cargo.envs(programs.map(|programs| (scratch::VARIABLE, programs)));
        peers
            .export(isolated(cargo))
            .args(["test", "--workspace", "--no-fail-fast"])
            .args(features);
        if !filter.is_empty() {
            cargo.arg("--").args(filter);
        }
        cargo
    })
}

fn isolated(command: &mut Command) -> &mut Command {
    for name in INHERITED {
        command.env_remove(name);
    }
    let ours = |name: &str| name.starts_with("HANDOVER_") && !name.starts_with("HANDOVER_TEST_");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(ours) {
            command.env_remove(name);
        }
    }
    command
}
