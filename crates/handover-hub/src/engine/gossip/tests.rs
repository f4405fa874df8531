//! Engines of several nodes in one program, over a network that can be cut, and over sockets.

mod divided;
mod sockets;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use handover_hub_proto::identity::{HubName, NodeId, NodeName, ShardId, Term};
use handover_hub_proto::view::{
    Claim, Departure, EngineEvent, EngineOrder, Load, Member, Owner, Standing, Transfer,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Gossip, Pace};
use crate::engine::{Charter, Engine, EngineError, Post};
use crate::transport::local::Network;
use crate::transport::{Incoming, Introduction, Limits, Transport, carry};

const PATIENCE: Duration = Duration::from_secs(60);
pub(super) const SHARDS: u16 = 300;

/// Fast, so that tests are.
pub(super) fn quick() -> Pace {
    Pace {
        interval: Duration::from_millis(50),
        // Tests share two processors: half a second of silence proves nothing there.
        suspicion: 40.0,
        alone_after: Duration::from_millis(300),
        rejected_after: Duration::from_millis(500),
        ..Pace::default()
    }
}

/// So slow that nothing that happens in a test is its doing.
pub(super) fn slow() -> Pace {
    Pace {
        interval: Duration::from_secs(3600),
        grace: Duration::from_secs(3600),
        ..quick()
    }
}

/// What one node has heard.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) ready: bool,
    pub(super) members: BTreeMap<NodeId, Member>,
    pub(super) owners: BTreeMap<ShardId, Owner>,
    pub(super) gone: Vec<(NodeId, Departure)>,
    pub(super) answers: usize,
}

pub(super) struct Node {
    pub(super) id: NodeId,
    /// Its connections last as long as it does.
    _transport: Arc<dyn Transport>,
    pub(super) orders: mpsc::Sender<EngineOrder>,
    view: Arc<Mutex<View>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Node {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

pub(super) fn introduction(number: u64, name: &str) -> Introduction {
    Introduction {
        hub: HubName::new("hub").unwrap(),
        shards: SHARDS,
        node: NodeId(number),
        name: NodeName::new(name).unwrap(),
        instance: 1,
        address: format!("127.0.0.1:{number}"),
        agreement: Default::default(),
    }
}

pub(super) fn member(who: &Introduction) -> Member {
    Member {
        id: who.node,
        name: who.name.clone(),
        address: who.address.clone(),
        weight: 100,
        version: "1".to_owned(),
        joined_ms: who.node.0,
        standing: Standing::Serving,
        load: Load::default(),
    }
}

impl Node {
    /// Starts an engine on a transport.
    pub(super) async fn on(
        transport: Arc<dyn Transport>,
        incoming: Incoming,
        gossip: Gossip,
    ) -> Result<Self, EngineError> {
        let who = transport.me().clone();
        let (post, postman) = Post::new();
        let Incoming {
            engine, mut events, ..
        } = incoming;
        let mut tasks = vec![tokio::spawn(carry(Arc::clone(&transport), engine, postman))];
        tasks.push(tokio::spawn(async move {
            while events.recv().await.is_some() {}
        }));
        let engine: Box<dyn Engine> = Box::new(gossip);
        let charter = Charter {
            hub: who.hub.clone(),
            shards: SHARDS,
            agreement: who.agreement,
        };
        let started = engine.start(member(&who), charter, post).await;
        let mut session = match started {
            Ok(session) => session,
            Err(error) => {
                tasks.iter().for_each(JoinHandle::abort);
                return Err(error);
            }
        };
        assert!(session.valid.holds());
        let view = Arc::new(Mutex::new(View::default()));
        let (seen, peers) = (Arc::clone(&view), Arc::clone(&transport));
        tasks.push(tokio::spawn(async move {
            while let Some(event) = session.events.recv().await {
                match &event {
                    EngineEvent::Member(member) => peers.learn(member.id, &member.address),
                    EngineEvent::Gone { node, .. } => peers.forget(*node),
                    _ => {}
                }
                seen.lock().unwrap().take(event);
            }
        }));
        Ok(Self {
            id: who.node,
            _transport: transport,
            orders: session.orders,
            view,
            tasks,
        })
    }

    pub(super) async fn start(network: &Network, number: u64, gossip: Gossip) -> Self {
        Self::named(network, number, &format!("n{number}"), gossip)
            .await
            .unwrap()
    }

    pub(super) async fn named(
        network: &Network,
        number: u64,
        name: &str,
        gossip: Gossip,
    ) -> Result<Self, EngineError> {
        let (transport, incoming) = network.join(introduction(number, name), Limits::default());
        Self::on(transport, incoming, gossip).await
    }

    pub(super) fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn until(&self, what: &str, wanted: impl Fn(&View) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !wanted(&self.view()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(
            waited.await.is_ok(),
            "{} never {what}: {:?}",
            self.id,
            self.view()
        );
    }

    pub(super) async fn knows(&self, nodes: &[&Self]) {
        let ids: BTreeSet<_> = nodes.iter().map(|node| node.id).collect();
        self.until(&format!("knew {ids:?}"), |view| {
            view.ready && view.members.keys().copied().collect::<BTreeSet<_>>() == ids
        })
        .await;
    }

    pub(super) async fn owns(&self, shard: u16, owner: Owner) {
        self.until(&format!("heard {owner:?} of {shard}"), |view| {
            view.owners.get(&ShardId(shard)) == Some(&owner)
        })
        .await;
    }

    /// Claims shards and waits for the answer.
    pub(super) async fn claim(&self, shards: &[u16], over: Option<u64>) {
        let answers = self.view().answers;
        let claims = shards.iter().map(|shard| Claim {
            shard: ShardId(*shard),
            over: over.map(Term),
        });
        let order = EngineOrder::Claim(claims.collect());
        self.orders.send(order).await.unwrap();
        self.until("heard an answer", |view| view.answers > answers)
            .await;
    }

    pub(super) async fn gone(&self, node: NodeId, cause: Departure) {
        self.until(&format!("lost {node}"), |view| {
            view.gone.contains(&(node, cause)) && !view.members.contains_key(&node)
        })
        .await;
    }
}

impl View {
    fn take(&mut self, event: EngineEvent) {
        match event {
            EngineEvent::Ready => self.ready = true,
            EngineEvent::Member(member) => {
                self.members.insert(member.id, member);
            }
            EngineEvent::Gone { node, cause } => {
                assert!(self.members.remove(&node).is_some(), "{node} was no member");
                self.gone.push((node, cause));
            }
            EngineEvent::Owners(owners) => {
                self.answers += 1;
                self.owners.extend(owners);
            }
            EngineEvent::Fenced | EngineEvent::Unfenced => panic!("nobody is fenced here"),
        }
    }
}

pub(super) fn owner(node: &Node, term: u64) -> Owner {
    Owner {
        node: node.id,
        term: Term(term),
    }
}

fn seeded(pace: Pace) -> Gossip {
    Gossip::seeds(["127.0.0.1:1"]).pace(pace)
}

async fn three(network: &Network, pace: &Pace) -> [Node; 3] {
    let a = Node::start(network, 1, seeded(pace.clone())).await;
    let b = Node::start(network, 2, seeded(pace.clone())).await;
    let c = Node::start(network, 3, seeded(pace.clone())).await;
    for node in [&a, &b, &c] {
        node.knows(&[&a, &b, &c]).await;
    }
    [a, b, c]
}

#[tokio::test]
async fn members_and_claims_are_known_at_once_without_gossip() {
    let network = Network::new();
    let [a, b, c] = three(&network, &slow()).await;
    a.claim(&[0, 299], None).await;
    for node in [&a, &b, &c] {
        node.owns(0, owner(&a, 1)).await;
        node.owns(299, owner(&a, 1)).await;
    }
    // A claim over a living owner changes nothing and is answered.
    b.claim(&[0], Some(1)).await;
    assert_eq!(b.view().owners[&ShardId(0)], owner(&a, 1));

    let give = Transfer {
        shard: ShardId(0),
        term: Term(1),
        to: c.id,
    };
    a.orders
        .send(EngineOrder::Transfer(vec![give]))
        .await
        .unwrap();
    for node in [&a, &b, &c] {
        node.owns(0, owner(&c, 2)).await;
    }

    // Who joins later is told by who welcomes it.
    let d = Node::start(&network, 4, seeded(slow())).await;
    d.owns(0, owner(&c, 2)).await;
    d.owns(299, owner(&a, 1)).await;
    d.knows(&[&a, &b, &c, &d]).await;
}

#[tokio::test]
async fn what_was_lost_is_repaired_by_gossip() {
    let network = Network::new();
    let [a, b, c] = three(&network, &quick()).await;
    network.mute(a.id, b.id);
    a.claim(&[7], None).await;
    c.owns(7, owner(&a, 1)).await;
    // It comes by way of the third, since nothing from the first arrives.
    b.owns(7, owner(&a, 1)).await;
    assert!(b.view().gone.is_empty());
}

#[tokio::test]
async fn a_node_waits_for_its_seed_and_a_seed_does_not() {
    let network = Network::new();
    let early = {
        let network = network.clone();
        tokio::spawn(async move { Node::start(&network, 2, seeded(quick())).await })
    };
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(!early.is_finished(), "it served without its seed");
    let seed = Node::start(&network, 1, seeded(quick())).await;
    let early = early.await.unwrap();
    early.knows(&[&seed, &early]).await;
    seed.knows(&[&seed, &early]).await;

    let nobody = Gossip::seeds(["127.0.0.1:99"]).pace(Pace {
        patience: Duration::from_millis(300),
        ..quick()
    });
    let failed = Node::named(&network, 5, "n5", nobody).await;
    assert!(matches!(failed, Err(EngineError::Unreachable { .. })));
}

#[tokio::test]
async fn seeds_that_start_together_find_each_other() {
    let network = Network::new();
    let all = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"];
    let start = |number| Node::start(&network, number, Gossip::seeds(all).pace(quick()));
    let (a, b, c) = tokio::join!(start(1), start(2), start(3));
    for node in [&a, &b, &c] {
        node.knows(&[&a, &b, &c]).await;
    }
}

#[tokio::test]
async fn a_node_that_leaves_is_gone_at_once_and_stays_gone() {
    let network = Network::new();
    let [a, b, c] = three(&network, &quick()).await;
    c.orders.send(EngineOrder::Leave).await.unwrap();
    a.gone(c.id, Departure::Left).await;
    b.gone(c.id, Departure::Left).await;
    // Gossip about it goes on for a while.
    tokio::time::sleep(Duration::from_millis(500)).await;
    a.knows(&[&a, &b]).await;
    b.knows(&[&a, &b]).await;
    assert_eq!(a.view().gone.len(), 1);
}

#[tokio::test]
async fn a_change_of_a_member_is_known_to_all_and_never_taken_back() {
    let network = Network::new();
    let [a, b, c] = three(&network, &quick()).await;
    let mut changed = b.view().members[&b.id].clone();
    for standing in [Standing::Evacuating, Standing::Serving, Standing::Leaving] {
        changed.standing = standing;
        let order = EngineOrder::Announce(changed.clone());
        b.orders.send(order).await.unwrap();
        for node in [&a, &b, &c] {
            node.until("heard the change", |view| view.members[&b.id] == changed)
                .await;
        }
    }
    // Load alone is left to gossip.
    changed.load.processes = 7;
    let order = EngineOrder::Announce(changed.clone());
    b.orders.send(order).await.unwrap();
    for node in [&a, &b, &c] {
        node.until("heard of its load", |view| view.members[&b.id] == changed)
            .await;
    }
}

#[tokio::test]
async fn a_name_is_used_once_and_a_hub_has_one_number_of_shards() {
    let network = Network::new();
    let [a, _b, _c] = three(&network, &quick()).await;
    let twice = Node::named(&network, 9, "n1", seeded(quick())).await;
    assert!(matches!(
        twice,
        Err(EngineError::NameTaken {
            node: NodeId(1),
            ..
        })
    ));
    let other = Introduction {
        shards: SHARDS + 1,
        ..introduction(8, "n8")
    };
    let (transport, incoming) = network.join(other, Limits::default());
    let refused = Node::on(transport, incoming, seeded(quick())).await;
    assert!(matches!(
        refused,
        Err(EngineError::Shards {
            expected: SHARDS,
            ..
        })
    ));
    assert_eq!(a.view().members.len(), 3);
}
