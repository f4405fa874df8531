//! Exclusive locks of whole files (flock(2)), and who has one.
//!
//! A flock belongs to the open file, not to the process: a child that was forked while it was open
//! holds it too, and keeps it when its parent dies. Therefore [`unlock`] says so to the kernel
//! instead of relying on a close; it ends the lock for all copies of the descriptor.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{FlockOperation, flock, makedev};

/// Tries to lock a file for this open file alone; `false` if another one has it. Never waits.
///
/// # Errors
/// The filesystem has no locks, or the kernel no memory. Not locked.
pub fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Gives the lock up, also for every copy of the descriptor in whatever process.
///
/// # Errors
/// Only for a descriptor that cannot be locked at all.
pub fn unlock(file: impl AsFd) -> io::Result<()> {
    Ok(flock(file, FlockOperation::Unlock)?)
}

/// Who has the lock of a file, as far as `/proc` shows it to this user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holders {
    /// The process that locked it, by `/proc/locks`. It may have ended and left the lock to a child
    /// that inherited the descriptor. `None` when nobody has it, or somebody of another pid
    /// namespace.
    pub taken_by: Option<u32>,
    /// The processes that have the locked open file among their descriptors now (`fdinfo` shows
    /// the lock), in rising order. Others' processes are seen by root only.
    pub held_by: Vec<u32>,
}

/// Looks up who has the flock of `file`. Costs a look at every descriptor of every process: for
/// messages, not for loops.
///
/// # Errors
/// `file` cannot be examined. What `/proc` does not show is left out.
pub fn holders(file: &File) -> io::Result<Holders> {
    let metadata = file.metadata()?;
    let inode = Inode {
        dev: metadata.dev(),
        ino: metadata.ino(),
    };
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    Ok(Holders {
        taken_by: taken_by(&locks, inode),
        held_by: held_by(inode),
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inode {
    dev: u64,
    ino: u64,
}

/// One lock as `/proc/locks` shows it: `1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF`. Lines of
/// those who wait have `->` behind the number.
fn parse_lock(line: &str) -> Option<(u32, Inode)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    if fields.next()? != "FLOCK" {
        return None;
    }
    let pid = fields.nth(2)?.parse().ok()?;
    let mut place = fields.next()?.split(':');
    let number = |text: Option<&str>| u32::from_str_radix(text?, 16).ok();
    let (major, minor) = (number(place.next())?, number(place.next())?);
    let inode = Inode {
        dev: makedev(major, minor),
        ino: place.next()?.parse().ok()?,
    };
    Some((pid, inode))
}

fn taken_by(locks: &str, wanted: Inode) -> Option<u32> {
    let all: Vec<_> = locks.lines().filter_map(parse_lock).collect();
    let exact = all.iter().find(|(_, inode)| *inode == wanted);
    // With btrfs and overlayfs the device of stat is not the one in this table.
    let by_number = || {
        let mut same = all.iter().filter(|(_, inode)| inode.ino == wanted.ino);
        same.next().filter(|_| same.next().is_none())
    };
    let pid = exact.or_else(by_number).map(|(pid, _)| *pid);
    pid.filter(|pid| *pid > 0)
}

/// The processes with a descriptor of this file through which it is locked.
fn held_by(wanted: Inode) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut found: Vec<u32> = pids.filter(|pid| holds(*pid, wanted)).collect();
    found.sort_unstable();
    found
}

fn holds(pid: u32, wanted: Inode) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten();
    descriptors.flatten().any(|entry| {
        let same = fs::metadata(entry.path())
            .is_ok_and(|found| (found.dev(), found.ino()) == (wanted.dev, wanted.ino));
        let info = || {
            let number = entry.file_name();
            fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", number.to_string_lossy()))
        };
        // Shown only for the open file that has the lock (proc_pid_fdinfo(5)).
        same && info().is_ok_and(|info| {
            let mut locks = info.lines().filter_map(|line| line.strip_prefix("lock:"));
            locks.any(|lock| parse_lock(lock).is_some())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
1: POSIX  ADVISORY  WRITE 11 fe:00:5678 0 EOF
2: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF
2: -> FLOCK  ADVISORY  WRITE 1235 fe:00:5678 0 EOF
3: FLOCK  ADVISORY  WRITE 77 00:1f:99 0 EOF
4: FLOCK  ADVISORY  WRITE 0 00:1f:100 0 EOF
nonsense
5: FLOCK
";

    fn inode(major_number: u32, minor_number: u32, ino: u64) -> Inode {
        let dev = makedev(major_number, minor_number);
        Inode { dev, ino }
    }

    #[test]
    fn the_table_of_the_kernel_is_read() {
        assert_eq!(taken_by(TABLE, inode(0xfe, 0, 5678)), Some(1234));
        assert_eq!(taken_by(TABLE, inode(0, 0x1f, 99)), Some(77));
        assert_eq!(taken_by(TABLE, inode(9, 9, 99)), Some(77), "by its number");
        assert_eq!(taken_by(TABLE, inode(0, 0x1f, 100)), None, "not of here");
        assert_eq!(taken_by(TABLE, inode(0, 0x1f, 5)), None);
        assert_eq!(taken_by("", inode(0, 0, 0)), None);
    }
}
