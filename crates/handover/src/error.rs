//! What can go wrong, one variant per cause.

use std::io;
use std::time::Duration;

use handover_proto::manifest::NameError;
use handover_sys::control::BindError;
use handover_sys::inherited::InheritError;

use crate::takeover::TakeoverError;

/// Why an [`Instance`](crate::Instance) did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Inherited descriptors could not be taken.
    #[error("inherited descriptors: {0}")]
    Inherit(#[from] InheritError),
    /// `HANDOVER_INSTANCE` beside a channel is not a number.
    #[error(
        "HANDOVER_INSTANCE must be the number of this instance, found {found:?}; \
         start the program with `handover run`, or unset HANDOVER_SOCKET_FD"
    )]
    BadInstance {
        /// Its value; empty when it is not set.
        found: String,
    },
    /// `HANDOVER_SOCKET_FD` is not a usable channel.
    #[error(
        "the descriptor of HANDOVER_SOCKET_FD is not a connected Unix stream socket ({0}); \
         start the program with `handover run`, or unset the variable"
    )]
    Channel(#[source] io::Error),
    /// The driver of a [`blocking::Instance`](crate::blocking::Instance) could not be set up.
    #[error("an instance needs a thread and four descriptors of its own: {0}")]
    Driver(#[source] io::Error),
    /// The program could not find out who serves, or was not let in.
    #[error(transparent)]
    Takeover(#[from] TakeoverError),
    /// There is no tokio runtime.
    #[error("an instance needs a tokio runtime; start it inside `#[tokio::main]` or `block_on`")]
    NoRuntime,
}

/// Why a listener was not opened. Nothing was bound; a listener that was inherited under the name
/// is still there to be claimed.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The name cannot be one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The name is in use in this instance.
    #[error("a listener named {name:?} was opened already; give each its own name")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// What was inherited under the name is another kind of socket.
    #[error(
        "the inherited listener {name:?} is {found}, but the program asks for {expected}; \
         correct the listener in whatever starts this, or rename one of the two"
    )]
    WrongKind {
        /// The name.
        name: String,
        /// What the program asks for.
        expected: &'static str,
        /// What was inherited.
        found: String,
    },
    /// What was inherited under the name speaks another address family.
    #[error(
        "the inherited listener {name:?} is bound to {found}, but the program asks for {expected}; \
         use the same address family in both places"
    )]
    WrongFamily {
        /// The name.
        name: String,
        /// The address asked for.
        expected: String,
        /// The address it is bound to.
        found: String,
    },
    /// The address means nothing.
    #[error("the address of listener {name:?} cannot be resolved: {source}")]
    Resolve {
        /// The name.
        name: String,
        /// The resolver's reason.
        source: io::Error,
    },
    /// Somebody serves there.
    #[error(
        "listener {name:?}: {address} is served by another process; stop that one, or, if it is an \
         older instance of this service, let both inherit it: handover run -l {name}={address}"
    )]
    InUse {
        /// The name.
        name: String,
        /// The address.
        address: String,
    },
    /// The address needs a privilege.
    #[error(
        "listener {name:?}: this user may not bind {address}; use a port from 1024 on, grant \
         CAP_NET_BIND_SERVICE, or inherit it from systemd or a privileged `handover run`"
    )]
    Denied {
        /// The name.
        name: String,
        /// The address.
        address: String,
    },
    /// The kernel refused to bind.
    #[error("listener {name:?} cannot be bound to {address}: {source}")]
    Bind {
        /// The name.
        name: String,
        /// The address.
        address: String,
        /// The reason.
        source: io::Error,
    },
    /// The Unix socket could not be placed.
    #[error("listener {name:?}: {source}")]
    Path {
        /// The name.
        name: String,
        /// Why.
        source: BindError,
    },
    /// The socket could not be put into the runtime's reactor.
    #[error("listener {name:?} cannot be used: {source}")]
    Adopt {
        /// The name.
        name: String,
        /// The reason.
        source: io::Error,
    },
}

/// Why an instance could not become ready. It must not serve: end the process with an error, then
/// whoever served before serves on (I5).
#[derive(Debug, thiserror::Error)]
pub enum ReadyError {
    /// The coordinator never answered the greeting.
    #[error("the coordinator did not answer within {within:?}; is it stopped or overloaded?")]
    NoWelcome {
        /// The time it had.
        within: Duration,
    },
    /// The coordinator went away while another instance serves.
    #[error("the coordinator went away while an older instance serves; that one serves on")]
    CoordinatorGone,
    /// The incumbent, which coordinates its own handover, gave the attempt up.
    #[error("the older instance gave this handover up and serves on: {reason}")]
    Dismissed {
        /// Its words.
        reason: String,
    },
    /// The service runs in exclusive mode, where a program owns its data before it serves.
    #[error(
        "the service runs in exclusive mode, where a program serves only as the owner of its data; \
         call `own` instead of `ready`, or run it without --exclusive"
    )]
    Exclusive,
    /// It was told to go before it was ready.
    #[error("this instance was told to stop before it was ready")]
    Terminated,
    /// Whoever started the process waits for `READY=1` and cannot be told.
    #[error("READY=1 could not be sent to NOTIFY_SOCKET: {0}")]
    Notify(#[source] io::Error),
    /// `ready` was called before.
    #[error("this instance reported itself ready already; call `ready` once")]
    Twice,
    /// The runtime is being shut down.
    #[error("the runtime of this instance is shutting down")]
    Ended,
}
