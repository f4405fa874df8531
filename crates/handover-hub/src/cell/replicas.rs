//! Passive replicas that are kept up to date: a reply leaves only when they have what it tells of.
//!
//! An active process answers nothing before its home has said which replicas it has. From then on
//! it answers nothing that one of them does not have; so a replica that has confirmed one update has
//! all that was answered before it, and may take over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use handover_hub_proto::identity::{Epoch, NodeId};
use handover_hub_proto::reply::{Remembered, Ticket};
use handover_hub_proto::row::Role;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::letter::Octets;
use super::{Cell, State, Work};
use crate::hub::Shared;
use crate::kind::Body;
use crate::process::Handed;
use crate::states;
use crate::transport::Frame;
use crate::transport::frame::Replica;

/// After this time a replica is sent the state again: the connection may have lost it.
const AGAIN: Duration = Duration::from_millis(500);

/// What an active process and its passive replica tell each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Update {
    /// The state, and what was answered with it.
    State {
        schema: u32,
        state: Octets,
        answer: Option<(Ticket, Octets)>,
        /// All that was answered before, for a replica that is new.
        replies: Option<Vec<Remembered<Octets>>>,
        /// Messages to itself, and after which time.
        later: Vec<(Duration, Octets)>,
    },
    /// It is kept.
    Kept,
}

/// The passive replicas of an active process.
#[derive(Default)]
pub(super) struct Replicas {
    progress: Mutex<Progress>,
    changed: Notify,
}

#[derive(Default)]
pub(super) struct Progress {
    /// The last state that was sent.
    pub(super) number: u64,
    /// Each replica, and the last state it has.
    pub(super) nodes: Vec<(NodeId, u64)>,
    /// Under which epoch the process became active: what replicas said before concerns another.
    pub(super) since: Epoch,
    /// The process is to end: nobody has to get anything any more.
    over: bool,
    /// Somebody waits for a listed node to become a member.
    awaits: bool,
}

impl Replicas {
    pub(super) fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> u64 {
        let mut progress = self.lock();
        progress.number += 1;
        progress.number
    }

    /// Those that lack an update, and the last one they have.
    fn behind(&self, number: u64) -> Vec<(NodeId, u64)> {
        let progress = self.lock();
        let behind = progress.nodes.iter().filter(|(_, has)| *has < number);
        behind.copied().collect()
    }

    /// Nobody waits for a node that is gone, whatever the row still says; if it comes back, it is
    /// sent all there is.
    fn is_gone(&self, gone: NodeId) {
        for (node, has) in &mut self.lock().nodes {
            if *node == gone {
                *has = 0;
            }
        }
    }

    fn kept(&self, by: NodeId, epoch: Epoch, number: u64) {
        let mut progress = self.lock();
        if epoch < progress.since {
            return;
        }
        for (node, has) in &mut progress.nodes {
            if *node == by {
                *has = (*has).max(number);
            }
        }
        drop(progress);
        self.changed.notify_one();
    }
}

/// What an active process is after a message, and what it answers.
struct News {
    handed: Handed,
    answer: Option<(Ticket, Octets)>,
    later: Vec<(Duration, Octets)>,
    /// Those that have the last update are sent all there is, too.
    all: bool,
}

impl News {
    fn update(&self, replies: Option<Vec<Remembered<Octets>>>) -> Option<Bytes> {
        let update = Update::State {
            schema: self.handed.schema(),
            state: Octets(self.handed.bytes().clone()),
            answer: self.answer.clone(),
            replies,
            later: self.later.clone(),
        };
        postcard::to_allocvec(&update).ok().map(Bytes::from)
    }
}

impl Cell {
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
        self: &Arc<Self>,
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
        let news = News {
            handed,
            answer: answer.map(|(ticket, reply)| (ticket, Octets(reply))),
            later: self.reminders(),
            all: false,
        };
        self.distribute(shared, &replicas, &news).await
    }

    /// Replicas are new: they are sent all there is.
    pub(super) async fn synchronise(
        self: &Arc<Self>,
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
        let news = News {
            handed,
            answer: None,
            later: self.reminders(),
            all: true,
        };
        let _ = self.distribute(shared, &replicas, &news).await;
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

    async fn distribute(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        replicas: &Arc<Replicas>,
        news: &News,
    ) -> bool {
        let number = replicas.next();
        let epoch = self.lock().epoch;
        let Some(brief) = news.update(None) else {
            return true;
        };
        let mut whole = None;
        let mut again = news.all;
        loop {
            let changed = replicas.changed.notified();
            let (behind, gone): (Vec<_>, Vec<_>) = replicas
                .behind(number)
                .into_iter()
                .partition(|(node, _)| shared.is_member(*node));
            for (node, _) in &gone {
                replicas.is_gone(*node);
                self.await_member(shared, replicas);
            }
            if behind.is_empty() {
                return true;
            }
            if replicas.lock().over {
                return false;
            }
            for (node, has) in behind {
                // Whoever has nothing, or does not answer, may lack what was answered before.
                let body = if again || has == 0 {
                    whole.get_or_insert_with(|| {
                        let replies = self.lock().mailbox.remembered();
                        news.update(Some(replies)).unwrap_or_else(|| brief.clone())
                    })
                } else {
                    &brief
                };
                let frame = Frame::Replica(Replica {
                    process: self.id.clone(),
                    epoch,
                    number,
                    body: body.clone(),
                });
                // A broken connection: it is tried again until the home names other replicas.
                let _ = states::deliver(&shared.transport, node, frame).await;
            }
            again = true;
            let waited = tokio::time::timeout(AGAIN, async {
                changed.await;
                while !replicas.behind(number).is_empty() && !replicas.lock().over {
                    replicas.changed.notified().await;
                }
            });
            let _ = waited.await;
        }
    }

    /// A listed replica is on a node that is no member here: once it is one, it is sent all there is.
    fn await_member(self: &Arc<Self>, shared: &Arc<Shared>, replicas: &Arc<Replicas>) {
        if std::mem::replace(&mut replicas.lock().awaits, true) {
            return;
        }
        let (cell, hub) = (Arc::downgrade(self), Arc::clone(shared));
        let replicas = Arc::downgrade(replicas);
        shared.spawn(async move {
            loop {
                tokio::time::sleep(AGAIN).await;
                let (Some(cell), Some(replicas)) = (cell.upgrade(), Weak::upgrade(&replicas))
                else {
                    return;
                };
                let lacking = replicas.behind(1);
                let back = lacking.iter().any(|(node, _)| hub.is_member(*node));
                if back || lacking.is_empty() {
                    replicas.lock().awaits = false;
                    if back {
                        cell.enqueue(&hub, Work::Synchronise);
                    }
                    return;
                }
            }
        });
    }

    /// The other one of an active process and its passive replica says something.
    pub(crate) fn replica(&self, shared: &Arc<Shared>, from: NodeId, replica: Replica) {
        match postcard::from_bytes(&replica.body) {
            Ok(Update::Kept) => {
                if let Some(replicas) = self.replicas() {
                    replicas.kept(from, replica.epoch, replica.number);
                }
            }
            Ok(update @ Update::State { .. }) => {
                if self.keep(shared, (replica.epoch, replica.number), update) {
                    self.say_kept(shared, from, &replica);
                }
            }
            Err(error) => tracing::warn!(%from, %error, "an update of a replica cannot be read"),
        }
    }
}

impl State {
    /// Its home says where its replicas are. At once, for a run may wait for one that is gone.
    pub(super) fn set_replicas(&mut self, shared: &Shared, to: &[NodeId]) {
        let known = self.rare.as_ref().and_then(|rare| rare.replicas.as_ref());
        if to.is_empty() && known.is_none() && !shared.redundancy.keeps_state() {
            return;
        }
        let (is_new, since) = (known.is_none(), self.epoch);
        let replicas = Arc::clone(self.rare().replicas.get_or_insert_default());
        let mut progress = replicas.lock();
        if is_new {
            progress.since = since;
        }
        let before = std::mem::take(&mut progress.nodes);
        let known = |node: &NodeId| before.iter().find(|(known, _)| known == node);
        let has = |node: &NodeId| known(node).map_or(0, |(_, has)| *has);
        progress.nodes = to.iter().map(|node| (*node, has(node))).collect();
        drop(progress);
        replicas.changed.notify_one();
        self.work.push_back(Work::Synchronise);
    }

    /// Whether it knows who must have what it answers: it answers nothing before (H3).
    pub(super) fn knows_replicas(&self, shared: &Shared) -> bool {
        let rare = self.rare.as_ref();
        !shared.redundancy.keeps_state() || rare.is_some_and(|rare| rare.replicas.is_some())
    }
}
