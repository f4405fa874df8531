//! What to run: found once, pinned, so that a restart or a rollback runs what ran and not what
//! somebody has copied over it since.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use handover_proto::identity::CandidateId;
use handover_sys::executable::{self, Identity};
use handover_sys::spawn::{Spawn, find_program};
use serde::{Deserialize, Serialize};

use super::preflight::{Format, PreflightError, inspect};
use super::sockets::Listeners;

/// A program with its arguments and listeners.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) id: CandidateId,
    /// As it was given: the program's name first.
    pub(super) argv: Vec<String>,
    /// Where it was found.
    pub(super) path: PathBuf,
    pub(super) listeners: Listeners,
    identity: Identity,
    /// The open file. Absent for scripts: their interpreter opens the path, whatever is there.
    pinned: Option<OwnedFd>,
}

/// A candidate in the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct CandidateRecord {
    pub(super) id: CandidateId,
    pub(super) argv: Vec<String>,
    pub(super) path: PathBuf,
    /// Names of its listeners.
    pub(super) listeners: Vec<String>,
    /// Device and inode of the program's file.
    #[serde(default)]
    pub(super) file: Option<(u64, u64)>,
}

impl Candidate {
    /// Finds a program and examines it.
    pub(super) fn find(
        id: CandidateId,
        argv: Vec<String>,
        directory: Option<&Path>,
        listeners: Listeners,
    ) -> Result<Self, PreflightError> {
        let name = argv.first().cloned().unwrap_or_default();
        let path = locate(&name, directory)?;
        Self::at(id, argv, path, listeners)
    }

    /// The candidate of an earlier supervisor. While a process of it lives, its very file is to be
    /// had, whatever stands at the path now.
    pub(super) fn found(
        recorded: &CandidateRecord,
        pid: Option<u32>,
        listeners: Listeners,
    ) -> Result<Self, PreflightError> {
        let CandidateRecord { id, argv, path, .. } = recorded.clone();
        let running = pid.map(|pid| PathBuf::from(format!("/proc/{pid}/exe")));
        let running = running.and_then(|exe| {
            let identity = Identity::of(&exe).ok()?;
            // Not so for a script, whose process runs its interpreter.
            let same = recorded.file == Some((identity.dev, identity.ino));
            same.then(|| (identity, executable::pin(&exe).ok()))
        });
        match running {
            Some((identity, pinned)) => Ok(Self {
                id,
                argv,
                path,
                listeners,
                identity,
                pinned,
            }),
            None => Self::at(id, argv, path, listeners),
        }
    }

    /// Examines the program at `path`.
    fn at(
        id: CandidateId,
        argv: Vec<String>,
        path: PathBuf,
        listeners: Listeners,
    ) -> Result<Self, PreflightError> {
        let format = inspect(&path)?;
        let io = |source| PreflightError::Io {
            path: path.clone(),
            source,
        };
        let identity = Identity::of(&path).map_err(io)?;
        let pinned = match format {
            Format::Elf { .. } => executable::pin(&path).ok(),
            Format::Script { .. } => None,
        };
        Ok(Self {
            id,
            argv,
            path,
            listeners,
            identity,
            pinned,
        })
    }

    /// For people: program and arguments.
    pub(super) fn label(&self) -> String {
        self.argv.join(" ")
    }

    /// Where its TCP listeners are, in order.
    pub(super) fn tcp_addresses(&self) -> Vec<std::net::SocketAddr> {
        let listeners = self.listeners.iter();
        listeners.filter_map(|open| open.tcp_address()).collect()
    }

    /// Whether it is the same program, the same file, with the same arguments and listeners: a
    /// restart of a version, which leaves the version before it the one to roll back to.
    pub(super) fn is_same_version(&self, other: &Self) -> bool {
        let sockets = |candidate: &Self| -> Vec<_> {
            candidate
                .listeners
                .iter()
                .map(|open| open.entry.clone())
                .collect()
        };
        self.argv == other.argv
            && self.path == other.path
            && self.identity == other.identity
            && sockets(self) == sockets(other)
    }

    /// Whether the file at the path is still the one that was examined.
    pub(super) fn is_in_place(&self) -> bool {
        Identity::of(&self.path).is_ok_and(|found| found == self.identity)
    }

    /// Whether this very version can still be started.
    pub(super) fn is_startable(&self) -> Result<(), String> {
        if self.pinned.is_some() || self.is_in_place() {
            return Ok(());
        }
        Err(format!(
            "{} was a script and its file has changed since; keep the old version elsewhere and \
             use `handover upgrade --binary OLD`",
            self.path.display()
        ))
    }

    /// The spawn of this very version: by path while the file is in place, else by the open file.
    pub(super) fn spawn(&self) -> Spawn<'_> {
        let spawn = match &self.pinned {
            Some(pinned) if !self.is_in_place() => Spawn::executable(pinned.as_fd(), &self.path),
            _ => Spawn::path(&self.path),
        };
        let mut argv = self.argv.iter();
        let spawn = match argv.next() {
            Some(name) => spawn.arg0(name),
            None => spawn,
        };
        spawn.args(argv)
    }

    pub(super) fn recorded(&self) -> CandidateRecord {
        CandidateRecord {
            id: self.id,
            file: Some((self.identity.dev, self.identity.ino)),
            argv: self.argv.clone(),
            path: self.path.clone(),
            listeners: self
                .listeners
                .iter()
                .map(|open| open.entry.name.clone())
                .collect(),
        }
    }
}

/// The absolute path of a program: relative to `directory` if it has a slash, else by `PATH`.
pub(super) fn locate(name: &str, directory: Option<&Path>) -> Result<PathBuf, PreflightError> {
    if name.contains('/') {
        let path = directory.map_or_else(|| PathBuf::from(name), |dir| dir.join(name));
        return std::path::absolute(&path).map_err(|source| PreflightError::Io { path, source });
    }
    let search = std::env::var_os("PATH");
    find_program(name.as_ref(), search.as_deref()).map_err(|_| PreflightError::NotFound {
        program: name.into(),
        hint: " in PATH; write ./ before a program in the working directory".into(),
    })
}
