//! The lock of the beyond-handoff crate (0.1.4), so that its programs and ours exclude each other
//! on one data directory: `flock` on `.handoff.lock`, the holder's pid in `.handoff.pidfile`, the
//! lock file never removed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use handover_sys::lock;

/// The file whose lock counts there.
const LOCK: &str = ".handoff.lock";
/// The file that names the holder, for people and for its search for stale locks.
const PID: &str = ".handoff.pidfile";

/// Their lock while we have it. Dropping it gives it up.
#[derive(Debug)]
pub(super) struct HandoffLock {
    file: File,
    dir: PathBuf,
}

/// What came of trying to lock their file too.
#[derive(Debug)]
pub(super) enum Handoff {
    /// There is no such file: no program of theirs has been here.
    Absent,
    Locked(HandoffLock),
    /// A program of theirs owns the directory.
    Busy {
        pid: Option<u32>,
    },
}

/// Locks their file: if it is there, or whether or not (`always`).
///
/// # Errors
/// The file cannot be opened or locked; not locked.
pub(super) fn try_lock(dir: &Path, always: bool) -> io::Result<Handoff> {
    let mut options = File::options();
    let options = options.read(true).write(true).create(always);
    let file = match options.open(dir.join(LOCK)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Handoff::Absent),
        Err(error) => return Err(error),
    };
    if !lock::try_lock(&file)? {
        return Ok(Handoff::Busy { pid: holder(dir) });
    }
    let dir = dir.to_owned();
    let held = HandoffLock { file, dir };
    // Theirs is advice, and written without a sync: no disk in the way of a handover.
    if let Err(error) = held.write_pid() {
        tracing::warn!(%error, "{PID} cannot be written; the lock is held without it");
    }
    Ok(Handoff::Locked(held))
}

fn holder(dir: &Path) -> Option<u32> {
    let text = fs::read_to_string(dir.join(PID)).ok()?;
    text.trim().parse().ok().filter(|pid| *pid > 0)
}

impl HandoffLock {
    fn write_pid(&self) -> io::Result<()> {
        let own = std::process::id();
        let new = self.dir.join(format!("{PID}.{own}.tmp"));
        let mut file = File::create(&new)?;
        writeln!(file, "{own}")?;
        fs::rename(&new, self.dir.join(PID))
    }
}

impl Drop for HandoffLock {
    fn drop(&mut self) {
        if holder(&self.dir) == Some(std::process::id()) {
            let _ = fs::remove_file(self.dir.join(PID));
        }
        // Not by closing: a child that was forked meanwhile would keep it.
        let _ = lock::unlock(&self.file);
    }
}
