//! Services of a real systemd, booted for the test: started, reloaded, killed and stopped by it.
//!
//! Needs root, and a cgroup v2 that can be written to; see [`Booted::with`].

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use handover_tests::address::own_address;
use handover_tests::patience::{eventually, until};
use handover_tests::service::{clean, command_path};
use handover_tests::{Booted, Program, http};
use tempfile::TempDir;

/// The fixture server of this build.
const FIXTURE: &str = env!("CARGO_BIN_EXE_fixture");

/// Where the programs of this build are.
fn built() -> PathBuf {
    let path = command_path();
    path.parent().expect("a directory").to_path_buf()
}

fn folder(program: &Program) -> &Path {
    program.path().parent().expect("a directory")
}

/// What `handover unit` prints for a service on one listener, as files in a directory.
fn printed(flags: &[&str], program: &Program) -> TempDir {
    let units = tempfile::tempdir().expect("a directory");
    let mut command = clean(command_path());
    command
        .args(["unit", "--name", "app", "--dir"])
        .arg(units.path());
    command.args(flags).arg("--").arg(program.path());
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    units
}

/// The answer to one request, also from whoever is started while it waits.
fn answered(address: SocketAddr) -> String {
    let (status, body) = http::get(address, "/version").expect("an answer, not a refusal");
    assert_eq!(status, 200, "{body}");
    body
}

#[test]
fn a_printed_unit_is_started_reloaded_killed_and_stopped() {
    let program = Program::new(FIXTURE, "--version 1");
    let address = own_address();
    let listen = format!("http={address}");
    let units = printed(&["-l", &listen, "--drain-notify", "0s"], &program);
    let shared = [built(), folder(&program).to_path_buf()];
    let shared: Vec<&Path> = shared.iter().map(PathBuf::as_path).collect();
    let Some(systemd) = Booted::with(units.path(), &shared) else {
        return;
    };

    systemd.order(&["start", "app"]);
    assert_eq!(systemd.property("app", "ActiveState"), "active");
    assert_eq!(answered(address), "1");
    let supervisor = systemd.property("app", "MainPID");

    program.replace(FIXTURE, "--version 2");
    systemd.order(&["reload", "app"]);
    http::until_version(address, "2");
    assert_eq!(systemd.property("app", "MainPID"), supervisor);

    program.replace(FIXTURE, "--crash-at-start 3");
    let failed = systemd.systemctl(&["reload", "app"]);
    assert!(!failed.status.success(), "{failed:?}");
    assert_eq!(systemd.property("app", "ActiveState"), "active");
    assert_eq!(answered(address), "2");

    // Nobody is left, and nobody is refused: the listener is in the descriptor store.
    program.replace(FIXTURE, "--version 3");
    systemd.order(&["kill", "--kill-who=all", "--signal=KILL", "app"]);
    assert_eq!(answered(address), "3");
    until("systemd has seen it start", || {
        systemd.property("app", "ActiveState") == "active"
    });
    assert_ne!(systemd.property("app", "MainPID"), supervisor);
    assert_eq!(systemd.property("app", "NRestarts"), "1");

    systemd.order(&["stop", "app"]);
    assert_eq!(systemd.property("app", "ActiveState"), "inactive");
    assert_eq!(systemd.property("app", "Result"), "success");
    until("the listener is closed", || http::connect(address).is_err());
}

#[test]
fn a_program_replaces_itself_and_stays_the_unit() {
    let address = own_address();
    let arguments = |version: &str| format!("--version {version} --takeover --bind {address}");
    let program = Program::new(FIXTURE, &arguments("1"));
    let units = tempfile::tempdir().expect("a directory");
    let unit = format!(
        "[Service]\nType=notify\nNotifyAccess=main\nExecStart={}\nExecReload=/bin/kill -HUP \
         $MAINPID\nKillMode=mixed\n",
        program.path().display()
    );
    fs::write(units.path().join("app.service"), unit).expect("written");
    let Some(systemd) = Booted::with(units.path(), &[folder(&program)]) else {
        return;
    };

    systemd.order(&["start", "app"]);
    let first = systemd.property("app", "MainPID");
    for version in ["2", "3"] {
        let before = systemd.property("app", "MainPID");
        program.replace(FIXTURE, &arguments(version));
        systemd.order(&["reload", "app"]);
        http::until_version(address, version);
        let main = eventually("another main process", || {
            let main = systemd.property("app", "MainPID");
            (main != before).then_some(main)
        });
        assert_ne!(main, "0");
        assert_eq!(systemd.property("app", "ActiveState"), "active");
    }
    assert_ne!(systemd.property("app", "MainPID"), first);
    assert_eq!(systemd.property("app", "NRestarts"), "0");

    systemd.order(&["stop", "app"]);
    let result = systemd.property("app", "Result");
    assert_eq!(result, "success", "{}", systemd.said());
    until("nobody listens", || http::connect(address).is_err());
}
