//! What a process leaves of its replicas to the successor of its node's program.

use std::time::Duration;

use handover_hub_proto::identity::{Epoch, NodeId};
use handover_hub_proto::reply::{Remembered, Replies};
use serde::{Deserialize, Serialize};

use super::kept::{Kept, due};
use super::letter::Octets;
use super::reminder::left;
use super::{State, Work};
use crate::process::Handed;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Will {
    /// Of an active one.
    active: Option<Active>,
    /// Of a passive one.
    passive: Option<Passive>,
}

/// Who has the states of an active one.
#[derive(Debug, Serialize, Deserialize)]
struct Active {
    /// The last one that was sent.
    number: u64,
    nodes: Vec<NodeId>,
    /// Under which epoch it became active.
    since: Epoch,
}

/// What a passive one was sent last.
#[derive(Debug, Serialize, Deserialize)]
struct Passive {
    epoch: Epoch,
    number: u64,
    schema: u32,
    state: Octets,
    replies: Vec<Remembered<Octets>>,
    /// Messages to itself, and after which time.
    later: Vec<(Duration, Octets)>,
}

impl Will {
    /// The version of the state in it, if there is one.
    pub(super) fn schema(&self) -> Option<u32> {
        self.passive.as_ref().map(|passive| passive.schema)
    }
}

impl State {
    pub(super) fn will(&self) -> Will {
        let Some(rare) = &self.rare else {
            return Will::default();
        };
        let active = rare.replicas.as_ref().map(|replicas| {
            let progress = replicas.lock();
            Active {
                number: progress.number,
                nodes: progress.nodes.iter().map(|(node, _)| *node).collect(),
                since: progress.since,
            }
        });
        let passive = rare.kept.as_ref().map(|kept| Passive {
            epoch: kept.epoch,
            number: kept.number,
            schema: kept.handed.schema(),
            state: Octets(kept.handed.bytes().clone()),
            replies: kept.replies.remembered(),
            later: left(kept.later.iter().map(|(at, body)| (*at, body))),
        });
        Will { active, passive }
    }

    /// The replicas are sent all there is when the node goes on: what they have is not known here.
    pub(super) fn inherit(&mut self, will: Will) {
        if let Some(active) = will.active {
            let replicas = self.rare().replicas.get_or_insert_default();
            let mut progress = replicas.lock();
            progress.number = active.number;
            progress.nodes = active.nodes.into_iter().map(|node| (node, 0)).collect();
            progress.since = active.since;
            drop(progress);
            self.work.push_back(Work::Synchronise);
        }
        if let Some(passive) = will.passive {
            let mut replies = Replies::default();
            replies.absorb(passive.replies);
            self.rare().kept = Some(Kept {
                epoch: passive.epoch,
                number: passive.number,
                handed: Handed::new(passive.schema, passive.state.0),
                replies,
                later: due(passive.later),
            });
        }
    }
}
