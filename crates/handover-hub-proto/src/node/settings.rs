//! How a node decides; the same on all nodes of a hub but where it says otherwise.

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::migration;
use crate::partition::Rule;
use crate::placement::Distribution;
use crate::redundancy::Redundancy;
use crate::view::Guarantees;

/// How moves are paced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moves {
    /// Moves in flight at once from one node to another. Most of them are prepared and wait for
    /// their turn, while their processes serve.
    pub at_once: u32,
    /// Of these, how many processes may stand still at once. More of them arrive sooner altogether,
    /// and each answers nothing for longer.
    pub still: u32,
    /// Moves that one home begins each second, if limited.
    pub rate: Option<u32>,
}

impl Default for Moves {
    fn default() -> Self {
        Self {
            at_once: 1_000,
            still: 8,
            rate: None,
        }
    }
}

/// How a node decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Parts into which all ids are divided. Must be the same on all nodes.
    pub shards: u16,
    /// What the engine promises.
    pub guarantees: Guarantees,
    /// Who says where a new child runs. Must be the same on all nodes.
    pub distribution: Distribution,
    /// How often a node measures how busy it is and tells the others, if it changed.
    pub load: Duration,
    /// How many moves go at once.
    pub moves: Moves,
    /// How long each may take, and what becomes of one that is deferred.
    pub migration: migration::Settings,
    /// When a part of a divided network stands still. Must be the same on all nodes.
    pub partition: Rule,
    /// How many nodes run a child, and as what. Must be the same on all nodes.
    pub redundancy: Redundancy,
    /// Members that come or go within this time cause one redistribution.
    pub debounce: Duration,
    /// How often each home tells the others how far its rows are.
    pub digest: Duration,
    /// How long things to say are collected for one message.
    pub batch: Duration,
    /// How many other nodes must hold the row of a child before its start is answered, if there are
    /// as many.
    pub copies: usize,
    /// What was asked of another node and not answered is asked again after this time.
    pub retry: Duration,
    /// After a fence nobody's shards are claimed for this time: others were fenced as well, and
    /// come back.
    pub grace: Duration,
    /// How long nodes remember that a child ended, and so end what somebody runs of it who was away
    /// meanwhile: longer than a node may stand still or be cut off. At most 65,536 are remembered.
    pub ends_kept: Duration,
}

/// What all nodes of a hub must have alike, besides the number of shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Agreement {
    /// Who says where a new child runs.
    pub distribution: Distribution,
    /// How many nodes run a child, and as what.
    pub redundancy: Redundancy,
    /// When a part of a divided network stands still.
    pub partition: Rule,
}

impl Agreement {
    /// The first setting that another node has otherwise: its name, as it is here, and there.
    #[must_use]
    pub fn differs(&self, other: &Self) -> Option<(&'static str, String, String)> {
        if self.distribution != other.distribution {
            let (here, there) = (&self.distribution, &other.distribution);
            return Some(("distribution", format!("{here:?}"), format!("{there:?}")));
        }
        if self.redundancy != other.redundancy {
            let (here, there) = (&self.redundancy, &other.redundancy);
            return Some(("redundancy", format!("{here:?}"), format!("{there:?}")));
        }
        if self.partition != other.partition {
            let (here, there) = (&self.partition, &other.partition);
            return Some(("partition rule", format!("{here:?}"), format!("{there:?}")));
        }
        None
    }
}

impl Settings {
    /// What all nodes of the hub must have alike.
    #[must_use]
    pub const fn agreement(&self) -> Agreement {
        Agreement {
            distribution: self.distribution,
            redundancy: self.redundancy,
            partition: self.partition,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shards: crate::placement::SHARDS,
            guarantees: Guarantees {
                exclusive: false,
                lease: None,
            },
            distribution: Distribution::default(),
            load: Duration::from_secs(2),
            moves: Moves::default(),
            migration: migration::Settings::default(),
            partition: Rule::default(),
            redundancy: Redundancy::default(),
            debounce: Duration::from_millis(100),
            digest: Duration::from_secs(15),
            batch: Duration::from_millis(2),
            copies: 2,
            retry: Duration::from_millis(500),
            grace: Duration::from_secs(5),
            ends_kept: Duration::from_secs(24 * 60 * 60),
        }
    }
}
