//! Waiting until a project changes.

use super::Project;
use crate::output::say;
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{sleep, timeout};

/// How long nothing may be heard until a change counts as complete: an editor that saves all its
/// files, a checkout.
const QUIET: Duration = Duration::from_millis(100);
/// How long that is waited for at the most, where something is written all the time.
const RESTLESS: Duration = Duration::from_secs(2);
/// Between two looks where nothing is told.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What tells that something may have changed.
#[derive(Debug)]
struct Bell {
    notifier: RecommendedWatcher,
    rung: UnboundedReceiver<()>,
    watched: BTreeSet<PathBuf>,
}

/// A project that is being watched.
#[derive(Debug)]
pub(crate) struct Watcher {
    project: Project,
    /// Absent where the system tells nothing: then it is looked at all the time.
    bell: Option<Bell>,
}

impl Watcher {
    /// Begins to watch. Without notifications, by choice or because the system has none left, the
    /// project is looked at once a second.
    pub(crate) fn begin(project: Project, poll: bool) -> Self {
        let bell = match poll {
            true => None,
            false => match Bell::hang(&project) {
                Ok(bell) => Some(bell),
                Err(error) => {
                    say(&without(&error));
                    None
                }
            },
        };
        Self { project, bell }
    }

    /// Waits for the next change, and until it is complete. Not cancel-safe: a change may be lost.
    pub(crate) async fn changed(mut self) -> (Self, Vec<PathBuf>) {
        loop {
            match &mut self.bell {
                Some(bell) => bell.heard().await,
                None => sleep(LOOK_EVERY).await,
            }
            // A project of many thousand files takes a moment.
            let looking = tokio::task::spawn_blocking(move || {
                let changes = self.look();
                (self, changes)
            });
            let changes;
            (self, changes) = match looking.await {
                Ok(looked) => looked,
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            };
            if !changes.is_empty() {
                return (self, changes);
            }
        }
    }

    fn look(&mut self) -> Vec<PathBuf> {
        let mut changes = self.project.changes();
        while let Some(bell) = &mut self.bell {
            match bell.follow(&self.project) {
                Ok(false) => break,
                // What was written into a new directory before it was watched.
                Ok(true) => changes.extend(self.project.changes()),
                Err(error) => {
                    say(&without(&error));
                    self.bell = None;
                }
            }
        }
        changes
    }
}

fn without(error: &notify::Error) -> String {
    let more = match error.kind {
        notify::ErrorKind::MaxFilesWatch => {
            "; more directories can be watched after `sysctl fs.inotify.max_user_watches=524288`"
        }
        _ => "",
    };
    format!("changes are looked for once a second, because none are told ({error}){more}")
}

impl Bell {
    fn hang(project: &Project) -> notify::Result<Self> {
        let (ring, rung) = unbounded_channel();
        let notifier = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading is no change. An error may have hidden one.
            if event.map_or(true, |event| is_change(event.kind)) {
                let _ = ring.send(());
            }
        })?;
        let watched = BTreeSet::new();
        let mut bell = Self {
            notifier,
            rung,
            watched,
        };
        bell.follow(project)?;
        Ok(bell)
    }

    /// Watches the directories that there are now; true if one of them is new.
    fn follow(&mut self, project: &Project) -> notify::Result<bool> {
        let directories = project.directories();
        // Watches of directories that are gone went with them.
        self.watched.retain(|known| directories.contains(known));
        let mut grew = false;
        for directory in directories {
            if self.watched.contains(directory) {
                continue;
            }
            match self.notifier.watch(directory, RecursiveMode::NonRecursive) {
                Ok(()) => {}
                // Gone since.
                Err(error) if matches!(error.kind, notify::ErrorKind::PathNotFound) => continue,
                Err(error) => return Err(error),
            }
            self.watched.insert(directory.clone());
            grew = true;
        }
        Ok(grew)
    }

    /// Waits until something was heard, and then nothing for a moment.
    async fn heard(&mut self) {
        if self.rung.recv().await.is_none() {
            // Its thread has ended.
            return sleep(LOOK_EVERY).await;
        }
        let quiet = async { while let Ok(Some(())) = timeout(QUIET, self.rung.recv()).await {} };
        let _ = timeout(RESTLESS, quiet).await;
    }
}

fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}
