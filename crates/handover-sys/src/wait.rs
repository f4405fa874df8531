//! `waitid`, with the pid that `rustix` does not hand out.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::pidfd::Exit;

/// Whose end is awaited.
pub(crate) enum Whose<'a> {
    /// Any child.
    Any,
    /// The child with this pid.
    Pid(u32),
    /// The child this pidfd refers to.
    Pidfd(BorrowedFd<'a>),
}

/// Whether the status is taken (the zombie vanishes) or only looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taking {
    Reap,
    Peek,
}

/// The pid and exit of a child that has ended, without blocking. `None`: none has ended.
///
/// `ECHILD` is an error here: it means there is no such child, so nothing was taken.
pub(crate) fn ended(whose: &Whose<'_>, taking: Taking) -> io::Result<Option<(u32, Exit)>> {
    let (kind, id) = match whose {
        Whose::Any => (libc::P_ALL, 0),
        Whose::Pid(pid) => (libc::P_PID, *pid as libc::id_t),
        Whose::Pidfd(fd) => (libc::P_PIDFD, fd.as_raw_fd() as libc::id_t),
    };
    let mut options = libc::WEXITED | libc::WNOHANG;
    if taking == Taking::Peek {
        options |= libc::WNOWAIT;
    }
    // SAFETY: `siginfo_t` is plain data for which all zeroes is a valid value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: `info` is a live `siginfo_t` that the kernel may write; the other arguments are
        // plain numbers.
        if unsafe { libc::waitid(kind, id, &mut info, options) } == 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: after a successful `waitid` the SIGCHLD fields of the union are the valid ones; when
    // nothing had ended they are the zeroes from above.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    let Some(pid) = u32::try_from(pid).ok().filter(|pid| *pid != 0) else {
        return Ok(None);
    };
    let exit = match info.si_code {
        libc::CLD_EXITED => Exit::Code(status),
        libc::CLD_KILLED | libc::CLD_DUMPED => Exit::Signal(status),
        _ => Exit::Unknown,
    };
    Ok(Some((pid, exit)))
}
