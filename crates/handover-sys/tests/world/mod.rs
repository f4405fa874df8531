//! What the tests share: real processes, real descriptors, and conditions with a deadline.
#![allow(dead_code, unreachable_pub)] // each test file uses its part

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use handover_sys::Exit;
use handover_sys::spawn::Spawn;

/// Long enough for the slowest machine; only a failing test waits for it.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < DEADLINE, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A pipe whose ends are close-on-exec: (read, write).
pub fn pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap()
}

/// Runs a program to its end and returns how it ended and what it printed.
pub fn run(spawn: Spawn<'_>) -> (u32, Exit, String) {
    let (read, write) = pipe();
    let child = stdout_of(spawn, &write);
    drop(write);
    let mut text = String::new();
    fs::File::from(read).read_to_string(&mut text).unwrap();
    let exit = child
        .pidfd
        .wait(Some(DEADLINE))
        .unwrap()
        .expect("the program ends");
    (child.pid, exit, text)
}

fn stdout_of<'a>(spawn: Spawn<'a>, write: &'a OwnedFd) -> handover_sys::spawn::Child {
    spawn.stdout(write.as_fd()).spawn().unwrap()
}

/// A shell script as a program to be spawned.
pub fn shell(script: &str) -> Spawn<'static> {
    Spawn::path("/bin/sh").args(["-c", script])
}

/// What a descriptor of a process refers to, such as `pipe:[123]`.
pub fn target(pid: u32, fd: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()
}

/// What a descriptor of ours refers to.
pub fn own_target(fd: impl AsFd) -> Option<PathBuf> {
    target(std::process::id(), fd.as_fd().as_raw_fd())
}

/// The descriptors of a process in rising order.
pub fn descriptors(pid: u32) -> Vec<i32> {
    let mut found: Vec<i32> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    // Of our own, the one used for looking is closed by now.
    found.retain(|fd| target(pid, *fd).is_some());
    found.sort_unstable();
    found
}

/// How many descriptors this process has.
pub fn own_descriptors() -> usize {
    descriptors(std::process::id()).len()
}

/// Tests that look at the whole process take turns.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a file that may be executed.
pub fn program(path: &Path, content: &[u8]) {
    let source = path.with_extension("source");
    fs::write(&source, content).unwrap();
    copy(&source, path);
    fs::remove_file(source).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Copies a file without this process ever having the copy open for writing: a child that another
/// test's thread is just making would have it open too, and starting it would give ETXTBSY.
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let child = Spawn::path("/bin/cp")
        .args([from.as_ref(), to.as_ref()])
        .spawn()
        .unwrap();
    assert_eq!(
        child.pidfd.wait(Some(DEADLINE)).unwrap(),
        Some(Exit::Code(0))
    );
}

/// The environment with some variables more.
pub fn environment(more: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    std::env::vars_os()
        .chain(more.iter().map(|(name, value)| (name.into(), value.into())))
        .collect()
}

/// Says that a test needs something that is not here. With `CI` set that is a failure.
pub fn missing(what: &str) {
    assert!(
        std::env::var_os("CI").is_none(),
        "{what} is missing, and CI must have it"
    );
    eprintln!("skipped: {what} is missing here");
}
