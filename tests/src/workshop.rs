//! A project under `handover dev`, and everything that started, all gone at the end.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use handover_proto::outcome::Outcome;
use handover_proto::status::Status;
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::control::Control;
use crate::patience::eventually;
use crate::process;
use crate::service::{clean, command_path};

/// What the service is called here.
const NAME: &str = "workshop";

/// A directory in which somebody works.
#[derive(Debug)]
pub struct Workshop {
    directory: TempDir,
    runtime: TempDir,
    control: Control,
    wrapper: Vec<String>,
    run: Option<Child>,
}

impl Default for Workshop {
    fn default() -> Self {
        Self::new()
    }
}

impl Workshop {
    /// An empty directory; nothing runs yet.
    ///
    /// # Panics
    /// When there is no room.
    #[must_use]
    pub fn new() -> Self {
        let runtime = tempfile::tempdir().expect("a directory");
        Self {
            directory: tempfile::tempdir().expect("a directory"),
            control: Control::new(runtime.path().join(NAME).join("control.sock")),
            runtime,
            wrapper: Vec::new(),
            run: None,
        }
    }

    /// Starts `handover dev` by another command, which gets it as its last words.
    #[must_use]
    pub fn within(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(ToString::to_string).collect();
        self
    }

    /// The project of `tests/projects/toy`, which needs nothing but cargo.
    #[must_use]
    pub fn toy() -> Self {
        let workshop = Self::new();
        let projects = Path::new(env!("CARGO_MANIFEST_DIR")).join("projects");
        for (from, to) in [("toy.toml", "Cargo.toml"), ("toy.rs.in", "src/main.rs")] {
            let text = fs::read_to_string(projects.join(from)).expect("the project is here");
            workshop.write(to, &text);
        }
        workshop
    }

    /// Where somebody works.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file as an editor does: beside, then renamed.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, file: &str, text: &str) {
        let path = self.path().join(file);
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        let beside = path.with_extension("edited~");
        fs::write(&beside, text).expect("written");
        fs::rename(beside, path).expect("renamed");
    }

    /// Replaces a text in a file.
    ///
    /// # Panics
    /// When the text is not there.
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path().join(file)).expect("a file");
        assert!(text.contains(from), "{from} is not in {text}");
        self.write(file, &text.replace(from, to));
    }

    /// The command `handover dev` with these flags and the program behind two dashes.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        let path = command_path();
        let mut command = match self.wrapper.split_first() {
            Some((first, rest)) => {
                let mut command = clean(first);
                command.args(rest).arg(path);
                command
            }
            None => clean(path),
        };
        command.args(["dev", "--name", NAME]);
        if !words.contains(&"--listen") {
            command.args(["--listen", "http=127.0.0.1:0"]);
        }
        command
            .args(words)
            .current_dir(self.path())
            .env_remove("CARGO_TARGET_DIR")
            .env("HANDOVER_RUNTIME_DIR", self.runtime.path())
            .stdin(Stdio::null());
        command
    }

    /// Starts it, in a process group of its own as a shell does.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn begin(&mut self, words: &[&str]) {
        let mut appended = File::options();
        let output = appended.append(true).create(true).open(self.output());
        let output = output.expect("a file");
        let mut command = self.command(words);
        command.process_group(0);
        command.stdout(output.try_clone().expect("a descriptor"));
        self.run = Some(command.stderr(output).spawn().expect("it starts"));
    }

    fn output(&self) -> PathBuf {
        self.runtime.path().join("output")
    }

    /// What is on the screen.
    #[must_use]
    pub fn screen(&self) -> String {
        fs::read_to_string(self.output()).unwrap_or_default()
    }

    /// Waits until a text is on the screen for the `times`th time.
    pub fn until_shown(&self, text: &str, times: usize) {
        eventually(&format!("{text} ({times})"), || {
            (self.screen().matches(text).count() >= times).then_some(())
        });
    }

    /// Its control socket.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Waits until the status is as wanted.
    pub fn until(&self, what: &str, holds: impl Fn(&Status) -> bool) -> Status {
        eventually(what, || self.control.try_status().filter(&holds))
    }

    /// Waits until somebody serves and nothing is under way.
    pub fn until_serving(&self) -> Status {
        self.until("somebody serves", |status| {
            status.incumbent.is_some() && status.handover.is_none() && status.leaving.is_empty()
        })
    }

    /// Where the listener is.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        let status = self.until("a listener", |status| !status.listeners.is_empty());
        status.listeners[0].address.parse().expect("an address")
    }

    /// Its process.
    ///
    /// # Panics
    /// When it was not begun.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.run.as_ref().expect("it was begun").id()
    }

    /// What a terminal does at Ctrl-C, or when it is closed: all of the group hear it.
    pub fn all_hear(&self, signal: Signal) {
        let group = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        kill_process_group(group.expect("a group"), signal).expect("there is somebody");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end.
    pub fn ended(&mut self) -> ExitStatus {
        let mut run = self.run.take().expect("it was begun");
        eventually("it ends", || run.try_wait().expect("waits"))
    }

    /// Processes of the service, with what they started.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        process::of_service(&self.runtime.path().join(NAME))
    }
}

/// How the attempt that an `edit` begins ends.
///
/// # Panics
/// When none begins.
#[must_use]
pub fn outcome_of(control: &Control, edit: impl FnOnce()) -> Outcome {
    let before = control.history().len();
    edit();
    eventually("an attempt ends", || {
        let history = control.history();
        history.get(before).map(|entry| entry.outcome.clone())
    })
}

impl Drop for Workshop {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("on the screen:\n{}", self.screen());
        }
        if let Some(mut run) = self.run.take() {
            let _ = run.kill();
            let _ = run.wait();
        }
        for pid in self.processes() {
            process::signal(pid, Signal::KILL);
        }
    }
}
