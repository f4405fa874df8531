//! `verify` and `demo` as the real binary runs them: they find loss, find none, and leave nothing.

mod running;

use running::{HANDOVER, Service, command, eventually, finish, lives};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

fn verify(service: &Service, upgrade: &str) -> std::process::Output {
    let url = format!("http://{}/", service.address);
    let line = [
        "verify",
        "--url",
        &url,
        "--rate",
        "50",
        "--upgrades",
        "2",
        "--warm-up",
        "300ms",
        "--interval",
        "300ms",
        "--settle",
        "300ms",
        "--timeout",
        "2s",
        "--slow-path",
        "/slow",
        "--report",
        "report",
        "--upgrade-command",
        upgrade,
        "--format",
        "json",
    ];
    let mut command = service.command(&line);
    command.current_dir(service.dir.path()).stdin(Stdio::null());
    command.output().expect("it runs")
}

#[test]
fn our_own_upgrade_loses_nothing() {
    let service = Service::start(&[]);
    let command =
        format!("'{HANDOVER}' upgrade -- __demo-server --version-name $((UPGRADE_NUMBER + 1))");
    let output = verify(&service, &command);
    let words = String::from_utf8_lossy(&output.stderr);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(output.status.code(), Some(0), "{words}\n{report:#}");
    assert_eq!(report["failed"], 0);
    assert_eq!(report["upgrades"][1]["version_after"], "3", "{report:#}");
    for name in ["report.json", "report.svg", "junit.xml", "report.txt"] {
        assert!(
            service.dir.path().join("report").join(name).is_file(),
            "{name}"
        );
    }
}

#[test]
fn an_upgrade_that_takes_the_service_away_is_found_out() {
    let service = Service::start(&[]);
    let output = verify(&service, &format!("'{HANDOVER}' stop --now"));
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(20), "{words}");
    assert!(words.contains("loss: "), "{words}");
}

#[test]
fn the_demo_ends_well() {
    let dir = tempfile::tempdir().expect("a directory");
    let line = [
        "demo",
        "--rate",
        "50",
        "--upgrades",
        "2",
        "--out",
        "out",
        "--format",
        "json",
    ];
    let child = command(&dir, &line)
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let output = finish(child);
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{words}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let outcomes: Vec<&str> = report["upgrades"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|upgrade| upgrade["outcome"].as_str())
        .collect();
    assert_eq!(
        outcomes.iter().filter(|o| **o == "committed").count(),
        2,
        "{outcomes:?}"
    );
    assert!(
        outcomes.contains(&"rolled back") && outcomes.contains(&"timed out"),
        "{outcomes:?}"
    );
    assert!(dir.path().join("out/report.svg").is_file());
}

#[test]
fn a_demo_that_is_interrupted_leaves_nothing_running() {
    for signal in ["INT", "TERM"] {
        let dir = tempfile::tempdir().expect("a directory");
        let mut child = command(&dir, &["demo", "--rate", "20"])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut first = String::new();
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        stderr.read_line(&mut first).expect("a line");
        // The line says how to watch it: `… handover --runtime-dir DIR top`.
        let words: Vec<&str> = first.split_whitespace().collect();
        let flag = words.iter().position(|word| *word == "--runtime-dir");
        let root = words[flag.expect(&first) + 1];
        let status = command(&dir, &["status", "--format", "json", "--runtime-dir", root])
            .output()
            .expect("it runs");
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect(&first);
        let pid = |value: &serde_json::Value| value.as_u64().expect("a process id");
        let pids = [
            pid(&status["supervisor_pid"]),
            pid(&status["incumbent"]["pid"]),
        ];
        assert!(pids.iter().all(|pid| lives(*pid)));
        let kill = std::process::Command::new("kill")
            .args(["-s", signal, &child.id().to_string()])
            .status();
        assert!(kill.expect("kill runs").success());
        let code = eventually("the demo ends", || child.try_wait().expect("ours")).code();
        assert_eq!(code, Some(130), "SIG{signal}");
        assert!(
            !pids.iter().any(|pid| lives(*pid)),
            "SIG{signal} left one of {pids:?}"
        );
        assert!(!std::path::Path::new(root).exists());
    }
}
