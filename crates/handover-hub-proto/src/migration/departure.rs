//! The source's side of one move.

use crate::identity::{Epoch, MoveId, NodeId};
use crate::node::HostFailure;

use super::census::Holding;
use super::message::Word;

/// How far a departure is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    /// The process finishes what it is at.
    Freezing,
    /// Its state goes out.
    Sending,
    /// All of it went out.
    Sent,
    /// It did not go out, or perhaps it did. The process is frozen.
    Stuck(HostFailure),
}

/// A process that is about to leave this node. It serves no more, and goes on only when its home
/// says so: whatever this side sees fail, the target may be serving already (H2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Departure {
    pub(super) attempt: MoveId,
    /// The epoch it ran under.
    pub(super) epoch: Epoch,
    pub(super) to: NodeId,
    /// The epoch it will have there at least.
    pub(super) next: Epoch,
    pub(super) stage: Stage,
}

impl Departure {
    pub(super) fn holding(&self) -> Holding {
        Holding::Departing {
            attempt: self.attempt,
            epoch: self.epoch,
            to: self.to,
            sent: match self.stage {
                Stage::Freezing => false,
                Stage::Sending | Stage::Sent | Stage::Stuck(_) => true,
            },
        }
    }

    /// What to say to whoever asks how far it is.
    pub(super) fn word(&self) -> Option<Word> {
        let epoch = self.epoch;
        let result = match &self.stage {
            Stage::Freezing | Stage::Sending => return None,
            Stage::Sent => Ok(()),
            Stage::Stuck(failure) => Err(failure.clone()),
        };
        Some(Word::Departed { epoch, result })
    }
}
