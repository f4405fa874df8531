//! A node is emptied: evacuated, or it leaves.
//!
//! It says so in its standing, so that placement names others, and tells all homes where its
//! processes should go and how fast. What it had of shards it transfers, what it runs is moved away
//! by the new homes; it only waits.

use alloc::collections::BTreeMap;
use alloc::collections::btree_set::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use super::{Effect, Evacuation, Failure, HostOrder, Node, Staying, Timer};
use crate::event::Event;
use crate::home::Asker;
use crate::identity::{NodeId, NodeName, ProcessId, RequestId, ShardId};
use crate::message::{Emptying, Item};
use crate::node::Answer;
use crate::requests::PATIENCE;
use crate::row::{Row, Rows};
use crate::spec::{ChildSpec, Placing};
use crate::view::{EngineOrder, Member, Standing};

/// How long a node that leaves waits for what it leaves behind to stop (H2).
const STOPPING: Duration = Duration::from_secs(5);

/// How long a node that leaves lets its last answers reach their readers.
const FAREWELL: Duration = Duration::from_millis(20);

/// How many orders of each node a node that is emptied keeps in mind.
const ORDERS: usize = 16;

/// Orders to empty this node, and their answers once they have one.
pub(crate) type Evacuations = BTreeMap<(NodeId, u64), Option<Answer>>;

/// Who waits for this node to be empty.
pub(crate) enum Leaving {
    /// It stays a member.
    Evacuation { askers: Vec<Asker>, before: u64 },
    /// It goes.
    Departure { request: RequestId, before: u64 },
    /// It is empty and has said so.
    Gone,
}

impl<R: Rows> Node<R> {
    pub(crate) fn command_evacuate(&mut self, request: RequestId, evacuation: Evacuation) {
        let unknown = evacuation
            .to
            .iter()
            .find(|name| self.members.named(name).is_none());
        if let Some(name) = unknown {
            self.answer(request, Answer::Failed(Failure::UnknownNode(name.clone())));
            return;
        }
        let emptying = Emptying {
            to: evacuation.to,
            rate: evacuation.rate,
        };
        self.pass_evacuation(request, evacuation.node, Some(emptying), evacuation.timeout);
    }

    pub(crate) fn command_abort_evacuation(&mut self, request: RequestId, node: &NodeName) {
        self.pass_evacuation(request, node.clone(), None, PATIENCE);
    }

    fn pass_evacuation(
        &mut self,
        id: RequestId,
        node: NodeName,
        emptying: Option<Emptying>,
        timeout: Duration,
    ) {
        let Some(member) = self.members.named(&node) else {
            self.answer(id, Answer::Failed(Failure::UnknownNode(node)));
            return;
        };
        let to = member.id;
        let request = self.pass(id, to, timeout);
        self.say_passed(request, Item::Evacuate { request, emptying });
    }

    /// What is said of an evacuation whose time is over: it goes on, if that node has taken it.
    pub(crate) fn evacuation_due(&self, node: NodeId) -> Failure {
        let member = self.members.get(node);
        let taken = |member: &&Member| {
            member.standing != Standing::Serving || self.emptying.contains_key(&node)
        };
        let Some(member) = member.filter(taken) else {
            return Failure::TimedOut;
        };
        let runs = |row: &Row| row.hosts().iter().any(|host| host.node == node);
        let of_shard = |shard| self.rows.shard(ShardId(shard)).into_iter();
        let left = (0..self.settings.shards).flat_map(of_shard).filter(runs);
        Failure::StillEmptying {
            node: member.name.clone(),
            left: u64::try_from(left.count()).unwrap_or(u64::MAX),
        }
    }

    /// This node is to be emptied, or no longer.
    ///
    /// What was taken already is not done again: it may have been taken back since.
    pub(crate) fn heard_evacuate(&mut self, asker: Asker, emptying: Option<Emptying>) {
        match self.evacuations.get(&(asker.node, asker.request)) {
            Some(Some(answer)) => {
                let answer = answer.clone();
                self.answer_asker(asker, answer);
                return;
            }
            Some(None) => return,
            None => self.note_evacuation(asker),
        }
        if matches!(
            self.leaving,
            Some(Leaving::Departure { .. } | Leaving::Gone)
        ) {
            let reason = alloc::string::String::from("it leaves the cluster");
            let failed = Answer::Failed(Failure::Suspended { reason });
            self.answer_asker(asker, failed);
            return;
        }
        let Some(emptying) = emptying else {
            self.stop_evacuation();
            self.answer_asker(asker, Answer::Done);
            return;
        };
        match &mut self.leaving {
            Some(Leaving::Evacuation { askers, .. }) => askers.push(asker),
            _ => {
                self.leaving = Some(Leaving::Evacuation {
                    askers: Vec::from([asker]),
                    before: self.moved_away,
                });
            }
        }
        self.begin_emptying(Standing::Evacuating, emptying);
    }

    fn stop_evacuation(&mut self) {
        self.evacuated(Staying::Aborted);
        self.emptying.remove(&self.me.id);
        self.announce(Standing::Serving);
        self.say_emptying(None);
    }

    fn begin_emptying(&mut self, standing: Standing, emptying: Emptying) {
        self.emptying.insert(self.me.id, emptying);
        self.say_emptying(None);
        self.announce(standing);
        self.retry_later();
    }

    /// Says again what the engine does not know of this node, or knew better before.
    pub(crate) fn announce_again(&mut self) {
        let known = self.members.get(self.me.id).map(|member| member.standing);
        if known.is_some_and(|standing| standing != self.me.standing) {
            self.announce(self.me.standing);
        }
    }

    fn announce(&mut self, standing: Standing) {
        self.me.standing = standing;
        let order = EngineOrder::Announce(self.me.clone());
        self.effects.push_back(Effect::Engine(order));
    }

    /// Tells all others, or one, how this node is emptied.
    pub(crate) fn say_emptying(&mut self, to: Option<NodeId>) {
        let emptying = self.emptying.get(&self.me.id).cloned();
        if to.is_some() && emptying.is_none() {
            return;
        }
        let to = to.map_or_else(|| self.members.ids().collect(), |node| Vec::from([node]));
        for node in to {
            self.outbox.say(node, Item::Emptying(emptying.clone()));
        }
    }

    /// How another node is emptied.
    pub(crate) fn heard_emptying(&mut self, from: NodeId, emptying: Option<Emptying>) {
        let rate = emptying.as_ref().and_then(|emptying| emptying.rate);
        // Each home moves its share of what goes away.
        let serving = self
            .members
            .ids()
            .filter(|node| self.members.serves(*node))
            .count();
        let homes = u32::try_from(serving.max(1)).unwrap_or(u32::MAX);
        self.pace.limit(from, rate.map(|rate| rate.div_ceil(homes)));
        match emptying {
            Some(emptying) => self.emptying.insert(from, emptying),
            None => self.emptying.remove(&from),
        };
        self.members_changed();
    }

    pub(crate) fn command_leave(&mut self, request: RequestId, timeout: Duration) {
        if let Some(Leaving::Departure { .. } | Leaving::Gone) = self.leaving {
            let reason = alloc::string::String::from("it leaves the cluster already");
            self.answer(request, Answer::Failed(Failure::Suspended { reason }));
            return;
        }
        self.evacuated(Staying::Leaving);
        let before = self.moved_away;
        self.leaving = Some(Leaving::Departure { request, before });
        self.begin_emptying(Standing::Leaving, Emptying::default());
        self.timers.set(Timer::Leave, self.now + timeout);
    }

    /// Whether somebody waits for this node to be empty.
    pub(crate) fn is_emptied_by_now(&self) -> bool {
        self.leaving.is_some()
    }

    /// Whether it was said what this node leaves behind: from then on nothing may come here, which
    /// would be lost with it (H3). A home hears soon that this node is gone, and goes on without it.
    #[must_use]
    pub const fn has_gone(&self) -> bool {
        matches!(self.leaving, Some(Leaving::Gone))
    }

    /// Answers those who wait for this node to be empty, if it is.
    pub(crate) fn may_be_empty(&mut self) {
        if self.leaving.is_none() {
            return;
        }
        let (empty, homeless) = (self.is_empty(), self.homes.is_empty());
        match &self.leaving {
            Some(Leaving::Gone) if self.hosting.len() == 0 => {
                self.timers.set_sooner(Timer::Leave, self.now + FAREWELL);
            }
            Some(Leaving::Evacuation { .. }) if empty && homeless => {
                self.evacuated(Staying::Pinned);
            }
            Some(Leaving::Departure { .. }) if self.is_alone() || (empty && homeless) => {
                self.depart(Staying::Alone);
            }
            Some(Leaving::Gone | Leaving::Evacuation { .. } | Leaving::Departure { .. }) | None => {
            }
        }
    }

    /// Nothing runs here that could run elsewhere, and nothing is on its way from or to here.
    fn is_empty(&self) -> bool {
        let mut all = self.hosting.all();
        all.all(|here| self.stays(&here.spec.placing)) && self.terminal.processes().next().is_none()
    }

    /// What is placed so is not moved away from here.
    fn stays(&self, placing: &Placing) -> bool {
        match placing {
            Placing::Strategy => false,
            Placing::Pinned(names) => names.contains(&self.me.name),
        }
    }

    /// Nobody else could take anything. Not while members are changing: after a silence of the engine
    /// the dead ones may be told before those that came meanwhile (H9).
    fn is_alone(&self) -> bool {
        let mut others = self.members.ids().filter(|node| *node != self.me.id);
        self.ready && !self.settling && others.all(|node| !self.members.serves(node))
    }

    /// Answers those who wait for an evacuation, with what is left.
    fn evacuated(&mut self, why: Staying) {
        let Some(Leaving::Evacuation { askers, before }) = self
            .leaving
            .take_if(|it| matches!(it, Leaving::Evacuation { .. }))
        else {
            return;
        };
        let left = self.left_behind(why);
        let moved = self.moved_away - before;
        self.say_emptied(moved, &left);
        let answer = Answer::Evacuated { moved, left };
        for asker in askers {
            self.answer_asker(asker, answer.clone());
        }
    }

    fn depart(&mut self, why: Staying) {
        let left = self.left_behind(why);
        let Some(Leaving::Departure { request, before }) = self.leaving.replace(Leaving::Gone)
        else {
            return;
        };
        let moved = self.moved_away - before;
        self.say_emptied(moved, &left);
        self.answer(request, Answer::Evacuated { moved, left });
        self.stop_all();
        let time = if self.hosting.len() == 0 {
            FAREWELL
        } else {
            STOPPING
        };
        self.timers.set(Timer::Leave, self.now + time);
    }

    fn say_emptied(&mut self, moved: u64, left: &[(ProcessId, Failure)]) {
        let left = u64::try_from(left.len()).unwrap_or(u64::MAX);
        self.effects
            .push_back(Effect::Report(Event::Emptied { moved, left }));
    }

    /// A node that leaves does not wait any longer.
    pub(crate) fn leave_due(&mut self) {
        match self.leaving {
            Some(Leaving::Departure { .. }) => self.depart(Staying::OutOfTime),
            Some(Leaving::Gone) => {
                if self.hosting.len() > 0 {
                    // Others begin it anew as soon as this node is none of them (H2).
                    self.effects.push_back(Effect::Host(HostOrder::Suspend));
                }
                self.effects.push_back(Effect::Engine(EngineOrder::Leave));
            }
            Some(Leaving::Evacuation { .. }) | None => {}
        }
    }

    fn left_behind(&self, why: Staying) -> Vec<(ProcessId, Failure)> {
        let stays = |spec: &ChildSpec| {
            let why = if self.stays(&spec.placing) {
                Staying::Pinned
            } else {
                why
            };
            (spec.id.clone(), Failure::Stays(why))
        };
        self.hosting.all().map(|here| stays(&here.spec)).collect()
    }

    /// Keeps in mind that an order was taken; of each node, only the latest ones.
    fn note_evacuation(&mut self, asker: Asker) {
        let node = asker.node;
        self.evacuations.insert((node, asker.request), None);
        let of_node = self.evacuations.range((node, 0)..=(node, u64::MAX));
        if of_node.count() > ORDERS
            && let Some(oldest) = self
                .evacuations
                .range((node, 0)..)
                .next()
                .map(|(key, _)| *key)
        {
            self.evacuations.remove(&oldest);
        }
    }

    /// Nobody of a node that is gone waits for anything.
    pub(crate) fn evacuations_without(&mut self, node: NodeId) {
        self.evacuations.retain(|(asker, _), _| *asker != node);
    }

    fn answer_asker(&mut self, asker: Asker, answer: Answer) {
        let request = asker.request;
        if let Some(kept) = self.evacuations.get_mut(&(asker.node, request)) {
            *kept = Some(answer.clone());
        }
        self.outbox
            .say(asker.node, Item::Answered { request, answer });
    }

    /// Where what runs on a node that is evacuated should go, if somebody said.
    pub(crate) fn refuge(&self, from: NodeId, process: &ProcessId) -> Option<NodeId> {
        let emptying = self
            .emptying
            .get(&from)
            .filter(|emptying| !emptying.to.is_empty())?;
        let named = emptying
            .to
            .iter()
            .filter_map(|name| self.members.named(name));
        let nodes: BTreeSet<NodeId> = named
            .map(|member| member.id)
            .filter(|node| *node != from && self.members.serves(*node))
            .collect();
        let hash = xxhash_rust::xxh3::xxh3_64(process.as_str().as_bytes());
        let count = u64::try_from(nodes.len()).ok().filter(|count| *count > 0)?;
        let at = usize::try_from(hash / 7 % count).ok()?;
        nodes.into_iter().nth(at)
    }
}
