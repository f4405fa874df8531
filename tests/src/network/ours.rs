//! A service on our library, in a container.

pub mod program;

use std::path::Path;
use std::time::Duration;

use super::{Container, Entrypoint};

/// How to start one.
#[derive(Clone, Debug)]
#[must_use]
pub struct Ours {
    program: String,
    mode: String,
    arguments: Vec<String>,
}

impl Ours {
    /// A service in bridge mode; `program` is `container-peer`.
    ///
    /// Its probation is short, and over only when its successor was heard, as ever.
    pub fn new(program: &str) -> Self {
        let this = Self {
            program: program.to_owned(),
            mode: "bridge".to_owned(),
            arguments: Vec::new(),
        };
        this.probation(Duration::from_millis(500))
    }

    fn with(mut self, flag: &str, value: impl ToString) -> Self {
        self.arguments.extend([flag.to_owned(), value.to_string()]);
        self
    }

    /// Another `HANDOVER_NETWORK_MODE`.
    pub fn mode(mut self, mode: &str) -> Self {
        mode.clone_into(&mut self.mode);
        self
    }

    /// Another service than the others are of.
    pub fn service(self, name: &str) -> Self {
        self.with("--service", name)
    }

    /// When it started, in milliseconds since the epoch, as it tells legacy peers.
    pub fn started_at(self, started_ms: i64) -> Self {
        self.with("--started-at", started_ms)
    }

    /// A key, from this file; the container is to see it.
    pub fn key(self, file: &Path) -> Self {
        self.with("--key-file", file.display())
    }

    /// A volume; the container is to see it.
    pub fn volume(self, directory: &Path) -> Self {
        self.with("--volume", directory.display())
    }

    /// What to do about legacy peers: `obey`, `announce`, `off`.
    pub fn legacy(self, legacy: &str) -> Self {
        self.with("--legacy", legacy)
    }

    /// How long it can take back.
    pub fn probation(self, probation: Duration) -> Self {
        self.with("--probation", probation.as_millis())
    }

    /// How long it waits for a word of its successor.
    pub fn silence(self, silence: Duration) -> Self {
        self.with("--silence", silence.as_millis())
    }

    /// How long its drain takes.
    pub fn drain(self, drain: Duration) -> Self {
        self.with("--drain", drain.as_millis())
    }

    /// It is able to take back.
    pub fn resumes(mut self) -> Self {
        self.arguments.push("--resumes".to_owned());
        self
    }

    /// It is ready when this file is there; the container is to see it.
    pub fn ready_on(self, file: &Path) -> Self {
        self.with("--announce-on", file.display())
    }

    /// Starts it, and waits until it listens.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn start(&self, container: &Container) -> Entrypoint {
        let mut command = container.command(&self.program);
        command.args(&self.arguments);
        command.env("HANDOVER_NETWORK_MODE", &self.mode);
        let ours = container.start(command);
        ours.until("started");
        ours
    }

    /// Starts it, and waits until it serves.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn serving(&self, container: &Container) -> Entrypoint {
        let ours = self.start(container);
        ours.until("announced");
        ours
    }
}
