//! The mailbox of one process: what waits, what may be served now, and what of it moves.
//!
//! | state | what arrives | what is served |
//! |---|---|---|
//! | open | is queued | the queue |
//! | freezing | is queued | nothing but what is at hand already |
//! | frozen | is held: these are the latecomers | nothing |
//! | retired | is sent elsewhere | nothing |
//! | restoring | is held | nothing |
//! | opening | is held until the source has sent all its latecomers | the queue that came along |
//!
//! Retired is final; what was frozen for a move that failed is open again. In each of them a mailbox
//! can be suspended (H12): then nothing is served and no reply leaves, until its home has confirmed
//! it. Calls that are sent again are recognised in every state, so that none is applied twice (H4).
//!
//! Queue and latecomers are bounded by number and bytes. What does not fit is refused, and the caller
//! tries again later: a flood waits with its senders, during a move too.

mod moving;
mod queue;
mod serving;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use self::queue::Queue;
use crate::identity::{CallId, Epoch, NodeId};
use crate::reply::{Remembered, Replies, ReplyLimits, Ticket};

/// Messages that wait for one process. More would only make those that wait older.
pub const MESSAGES_MAX: usize = 1024;

/// Bytes of messages that wait for one process.
pub const BYTES_MAX: usize = 16 << 20;

/// How long a process that moved holds what arrives directly, if the end of its source's latecomers
/// is not heard: the source is slow, or their connection broke.
pub const OPENING_MAX: Duration = Duration::from_secs(1);

/// Bounds of a mailbox. Each of queue, latecomers and what is held while opening has them on its
/// own: of a process that moves at most three times as much waits, on two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Messages.
    pub messages: usize,
    /// Bytes. One message may go beyond.
    pub bytes: usize,
    /// Of its reply cache.
    pub replies: ReplyLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            messages: MESSAGES_MAX,
            bytes: BYTES_MAX,
            replies: ReplyLimits::default(),
        }
    }
}

/// What a mailbox must know of a message.
pub trait Letter {
    /// What it says of itself if it is a call; nothing if nobody waits for a reply.
    fn ticket(&self) -> Option<Ticket>;
    /// Bytes it takes.
    fn size(&self) -> usize;
}

/// Why a message was not taken.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    thiserror::Error,
)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Too much waits there, of everybody or of this caller.
    #[error("too much waits for it already; try again later")]
    Full,
    /// No such process is there.
    #[error("it is not there")]
    NotHere,
}

/// What became of a message that arrived.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Arrival<M, B> {
    /// It waits for its turn. `runnable`: [`Mailbox::next`] has something now and nobody serves.
    Queued {
        /// Whether somebody should begin to serve.
        runnable: bool,
    },
    /// It waits for a move or a suspension to end.
    Held,
    /// It is here already and will be answered once.
    Known,
    /// It was applied before: answer it with this.
    Answered(B),
    /// It was answered before, and its caller knows: drop it.
    Settled,
    /// The process is elsewhere: tell its caller, or send it after if it is no call.
    Elsewhere {
        /// The message.
        letter: M,
        /// Where.
        to: NodeId,
        /// Under which epoch.
        epoch: Epoch,
    },
    /// It was not taken: tell its caller.
    Refused(M, Refusal),
}

/// What became of messages that were held.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub struct Released<M, B> {
    /// [`Mailbox::next`] has something and nobody serves.
    pub runnable: bool,
    /// A freeze that was ordered is complete now: [`Mailbox::seal`].
    pub frozen: bool,
    /// Calls that were applied before, and their replies.
    pub replies: Vec<(CallId, B)>,
    /// Calls of callers that have too many under way.
    pub refused: Vec<(M, Refusal)>,
    /// What must go on to where the process is.
    pub elsewhere: Vec<M>,
}

/// What follows when the process has finished a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub struct Finished {
    /// Its reply may leave. If not, it is kept until the suspension ends, or never leaves.
    pub reply: bool,
    /// A freeze that was ordered is complete now.
    pub frozen: bool,
}

/// What moves with the state of a process.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sealed<M, B> {
    /// What waits, in order.
    pub queue: Vec<M>,
    /// The reply cache.
    pub replies: Vec<Remembered<B>>,
}

impl<M, B> Default for Sealed<M, B> {
    fn default() -> Self {
        let (queue, replies) = (Vec::new(), Vec::new());
        Self { queue, replies }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State<M> {
    Open {
        /// A message was taken out and is not finished.
        busy: bool,
    },
    Freezing {
        busy: bool,
        /// It had not heard all latecomers of its last move yet: it waits for them.
        opening: Option<Box<Queue<M>>>,
    },
    Frozen {
        /// The queue was read for a move.
        sealed: bool,
        late: Option<Box<Queue<M>>>,
    },
    Restoring {
        /// All latecomers are in the queue already.
        complete: bool,
        held: Option<Box<Queue<M>>>,
    },
    Opening {
        busy: bool,
        held: Option<Box<Queue<M>>>,
    },
    Retired {
        to: Box<(NodeId, Epoch)>,
    },
}

/// A mailbox. `M`: a message, `B`: the bytes of a reply. An idle one takes 40 bytes, and what its
/// callers' last replies take.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mailbox<M, B> {
    state: State<M>,
    queue: Option<Box<Queue<M>>>,
    replies: Option<Box<Replies<B>>>,
    /// There while it is suspended: calls whose replies must not leave yet.
    #[expect(clippy::box_collection, reason = "8 bytes in an idle mailbox, not 24")]
    suspended: Option<Box<Vec<CallId>>>,
}

/// What a mailbox does, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// It is served.
    Open,
    /// It finishes one message, or waits for the latecomers of its last move, and is frozen then.
    Freezing,
    /// It is not served, and may be sealed.
    Frozen,
    /// Its process is elsewhere.
    Retired,
    /// It waits for its process to begin here.
    Restoring,
    /// It is served, without what arrives directly.
    Opening,
}

/// How a freeze went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Freeze {
    /// It is frozen.
    Frozen,
    /// It will be: [`Finished::frozen`] or [`Released::frozen`] says so, or it is resumed before.
    Later,
    /// Its process is not here.
    Refused,
}

impl<M, B> Mailbox<M, B> {
    const fn begin(state: State<M>) -> Self {
        Self {
            state,
            queue: None,
            replies: None,
            suspended: None,
        }
    }

    /// Of a process that starts here.
    #[must_use]
    pub const fn open() -> Self {
        Self::begin(State::Open { busy: false })
    }

    /// Of a process that was warmed and may come here.
    #[must_use]
    pub const fn restoring() -> Self {
        Self::begin(State::Restoring {
            complete: false,
            held: None,
        })
    }

    /// What it does.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        match self.state {
            State::Open { .. } => Phase::Open,
            State::Freezing { .. } => Phase::Freezing,
            State::Frozen { .. } => Phase::Frozen,
            State::Restoring { .. } => Phase::Restoring,
            State::Opening { .. } => Phase::Opening,
            State::Retired { .. } => Phase::Retired,
        }
    }

    /// Where its process is, if it was retired.
    #[must_use]
    pub fn elsewhere(&self) -> Option<(NodeId, Epoch)> {
        match &self.state {
            State::Retired { to } => Some(**to),
            State::Open { .. }
            | State::Freezing { .. }
            | State::Frozen { .. }
            | State::Restoring { .. }
            | State::Opening { .. } => None,
        }
    }

    /// Whether it stands still until [`Self::proceed`].
    #[must_use]
    pub const fn is_suspended(&self) -> bool {
        self.suspended.is_some()
    }

    /// Whether a message was taken out and is not finished.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        match self.state {
            State::Open { busy } | State::Freezing { busy, .. } | State::Opening { busy, .. } => {
                busy
            }
            State::Frozen { .. } | State::Restoring { .. } | State::Retired { .. } => false,
        }
    }

    /// Messages that wait here, held ones too.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queues().map(Queue::len).sum()
    }

    /// What waits here, held messages too, the one that was taken out not.
    pub fn letters(&self) -> impl Iterator<Item = &M> {
        self.queues().flat_map(Queue::iter)
    }

    fn queues(&self) -> impl Iterator<Item = &Queue<M>> {
        let held = match &self.state {
            State::Open { .. } | State::Retired { .. } => None,
            State::Freezing { opening: held, .. }
            | State::Frozen { late: held, .. }
            | State::Restoring { held, .. }
            | State::Opening { held, .. } => held.as_deref(),
        };
        self.queue.as_deref().into_iter().chain(held)
    }
}

#[cfg(test)]
mod tests;
