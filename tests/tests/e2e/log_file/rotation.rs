//! SIGUSR1, and the real logrotate.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use handover_proto::event::EventKind;
use handover_tests::lines::{self, Lines};
use handover_tests::patience::until;
use handover_tests::peer;
use rustix::process::Signal;

use super::{Talking, grows};

/// Rotations, with an upgrade after each.
const ROTATIONS: u32 = 4;

#[test]
fn sigusr1_opens_the_file_anew() {
    let talking = Talking::start(&[]);
    talking.goes_on();
    let moved = talking.dir.path().join("app.log.moved");
    std::fs::rename(talking.log(), &moved).expect("renamed");
    // Until it is told, it writes on to the file it has.
    grows(&moved);
    assert!(!talking.log().exists());
    talking.service.signal(Signal::USR1);
    talking.service.event("reopened", |event| match event {
        EventKind::LogOpened { path } => Some(path.clone()),
        _ => None,
    });
    talking.goes_on();
    let (_dir, lines) = talking.stopped();
    lines.require_all_once(1);
}

/// Runs the real logrotate on what `options` say.
struct Rotation {
    logrotate: PathBuf,
    configuration: PathBuf,
    state: PathBuf,
}

impl Rotation {
    fn of(talking: &Talking, options: &str) -> Option<Self> {
        let logrotate = peer::installed("logrotate")?;
        let directory = talking.service.root();
        let configuration = directory.join("logrotate.conf");
        let log = talking.log().display().to_string();
        let text = format!("{log} {{\n  rotate 100\n  missingok\n{options}\n}}\n");
        std::fs::write(&configuration, text).expect("written");
        Some(Self {
            logrotate,
            configuration,
            state: directory.join("logrotate.state"),
        })
    }

    fn run(&self) {
        let output = Command::new(&self.logrotate)
            .args(["--force", "--state"])
            .arg(&self.state)
            .arg(&self.configuration)
            .output()
            .expect("logrotate runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
    }
}

/// As a package would have it: `create`, the signal, and compression one rotation later.
#[test]
fn logrotate_create_and_a_signal_lose_no_line() {
    let talking = Talking::start(&[]);
    let kill = format!(
        "  create 0640\n  compress\n  delaycompress\n  postrotate\n    kill -USR1 {}\n  endscript",
        talking.service.supervisor()
    );
    let Some(rotation) = Rotation::of(&talking, &kill) else {
        return;
    };
    for version in 1..=ROTATIONS {
        talking.goes_on();
        let before = talking.service.count("log_opened");
        rotation.run();
        until("the file is opened anew", || {
            talking.service.count("log_opened") > before
        });
        talking.goes_on();
        talking.upgrade(version);
    }
    // A new one after a handover is like the one before.
    let found = std::fs::metadata(talking.log()).expect("there");
    assert_eq!(found.permissions().mode() & 0o777, 0o640);
    let dir = talking.ended();
    let log = dir.path().join("app.log");
    uncompress(&log);
    let mut files = lines::files(&log);
    // By time: those that were rotated, and those that were renamed after them.
    files.sort_by_key(|file| first_number(file));
    let lines = Lines::read(files);
    lines.require_all_once(1 + ROTATIONS as usize);
}

/// The number of a file's first line, which grows from file to file of one process.
fn first_number(file: &Path) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let number = |line: &str| line.split(' ').nth(2)?.parse().ok();
    text.lines().find_map(number).unwrap_or(0)
}

fn uncompress(log: &Path) {
    for file in lines::files(log) {
        if file.extension().is_some_and(|end| end == "gz") {
            let status = Command::new("gzip").arg("-d").arg(&file).status();
            assert!(status.expect("gzip runs").success(), "{file:?}");
        }
    }
}

/// `copytruncate` needs no signal. It may lose what is written between its copy and its truncation
/// (its manual says so), but nothing is broken, and what comes later begins at the file's begin.
#[test]
fn logrotate_copytruncate_leaves_whole_lines() {
    let talking = Talking::start(&[]);
    let Some(rotation) = Rotation::of(&talking, "  copytruncate") else {
        return;
    };
    for version in 1..=ROTATIONS {
        talking.goes_on();
        rotation.run();
        talking.goes_on();
        talking.upgrade(version);
    }
    let (_dir, lines) = talking.stopped();
    assert_eq!(lines.pids().len(), 1 + ROTATIONS as usize);
}
