//! What one node's machine tells another's.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use handover_hub::fuzzing::control;
use handover_hub_proto::identity::{
    KindName, NodeId, NodeName, ProcessId, RequestId, ShardId, Term,
};
use handover_hub_proto::message::Message;
use handover_hub_proto::node::{
    Command, Effect, Evacuation, HostOrder, HostReport, Input, Node, Settings, StartOptions,
};
use handover_hub_proto::placement::shard_of;
use handover_hub_proto::row::{Row, Rows};
use handover_hub_proto::spec::ChildSpec;
use handover_hub_proto::view::{
    EngineEvent, EngineOrder, Guarantees, Load, Member, Owner, Standing,
};
use handover_proto::moment::{Machine, Moment};

/// Few, so that messages are about the same ones.
const SHARDS: u16 = 4;

/// Nodes of the cluster: 1 is the one that listens.
const NODES: u64 = 3;

/// One input has at most so many effects: what a node does for a message is bounded.
const EFFECTS: usize = 100_000;

/// Messages to a node: who says each, how much later, its length in two bytes, and itself. The node
/// does not panic whatever is said, and it comes to rest.
pub fn hub_messages(data: &[u8]) {
    let Some((kind, mut rest)) = data.split_first() else {
        return;
    };
    let mut cluster = Cluster::new(kind % 2 == 0);
    cluster.children(6);
    // Answers are taken only from those that were asked.
    let (request, command) = (RequestId(1), Command::Moves { others: true });
    cluster.input(NodeId(1), Input::Command { request, command });
    cluster.rest(Some(NodeId(1)));
    while let [who, later, low, high, more @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(more.len());
        let (bytes, after) = more.split_at(length);
        rest = after;
        cluster.pass(Duration::from_millis(u64::from(*later) * 100));
        let from = NodeId(u64::from(who % 2) + 2);
        if let Some(message) = control(bytes) {
            cluster.input(NodeId(1), Input::Heard { from, message });
            cluster.rest(Some(NodeId(1)));
        }
    }
    cluster.pass(Duration::from_secs(60));
}

#[derive(Default)]
struct Table {
    shards: BTreeMap<ShardId, BTreeMap<ProcessId, Row>>,
}

impl Rows for Table {
    fn get(&self, id: &ProcessId) -> Option<Row> {
        self.shards.get(&shard_of(id, SHARDS))?.get(id).cloned()
    }

    fn put(&mut self, row: Row) {
        let shard = self.shards.entry(shard_of(row.id(), SHARDS)).or_default();
        shard.insert(row.id().clone(), row);
    }

    fn remove(&mut self, id: &ProcessId) -> Option<Row> {
        self.shards.get_mut(&shard_of(id, SHARDS))?.remove(id)
    }

    fn shard(&self, shard: ShardId) -> Vec<Row> {
        let rows = self.shards.get(&shard);
        rows.map_or_else(Vec::new, |rows| rows.values().cloned().collect())
    }

    fn count(&self, shard: ShardId) -> usize {
        self.shards.get(&shard).map_or(0, BTreeMap::len)
    }
}

/// Nodes whose hosts do at once what they are told, and an engine.
struct Cluster {
    nodes: BTreeMap<NodeId, Node<Table>>,
    members: Vec<Member>,
    owners: BTreeMap<ShardId, Owner>,
    now: Moment,
    waiting: VecDeque<(NodeId, Input<Message>)>,
    said: Vec<(NodeId, NodeId, Message)>,
}

fn member(number: u64) -> Member {
    Member {
        id: NodeId(number),
        name: NodeName::new(&format!("n{number}")).expect("a name"),
        address: String::new(),
        weight: 100,
        version: String::new(),
        joined_ms: number,
        standing: Standing::Serving,
        load: Load::default(),
    }
}

impl Cluster {
    fn new(exclusive: bool) -> Self {
        let lease = exclusive.then_some(Duration::from_secs(10));
        let settings = Settings {
            shards: SHARDS,
            guarantees: Guarantees { exclusive, lease },
            ..Settings::default()
        };
        let members: Vec<Member> = (1..=NODES).map(member).collect();
        let start = |me: &Member| {
            let node = Node::new(settings.clone(), me.clone(), Table::default(), Moment::ZERO);
            (me.id, node)
        };
        let mut cluster = Self {
            nodes: members.iter().map(start).collect(),
            members: members.clone(),
            owners: BTreeMap::new(),
            now: Moment::ZERO,
            waiting: VecDeque::new(),
            said: Vec::new(),
        };
        for at in cluster.members.clone() {
            let known = members.iter().cloned().map(EngineEvent::Member);
            for event in known.chain([EngineEvent::Ready]) {
                cluster.input(at.id, Input::Engine(event));
            }
        }
        cluster.rest(None);
        cluster.pass(Duration::from_secs(5));
        cluster
    }

    fn children(&mut self, count: usize) {
        let kind = KindName::new("counter").expect("a kind");
        let child = |number: usize| {
            let id = ProcessId::new(&format!("c{number}")).expect("an id");
            std::sync::Arc::new(ChildSpec::new(kind.clone(), id))
        };
        let children = (0..count).map(child).collect();
        let options = StartOptions::default();
        self.command(Command::Start { children, options });
    }

    fn command(&mut self, command: Command) {
        self.command_at(NodeId(1), command);
    }

    fn command_at(&mut self, node: NodeId, command: Command) {
        let request = RequestId(self.now.as_nanos());
        self.input(node, Input::Command { request, command });
        self.rest(None);
        self.pass(Duration::from_secs(2));
    }

    /// What the nodes want done about an input. Whoever has none of the messages is not told.
    fn input(&mut self, at: NodeId, input: Input<Message>) {
        self.waiting.push_back((at, input));
    }

    /// Until nothing is left to do: of all nodes, or of one whose messages go nowhere.
    fn rest(&mut self, only: Option<NodeId>) {
        let mut effects = 0;
        while let Some((at, input)) = self.waiting.pop_front() {
            let now = self.now;
            let Some(node) = self.nodes.get_mut(&at) else {
                continue;
            };
            node.handle(now, input);
            let mut wanted = Vec::new();
            while let Some(effect) = node.poll_effect() {
                wanted.push(effect);
                effects += 1;
                assert!(effects < EFFECTS, "it comes to no rest");
            }
            for effect in wanted {
                self.carry_out(at, effect, only);
            }
        }
    }

    fn carry_out(&mut self, at: NodeId, effect: Effect<Message>, only: Option<NodeId>) {
        match effect {
            Effect::Send { to, message } => {
                self.said.push((at, to, message.clone()));
                if only.is_none() {
                    self.input(to, Input::Heard { from: at, message });
                }
            }
            Effect::Engine(order) => self.engine(at, order),
            Effect::Host(order) => {
                if let Some(report) = report(order, &mut self.waiting) {
                    self.input(at, Input::Host(report));
                }
            }
            Effect::Answer { .. } | Effect::Report(_) => {}
        }
    }

    fn engine(&mut self, from: NodeId, order: EngineOrder) {
        let taken: Vec<(ShardId, NodeId)> = match order {
            EngineOrder::Claim(claims) => claims
                .into_iter()
                .filter(|claim| self.owners.get(&claim.shard).map(|o| o.term) == claim.over)
                .map(|claim| (claim.shard, from))
                .collect(),
            EngineOrder::Transfer(transfers) => {
                let given = transfers.into_iter();
                given.map(|given| (given.shard, given.to)).collect()
            }
            EngineOrder::Announce(member) => {
                for at in self.members.clone() {
                    let event = EngineEvent::Member(member.clone());
                    self.input(at.id, Input::Engine(event));
                }
                return;
            }
            EngineOrder::Leave => return,
        };
        for (shard, node) in taken {
            let term = self.owners.get(&shard).map_or(0, |owner| owner.term.0) + 1;
            let owner = Owner {
                node,
                term: Term(term),
            };
            self.owners.insert(shard, owner);
        }
        let owners: Vec<_> = self.owners.iter().map(|(s, owner)| (*s, *owner)).collect();
        for at in self.members.clone() {
            let event = EngineEvent::Owners(owners.clone());
            self.input(at.id, Input::Engine(event));
        }
    }

    /// Time passes, in steps, so that what is due happens in its order.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..64 {
            let due = self.nodes.values().filter_map(Machine::next_deadline);
            let Some(due) = due.min().filter(|due| *due <= end) else {
                break;
            };
            self.now = self.now.max(due);
            for at in self.members.clone() {
                self.input(at.id, Input::Tick);
            }
            self.rest(None);
        }
        self.now = self.now.max(end);
    }
}

/// What is reported of an order that goes well; a state that is sent arrives.
fn report(
    order: HostOrder,
    waiting: &mut VecDeque<(NodeId, Input<Message>)>,
) -> Option<HostReport> {
    if let HostOrder::SendState {
        process,
        attempt,
        to,
        ..
    } = &order
    {
        let arrived = HostReport::StateArrived {
            process: process.clone(),
            attempt: *attempt,
            result: Ok(()),
        };
        waiting.push_back((*to, Input::Host(arrived)));
    }
    order.answered(Ok(()))
}

pub(crate) mod seeds {
    use super::{Cluster, Command, Duration, Evacuation, Message, NodeId, NodeName, ProcessId};

    /// What the nodes tell the first one while children start, move, go away and come back.
    fn told() -> Vec<(NodeId, Message)> {
        let name = |name: &str| NodeName::new(name).expect("a name");
        let id = |id: &str| ProcessId::new(id).expect("an id");
        let mut cluster = Cluster::new(true);
        cluster.children(8);
        for number in 0..4 {
            let process = id(&format!("c{number}"));
            let to = name(&format!("n{}", number % 3 + 1));
            cluster.command(Command::Move { process, to });
        }
        for node in 1..=3 {
            // The first one is told, and asked by the others.
            cluster.command_at(NodeId(node), Command::Moves { others: true });
        }
        cluster.command(Command::Evacuate(Evacuation::of(name("n2"))));
        let node = name("n2");
        cluster.command(Command::AbortEvacuation { node });
        cluster.command(Command::Stop {
            processes: vec![id("c1"), id("c2")],
            timeout: Duration::from_secs(5),
        });
        cluster.pass(Duration::from_secs(60));
        let to_first = cluster
            .said
            .into_iter()
            .filter(|(_, to, _)| *to == NodeId(1));
        to_first.map(|(from, _, message)| (from, message)).collect()
    }

    /// As drivers put a message into a frame: the first of two things that it can be.
    fn framed(message: &Message) -> Vec<u8> {
        let body = postcard::to_allocvec(message).expect("it can be written");
        [&[0][..], &body].concat()
    }

    /// Control frames.
    pub(crate) fn controls() -> Vec<Vec<u8>> {
        told()
            .iter()
            .take(12)
            .map(|(_, said)| framed(said))
            .collect()
    }

    pub(crate) fn hub_messages() -> Vec<Vec<u8>> {
        let told = told();
        let mut seeds = Vec::new();
        for (number, several) in told.chunks(4).enumerate() {
            let mut seed = vec![u8::from(number % 2 == 1)];
            for (from, message) in several {
                let bytes = framed(message);
                let length = u16::try_from(bytes.len()).expect("a short one");
                seed.push(u8::from(*from == NodeId(3)));
                seed.push(1);
                seed.extend(length.to_le_bytes());
                seed.extend(bytes);
            }
            seeds.push(seed);
        }
        seeds
    }
}
