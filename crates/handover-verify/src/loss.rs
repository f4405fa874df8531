//! What a lost request is, by kind.

use serde::{Deserialize, Serialize};
use std::io;

/// How a request was lost. Every request that was due and not answered as
/// expected is counted under exactly one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LossKind {
    /// The connection was refused: nobody listened.
    Refused,
    /// The connection was reset before any byte of the answer.
    Reset,
    /// The connection was closed before any byte of the answer.
    Cut,
    /// The answer began and did not end, whether by close or by reset.
    Truncated,
    /// No complete answer within the time-out, counted from when it was due.
    TimedOut,
    /// An answer that is not the expected one, or not HTTP.
    Wrong,
    /// Due, but this machine could not send it: the limit on requests in
    /// flight, on descriptors or on local ports was reached.
    NotSent,
    /// Anything else; the example's text says what.
    Other,
}

impl LossKind {
    /// All kinds, in the order reports show them.
    pub const ALL: [Self; 8] = [
        Self::Refused,
        Self::Reset,
        Self::Cut,
        Self::Truncated,
        Self::TimedOut,
        Self::Wrong,
        Self::NotSent,
        Self::Other,
    ];

    /// Two words at most, for tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Cut => "cut",
            Self::Truncated => "truncated",
            Self::TimedOut => "timed out",
            Self::Wrong => "wrong",
            Self::NotSent => "not sent",
            Self::Other => "other",
        }
    }

    /// One sentence for someone who sees the kind for the first time.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Refused => "nobody listened on the address",
            Self::Reset => "the connection was reset before any byte of the answer",
            Self::Cut => "the connection was closed before any byte of the answer",
            Self::Truncated => "the answer began and did not end",
            Self::TimedOut => "no complete answer in time, counted from when it was due",
            Self::Wrong => "an unexpected status or body, or not HTTP",
            Self::NotSent => "this machine ran out of room to send it; lower the rate",
            Self::Other => "see the example",
        }
    }

    pub(crate) fn index(self) -> usize {
        match self {
            Self::Refused => 0,
            Self::Reset => 1,
            Self::Cut => 2,
            Self::Truncated => 3,
            Self::TimedOut => 4,
            Self::Wrong => 5,
            Self::NotSent => 6,
            Self::Other => 7,
        }
    }
}

/// One lost request: its kind and what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Loss {
    pub(crate) kind: LossKind,
    pub(crate) text: String,
}

impl Loss {
    pub(crate) fn new(kind: LossKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
    }

    /// A connection that could not be made.
    pub(crate) fn connecting(error: &io::Error) -> Self {
        use rustix::io::Errno;
        let kind = match error.kind() {
            io::ErrorKind::ConnectionRefused => LossKind::Refused,
            io::ErrorKind::ConnectionReset => LossKind::Reset,
            io::ErrorKind::TimedOut => LossKind::TimedOut,
            // No free local port: this side's limit, not the server's fault.
            io::ErrorKind::AddrNotAvailable => LossKind::NotSent,
            _ => match Errno::from_io_error(error) {
                Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    LossKind::NotSent
                }
                _ => LossKind::Other,
            },
        };
        Self::new(kind, format!("connect: {error}"))
    }
}
