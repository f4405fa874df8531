//! `handover upgrade`, `undo` and `status` of a program without a supervisor, by its process id or its
//! socket.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};

use handover_tests::patience::{eventually, until};
use handover_tests::service::{clean, command_path};
use handover_tests::{Program, http, process};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::FIXTURE;

/// A program that was started by hand, and its successors.
struct Alone {
    program: Program,
    runtime: TempDir,
    first: Child,
    address: SocketAddr,
}

impl Alone {
    fn start(behaviour: &str) -> Self {
        let runtime = tempfile::tempdir().expect("a directory");
        let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = port.local_addr().expect("an address");
        drop(port);
        let program = Program::new(FIXTURE, &arguments(1, address, behaviour));
        let mut command = clean(program.path());
        command.env("HANDOVER_RUNTIME_DIR", runtime.path());
        let first = command.stdin(Stdio::null()).spawn().expect("it starts");
        until("it serves", || {
            http::get(address, "/version").is_ok_and(|(_, version)| version == "1")
        });
        Self {
            program,
            runtime,
            first,
            address,
        }
    }

    fn replace(&self, version: u32, behaviour: &str) {
        let arguments = arguments(version, self.address, behaviour);
        self.program.replace(FIXTURE, &arguments);
    }

    fn socket(&self) -> PathBuf {
        self.runtime.path().join("fixture/takeover.sock")
    }

    fn pid(&self) -> String {
        let (_, pid) = http::get(self.address, "/pid").expect("an answer");
        pid
    }

    fn version(&self) -> String {
        http::version(self.address)
    }

    fn cli(&self, words: &[&str]) -> Output {
        cli(self.runtime.path(), words)
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let ours = |pid: &u32| {
            std::fs::read_to_string(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
                environment.contains(&self.runtime.path().display().to_string())
            })
        };
        let entries = std::fs::read_dir("/proc").expect("processes").flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        for pid in pids.filter(ours) {
            process::signal(pid, Signal::KILL);
        }
        let _ = self.first.wait();
    }
}

fn arguments(version: u32, address: SocketAddr, behaviour: &str) -> String {
    format!("--version {version} --takeover --bind {address} {behaviour}")
}

fn cli(runtime: &Path, words: &[&str]) -> Output {
    let mut command = clean(command_path());
    command.args(words).env("HANDOVER_RUNTIME_DIR", runtime);
    command.stdin(Stdio::null()).output().expect("it runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_program_is_upgraded_by_its_process_id() {
    let alone = Alone::start("");
    let (old, socket) = (alone.pid(), alone.socket().display().to_string());

    alone.replace(2, "");
    let output = alone.cli(&["upgrade", "--pid", &old]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("ready"), "{}", said(&output));
    assert!(said(&output).contains("committed"), "{}", said(&output));
    http::until_version(alone.address, "2");

    // One that fails leaves the second serving, and says why.
    alone.replace(3, "--crash-at-start 7");
    let by_socket = ["--socket", socket.as_str()];
    let output = alone.cli(&[&["upgrade"], &by_socket[..]].concat());
    assert_eq!(output.status.code(), Some(10), "{}", said(&output));
    assert!(
        said(&output).contains("exited with code 7"),
        "{}",
        said(&output)
    );
    assert_eq!(alone.version(), "2");

    let output = alone.cli(&[&["status"], &by_socket[..]].concat());
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8_lossy(&output.stdout);
    for part in [
        "no supervisor; asked at",
        &alone.pid(),
        &alone.address.to_string(),
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }

    alone.replace(4, "");
    let output = alone.cli(&["upgrade", "--pid", &alone.pid(), "--format", "json"]);
    let lines = String::from_utf8_lossy(&output.stdout);
    let last: serde_json::Value =
        serde_json::from_str(lines.lines().last().expect("a line")).expect("JSON");
    assert_eq!(
        (&last["outcome"], &last["code"]),
        (&"committed".into(), &0.into())
    );
    http::until_version(alone.address, "4");
}

#[test]
fn in_probation_the_old_process_takes_back() {
    let alone = Alone::start("--probation 60000");
    let old = alone.pid();
    alone.replace(2, "--probation 60000");
    let output = alone.cli(&["upgrade", "--pid", &old]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let status = eventually("it is in probation", || {
        let output = alone.cli(&["status", "--pid", &old, "--format", "json"]);
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        (status["phase"] == "probation").then_some(status)
    });
    assert_eq!(status["incumbent"]["pid"].to_string(), old);
    let output = alone.cli(&["undo", "--pid", &old]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    http::until_version(alone.address, "1");
    assert_eq!(alone.pid(), old);
    let output = alone.cli(&["undo", "--pid", &old]);
    assert_eq!(output.status.code(), Some(11), "{}", said(&output));
}

#[test]
fn what_cannot_be_asked_is_refused_with_the_reason() {
    let empty = tempfile::tempdir().expect("a directory");
    let here = std::process::id().to_string();
    let missing = empty.path().join("takeover.sock").display().to_string();
    let directory = empty.path().display().to_string();
    let stale = empty.path().join("stale").display().to_string();
    drop(std::os::unix::net::UnixListener::bind(&stale).expect("bound"));
    for (words, code, text) in [
        (
            ["upgrade", "--pid", "4194304"],
            13,
            "there is no process 4194304",
        ),
        (["upgrade", "--pid", &here], 11, "has no takeover socket"),
        (["undo", "--pid", &here], 11, "has no takeover socket"),
        (["status", "--pid", "0"], 2, "0 is not in 1.."),
        (["status", "--socket", &missing], 13, "nobody serves at"),
        (["upgrade", "--socket", &stale], 13, "nobody serves at"),
        (
            ["upgrade", "--socket", &directory],
            1,
            "not a takeover socket",
        ),
    ] {
        let output = cli(empty.path(), &words);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{words:?}: {}",
            said(&output)
        );
        assert!(said(&output).contains(text), "{words:?}: {}", said(&output));
    }
    let chosen = ["upgrade", "--socket", &missing, "--binary", "./x"];
    let output = cli(empty.path(), &chosen);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(
        said(&output).contains("--binary cannot be chosen"),
        "{}",
        said(&output)
    );
    let both = ["upgrade", "--socket", &missing, "--pid", &here];
    assert_eq!(cli(empty.path(), &both).status.code(), Some(2));
}

/// Only the program's user, and root, may ask.
#[test]
fn another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can ask as somebody else");
        assert!(std::env::var_os("CI").is_none(), "CI runs tests as root");
        return;
    }
    let alone = Alone::start("");
    let (pid, socket) = (alone.pid(), alone.socket().display().to_string());
    for (words, text) in [
        (["--pid", pid.as_str()], "belongs to somebody else"),
        (["--socket", socket.as_str()], "cannot be reached"),
    ] {
        let mut command = clean("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
            .arg(copy_of_command(alone.runtime.path()))
            .arg("upgrade")
            .args(words);
        let output = command.stdin(Stdio::null()).output().expect("setpriv runs");
        assert_ne!(output.status.code(), Some(0), "{}", said(&output));
        assert!(said(&output).contains(text), "{}", said(&output));
    }
    assert_eq!((alone.version().as_str(), alone.pid()), ("1", pid));
}

/// Where any user may read it.
fn copy_of_command(runtime: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let copy = runtime.join("handover");
    if !copy.exists() {
        std::fs::copy(command_path(), &copy).expect("copied");
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(runtime, open).expect("readable");
    }
    copy
}
