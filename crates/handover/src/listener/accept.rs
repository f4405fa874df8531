//! What a failing `accept` means.

use std::io;
use std::time::Duration;

use rustix::io::Errno;

/// First pause after a lack of resources: long enough for a few connections to end.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// Longest pause: a person who raises a limit should not wait for us.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Whose trouble it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Of the connection: it is gone, take the next.
    Connection,
    /// Of the process or system: it may pass.
    Resources,
    /// Of the listener: it will not pass.
    Listener,
}

/// Sorts an error of accept(2). The network errors are listed there, under "Error handling": Linux
/// passes on those of the new connection, and a program should treat them like `EAGAIN`.
pub(crate) fn classify(error: &io::Error) -> Trouble {
    match Errno::from_io_error(error) {
        Some(
            Errno::CONNABORTED
            | Errno::CONNRESET
            | Errno::INTR
            | Errno::NETDOWN
            | Errno::PROTO
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::NONET
            | Errno::HOSTUNREACH
            | Errno::NETUNREACH
            | Errno::TIMEDOUT
            | Errno::PERM,
        ) => Trouble::Connection,
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => Trouble::Resources,
        _ => Trouble::Listener,
    }
}

/// Growing pauses while resources are short.
#[derive(Debug)]
pub(crate) struct Patience {
    next: Duration,
}

impl Patience {
    pub(crate) const fn new() -> Self {
        Self { next: FIRST_PAUSE }
    }

    pub(super) async fn wait(&mut self, listener: &str, error: &io::Error) {
        tokio::time::sleep(self.pause(listener, error)).await;
    }

    /// How long to wait after this failure.
    pub(crate) fn pause(&mut self, listener: &str, error: &io::Error) -> Duration {
        if self.next == FIRST_PAUSE {
            tracing::warn!(
                listener,
                %error,
                "cannot accept for now; raise the limit of open files (ulimit -n) if this repeats"
            );
        }
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_sorted_by_whose_they_are() {
        let of = |errno: Errno| classify(&io::Error::from(errno));
        assert_eq!(of(Errno::CONNABORTED), Trouble::Connection);
        assert_eq!(of(Errno::PERM), Trouble::Connection);
        assert_eq!(of(Errno::MFILE), Trouble::Resources);
        assert_eq!(of(Errno::NOMEM), Trouble::Resources);
        assert_eq!(of(Errno::BADF), Trouble::Listener);
        assert_eq!(of(Errno::INVAL), Trouble::Listener);
        assert_eq!(classify(&io::Error::other("x")), Trouble::Listener);
    }
}
