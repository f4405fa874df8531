//! A small world: a few nodes, an engine that is exclusive unless told otherwise, ordered
//! connections, and hosts that do what they are told.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use handover_proto::moment::{Machine, Moment};

use super::host::Hosts;
use crate::event::Event;
use crate::identity::{KindName, NodeId, NodeName, ProcessId, RequestId, ShardId, Term};
use crate::message::Message;
use crate::node::{Answer, Command, Effect, Input, Node, Settings, StartOptions};
use crate::placement;
use crate::row::{Row, Rows};
use crate::spec::ChildSpec;
use crate::view::{
    Claim, Departure, EngineEvent, EngineOrder, Guarantees, Load, Member, Owner, Standing, Transfer,
};

/// Few, so that tests that look at every shard are short.
pub(crate) const SHARDS: u16 = 64;

/// Longest time a scenario may take to settle.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Default)]
pub(crate) struct Memory {
    shards: BTreeMap<ShardId, BTreeMap<ProcessId, Row>>,
}

impl Memory {
    fn of(id: &ProcessId) -> ShardId {
        placement::shard_of(id, SHARDS)
    }
}

impl Rows for Memory {
    fn get(&self, id: &ProcessId) -> Option<Row> {
        self.shards.get(&Self::of(id))?.get(id).cloned()
    }

    fn put(&mut self, row: Row) {
        let shard = self.shards.entry(Self::of(row.id())).or_default();
        shard.insert(row.id().clone(), row);
    }

    fn remove(&mut self, id: &ProcessId) -> Option<Row> {
        self.shards.get_mut(&Self::of(id))?.remove(id)
    }

    fn shard(&self, shard: ShardId) -> Vec<Row> {
        let rows = self.shards.get(&shard);
        rows.map(|rows| rows.values().cloned().collect())
            .unwrap_or_default()
    }

    fn count(&self, shard: ShardId) -> usize {
        self.shards.get(&shard).map_or(0, BTreeMap::len)
    }
}

/// One node with what it runs and what is on its way to it.
pub(crate) struct Place {
    pub(crate) node: Node<Memory>,
    pub(crate) hosts: Hosts,
    pub(crate) engine: VecDeque<EngineEvent>,
    pub(crate) answers: BTreeMap<RequestId, Answer>,
    pub(crate) events: Vec<Event>,
    pub(crate) messages: usize,
    pub(crate) left: bool,
}

pub(crate) struct World {
    pub(crate) now: Moment,
    pub(crate) settings: Settings,
    pub(crate) places: BTreeMap<NodeId, Place>,
    pub(crate) members: BTreeMap<NodeId, Member>,
    pub(crate) owners: BTreeMap<ShardId, Owner>,
    pub(crate) wires: BTreeMap<(NodeId, NodeId), VecDeque<Message>>,
    /// Nothing reaches passive replicas while set.
    pub(crate) holds_fills: bool,
    /// No state of a process that moves arrives while set.
    pub(crate) holds_states: bool,
    terms: u64,
    requests: u64,
    joined: u64,
}

pub(crate) fn id(text: &str) -> ProcessId {
    ProcessId::new(text).expect("a process's id")
}

pub(crate) fn child(text: &str) -> Arc<ChildSpec> {
    let kind = KindName::new("counter").expect("a kind");
    Arc::new(ChildSpec::new(kind, id(text)))
}

pub(crate) fn children(count: usize) -> Vec<Arc<ChildSpec>> {
    (0..count).map(|n| child(&format!("child-{n}"))).collect()
}

impl World {
    /// A cluster of nodes 1 to `nodes` that has settled.
    pub(crate) fn of(nodes: u64) -> Self {
        let settings = Settings {
            shards: SHARDS,
            guarantees: Guarantees {
                exclusive: true,
                lease: Some(Duration::from_secs(10)),
            },
            ..Settings::default()
        };
        Self::with(nodes, settings)
    }

    pub(crate) fn with(nodes: u64, settings: Settings) -> Self {
        let mut world = Self {
            now: Moment::ZERO,
            settings,
            places: BTreeMap::new(),
            members: BTreeMap::new(),
            owners: BTreeMap::new(),
            wires: BTreeMap::new(),
            holds_fills: false,
            holds_states: false,
            terms: 0,
            requests: 0,
            joined: 0,
        };
        for number in 1..=nodes {
            world.join(number);
        }
        world.settle();
        world
    }

    pub(crate) fn join(&mut self, number: u64) {
        self.joined += 1;
        let me = Member {
            id: NodeId(number),
            name: NodeName::new(&format!("node-{number}")).expect("a name"),
            address: String::new(),
            weight: 100,
            version: String::new(),
            joined_ms: self.joined,
            standing: Standing::Serving,
            load: Load::default(),
        };
        let node = Node::new(
            self.settings.clone(),
            me.clone(),
            Memory::default(),
            self.now,
        );
        let mut place = Place {
            node,
            hosts: Hosts::default(),
            engine: VecDeque::new(),
            answers: BTreeMap::new(),
            events: Vec::new(),
            messages: 0,
            left: false,
        };
        self.members.insert(me.id, me.clone());
        let known = self.members.values().cloned().map(EngineEvent::Member);
        place.engine.extend(known);
        let owners = self.owners.iter().map(|(shard, owner)| (*shard, *owner));
        place
            .engine
            .push_back(EngineEvent::Owners(owners.collect()));
        place.engine.push_back(EngineEvent::Ready);
        self.tell_others(me.id, &EngineEvent::Member(me.clone()));
        self.places.insert(me.id, place);
    }

    /// A node goes by another name.
    pub(crate) fn rename(&mut self, number: u64, name: &str) {
        let member = self.members.get_mut(&NodeId(number)).expect("a member");
        member.name = NodeName::new(name).expect("a name");
        let event = EngineEvent::Member(member.clone());
        self.tell_others(NodeId(0), &event);
    }

    fn tell_others(&mut self, but: NodeId, event: &EngineEvent) {
        for (id, place) in &mut self.places {
            if *id != but {
                place.engine.push_back(event.clone());
            }
        }
    }

    /// A node dies, and the engine says so.
    pub(crate) fn kill(&mut self, number: u64) {
        self.vanish(number, Departure::Lost);
    }

    fn vanish(&mut self, number: u64, cause: Departure) {
        let node = NodeId(number);
        self.places.remove(&node);
        self.members.remove(&node);
        self.wires
            .retain(|(from, to), _| *from != node && *to != node);
        self.tell_others(node, &EngineEvent::Gone { node, cause });
    }

    /// The engine holds a node for dead that is not.
    pub(crate) fn bury(&mut self, number: u64) {
        let node = NodeId(number);
        self.members.remove(&node);
        self.wires
            .retain(|(from, to), _| *from != node && *to != node);
        let cause = Departure::Lost;
        self.tell_others(node, &EngineEvent::Gone { node, cause });
    }

    /// It finds that out, and is a member again.
    pub(crate) fn come_back(&mut self, number: u64) {
        let me = self.places[&NodeId(number)].node.status().me;
        self.members.insert(me.id, me.clone());
        self.tell_others(me.id, &EngineEvent::Member(me.clone()));
        let owners: Vec<_> = self.owners.iter().map(|(s, owner)| (*s, *owner)).collect();
        self.input(me.id, Input::Engine(EngineEvent::Owners(owners)));
    }

    /// A new version of a node's program goes on where the old one stopped, over the same hosts.
    pub(crate) fn succeed(&mut self, number: u64) {
        let (now, settings) = (self.now, self.settings.clone());
        let owners: Vec<_> = self.owners.iter().map(|(s, owner)| (*s, *owner)).collect();
        let members: Vec<_> = self.members.values().cloned().collect();
        let place = self.places.get_mut(&NodeId(number)).expect("it lives");
        let handed = place.node.hand_over();
        assert_eq!(handed.processes().count(), place.hosts.len());
        place.node = Node::handed(settings, handed, Memory::default(), now);
        place
            .engine
            .extend(members.into_iter().map(EngineEvent::Member));
        place.engine.push_back(EngineEvent::Owners(owners));
        place.engine.push_back(EngineEvent::Ready);
    }

    /// A home claims a shard of its own again.
    pub(crate) fn anew(&mut self, node: NodeId, shard: ShardId) {
        let place = self.places.get_mut(&node).expect("it lives");
        place.node.reclaim(shard);
        self.input(node, Input::Tick);
    }

    /// The connection between two nodes breaks with all that is on it, and is there again.
    pub(crate) fn cut(&mut self, one: u64, other: u64) {
        let (one, other) = (NodeId(one), NodeId(other));
        self.wires.remove(&(one, other));
        self.wires.remove(&(other, one));
        for (at, of) in [(one, other), (other, one)] {
            self.input(at, Input::Disconnected(of));
        }
    }

    pub(crate) fn command(&mut self, number: u64, command: Command) -> RequestId {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.input(NodeId(number), Input::Command { request, command });
        request
    }

    pub(crate) fn start(&mut self, number: u64, children: Vec<Arc<ChildSpec>>) -> Answer {
        let options = StartOptions::default();
        let request = self.command(number, Command::Start { children, options });
        self.answer(number, request)
    }

    /// Waits for an answer.
    pub(crate) fn answer(&mut self, number: u64, request: RequestId) -> Answer {
        let end = self.now + PATIENCE;
        loop {
            let place = self.places.get_mut(&NodeId(number)).expect("a living node");
            if let Some(answer) = place.answers.remove(&request) {
                return answer;
            }
            assert!(self.now < end, "no answer in time");
            assert!(self.step(), "nothing is left to do, and no answer");
        }
    }

    pub(crate) fn input(&mut self, at: NodeId, input: Input<Message>) {
        let Some(place) = self.places.get_mut(&at) else {
            return;
        };
        place.node.handle(self.now, input);
        let mut orders = Vec::new();
        while let Some(effect) = place.node.poll_effect() {
            match effect {
                Effect::Send { to, message } => {
                    place.messages += 1;
                    assert!(message.len() <= crate::message::ITEMS_AT_ONCE);
                    if self.members.contains_key(&to) {
                        self.wires.entry((at, to)).or_default().push_back(message);
                    }
                }
                Effect::Engine(order) => orders.push(order),
                Effect::Host(order) => place.hosts.order(order),
                Effect::Answer { request, answer } => {
                    assert!(
                        place.answers.insert(request, answer).is_none(),
                        "one answer"
                    );
                }
                Effect::Report(event) => place.events.push(event),
            }
        }
        for order in orders {
            self.engine(at, order);
        }
    }

    fn engine(&mut self, from: NodeId, order: EngineOrder) {
        let mut touched = Vec::new();
        match order {
            EngineOrder::Claim(claims) => {
                for Claim { shard, over } in claims {
                    let owner = self.owners.get(&shard).copied();
                    let free =
                        owner.is_none_or(|o| o.node == from || !self.members.contains_key(&o.node));
                    if owner.map(|o| o.term) == over && free {
                        self.own(shard, from);
                    }
                    touched.push(shard);
                }
            }
            EngineOrder::Transfer(transfers) => {
                for Transfer { shard, term, to } in transfers {
                    let mine = Some(Owner { node: from, term });
                    if self.owners.get(&shard).copied() == mine && self.members.contains_key(&to) {
                        self.own(shard, to);
                    }
                    touched.push(shard);
                }
            }
            EngineOrder::Announce(member) => {
                self.members.insert(member.id, member.clone());
                self.tell_others(NodeId(0), &EngineEvent::Member(member));
            }
            EngineOrder::Leave => {
                if let Some(place) = self.places.get_mut(&from) {
                    place.left = true;
                }
            }
        }
        let owners: Vec<_> = touched
            .iter()
            .filter_map(|shard| Some((*shard, *self.owners.get(shard)?)))
            .collect();
        if !owners.is_empty() {
            self.tell_others(NodeId(0), &EngineEvent::Owners(owners));
        }
    }

    fn own(&mut self, shard: ShardId, node: NodeId) {
        self.terms += 1;
        let term = Term(self.terms);
        self.owners.insert(shard, Owner { node, term });
    }

    /// One thing happens. False if nothing ever will.
    pub(crate) fn step(&mut self) -> bool {
        let ids: Vec<NodeId> = self.places.keys().copied().collect();
        for at in ids {
            if let Some(event) = self.place(at).and_then(|place| place.engine.pop_front()) {
                self.input(at, Input::Engine(event));
                return true;
            }
            if let Some(report) = self.place(at).and_then(|place| place.hosts.report()) {
                self.input(at, Input::Host(report));
                return true;
            }
            let sent = (!self.holds_states).then(|| self.place(at)?.hosts.sent());
            if let Some((to, moved)) = sent.flatten() {
                if let Some(target) = self.place(to) {
                    target.hosts.arrive(moved);
                }
                return true;
            }
            let fill = (!self.holds_fills).then(|| self.place(at)?.hosts.fills());
            if let Some((to, process)) = fill.flatten() {
                if let Some(target) = self.place(to) {
                    target.hosts.fill(process);
                }
                return true;
            }
        }
        let next = self.wires.iter_mut().find(|(_, queue)| !queue.is_empty());
        if let Some((&(from, to), queue)) = next {
            let message = queue.pop_front().expect("a message");
            self.input(to, Input::Heard { from, message });
            return true;
        }
        self.pass_time()
    }

    fn place(&mut self, at: NodeId) -> Option<&mut Place> {
        self.places.get_mut(&at)
    }

    fn pass_time(&mut self) -> bool {
        let deadlines = self.places.iter().filter_map(|(id, place)| {
            let at = place.node.next_deadline()?;
            Some((at, *id))
        });
        let Some((at, id)) = deadlines.min() else {
            return false;
        };
        if let Some(place) = self.places.get(&id)
            && place.left
        {
            self.vanish(id.0, Departure::Left);
            return true;
        }
        self.now = self.now.max(at);
        self.input(id, Input::Tick);
        true
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end && self.step() {}
    }

    /// Runs until nothing is to be done but to wait for the next digest.
    pub(crate) fn settle(&mut self) {
        self.run(Duration::from_secs(3));
    }

    /// All shards have the home that placement says (H8), and every node knows the same rows.
    pub(crate) fn assert_settled(&self) {
        let members: Vec<Member> = self.members.values().cloned().collect();
        let homes = placement::homes(&members, SHARDS);
        let all = (0..SHARDS).map(ShardId);
        for (shard, wanted) in all.zip(homes) {
            let owner = self.owners.get(&shard).map(|owner| owner.node);
            assert_eq!(owner, Some(wanted), "{shard:?}");
            let mut copies = self
                .places
                .values()
                .map(|p| p.node.rows().shards.get(&shard));
            let first = copies.next().flatten().cloned().unwrap_or_default();
            for copy in copies {
                assert_eq!(copy.cloned().unwrap_or_default(), first, "{shard:?}");
            }
        }
    }

    /// The nodes on which a process answers.
    pub(crate) fn runs_on(&self, process: &ProcessId) -> Vec<NodeId> {
        let runs = self.places.iter().filter(|(_, p)| p.hosts.answers(process));
        runs.map(|(id, _)| *id).collect()
    }

    /// Every one of the children answers on exactly one node, and that is what the rows say (H2).
    pub(crate) fn assert_all_run(&self, children: &[Arc<ChildSpec>]) {
        for child in children {
            let runs = self.runs_on(&child.id);
            assert_eq!(runs.len(), 1, "{} runs on {runs:?}", child.id);
            for (at, place) in &self.places {
                let row = place.node.rows().get(&child.id);
                let row = row.unwrap_or_else(|| panic!("{} is unknown on {at}", child.id));
                let hosts: Vec<NodeId> = row.hosts().iter().map(|host| host.node).collect();
                assert_eq!(hosts, runs, "{} by node {at}", child.id);
            }
        }
    }

    /// Every child runs on the home of its shard.
    pub(crate) fn assert_all_placed(&self, children: &[Arc<ChildSpec>]) {
        for child in children {
            let shard = placement::shard_of(&child.id, SHARDS);
            let home = self.owners.get(&shard).map(|owner| owner.node);
            assert_eq!(
                self.runs_on(&child.id).first().copied(),
                home,
                "{}",
                child.id
            );
        }
    }
}
