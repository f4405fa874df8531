//! Disk full, directory gone, permission denied: the service goes on, says so, and recovers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use handover_proto::event::EventKind;
use handover_proto::settings::Stop;
use handover_tests::lines::{self, Lines};
use handover_tests::patience::until;
use handover_tests::{Builder, Program, Service, http, peer};

use super::{TALKS, Talking};
use crate::FIXTURE;

/// Waits for the warning about the log file.
fn complains(service: &Service, words: &str) {
    service.event(words, |event| match event {
        EventKind::Warning { text } if text.contains("app.log") && text.contains(words) => Some(()),
        _ => None,
    });
    assert_eq!(http::get(service.address(), "/").expect("served").0, 200);
}

fn recovers(service: &Service) {
    until("the log file is written again", || {
        service.count("log_opened") > 0
    });
}

#[test]
fn a_directory_that_is_gone_holds_lines_back() {
    let talking = Talking::start(&[]);
    talking.goes_on();
    let dir = talking.dir.path();
    fs::remove_dir_all(dir).expect("removed");
    complains(&talking.service, "No such file");
    fs::create_dir(dir).expect("made");
    recovers(&talking.service);
    talking.goes_on();
    talking.upgrade(1);
    let (_dir, lines) = talking.stopped();
    // What had been written is gone with the directory; what came later waited.
    assert_eq!(lines.pids().len(), 2);
    lines.require_no_gap();
}

/// A filesystem of one megabyte, seen by the supervisor alone.
#[test]
fn a_full_disk_holds_lines_back_and_breaks_none() {
    if !peer::root() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let mount = dir.path().display().to_string();
    let script = format!("mount -t tmpfs -o size=1m log {mount} && exec \"$@\"");
    let program = Program::new(FIXTURE, TALKS);
    let log = dir.path().join("app.log");
    let mut service = Builder::new(program.path())
        .flags(["--log-file", &log.display().to_string()])
        .wrapper(["unshare", "--mount", "sh", "-c", &script, "sh"])
        .start();
    let inside = |path: &Path| {
        let root = PathBuf::from(format!("/proc/{}/root", service.supervisor()));
        root.join(path.strip_prefix("/").expect("absolute"))
    };
    complains(&service, "No space left");
    // Everything that was written is whole.
    let log = inside(&log);
    assert!(Lines::read([log.clone()]).count() > 0);
    let length = || fs::metadata(&log).map_or(0, |found| found.len());
    assert!(length() <= 1 << 20, "{}", length());
    let pid = service.supervisor().to_string();
    let status = Command::new("nsenter")
        .args(["--mount", "--target", &pid])
        .args(["mount", "-o", "remount,size=64m", &mount])
        .status();
    assert!(status.expect("nsenter runs").success());
    recovers(&service);
    until("lines are written again", || length() > 1 << 20);
    // The mount goes with the supervisor.
    let mut held = fs::File::open(&log).expect("there");
    service.stop(Stop::Drain);
    assert!(service.ended().success());
    let saved = dir.path().join("app.log");
    let mut copy = fs::File::create(&saved).expect("a file");
    std::io::copy(&mut held, &mut copy).expect("copied");
    Lines::read([saved]).require_all_once(1);
}

/// A directory where no file may be created: the rename at a handover fails, and so does opening the
/// file anew.
#[test]
fn permission_denied_leaves_everything_in_the_one_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let (program, mut builder) = Talking::prepare(&dir, &[]);
    if rustix::process::geteuid().is_root() {
        let without = [
            "setpriv",
            "--bounding-set",
            "-dac_override,-dac_read_search",
        ];
        builder = builder.wrapper(without);
    }
    let talking = Talking {
        service: builder.start(),
        program,
        dir,
    };
    talking.goes_on();
    let mode = |mode| fs::set_permissions(talking.dir.path(), fs::Permissions::from_mode(mode));
    mode(0o555).expect("mode set");
    talking.upgrade(1);
    complains(&talking.service, "could not be renamed");
    talking.goes_on();
    // It is asked for a new file, which cannot be had: the old one is as good.
    fs::set_permissions(talking.log(), fs::Permissions::from_mode(0o444)).expect("mode set");
    talking.service.signal(rustix::process::Signal::USR1);
    complains(&talking.service, "Permission denied");
    talking.goes_on();
    fs::set_permissions(talking.log(), fs::Permissions::from_mode(0o644)).expect("mode set");
    recovers(&talking.service);
    mode(0o755).expect("mode set");
    talking.upgrade(2);
    let log = talking.log();
    let (_dir, lines) = talking.stopped();
    lines.require_all_once(3);
    assert_eq!(lines::files(&log).len(), 2);
}

#[test]
fn a_log_file_that_cannot_be_opened_is_no_service() {
    let program = Program::new(FIXTURE, "");
    for (flags, words) in [
        (&["--log-file", "/proc/no/app.log"][..], "/proc/no/app.log"),
        (&["--log-file", "/"], "directory"),
        (&["--log-file", "/tmp/x", "--stderr", "inherit"], "capture"),
        (
            &["--log-file", "/tmp/x", "--log-at-handover", "move"],
            "rename, append",
        ),
    ] {
        let mut service = Builder::new(program.path())
            .flags(flags.iter().copied())
            .launch();
        let status = service.ended();
        let told = service.stderr();
        assert!(matches!(status.code(), Some(2 | 11)), "{status}: {told}");
        assert!(told.contains(words), "{told}");
    }
}
