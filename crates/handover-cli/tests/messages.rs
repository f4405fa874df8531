//! Every message a person can get from the command, with its exit code, as the real binary says it.

mod scripted;

use scripted::{STATUS, World, says};

fn transcripts(world: &World, lines: &[&[&str]]) -> String {
    let shown: Vec<String> = lines.iter().map(|line| world.transcript(line)).collect();
    shown.join("\n")
}

#[test]
fn usage() {
    let world = World::new();
    insta::assert_snapshot!(transcripts(
        &world,
        &[
            &["upgrad"],
            &["upgrade", "--queue", "--fail"],
            &["upgrade", "./server-v2"],
            &["stop", "--fast", "--now"],
            &["status", "--format", "yaml"],
            &["completions", "cmd"],
            &["verify", "--url", "http://127.0.0.1:1/"],
            &[
                "verify",
                "--url",
                "x",
                "--upgrade-command",
                "true",
                "--interval",
                "3"
            ],
            &["top"],
        ]
    ));
}

#[test]
fn help() {
    let world = World::new();
    insta::assert_snapshot!(world.transcript(&["--help"]));
    let bare = world.run(&[]);
    assert_eq!(bare.status.code(), Some(2));
}

#[test]
fn no_supervisor() {
    let world = World::new();
    let none = transcripts(&world, &[&["status"], &["upgrade", "--service", "web"]]);
    world.stale("web");
    let stale = transcripts(&world, &[&["status"], &["upgrade", "--service", "web"]]);
    insta::assert_snapshot!(format!("{none}\n{stale}"));
}

#[test]
fn several_supervisors() {
    let world = World::new();
    world.serve("web", says("", 0, ""));
    world.serve("api", says("", 0, ""));
    world.stale("old");
    insta::assert_snapshot!(transcripts(
        &world,
        &[
            &["status"],
            &["status", "-s", "wbe"],
            &["status", "-s", "x"]
        ]
    ));
    assert_eq!(world.run(&["status", "-s", "api"]).status.code(), Some(0));
}

#[test]
fn something_else_in_place_of_the_socket() {
    let world = World::new();
    std::fs::create_dir(world.root().join("web")).expect("a directory");
    std::fs::write(world.socket("web"), "").expect("a file");
    insta::assert_snapshot!(transcripts(&world, &[&["status"], &["stop"]]));
}

#[test]
fn answers_that_are_none() {
    let world = World::new();
    let shown: Vec<String> = [
        (200, "{\"service\": \"web\"}"),
        (200, "<html>not a supervisor</html>"),
        (403, "{\"error\": \"uid 1000 is neither 0 nor 33\"}"),
        (500, "{\"error\": \"the history cannot be read\"}"),
        (502, "bad gateway"),
    ]
    .into_iter()
    .map(|(status, body)| {
        let world = World::new();
        world.serve("web", says("GET /v1/history", status, body));
        world.transcript(&["history"])
    })
    .collect();
    world.serve("web", Box::new(|_| None));
    let silent = world.transcript(&["history"]);
    insta::assert_snapshot!(format!("{}\n{silent}", shown.join("\n")));
}

#[test]
fn every_outcome_of_an_upgrade() {
    let shown: Vec<String> = [
        (200, r#"{"outcome":"committed","generation":5,"instance":5}"#),
        (
            409,
            r#"{"outcome":"rolled_back","cause":"exited_before_ready","exit":{"code":1}}"#,
        ),
        (409, r#"{"outcome":"refused","refusal":"busy","phase":"warm"}"#),
        (
            409,
            r#"{"outcome":"timed_out","cause":"timed_out","phase":"warm","allowed":{"secs":30,"nanos":0}}"#,
        ),
        (
            503,
            r#"{"outcome":"nobody_serves","cause":"crashed","exit":{"signal":11}}"#,
        ),
        (400, r#"{"error":"unknown field `binray`"}"#),
    ]
    .into_iter()
    .map(|(status, body)| answered("POST /v1/upgrade", status, body))
    .collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn every_outcome_of_an_undo() {
    let shown: Vec<String> = [
        (200, r#"{"outcome":"committed","generation":6,"instance":4}"#),
        (
            409,
            r#"{"outcome":"rolled_back","cause":"seal_failed","reason":"no room"}"#,
        ),
        (
            409,
            r#"{"outcome":"timed_out","cause":"timed_out","phase":"drain","allowed":{"secs":60,"nanos":0}}"#,
        ),
        (409, r#"{"outcome":"refused","refusal":"nothing_to_undo"}"#),
        (
            503,
            r#"{"outcome":"nobody_serves","cause":"crashed","exit":{"signal":11}}"#,
        ),
    ]
    .into_iter()
    .map(|(status, body)| answered("POST /v1/undo", status, body))
    .collect();
    insta::assert_snapshot!(shown.join("\n"));
}

/// What a command shows when the supervisor answers so.
fn answered(request: &'static str, status: u16, body: &'static str) -> String {
    let world = World::new();
    world.serve("web", says(request, status, body));
    let command = request.trim_start_matches("POST /v1/");
    let shown = world.transcript(&[command]);
    // The one thing that differs from run to run: how long it took.
    let lines = shown.lines().map(|line| match line.rsplit_once(" (") {
        Some((line, time)) if time.ends_with("s)") => format!("{line} (TIME)\n"),
        _ => format!("{line}\n"),
    });
    lines.collect()
}

#[test]
fn configuration() {
    let world = World::new();
    let write = |name: &str, text: &str| {
        std::fs::write(world.root().join(name), text).expect("a file");
    };
    write(
        "good.toml",
        "program = ['./server']\nready-timeout = '1m'\n",
    );
    write("key.toml", "program = ['./server']\nredy-timeout = '1m'\n");
    write(
        "listener.toml",
        "program = ['./server']\nlisteners = ['8080']\n",
    );
    write("ready.toml", "program = ['./server']\nready = 'soon'\n");
    write("empty.toml", "");
    insta::assert_snapshot!(transcripts(
        &world,
        &[
            &["config", "check", "--config", "good.toml"],
            &[
                "config",
                "show",
                "--config",
                "good.toml",
                "--probation",
                "1s"
            ],
            &["config", "check", "--config", "missing.toml"],
            &["config", "check", "--config", "key.toml"],
            &["config", "check", "--config", "listener.toml"],
            &["config", "check", "--config", "ready.toml"],
            &["config", "check", "--config", "empty.toml"],
            &["config", "check", "--env", "A", "--", "x"],
            &[
                "config", "check", "-l", "http=:80", "-l", "http=:81", "--", "x"
            ],
        ]
    ));
}

#[test]
fn verify() {
    let world = World::new();
    let load = |rest: &[&'static str]| {
        let mut line = vec!["verify", "--upgrade-command", "true"];
        line.extend(rest);
        world.transcript(&line)
    };
    let shown = [
        load(&["--url", "https://127.0.0.1/"]),
        load(&["--url", "127.0.0.1:80"]),
        load(&["--url", "http://127.0.0.1:1/", "--rate", "-1"]),
        load(&["--url", "http://127.0.0.1:1/", "--slow-path", "slow"]),
        load(&["--url", "http://127.0.0.1:1/"]),
    ];
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn a_wrong_variable_is_told_apart_from_a_wrong_flag() {
    let world = World::new();
    let output = world
        .command(&["config", "show", "--", "./x"])
        .env("HANDOVER_REDY_TIMEOUT", "1s")
        .env("HANDOVER_PROBATION", "1s")
        .output()
        .expect("it runs");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    insta::assert_snapshot!(
        format!("{out}---\n{err}").replace(&*world.root().to_string_lossy(), "<ROOT>")
    );
    let output = world
        .command(&["config", "show", "--", "./x"])
        .env("HANDOVER_PROBATION", "1 fortnight")
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(err.contains("HANDOVER_PROBATION: `probation`"), "{err}");
}

/// The status has a field this version does not know: a later supervisor is understood.
#[test]
fn a_later_supervisor_is_understood() {
    assert!(STATUS.contains("a_field_of_later"));
    let world = World::new();
    world.serve("web", says("", 0, ""));
    insta::assert_snapshot!(world.transcript(&["status"]));
}
