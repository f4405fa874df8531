//! Messages of the machine to other nodes, in their order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use handover_hub_proto::identity::{KindName, NodeId};
use handover_hub_proto::message::Message;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::hub::Shared;
use crate::kind::Schemas;
use crate::states;
use crate::transport::{Frame, SendError};

/// Messages that wait for one node beside what its transport queues. Beyond that its connection is
/// as good as broken, and the machine repairs what it missed.
const WAITING: usize = 4096;

/// How long a message waits for a connection that is being made, and how often it is looked.
const PATIENCE: u32 = 200;
const PAUSE: Duration = Duration::from_millis(10);

/// What drivers tell each other.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Control {
    /// What one machine tells another.
    Machine(Message),
    /// Which states this node reads and writes.
    Kinds(BTreeMap<KindName, Schemas>),
}

/// One queue for each node, so that one that is slow holds up no other. What waits for a connection
/// that broke goes first over the next one, so that it never comes after what was said later.
pub(super) struct Wires {
    shared: Arc<Shared>,
    queues: BTreeMap<NodeId, Queue>,
}

/// What waits for one node.
struct Queue {
    messages: mpsc::Sender<Bytes>,
    /// How many have not been handed to the transport.
    waiting: Arc<AtomicUsize>,
    carrier: AbortHandle,
}

impl Wires {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            queues: BTreeMap::new(),
        }
    }

    pub(super) fn say(&mut self, to: NodeId, message: &Message) {
        // Borrowed, in the form of `Control::Machine`.
        #[derive(Serialize)]
        enum Borrowed<'a> {
            Machine(&'a Message),
        }
        self.send(to, &Borrowed::Machine(message));
    }

    /// Tells a node that has just been connected which states can be sent here.
    pub(super) fn introduce(&mut self, to: NodeId) {
        let kinds = self.shared.kinds.iter();
        let kinds = kinds.map(|(name, kind)| (name.clone(), kind.schemas()));
        self.send(to, &Control::Kinds(kinds.collect()));
    }

    fn send<T: Serialize>(&mut self, to: NodeId, control: &T) {
        let bytes = match postcard::to_allocvec(control) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) => return tracing::warn!(%to, %error, "a message cannot be encoded"),
        };
        let queue = self.queues.entry(to).or_insert_with(|| {
            let (queue, messages) = mpsc::channel(WAITING);
            let waiting = Arc::new(AtomicUsize::new(0));
            let (shared, left) = (Arc::clone(&self.shared), Arc::clone(&waiting));
            let carrier = self.shared.spawn(carry(shared, to, messages, left));
            Queue {
                messages: queue,
                waiting,
                carrier,
            }
        });
        // Only this task adds to what waits: if it is nothing, nothing is overtaken.
        if queue.waiting.load(Ordering::Acquire) == 0 {
            let frame = Frame::Control(bytes.clone());
            match self.shared.transport.send(to, frame) {
                Ok(()) => return,
                Err(SendError::Full(_) | SendError::Unreachable(_)) => {}
                Err(error) => return tracing::warn!(%to, %error, "a message was not sent"),
            }
        }
        queue.waiting.fetch_add(1, Ordering::AcqRel);
        if queue.messages.try_send(bytes).is_err() {
            queue.waiting.fetch_sub(1, Ordering::AcqRel);
            tracing::warn!(%to, "too much waits for a node; what is told it now is repaired later");
        }
    }

    /// A node is gone: what waits for it is dropped.
    pub(super) fn forget(&mut self, node: NodeId) {
        if let Some(queue) = self.queues.remove(&node) {
            queue.carrier.abort();
        }
    }
}

async fn carry(
    shared: Arc<Shared>,
    to: NodeId,
    mut messages: mpsc::Receiver<Bytes>,
    waiting: Arc<AtomicUsize>,
) {
    while let Some(bytes) = messages.recv().await {
        for _ in 0..PATIENCE {
            let frame = Frame::Control(bytes.clone());
            match states::deliver(&shared.transport, to, frame).await {
                Err(SendError::Unreachable(_)) => tokio::time::sleep(PAUSE).await,
                Ok(()) | Err(SendError::Full(_)) => break,
                Err(error) => {
                    tracing::warn!(%to, %error, "a message was not sent");
                    break;
                }
            }
        }
        waiting.fetch_sub(1, Ordering::AcqRel);
    }
}
