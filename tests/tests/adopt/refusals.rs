//! What cannot be adopted is refused with what was seen, and serves on.

use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Output};

use handover_sys::spawn::Spawn;
use handover_tests::service::{clean, command_path};
use handover_tests::stranger::free_port;
use handover_tests::{Builder, Program, Stranger, peer, process};
use rustix::process::Signal;

use crate::FIXTURE;
use crate::under_load::nginx_configuration;

const SERVER: [&str; 6] = ["python3", "-m", "http.server", "0", "--bind", "127.0.0.1"];

fn run(mut command: Command, pid: u32, flags: &[&str]) -> Output {
    let pid = pid.to_string();
    command
        .args(["adopt", "--pid", &pid, "--dry-run", "--format", "json"])
        .args(flags);
    command.output().expect("the command runs")
}

/// The words of what is in the way.
fn words(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let Ok(found) = serde_json::from_str::<serde_json::Value>(&text) else {
        panic!("no JSON: {output:?}");
    };
    let refused = found["refused"].as_array().cloned().unwrap_or_default();
    let code = if refused.is_empty() { 0 } else { 11 };
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let word = |one: &serde_json::Value| one["refusal"].as_str().expect("a word").to_owned();
    refused.iter().map(word).collect()
}

fn refused(pid: u32, flags: &[&str]) -> Vec<String> {
    words(&run(clean(command_path()), pid, flags))
}

fn alone(pid: u32) -> Vec<String> {
    refused(pid, &[])
}

#[test]
fn a_plain_server_is_not() {
    let mut stranger = Stranger::start(&SERVER, |_| {});
    assert!(alone(stranger.pid()).is_empty());
    assert!(stranger.is_alive());
}

#[test]
fn what_was_asked_for_has_to_make_sense() {
    let stranger = Stranger::start(&SERVER, |_| {});
    let refused = |flags: &[&str]| refused(stranger.pid(), flags);
    assert_eq!(refused(&["-l", "web=127.0.0.1:1"]), ["not_there"]);
    assert_eq!(refused(&["--exclusive"]), ["exclusive"]);
    assert_eq!(refused(&["--old-stop-signal", "STOP"]), ["bad_signal"]);
    assert_eq!(refused(&["--stop-signal", "WINCH"]), ["signal_ignored"]);
    let name = format!("web={}", stranger.address());
    assert!(refused(&["-l", &name]).is_empty());
}

#[test]
fn a_process_that_is_not_there_or_is_this_one() {
    let output = run(clean(command_path()), u32::MAX / 2, &[]);
    assert_eq!(output.status.code(), Some(11));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no process"));
    // The test is the command's parent, and listens on nothing.
    let own = alone(std::process::id());
    assert!(own.contains(&"ourselves".to_owned()), "{own:?}");
}

#[test]
fn a_process_that_does_not_listen() {
    let sleeper = Stranger::launch(&["sleep", "1000"], |_| {});
    assert_eq!(alone(sleeper.pid()), ["not_listening"]);
}

/// The one below it that does is named.
#[test]
fn a_shell_that_waits_for_its_server() {
    let line = "python3 -m http.server 0 --bind 127.0.0.1; true";
    let shell = Stranger::start(&["sh", "-c", line], |_| {});
    let output = run(clean(command_path()), shell.pid(), &[]);
    assert_eq!(words(&output), ["not_listening"]);
    let below = handover_sys::diag::descendants(shell.pid()).expect("lists");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains(&format!("use --pid {}", below[0])), "{text}");
}

#[test]
fn a_worker_of_nginx() {
    let Some(nginx) = peer::find("HANDOVER_TEST_NGINX") else {
        return;
    };
    let path = nginx.display().to_string();
    let listen = format!("127.0.0.1:{}", free_port());
    let words = [&path, "-c", "{dir}/old.conf", "-g", "daemon off;"];
    let master = Stranger::start(&words, |directory| {
        let text = nginx_configuration(directory.path(), "old", &listen);
        std::fs::write(directory.path().join("old.conf"), text).expect("written");
    });
    let workers = handover_tests::patience::eventually("it has workers", || {
        let below = handover_sys::diag::descendants(master.pid()).expect("lists");
        (below.len() == 2).then_some(below)
    });
    assert_eq!(alone(workers[0]), ["worker"]);
    assert!(alone(master.pid()).is_empty());
}

/// Two processes that have nothing to do with each other, on one socket.
#[test]
fn a_socket_that_somebody_else_holds_too() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let holder = || {
        let spawn = Spawn::path("/bin/sleep").args(["1000"]);
        let spawn = spawn.descriptors(vec![listener.as_fd()]).process_group();
        spawn.spawn().expect("starts")
    };
    let (one, other) = (holder(), holder());
    drop(listener);
    assert_eq!(alone(one.pid), ["shared"]);
    for child in [&one, &other] {
        child
            .pidfd
            .signal(handover_sys::Signal::KILL)
            .expect("killed");
        child.pidfd.wait(None).expect("gone");
    }
}

#[test]
fn several_sockets_of_one_address() {
    let script = "import socket, time\n\
                  def s(port):\n    \
                      s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)\n    \
                      s.bind(('127.0.0.1', port)); s.listen(); return s\n\
                  a = s(0); b = s(a.getsockname()[1]); time.sleep(1000)";
    let stranger = Stranger::start(&["python3", "-c", script], |_| {});
    let found = handover_tests::patience::eventually("both listen", || {
        let found = alone(stranger.pid());
        (!found.is_empty()).then_some(found)
    });
    assert!(found.contains(&"reuse_port".to_owned()), "{found:?}");
}

#[test]
fn a_program_that_ignores_its_stop_signal() {
    let script = "import signal, socket, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
                  s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); time.sleep(1000)";
    let stranger = Stranger::start(&["python3", "-c", script], |_| {});
    assert_eq!(alone(stranger.pid()), ["signal_ignored"]);
    assert!(refused(stranger.pid(), &["--old-stop-signal", "USR1"]).is_empty());
}

#[test]
fn an_instance_of_ours() {
    let program = Program::new(FIXTURE, "--plain");
    let service = Builder::new(program.path()).start();
    assert_eq!(alone(service.incumbent()), ["supervised"]);
    assert_eq!(alone(service.supervisor()), ["supervised"]);
}

#[test]
fn another_users_program() {
    if !peer::root() {
        return;
    }
    let stranger = Stranger::start(&SERVER, |_| {});
    let mut nobody = clean("setpriv");
    nobody
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(reachable().path().join("handover"));
    assert_eq!(words(&run(nobody, stranger.pid(), &[])), ["another_user"]);
}

/// The program where every user can run it from: a build directory may be private.
fn reachable() -> &'static tempfile::TempDir {
    static COPY: std::sync::OnceLock<tempfile::TempDir> = std::sync::OnceLock::new();
    COPY.get_or_init(|| {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().expect("a directory");
        let everybody = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory.path(), everybody).expect("mode set");
        std::fs::copy(command_path(), directory.path().join("handover")).expect("copied");
        directory
    })
}

#[test]
fn a_program_in_another_namespace() {
    if !peer::root() {
        return;
    }
    for (flag, word) in [
        ("--net", "another_network"),
        ("--pid", "another_process_namespace"),
    ] {
        let mut line = vec!["unshare", flag, "--fork"];
        line.extend(SERVER);
        let outside = Stranger::launch(&line, |_| {});
        let inside = handover_tests::patience::eventually("it runs", || {
            let below = handover_sys::diag::descendants(outside.pid()).ok()?;
            below.first().copied().filter(|pid| listens(*pid))
        });
        assert_eq!(alone(inside), [word]);
        process::signal(inside, Signal::KILL);
    }
}

/// In whichever network namespace it is.
fn listens(pid: u32) -> bool {
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    let listening = |line: &str| line.split_whitespace().nth(3) == Some("0A");
    let held = handover_sys::descriptors::sockets(pid).unwrap_or_default();
    let held_here = |line: &str| {
        let inode = line.split_whitespace().nth(9);
        let inode = inode.and_then(|text| text.parse::<u64>().ok());
        held.iter().any(|held| Some(held.inode) == inode)
    };
    table.lines().any(|line| listening(line) && held_here(line))
}

/// As in many containers.
#[test]
fn a_kernel_that_does_not_allow_it() {
    let mut stranger = Stranger::start(&SERVER, |_| {});
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/forbid_pidfd_getfd.py");
    let mut confined = clean("python3");
    confined.arg(script).arg(command_path());
    assert_eq!(
        words(&run(confined, stranger.pid(), &[])),
        ["not_permitted"]
    );
    assert!(stranger.is_alive());
}

/// Not only where it is asked for beforehand.
#[test]
fn refused_it_is_also_without_a_dry_run() {
    let sleeper = Stranger::launch(&["sleep", "1000"], |_| {});
    let program = Program::new(FIXTURE, "--plain");
    let mut service = Builder::bare(program.path()).adopt(sleeper.pid()).launch();
    assert_eq!(service.ended().code(), Some(11));
    assert!(service.processes().is_empty());
}
