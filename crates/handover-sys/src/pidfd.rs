//! Processes held by descriptor: a pid can be reused, a pidfd cannot.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::claim::Claim;
use crate::signal::Signal;
use crate::wait::{Taking, Whose, ended};

pub use crate::process::{is_same_process, start_time};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// It called `exit` with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It is gone, but its status went to somebody else (it was not our child, or another part
    /// of this process reaped it).
    Unknown,
}

impl Exit {
    /// Whether the process exited with code 0.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(number) => match Signal::from_number(*number) {
                Some(signal) => write!(f, "killed by {signal}"),
                None => write!(f, "killed by signal {number}"),
            },
            Self::Unknown => f.write_str("ended, status unknown"),
        }
    }
}

/// One process, however often its pid is reused.
///
/// The descriptor is close-on-exec and becomes readable when the process ends, so an event loop
/// can wait for it (it implements [`AsFd`] and [`AsRawFd`]). Dropping it neither kills nor reaps:
/// a child of ours that nobody waits for stays a zombie until
/// [`reap_orphans`](crate::reap::reap_orphans) runs or this process ends.
#[derive(Debug)]
pub struct Pidfd {
    fd: OwnedFd,
    pid: u32,
    claim: Mutex<Option<Claim>>,
    exit: OnceLock<Exit>,
}

impl Pidfd {
    /// Opens the process that has `pid` now.
    ///
    /// The pid may have been reused since it was learnt; compare [`start_time`] afterwards when
    /// that matters. A child opened this way is not protected from
    /// [`reap_orphans`](crate::reap::reap_orphans); name it in the `owned` predicate.
    ///
    /// # Errors
    /// `ESRCH` when there is no such process, `EINVAL` when `pid` is 0 or the id of a thread that
    /// is not a process leader, `EMFILE` when no descriptor is free. Nothing changed.
    pub fn open(pid: u32) -> io::Result<Self> {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let fd = pidfd_open(raw.ok_or(Errno::INVAL)?, PidfdFlags::empty())?;
        Ok(Self {
            fd,
            pid,
            claim: Mutex::new(None),
            exit: OnceLock::new(),
        })
    }

    /// The descriptor `clone` gave for a child of ours that nobody can have reaped yet.
    pub(crate) fn of_child(fd: OwnedFd, pid: u32, claim: Claim) -> Self {
        Self {
            fd,
            pid,
            claim: Mutex::new(Some(claim)),
            exit: OnceLock::new(),
        }
    }

    /// The descriptor the kernel gave for the process at the other end of a socket.
    pub(crate) fn of_peer(fd: OwnedFd, pid: u32) -> Self {
        Self {
            fd,
            pid,
            claim: Mutex::new(None),
            exit: OnceLock::new(),
        }
    }

    /// The pid, as seen from this process's pid namespace. Good for reports; once the process is
    /// reaped another one may carry it.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal. It reaches exactly this process, never one that reuses its pid.
    ///
    /// # Errors
    /// `ESRCH` when it has ended and was reaped, `EPERM` when it belongs to somebody else. The
    /// signal was not sent.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        // SAFETY: plain numbers and a null `siginfo_t`, which the kernel documents as "as kill(2)".
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.fd.as_raw_fd(),
                signal.number(),
                std::ptr::null::<libc::siginfo_t>(),
                0u32,
            )
        };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// How the process ended; `None` while it runs. Never blocks.
    ///
    /// A child is reaped by the call that first returns its exit; later calls repeat the answer.
    /// For a process that is not our child the answer is [`Exit::Unknown`] once it has ended.
    ///
    /// # Errors
    /// Only what `waitid` and `poll` cannot do at all (seccomp); nothing changed.
    pub fn try_wait(&self) -> io::Result<Option<Exit>> {
        if let Some(exit) = self.exit.get() {
            return Ok(Some(*exit));
        }
        // Held across the wait so that of two callers one reaps and the other sees the answer.
        let mut claim = self.claim.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(exit) = self.exit.get() {
            return Ok(Some(*exit));
        }
        let exit = match ended(&Whose::Pidfd(self.fd.as_fd()), Taking::Reap) {
            Ok(found) => found.map(|(_, exit)| exit),
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => self
                .poll_ended(Some(Duration::ZERO))?
                .then_some(Exit::Unknown),
            Err(error) => return Err(error),
        };
        if let Some(exit) = exit {
            *claim = None;
            return Ok(Some(*self.exit.get_or_init(|| exit)));
        }
        Ok(None)
    }

    /// Whether the process has ended; reaps nothing. False where the kernel does not say.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.poll_ended(Some(Duration::ZERO)).unwrap_or(false)
    }

    /// Blocks the calling thread until the process ends or `timeout` is over; `None` is the
    /// latter. Without a time-out it waits for ever. Reaps like [`Pidfd::try_wait`].
    ///
    /// # Errors
    /// As [`Pidfd::try_wait`].
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<Option<Exit>> {
        let started = Instant::now();
        loop {
            if let Some(exit) = self.try_wait()? {
                return Ok(Some(exit));
            }
            let left = timeout.map(|timeout| timeout.saturating_sub(started.elapsed()));
            if left == Some(Duration::ZERO) {
                return Ok(None);
            }
            self.poll_ended(left)?;
        }
    }

    /// Duplicates descriptor `number` out of the process. Both then refer to the same open file;
    /// the new one is close-on-exec.
    ///
    /// # Errors
    /// `EBADF` when the process has no such descriptor, `EPERM` without ptrace permission over it
    /// (same user and dumpable, or `CAP_SYS_PTRACE`; the Yama module can forbid more), `ENOSYS`
    /// before Linux 5.6, `ESRCH` when it has ended. Nothing changed.
    pub fn duplicate(&self, number: RawFd) -> io::Result<OwnedFd> {
        Ok(pidfd_getfd(&self.fd, number, PidfdGetfdFlags::empty())?)
    }

    /// Whether the process has ended, waiting at most `timeout` for that.
    fn poll_ended(&self, timeout: Option<Duration>) -> io::Result<bool> {
        // A time-out too large for the kernel's type is as good as none.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Pidfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Pidfd {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
