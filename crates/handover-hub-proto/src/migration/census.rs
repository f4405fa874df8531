//! What a new home finds: who has what of a process, and what follows from it.

use serde::{Deserialize, Serialize};

use super::message::{Bid, Report, Word};
use crate::identity::{Epoch, MoveId, NodeId};
use crate::row::{Host, Role};

/// What one node has of one process. Whoever says it drops orders of lower terms from then on (H7),
/// so it stays true until the new home changes it, or goes the way it was going.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Holding {
    /// It runs it, or is about to let it serve after a commit.
    Running {
        /// Under which epoch.
        epoch: Epoch,
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
}

/// What follows from all holdings of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// This node runs it: it goes on. Whatever others have is a [`leftover`]; another one that runs
    /// it too is a copy to merge.
    Serves(Host),
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
    /// Nobody else has it, this node has the whole state: [`Movement::inquiring`].
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

/// Decides what becomes of a process whose home is gone, from what all members have of it.
///
/// `row`: the epoch the registry knows of. `kept`: its state outlives its host by a replica or a
/// checkpoint, which is never older than what was acknowledged. Then what a node has is not used
/// where somebody may have served after it.
#[must_use]
pub fn resolve(holdings: &[(NodeId, Holding)], row: Option<Epoch>, kept: bool) -> Resolution {
    let has = |wanted: NodeId| holdings.iter().any(|(node, _)| *node == wanted);
    let runs = holdings
        .iter()
        .filter_map(|(node, holding)| match *holding {
            Holding::Running { epoch } => Some((epoch, *node)),
            Holding::Departing { .. } | Holding::Landing { .. } => None,
        });
    if let Some((epoch, node)) = runs.max() {
        let role = Role::Active;
        return Resolution::Serves(Host { node, epoch, role });
    }
    let outlived = |epoch: Epoch| kept && row.is_some_and(|row| row > epoch);
    let departs = holdings
        .iter()
        .filter_map(|(node, holding)| match *holding {
            Holding::Departing {
                attempt,
                epoch,
                to,
                sent,
            } => Some((epoch, *node, attempt, to, sent)),
            Holding::Running { .. } | Holding::Landing { .. } => None,
        });
    if let Some((epoch, node, attempt, target, sent)) = departs.max() {
        if outlived(epoch) || (kept && sent && !has(target)) {
            return Resolution::Restart;
        }
        let role = Role::Active;
        let source = Host { node, epoch, role };
        return Resolution::Return {
            source,
            attempt,
            target,
        };
    }
    let lands = holdings
        .iter()
        .filter_map(|(node, holding)| match *holding {
            Holding::Landing {
                attempt,
                epoch,
                from,
                whole: true,
            } => Some((epoch, *node, attempt, from)),
            Holding::Running { .. } | Holding::Departing { .. } | Holding::Landing { .. } => None,
        });
    match lands.max() {
        Some((epoch, target, attempt, source)) if !outlived(epoch) => Resolution::Land {
            target,
            attempt,
            source,
        },
        Some(_) | None => Resolution::Restart,
    }
}

impl Report {
    /// What the reporting node has, as far as the report says.
    #[must_use]
    pub fn holding(&self) -> Option<Holding> {
        match &self.word {
            Word::Departed { epoch, result: _ } => Some(Holding::Departing {
                attempt: self.attempt,
                epoch: *epoch,
                to: self.attempt.home,
                sent: true,
            }),
            Word::Prepared(Ok(())) | Word::Arrived(Ok(())) => Some(Holding::Landing {
                attempt: self.attempt,
                epoch: Epoch::default(),
                from: self.attempt.home,
                whole: matches!(self.word, Word::Arrived(_)),
            }),
            Word::Prepared(Err(_))
            | Word::Arrived(Err(_))
            | Word::Activated { .. }
            | Word::Retired
            | Word::Resumed { .. }
            | Word::Discarded => None,
        }
    }
}

/// What to tell a node that takes part in a move which its home does not make: by a lost message, or
/// since the home is a new one. `serves`: who runs the process by the registry; `grant`: the next
/// epoch, which the row must get if [`Bid::Resume`] comes back. Nothing if there is nothing to say:
/// it runs the process and nobody else does, or nobody should and it is to be stopped.
///
/// Only for a process that is settled: no movement of it goes on, and its home has resolved it.
#[must_use]
pub fn leftover(serves: Option<Host>, at: NodeId, holding: &Holding, grant: Epoch) -> Option<Bid> {
    match (*holding, serves) {
        (Holding::Landing { .. }, _) => Some(Bid::Discard),
        (Holding::Departing { epoch, .. }, Some(host)) if host.node == at => {
            // Its row was given a newer epoch: it has gone on, and this is late.
            (host.epoch == epoch).then_some(Bid::Resume { epoch: grant })
        }
        (Holding::Departing { epoch, .. }, Some(host)) => (host.epoch > epoch).then_some({
            Bid::Retire {
                to: host.node,
                epoch: host.epoch,
            }
        }),
        (Holding::Departing { .. }, None) | (Holding::Running { .. }, _) => None,
    }
}
