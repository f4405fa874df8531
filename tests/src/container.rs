//! A `handover peer` as a container runs it, without the container: a process with a file system
//! place of its own (its runtime directory), and a volume that others share.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::patience::{eventually, until};
use crate::process;
use crate::service::{clean, command_path};

/// What services are called here.
const NAME: &str = "svc";

/// How to run a container.
#[derive(Clone, Debug)]
pub struct Recipe {
    program: Vec<String>,
    flags: Vec<String>,
    wrapper: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Recipe {
    /// A container that runs this program, with short drains, and without multicast.
    #[must_use]
    pub fn new(program: &Path) -> Self {
        let flags = [
            "--legacy",
            "off",
            "--no-status",
            "--drain-notify",
            "2s",
            "--keeper",
            "never",
        ];
        Self {
            program: vec![program.display().to_string()],
            flags: flags.map(str::to_owned).to_vec(),
            wrapper: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// More flags of `handover peer`.
    #[must_use]
    pub fn flags<'a>(mut self, flags: impl IntoIterator<Item = &'a str>) -> Self {
        self.flags.extend(flags.into_iter().map(str::to_owned));
        self
    }

    /// The volume.
    #[must_use]
    pub fn volume(self, volume: &Path) -> Self {
        self.flags(["--volume", &volume.display().to_string()])
    }

    /// A listener named `http` at this address.
    #[must_use]
    pub fn http(self, address: &str) -> Self {
        self.flags(["--listen", &format!("http={address}")])
    }

    /// Arguments of the program.
    #[must_use]
    pub fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.program.extend(args.into_iter().map(str::to_owned));
        self
    }

    /// A variable of the container.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Starts it by this command and its arguments: `ip netns exec …`, `unshare …`.
    #[must_use]
    pub fn wrapper<'a>(mut self, words: impl IntoIterator<Item = &'a str>) -> Self {
        self.wrapper.extend(words.into_iter().map(str::to_owned));
        self
    }

    /// Starts it and waits for nothing.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn launch(self) -> Container {
        let directory = tempfile::tempdir_in("/dev/shm");
        let directory = directory.or_else(|_| tempfile::tempdir());
        let mut container = Container {
            recipe: self,
            directory: directory.expect("a directory"),
            child: None,
            runs: 0,
        };
        container.revive();
        container
    }

    /// Starts it and waits until it serves.
    #[must_use]
    pub fn start(self) -> Container {
        let container = self.launch();
        container.until_step("serving");
        container
    }
}

/// A container. It ends with this value, and with it whatever it started.
#[derive(Debug)]
pub struct Container {
    recipe: Recipe,
    directory: TempDir,
    child: Option<Child>,
    /// Starts so far; each has output files of its own.
    runs: u32,
}

impl Container {
    /// Starts it, again if it ran before: the same file system, a new process.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn revive(&mut self) {
        assert!(self.child.is_none(), "it runs");
        self.runs += 1;
        let mut command = self.command();
        let stdout = File::create(self.output("stdout")).expect("a file");
        let stderr = File::create(self.output("stderr")).expect("a file");
        command.stdout(stdout).stderr(stderr);
        self.child = Some(command.spawn().expect("it starts"));
    }

    fn command(&self) -> Command {
        let mut words = self.recipe.wrapper.clone();
        words.push(command_path().display().to_string());
        let mut command = clean(&words[0]);
        command
            .args(&words[1..])
            .args(["peer", "--name", NAME, "--format", "json"])
            .arg("--complete-file")
            .arg(self.complete_file())
            .args(&self.recipe.flags)
            .arg("--")
            .args(&self.recipe.program)
            .envs(self.recipe.environment.iter().cloned())
            .env("HANDOVER_RUNTIME_DIR", self.directory.path())
            .stdin(Stdio::null());
        command
    }

    fn output(&self, what: &str) -> PathBuf {
        self.directory.path().join(format!("{what}-{}", self.runs))
    }

    fn complete_file(&self) -> PathBuf {
        self.directory.path().join("complete")
    }

    /// Whether the platform may end it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete_file().exists()
    }

    /// The service's runtime directory.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.directory.path().join(NAME)
    }

    /// What it wrote to standard error since it was started last.
    #[must_use]
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.output("stderr")).unwrap_or_default()
    }

    /// Everything that happened since it was started last.
    #[must_use]
    pub fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.output("stdout")).unwrap_or_default();
        // The last one may be half written.
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// What happened between it and others, by name.
    #[must_use]
    pub fn steps(&self) -> Vec<String> {
        let name = |line: &Value| line["peer"]["event"].as_str().map(str::to_owned);
        self.lines().iter().filter_map(name).collect()
    }

    /// How often a step happened.
    #[must_use]
    pub fn count(&self, step: &str) -> usize {
        self.steps().iter().filter(|name| *name == step).count()
    }

    /// Waits for a step, and returns its line.
    pub fn until_step(&self, step: &str) -> Value {
        self.until_nth(step, 1)
    }

    /// Waits until a step has happened so often, and returns the line of the last of these.
    ///
    /// # Panics
    /// When the container ends before.
    pub fn until_nth(&self, step: &str, nth: usize) -> Value {
        eventually(&format!("step {step} for the {nth}. time"), || {
            // Before the lines are read, so that the last ones are seen.
            let alive = process::is_alive(self.pid());
            let lines = self.lines();
            let mut found = lines.iter().filter(|line| line["peer"]["event"] == step);
            let line = found.nth(nth - 1).cloned();
            assert!(
                alive || line.is_some(),
                "it ended before step {step}; steps: {:?}",
                self.steps()
            );
            line
        })
    }

    /// Who serves, by its last word.
    #[must_use]
    pub fn serves(&self) -> String {
        let lines = self.lines();
        let last = lines.iter().rev().find_map(|line| line["serves"].as_str());
        last.unwrap_or_default().to_owned()
    }

    /// Where its listener `http` is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        eventually("a listener", || {
            let lines = self.lines();
            let opened = lines
                .iter()
                .find(|line| line["event"] == "listener_opened")?;
            opened["address"].as_str()?.parse().ok()
        })
    }

    /// The process of `handover peer`.
    ///
    /// # Panics
    /// When it was waited for.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// The processes of its program.
    #[must_use]
    pub fn programs(&self) -> Vec<u32> {
        process::of_service(&self.dir())
    }

    /// Waits until its program has gone.
    pub fn until_empty(&self) {
        until("the program has gone", || self.programs().is_empty());
    }

    /// Sends a signal to `handover peer`.
    pub fn signal(&self, signal: Signal) {
        process::signal(self.pid(), signal);
    }

    /// Waits until it ends.
    ///
    /// # Panics
    /// When it does not.
    pub fn ended(&mut self) -> ExitStatus {
        let child = self.child.as_mut().expect("it runs");
        let status = eventually("it ends", || child.try_wait().expect("waits"));
        self.child = None;
        status
    }

    /// Kills `handover peer` alone, as the kernel does when memory runs out: its program stays.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("killed");
        child.wait().expect("gone");
    }

    /// Kills all its processes, as a platform does that has lost patience.
    pub fn kill_all(&mut self) {
        self.kill();
        self.kill_programs();
    }

    fn kill_programs(&self) {
        until("no program is left", || {
            let left = self.programs();
            left.iter()
                .for_each(|pid| process::signal(*pid, Signal::KILL));
            left.is_empty()
        });
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("container's standard error:\n{}", self.stderr());
            for line in self.lines() {
                eprintln!("{line}");
            }
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        for pid in self.programs() {
            process::signal(pid, Signal::KILL);
        }
    }
}
