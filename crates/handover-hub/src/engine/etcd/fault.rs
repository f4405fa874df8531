//! Why etcd did not do what was asked.

use std::error::Error as _;
use std::fmt::Write as _;

use etcd_client::Error;
use tonic::Code;

/// What a failed request says about the connection, the lease, and this node's rights.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// No answer, or none from an etcd that has a leader. Another endpoint may do better.
    #[error("{0}")]
    Silent(String),
    /// The connection is not one that both sides trust.
    #[error("{0}")]
    Untrusted(String),
    /// The user, the password or the token is not accepted. A new connection gets a new token.
    #[error("{0}")]
    Credentials(String),
    /// The user may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// etcd takes no writes: its space is used up.
    #[error("{0}")]
    Full(String),
    /// There is no such lease.
    #[error("the lease has ended")]
    Ended,
    /// Something else.
    #[error("{0}")]
    Unexpected(String),
}

impl Fault {
    /// Whether a new connection, to the next endpoint, is to be tried.
    pub(super) fn reconnects(&self) -> bool {
        matches!(
            self,
            Self::Silent(_) | Self::Untrusted(_) | Self::Credentials(_)
        )
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::GRpcStatus(status) => status.into(),
            // The one case in which etcd-client 0.21 says so: the answer's time to live is zero.
            Error::LeaseKeepAliveError(_) => Self::Ended,
            Error::TransportError(error) => broken(chain(&error)),
            Error::IoError(error) => broken(error.to_string()),
            Error::WatchError(reason) => Self::Silent(reason),
            error => Self::Unexpected(error.to_string()),
        }
    }
}

impl From<tonic::Status> for Fault {
    fn from(status: tonic::Status) -> Self {
        let message = status.message().to_owned();
        match status.code() {
            Code::NotFound if message.contains("lease") => Self::Ended,
            Code::Unauthenticated => Self::Credentials(message),
            // etcd's `server/etcdserver/api/v3rpc/rpctypes/error.go`.
            Code::InvalidArgument | Code::FailedPrecondition if of_users(&message) => {
                Self::Credentials(message)
            }
            Code::PermissionDenied => Self::Forbidden(message),
            Code::ResourceExhausted if message.contains("space exceeded") => Self::Full(message),
            // No answer from etcd but from the library, about the connection.
            _ if status.source().is_some() => broken(chain(&status)),
            Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
            | Code::Aborted
            | Code::ResourceExhausted
            | Code::Internal => Self::Silent(message),
            code => Self::Unexpected(format!("{code:?}: {message}")),
        }
    }
}

fn of_users(message: &str) -> bool {
    [
        "authentication",
        "user name is empty",
        "invalid auth token",
        "revision of auth store is old",
    ]
    .iter()
    .any(|words| message.contains(words))
}

/// rustls tells by its words only, through three libraries: "invalid peer certificate", "received
/// fatal alert", "received corrupt message" where the other side speaks no TLS.
fn broken(reason: String) -> Fault {
    let of_tls = ["certificate", "fatal alert", "corrupt message", "tls"];
    let lower = reason.to_lowercase();
    if of_tls.iter().any(|words| lower.contains(words)) {
        Fault::Untrusted(reason)
    } else {
        Fault::Silent(reason)
    }
}

/// An error with its causes, those left out that only say again what was said.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = match error.downcast_ref::<tonic::Status>() {
        Some(status) => status.message().to_owned(),
        None => error.to_string(),
    };
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            let _ = write!(text, ": {words}");
        }
        cause = error.source();
    }
    text
}
