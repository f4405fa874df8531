//! What a new home finds: who has what of a process, and what follows from it.

use serde::{Deserialize, Serialize};

use super::message::{Bid, Report, Word};
use crate::identity::{Epoch, MoveId, NodeId};
use crate::row::{Host, Role};

/// What one node has of one process. Whoever says it drops orders of lower terms from then on (H7),
/// so it stays true until the new home changes it, or goes the way it was going.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Holding {
    /// It runs it.
    Running {
        /// Under which epoch.
        epoch: Epoch,
    },
    /// A home decided that it is to run it; it begins to.
    Activating {
        /// Which attempt.
        attempt: MoveId,
        /// Under which epoch.
        epoch: Epoch,
        /// Where the state came from.
        from: NodeId,
    },
    /// It ran it, and is frozen or freezing for a move.
    Departing {
        /// Which attempt.
        attempt: MoveId,
        /// The epoch it ran under.
        epoch: Epoch,
        /// Where its state goes.
        to: NodeId,
        /// Whether the state may have arrived there.
        sent: bool,
    },
    /// It prepared to take it.
    Landing {
        /// Which attempt.
        attempt: MoveId,
        /// The epoch it was told.
        epoch: Epoch,
        /// Where the state comes from.
        from: NodeId,
        /// Whether the state is there, and taken.
        whole: bool,
    },
    /// It is ending it, and may answer until it has.
    Ending {
        /// The epoch it runs under.
        epoch: Epoch,
        /// A home has said so, and not that its node leaves.
        for_good: bool,
    },
}

/// What follows from all holdings of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// This node runs it: it goes on. Whatever others have is [stray](leftover); another one that
    /// runs it too is a copy to merge.
    Serves(Host),
    /// Nobody runs it yet. A home had decided for this node: [`Movement::activating`].
    ///
    /// [`Movement::activating`]: super::Movement::activating
    Activate {
        /// Who.
        host: Host,
        /// For which attempt.
        attempt: MoveId,
        /// Who sent the state.
        source: NodeId,
    },
    /// Nobody runs it. This node is frozen and goes on: [`Movement::returning`].
    ///
    /// [`Movement::returning`]: super::Movement::returning
    Return {
        /// Who.
        source: Host,
        /// For which attempt it froze.
        attempt: MoveId,
        /// Where its state went.
        target: NodeId,
    },
    /// Nobody else has it. This node has its state, or may have it: [`Movement::inquiring`].
    ///
    /// [`Movement::inquiring`]: super::Movement::inquiring
    Land {
        /// Who.
        target: NodeId,
        /// For which attempt.
        attempt: MoveId,
        /// Who sent the state, and is gone.
        source: NodeId,
    },
    /// Nobody has it, or what they have is older than what was kept elsewhere.
    Restart,
}

impl Holding {
    /// The epoch it is about: that of whoever runs it or ran it, or the one that a target was told.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        match *self {
            Self::Running { epoch }
            | Self::Activating { epoch, .. }
            | Self::Departing { epoch, .. }
            | Self::Landing { epoch, .. }
            | Self::Ending { epoch, .. } => epoch,
        }
    }

    /// What decides between two nodes that have something: who runs it before who was told to, before
    /// who ran it last, before who may have received its state; then the higher epoch.
    const fn weight(&self) -> (u8, Epoch) {
        match *self {
            Self::Running { epoch } | Self::Activating { epoch, .. } => (3, epoch),
            Self::Departing { epoch, .. } => (2, epoch),
            // What was under way when it said so may be there by now.
            Self::Landing { epoch, whole, .. } => (whole as u8, epoch),
            Self::Ending { epoch, .. } => (0, epoch),
        }
    }
}

/// Decides what becomes of a process whose home is gone, from what all members have of it.
///
/// `row`: the epoch the registry knows of. `kept`: its state outlives its host by a replica or a
/// checkpoint, which is never older than what was acknowledged. Then what a node has is not used
/// where somebody may have served after it.
#[must_use]
pub fn resolve(holdings: &[(NodeId, Holding)], row: Option<Epoch>, kept: bool) -> Resolution {
    let best = holdings.iter().max_by_key(|(_, holding)| holding.weight());
    let Some((node, holding)) = best.copied() else {
        return Resolution::Restart;
    };
    let host = |epoch| Host {
        node,
        epoch,
        role: Role::Active,
        filled: true,
    };
    let outlived = |epoch: Epoch| kept && row.is_some_and(|row| row > epoch);
    match holding {
        Holding::Running { epoch } => Resolution::Serves(host(epoch)),
        Holding::Activating {
            attempt,
            epoch,
            from: source,
        } => Resolution::Activate {
            host: host(epoch),
            attempt,
            source,
        },
        Holding::Departing {
            attempt,
            epoch,
            to: target,
            sent,
        } => {
            let target_gone = !holdings.iter().any(|(node, _)| *node == target);
            if outlived(epoch) || (kept && sent && target_gone) {
                return Resolution::Restart;
            }
            Resolution::Return {
                source: host(epoch),
                attempt,
                target,
            }
        }
        Holding::Ending { .. } => Resolution::Restart,
        Holding::Landing { epoch, .. } if outlived(epoch) => Resolution::Restart,
        Holding::Landing {
            attempt,
            from: source,
            ..
        } => Resolution::Land {
            target: node,
            attempt,
            source,
        },
    }
}

/// Something of a move that nobody makes any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stray {
    /// A process that is frozen.
    Departing {
        /// The epoch it ran under.
        epoch: Epoch,
    },
    /// One that waits to be activated.
    Landing,
}

impl Holding {
    /// What is stray of it, if nobody makes the move.
    #[must_use]
    pub const fn stray(&self) -> Option<(MoveId, Stray)> {
        match *self {
            Self::Departing { attempt, epoch, .. } => Some((attempt, Stray::Departing { epoch })),
            Self::Landing { attempt, .. } => Some((attempt, Stray::Landing)),
            Self::Running { .. } | Self::Activating { .. } | Self::Ending { .. } => None,
        }
    }
}

impl Report {
    /// What is stray at the reporting node, if nobody makes the move.
    #[must_use]
    pub const fn stray(&self) -> Option<Stray> {
        match self.word {
            Word::Departed { epoch, .. } => Some(Stray::Departing { epoch }),
            Word::Prepared(Ok(())) | Word::Arrived(Ok(())) => Some(Stray::Landing),
            Word::Prepared(Err(_))
            | Word::Arrived(Err(_))
            | Word::Activated { .. }
            | Word::Retired
            | Word::Resumed { .. }
            | Word::Discarded => None,
        }
    }
}

/// What to tell a node that has something of a move which nobody makes any more: a message was lost,
/// or the home is a new one. `serves`: who runs the process by the registry; `grant`: the next epoch,
/// which the row must get if [`Bid::Resume`] comes back. Nothing if it is late, or if nobody should
/// run the process: then it is to be stopped.
///
/// Only for a process that is settled: no movement of it goes on, and its home has resolved it.
#[must_use]
pub fn leftover(serves: Option<Host>, at: NodeId, stray: Stray, grant: Epoch) -> Option<Bid> {
    match (stray, serves) {
        (Stray::Landing, _) => Some(Bid::Discard),
        // With a newer epoch in its row it has gone on already.
        (Stray::Departing { epoch }, Some(host)) if host.node == at => {
            (host.epoch == epoch).then_some(Bid::Resume { epoch: grant })
        }
        (Stray::Departing { epoch }, Some(host)) => (host.epoch > epoch).then_some({
            Bid::Retire {
                to: host.node,
                epoch: host.epoch,
            }
        }),
        (Stray::Departing { .. }, None) => None,
    }
}
