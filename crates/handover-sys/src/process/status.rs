//! Who a process is: its user, its signals, its threads' states.

use std::fs;
use std::io;

use super::read_proc;
use crate::signal::Signal;

/// A set of signals as `/proc` shows it: bit n - 1 for signal n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalSet(u64);

impl SignalSet {
    /// Whether the signal is in it.
    pub fn contains(self, signal: Signal) -> bool {
        self.0 & (1 << (signal.number() - 1)) != 0
    }
}

/// What `/proc/<pid>/status` says of a process (proc_pid_status(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The command's name, at most 15 bytes; programs may change it.
    pub name: String,
    /// Its parent; 0 when that is not visible here.
    pub parent: u32,
    /// Effective user id.
    pub uid: u32,
    /// Signals that have a handler.
    pub caught: SignalSet,
    /// Signals that are ignored.
    pub ignored: SignalSet,
}

/// Reads who a process is.
///
/// # Errors
/// `NotFound` when there is no such process; `InvalidData` when `/proc` shows something else than
/// proc_pid_status(5) describes.
pub fn status(pid: u32) -> io::Result<Status> {
    let bytes = read_proc(pid, "status")?;
    parse(&String::from_utf8_lossy(&bytes)).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("/proc/{pid}/status does not have the fields of proc_pid_status(5)"),
        )
    })
}

fn parse(text: &str) -> Option<Status> {
    let field = |name: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
    };
    let signals = |name| u64::from_str_radix(field(name)?, 16).ok().map(SignalSet);
    Some(Status {
        name: field("Name")?.to_owned(),
        parent: field("PPid")?.parse().ok()?,
        // Real, effective, saved, filesystem.
        uid: field("Uid")?
            .split_ascii_whitespace()
            .nth(1)?
            .parse()
            .ok()?,
        caught: signals("SigCgt")?,
        ignored: signals("SigIgn")?,
    })
}

/// Whether every thread of a process is stopped (SIGSTOP has arrived everywhere), or the process
/// has ended. Stopping takes a moment: a thread may still finish a system call it is in.
pub fn is_stopped(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return true;
    };
    threads.flatten().all(|thread| {
        let stat = fs::read(thread.path().join("stat"));
        let stat = stat.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        // A thread whose file is gone has ended.
        stat.ok()
            .and_then(|text| super::parse_stat(&text))
            .is_none_or(|stat| matches!(stat.state, b'T' | b't' | b'Z' | b'X'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_a_status_are_read() {
        let text = "Name:\tnginx\nUmask:\t0022\nState:\tS (sleeping)\nPPid:\t1\n\
                    Uid:\t0\t33\t0\t0\nSigIgn:\t0000000040001000\nSigCgt:\t0000000198016a07\n";
        let status = parse(text).expect("a status");
        assert_eq!(
            (status.name.as_str(), status.parent, status.uid),
            ("nginx", 1, 33)
        );
        assert!(status.caught.contains(Signal::QUIT) && !status.caught.contains(Signal::KILL));
        assert!(
            status
                .ignored
                .contains(Signal::from_number(13).expect("SIGPIPE"))
        );
        assert_eq!(parse("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_runs() {
        assert!(!is_stopped(std::process::id()));
        let own = status(std::process::id()).expect("its own");
        assert_eq!(own.uid, rustix::process::geteuid().as_raw());
    }
}
