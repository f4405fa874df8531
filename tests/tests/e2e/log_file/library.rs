//! `Instance::log_file`: the same rule, kept by the instances themselves.

use std::path::{Path, PathBuf};

use handover_proto::outcome::Outcome;
use handover_proto::settings::Stop;
use handover_tests::lines::{self, Lines};
use handover_tests::{Builder, Program, process};
use rustix::process::Signal;

use super::{UPGRADES, grows};
use crate::FIXTURE;

fn arguments(version: u32, log: &Path) -> String {
    format!(
        "--version {version} --chatter 4 --log-file {}",
        log.display()
    )
}

#[test]
fn every_line_is_written_once_over_twenty_upgrades_by_the_instances_themselves() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("app.log");
    let program = Program::new(FIXTURE, &arguments(0, &log));
    let mut service = Builder::new(program.path()).drain_notify("200ms").start();
    for version in 1..=UPGRADES {
        grows(&log);
        program.replace(FIXTURE, &arguments(version, &log));
        let outcome = service.upgrade_in_place();
        assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome}");
        if version % 5 == 0 {
            // The rule does not need a supervisor.
            service.kill_supervisor();
            service.supervise();
            service.until_serving();
        }
    }
    grows(&log);
    let last = service.incumbent();
    service.stop(Stop::Drain);
    assert!(service.ended().success());
    let lines = Lines::read(lines::files(&log));
    lines.require_all_once(1 + UPGRADES as usize);
    for pid in lines.pids() {
        assert_eq!(lines.files_of(pid).len(), 1, "{:?}", lines.files_of(pid));
    }
    assert_eq!(lines.files_of(last), [log]);
}

#[test]
fn sigusr1_opens_the_library_s_file_anew() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("app.log");
    let program = Program::new(FIXTURE, &arguments(0, &log));
    let mut service = Builder::new(program.path()).start();
    grows(&log);
    let moved = dir.path().join("app.log.moved");
    std::fs::rename(&log, &moved).expect("renamed");
    grows(&moved);
    process::signal(service.incumbent(), Signal::USR1);
    grows(&log);
    service.stop(Stop::Drain);
    assert!(service.ended().success());
    Lines::read(lines::files(&log)).require_all_once(1);
}

#[test]
fn a_version_that_never_serves_leaves_its_lines_beside() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("app.log");
    let program = Program::new(FIXTURE, &arguments(0, &log));
    let flags = ["--ready-timeout", "1s"];
    let service = Builder::new(program.path()).flags(flags).start();
    grows(&log);
    program.replace(FIXTURE, &format!("{} --never-ready", arguments(1, &log)));
    let outcome = service.upgrade_in_place();
    assert!(matches!(outcome, Outcome::TimedOut { .. }), "{outcome}");
    let files: Vec<PathBuf> = lines::files(&log);
    let coming = files.iter().filter(|file| {
        let end = file.extension().unwrap_or_default();
        end == "coming"
    });
    assert_eq!((files.len(), coming.count()), (2, 1), "{files:?}");
    grows(&log);
}
