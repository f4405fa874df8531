//! Who is a member, from three sources that may disagree: what a node says itself, what the phi
//! detector holds, and what the kernel of a node's address says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use handover_hub_proto::identity::NodeId;
use handover_hub_proto::view::{Departure, EngineEvent, Member};

use super::mail::Published;

/// How long a node that was refused has to be held for alive by gossip until it counts as alive
/// again. The dead are found to be silent much sooner; who is still heard by others was only refused
/// here, by something between us. By then nobody has anything of the dead to tell who had not heard
/// of them.
const DOUBT: Duration = Duration::from_secs(30);

/// How long it is remembered that a node left. What it last published goes round for a while.
const REMEMBERED: Duration = Duration::from_secs(2 * 3600);

#[derive(Debug)]
struct Entry {
    published: Published,
    /// Gossip knows it to be alive; so its silence is death.
    gossiped: bool,
    since: Instant,
    /// Until then its silence says nothing.
    excused: Option<Instant>,
}

impl Entry {
    fn is_excused(&self, now: Instant) -> bool {
        self.excused.is_some_and(|until| now < until)
    }
}

/// Why somebody is not a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Absence {
    /// It said so: it never comes back under this id.
    Left(Instant),
    /// Its kernel said so. Gossip may be late to know.
    Refused {
        since: Instant,
        /// Gossip held it for alive, so it will find it dead. It can also hear of a node that died
        /// soon after it joined only now, from others.
        gossiped: bool,
    },
}

#[derive(Debug)]
pub(super) struct Roster {
    me: NodeId,
    grace: Duration,
    members: BTreeMap<NodeId, Entry>,
    absent: BTreeMap<NodeId, Absence>,
}

impl Roster {
    pub(super) fn new(me: Published, grace: Duration, now: Instant) -> Self {
        let id = me.member.id;
        let entry = Entry {
            published: me,
            gossiped: false,
            since: now,
            excused: None,
        };
        Self {
            me: id,
            grace,
            members: BTreeMap::from([(id, entry)]),
            absent: BTreeMap::new(),
        }
    }

    /// Whether that node is a member.
    pub(super) fn has(&self, node: NodeId) -> bool {
        self.members.contains_key(&node)
    }

    /// The members other than oneself.
    pub(super) fn others(&self) -> impl Iterator<Item = &Member> {
        self.members
            .values()
            .map(|entry| &entry.published.member)
            .filter(|member| member.id != self.me)
    }

    /// What the other members said of themselves.
    pub(super) fn published(&self) -> impl Iterator<Item = &Published> {
        let all = self.members.values().map(|entry| &entry.published);
        all.filter(|published| published.member.id != self.me)
    }

    /// A node said that it rests, or that its next program goes on: gossip has to hear of that one
    /// first.
    pub(super) fn excuse(&mut self, node: NodeId, until: Instant) {
        if let Some(entry) = self.members.get_mut(&node) {
            entry.excused = Some(until);
        }
    }

    /// This node heard nobody for a while, by its own doing: nobody is to be held for silent.
    pub(super) fn restart(&mut self, now: Instant) {
        for entry in self.members.values_mut() {
            entry.gossiped = false;
            entry.since = now;
        }
    }

    /// Whether it makes sense to send something to a node: not if its process is known to be gone.
    pub(super) fn may_live(&self, node: NodeId) -> bool {
        !self.absent.contains_key(&node)
    }

    /// A node spoke for itself.
    pub(super) fn heard(&mut self, said: Published, now: Instant) -> Vec<EngineEvent> {
        let node = said.member.id;
        match self.absent.get(&node) {
            Some(Absence::Left(_)) => return Vec::new(),
            Some(Absence::Refused { .. }) => {
                self.absent.remove(&node);
            }
            None => {}
        }
        self.put(said, false, now)
    }

    /// All that the detector holds for alive, with what is known of them.
    pub(super) fn alive(
        &mut self,
        alive: &BTreeMap<NodeId, Option<Published>>,
        now: Instant,
    ) -> Vec<EngineEvent> {
        let mut events = Vec::new();
        self.absent.retain(|node, absence| match absence {
            Absence::Left(since) => now.saturating_duration_since(*since) < REMEMBERED,
            Absence::Refused { since, gossiped } => {
                let is_alive = alive.contains_key(node);
                let found_dead = *gossiped && !is_alive;
                *gossiped |= is_alive;
                !found_dead && now.saturating_duration_since(*since) < DOUBT
            }
        });
        let silent: Vec<_> = self
            .members
            .iter()
            .filter(|(node, entry)| {
                **node != self.me
                    && entry.gossiped
                    && !alive.contains_key(node)
                    && !entry.is_excused(now)
            })
            .map(|(node, _)| *node)
            .collect();
        for node in silent {
            events.extend(self.remove(node, Departure::Lost));
        }
        for (node, published) in alive {
            if self.absent.contains_key(node) {
                continue;
            }
            if let Some(published) = published {
                events.extend(self.put(published.clone(), true, now));
            }
            if let Some(entry) = self.members.get_mut(node) {
                entry.gossiped = true;
            }
        }
        events
    }

    /// The kernel of a node's address says that its process is gone.
    pub(super) fn refused(&mut self, node: NodeId, now: Instant) -> Vec<EngineEvent> {
        if node == self.me || self.absent.contains_key(&node) {
            return Vec::new();
        }
        let entry = self.members.get(&node);
        let gossiped = entry.is_some_and(|entry| entry.gossiped);
        let since = now;
        self.absent
            .insert(node, Absence::Refused { since, gossiped });
        self.remove(node, Departure::Lost)
    }

    /// A node said that it leaves.
    pub(super) fn left(&mut self, node: NodeId, now: Instant) -> Vec<EngineEvent> {
        if node == self.me {
            return Vec::new();
        }
        self.absent.insert(node, Absence::Left(now));
        self.remove(node, Departure::Left)
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<EngineEvent> {
        let overdue: BTreeSet<_> = self
            .members
            .iter()
            .filter(|(node, entry)| {
                **node != self.me
                    && !entry.gossiped
                    && now.saturating_duration_since(entry.since) >= self.grace
                    && !entry.is_excused(now)
            })
            .map(|(node, _)| *node)
            .collect();
        overdue
            .into_iter()
            .flat_map(|node| self.remove(node, Departure::Lost))
            .collect()
    }

    /// Somebody else under a name that a live member has.
    pub(super) fn namesake(&self, said: &Member) -> Option<&Member> {
        self.members
            .values()
            .map(|entry| &entry.published.member)
            .find(|member| member.name == said.name && member.id != said.id)
    }

    fn put(&mut self, said: Published, gossiped: bool, now: Instant) -> Vec<EngineEvent> {
        let node = said.member.id;
        if let Some(entry) = self.members.get_mut(&node) {
            if said.revision <= entry.published.revision {
                return Vec::new();
            }
            let changed = entry.published.member != said.member;
            entry.published = said.clone();
            return if changed {
                vec![EngineEvent::Member(said.member)]
            } else {
                Vec::new()
            };
        }
        if let Some(namesake) = self.namesake(&said.member) {
            tracing::warn!(
                name = %said.member.name,
                alive = %namesake.id,
                ignored = %node,
                "two nodes have one name; the second is no member until the first is gone"
            );
            return Vec::new();
        }
        let member = said.member.clone();
        let entry = Entry {
            published: said,
            gossiped,
            since: now,
            excused: None,
        };
        self.members.insert(node, entry);
        vec![EngineEvent::Member(member)]
    }

    fn remove(&mut self, node: NodeId, cause: Departure) -> Vec<EngineEvent> {
        match self.members.remove(&node) {
            Some(_) => vec![EngineEvent::Gone { node, cause }],
            None => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
