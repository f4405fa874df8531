//! Why a node could not be asked, or did not do what it was asked.

use crate::client::ClientError;
use crate::exit::ExitCode;
use handover_hub::admin::view::{Complaint, Mishap};
use std::io;
use std::path::PathBuf;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HubError {
    #[error(
        "no node of a hub runs here: there is no admin socket in {root}; start a program that runs \
         one, watch `handover hub demo`, or say with --socket where it is"
    )]
    NoNode { root: PathBuf },
    #[error(
        "no node of a hub runs here: {} is stale, nobody listens on it; its processes run on other \
         nodes if there are any: start it again, or ask one of them there", socket.display()
    )]
    Stale { socket: PathBuf },
    #[error("several nodes run here, name one with --socket:\n  {}", paths(.sockets))]
    Several { sockets: Vec<PathBuf> },
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "no node listens at {}: {source}; without --socket the one that runs here is found by itself",
        socket.display()
    )]
    Connect {
        socket: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "the node hung up before it answered {asked} ({reason}); it may have died: its processes \
         start again on other nodes, ask one of those"
    )]
    HungUp { asked: String, reason: String },
    #[error(
        "the node's answer to {asked} is not understood ({reason}); this is handover {}, see the \
         node's version in `handover hub nodes --format json`. It said: {quoted}",
        env!("CARGO_PKG_VERSION")
    )]
    NotUnderstood {
        asked: String,
        reason: String,
        quoted: String,
    },
    #[error("{}", .0.error)]
    Complaint(Complaint),
    #[error("the node is gone; its processes start again on other nodes: ask one of those")]
    Ended,
}

fn paths(sockets: &[PathBuf]) -> String {
    let paths: Vec<String> = sockets.iter().map(|s| s.display().to_string()).collect();
    paths.join("\n  ")
}

impl HubError {
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::NoNode { .. } | Self::Stale { .. } => ExitCode::NobodyServes,
            Self::Several { .. } => ExitCode::Usage,
            Self::Complaint(complaint) => match complaint.kind {
                Mishap::Usage => ExitCode::Usage,
                Mishap::Refused | Mishap::Denied => ExitCode::Refused,
                Mishap::NotMoved => ExitCode::RolledBack,
                Mishap::TimedOut => ExitCode::TimedOut,
            },
            Self::Connect { source, .. } => match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    ExitCode::NobodyServes
                }
                _ => ExitCode::Unexpected,
            },
            Self::Unreadable { .. }
            | Self::HungUp { .. }
            | Self::NotUnderstood { .. }
            | Self::Ended => ExitCode::Unexpected,
        }
    }
}

impl From<ClientError> for HubError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Connect { socket, source } => Self::Connect { socket, source },
            ClientError::HungUp { asked, reason } => Self::HungUp { asked, reason },
            ClientError::NotUnderstood {
                asked,
                reason,
                quoted,
            } => Self::NotUnderstood {
                asked,
                reason,
                quoted,
            },
            ClientError::TooLong { asked } => Self::NotUnderstood {
                asked,
                reason: "it is too long".to_owned(),
                quoted: String::new(),
            },
            ClientError::Denied { reason } => Self::Complaint(Complaint {
                kind: Mishap::Denied,
                error: reason,
            }),
            ClientError::Refused { reason, .. } | ClientError::Failed { reason, .. } => {
                Self::Complaint(Complaint {
                    kind: Mishap::Refused,
                    error: reason,
                })
            }
        }
    }
}
