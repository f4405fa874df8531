//! The log file: lines of all instances, each whole and once.
//!
//! Instances write to files of their own in the runtime directory (see [`super::stderr`]), which
//! outlive a supervisor; a thread here copies their lines. At a handover the file of the old
//! instance is renamed and its late lines follow it, as in aojea/zero-downtime, whose README says
//! that "the secondary server needs to wait until the primary renames its logs file before creating
//! its log"; what a new version writes before it serves waits until then.

mod desk;
mod ledger;
mod sink;
mod source;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::time::Duration;

use handover_proto::identity::InstanceId;
use handover_proto::journal::Observation;
use serde::{Deserialize, Serialize};

use super::bus::Bus;
use super::config::{Config, StderrPolicy};
use super::driver::Driver;
use super::error::StartError;
use super::stderr::{PREFIX, file_of};
use crate::bell::Bell;
use crate::log_file::{aside, cut};
use desk::Desk;
use ledger::{Flight, Home, Ledger, Place};
use sink::Sink;
use source::{Source, ledger_of};

/// How long the last lines may take at the end: a disk that hangs must not keep the supervisor.
/// What is left then waits for the next one.
const LAST_LINES: Duration = Duration::from_secs(5);

/// What becomes of the log file at a handover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogPolicy {
    /// It is renamed to `FILE.TIME.PID`; the old instance's late lines follow it, and the new
    /// instance's go to a new one.
    #[default]
    Rename,
    /// All lines of all instances go to the one file.
    Append,
}

/// Who serves, and who may next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) incumbent: InstanceId,
    pub(super) successor: Option<InstanceId>,
}

/// What the thread is told.
enum Order {
    Follow(Source, Option<Home>),
    Stand(Standing),
    Gone(InstanceId),
    Reopen,
    End,
}

/// Where orders go.
#[derive(Clone)]
pub(super) struct Orders {
    to: Sender<Order>,
    bell: Arc<Bell>,
}

impl std::fmt::Debug for Orders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Orders")
    }
}

impl Orders {
    fn give(&self, order: Order) {
        // Nobody is there any more: the supervisor ends.
        let _ = self.to.send(order);
        self.bell.ring();
    }

    /// An instance has ended. What it wrote is still copied.
    pub(super) fn gone(&self, instance: InstanceId) {
        self.give(Order::Gone(instance));
    }
}

/// The log file of a service.
#[derive(Debug)]
pub(super) struct Logs {
    orders: Orders,
    told: Option<Standing>,
    ended: Receiver<()>,
}

impl Logs {
    /// Whether the log file, if there is to be one, can be written.
    ///
    /// # Errors
    /// [`StartError::LogFileNeedsCapture`]; [`StartError::LogFile`] unless somebody serves.
    pub(super) fn check(config: &Config, observed: &Observation) -> Result<(), StartError> {
        let Some(path) = &config.log_file else {
            return Ok(());
        };
        if config.stderr == StderrPolicy::Inherit {
            return Err(StartError::LogFileNeedsCapture);
        }
        match Sink::new(path.clone()).open() {
            Err(source) if observed.alive.is_empty() => Err(StartError::LogFile {
                path: path.clone(),
                source,
            }),
            _ => Ok(()),
        }
    }

    /// The log file, if there is to be one.
    ///
    /// # Errors
    /// As [`Logs::open`].
    pub(super) fn configured(
        config: &Config,
        dir: &Path,
        bus: &Bus,
        observed: &Observation,
    ) -> Result<Option<Self>, StartError> {
        let Some(path) = &config.log_file else {
            return Ok(None);
        };
        let alive: Vec<_> = observed.alive.iter().map(|(alive, _)| *alive).collect();
        Self::open(path, config.log_at_handover, dir, bus, &alive).map(Some)
    }

    /// Opens the log file, and what earlier instances left to be copied into it. `alive`: those
    /// that serve on.
    ///
    /// # Errors
    /// [`StartError::LogFile`]. A file that cannot be opened is only a warning while somebody
    /// serves.
    fn open(
        path: &Path,
        policy: LogPolicy,
        dir: &Path,
        bus: &Bus,
        alive: &[InstanceId],
    ) -> Result<Self, StartError> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
        let failed = |source| StartError::LogFile {
            path: path.clone(),
            source,
        };
        settle(dir, &path);
        let mut log = Sink::new(path.clone());
        if let Err(error) = log.open()
            && alive.is_empty()
        {
            return Err(failed(error));
        }
        let (to, orders) = channel();
        let bell = Arc::new(Bell::new().map_err(failed)?);
        let mut desk = Desk::new(log, policy, bus.clone()).map_err(failed)?;
        for (source, home) in left_behind(dir, alive) {
            desk.leave(source, &home);
        }
        let (end, ended) = sync_channel(1);
        let ringing = Arc::clone(&bell);
        let thread = std::thread::Builder::new().name("handover-log".into());
        let started = thread.spawn(move || {
            desk.work(&orders, &ringing);
            let _ = end.send(());
        });
        started.map_err(failed)?;
        Ok(Self {
            orders: Orders { to, bell },
            told: None,
            ended,
        })
    }

    /// Copies what an instance that was just started writes.
    pub(super) fn follow(
        &self,
        instance: InstanceId,
        pid: u32,
        file: &Arc<File>,
        path: &Path,
    ) -> Orders {
        let source = Source::new(instance, pid, Arc::clone(file), path.into());
        self.orders.give(Order::Follow(source, None));
        self.orders.clone()
    }

    /// Goes on with an instance of an earlier supervisor; from here on, if that wrote no log file.
    ///
    /// # Errors
    /// Its file cannot be read.
    pub(super) fn go_on(
        &self,
        instance: InstanceId,
        pid: u32,
        file: &Arc<File>,
        path: &Path,
    ) -> io::Result<Orders> {
        let file = Arc::clone(file);
        let (source, home) = match Source::found(instance, pid, Arc::clone(&file), path.into()) {
            Some(found) => found,
            None => (
                Source::from_here(instance, pid, file, path.into())?,
                Home::Log,
            ),
        };
        self.orders.give(Order::Follow(source, Some(home)));
        Ok(self.orders.clone())
    }

    /// Tells who serves, if that has changed.
    pub(super) fn stand(&mut self, standing: Standing) {
        if self.told != Some(standing) {
            self.told = Some(standing);
            self.orders.give(Order::Stand(standing));
        }
    }

    /// Opens the file at the log file's path, whichever it is by now.
    pub(super) fn reopen(&self) {
        self.orders.give(Order::Reopen);
    }

    /// Copies what is left, for a moment.
    pub(super) fn end(&self) {
        self.orders.give(Order::End);
        if self.ended.recv_timeout(LAST_LINES).is_err() {
            tracing::warn!(
                "the log file takes no lines; the last ones wait in the runtime directory"
            );
        }
    }
}

impl Driver {
    /// The log file is that of whoever serves.
    pub(super) fn tell_logs(&mut self) {
        if let (Some(logs), Some(incumbent)) = (&mut self.logs, self.machine.incumbent()) {
            logs.stand(Standing {
                incumbent: incumbent.instance,
                successor: self.machine.successor().map(|member| member.instance),
            });
        }
    }

    /// Somebody has moved the log file.
    pub(super) fn reopen_logs(&self) {
        match &self.logs {
            Some(logs) => logs.reopen(),
            None => self.bus.warn(
                "SIGUSR1 asks for logs to be reopened; this supervisor writes none (see --log-file). \
                 Signal the instance itself if it does",
            ),
        }
    }

    /// What they wrote last is still to be copied.
    pub(super) fn end_logs(&mut self) {
        self.processes.clear();
        if let Some(logs) = &self.logs {
            logs.end();
        }
    }
}

/// Captures in the runtime directory that have a record.
fn recorded(dir: &Path) -> BTreeSet<(InstanceId, PathBuf)> {
    let number = |name: &str| name.strip_prefix(PREFIX)?.parse().ok().map(InstanceId);
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| number(entry.file_name().to_str()?))
        .map(|instance| (instance, file_of(dir, instance)))
        .filter(|(_, path)| ledger_of(path).exists())
        .collect()
}

/// Finds out what became of the append that an earlier supervisor was about when it was killed.
/// For all instances before any line is copied: it tells by the length of the file.
fn settle(dir: &Path, log: &Path) {
    let records = recorded(dir);
    let records = records.iter().map(|(_, path)| ledger_of(path));
    let records: Vec<_> = records.filter_map(Ledger::open).collect();
    for (ledger, found) in &records {
        if let Some(flight) = found.flight {
            let arrived = arrived(&flight, log, &found.home);
            let copied = found.copied + if arrived { flight.taken } else { 0 };
            ledger.copied(copied);
        }
    }
    // Lines go to the log file as soon as it is a new one, so if nobody's do, it still has to be
    // renamed.
    let homes = || records.iter().map(|(_, found)| &found.home);
    if homes().any(|home| *home == Home::Log) {
        return;
    }
    for home in homes() {
        if let (Home::Renamed(to), Ok(real)) = (home, aside::behind_links(log)) {
            // Done already, by us or for another one: both have the same name.
            let _ = aside::rename(&real, to);
        }
    }
}

/// Whether an append has reached its file as a whole. One that has not is taken back.
fn arrived(flight: &Flight, log: &Path, home: &Home) -> bool {
    let place = flight.place;
    let home = match home {
        Home::Renamed(path) => path.as_path(),
        Home::Log | Home::Held => log,
    };
    // It may have been rotated since: then it is beside, under another name.
    let beside = home.parent().and_then(|dir| std::fs::read_dir(dir).ok());
    let beside = beside.into_iter().flatten().flatten().map(|e| e.path());
    let paths = [home.to_path_buf(), log.to_path_buf()];
    for path in paths.into_iter().chain(beside) {
        let is_regular = std::fs::metadata(&path).is_ok_and(|found| found.is_file());
        let file = File::options().append(true).open(path);
        let Some(file) = file.ok().filter(|_| is_regular) else {
            continue;
        };
        let Ok(now) = Place::of(&file) else {
            continue;
        };
        if (now.device, now.inode) == (place.device, place.inode) {
            let whole = place.length + flight.written;
            return cut(&file, place.length, whole).is_ok() && now.length >= whole;
        }
    }
    // Nobody can tell. Twice is better than never.
    false
}

/// What instances that are gone have written, and nobody has copied.
fn left_behind(dir: &Path, alive: &[InstanceId]) -> Vec<(Source, Home)> {
    let left = recorded(dir);
    let left = left
        .into_iter()
        .filter(|(instance, _)| !alive.contains(instance));
    let open = |(instance, path): (InstanceId, PathBuf)| {
        let file = File::options().read(true).append(true).open(&path).ok()?;
        Source::found(instance, 0, Arc::new(file), path)
    };
    left.filter_map(open).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The records of an old instance whose lines are to follow its file, and of a new one.
    fn records(dir: &Path, old: &Home, new: &Home) {
        for (number, home) in [(1, old), (2, new)] {
            let capture = file_of(dir, InstanceId(number.into()));
            std::fs::write(&capture, "").expect("written");
            Ledger::create(ledger_of(&capture), number).home(home);
        }
    }

    /// Killed between a commit and the rename, and the old instance ended meanwhile.
    #[test]
    fn a_rename_that_was_missed_is_made_up_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("app.log");
        std::fs::write(&log, "of the old one\n").expect("written");
        records(dir.path(), &Home::Log, &Home::Held);
        let new = InstanceId(2);
        let capture = file_of(dir.path(), new);
        std::fs::write(&capture, "of the new one\n").expect("written");
        let policy = LogPolicy::Rename;
        let logs = Logs::open(&log, policy, dir.path(), &Bus::new(), &[new]);
        let mut logs = logs.expect("it can be opened");
        let open = File::options().read(true).append(true).open(&capture);
        let file = Arc::new(open.expect("there"));
        let orders = logs.go_on(new, 2, &file, &capture).expect("it is read");
        logs.stand(Standing {
            incumbent: new,
            successor: None,
        });
        orders.gone(new);
        logs.end();
        let read = |path: &Path| std::fs::read_to_string(path).expect("there");
        let entries = std::fs::read_dir(dir.path()).expect("readable");
        let names = entries.map(|entry| entry.expect("readable").path());
        let is_old = |path: &PathBuf| path.extension().is_some_and(|pid| pid == "1");
        let renamed: Vec<PathBuf> = names.filter(is_old).collect();
        assert_eq!(renamed.len(), 1, "{renamed:?}");
        assert_eq!(read(&renamed[0]), "of the old one\n");
        assert_eq!(read(&log), "of the new one\n");
    }

    /// Killed after the record named the new name, and before the file had it.
    #[test]
    fn a_rename_that_was_begun_is_finished() {
        let dir = tempfile::tempdir().expect("a directory");
        let (log, aside) = (dir.path().join("app.log"), dir.path().join("app.log.1"));
        std::fs::write(&log, "of the old one").expect("written");
        let renamed = Home::Renamed(aside.clone());
        records(dir.path(), &renamed, &Home::Held);
        settle(dir.path(), &log);
        assert!(aside.exists() && !log.exists());
        // Once more, and nothing is renamed twice.
        std::fs::write(&log, "of the new one").expect("written");
        settle(dir.path(), &log);
        let read = |path: &Path| std::fs::read_to_string(path).expect("there");
        assert_eq!(
            (read(&aside), read(&log)),
            ("of the old one".into(), "of the new one".into())
        );
    }

    /// Somebody may have compressed what was renamed: the log file is another one's by then.
    #[test]
    fn a_rename_that_was_finished_is_not_begun_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let (log, aside) = (dir.path().join("app.log"), dir.path().join("app.log.1"));
        std::fs::write(&log, "of the new one").expect("written");
        records(dir.path(), &Home::Renamed(aside.clone()), &Home::Log);
        settle(dir.path(), &log);
        assert!(log.exists() && !aside.exists());
    }
}
