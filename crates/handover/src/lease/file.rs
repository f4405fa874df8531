//! The lock of a data directory and the epochs of its owners: `.handover.lock`.
//!
//! The kernel's lock alone decides who owns (I1); what the file says is for giving out epochs and
//! for explaining. It is never removed: a second file under the name would be a second lock.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use handover_proto::identity::Epoch;
use handover_sys::filesystem::{self, Filesystem};
use handover_sys::lock;

use super::error::LeaseFileError;
use super::handoff::{self, Handoff, HandoffLock};
use super::holder::{Holder, pid_namespace};
use super::options::Options;
use super::slot::{BootId, Record, SLOT};

/// Name of the lock file in a data directory.
pub const LOCK_FILE: &str = ".handover.lock";

/// Distance of the two records: each in a block of the disk of its own, so that a block that a
/// power loss leaves half written takes only one of them.
const BLOCK: usize = 4096;

/// How many epochs are reserved on the disk at once. Each owner takes one, so that a sync is
/// needed once in so many handovers; and they do not run out (I2): 2^64 are there.
pub const RESERVED_AT_ONCE: u64 = 1024;

/// Fewer left than this, and [`LeaseFile::reserve`] reserves more.
const RESERVE_BELOW: u64 = RESERVED_AT_ONCE / 2;

/// How often a lock file that somebody replaced in the moment of locking is opened anew.
const REPLACED: usize = 8;

/// How long [`LeaseFile::acquire_within`] sleeps between tries: from here, doubling …
const FIRST_PAUSE: Duration = Duration::from_micros(100);
/// … up to here.
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// What came of one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The caller owns the directory, under this epoch.
    Acquired(Epoch),
    /// Somebody else does: [`LeaseFile::holder`].
    Busy,
}

/// A data directory that can be owned by at most one process at a time (I1).
///
/// The lock is `flock(2)`: it belongs to the open file, ends with the process however that ends,
/// and, unlike POSIX record locks, does not end because another part of the process opens and
/// closes the file. (OFD locks would do as well; flock is what `flock(1)`, redb and beyond-handoff
/// use, so that people can look.) Dropping the value releases it.
#[derive(Debug)]
pub struct LeaseFile {
    dir: PathBuf,
    path: PathBuf,
    /// Counted, so that it can be kept open for good.
    file: Arc<File>,
    options: Options,
    boot: BootId,
    start_time: u64,
    /// Asked once: looking at it costs more than all else that taking the lock does.
    pid_namespace: u64,
    held: Option<Held>,
    /// The last try failed because of beyond-handoff's lock, and who has that.
    theirs: Option<Option<u32>>,
}

#[derive(Debug)]
struct Held {
    record: Record,
    _handoff: Option<HandoffLock>,
}

/// Whose the directory is once our file is locked.
#[derive(Debug)]
enum Taken {
    Ours(Held),
    /// A program of beyond-handoff has it.
    Theirs {
        pid: Option<u32>,
    },
}

/// What the file says of the last owner.
#[derive(Debug)]
struct Last {
    /// None: there has been no owner yet.
    record: Option<Record>,
    /// Both blocks are as they were written. Otherwise there may have been a later record.
    whole: bool,
}

impl LeaseFile {
    /// Opens a data directory, and makes its lock file. Locks nothing.
    ///
    /// # Errors
    /// The directory is not there, or on a filesystem whose locks do not exclude others. Nothing
    /// changed but that the file may be there.
    pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<Self, LeaseFileError> {
        let dir = dir.as_ref();
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        check_filesystem(&dir, &options)?;
        let path = dir.join(LOCK_FILE);
        let file = Arc::new(open_file(&path)?);
        // Without /proc nobody can look us up either.
        let start_time = handover_sys::process::start_time(std::process::id()).unwrap_or(0);
        Ok(Self {
            dir,
            path,
            file,
            options,
            boot: BootId::current(),
            start_time,
            pid_namespace: pid_namespace(),
            held: None,
            theirs: None,
        })
    }

    /// The data directory, absolute.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The epoch under which this value owns the directory, if it does.
    #[must_use]
    pub fn held(&self) -> Option<Epoch> {
        self.held.as_ref().map(|held| held.record.epoch)
    }

    /// Tries to become the owner. Never waits for a lock. Writes to the disk, and waits for it, only
    /// as the first owner since the machine started or when the reserved epochs have run out (see
    /// [`LeaseFile::reserve`]).
    ///
    /// # Errors
    /// The file cannot be read, locked or written, or both its records are damaged. Not locked.
    pub fn try_acquire(&mut self) -> Result<Attempt, LeaseFileError> {
        if let Some(epoch) = self.held() {
            return Ok(Attempt::Acquired(epoch));
        }
        self.theirs = None;
        if !self.try_lock()? {
            return Ok(Attempt::Busy);
        }
        match self.take_over() {
            Ok(Taken::Ours(held)) => {
                let epoch = held.record.epoch;
                self.held = Some(held);
                Ok(Attempt::Acquired(epoch))
            }
            Ok(Taken::Theirs { pid }) => {
                self.theirs = Some(pid);
                self.unlock()?;
                Ok(Attempt::Busy)
            }
            Err(error) => {
                self.unlock()?;
                Err(error)
            }
        }
    }

    /// Tries until it is the owner or the time is over, blocking the thread.
    ///
    /// # Errors
    /// [`LeaseFileError::Held`] with who has it, or as [`LeaseFile::try_acquire`]. Not locked.
    pub fn acquire_within(&mut self, within: Duration) -> Result<Epoch, LeaseFileError> {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            if let Attempt::Acquired(epoch) = self.try_acquire()? {
                return Ok(epoch);
            }
            let left = within.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Err(self.busy());
            }
            std::thread::sleep(pause.min(left));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// The error for a directory that somebody else owns.
    pub(crate) fn busy(&self) -> LeaseFileError {
        LeaseFileError::Held {
            dir: self.dir.clone(),
            holder: Box::new(self.holder()),
        }
    }

    /// Reserves epochs for later owners if few are left, so that none of them has to wait for the
    /// disk. Waits for it itself: call it while serving, off the threads that serve. Nothing if
    /// this value is not the owner.
    ///
    /// # Errors
    /// The disk is full or fails. Still the owner; what was reserved is.
    pub fn reserve(&mut self) -> Result<(), LeaseFileError> {
        let Some(held) = &self.held else {
            return Ok(());
        };
        let old = &held.record;
        if old.reserved.0 - old.epoch.0 >= RESERVE_BELOW {
            return Ok(());
        }
        let record = Record {
            seq: old.seq + 1,
            reserved: Epoch(old.reserved.0.saturating_add(RESERVED_AT_ONCE)),
            ..old.clone()
        };
        self.write(&record, true)?;
        if let Some(held) = &mut self.held {
            held.record = record;
        }
        Ok(())
    }

    /// Gives the directory up, at once and also for every copy of the descriptor that a forked
    /// child may have. Nothing if this value is not the owner.
    ///
    /// # Errors
    /// The kernel refused, which it does not; then the lock is held until the process ends.
    pub fn release(&mut self) -> Result<(), LeaseFileError> {
        // Theirs first, in the opposite order of taking.
        match self.held.take() {
            Some(held) => drop(held),
            None => return Ok(()),
        }
        self.unlock()
    }

    /// Keeps the lock until the process ends: something may still write (I2).
    pub(crate) fn keep_until_exit(&mut self) {
        if let Some(held) = self.held.take() {
            std::mem::forget(held);
            std::mem::forget(Arc::clone(&self.file));
        }
    }

    /// Who has the directory, as far as it can be known: for messages, after a try was
    /// [`Attempt::Busy`]. May look at every process.
    #[must_use]
    pub fn holder(&self) -> Holder {
        if let Some(pid) = self.theirs {
            return Holder::handoff(pid);
        }
        let record = self.last().ok().and_then(|last| last.record);
        Holder::diagnose(&self.file, record, self.boot)
    }

    /// The last epoch given out, whether or not its owner lives; `None` if there was no owner yet.
    ///
    /// # Errors
    /// The file cannot be read, or both its records are damaged.
    pub fn last_epoch(&self) -> Result<Option<Epoch>, LeaseFileError> {
        Ok(self.last()?.record.map(|record| record.epoch))
    }

    /// Locks the file that has the name, even if somebody has replaced it since it was opened.
    fn try_lock(&mut self) -> Result<bool, LeaseFileError> {
        for _ in 0..REPLACED {
            let locked = lock::try_lock(&self.file);
            if !locked.map_err(|source| self.failed("locked", source))? {
                return Ok(false);
            }
            if self
                .is_named()
                .map_err(|source| self.failed("found", source))?
            {
                return Ok(true);
            }
            self.unlock()?;
            self.file = Arc::new(open_file(&self.path)?);
        }
        let path = self.path.clone();
        Err(LeaseFileError::Replaced { path })
    }

    /// Whether the open file is the one that others find under the name.
    fn is_named(&self) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        match fs::symlink_metadata(&self.path) {
            Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn unlock(&self) -> Result<(), LeaseFileError> {
        lock::unlock(&self.file).map_err(|source| self.failed("unlocked", source))
    }

    /// With the lock held: excludes beyond-handoff as well and takes the next epoch.
    fn take_over(&self) -> Result<Taken, LeaseFileError> {
        let theirs = handoff::try_lock(&self.dir, self.options.handoff);
        let handoff = match theirs.map_err(|source| self.failed("locked for handoff", source))? {
            Handoff::Busy { pid } => return Ok(Taken::Theirs { pid }),
            Handoff::Absent => None,
            Handoff::Locked(lock) => Some(lock),
        };
        let last = self.last()?;
        let (record, sync) = self.next(&last)?;
        if last.record.is_none() {
            // Both blocks now, so that a full disk cannot come between a later owner and its epoch.
            let zeros = [0; BLOCK + SLOT];
            let written = self.file.write_all_at(&zeros, 0);
            written.map_err(|source| self.failed("written", source))?;
        }
        self.write(&record, sync)?;
        Ok(Taken::Ours(Held {
            record,
            _handoff: handoff,
        }))
    }

    /// The next owner's record, and whether it must be on the disk before it counts.
    fn next(&self, last: &Last) -> Result<(Record, bool), LeaseFileError> {
        let nobody = Record::default();
        let old = last.record.as_ref().unwrap_or(&nobody);
        // After a restart of the machine the last records may not have reached the disk; what was
        // reserved has. And a record that is lost was of this owner's successor, who can have
        // reserved once.
        let lost = if last.whole { 0 } else { RESERVED_AT_ONCE };
        let same = last.whole && old.boot.is(self.boot);
        let after = if same { old.epoch } else { old.reserved };
        let spent = || LeaseFileError::Damaged {
            path: self.path.clone(),
        };
        let next = lost
            .checked_add(1)
            .and_then(|next| next.checked_add(after.0));
        let epoch = next.ok_or_else(spent)?;
        let sync = !(same && epoch <= old.reserved.0);
        let reserved = if sync {
            epoch.saturating_add(RESERVED_AT_ONCE - 1)
        } else {
            old.reserved.0
        };
        let record = Record {
            // Goes into the block of a lost one, whichever of the two was later.
            seq: old.seq.checked_add(1).ok_or_else(spent)?,
            boot: self.boot,
            epoch: Epoch(epoch),
            reserved: Epoch(reserved),
            pid: std::process::id(),
            start_time: self.start_time,
            pid_namespace: self.pid_namespace,
            name: self.options.name.clone(),
        };
        Ok((record, sync))
    }

    /// What the file says of the last owner.
    fn last(&self) -> Result<Last, LeaseFileError> {
        let mut content = [0; BLOCK + SLOT];
        let mut length = 0;
        while length < content.len() {
            match self.file.read_at(&mut content[length..], length as u64) {
                Ok(0) => break,
                Ok(more) => length += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.failed("read", source)),
            }
        }
        let slots = [&content[..SLOT], &content[BLOCK..]];
        let records = slots.map(Record::decode);
        let untouched = slots.map(|slot| slot.iter().all(|byte| *byte == 0));
        let (record, whole) = match records {
            // The second record of all goes into the first block.
            [None, Some(record)] => {
                let first = untouched[0] && record.seq == 1;
                (record, first)
            }
            [Some(record), None] => (record, false),
            [Some(one), Some(two)] if one.seq > two.seq => (one, true),
            [Some(_), Some(two)] => (two, true),
            [None, None] if content.iter().all(|byte| *byte == 0) => {
                let record = None;
                return Ok(Last {
                    record,
                    whole: true,
                });
            }
            [None, None] => {
                return Err(LeaseFileError::Damaged {
                    path: self.path.clone(),
                });
            }
        };
        let record = Some(record);
        Ok(Last { record, whole })
    }

    /// Writes into the block that does not hold the last record.
    fn write(&self, record: &Record, sync: bool) -> Result<(), LeaseFileError> {
        let place = (record.seq % 2) * BLOCK as u64;
        let written = self.file.write_all_at(&record.encode(), place);
        let synced = written.and_then(|()| {
            if sync {
                self.file.sync_all()?;
                File::open(&self.dir)?.sync_all()?;
            }
            Ok(())
        });
        synced.map_err(|source| self.failed("written", source))
    }

    fn failed(&self, what: &'static str, source: io::Error) -> LeaseFileError {
        LeaseFileError::Io {
            path: self.path.clone(),
            what,
            source,
        }
    }
}

impl Drop for LeaseFile {
    fn drop(&mut self) {
        if let Err(error) = self.release() {
            tracing::warn!(%error, "the lock is held until this process ends");
        }
    }
}

fn open_file(path: &Path) -> Result<File, LeaseFileError> {
    let mut options = File::options();
    options.read(true).write(true).create(true).mode(0o600);
    // Not through a link: it could lead to a file that others lock, or to another filesystem.
    let nofollow = rustix::fs::OFlags::NOFOLLOW.bits();
    options.custom_flags(nofollow.cast_signed());
    options.open(path).map_err(|source| LeaseFileError::Io {
        path: path.to_owned(),
        what: "opened",
        source,
    })
}

fn check_filesystem(dir: &Path, options: &Options) -> Result<(), LeaseFileError> {
    let found = File::open(dir).and_then(|opened| {
        let is_dir = opened.metadata()?.is_dir();
        Ok((is_dir, filesystem::of(&opened)?))
    });
    let found = match found {
        Ok((true, found)) => found,
        Ok((false, _)) => return Err(LeaseFileError::NotADirectory { dir: dir.into() }),
        Err(source) => {
            return Err(LeaseFileError::Directory {
                dir: dir.into(),
                source,
            });
        }
    };
    let trusted = options.trust_filesystem && !matches!(found, Filesystem::Network { .. });
    if found.locks_exclude() || trusted {
        return Ok(());
    }
    let dir = dir.to_owned();
    Err(match found {
        Filesystem::Network { name } => LeaseFileError::Network { dir, found: name },
        _ => LeaseFileError::Untrusted { dir, found },
    })
}

#[cfg(test)]
mod tests;
