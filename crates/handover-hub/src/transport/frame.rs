//! What crosses between nodes.

use bytes::Bytes;
use handover_hub_proto::identity::{CallId, Epoch, MoveId, NodeId, ProcessId};
use serde::{Deserialize, Serialize};

/// Which of the streams between two nodes a frame takes. Frames of one class arrive in the order in
/// which they were sent; classes do not wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// What the machines of the nodes tell each other.
    Control = 0,
    /// Calls, casts and their answers.
    Calls = 1,
    /// States, what is forwarded after them, and what replicas are sent. May be long.
    States = 2,
    /// What an engine tells its like.
    Engine = 3,
}

impl Class {
    /// All of them, by number.
    pub const ALL: [Self; 4] = [Self::Control, Self::Calls, Self::States, Self::Engine];

    /// Its number.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}

/// One message between two nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Frame {
    /// A message of the node machine, encoded by the driver.
    Control(#[serde(with = "octets")] Bytes),
    /// A call to a process of the receiver.
    Call(Call),
    /// What a process answered.
    Reply(Reply),
    /// The process is elsewhere.
    Redirect(Redirect),
    /// The call was not taken.
    Refused(Refused),
    /// A message without an answer.
    Cast(Cast),
    /// A part of a state that moves.
    State(State),
    /// A message that reached the source of a move too late for the state.
    Forward(Forward),
    /// What keeps a passive replica up to date.
    Replica(Replica),
    /// Bytes of an engine; see [`Transport::post`](super::Transport::post).
    Engine(#[serde(with = "octets")] Bytes),
}

impl Frame {
    /// Which stream it takes.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Control(_) => Class::Control,
            Self::Call(_)
            | Self::Reply(_)
            | Self::Redirect(_)
            | Self::Refused(_)
            | Self::Cast(_) => Class::Calls,
            Self::State(_) | Self::Forward(_) | Self::Replica(_) => Class::States,
            Self::Engine(_) => Class::Engine,
        }
    }

    /// About how many bytes it takes in a queue and on the wire.
    #[must_use]
    pub fn weight(&self) -> usize {
        /// What the fields besides texts and bytes take at most.
        const FIXED: usize = 96;
        FIXED
            + match self {
                Self::Control(bytes) | Self::Engine(bytes) => bytes.len(),
                Self::Call(call) => call.process.as_str().len() + call.body.len(),
                Self::Reply(reply) => reply.body.len(),
                Self::Redirect(redirect) => redirect.process.as_str().len(),
                Self::Refused(refused) => match &refused.refusal {
                    Refusal::Failed(reason) | Refusal::Crashed(reason) => reason.len(),
                    Refusal::Full
                    | Refusal::NotHere
                    | Refusal::Epoch { .. }
                    | Refusal::Suspended => 0,
                },
                Self::Cast(cast) => cast.process.as_str().len() + cast.body.len(),
                Self::State(state) => {
                    state.process.as_str().len()
                        + match &state.part {
                            Part::Chunk { bytes, .. } => bytes.len(),
                            Part::Open { .. } | Part::Close { .. } | Part::Abandon => 0,
                        }
                }
                Self::Forward(forward) => forward.process.as_str().len() + forward.body.len(),
                Self::Replica(replica) => replica.process.as_str().len() + replica.body.len(),
            }
    }
}

/// A call to a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The same however often it is sent.
    pub id: CallId,
    /// The lowest call of that caller that has no answer yet: replies below it are not asked for
    /// again.
    pub floor: u64,
    /// To whom.
    pub process: ProcessId,
    /// The epoch under which the sender believes it to run.
    pub epoch: Epoch,
    /// How long the caller still waits, in milliseconds.
    pub patience_ms: u32,
    /// The request, encoded by its kind.
    #[serde(with = "octets")]
    pub body: Bytes,
}

/// An answer to a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Of which.
    pub id: CallId,
    /// The epoch under which it was answered.
    pub epoch: Epoch,
    /// The reply, encoded by its kind.
    #[serde(with = "octets")]
    pub body: Bytes,
}

/// Where a process runs that is not here any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirect {
    /// Of which call.
    pub id: CallId,
    /// Which process.
    pub process: ProcessId,
    /// Its host.
    pub to: NodeId,
    /// The epoch it has there.
    pub epoch: Epoch,
}

/// A call that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Which.
    pub id: CallId,
    /// Why.
    pub refusal: Refusal,
}

/// Why a call was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Its mailbox is full.
    #[error("its mailbox is full")]
    Full,
    /// It does not run there, and that node does not know where it does.
    #[error("it does not run there")]
    NotHere,
    /// It runs there under another epoch; the host's own is said.
    #[error("it runs there under epoch {found}")]
    Epoch {
        /// The host's epoch.
        found: Epoch,
    },
    /// That node stands still.
    #[error("its node stands still")]
    Suspended,
    /// Its body cannot be read by the kind of the process. It was not handled, and will not go
    /// better another time.
    #[error("it cannot be read: {0}")]
    Failed(String),
    /// The process crashed at it.
    #[error("it crashed: {0}")]
    Crashed(String),
}

impl Refusal {
    /// Whether it is no use to send the call again.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Full | Self::NotHere | Self::Epoch { .. } | Self::Suspended => false,
            Self::Failed(_) | Self::Crashed(_) => true,
        }
    }
}

/// A message without an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cast {
    /// The same however often it is passed on.
    pub id: CallId,
    /// To whom.
    pub process: ProcessId,
    /// The epoch under which the sender believes it to run.
    pub epoch: Epoch,
    /// The request, encoded by its kind.
    #[serde(with = "octets")]
    pub body: Bytes,
}

/// A part of a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The move it is for.
    pub attempt: MoveId,
    /// Whose.
    pub process: ProcessId,
    /// The epoch it will have at the receiver.
    pub epoch: Epoch,
    /// Which part.
    pub part: Part,
}

/// Parts of a state, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// First.
    Open {
        /// All its bytes.
        size: u64,
    },
    /// Then, as often as there is something.
    Chunk {
        /// Where it begins.
        offset: u64,
        /// What it contains.
        #[serde(with = "octets")]
        bytes: Bytes,
    },
    /// Last.
    Close {
        /// SHA-256 of all its bytes.
        digest: [u8; 32],
    },
    /// Instead of the rest: the sender gave up.
    Abandon,
}

/// A message for a process that has moved, in the order in which it reached the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// The move after which it is sent.
    pub attempt: MoveId,
    /// To whom.
    pub process: ProcessId,
    /// The epoch it has at the receiver.
    pub epoch: Epoch,
    /// Counts what is forwarded for this move, from 1.
    pub number: u64,
    /// Nothing follows.
    pub last: bool,
    /// The message and its caller, encoded by the driver; empty if only the end is told.
    #[serde(with = "octets")]
    pub body: Bytes,
}

/// What keeps a passive replica up to date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// Whose.
    pub process: ProcessId,
    /// The epoch of the active one.
    pub epoch: Epoch,
    /// Counts what is sent to this replica under this epoch, from 1.
    pub number: u64,
    /// The state or an acknowledgement of one, encoded by the driver.
    #[serde(with = "octets")]
    pub body: Bytes,
}

/// [`Bytes`] as one run of bytes rather than a sequence of numbers.
pub(crate) mod octets {
    use bytes::Bytes;
    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        struct Octets;

        impl Visitor<'_> for Octets {
            type Value = Bytes;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes::copy_from_slice(bytes))
            }

            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(Bytes::from(bytes))
            }
        }

        from.deserialize_bytes(Octets)
    }
}
