//! The units that `handover unit` prints are ones that systemd accepts, and that `handover doctor`
//! finds nothing wrong with.

use std::path::Path;
use std::process::{Command, Output};

use handover_tests::service::{clean, command_path};
use handover_tests::{Program, peer};

use crate::FIXTURE;

fn handover(words: &[&str]) -> Output {
    let mut command = clean(command_path());
    let root = tempfile::tempdir().expect("a directory");
    command.env("HANDOVER_RUNTIME_DIR", root.path());
    command.args(words).output().expect("it runs")
}

/// Writes the units for this program into the directory.
fn write(directory: &Path, flags: &[&str], program: &Path) {
    let (directory, program) = (directory.display(), program.display());
    let (directory, program) = (directory.to_string(), program.to_string());
    let mut words = vec!["unit", "--name", "app", "--dir", &directory];
    words.extend(flags);
    words.extend(["--", &program, "100%", "of $HOME", ""]);
    let output = handover(&words);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
}

/// What systemd has to say about them. `None` where it is not installed.
fn verified(directory: &Path, names: &[&str]) -> Option<String> {
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no", "--recursive-errors=no"]);
    command.args(names.iter().map(|name| directory.join(name)));
    match command.output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(0), "{said}");
            Some(said)
        }
        Err(error) => {
            peer::skip(&format!("systemd-analyze: {error}"));
            None
        }
    }
}

fn contains(directory: &Path, name: &str, lines: &[&str]) {
    let text = std::fs::read_to_string(directory.join(name)).expect("written");
    for line in lines {
        assert!(text.lines().any(|found| found == *line), "{line}:\n{text}");
    }
}

#[test]
fn systemd_accepts_a_service_and_the_doctor_finds_it_well() {
    let program = Program::new(FIXTURE, "--version 1");
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    write(
        at,
        &["-l", "http=127.0.0.1:8080", "--drain-grace", "3m"],
        program.path(),
    );
    if let Some(said) = verified(at, &["app.service"]) {
        assert!(!said.contains("app.service"), "{said}");
    }
    // Longer than the ladder: 3 min, 5 s, 5 s, and some.
    contains(
        at,
        "app.service",
        &["TimeoutStopSec=205", "KillMode=process"],
    );

    let unit = at.join("app.service").display().to_string();
    let data = at.display().to_string();
    let words = [
        "doctor", "--format", "json", "--unit", &unit, "--data", &data,
    ];
    let output = handover(&words);
    let found = String::from_utf8_lossy(&output.stdout);
    let of_unit: Vec<_> = [
        "Type",
        "NotifyAccess",
        "KillMode",
        "TimeoutStopSec",
        "Restart",
    ]
    .iter()
    .chain(&["FileDescriptorStoreMax", "LimitNOFILE", "data directory"])
    .map(|check| format!("{{\"check\":\"{check}\",\"verdict\":\"ok\""))
    .collect();
    for finding in of_unit {
        assert!(found.contains(&finding), "{finding}: {found}");
    }
    // Written once, and not over what somebody may have changed.
    let again = ["unit", "--name", "app", "--dir", &data, "--", "/bin/true"];
    assert_eq!(handover(&again).status.code(), Some(1));
}

#[test]
fn systemd_accepts_socket_units_and_what_a_user_needs() {
    let program = Program::new(FIXTURE, "--version 1");
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    let flags = [
        "--socket",
        "--user",
        "daemon",
        "-l",
        "http=127.0.0.1:80",
        "-l",
        "admin=unix:/run/a.sock",
    ];
    write(at, &flags, program.path());
    let names = ["app.service", "app-http.socket", "app-admin.socket"];
    if let Some(said) = verified(at, &names) {
        assert!(names.iter().all(|name| !said.contains(name)), "{said}");
    }
    contains(
        at,
        "app-http.socket",
        &["FileDescriptorName=http", "ListenStream=127.0.0.1:80"],
    );
    contains(
        at,
        "app.service",
        &["User=daemon", "Sockets=app-http.socket app-admin.socket"],
    );
}

#[test]
fn each_systemd_gets_what_it_knows() {
    let program = Program::new(FIXTURE, "--version 1");
    for (version, kind) in [("252", "Type=notify"), ("253", "Type=notify-reload")] {
        let directory = tempfile::tempdir().expect("a directory");
        write(directory.path(), &["--systemd", version], program.path());
        contains(directory.path(), "app.service", &[kind]);
    }
}

#[test]
fn the_doctor_names_what_is_wrong_and_the_fix() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("bad.service");
    std::fs::write(&path, "[Service]\nType=forking\nExecStart=/bin/server\n").expect("written");
    let unit = path.display().to_string();
    let output = handover(&["doctor", "--unit", &unit, "--data", "/proc"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout);
    for expected in [
        "BAD   Type",
        "fix: KillMode=process",
        "BAD   data directory",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let output = handover(&["doctor", "--pid", &std::process::id().to_string()]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("ok    memory for two") || text.contains("ok  memory for two"),
        "{text}"
    );
}
