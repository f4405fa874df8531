//! What can go wrong on a takeover socket, one variant per cause.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use handover_proto::takeover::RefusedFor;
use handover_sys::control::BindError;

/// Why nobody could be talked to at a takeover socket. Nothing was changed or removed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nothing is there, or a socket that no process listens on.
    #[error("nobody serves at {}: start the program first, or look for another path", path.display())]
    Nobody {
        /// The path.
        path: PathBuf,
    },
    /// Something else is at the path.
    #[error(
        "{} is {found}, not a takeover socket; it was left alone: remove it, or choose another \
         path with Takeover::socket",
        path.display()
    )]
    NotASocket {
        /// The path.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// Whoever listens is somebody else.
    #[error(
        "{} is served by uid {found}, and this process has uid {expected}; it is not talked to",
        path.display()
    )]
    Stranger {
        /// The path.
        path: PathBuf,
        /// Our uid.
        expected: u32,
        /// The uid of whoever listens.
        found: u32,
    },
    /// Whoever listens speaks another language.
    #[error(
        "{} is the socket of another program ({reason}); it was left alone: choose another path \
         with Takeover::socket",
        path.display()
    )]
    Foreign {
        /// The path.
        path: PathBuf,
        /// How it was recognised.
        reason: String,
    },
    /// Whoever listens says nothing.
    #[error(
        "{}listens at {} and did not answer within {within:?}: it is not ready yet, it is stopped, \
         or it is another program; it was left alone",
        .pid.map_or("somebody ".to_owned(), |pid| format!("process {pid} ")),
        path.display()
    )]
    NoAnswer {
        /// The path.
        path: PathBuf,
        /// The time it had.
        within: Duration,
        /// Who listens, where the kernel says so.
        pid: Option<u32>,
    },
    /// The other side ended before it had said everything.
    #[error("the process that serves at {} ended before it had answered", path.display())]
    Gone {
        /// The path.
        path: PathBuf,
    },
    /// What came cannot be used.
    #[error("the conversation at {} broke: {reason}", path.display())]
    Broken {
        /// The path.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The kernel refused.
    #[error("{} cannot be reached: {source}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

/// Why a program with a [`Takeover`](super::Takeover) did not start. Whoever served before serves
/// on; what is at the path was left alone.
#[derive(Debug, thiserror::Error)]
pub enum TakeoverError {
    /// Whoever is at the socket cannot be talked to.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The incumbent said no.
    #[error("the serving process refused to hand over: {reason}")]
    Refused {
        /// Why, for programs.
        cause: RefusedFor,
        /// Its words.
        reason: String,
    },
    /// Incumbents ended one after another while they were asked.
    #[error(
        "the process that served at {} ended while it was asked, {tries} times; start again when \
         one stays",
        path.display()
    )]
    Restless {
        /// The path.
        path: PathBuf,
        /// How often it was tried.
        tries: u32,
    },
    /// The name of the service is no directory's name.
    #[error(
        "the service {service:?} cannot have a directory of that name; name it without '/', or \
         choose a path with Takeover::socket"
    )]
    Name {
        /// The name.
        service: String,
    },
    /// There is no private directory for the socket.
    #[error("the directory of the takeover socket {} cannot be used: {source}", path.display())]
    Directory {
        /// The path of the socket.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Another process holds the lock beside the socket.
    #[error(
        "{} is locked by another process that starts; try again when that one serves",
        path.display()
    )]
    Locked {
        /// The path of the lock.
        path: PathBuf,
    },
    /// The socket could not be bound.
    #[error("the takeover socket: {0}")]
    Bind(#[from] BindError),
    /// A thread, signal handlers or descriptors could not be had.
    #[error("taking over needs a thread and a few descriptors of its own: {0}")]
    Resources(#[source] io::Error),
}
