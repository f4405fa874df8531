//! What is said to other nodes, packed into messages.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use handover_proto::moment::Moment;

use super::Effect;
use crate::identity::NodeId;
use crate::message::{BYTES_AT_ONCE, ITEMS_AT_ONCE, Item, Message};

/// What is yet to be said to one node.
#[derive(Default)]
struct Batch {
    items: Vec<Item>,
    bytes: usize,
    /// A process stands still until it is heard.
    urgent: bool,
    /// When the last message went.
    sent: Option<Moment>,
}

/// What is yet to be said. What a node says to itself does not leave it.
pub(crate) struct Outbox {
    me: NodeId,
    delay: Duration,
    peers: BTreeMap<NodeId, Batch>,
    full: VecDeque<(NodeId, Vec<Item>)>,
    own: VecDeque<Item>,
}

impl Outbox {
    pub(crate) fn new(me: NodeId, delay: Duration) -> Self {
        Self {
            me,
            delay,
            peers: BTreeMap::new(),
            full: VecDeque::new(),
            own: VecDeque::new(),
        }
    }

    /// Says something, in order with what was said to the same node before.
    pub(crate) fn say(&mut self, to: NodeId, item: Item) {
        if to == self.me {
            self.own.push_back(item);
            return;
        }
        let batch = self.peers.entry(to).or_default();
        batch.bytes += item.size() + item.work();
        batch.urgent |= item.is_urgent();
        batch.items.push(item);
        if batch.items.len() >= ITEMS_AT_ONCE || batch.bytes >= BYTES_AT_ONCE {
            batch.bytes = 0;
            batch.urgent = false;
            self.full.push_back((to, mem::take(&mut batch.items)));
        }
    }

    /// Says something in a message of its own, in order with what was said to the same node before.
    pub(crate) fn say_alone(&mut self, to: NodeId, item: Item) {
        let batch = self.peers.entry(to).or_default();
        let before = mem::take(&mut batch.items);
        (batch.bytes, batch.urgent) = (0, false);
        if !before.is_empty() {
            self.full.push_back((to, before));
        }
        self.full.push_back((to, Vec::from([item])));
    }

    /// What this node said to itself.
    pub(crate) fn own(&mut self) -> Option<Item> {
        self.own.pop_front()
    }

    /// Nobody listens there any more.
    pub(crate) fn forget(&mut self, peer: NodeId) {
        self.peers.remove(&peer);
        self.full.retain(|(to, _)| *to != peer);
    }

    /// Sends what is full, what has waited long enough, and what a process waits for. A node that
    /// was told nothing lately is told at once, so that batches cost time only under load.
    pub(crate) fn flush(&mut self, now: Moment, effects: &mut VecDeque<Effect<Message>>) {
        for (to, items) in self.full.drain(..) {
            let message = Message { items };
            effects.push_back(Effect::Send { to, message });
        }
        for (&to, batch) in &mut self.peers {
            let waits = batch.sent.is_some_and(|sent| now < sent + self.delay);
            if batch.items.is_empty() || (waits && !batch.urgent) {
                continue;
            }
            batch.sent = Some(now);
            batch.bytes = 0;
            batch.urgent = false;
            let message = Message {
                items: mem::take(&mut batch.items),
            };
            effects.push_back(Effect::Send { to, message });
        }
    }

    /// Whatever waits has waited long enough.
    pub(crate) fn hurry(&mut self) {
        for batch in self.peers.values_mut() {
            batch.sent = None;
        }
    }

    /// When something has waited long enough.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        let waiting = self.peers.values().filter(|batch| !batch.items.is_empty());
        waiting
            .map(|batch| batch.sent.map_or(Moment::ZERO, |sent| sent + self.delay))
            .min()
    }
}
