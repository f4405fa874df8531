//! A service in directories of its own, and its processes: all gone at the end.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use handover::takeover::{Reply, Request, Serving, request};
use handover_proto::phase::Phase;
use handover_tests::address::own_address;
use handover_tests::crash::Crashes;
use handover_tests::patience::{eventually, until};
use handover_tests::service::clean;
use handover_tests::writers::{Habit, Writers};
use handover_tests::{Program, process};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::FIXTURE;

/// What a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) exclusive: bool,
    pub(crate) blocking: bool,
}

/// Both modes with both drivers.
pub(crate) const KINDS: [Kind; 4] = [
    Kind::new(false, false),
    Kind::new(false, true),
    Kind::new(true, false),
    Kind::new(true, true),
];

impl Kind {
    pub(crate) const fn new(exclusive: bool, blocking: bool) -> Self {
        Self {
            exclusive,
            blocking,
        }
    }
}

/// A service, served by nobody yet.
pub(crate) struct World {
    directory: TempDir,
    pub(crate) program: Program,
    pub(crate) crashes: Crashes,
    kind: Kind,
    more: String,
    /// Where it listens: nobody else is given this address, so that whoever starts from nothing
    /// gets the same.
    pub(crate) address: SocketAddr,
}

/// A process that a test started. Killed when dropped.
pub(crate) struct Started(Child);

impl World {
    /// With more arguments for every version: `--probation 500`.
    pub(crate) fn new(kind: Kind, more: &str) -> Self {
        let memory = tempfile::tempdir_in("/dev/shm");
        let directory = memory
            .or_else(|_| tempfile::tempdir())
            .expect("a directory");
        fs::create_dir(directory.path().join("data")).expect("a directory");
        let (address, more) = (own_address(), more.to_owned());
        let pid_file = directory.path().join("pid");
        let more = format!("--pid-file {} --bind {address} {more}", pid_file.display());
        let world = Self {
            program: Program::new(FIXTURE, ""),
            crashes: Crashes::new(),
            directory,
            kind,
            more,
            address,
        };
        world.deploy("0", "");
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("run/fixture/takeover.sock")
    }

    pub(crate) fn pid_file(&self) -> PathBuf {
        self.path("pid")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.path("data/.handover.lock")
    }

    /// What is started from here on.
    pub(crate) fn deploy(&self, version: &str, behaviour: &str) {
        let mode = if self.kind.exclusive {
            "--exclusive"
        } else {
            ""
        };
        let driver = if self.kind.blocking { "--blocking" } else { "" };
        let more = &self.more;
        let arguments =
            format!("--version {version} {mode} {driver} --takeover {more} {behaviour}");
        self.program.replace(FIXTURE, &arguments);
    }

    /// Has a hook do something: `("seal", "delay", "1000")`.
    pub(crate) fn wish(&self, hook: &str, what: &str, value: &str) {
        fs::write(self.path("data").join(format!("{hook}.{what}")), value).expect("written");
    }

    pub(crate) fn forget(&self, hook: &str, what: &str) {
        let _ = fs::remove_file(self.path("data").join(format!("{hook}.{what}")));
    }

    /// A command in the service's environment, known to crash points by this number.
    fn environment(&self, command: &mut Command, number: u32) {
        let said = File::options()
            .create(true)
            .append(true)
            .open(self.path("said"));
        let said = said.expect("a file");
        command
            .env("HANDOVER_RUNTIME_DIR", self.path("run"))
            .env("FIXTURE_DATA", self.path("data"))
            .env("HANDOVER_CRASH_DIR", self.crashes.path())
            .env("HANDOVER_INSTANCE", number.to_string())
            .stdin(Stdio::null())
            .stdout(said.try_clone().expect("a descriptor"))
            .stderr(said);
    }

    /// What every process of the service has said.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.path("said")).unwrap_or_default()
    }

    pub(crate) fn start(&self, number: u32) -> Started {
        self.start_in(&[], number)
    }

    /// Under a command: `unshare …`.
    pub(crate) fn start_in(&self, wrapper: &[&str], number: u32) -> Started {
        let program = self.program.path();
        let mut command = match wrapper {
            [] => clean(program),
            [first, rest @ ..] => {
                let mut command = clean(first);
                command.args(rest).arg(program);
                command
            }
        };
        self.environment(&mut command, number);
        Started(command.spawn().expect("starts"))
    }

    /// One that serves.
    pub(crate) fn serving(&self, number: u32) -> Started {
        let started = self.start(number);
        self.until_serves(started.pid());
        started
    }

    /// Who says that it serves, if anybody does.
    pub(crate) fn status(&self) -> Option<Serving> {
        let mut replies = request(self.socket(), Request::Status).ok()?;
        match replies.next() {
            Some(Ok(Reply::Serving(serving))) => Some(serving),
            _ => None,
        }
    }

    /// Where whoever serves stands.
    pub(crate) fn phase(&self) -> Option<Phase> {
        self.status().map(|serving| serving.phase)
    }

    /// Waits until this process serves, and coordinates.
    pub(crate) fn until_serves(&self, pid: u32) {
        let what = format!("{pid} serves; said:\n{}", self.said());
        until(&what, || {
            assert!(process::is_alive(pid), "{pid} ended:\n{}", self.said());
            self.status().is_some_and(|serving| serving.pid == pid)
        });
    }

    /// Waits until somebody else than `pid` serves.
    pub(crate) fn successor_of(&self, pid: u32) -> u32 {
        eventually("a successor serves", || {
            let serving = self.status().map(|serving| serving.pid);
            serving.filter(|serving| *serving != pid)
        })
    }

    /// Waits until this is the only process of the service.
    pub(crate) fn until_alone(&self, pid: u32) {
        until(&format!("{pid} is alone"), || self.processes() == [pid]);
    }

    /// Every process of the service.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let all = process::with_in_environment(self.directory.path());
        let ours = self.program.path();
        let runs = |pid: &u32| {
            let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
            // A file that was replaced has " (deleted)" behind its name.
            exe.to_string_lossy().starts_with(&*ours.to_string_lossy())
        };
        all.into_iter().filter(runs).collect()
    }

    pub(crate) fn writers(&self) -> Writers {
        let writers = Writers::start(self.address, &[Habit::Fresh, Habit::Kept]);
        writers.go_on();
        writers
    }

    /// The process the pid file names.
    pub(crate) fn named(&self) -> Option<u32> {
        named(&self.pid_file())
    }
}

/// The process a pid file names.
pub(crate) fn named(file: &Path) -> Option<u32> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

impl Drop for World {
    fn drop(&mut self) {
        self.crashes.over();
        for pid in process::with_in_environment(self.directory.path()) {
            process::signal(pid, Signal::KILL);
        }
    }
}

impl Started {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        process::signal(self.pid(), signal);
    }

    pub(crate) fn is_over(&mut self) -> bool {
        self.0.try_wait().expect("it can be waited for").is_some()
    }

    /// Waits for its end.
    pub(crate) fn ends(&mut self) -> ExitStatus {
        eventually("its end", || {
            self.0.try_wait().expect("it can be waited for")
        })
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
