//! Why nothing was taken over. Each message says who serves and what to do.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use handover_sys::passing::PassError;

/// Why a service did not take over, or cannot be taken over from, by the exchange of zero-downtime.
#[derive(Debug, thiserror::Error)]
pub enum ZeroError {
    /// The exchange passes a listener and no data.
    #[error(
        "`zero` hands over a listener and no data, so it does not go with exclusive mode; nothing \
         was started. Leave one of the two out"
    )]
    Exclusive,
    /// Which listener is exchanged is not known.
    #[error(
        "{found} listeners and the exchange passes one; name it with --zero-listener. Nothing was \
         started"
    )]
    WhichListener {
        /// How many there are.
        found: usize,
    },
    /// There is no listener of this name.
    #[error(
        "there is no listener {name:?} to exchange; name one that is given with -l. Nothing was \
         started"
    )]
    NoSuchListener {
        /// The name.
        name: String,
    },
    /// Go's side takes TCP listeners and nothing else.
    #[error(
        "listener {name} is no TCP listener, and the exchange passes nothing else; name another \
         with --zero-listener. Nothing was started"
    )]
    NotTcp {
        /// The name.
        name: String,
    },
    /// Nobody to take over from, and nothing to bind.
    #[error(
        "nobody serves at {}, so there is a listener to bind and none is given: add -l \
         NAME=ADDRESS. Nothing was started",
        path.display()
    )]
    NothingToBind {
        /// The path.
        path: PathBuf,
    },
    /// `take`, and nobody serves.
    #[error(
        "{} {}: nobody to take over from, and nothing was started. Start the first one with \
         `handover run --zero {} -l NAME=ADDRESS -- PROGRAM`",
        path.display(),
        if *stale { "is a socket that no process listens on" } else { "does not exist" },
        path.display()
    )]
    NobodyServes {
        /// The path.
        path: PathBuf,
        /// Whether a socket of a dead process stands there.
        stale: bool,
    },
    /// Something else is at the path.
    #[error(
        "{} is {found}, not a socket; it was left alone and nothing was started. Remove it or \
         choose another path",
        path.display()
    )]
    NotASocket {
        /// The path.
        path: PathBuf,
        /// What it is.
        found: String,
    },
    /// The path does not fit into a socket address.
    #[error(
        "{} has {found} bytes, a socket's path at most {limit}; nothing was started. Choose a \
         shorter one",
        path.display()
    )]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        found: usize,
        /// The kernel's limit.
        limit: usize,
    },
    /// Its directory is missing.
    #[error("there is no directory for {}; create it. Nothing was started", path.display())]
    NoDirectory {
        /// The path.
        path: PathBuf,
    },
    /// The path cannot be connected to.
    #[error(
        "{} cannot be connected to ({source}); whoever serves there serves on, and nothing was \
         started. Run this as the user that owns it, uid {owner}",
        path.display()
    )]
    NotPermitted {
        /// The path.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// The kernel's reason.
        source: io::Error,
    },
    /// Connecting failed for another reason.
    #[error(
        "{} cannot be connected to: {source}; whoever serves there serves on, and nothing was \
         started",
        path.display()
    )]
    Unreachable {
        /// The path.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// Whoever listens belongs to another user.
    #[error(
        "process {pid} at {} belongs to uid {uid}, expected {expected} or root; it serves on and \
         nothing was started. Run this as its user, `setpriv --reuid {uid} --clear-groups …`, if you \
         trust it",
        path.display()
    )]
    AnotherUser {
        /// The path.
        path: PathBuf,
        /// Who listens.
        pid: u32,
        /// Its user.
        uid: u32,
        /// Ours.
        expected: u32,
    },
    /// Whoever listens has no TCP listener to give.
    #[error(
        "process {pid} ({program}) listens at {} and on no TCP port: another program's socket. It \
         was asked for nothing and serves on; nothing was started. Give the path of the server's",
        path.display()
    )]
    AnotherProgram {
        /// The path.
        path: PathBuf,
        /// Who listens.
        pid: u32,
        /// Its command line.
        program: String,
    },
    /// It answered what a giver does not.
    #[error(
        "process {pid} at {} is no giver: expected one descriptor and a zero byte, found {found}. \
         Nothing was started; whatever it is, it was sent the four bytes ZERO",
        path.display()
    )]
    NotAGiver {
        /// The path.
        path: PathBuf,
        /// Who listens; 0 when it cannot be seen.
        pid: u32,
        /// What came.
        found: String,
    },
    /// The one that serves, serves elsewhere.
    #[error(
        "process {pid} serves {found}, and listener {name} is to be {wanted}; it serves on and \
         nothing was started. Give -l {name}={found}, or another path"
    )]
    AnotherAddress {
        /// Who serves.
        pid: u32,
        /// The listener.
        name: String,
        /// As it was given.
        wanted: String,
        /// Where it is.
        found: SocketAddr,
    },
    /// The listener belongs to another network.
    #[error(
        "the listener of process {pid} is in another network namespace, where nobody reaches this \
         one; it serves on and nothing was started. Share its network (`--network container:NAME`, or \
         the host's) and run this again"
    )]
    AnotherNamespace {
        /// Who serves.
        pid: u32,
    },
    /// Another taker was first.
    #[error(
        "another process took over from process {pid} at the same time, and serves; nothing was \
         started here. To replace it, run this again"
    )]
    AnotherTaker {
        /// Who served.
        pid: u32,
    },
    /// The descriptor was lost on the way in.
    #[error(
        "the listener of process {pid} did not arrive: {source}. That process serves for 5 s more and \
         then nobody does: raise the limit and start with `handover run` at once"
    )]
    NotReceived {
        /// Who gave it.
        pid: u32,
        /// The reason.
        source: PassError,
    },
}

impl ZeroError {
    /// Whether it is what was asked for that is wrong, rather than what was found.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Exclusive
                | Self::WhichListener { .. }
                | Self::NoSuchListener { .. }
                | Self::NotTcp { .. }
                | Self::NothingToBind { .. }
                | Self::TooLong { .. }
        )
    }
}
