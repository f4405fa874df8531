//! Unix sockets whose path a program removes when it ends, although somebody else listens on them by
//! then. A second name for the same socket lets the path be put back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use handover_proto::manifest::ListenerKind;
use tokio::task::AbortHandle;

use super::plan::Plan;

/// Between two looks. A client that connects to a missing path is refused, so this is how long
/// that may last.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Keeps paths in place until it is dropped.
#[derive(Debug)]
pub(super) struct KeptPaths {
    paths: Vec<(PathBuf, PathBuf)>,
    looking: Option<AbortHandle>,
}

impl KeptPaths {
    /// Gives each path of the plan a second name and begins to look after it. One that cannot have
    /// a second name (no right to write there) is let be, with a warning.
    pub(super) fn keep(plan: &Plan) -> Self {
        let mut paths = Vec::new();
        let unix = plan
            .listeners
            .iter()
            .filter(|one| one.listener.kind == ListenerKind::Unix);
        for one in unix.filter(|one| one.listener.address.starts_with('/')) {
            let path = PathBuf::from(&one.listener.address);
            let mut second = path.clone().into_os_string();
            second.push(format!(".kept-{}", plan.pid));
            let second = PathBuf::from(second);
            match std::fs::hard_link(&path, &second) {
                Ok(()) => paths.push((path, second)),
                Err(error) => tracing::warn!(
                    %error, path = %path.display(),
                    "cannot be put back if the old program removes it"
                ),
            }
        }
        let watched = paths.clone();
        let looking = (!paths.is_empty()).then(|| {
            let task = tokio::spawn(async move {
                loop {
                    put_back(&watched);
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            });
            task.abort_handle()
        });
        Self { paths, looking }
    }
}

fn put_back(paths: &[(PathBuf, PathBuf)]) {
    for (path, second) in paths {
        // By link, which replaces nothing that somebody else has put there.
        if is_missing(path) {
            let _ = std::fs::hard_link(second, path);
        }
    }
}

fn is_missing(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

impl Drop for KeptPaths {
    fn drop(&mut self) {
        if let Some(looking) = self.looking.take() {
            looking.abort();
        }
        put_back(&self.paths);
        for (_, second) in &self.paths {
            let _ = std::fs::remove_file(second);
        }
    }
}
