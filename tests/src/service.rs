//! A service in a runtime directory of its own: the supervisor and whatever it started, all gone
//! at the end.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::ops::Deref;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use handover_proto::event::{Event, EventKind};
use handover_proto::status::Status;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::control::{self, Control};
use crate::patience::{eventually, until};
use crate::process;

/// What services are called here.
pub const NAME: &str = "svc";

/// The `handover` program of this build.
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn command_path() -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let built = test.ancestors().nth(2).expect("target/debug/deps/test");
    let path = built.join("handover");
    assert!(
        path.is_file(),
        "{} is missing; run `cargo build --workspace` first, as `cargo xtask test` does",
        path.display()
    );
    path
}

/// A command without anything that would be taken for this process's own.
#[must_use]
pub fn clean(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("HANDOVER_") || text.starts_with("LISTEN_") || text == "NOTIFY_SOCKET" {
            command.env_remove(&name);
        }
    }
    command
}

/// How to run a service.
#[derive(Clone, Debug)]
pub struct Builder {
    command: Vec<String>,
    flags: Vec<String>,
    program: Vec<String>,
    wrapper: Vec<String>,
    broken_output: bool,
    drain_notify: String,
    environment: Vec<(String, PathBuf)>,
}

impl Builder {
    /// A service that runs this program on one TCP listener named `http`, with short drains.
    #[must_use]
    pub fn new(program: &Path) -> Self {
        Self::bare(program).flags(["--listen", "http=127.0.0.1:0"])
    }

    /// A service without listeners, with short drains.
    #[must_use]
    pub fn bare(program: &Path) -> Self {
        Self {
            command: vec!["run".into()],
            flags: Vec::new(),
            program: vec![program.display().to_string()],
            wrapper: Vec::new(),
            broken_output: false,
            drain_notify: "2s".into(),
            environment: Vec::new(),
        }
    }

    /// By `handover adopt`, from a program that runs already.
    #[must_use]
    pub fn adopt(mut self, pid: u32) -> Self {
        self.command = vec!["adopt".into(), "--pid".into(), pid.to_string()];
        self
    }

    /// More flags of `handover run`.
    #[must_use]
    pub fn flags<'a>(mut self, flags: impl IntoIterator<Item = &'a str>) -> Self {
        self.flags.extend(flags.into_iter().map(str::to_owned));
        self
    }

    /// `handover take` instead of `handover run`.
    #[must_use]
    pub fn take(mut self) -> Self {
        self.command = vec!["take".into()];
        self
    }

    /// How long an instance that goes tells clients to reconnect.
    #[must_use]
    pub fn drain_notify(mut self, time: &str) -> Self {
        self.drain_notify = time.into();
        self
    }

    /// Arguments of the program.
    #[must_use]
    pub fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.program.extend(args.into_iter().map(str::to_owned));
        self
    }

    /// A path in the environment of the supervisor and of its instances.
    #[must_use]
    pub fn env(mut self, name: &str, value: &Path) -> Self {
        let assignment = format!("{name}={}", value.display());
        self.flags.extend(["--env".into(), assignment]);
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Starts the supervisor by this command and its arguments: `setpriv …`, `unshare …`.
    #[must_use]
    pub fn wrapper<'a>(mut self, words: impl IntoIterator<Item = &'a str>) -> Self {
        self.wrapper.extend(words.into_iter().map(str::to_owned));
        self
    }

    /// Gives the supervisor pipes that nobody reads, for output and errors.
    #[must_use]
    pub fn broken_output(mut self) -> Self {
        self.broken_output = true;
        self
    }

    /// Starts it and waits until it serves.
    #[must_use]
    pub fn start(self) -> Service {
        let service = self.launch();
        service.until_serving();
        service
    }

    /// Starts it and waits for nothing.
    ///
    /// # Panics
    /// When the supervisor cannot be started.
    #[must_use]
    pub fn launch(self) -> Service {
        let directory = runtime_root();
        let control = Control::new(directory.path().join(NAME).join("control.sock"));
        let mut service = Service {
            builder: self,
            directory,
            control,
            supervisor: None,
            runs: 0,
        };
        service.supervise();
        service
    }
}

/// In memory where that is possible, as `/run` is: a disk that others keep busy holds up whoever
/// creates a file.
fn runtime_root() -> TempDir {
    let memory = tempfile::tempdir_in("/dev/shm");
    memory
        .or_else(|_| tempfile::tempdir())
        .expect("a directory")
}

/// A running service. Dereferences to its [`Control`].
#[derive(Debug)]
pub struct Service {
    builder: Builder,
    directory: TempDir,
    control: Control,
    supervisor: Option<Child>,
    /// Supervisors so far; each has output files of its own.
    runs: u32,
}

impl Deref for Service {
    type Target = Control;

    fn deref(&self) -> &Control {
        &self.control
    }
}

impl Service {
    /// Starts another supervisor of the same service, as the first was.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn supervise(&mut self) {
        self.runs += 1;
        let mut command = self.command();
        let stdout = File::create(self.output("events")).expect("a file");
        let stderr = File::create(self.output("stderr")).expect("a file");
        command.stdout(stdout).stderr(stderr);
        if self.builder.broken_output {
            let (reader, writer) = std::io::pipe().expect("a pipe");
            drop(reader);
            let other = writer.try_clone().expect("a descriptor");
            command.stdout(writer).stderr(other);
        }
        let child = command.spawn();
        self.supervisor = Some(child.expect("the supervisor starts"));
    }

    /// Lets the next supervisor be a `handover run`.
    pub fn adopt_no_more(&mut self) {
        self.builder.command = vec!["run".into()];
    }

    /// The command that starts the supervisor.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut words = self.builder.wrapper.clone();
        words.push(command_path().display().to_string());
        let mut command = clean(&words[0]);
        command.args(&words[1..]);
        command
            .args(&self.builder.command)
            .args(["--name", NAME, "--format", "json"])
            .args(["--drain-notify", &self.builder.drain_notify])
            .args(&self.builder.flags)
            .arg("--")
            .args(&self.builder.program)
            .envs(self.builder.environment.iter().cloned())
            .env("HANDOVER_RUNTIME_DIR", self.directory.path())
            .stdin(Stdio::null());
        command
    }

    /// Does what an init does: starts the supervisor again if it was killed. Whether it was.
    ///
    /// # Panics
    /// When it ended by itself.
    pub fn revive(&mut self) -> bool {
        let child = self.supervisor.as_mut().expect("a supervisor");
        let Some(status) = child.try_wait().expect("waits") else {
            return false;
        };
        assert!(status.signal().is_some(), "the supervisor ended: {status}");
        self.supervise();
        true
    }

    fn output(&self, what: &str) -> PathBuf {
        self.directory.path().join(format!("{what}-{}", self.runs))
    }

    /// The directory of the runtime directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    /// The service's runtime directory.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.directory.path().join(NAME)
    }

    /// What the supervisor, and the instances through it, wrote to standard error.
    #[must_use]
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.output("stderr")).unwrap_or_default()
    }

    /// Everything that happened under the present supervisor.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        control::events(&fs::read_to_string(self.output("events")).unwrap_or_default())
    }

    /// Waits for an event.
    pub fn event<T>(&self, what: &str, mut pick: impl FnMut(&EventKind) -> Option<T>) -> T {
        eventually(what, || {
            self.events().iter().find_map(|event| pick(&event.kind))
        })
    }

    /// How many events of this name there were.
    #[must_use]
    pub fn count(&self, name: &str) -> usize {
        let events = self.events();
        events.iter().filter(|e| e.kind.name() == name).count()
    }

    /// Waits until somebody serves and no attempt runs.
    ///
    /// # Panics
    /// When the supervisor ends instead.
    pub fn until_serving(&self) -> Status {
        self.until("an instance serves", |status| {
            status.incumbent.is_some() && status.handover.is_none()
        })
    }

    /// Waits until the status is as wanted.
    ///
    /// # Panics
    /// When it does not become so, or the supervisor has ended.
    pub fn until(&self, what: &str, holds: impl Fn(&Status) -> bool) -> Status {
        eventually(what, || {
            let supervisor = self.supervisor();
            let found = self.control.try_status().filter(&holds);
            let ended = found.is_none() && !process::is_alive(supervisor);
            assert!(!ended, "{what}: the supervisor has ended");
            found
        })
    }

    /// The control socket, for another thread.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Waits until nobody is on their way out.
    pub fn until_alone(&self) -> Status {
        self.until("the old instance has gone", |status| {
            status.incumbent.is_some() && status.leaving.is_empty() && status.handover.is_none()
        })
    }

    /// Where the first listener is.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        let status = self.control.status();
        let first = status.listeners.first().expect("a listener");
        first.address.parse().expect("an address")
    }

    /// The process that serves.
    ///
    /// # Panics
    /// When none does.
    #[must_use]
    pub fn incumbent(&self) -> u32 {
        let incumbent = self.control.status().incumbent.expect("an incumbent");
        incumbent.pid.expect("a process").0
    }

    /// The supervisor's process.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn supervisor(&self) -> u32 {
        self.supervisor.as_ref().expect("a supervisor").id()
    }

    /// A `handover` command for this service, run to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn cli(&self, words: &[&str]) -> Output {
        let mut command = clean(command_path());
        command
            .args(words)
            .env("HANDOVER_RUNTIME_DIR", self.directory.path())
            .env("HANDOVER_SERVICE", NAME)
            .stdin(Stdio::null());
        command.output().expect("the command runs")
    }

    /// Sends a signal to the supervisor.
    pub fn signal(&self, signal: Signal) {
        process::signal(self.supervisor(), signal);
    }

    /// Kills the supervisor as the kernel would, out of memory; the instances stay.
    ///
    /// # Panics
    /// When there is none.
    pub fn kill_supervisor(&mut self) {
        let mut child = self.supervisor.take().expect("a supervisor");
        child.kill().expect("killed");
        child.wait().expect("gone");
    }

    /// Waits until the supervisor ends.
    ///
    /// # Panics
    /// When it does not.
    pub fn ended(&mut self) -> ExitStatus {
        let child = self.supervisor.as_mut().expect("a supervisor");
        let status = eventually("the supervisor ends", || child.try_wait().expect("waits"));
        self.supervisor = None;
        status
    }

    /// The service's processes that are alive.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        process::of_service(&self.dir())
    }

    /// Waits until nothing of the service is left.
    pub fn until_empty(&self) {
        until("no instance is left", || self.processes().is_empty());
    }
}

/// The process groups of the instances that a status names.
fn instances(status: &Status) -> Vec<rustix::process::Pid> {
    let serving = status.incumbent.iter().chain(&status.successor);
    let others = status.parked.iter().chain(&status.leaving);
    let pids = serving.chain(others).filter_map(|instance| instance.pid);
    pids.filter_map(|pid| rustix::process::Pid::from_raw(i32::try_from(pid.0).ok()?))
        .collect()
}

impl Drop for Service {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("supervisor's standard error:\n{}", self.stderr());
            for event in self.events().iter().rev().take(30).rev() {
                eprintln!("{} {}", event.unix_ms, event.kind);
            }
        }
        // Programs that write their title over their environment, as nginx does, are found by this
        // alone.
        let known = self.control.try_status().map(|status| instances(&status));
        if let Some(mut child) = self.supervisor.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        for group in known.into_iter().flatten() {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        // Nobody starts another one now.
        let dir = self.dir();
        for _ in 0..100 {
            let left = process::of_service(&dir);
            if left.is_empty() {
                return;
            }
            for pid in left {
                process::signal(pid, Signal::KILL);
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}
