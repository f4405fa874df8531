//! Standard streams: data on one, words on the other, and neither needs anybody at its other end.

mod scripted;

use scripted::{STATUS, Script, World, says};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

/// More than any test machine needs; only a hang gets there.
const PATIENCE: Duration = Duration::from_secs(60);

const STARTED: &str = r#"{"seq":1,"unix_ms":99999999999999,"event":"handover_started","id":1,"from":4,"to":5,"candidate":"x","mode":"overlap"}"#;
const EXITED: &str = r#"{"seq":2,"unix_ms":99999999999999,"event":"instance_exited","instance":5,"exit":{"code":3},"expected":false,"last_words":["no such table"]}"#;
const FINISHED: &str = r#"{"seq":3,"unix_ms":99999999999999,"event":"handover_finished","id":1,"outcome":"rolled_back","cause":"exited_before_ready","exit":{"code":3},"took":{"secs":0,"nanos":1},"dark":{"secs":0,"nanos":0}}"#;
const UNKNOWN: &str = r#"{"seq":4,"unix_ms":99999999999999,"event":"of_a_later_version"}"#;
const EARLIER: &str = r#"{"seq":0,"unix_ms":1,"event":"stopped"}"#;
const ROLLED_BACK: &str =
    r#"{"outcome":"rolled_back","cause":"exited_before_ready","exit":{"code":3}}"#;

fn failing_upgrade() -> Script {
    Box::new(|asked| {
        let events = [EARLIER, STARTED, EXITED, UNKNOWN, FINISHED].map(|line| format!("{line}\n"));
        match asked {
            "POST /v1/upgrade" => Some((409, ROLLED_BACK.to_owned())),
            "GET /v1/events?since=0" => Some((200, events.concat())),
            _ => Some((200, STATUS.to_owned())),
        }
    })
}

#[test]
fn a_failed_upgrade_shows_the_last_words_and_who_serves() {
    let world = World::new();
    world.serve("web", failing_upgrade());
    let output = world.run(&["upgrade"]);
    assert_eq!(output.status.code(), Some(10));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    let words = String::from_utf8_lossy(&output.stderr);
    for expected in [
        "rolled back: the new version exited with code 3 before it was ready",
        "    no such table",
        "serving: instance #4, pid 4204",
        "next: ",
    ] {
        assert!(
            words.contains(expected),
            "{expected:?} is missing:\n{words}"
        );
    }
    assert!(
        !words.contains("\x1b["),
        "colour without a terminal:\n{words}"
    );
    assert!(!words.contains("stopped"), "an earlier event:\n{words}");
}

#[test]
fn with_json_all_data_is_on_standard_output_and_nothing_else() {
    let world = World::new();
    world.serve("web", failing_upgrade());
    let output = world.run(&["upgrade", "--format", "json"]);
    assert_eq!(output.status.code(), Some(10));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let data = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = data.lines().collect();
    assert_eq!(lines, [STARTED, EXITED, UNKNOWN, FINISHED, ROLLED_BACK]);
}

#[test]
fn the_request_says_what_was_asked_for() {
    let world = World::new();
    let bodies = world.serve("web", failing_upgrade());
    let line = [
        "upgrade",
        "--binary",
        "./v2",
        "-l",
        "http=:80",
        "--supersede",
        "--",
        "-p",
        "1",
    ];
    world.run(&line);
    let bodies = bodies.lock().expect("no panic");
    let found: serde_json::Value = serde_json::from_str(&bodies[0]).expect("JSON");
    let binary = world.root().join("v2");
    let expected = serde_json::json!({
        "binary": binary, "args": ["-p", "1"], "listeners": ["http=:80"], "when_busy": "supersede",
    });
    assert_eq!(found, expected);
}

#[test]
fn json_of_every_screen_can_be_read_back() {
    let world = World::new();
    world.serve("web", says("GET /v1/history", 200, "[]"));
    let output = world.run(&["status", "--format", "json"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.lines().count(), 1);
    let status: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(status["incumbent"]["pid"], 4204);
    assert!(
        world
            .run(&["history", "--format", "json"])
            .stdout
            .is_empty()
    );
}

#[test]
fn a_reader_that_leaves_ends_an_endless_command_with_success() {
    let world = World::new();
    // More than a pipe holds, so that the writer notices.
    let lines = format!("{EARLIER}\n").repeat(20_000);
    world.serve(
        "web",
        Box::new(move |asked| match asked.starts_with("GET /v1/events") {
            true => Some((200, lines.clone())),
            false => Some((200, STATUS.to_owned())),
        }),
    );
    let mut child = world
        .command(&["events"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut first = String::new();
    let mut reader = BufReader::new(child.stdout.take().expect("piped"));
    reader.read_line(&mut first).expect("a line");
    assert!(first.contains("stopped"), "{first}");
    drop(reader);
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(child.wait_with_output()));
    let output = told
        .recv_timeout(PATIENCE)
        .expect("it ends")
        .expect("it ran");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn closed_streams_and_full_disks() {
    let world = World::new();
    world.serve("web", says("", 0, ""));
    let handover = env!("CARGO_BIN_EXE_handover");
    let shell = |redirection: &str| {
        let output = std::process::Command::new("sh")
            .args(["-c", &format!("'{handover}' status {redirection}")])
            .env("HANDOVER_RUNTIME_DIR", world.root())
            .output()
            .expect("a shell");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    assert_eq!(shell("<&- >&-"), (Some(0), String::new()));
    assert_eq!(shell("<&- >&- 2>&-"), (Some(0), String::new()));
    let (code, words) = shell(">/dev/full");
    assert_eq!(code, Some(1));
    assert!(words.contains("cannot write to standard output"), "{words}");
}

#[test]
fn an_event_stream_that_breaks_is_told_apart_from_one_that_ended() {
    let world = World::new();
    let stopped = r#"{"seq":9,"unix_ms":1795247479024,"event":"stopped"}"#;
    world.serve("web", says("GET /v1/events?since=7", 200, stopped));
    let cut = world.run(&["events", "--since", "7"]);
    assert_eq!(cut.status.code(), Some(1), "the last line has no end");
    let whole = World::new();
    let body: &'static str = "{\"seq\":9,\"unix_ms\":1795247479024,\"event\":\"stopped\"}\n";
    whole.serve("web", says("GET /v1/events?since=7", 200, body));
    let ended = whole.run(&["events", "--since", "7"]);
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(
        String::from_utf8_lossy(&ended.stdout),
        "07:51:19.024  stopped\n"
    );
}

#[test]
fn completions_and_manual_pages_are_made() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = world.run(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0));
        let script = String::from_utf8_lossy(&output.stdout);
        assert!(script.contains("rollback"), "{shell}");
    }
    let page = world.run(&["man"]);
    assert!(String::from_utf8_lossy(&page.stdout).contains(".TH"));
    let output = world.run(&["man", "pages/man1"]);
    assert_eq!(output.status.code(), Some(0));
    let dir = world.root().join("pages/man1");
    for name in ["handover.1", "handover-run.1", "handover-config-show.1"] {
        let page = std::fs::read_to_string(dir.join(name)).expect(name);
        assert!(page.contains("Exit codes"), "{name}");
    }
    let hidden = dir.join("handover-__demo-server.1");
    assert!(!hidden.exists());
}
