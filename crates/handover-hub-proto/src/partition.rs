//! Whether a part of a divided network is too small to go on.
//!
//! For engines that are not exclusive: with an exclusive one the lease decides, and only
//! [`Rule::Diverge`] makes sense. What follows a verdict of [`Verdict::Divided`] is that the node
//! stands still with all it runs, and loses nothing; ProcessHub 0.4.1 ends all its processes.
//!
//! | rule | ProcessHub 0.4.1 | here |
//! |---|---|---|
//! | all | a node that leaves in an orderly way counts as lost | it does not |
//! | static | judged when a node is lost or joins; with `startup_confirm` also at the start | the same |
//! | dynamic | forgets a lost node after `threshold_time`, divided or not, so that the next join lets both parts go on | forgets only while it is whole: a divided part remembers until the lost are back or somebody resets it |
//! | majority | of the largest number of nodes seen at once, in each node's memory; it only grows, and nodes that join a small part make it large enough | of the nodes by name, which [travel](Memory) with the members; one that leaves no longer counts, one that joins counts only once a majority has let it in |

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use handover_proto::moment::Moment;
use serde::{Deserialize, Serialize};

use crate::identity::{NodeId, NodeName};
use crate::view::Departure;

/// When a part is too small. The same on all nodes of a hub.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Never: every part goes on by itself, and they are merged when the network heals.
    #[default]
    Diverge,
    /// When it has fewer nodes than this.
    StaticQuorum {
        /// Nodes that are needed, this one among them.
        size: u32,
        /// Also before so many were there for the first time. Off: until that, or until a node is
        /// lost, a hub goes on with what it has.
        startup_confirm: bool,
    },
    /// When, of the nodes it has and those it lost of late, it has fewer than this share.
    DynamicQuorum {
        /// The share that is needed, in hundredths.
        percent: u8,
        /// A loss counts for so long. Nodes that are lost one after the other, each later than this
        /// after the one before, never make a part too small. 30 s is usual.
        threshold: Duration,
    },
    /// When it does not have more than half of the nodes of the hub.
    Majority {
        /// Nodes of the hub at least, whether seen or not. With 1 a node that starts alone goes on
        /// alone until it meets others.
        initial: u32,
        /// Count the nodes that were let in; off: `initial` is the number, for ever.
        track_max: bool,
    },
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This part goes on.
    Whole,
    /// It is too small.
    Divided {
        /// Nodes that it needs.
        needed: u32,
        /// Nodes that it has and that count, this one among them.
        found: u32,
    },
}

/// What nodes tell each other when they meet and when it changed, so that one which joins, or was
/// restarted, judges as the others do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Grows with every change of the names. The higher one counts; of equal ones both.
    pub version: u64,
    /// The nodes a majority is the majority of.
    pub names: BTreeSet<NodeName>,
    /// Nodes that were lost, and how long ago they may be taken to be: a divided part has forgotten
    /// none.
    pub lost: BTreeMap<NodeName, Duration>,
}

/// A rule at work on one node.
#[derive(Clone, Debug)]
pub struct Judge {
    rule: Rule,
    me: NodeName,
    /// Other nodes that are there.
    present: BTreeMap<NodeId, NodeName>,
    /// Nodes that were lost and are not back, and when.
    lost: BTreeMap<NodeName, Moment>,
    version: u64,
    names: BTreeSet<NodeName>,
    /// A static quorum was reached once, or a node was lost: from now on it counts.
    armed: bool,
    verdict: Verdict,
}

impl Judge {
    /// On a node that is alone as yet.
    #[must_use]
    pub fn new(rule: Rule, me: NodeName) -> Self {
        let mut judge = Self {
            rule,
            me,
            present: BTreeMap::new(),
            lost: BTreeMap::new(),
            version: 0,
            names: BTreeSet::new(),
            armed: false,
            verdict: Verdict::Whole,
        };
        judge.judge(Moment::ZERO);
        judge
    }

    /// Another node is there, or still is.
    pub fn joined(&mut self, now: Moment, node: NodeId, name: &NodeName) -> Verdict {
        self.lost.remove(name);
        self.present.insert(node, name.clone());
        self.judge(now)
    }

    /// Another node is gone.
    pub fn gone(&mut self, now: Moment, node: NodeId, cause: Departure) -> Verdict {
        if let Some(name) = self.present.remove(&node)
            && !self.here().contains(&name)
        {
            match cause {
                Departure::Lost => {
                    self.armed = true;
                    if matches!(self.rule, Rule::DynamicQuorum { .. }) {
                        self.lost.insert(name, now);
                    }
                }
                Departure::Left => self.version += u64::from(self.names.remove(&name)),
            }
        }
        self.judge(now)
    }

    /// What the rule says now. Time alone changes nothing of it, so nobody has to ask at a certain
    /// moment: losses are forgotten only while the part is whole.
    pub fn judge(&mut self, now: Moment) -> Verdict {
        if let (Rule::DynamicQuorum { threshold, .. }, Verdict::Whole) = (self.rule, self.verdict) {
            self.lost.retain(|_, lost| now.since(*lost) <= threshold);
        }
        let here = self.here();
        let (needed, found) = self.count(&here);
        if found < needed {
            self.verdict = Verdict::Divided { needed, found };
            return self.verdict;
        }
        self.armed |= matches!(self.rule, Rule::StaticQuorum { size, .. } if found >= size);
        let tracks = matches!(
            self.rule,
            Rule::Majority {
                track_max: true,
                ..
            }
        );
        if tracks && !here.is_subset(&self.names) {
            self.names.extend(here);
            self.version += 1;
        }
        self.verdict = Verdict::Whole;
        self.verdict
    }

    /// What this node has to tell.
    #[must_use]
    pub fn memory(&self, now: Moment) -> Memory {
        let age = |at: Moment| match self.verdict {
            Verdict::Whole => now.since(at),
            Verdict::Divided { .. } => Duration::ZERO,
        };
        let lost = self.lost.iter();
        Memory {
            version: self.version,
            names: self.names.clone(),
            lost: lost.map(|(name, at)| (name.clone(), age(*at))).collect(),
        }
    }

    /// What another node tells.
    pub fn told(&mut self, now: Moment, memory: Memory) -> Verdict {
        if memory.version > self.version {
            (self.version, self.names) = (memory.version, memory.names);
        } else if memory.version == self.version {
            self.names.extend(memory.names);
        }
        let here = self.here();
        if matches!(self.rule, Rule::DynamicQuorum { .. }) {
            for (name, age) in memory.lost {
                let age = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
                let at = Moment::from_nanos(now.as_nanos().saturating_sub(age));
                if !here.contains(&name) {
                    self.lost.entry(name).or_insert(at);
                }
            }
        }
        self.judge(now)
    }

    /// Somebody says that the nodes which are here are all of the hub: lost ones stay away. To be
    /// told to the others.
    pub fn reset(&mut self, now: Moment) -> Verdict {
        self.lost.clear();
        self.names = self.here();
        // Above whatever a node that is away may have counted in the meantime.
        self.version = self.version.saturating_add(1 << 32);
        self.judge(now)
    }

    /// Nodes that count and are not here.
    #[must_use]
    pub fn missing(&self) -> Vec<NodeName> {
        let here = self.here();
        let known = self.names.iter().chain(self.lost.keys());
        let missing: BTreeSet<&NodeName> = known.filter(|name| !here.contains(*name)).collect();
        missing.into_iter().cloned().collect()
    }

    /// The names that are here. Two runs of a node are one.
    fn here(&self) -> BTreeSet<NodeName> {
        let others = self.present.values().cloned();
        others.chain(core::iter::once(self.me.clone())).collect()
    }

    /// How many nodes are needed, and how many of those that count are here.
    fn count(&self, here: &BTreeSet<NodeName>) -> (u32, u32) {
        let all = number(here.len());
        match self.rule {
            Rule::Diverge => (0, all),
            Rule::StaticQuorum {
                size,
                startup_confirm,
            } => (
                if self.armed || startup_confirm {
                    size
                } else {
                    0
                },
                all,
            ),
            Rule::DynamicQuorum { percent, .. } => {
                let known = u64::from(all) + u64::from(number(self.lost.len()));
                let needed = (known * u64::from(percent.min(100))).div_ceil(100);
                (u32::try_from(needed).unwrap_or(u32::MAX), all)
            }
            Rule::Majority { initial, track_max } if track_max && self.version > 0 => {
                let needed = number(self.names.len()).max(initial) / 2 + 1;
                (needed, number(here.intersection(&self.names).count()))
            }
            Rule::Majority { initial, .. } => (initial / 2 + 1, all),
        }
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
