//! A node's seat, and what it has heard.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use handover_hub::engine::etcd::Etcd as Engine;
use handover_hub::engine::{Charter, Engine as _, EngineError, Post, Session};
use handover_hub_proto::identity::{HubName, NodeId, NodeName, ShardId, Term};
use handover_hub_proto::node::Agreement;
use handover_hub_proto::view::{
    Claim, EngineEvent, EngineOrder, Load, Member, Owner, Standing, Transfer,
};
use handover_tests::patience::LONG;

pub(crate) const SHARDS: u16 = 64;

/// Who was ever said to own a shard under a term: never two.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checker {
    owners: Arc<Mutex<BTreeMap<(ShardId, Term), NodeId>>>,
}

impl Checker {
    fn see(&self, shard: ShardId, owner: Owner) {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let first = *owners.entry((shard, owner.term)).or_insert(owner.node);
        assert_eq!(
            first, owner.node,
            "two owners of {shard:?} under {:?}",
            owner.term
        );
    }

    /// How many changes of owners were seen.
    pub(crate) fn changes(&self) -> usize {
        let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        owners.len()
    }
}

/// A node.
pub(crate) struct Seat {
    pub(crate) id: NodeId,
    pub(crate) session: Session,
    pub(crate) owners: BTreeMap<ShardId, Owner>,
    checker: Checker,
    heard: VecDeque<EngineEvent>,
}

pub(crate) fn hub() -> HubName {
    HubName::new("sessions").expect("a name")
}

pub(crate) fn member(id: u64) -> Member {
    Member {
        id: NodeId(id),
        name: NodeName::new(&format!("node-{id}")).expect("a name"),
        address: format!("127.0.0.1:{id}"),
        weight: 100,
        version: "1".to_owned(),
        joined_ms: id,
        standing: Standing::Serving,
        load: Load::default(),
    }
}

/// What the engine logs is shown when its test fails.
fn show_logs() {
    let logs = tracing_subscriber::fmt().with_test_writer();
    // Somebody else was first.
    let _ = logs.with_ansi(false).try_init();
}

pub(crate) fn charter() -> Charter {
    Charter {
        hub: hub(),
        shards: SHARDS,
        agreement: Agreement::default(),
    }
}

pub(crate) async fn start(engine: Engine, member: Member) -> Result<Session, EngineError> {
    Box::new(engine)
        .start(member, charter(), Post::new().0)
        .await
}

impl Seat {
    pub(crate) async fn join(engine: Engine, id: u64, checker: &Checker) -> Self {
        show_logs();
        let session = start(engine, member(id)).await.expect("etcd is there");
        let mut seat = Self {
            id: NodeId(id),
            session,
            owners: BTreeMap::new(),
            checker: checker.clone(),
            heard: VecDeque::new(),
        };
        seat.until("it is ready", |event| *event == EngineEvent::Ready)
            .await;
        seat
    }

    /// The next thing it hears.
    pub(crate) async fn next(&mut self) -> EngineEvent {
        let event = self.session.events.recv().await.expect("the engine runs");
        match &event {
            EngineEvent::Owners(owners) => {
                for (shard, owner) in owners {
                    self.checker.see(*shard, *owner);
                    let before = self.owners.insert(*shard, *owner);
                    let later = before.is_none_or(|before| before.term <= owner.term);
                    assert!(later, "{shard:?}: {before:?}, then {owner:?}");
                }
            }
            EngineEvent::Fenced => self.session.valid.acknowledge(),
            _ => {}
        }
        self.heard.push_back(event.clone());
        event
    }

    /// Waits for something it hears from now on.
    pub(crate) async fn until(&mut self, what: &str, wanted: impl Fn(&EngineEvent) -> bool) {
        let wait = async { while !wanted(&self.next().await) {} };
        let outcome = tokio::time::timeout(LONG, wait).await;
        let last: Vec<_> = self.heard.iter().rev().take(3).collect();
        assert!(
            outcome.is_ok(),
            "still waiting for: {what}; last heard {last:?}"
        );
    }

    /// Waits until a shard is this node's.
    pub(crate) async fn until_owned(&mut self, shard: u16, node: NodeId) {
        let owns = |owners: &BTreeMap<ShardId, Owner>| {
            owners
                .get(&ShardId(shard))
                .is_some_and(|owner| owner.node == node)
        };
        let wait = async {
            while !owns(&self.owners) {
                self.next().await;
            }
        };
        let outcome = tokio::time::timeout(LONG, wait).await;
        assert!(
            outcome.is_ok(),
            "{node} never owned {shard}: {:?}",
            self.owners
        );
    }

    /// Hears for a while.
    pub(crate) async fn listen(&mut self, time: Duration) -> Vec<EngineEvent> {
        let mut heard = Vec::new();
        let wait = async {
            loop {
                heard.push(self.next().await);
            }
        };
        let _: Result<(), _> = tokio::time::timeout(time, wait).await;
        heard
    }

    /// Gives an order, and hears what is said until there is room for it.
    pub(crate) async fn order(&mut self, order: EngineOrder) {
        let orders = self.session.orders.clone();
        let place = loop {
            tokio::select! {
                place = orders.reserve() => break place.expect("the engine runs"),
                _ = self.next() => {}
            }
        };
        place.send(order);
    }

    /// Claims shards, each over what is known of it.
    pub(crate) async fn claim(&mut self, shards: impl IntoIterator<Item = u16>) {
        let claim = |shard| Claim {
            shard: ShardId(shard),
            over: self.owners.get(&ShardId(shard)).map(|owner| owner.term),
        };
        let claims = shards.into_iter().map(claim).collect();
        self.order(EngineOrder::Claim(claims)).await;
    }

    /// Claims shards and waits until they are its own.
    pub(crate) async fn take(&mut self, shards: std::ops::Range<u16>) {
        self.claim(shards.clone()).await;
        for shard in shards {
            self.until_owned(shard, self.id).await;
        }
    }

    /// Gives shards away.
    pub(crate) async fn give(&mut self, shards: impl IntoIterator<Item = u16>, to: NodeId) {
        let give = |shard| {
            let owner = self.owners.get(&ShardId(shard))?;
            Some(Transfer {
                shard: ShardId(shard),
                term: owner.term,
                to,
            })
        };
        let transfers = shards.into_iter().filter_map(give).collect();
        self.order(EngineOrder::Transfer(transfers)).await;
    }

    /// What it says when it has its lease again; what it heard until then.
    pub(crate) async fn until_unfenced(&mut self) {
        self.until("it is fenced", |event| *event == EngineEvent::Fenced)
            .await;
        assert!(!self.session.valid.holds());
        self.until("it may act again", |event| *event == EngineEvent::Unfenced)
            .await;
        assert!(self.session.valid.holds());
    }
}
