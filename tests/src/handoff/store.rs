//! What is owned: a log with a line for each write.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Behaviour;

/// The directory, and its log while we own it.
#[derive(Debug)]
pub(super) struct Store {
    behaviour: Behaviour,
    log: Mutex<Option<File>>,
}

impl Store {
    pub(super) fn new(behaviour: Behaviour) -> Self {
        Self {
            behaviour,
            log: Mutex::new(None),
        }
    }

    fn log(&self) -> MutexGuard<'_, Option<File>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.behaviour.data.join(name)
    }

    fn append(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.append(true).create(true).open(self.path(name))
    }

    pub(super) fn version(&self) -> String {
        self.behaviour.version.clone()
    }

    fn tag(&self) -> String {
        format!("{} {}", self.behaviour.version, std::process::id())
    }

    /// Notes that a hook runs, and takes as long as it should.
    pub(super) fn hook(&self, name: &str) -> std::time::Duration {
        let noted = self
            .append("hooks")
            .and_then(|mut hooks| writeln!(hooks, "{} {name}", self.tag()));
        if let Err(error) = noted {
            eprintln!("handoff-daemon: hooks: {error}");
        }
        self.behaviour.hook_delay
    }

    pub(super) fn open(&self) -> io::Result<()> {
        *self.log() = Some(self.append("log")?);
        Ok(())
    }

    /// Whatever was written is on disk; nothing more is written.
    pub(super) fn close(&self) -> io::Result<()> {
        if std::fs::remove_file(self.path("seal.fail")).is_ok() {
            return Err(io::Error::other("the test wants no seal"));
        }
        match self.log().take() {
            Some(log) => log.sync_data(),
            None => Ok(()),
        }
    }

    /// False when we do not own it.
    pub(super) fn write(&self) -> io::Result<bool> {
        match &mut *self.log() {
            Some(log) => writeln!(log, "{}", self.tag()).map(|()| true),
            None => Ok(false),
        }
    }

    /// Lines in the log: its revision.
    pub(super) fn revision(&self) -> u64 {
        let text = std::fs::read_to_string(self.path("log")).unwrap_or_default();
        text.lines().count() as u64
    }
}
