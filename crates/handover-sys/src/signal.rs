//! Signals by name and number.

use std::fmt;

/// A signal that can be sent to a process.
///
/// Holds any number from 1 to 64; the constants name the ones handover sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(i32);

/// The names of the signals this crate knows, for reports.
const NAMES: &[(i32, &str)] = &[
    (libc::SIGHUP, "SIGHUP"),
    (libc::SIGINT, "SIGINT"),
    (libc::SIGQUIT, "SIGQUIT"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGTRAP, "SIGTRAP"),
    (libc::SIGABRT, "SIGABRT"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGKILL, "SIGKILL"),
    (libc::SIGUSR1, "SIGUSR1"),
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGUSR2, "SIGUSR2"),
    (libc::SIGPIPE, "SIGPIPE"),
    (libc::SIGALRM, "SIGALRM"),
    (libc::SIGTERM, "SIGTERM"),
    (libc::SIGCHLD, "SIGCHLD"),
    (libc::SIGCONT, "SIGCONT"),
    (libc::SIGSTOP, "SIGSTOP"),
    (libc::SIGTSTP, "SIGTSTP"),
    (libc::SIGTTIN, "SIGTTIN"),
    (libc::SIGTTOU, "SIGTTOU"),
    (libc::SIGURG, "SIGURG"),
    (libc::SIGXCPU, "SIGXCPU"),
    (libc::SIGXFSZ, "SIGXFSZ"),
    (libc::SIGVTALRM, "SIGVTALRM"),
    (libc::SIGPROF, "SIGPROF"),
    (libc::SIGWINCH, "SIGWINCH"),
    (libc::SIGIO, "SIGIO"),
    (libc::SIGPWR, "SIGPWR"),
    (libc::SIGSYS, "SIGSYS"),
];

impl Signal {
    /// Hang-up: by habit "read your configuration again" or "upgrade".
    pub const HUP: Self = Self(libc::SIGHUP);
    /// Interrupt from the keyboard.
    pub const INT: Self = Self(libc::SIGINT);
    /// Quit; by habit "finish what you have, then exit".
    pub const QUIT: Self = Self(libc::SIGQUIT);
    /// Kill: cannot be caught.
    pub const KILL: Self = Self(libc::SIGKILL);
    /// User-defined 1; by habit "open the logs again".
    pub const USR1: Self = Self(libc::SIGUSR1);
    /// User-defined 2; by habit "upgrade the binary".
    pub const USR2: Self = Self(libc::SIGUSR2);
    /// Terminate: the polite request to end.
    pub const TERM: Self = Self(libc::SIGTERM);
    /// A child changed state.
    pub const CHILD: Self = Self(libc::SIGCHLD);
    /// Continue a stopped process.
    pub const CONT: Self = Self(libc::SIGCONT);
    /// Stop: cannot be caught.
    pub const STOP: Self = Self(libc::SIGSTOP);
    /// The terminal changed size.
    pub const WINCH: Self = Self(libc::SIGWINCH);

    /// The highest signal number of Linux (`_NSIG` in `asm/signal.h` on every architecture but
    /// MIPS, which has more real-time signals that nothing here needs).
    pub(crate) const HIGHEST: i32 = 64;

    /// A signal by number; `None` outside 1 to 64.
    pub const fn from_number(number: i32) -> Option<Self> {
        if number >= 1 && number <= Self::HIGHEST {
            Some(Self(number))
        } else {
            None
        }
    }

    /// A signal by its name, with or without `SIG`, in any case: `TERM`, `sigterm`.
    ///
    /// Real-time signals have no name here; use [`Signal::from_number`].
    pub fn from_name(name: &str) -> Option<Self> {
        let wanted = name.to_ascii_uppercase();
        let wanted = wanted.strip_prefix("SIG").unwrap_or(&wanted);
        NAMES
            .iter()
            .find(|(_, known)| known.strip_prefix("SIG") == Some(wanted))
            .map(|(number, _)| Self(*number))
    }

    /// The number as the kernel counts it.
    pub const fn number(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(number, _)| *number == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        assert_eq!(Signal::from_name("term"), Some(Signal::TERM));
        assert_eq!(Signal::from_name("SIGUSR2"), Some(Signal::USR2));
        assert_eq!(Signal::from_name("SIG"), None);
        assert_eq!(Signal::from_name("nonsense"), None);
        assert_eq!(Signal::TERM.to_string(), "SIGTERM");
        assert_eq!(
            Signal::from_number(40).map(|s| s.to_string()),
            Some("signal 40".to_owned())
        );
        assert_eq!(Signal::from_number(0), None);
        assert_eq!(Signal::from_number(65), None);
    }
}
