//! The target's side of one move.

use alloc::sync::Arc;

use crate::identity::{Epoch, MoveId, NodeId};
use crate::spec::ChildSpec;

use super::census::Holding;
use super::message::{Purpose, Word};

/// How far a landing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    /// It is being constructed.
    Warming,
    /// It waits for its state.
    Waiting,
    /// The whole state is there and was taken. It must not serve: its source may go on.
    Whole,
    /// Its home decided, and it begins to serve.
    Activating(Epoch),
}

/// A process that is about to come to this node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Landing {
    pub(super) attempt: MoveId,
    pub(super) spec: Arc<ChildSpec>,
    pub(super) from: NodeId,
    pub(super) purpose: Purpose,
    /// The epoch it will have at least.
    pub(super) epoch: Epoch,
    pub(super) stage: Stage,
}

impl Landing {
    pub(super) fn holding(&self) -> Holding {
        let (attempt, epoch, from) = (self.attempt, self.epoch, self.from);
        let whole = match self.stage {
            Stage::Warming | Stage::Waiting => false,
            Stage::Whole => true,
            Stage::Activating(epoch) => {
                return Holding::Activating {
                    attempt,
                    epoch,
                    from,
                };
            }
        };
        Holding::Landing {
            attempt,
            epoch,
            from,
            whole,
        }
    }

    /// What to say to whoever asks how far it is.
    pub(super) fn word(&self) -> Option<Word> {
        match self.stage {
            Stage::Warming | Stage::Activating(_) => None,
            Stage::Waiting => Some(Word::Prepared(Ok(()))),
            Stage::Whole => Some(Word::Arrived(Ok(()))),
        }
    }
}
