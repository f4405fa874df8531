//! `--log-file`: lines of all instances, each whole and once, whatever happens to the supervisor,
//! the file and the disk.

mod library;
mod rotation;
mod trouble;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use handover_proto::event::EventKind;
use handover_proto::outcome::Outcome;
use handover_proto::settings::Stop;
use handover_tests::lines::{self, Lines};
use handover_tests::patience::until;
use handover_tests::{Builder, Program, Service, http, process};
use tempfile::TempDir;

use crate::FIXTURE;

/// Enough for every moment of one to be hit by a line.
const UPGRADES: u32 = 20;

/// Four writers, two on standard output and two on standard error.
const TALKS: &str = "--chatter 4";

/// A service that talks into a log file.
struct Talking {
    dir: TempDir,
    program: Program,
    service: Service,
}

impl Talking {
    fn start(flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (program, builder) = Self::prepare(&dir, flags);
        let service = builder.start();
        Self {
            dir,
            program,
            service,
        }
    }

    fn prepare(dir: &TempDir, flags: &[&str]) -> (Program, Builder) {
        let program = Program::new(FIXTURE, &format!("--version 0 {TALKS}"));
        let log = dir.path().join("app.log").display().to_string();
        let builder = Builder::new(program.path())
            .flags(["--log-file", log.as_str()])
            .flags(flags.iter().copied())
            .drain_notify("200ms");
        (program, builder)
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("app.log")
    }

    fn upgrade(&self, version: u32) {
        let arguments = format!("--version {version} {TALKS}");
        self.program.replace(FIXTURE, &arguments);
        let outcome = self.service.upgrade_in_place();
        assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome}");
    }

    /// Waits until lines arrive.
    fn goes_on(&self) {
        grows(&self.log());
    }

    /// Stops the service and reads what it wrote.
    fn stopped(self) -> (TempDir, Lines) {
        let dir = self.ended();
        let lines = Lines::read(lines::files(&dir.path().join("app.log")));
        (dir, lines)
    }

    /// Stops the service, which leaves nothing to be copied.
    fn ended(mut self) -> TempDir {
        self.service.stop(Stop::Drain);
        assert!(self.service.ended().success());
        let left: Vec<_> = std::fs::read_dir(self.service.dir())
            .expect("readable")
            .map(|entry| entry.expect("readable").file_name())
            .filter(|name| name.to_string_lossy().starts_with("stderr-"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
        self.dir
    }
}

fn grows(file: &Path) {
    let length = || std::fs::metadata(file).map_or(0, |found| found.len());
    let before = length();
    until("lines are written", || length() != before);
}

/// Each process has a file of its own; the last one's is the log file.
fn require_a_file_each(dir: &TempDir, lines: &Lines, last: u32) {
    for pid in lines.pids() {
        let files = lines.files_of(pid);
        let [file] = files.as_slice() else {
            panic!("{pid}: {files:?}");
        };
        if pid == last {
            assert_eq!(*file, dir.path().join("app.log"));
        } else {
            let named = file.extension().and_then(|pid| pid.to_str());
            assert_eq!(named, Some(pid.to_string().as_str()), "{files:?}");
        }
    }
}

#[test]
fn every_line_is_written_once_over_twenty_upgrades() {
    let talking = Talking::start(&[]);
    for version in 1..=UPGRADES {
        talking.goes_on();
        talking.upgrade(version);
    }
    let last = talking.service.incumbent();
    let (dir, lines) = talking.stopped();
    lines.require_all_once(1 + UPGRADES as usize);
    require_a_file_each(&dir, &lines, last);
}

#[test]
fn every_line_is_written_once_into_one_file() {
    let talking = Talking::start(&["--log-at-handover", "append"]);
    for version in 1..=UPGRADES {
        talking.goes_on();
        talking.upgrade(version);
    }
    let log = talking.log();
    let (_dir, lines) = talking.stopped();
    lines.require_all_once(1 + UPGRADES as usize);
    assert_eq!(lines::files(&log), [log]);
}

/// I12, for lines: the supervisor is killed while it copies, again and again, and started again.
fn supervisor_killed(flags: &[&str]) -> (TempDir, Lines, u32) {
    let mut talking = Talking::start(flags);
    for version in 1..=UPGRADES {
        talking.goes_on();
        // Not at a moment of its own choosing: each time somewhere else.
        std::thread::sleep(Duration::from_millis(u64::from(version) * 3 % 17));
        talking.service.kill_supervisor();
        if version % 2 == 0 {
            // They write on, and nobody copies.
            std::thread::sleep(Duration::from_millis(50));
        }
        talking.service.supervise();
        talking.service.until_serving();
        talking.upgrade(version);
    }
    let last = talking.service.incumbent();
    let (dir, lines) = talking.stopped();
    (dir, lines, last)
}

#[test]
fn i12_a_supervisor_that_is_killed_loses_and_repeats_no_line() {
    let (dir, lines, last) = supervisor_killed(&[]);
    lines.require_all_once(1 + UPGRADES as usize);
    require_a_file_each(&dir, &lines, last);
}

#[test]
fn i12_a_supervisor_that_is_killed_loses_and_repeats_no_line_of_one_file() {
    let (_dir, lines, _) = supervisor_killed(&["--log-at-handover", "append"]);
    lines.require_all_once(1 + UPGRADES as usize);
}

/// Killed as soon as it has named each moment of an upgrade, so also between the rename and the
/// new file; and the instance may end while nobody copies.
#[test]
fn i7_killed_at_any_moment_of_an_upgrade_no_line_is_lost() {
    let moments = [
        "instance_spawned",
        "instance_ready",
        "handover_finished",
        "log_renamed",
        "instance_retiring",
        "instance_exited",
    ];
    for moment in moments {
        let mut talking = Talking::start(&[]);
        talking.goes_on();
        let before = talking.service.count(moment);
        talking
            .program
            .replace(FIXTURE, &format!("--version 1 {TALKS}"));
        let control = talking.service.control();
        let asking = std::thread::spawn(move || control.request("POST", "/v1/upgrade", ""));
        until(moment, || talking.service.count(moment) > before);
        talking.service.kill_supervisor();
        drop(asking.join().expect("no panic"));
        std::thread::sleep(Duration::from_millis(300));
        talking.service.supervise();
        talking.service.until_alone();
        let (_dir, lines) = talking.stopped();
        let processes = lines.pids().len();
        assert!((1..=2).contains(&processes), "{moment}: {processes}");
        lines.require_all_once(processes);
    }
}

/// A request whose body is sent in two parts.
struct Upload(TcpStream);

impl Upload {
    /// Returns when the server waits for the body, so that it has the request for certain.
    fn begin(address: SocketAddr) -> Self {
        let mut stream = http::connect(address).expect("somebody listens");
        let head = "POST /echo HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
                    Content-Length: 4\r\nExpect: 100-continue\r\n\r\n";
        stream.write_all(head.as_bytes()).expect("sent");
        let mut asked = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
        stream.read_exact(&mut asked).expect("it asks for the body");
        Self(stream)
    }

    fn end(&mut self) {
        self.0.write_all(b"late").expect("sent");
        let mut answer = String::new();
        self.0.read_to_string(&mut answer).expect("answered");
        let (status, body) = http::split(&answer).expect("an answer");
        assert_eq!((status, body.as_str()), (200, "late"));
    }
}

#[test]
fn late_lines_of_the_old_instance_follow_its_file() {
    let talking = Talking::start(&[]);
    let (old, address) = (talking.service.incumbent(), talking.service.address());
    // Keeps the old instance for as long as is needed.
    let mut under_way = Upload::begin(address);
    talking.goes_on();
    talking.upgrade(1);
    let (path, to) = talking.service.event("the rename", |event| match event {
        EventKind::LogRenamed { path, to } => Some((PathBuf::from(path), PathBuf::from(to))),
        _ => None,
    });
    assert_eq!(path, talking.log());
    assert!(
        to.display().to_string().ends_with(&format!(".{old}")),
        "{to:?}"
    );
    assert!(process::is_alive(old));
    grows(&to);
    talking.goes_on();
    under_way.end();
    let last = talking.service.incumbent();
    let (dir, lines) = talking.stopped();
    lines.require_all_once(2);
    require_a_file_each(&dir, &lines, last);
}

/// Its lines wait until it is decided, and are there to tell why.
#[test]
fn a_version_that_fails_leaves_the_file_where_it_is_and_its_lines_in_it() {
    let talking = Talking::start(&[]);
    talking
        .program
        .replace(FIXTURE, "--version 1 --crash-at-start 3");
    let outcome = talking.service.upgrade_in_place();
    assert!(matches!(outcome, Outcome::RolledBack { .. }), "{outcome}");
    let log = talking.log();
    until("its last words are in the log", || {
        let text = std::fs::read_to_string(&log).expect("there");
        text.contains("no column email in table users")
    });
    assert_eq!(lines::files(&log), [log]);
    let (_dir, lines) = talking.stopped();
    lines.require_all_once(1);
}

/// The parked instance takes back: the log file is that of whoever serves.
#[test]
fn an_undo_moves_the_file_as_well() {
    let talking = Talking::start(&["--probation", "60s"]);
    let old = talking.service.incumbent();
    talking.upgrade(1);
    let new = talking.service.incumbent();
    let log = talking.log();
    let writes = |pid: u32| {
        let begin = format!("{pid} ");
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.lines().any(|line| line.starts_with(&begin))
    };
    until("the new one writes to the log file", || writes(new));
    assert!(!writes(old));
    let outcome = talking.service.undo();
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome}");
    until("the old one writes to the log file", || writes(old));
    until("and the new one does not", || !writes(new));
    let (_dir, lines) = talking.stopped();
    lines.require_all_once(2);
    assert_eq!(lines.files_of(new).len(), 1);
}

/// Nobody writes to it beside the one that is started: it is appended to.
#[test]
fn a_restart_goes_on_in_the_same_file() {
    let talking = Talking::start(&[]);
    talking.goes_on();
    let first = talking.service.incumbent();
    process::signal(first, rustix::process::Signal::KILL);
    talking.service.until("another one serves", |status| {
        let serves = status.incumbent.as_ref().and_then(|i| i.pid);
        serves.is_some_and(|pid| pid.0 != first)
    });
    talking.goes_on();
    let log = talking.log();
    assert_eq!(lines::files(&log), [log]);
    let (_dir, lines) = talking.stopped();
    assert_eq!(lines.pids().len(), 2);
}
