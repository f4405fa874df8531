//! `handover dev`: a project is edited while it is used.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::Arc;

use handover_proto::outcome::{Cause, Outcome};
use handover_proto::phase::Phase;
use handover_tests::patience::until;
use handover_tests::workshop::{Workshop, outcome_of};
use handover_tests::{Program, http, load, peer, process};
use handover_verify::{Load, Plan};
use rustix::process::Signal;

use crate::FIXTURE;

const SOURCE: &str = "src/main.rs";
const CARGO: [&str; 4] = ["--", "cargo", "run", "--offline"];

/// A shell that waits for a server of its own, which checks `LISTEN_PID` as systemd's manual says.
const BELOW: &str = "sh -c 'LISTEN_PID=$$ exec \"$0\"' \"$0\"; exit $?";

fn set_version(workshop: &Workshop, from: &str, to: &str) {
    let line = |version: &str| format!("const VERSION: &str = {version};");
    workshop.edit(SOURCE, &line(from), &line(to));
}

/// A request that waits for as long as it takes.
fn request(workshop: &Workshop) -> std::thread::JoinHandle<std::io::Result<(u16, String)>> {
    let address = workshop.address();
    std::thread::spawn(move || http::get(address, "/"))
}

/// Three edits under requests, one of which does not compile: nobody is refused, and nobody is
/// answered by anything but the version before or the next.
#[test]
fn a_project_is_edited_under_requests_and_none_is_refused() {
    let mut workshop = Workshop::toy();
    workshop.begin(&CARGO);
    workshop.until_serving();
    let mut plan = Plan::new(&format!("http://{}/", workshop.address())).expect("an address");
    plan.new_rate = 100.0;
    plan.keep_alive_rate = 0.0;
    plan.connections = 0;
    plan.upgrades = 3;
    let control = workshop.control();
    let edited = Arc::new(workshop);
    let workshop = Arc::clone(&edited);
    let edit = move |n: u32| {
        let outcome = outcome_of(&control, || match n {
            1 => set_version(&workshop, "\"0\"", "\"1\""),
            2 => set_version(&workshop, "\"1\"", "one"),
            _ => set_version(&workshop, "one", "\"3\""),
        });
        match (n, &outcome) {
            (1 | 3, Outcome::Committed { .. }) | (2, Outcome::RolledBack { .. }) => outcome,
            _ => panic!("edit {n}: {outcome}\n{}", workshop.screen()),
        }
    };
    let report = load::run(&plan, edit, |_| true);
    load::require_lossless(&report);
    let answered = report.client(Load::New).expect("it was asked for").answered;
    assert!(answered > 100, "{}", report.table());
    let edits = report.upgrades.iter();
    let versions: Vec<_> = edits.map(|edit| edit.version_after.as_deref()).collect();
    // The one that does not compile changes nothing.
    assert_eq!(versions, [Some("1"), None, Some("3")]);

    let screen = edited.screen();
    let shown = [
        "handover: holds http on 127.0.0.1:",
        "Compiling toy",
        "handover: src/main.rs changed",
        "cannot find value `one`",
        "handover: the new version exited with code 101 before it was ready; the version before \
         serves on",
        "handover: the new version serves (",
    ];
    for text in shown {
        assert!(screen.contains(text), "{text} is missing in\n{screen}");
    }
    // What cargo writes while it builds is no change.
    assert_eq!(screen.matches(" changed").count(), 3, "{screen}");
    // `cargo run` became the server, so it is the only process.
    assert_eq!(edited.processes().len(), 1);
}

/// A first build that fails, then a crash: clients wait, and the next edit answers them.
#[test]
fn what_fails_while_nobody_serves_waits_to_be_mended() {
    let mut workshop = Workshop::toy();
    set_version(&workshop, "\"0\"", "one");
    workshop.begin(&CARGO);
    workshop.until_shown("requests wait until a file changes", 1);
    let waiting = request(&workshop);
    set_version(&workshop, "one", "\"1\"");
    let (status, body) = waiting.join().expect("no panic").expect("an answer");
    assert_eq!((status, body.as_str()), (200, "1"));

    workshop.until_serving();
    http::get(workshop.address(), "/crash").expect_err("it died of that");
    workshop.until_shown(
        "it exited with code 3; requests wait until a file changes",
        1,
    );
    let vacant = workshop.until("nobody serves", |status| status.phase == Phase::Vacant);
    assert!(vacant.incumbent.is_none());
    let waiting = request(&workshop);
    set_version(&workshop, "\"1\"", "\"2\"");
    let (_, body) = waiting.join().expect("no panic").expect("an answer");
    assert_eq!(body, "2");

    workshop.all_hear(Signal::INT);
    assert_eq!(workshop.ended().code(), Some(0));
    assert_eq!(workshop.processes(), [0; 0]);
}

/// Below a shell that waits for it, with the library: it is heard for the one that was started, and
/// told to go with it.
#[test]
fn a_program_below_another_is_handed_over_and_stopped() {
    for behaviour in ["", "--plain", "--notify"] {
        let program = Program::new(FIXTURE, &format!("--version 1 {behaviour}"));
        let path = program.path().display().to_string();
        let mut workshop = Workshop::new();
        let watch = ["--watch", path.as_str()];
        let below = match behaviour.is_empty() {
            true => [
                "--no-listen-pid",
                "--",
                "sh",
                "-c",
                "\"$0\"; exit $?",
                &path,
            ],
            false => ["--poll", "--", "sh", "-c", BELOW, &path],
        };
        workshop.begin(&[&watch[..], &below[..]].concat());
        let first = workshop.until_serving();
        assert_eq!(http::version(workshop.address()), "1", "{behaviour}");
        assert_eq!(first.incumbent.expect("one").native, behaviour.is_empty());
        let before = workshop.processes();
        assert_eq!(before.len(), 2, "{behaviour}: the shell and the server");

        let control = workshop.control();
        let outcome = outcome_of(&control, || {
            program.replace(FIXTURE, &format!("--version 2 {behaviour}"));
        });
        assert!(
            load::committed(&outcome),
            "{outcome}\n{}",
            workshop.screen()
        );
        until("the old ones are gone", || {
            before.iter().all(|pid| !process::is_alive(*pid))
        });
        http::until_version(workshop.address(), "2");

        workshop.all_hear(Signal::INT);
        assert_eq!(workshop.ended().code(), Some(0), "{}", workshop.screen());
        assert_eq!(workshop.processes(), [0; 0], "{behaviour}");
        let screen = workshop.screen();
        assert!(!screen.contains("requests wait"), "{screen}");
    }
}

/// The newest change counts: what an older one began is given up, with all that it started.
#[test]
fn a_newer_change_takes_the_place_of_a_build_under_way() {
    let good = Program::new(FIXTURE, "--version 1");
    let mut workshop = Workshop::new();
    let serve = format!("exec {}\n", good.path().display());
    workshop.write("serve.sh", &serve);
    workshop.begin(&["--", "sh", "serve.sh"]);
    let first = workshop.until_serving().incumbent.expect("one").pid;

    // A build that takes for ever, and does not hear SIGTERM.
    workshop.write("serve.sh", "trap '' TERM; sleep 1000; true\n");
    workshop.until("it builds", |status| status.phase == Phase::Warm);
    until("the shell has started it", || {
        workshop.processes().len() == 3
    });
    assert_eq!(http::version(workshop.address()), "1");
    let control = workshop.control();
    let outcome = outcome_of(&control, || workshop.write("serve.sh", &serve));
    assert!(
        matches!(
            outcome,
            Outcome::RolledBack {
                cause: Cause::Superseded
            }
        ),
        "{outcome}"
    );
    let second = workshop.until("the next serves", |status| {
        let serves = status.incumbent.as_ref().map(|incumbent| incumbent.pid);
        status.handover.is_none() && status.leaving.is_empty() && serves != Some(first)
    });
    assert_eq!(http::version(workshop.address()), "1");
    let only = second.incumbent.expect("one").pid.expect("a process").0;
    until("the build that was given up is gone", || {
        workshop.processes() == [only]
    });
    workshop.all_hear(Signal::TERM);
    assert_eq!(workshop.ended().code(), Some(0));
}

/// A terminal that is closed ends it, and so does a signal to it alone.
#[test]
fn nobody_is_left_whatever_ends_it() {
    let program = Program::new(FIXTURE, "--version 1 --ignore-term --plain");
    let path = program.path().display().to_string();
    for signal in [Signal::HUP, Signal::TERM, Signal::QUIT, Signal::INT] {
        let mut workshop = Workshop::new();
        // The shell hears it and goes at once; what it started does not.
        workshop.begin(&["--kill-after", "300ms", "--", "sh", "-c", BELOW, &path]);
        workshop.until_serving();
        process::signal(workshop.pid(), signal);
        assert_eq!(workshop.ended().code(), Some(0), "{signal:?}");
        assert_eq!(workshop.processes(), [0; 0], "{signal:?}");
    }
}

/// In a container that was entered, whose processes have their session outside of it.
#[test]
fn in_another_pid_namespace_nobody_is_left_either() {
    if !peer::root() {
        return;
    }
    let program = Program::new(FIXTURE, "--version 1 --plain");
    let path = program.path().display().to_string();
    let namespace = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let mut workshop = Workshop::new().within(&namespace);
    workshop.begin(&["--", "sh", "-c", BELOW, &path]);
    workshop.until_serving();
    assert_eq!(workshop.processes().len(), 2, "the shell and the server");
    workshop.all_hear(Signal::INT);
    assert_eq!(workshop.ended().code(), Some(0), "{}", workshop.screen());
    assert_eq!(workshop.processes(), [0; 0]);
}

/// Killed and begun again, it finds the server that still serves, and builds at once.
#[test]
fn one_that_was_killed_finds_its_server_again() {
    let program = Program::new(FIXTURE, "--version 1");
    let path = program.path().display().to_string();
    let mut workshop = Workshop::new();
    workshop.begin(&["--", &path]);
    let first = workshop.until_serving();
    let address = workshop.address();
    let port = format!("http={address}");
    process::signal(workshop.pid(), Signal::KILL);
    assert!(!workshop.ended().success());
    assert_eq!(http::version(address), "1");
    program.replace(FIXTURE, "--version 2");
    workshop.begin(&["--listen", &port, "--", &path]);
    let second = workshop.until("the next serves", |status| {
        let serves = status.incumbent.as_ref().map(|incumbent| incumbent.pid);
        let was = first.incumbent.as_ref().map(|incumbent| incumbent.pid);
        serves.is_some() && serves != was && status.handover.is_none()
    });
    http::until_version(address, "2");
    assert!(
        second
            .listeners
            .iter()
            .any(|open| open.address == address.to_string())
    );
    workshop.until_shown("serves still, from an earlier run", 1);
}

/// On a terminal: the server has it for input, sees that it is one, and Ctrl-C ends everything.
#[test]
fn the_terminal_is_the_servers_too() {
    let program = Program::new(FIXTURE, "--version 1");
    let path = program.path().display().to_string();
    let workshop = Workshop::new();
    let asks = format!(
        "test -t 0 && test -t 2 && echo terminal kept; read line; echo \"read $line\"; exec {path}"
    );
    let inner = workshop.command(&["--", "sh", "-c", &asks]);
    let words = std::iter::once(inner.get_program()).chain(inner.get_args());
    let quoted: Vec<String> = words
        .map(|word| format!("'{}'", word.to_str().expect("text").replace('\'', "'\\''")))
        .collect();
    let mut script = std::process::Command::new("script");
    script
        .args(["--quiet", "--return", "--command"])
        .arg(format!("exec {}", quoted.join(" ")))
        .arg("/dev/null")
        .current_dir(workshop.path())
        .env_clear()
        .envs(
            inner
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .env("PATH", std::env::var_os("PATH").expect("a path"))
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut terminal = script.spawn().expect("`script` of util-linux is there");
    let mut keyboard = terminal.stdin.take().expect("piped");
    let mut screen = BufReader::new(terminal.stdout.take().expect("piped")).lines();
    let mut see = |text: &str| {
        let seen = screen
            .by_ref()
            .map_while(Result::ok)
            .any(|line| line.contains(text));
        assert!(seen, "{text} was not shown");
    };
    see("terminal kept");
    writeln!(keyboard, "hello").expect("typed");
    see("read hello");
    see("the new version serves");
    let serves = workshop
        .until_serving()
        .incumbent
        .expect("one")
        .pid
        .expect("a process");
    assert!(process::is_alive(serves.0));
    keyboard.write_all(b"\x03").expect("typed");
    let status = terminal.wait().expect("it ends");
    assert_eq!(status.code(), Some(0));
    assert_eq!(workshop.processes(), [0; 0]);
}
