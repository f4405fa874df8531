//! Who holds a lock, as the kernel lists it: nobody of ours is asked.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::patience::until;

/// Processes that hold a lock on the file, as `/proc/locks` has it; waiting ones are left out. None
/// if the file does not exist.
///
/// A `flock` names the process that took it, which may have handed the descriptor on. The kernel
/// writes the table page by page while locks come and go, so that a line may be there twice, or not
/// at all: each process is named once, and whoever misses one looks again.
#[must_use]
pub fn holders(file: &Path) -> BTreeSet<u32> {
    let Ok(inode) = fs::metadata(file).map(|metadata| metadata.ino()) else {
        return BTreeSet::new();
    };
    let locks = fs::read_to_string("/proc/locks").expect("/proc/locks");
    let holder = |line: &str| {
        // 1: FLOCK  ADVISORY  WRITE 1234 00:1b:5678 0 EOF, and `1: -> …` for one who waits.
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, _, _, _, pid, place, ..] = fields.as_slice() else {
            return None;
        };
        let same = place.rsplit(':').next()?.parse::<u64>().ok()? == inode;
        if same { pid.parse().ok() } else { None }
    };
    locks.lines().filter_map(holder).collect()
}

/// Waits until this process, and no other, holds a lock on the file.
///
/// # Panics
/// When another one does, or this one never.
pub fn until_held(file: &Path, by: u32) {
    until(&format!("{by} holds the lock"), || {
        let holders = holders(file);
        let others = holders.iter().any(|holder| *holder != by);
        assert!(!others, "{holders:?} hold the lock, and {by} serves");
        !holders.is_empty()
    });
}

#[cfg(test)]
mod tests {
    use super::holders;

    #[test]
    fn a_lock_is_seen_from_outside() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        assert!(holders(file.path()).is_empty());
        file.as_file().lock().expect("locked");
        super::until_held(file.path(), std::process::id());
        file.as_file().unlock().expect("unlocked");
        assert!(holders(file.path()).is_empty());
    }
}
