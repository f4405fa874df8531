//! Why an instance did not become the owner.

use std::io;
use std::time::Duration;

use crate::error::ReadyError;
use crate::lease::LeaseFileError;
use crate::service::ServiceError;

/// Why [`Instance::own`](crate::Instance::own) did not make this instance the owner. It must not
/// serve: end the process with an error, then whoever served before serves on (I5). The service was
/// dropped, and the data directory is not locked by this process.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnError {
    /// The data directory cannot be owned. [`LeaseFileError::Held`] says by whom it is.
    #[error(transparent)]
    Lease(#[from] LeaseFileError),
    /// The coordinator runs the service in overlap mode, where two versions may write at once.
    #[error(
        "the coordinator runs this service in overlap mode, where both versions serve at once; \
         start it with `handover run --exclusive`"
    )]
    Overlap,
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
    /// The versions of some state do not fit. Nothing was given up.
    #[error("{reason}; the older instance serves on")]
    Mismatch {
        /// Each item that does not fit, and what to do.
        reason: String,
    },
    /// State did not arrive as it must.
    #[error("the state of the older instance did not arrive: {reason}; it serves on")]
    State {
        /// What happened.
        reason: String,
    },
    /// [`Service::warm`](crate::Service::warm) failed.
    #[error("the warm hook failed: {0}")]
    Warm(#[source] ServiceError),
    /// [`Service::activate`](crate::Service::activate) failed.
    #[error("the activate hook failed: {0}")]
    Activate(#[source] ServiceError),
    /// The thread for the hooks of a [`blocking::Service`](crate::blocking::Service) is not to be
    /// had.
    #[error("no thread can be started for the hooks of the service: {0}; raise the limit of tasks")]
    Thread(#[source] io::Error),
    /// It was told to go before it was ready.
    #[error("this instance was told to stop before it was ready")]
    Terminated,
    /// Whoever started the process waits for `READY=1` and cannot be told. It owns the data until
    /// the process ends.
    #[error("READY=1 could not be sent to NOTIFY_SOCKET: {0}")]
    Notify(#[source] io::Error),
    /// `own` or `ready` was called before.
    #[error("this instance was started already; call `own` once, and not `ready`")]
    Twice,
    /// The runtime is being shut down.
    #[error("the runtime of this instance is shutting down")]
    Ended,
}

impl From<ReadyError> for OwnError {
    fn from(error: ReadyError) -> Self {
        match error {
            ReadyError::NoWelcome { within } => Self::NoWelcome { within },
            ReadyError::CoordinatorGone => Self::CoordinatorGone,
            ReadyError::Dismissed { reason } => Self::Dismissed { reason },
            ReadyError::Exclusive => Self::Overlap,
            ReadyError::Terminated => Self::Terminated,
            ReadyError::Notify(error) => Self::Notify(error),
            ReadyError::Twice => Self::Twice,
            ReadyError::Ended => Self::Ended,
        }
    }
}
