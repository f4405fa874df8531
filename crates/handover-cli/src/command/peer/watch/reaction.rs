//! What follows a change: a file is replaced, a command is run.

use super::route::Route;
use super::template::replace;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};

/// What is told: where requests of a service go, and the text made from all that is known.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) route: Route,
    pub(super) text: Option<String>,
}

impl PartialEq for State {
    /// A command after a template is there for the file: no other news are worth a run.
    fn eq(&self, other: &Self) -> bool {
        match (&self.text, &other.text) {
            (Some(text), Some(other)) => text == other,
            (text, other_text) => text == other_text && self.route == other.route,
        }
    }
}

/// How it is told.
#[derive(Clone, Debug)]
pub(super) struct Reaction {
    pub(super) output: Option<PathBuf>,
    pub(super) command: Option<String>,
    pub(super) limit: Duration,
}

/// Why a state was not told.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReactionError {
    #[error("cannot replace {}: {source}; it is as it was", path.display())]
    Replace { path: PathBuf, source: io::Error },
    #[error("--exec cannot be started: {0}")]
    Start(#[source] io::Error),
    #[error("--exec failed ({0})")]
    Failed(ExitStatus),
    #[error("--exec was killed: it took longer than {}", crate::view::quantity::duration(*limit))]
    Late { limit: Duration },
}

impl Reaction {
    /// Tells a state. When this is dropped, the command and what it started are killed.
    pub(super) async fn tell(self, state: State) -> Result<(), ReactionError> {
        if let (Some(path), Some(text)) = (&self.output, &state.text) {
            replace(path, text).map_err(|source| ReactionError::Replace {
                path: path.clone(),
                source,
            })?;
        }
        let Some(command) = &self.command else {
            return Ok(());
        };
        let mut running = Running(start(command, &state.route).map_err(ReactionError::Start)?);
        match tokio::time::timeout(self.limit, running.0.wait()).await {
            Err(_) => Err(ReactionError::Late { limit: self.limit }),
            Ok(Err(error)) => Err(ReactionError::Start(error)),
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(ReactionError::Failed(status)),
        }
    }
}

/// Standard output belongs to the changes, so the command writes to standard error.
fn start(command: &str, route: &Route) -> io::Result<Child> {
    let stderr = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3)?;
    Command::new("sh")
        .args(["-c", command])
        .envs(route.variables())
        .stdin(Stdio::null())
        .stdout(Stdio::from(stderr))
        .process_group(0)
        .spawn()
}

/// A command in a process group of its own.
#[derive(Debug)]
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // `None` once it was waited for: its number may be another's by then.
        let id = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = id.and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
