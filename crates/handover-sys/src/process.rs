//! What `/proc` tells about a process.

mod status;

use std::fs;
use std::io;

pub use status::{SignalSet, Status, is_stopped, status};

/// The part of `/proc/<pid>/stat` that handover needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) state: u8,
    pub(crate) parent: u32,
    pub(crate) group: u32,
    pub(crate) session: u32,
    pub(crate) start_time: u64,
}

/// Reads the fields behind the command name. The name is the second field, in parentheses, and
/// may itself hold parentheses and spaces, so the last `)` ends it (proc_pid_stat(5)).
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    // `rest` begins with field 3 (state), so field n is at position n - 3.
    let state = *fields.next()?.as_bytes().first()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    let start_time = fields.nth(22 - 7)?.parse().ok()?;
    Some(Stat {
        state,
        parent,
        group,
        session,
        start_time,
    })
}

fn stat(pid: u32) -> io::Result<Stat> {
    // The command name can be any bytes.
    let bytes = read_proc(pid, "stat")?;
    parse_stat(&String::from_utf8_lossy(&bytes)).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("/proc/{pid}/stat does not have the fields of proc_pid_stat(5)"),
        )
    })
}

fn read_proc(pid: u32, file: &str) -> io::Result<Vec<u8>> {
    fs::read(format!("/proc/{pid}/{file}")).map_err(|error| {
        // The process may end between open and read; say the same thing in both cases.
        match error.raw_os_error() {
            Some(libc::ESRCH) => io::Error::new(
                io::ErrorKind::NotFound,
                format!("process {pid} has ended; there is nothing to read about it"),
            ),
            _ => error,
        }
    })
}

/// When a process started, in clock ticks since boot (field 22 of `/proc/<pid>/stat`). Together
/// with the pid it names one process for as long as the machine runs.
///
/// # Errors
/// `NotFound` when there is no such process, `InvalidData` when `/proc` shows something else than
/// proc_pid_stat(5) describes.
pub fn start_time(pid: u32) -> io::Result<u64> {
    Ok(stat(pid)?.start_time)
}

/// Whether `pid` is still the process that started at `start`, by [`start_time`]. A zombie still
/// is; a process that cannot be read is not.
pub fn is_same_process(pid: u32, start: u64) -> bool {
    start_time(pid).is_ok_and(|found| found == start)
}

/// What has become of a process that was named by its pid and [`start_time`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Liveness {
    /// It runs, or is stopped.
    Alive,
    /// It has ended; its parent has not asked how. Its descriptors are closed.
    Zombie,
    /// It is gone, and perhaps another process has its pid.
    Gone,
    /// `/proc` does not show it to this user.
    Unknown,
}

/// Looks whether the process that had `pid` and started at `start` still lives.
pub fn liveness(pid: u32, start: u64) -> Liveness {
    match stat(pid) {
        Ok(found) if found.start_time != start => Liveness::Gone,
        Ok(Stat {
            state: b'Z' | b'X', ..
        }) => Liveness::Zombie,
        Ok(_) => Liveness::Alive,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // With `hidepid` others' processes are missing in /proc, but the kernel knows them.
            let raw = i32::try_from(pid)
                .ok()
                .and_then(rustix::process::Pid::from_raw);
            match raw.map(rustix::process::test_kill_process) {
                Some(Err(rustix::io::Errno::SRCH)) | None => Liveness::Gone,
                Some(_) => Liveness::Unknown,
            }
        }
        Err(_) => Liveness::Unknown,
    }
}

/// The memory and descriptors of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory in bytes, shared pages included (`VmRSS`).
    pub rss_bytes: u64,
    /// Open descriptors.
    pub descriptors: u64,
}

/// Resident memory and open descriptors of a process.
///
/// # Errors
/// `NotFound` when it has ended, `PermissionDenied` when it belongs to another user.
pub fn usage(pid: u32) -> io::Result<Usage> {
    let status = read_proc(pid, "status")?;
    // A zombie has no memory and so no such line.
    let kibibytes = String::from_utf8_lossy(&status)
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .trim()
                .strip_suffix("kB")?
                .trim()
                .parse()
                .ok()
        })
        .unwrap_or(0u64);
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64;
    Ok(Usage {
        rss_bytes: kibibytes * 1024,
        descriptors,
    })
}

/// The process group of a process.
///
/// # Errors
/// As [`start_time`].
pub fn process_group(pid: u32) -> io::Result<u32> {
    Ok(stat(pid)?.group)
}

/// The session of a process; 0 where its first process is outside of this process's pid namespace,
/// as in a container that was entered (getsid(2)).
///
/// # Errors
/// As [`start_time`].
pub fn session(pid: u32) -> io::Result<u32> {
    Ok(stat(pid)?.session)
}

/// All processes of a process group, in rising order of pid. Zombies count, as they do for the
/// kernel. A process that ends during the scan may be missing or present.
///
/// # Errors
/// Only when `/proc` cannot be read at all.
pub fn process_group_members(pgid: u32) -> io::Result<Vec<u32>> {
    let mut members: Vec<u32> = all()?
        .into_iter()
        .filter(|(_, stat)| stat.group == pgid)
        .map(|(pid, _)| pid)
        .collect();
    members.sort_unstable();
    Ok(members)
}

/// All children, grandchildren and so on of a process, in rising order of pid, without itself. A
/// descendant whose parent has ended belongs to init or to a subreaper and no longer counts;
/// [`process_group_members`] still finds it.
///
/// # Errors
/// Only when `/proc` cannot be read at all.
pub fn descendants(pid: u32) -> io::Result<Vec<u32>> {
    let all = all()?;
    let mut found: Vec<u32> = Vec::new();
    let mut unexplored = vec![pid];
    while let Some(parent) = unexplored.pop() {
        for (child, stat) in &all {
            // The scan is not one moment, so a reused pid could close a circle.
            if stat.parent == parent && *child != pid && !found.contains(child) {
                found.push(*child);
                unexplored.push(*child);
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The children of this process by asking each of its threads. `None` when the kernel was built
/// without `CONFIG_PROC_CHILDREN` or `/proc` is missing.
pub(crate) fn own_children() -> Option<Vec<u32>> {
    let mut children = Vec::new();
    let mut readable = false;
    for task in fs::read_dir("/proc/self/task").ok()?.flatten() {
        if let Ok(text) = fs::read_to_string(task.path().join("children")) {
            readable = true;
            children.extend(
                text.split_ascii_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
    }
    if !readable {
        let own = std::process::id();
        let all = all().ok()?;
        children.extend(
            all.iter()
                .filter(|(_, stat)| stat.parent == own)
                .map(|(pid, _)| *pid),
        );
    }
    Some(children)
}

/// Every process that `/proc` shows. One that ends meanwhile is left out.
fn all() -> io::Result<Vec<(u32, Stat)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok());
        if let Some(pid) = pid
            && let Ok(stat) = stat(pid)
        {
            found.push((pid, stat));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_parentheses_and_spaces_is_skipped() {
        let line = "7 (a) S 9 (b) c) S 11 12 13 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 424242 9 9\n";
        assert_eq!(
            parse_stat(line),
            Some(Stat {
                state: b'S',
                parent: 11,
                group: 12,
                session: 13,
                start_time: 424_242
            })
        );
    }

    #[test]
    fn anything_else_is_no_stat() {
        for text in [
            "",
            ")",
            "1 (x)",
            "1 (x) S",
            "1 (x) S a b c",
            "1 (x) S 1 2 3 4 5",
        ] {
            assert_eq!(parse_stat(text), None, "{text:?}");
        }
    }
}
