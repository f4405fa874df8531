//! The command against the real supervisor and a real server.

mod running;

use running::{HANDOVER, Service, command, eventually, finish, server};
use std::io::BufRead;
use std::net::TcpListener;
use std::process::{Output, Stdio};

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_life_with_upgrade_rollback_and_stop() {
    let mut service = Service::start(&[]);
    assert_eq!(service.version(), "1");
    let upgraded = service.upgrade(&[], "2", "serve");
    assert_eq!(code(&upgraded), Some(0), "{}", words(&upgraded));
    assert!(words(&upgraded).contains("committed: generation 2"));
    assert_eq!(service.version(), "2");
    let back = service.handover(&["rollback"]);
    assert_eq!(code(&back), Some(0), "{}", words(&back));
    assert_eq!(service.version(), "1");
    let status = service.status();
    assert_eq!(status["service"], "web");
    assert_eq!(status["generation"], 3);
    assert!(status["previous"].is_string());
    let history = service.handover(&["history", "--format", "json"]);
    let history = String::from_utf8_lossy(&history.stdout).into_owned();
    assert_eq!(history.lines().count(), 3, "{history}");
    assert!(history.lines().all(|line| line.contains("\"committed\"")));
    assert_eq!(code(&service.handover(&["stop", "--fast"])), Some(0));
    assert_eq!(service.ended().code(), Some(0));
    let events = service.events.take().expect("not read yet");
    let last = events.lines().map_while(Result::ok).last();
    assert!(last.is_some_and(|line| line.contains("\"event\":\"stopped\"")));
    assert_eq!(code(&service.handover(&["status"])), Some(13));
}

/// I5 as a user meets it: every failure before ready ends with the old version serving.
#[test]
fn bad_versions_are_refused_while_the_old_one_serves() {
    let service = Service::start(&["--ready-timeout", "300ms"]);
    let crash = service.upgrade(&[], "2", "crash");
    assert_eq!(code(&crash), Some(10), "{}", words(&crash));
    for expected in [
        "rolled back: the new version exited with code 1",
        "    version 2: no column `email` in table `users`",
        "serving: instance #1",
        "next: ",
    ] {
        assert!(words(&crash).contains(expected), "{}", words(&crash));
    }
    assert_eq!(service.version(), "1");
    let never = service.upgrade(&[], "3", "never");
    assert_eq!(code(&never), Some(12), "{}", words(&never));
    assert!(
        words(&never).contains("--ready-timeout"),
        "{}",
        words(&never)
    );
    assert_eq!(service.version(), "1");
    let missing = service.handover(&["upgrade", "--binary", "/no/such/server"]);
    assert_eq!(code(&missing), Some(11), "{}", words(&missing));
    let check = service.handover(&["check", "--binary", "/no/such/server"]);
    assert_eq!(code(&check), Some(11));
    assert_eq!(
        code(&service.handover(&["check", "--binary", HANDOVER])),
        Some(0)
    );
    // I9: a failed attempt leaves the next one possible.
    assert_eq!(code(&service.upgrade(&[], "4", "serve")), Some(0));
    assert_eq!(service.version(), "4");
}

#[test]
fn a_running_handover_can_be_refused_for_and_cancelled() {
    let service = Service::start(&[]);
    let mut line = vec!["upgrade"];
    line.extend(server("2", "never"));
    let waiting = service
        .command(&line)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    eventually("the handover runs", || {
        (!service.status()["handover"].is_null()).then_some(())
    });
    let refused = service.upgrade(&["--fail"], "3", "serve");
    assert_eq!(code(&refused), Some(11), "{}", words(&refused));
    assert_eq!(code(&service.handover(&["abort"])), Some(0));
    let cancelled = finish(waiting);
    assert_eq!(code(&cancelled), Some(10), "{}", words(&cancelled));
    assert!(
        words(&cancelled).contains("cancelled on request"),
        "{}",
        words(&cancelled)
    );
    assert_eq!(service.version(), "1");
    let idle = service.handover(&["abort"]);
    assert_eq!(code(&idle), Some(0));
    assert!(
        words(&idle).contains("nothing was cancelled"),
        "{}",
        words(&idle)
    );
}

#[test]
fn listeners_may_come_and_go_with_a_version() {
    let service = Service::start(&[]);
    let names = || {
        let status = service.status();
        let listeners = status["listeners"].as_array().cloned().expect("a list");
        let name = |listener: &serde_json::Value| listener["name"].as_str().map(str::to_owned);
        listeners.iter().filter_map(name).collect::<Vec<_>>()
    };
    // As it was given, so that it is the same one; its port was chosen at the start.
    let http = "http=127.0.0.1:0";
    let more = service.upgrade(&["-l", http, "-l", "admin=127.0.0.1:0"], "2", "serve");
    assert_eq!(code(&more), Some(0), "{}", words(&more));
    assert_eq!(names(), ["http", "admin"]);
    assert_eq!(service.version(), "2");
    let fewer = service.upgrade(&["-l", http], "3", "serve");
    assert_eq!(code(&fewer), Some(0), "{}", words(&fewer));
    eventually("the listener nobody uses is closed", || {
        (names() == ["http"]).then_some(())
    });
    assert_eq!(service.version(), "3");
    let wrong = service.upgrade(&["-l", "8080"], "4", "serve");
    assert_eq!(code(&wrong), Some(2), "{}", words(&wrong));
    assert!(words(&wrong).contains("NAME=ADDRESS"), "{}", words(&wrong));
}

#[test]
fn a_supervisor_serves_on_when_nobody_reads_its_events() {
    let mut service = Service::start(&[]);
    service.events = None;
    for version in ["2", "3", "4"] {
        assert_eq!(code(&service.upgrade(&[], version, "serve")), Some(0));
        assert_eq!(service.version(), version);
    }
    assert!(service.run.try_wait().expect("ours").is_none());
}

#[test]
fn what_keeps_a_supervisor_from_starting_is_said() {
    let service = Service::start(&[]);
    let start = |line: &[&str]| {
        let mut command = service.command(&["run"]);
        let output = command.args(line).stdin(Stdio::null()).output();
        let output = output.expect("it runs");
        (code(&output), words(&output))
    };
    let (code, text) = start(&["--name", "web", "--", HANDOVER]);
    assert_eq!(code, Some(11), "{text}");
    assert!(text.contains("already supervised"), "{text}");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let listener = format!("http={}", taken.local_addr().expect("bound"));
    let (code, text) = start(&["--name", "b", "-l", &listener, "--", HANDOVER]);
    assert_eq!(code, Some(11), "{text}");
    assert!(text.contains("in use"), "{text}");
    let (code, text) = start(&["--name", "c", "--", "/no/such/server"]);
    assert_eq!(code, Some(11), "{text}");
    assert!(text.contains("no such file"), "{text}");
    let (code, text) = start(&["--name", "d"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("no program to run"), "{text}");
    assert_eq!(service.version(), "1");
}

#[test]
fn a_check_needs_no_supervisor() {
    let dir = tempfile::tempdir().expect("a directory");
    let check = |line: &[&str]| {
        let mut all = vec!["check"];
        all.extend(line);
        let output = command(&dir, &all).stdin(Stdio::null()).output();
        let output = output.expect("it runs");
        (
            code(&output),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    let (good, text) = check(&[
        "--binary",
        HANDOVER,
        "--test-command",
        "test -x $HANDOVER_CANDIDATE",
    ]);
    assert_eq!(good, Some(0), "{text}");
    assert!(text.contains("ok  test command"), "{text}");
    let (found, text) = check(&["--binary", "sh"]);
    assert_eq!(found, Some(0), "{text}");
    let (bad, text) = check(&[
        "--binary",
        HANDOVER,
        "--test-command",
        "echo broken; exit 4",
    ]);
    assert_eq!(bad, Some(11), "{text}");
    assert!(text.contains("broken"), "{text}");
    let plain = dir.path().join("plain");
    std::fs::write(&plain, "not a program").expect("a file");
    let (bad, text) = check(&["--binary", plain.to_str().expect("text")]);
    assert_eq!(bad, Some(11), "{text}");
    assert!(text.contains("BAD"), "{text}");
    assert_eq!(check(&[]).0, Some(13));
}
