//! Why something was not done, one variant for each cause.

use std::time::Duration;

use handover_hub_proto::hook::HandlerTwice;
use handover_hub_proto::identity::{KindName, NameError, ProcessId};
use handover_hub_proto::node::Failure;
use handover_hub_proto::placement::guided::GuideError;

use crate::admin::OperationsError;
use crate::engine::EngineError;
use crate::transport::remote::ListenError;

/// Why a child cannot be described.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChildError {
    /// A name in it is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Its argument cannot be encoded.
    #[error("the argument of {process} cannot be encoded: {source}")]
    Argument {
        /// Which child.
        process: ProcessId,
        /// What the encoder said.
        source: postcard::Error,
    },
}

/// Why a hub does not run. Nothing of it is left running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The name of the hub, of the node or of a kind is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A kind was added twice.
    #[error("kind {0} was added twice; a name stands for one type")]
    KindTwice(KindName),
    /// A hook has two handlers of one id.
    #[error(transparent)]
    Hook(#[from] HandlerTwice),
    /// No engine was chosen.
    #[error("no engine was chosen: give Builder::engine one, such as gossip")]
    NoEngine,
    /// Nothing was said about where it listens.
    #[error("no address was chosen: give Builder::listen the one at which peers reach this node")]
    NoAddress,
    /// The engine ended before the node took part.
    #[error("the engine ended before this node took part")]
    Ended,
    /// The kernel gave no random numbers, of which a node makes its own.
    #[error("the kernel gives no random numbers: {0}")]
    Random(String),
    /// A hub has no shards.
    #[error("a hub needs at least one shard")]
    NoShards,
    /// The address cannot be had.
    #[error("cannot listen on {address}: {reason}; expected host:port of this machine")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The transport does not listen there, for its security or its certificates.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The engine did not let it join.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Its operators cannot be served, so the hub was left again.
    #[error("{0}; the hub was left again")]
    Operations(#[from] OperationsError),
    /// A static child did not start, so the hub was left again.
    #[error("static child: {0}; the hub was left again")]
    Child(Box<CommandError>),
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// A child cannot be described; nothing was started.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// A name in it is none; nothing was done.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Children are not put where a map says; nothing was started.
    #[error(transparent)]
    Guide(#[from] GuideError),
    /// The cluster refused, or could not.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// Signals cannot be waited for.
    #[error("cannot wait for signals: {0}")]
    Signals(String),
    /// The machine answered something else: a fault of this library.
    #[error("the answer does not fit the command: {0}")]
    Unexpected(String),
    /// The hub has left its cluster. What becomes of the command is not known here.
    #[error("this node has left the hub")]
    Left,
}

/// Why a call has no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The id is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The request cannot be encoded; it was not sent.
    #[error("the request cannot be encoded: {0}")]
    Encode(postcard::Error),
    /// It is larger than a message may be; it was not sent.
    #[error("the request has {found} bytes, a message has at most {limit}")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
        /// Its size, in bytes.
        found: usize,
    },
    /// The reply is of another type.
    #[error(
        "the reply of {process} is not of this type: {reason}; is its kind the one that was called?"
    )]
    Reply {
        /// Who replied.
        process: ProcessId,
        /// What the decoder said.
        reason: String,
    },
    /// Its home says that nobody runs it.
    #[error("no process is called {0}; start it first")]
    Unknown(ProcessId),
    /// The request is not of the type that the process takes. It was not handled.
    #[error("{process} cannot read the request: {reason}; is its kind the one that was called?")]
    Request {
        /// Who was called.
        process: ProcessId,
        /// What it said.
        reason: String,
    },
    /// The process crashed on this message, and its state with it.
    #[error("{process} crashed on this request: {reason}")]
    Crashed {
        /// Who was called.
        process: ProcessId,
        /// What it said.
        reason: String,
    },
    /// No reply came in time. It may be handled still.
    #[error("{process} did not reply within {waited:?}; the request may be handled still")]
    Deadline {
        /// Who was called.
        process: ProcessId,
        /// How long was waited.
        waited: Duration,
    },
    /// This node has left the hub. The request may be handled still.
    #[error("this node has left the hub; the request may be handled still")]
    Left,
}
