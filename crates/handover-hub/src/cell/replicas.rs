//! Passive replicas that are kept up to date: a reply leaves only when they have what it tells of.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use handover_hub_proto::identity::{Epoch, NodeId};
use handover_hub_proto::reply::{Remembered, Replies, ReplyLimits, Ticket};
use handover_hub_proto::row::Role;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::letter::Octets;
use super::{Cell, Work};
use crate::hub::Shared;
use crate::kind::Body;
use crate::process::Handed;
use crate::states;
use crate::transport::Frame;
use crate::transport::frame::Replica;

/// After this time a replica is sent the state again: the connection may have lost it.
const AGAIN: Duration = Duration::from_millis(500);

/// Replies that a replica keeps: the active one has bounded them already.
const UNBOUNDED: ReplyLimits = ReplyLimits {
    calls: usize::MAX,
    bytes: usize::MAX,
};

/// What an active process and its passive replica tell each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Update {
    /// The state, and what was answered with it.
    State {
        schema: u32,
        state: Octets,
        answer: Option<(Ticket, Octets)>,
        /// All that was answered before, for a replica that is new.
        replies: Option<Vec<Remembered<Octets>>>,
    },
    /// It is kept.
    Kept,
}

/// What a passive replica has.
pub(super) struct Kept {
    epoch: Epoch,
    number: u64,
    pub(super) handed: Handed,
    pub(super) replies: Replies<Octets>,
}

/// The passive replicas of an active process.
#[derive(Default)]
pub(super) struct Replicas {
    progress: Mutex<Progress>,
    changed: Notify,
}

#[derive(Default)]
struct Progress {
    /// The last state that was sent.
    number: u64,
    /// Each replica, and the last state it has.
    nodes: Vec<(NodeId, u64)>,
    /// The process is to end: nobody has to get anything any more.
    over: bool,
}

impl Replicas {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> u64 {
        let mut progress = self.lock();
        progress.number += 1;
        progress.number
    }

    fn behind(&self, number: u64) -> Vec<NodeId> {
        let progress = self.lock();
        let behind = progress.nodes.iter().filter(|(_, has)| *has < number);
        behind.map(|(node, _)| *node).collect()
    }
}

impl Cell {
    /// Its home says where its replicas are. At once, for a run may wait for one that is gone.
    pub(crate) fn set_replicas(self: &Arc<Self>, shared: &Arc<Shared>, to: &[NodeId]) {
        let mut state = self.lock();
        let has_some = state
            .rare
            .as_ref()
            .is_some_and(|rare| rare.replicas.is_some());
        if to.is_empty() && !has_some {
            return;
        }
        let replicas = Arc::clone(state.rare().replicas.get_or_insert_default());
        let mut progress = replicas.lock();
        let before = std::mem::take(&mut progress.nodes);
        let known = |node: &NodeId| before.iter().find(|(known, _)| known == node);
        let has = |node: &NodeId| known(node).map_or(0, |(_, has)| *has);
        progress.nodes = to.iter().map(|node| (*node, has(node))).collect();
        drop(progress);
        replicas.changed.notify_one();
        state.work.push_back(Work::Synchronise);
        self.wake(shared, state);
    }

    /// The process is to end: a run does not wait for replicas any longer.
    pub(crate) fn release_replicas(&self) {
        let state = self.lock();
        let rare = state.rare.as_ref();
        if let Some(replicas) = rare.and_then(|rare| rare.replicas.clone()) {
            replicas.lock().over = true;
            replicas.changed.notify_one();
        }
    }

    /// Sends the replicas what the process is now and what it answers, and waits until they have it.
    /// False if this process is ended before that: then the reply must not leave, for another one
    /// may have taken over without it.
    pub(super) async fn replicate(
        &self,
        shared: &Arc<Shared>,
        body: &mut dyn Body,
        answer: Option<(Ticket, Bytes)>,
    ) -> bool {
        let Some(replicas) = self.replicas() else {
            return true;
        };
        let Some(handed) = self.written(shared, body) else {
            return true;
        };
        let update = Update::State {
            schema: handed.schema(),
            state: Octets(handed.bytes().clone()),
            answer: answer.map(|(ticket, reply)| (ticket, Octets(reply))),
            replies: None,
        };
        self.distribute(shared, &replicas, &update).await
    }

    /// Replicas are new: they are sent all there is.
    pub(super) async fn synchronise(
        &self,
        shared: &Arc<Shared>,
        body: Option<Box<dyn Body>>,
    ) -> Option<Box<dyn Body>> {
        let mut body = body?;
        let Some(replicas) = self.replicas() else {
            return Some(body);
        };
        let Some(handed) = self.written(shared, body.as_mut()) else {
            return Some(body);
        };
        let replies = Some(self.lock().mailbox.remembered());
        let update = Update::State {
            schema: handed.schema(),
            state: Octets(handed.bytes().clone()),
            answer: None,
            replies,
        };
        let _ = self.distribute(shared, &replicas, &update).await;
        Some(body)
    }

    fn replicas(&self) -> Option<Arc<Replicas>> {
        let state = self.lock();
        let rare = state.rare.as_ref().filter(|_| state.role == Role::Active)?;
        let replicas = rare.replicas.clone()?;
        let some = !replicas.lock().nodes.is_empty();
        some.then_some(replicas)
    }

    fn written(&self, shared: &Shared, body: &mut dyn Body) -> Option<Handed> {
        match body.prepare(self.schema(shared)?) {
            Ok(handed) => Some(handed),
            Err(fault) => {
                tracing::warn!(process = %self.id, %fault, "its replicas are not kept up to date");
                None
            }
        }
    }

    async fn distribute(&self, shared: &Arc<Shared>, replicas: &Replicas, update: &Update) -> bool {
        let Ok(body) = postcard::to_allocvec(update) else {
            return true;
        };
        let body = Bytes::from(body);
        let number = replicas.next();
        let epoch = self.lock().epoch;
        loop {
            let changed = replicas.changed.notified();
            let mut behind = replicas.behind(number);
            // Nobody waits for a node that is gone, whatever the row still says.
            behind.retain(|node| shared.is_member(*node));
            if behind.is_empty() {
                return true;
            }
            if replicas.lock().over {
                return false;
            }
            for node in behind {
                let frame = Frame::Replica(Replica {
                    process: self.id.clone(),
                    epoch,
                    number,
                    body: body.clone(),
                });
                // A broken connection: it is tried again until the home names other replicas.
                let _ = states::deliver(&shared.transport, node, frame).await;
            }
            let waited = tokio::time::timeout(AGAIN, async {
                changed.await;
                while !replicas.behind(number).is_empty() && !replicas.lock().over {
                    replicas.changed.notified().await;
                }
            });
            let _ = waited.await;
        }
    }

    /// The other one of an active process and its passive replica says something.
    pub(crate) fn replica(&self, shared: &Arc<Shared>, from: NodeId, replica: Replica) {
        match postcard::from_bytes(&replica.body) {
            Ok(Update::Kept) => {
                let Some(replicas) = self.replicas() else {
                    return;
                };
                let mut progress = replicas.lock();
                for (node, has) in &mut progress.nodes {
                    if *node == from {
                        *has = (*has).max(replica.number);
                    }
                }
                drop(progress);
                replicas.changed.notify_one();
            }
            Ok(Update::State {
                schema,
                state,
                answer,
                replies,
            }) => {
                let handed = Handed::new(schema, state.0);
                if self.keep((replica.epoch, replica.number), handed, answer, replies) {
                    self.say_kept(shared, from, &replica);
                }
            }
            Err(error) => tracing::warn!(%from, %error, "an update of a replica cannot be read"),
        }
    }

    fn keep(
        &self,
        (epoch, number): (Epoch, u64),
        handed: Handed,
        answer: Option<(Ticket, Octets)>,
        replies: Option<Vec<Remembered<Octets>>>,
    ) -> bool {
        let mut state = self.lock();
        if state.role != Role::Passive {
            return false;
        }
        let kept = &mut state.rare().kept;
        if let Some(before) = kept
            && (before.epoch, before.number) >= (epoch, number)
        {
            return true;
        }
        let mut known = match (replies, kept.take()) {
            (Some(all), _) => {
                let mut known = Replies::default();
                known.absorb(all);
                known
            }
            (None, Some(before)) => before.replies,
            (None, None) => Replies::default(),
        };
        if let Some((ticket, reply)) = answer {
            let _ = known.admit(ticket, &UNBOUNDED);
            known.answer(ticket.call, reply);
        }
        *kept = Some(Kept {
            epoch,
            number,
            handed,
            replies: known,
        });
        true
    }

    fn say_kept(&self, shared: &Arc<Shared>, to: NodeId, replica: &Replica) {
        let Ok(body) = postcard::to_allocvec(&Update::Kept) else {
            return;
        };
        let frame = Frame::Replica(Replica {
            process: self.id.clone(),
            epoch: replica.epoch,
            number: replica.number,
            body: body.into(),
        });
        shared.send_soon(to, frame);
    }
}
