//! A running node, as its operators see it.

use std::sync::{Arc, PoisonError};

use futures_util::future::BoxFuture;
use handover_hub_proto::identity::{HubName, NodeId, NodeName, ProcessId, ShardId};
use handover_hub_proto::node::{Answer, Command, Failure};
use handover_hub_proto::placement::shard_of;
use handover_hub_proto::row::{Row, Rows};
use handover_hub_proto::view::{Guarantees, Member, Owner};
use tokio::sync::broadcast::error::RecvError;

use super::{Observer, Operated};
use crate::hub::{Shared, View};

/// A node of a hub that runs in this program.
#[derive(Clone)]
pub(crate) struct Node {
    shared: Arc<Shared>,
    guarantees: Guarantees,
}

impl Node {
    pub(crate) fn new(shared: Arc<Shared>, guarantees: Guarantees) -> Self {
        Self { shared, guarantees }
    }

    /// Tells an observer what happens from when this is called, until the node ends.
    pub(crate) fn watch(&self, observer: Arc<Observer>) -> impl Future<Output = ()> + Send + use<> {
        let mut events = self.shared.events.subscribe();
        let node = self.clone();
        async move {
            observer.learn(&node.members());
            loop {
                match events.recv().await {
                    Ok(event) => {
                        if matches!(event, handover_hub_proto::event::Event::Joined { .. }) {
                            observer.learn(&node.members());
                        }
                        observer.tell(&event);
                    }
                    Err(RecvError::Lagged(missed)) => observer.miss(missed),
                    Err(RecvError::Closed) => return observer.end(),
                }
            }
        }
    }

    fn look<T>(&self, look: impl FnOnce(&View) -> T) -> T {
        let view = self.shared.view.read();
        look(&view.unwrap_or_else(PoisonError::into_inner))
    }
}

impl Operated for Node {
    fn hub(&self) -> HubName {
        self.shared.name.clone()
    }

    fn name(&self) -> NodeName {
        self.shared.node.clone()
    }

    fn id(&self) -> NodeId {
        self.shared.me
    }

    fn exclusive(&self) -> bool {
        self.guarantees.exclusive
    }

    fn suspended(&self) -> Option<String> {
        self.look(|view| view.suspended.clone())
    }

    fn members(&self) -> Vec<Member> {
        self.look(|view| view.members.values().cloned().collect())
    }

    fn shards(&self) -> u16 {
        self.shared.registry.shards()
    }

    fn owner(&self, shard: ShardId) -> Option<Owner> {
        self.look(|view| view.owners.get(&shard).copied())
    }

    fn shard(&self, process: &ProcessId) -> ShardId {
        shard_of(process, self.shards())
    }

    fn rows(&self, shard: ShardId) -> Vec<Row> {
        self.shared.registry.shard(shard)
    }

    fn each(&self, visit: &mut dyn FnMut(&Row)) {
        self.shared.registry.each(visit);
    }

    fn row(&self, process: &ProcessId) -> Option<Row> {
        self.shared.registry.get(process)
    }

    fn execute(&self, command: Command) -> BoxFuture<'static, Answer> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let answer = shared.command(command).await;
            answer.unwrap_or(Answer::Failed(Failure::Gone))
        })
    }
}
