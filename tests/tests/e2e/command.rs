//! The command as a user meets it: its tester, its demo, its configuration.

use std::net::{SocketAddr, TcpListener};
use std::process::Output;

use handover_tests::patience::until;
use handover_tests::service::{NAME, clean, command_path};
use handover_tests::{Builder, Program, http, process};

use crate::FIXTURE;

fn text(output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    format!("{stdout}{stderr}")
}

fn verify(address: SocketAddr, upgrades: &str, command: &str) -> Output {
    clean(command_path())
        .args(["verify", "--url", &format!("http://{address}/")])
        .args(["--upgrades", upgrades, "--upgrade-command", command])
        .args(["--rate", "100", "--slow-path", "/slow", "--slow", "2"])
        .args([
            "--warm-up",
            "500ms",
            "--interval",
            "300ms",
            "--settle",
            "300ms",
        ])
        .output()
        .expect("it runs")
}

/// The tester on our own supervisor, driven by our own command: nothing is lost, exit code 0.
#[test]
fn i10_verify_finds_no_loss_in_handover_upgrade() {
    let program = Program::new(FIXTURE, "--version 1");
    let service = Builder::new(program.path()).start();
    let (command, root) = (command_path(), service.root().display());
    let upgrade = format!(
        "'{}' --runtime-dir '{root}' upgrade --service {NAME}",
        command.display()
    );
    let answer = verify(service.address(), "4", &upgrade);
    assert_eq!(answer.status.code(), Some(0), "{}", text(&answer));
    assert_eq!(service.status().generation.0, 5);
}

/// Below the ports the kernel gives to clients: while the server is down, one of the load's own
/// connections could be given it.
fn free_address() -> SocketAddr {
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).expect("small");
    (first..32_000)
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
        .find(|address| TcpListener::bind(address).is_ok())
        .expect("a free port")
}

/// The tester on a plain restart of the same server: it must find the loss, exit code 20.
#[test]
fn verify_finds_the_loss_of_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let pid = directory.path().join("pid");
    let address = free_address();
    let start = format!(
        "'{FIXTURE}' --bind {address} --version \"$UPGRADE_NUMBER\" & echo $! > '{}'",
        pid.display()
    );
    let started = clean("sh").args(["-c", &start]).status().expect("it runs");
    assert!(started.success());
    let running = || -> Option<u32> { std::fs::read_to_string(&pid).ok()?.trim().parse().ok() };
    until("it serves", || http::get(address, "/").is_ok());
    let restart = format!("kill -KILL $(cat '{}'); {start}; sleep 0.2", pid.display());
    let answer = verify(address, "2", &restart);
    if let Some(pid) = running() {
        process::signal(pid, rustix::process::Signal::KILL);
    }
    assert_eq!(answer.status.code(), Some(20), "{}", text(&answer));
    assert!(text(&answer).contains("refused"), "{}", text(&answer));
}

/// The first command of the README, at a rate a busy machine can make.
#[test]
fn the_demo_succeeds_and_leaves_nothing_but_its_report() {
    let directory = tempfile::tempdir().expect("a directory");
    let answer = clean(command_path())
        .args([
            "demo",
            "--upgrades",
            "2",
            "--rate",
            "100",
            "--out",
            "report",
        ])
        .current_dir(directory.path())
        .env("TMPDIR", directory.path())
        .output()
        .expect("it runs");
    assert_eq!(answer.status.code(), Some(0), "{}", text(&answer));
    let left: Vec<_> = std::fs::read_dir(directory.path())
        .expect("read")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    assert_eq!(left, ["report"], "{}", text(&answer));
    // Its runtime directory was below this one, and so is named in whatever it has left.
    until("none of its processes is left", || {
        process::with_in_environment(directory.path()).is_empty()
    });
}

/// An unknown key is no key: it is named, with the one that was meant, and nothing starts.
#[test]
fn an_unknown_key_is_refused_with_a_suggestion() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("handover.toml");
    std::fs::write(&file, "program = [\"sleep\", \"1000\"]\nredy = \"auto\"\n").expect("written");
    let config = file.display().to_string();
    for words in [["run", "--config"], ["config", "check"]] {
        let mut command = clean(command_path());
        command.args(words);
        if words[0] == "config" {
            command.arg("--config");
        }
        let answer = command
            .arg(&config)
            .env("HANDOVER_RUNTIME_DIR", directory.path().join("run"))
            .output()
            .expect("it runs");
        let told = text(&answer);
        assert_eq!(answer.status.code(), Some(2), "{told}");
        assert!(told.contains("redy") && told.contains("ready"), "{told}");
    }
    assert!(!directory.path().join("run").join("sleep").exists());
}

/// What the file says is what runs.
#[test]
fn a_service_runs_from_its_file() {
    let program = Program::new(FIXTURE, "--version filed");
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("handover.toml");
    let text = format!(
        "program = {:?}\nlisteners = [\"http=127.0.0.1:0\"]\nready = \"native\"\n\
         drain-notify = \"1s\"\n[env]\nGREETING = \"hello\"\n",
        [program.path().display().to_string()]
    );
    std::fs::write(&file, text).expect("written");
    let service = Builder::bare(program.path())
        .flags(["--config", &file.display().to_string()])
        .start();
    http::until_version(service.address(), "filed");
    let environment = std::fs::read(format!("/proc/{}/environ", service.incumbent()));
    let environment = environment.expect("read");
    assert!(
        environment
            .split(|byte| *byte == 0)
            .any(|v| v == b"GREETING=hello")
    );
}
