//! What one node keeps of its way to another.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use handover_hub_proto::identity::NodeId;
use tokio::task::JoinHandle;

use super::{Answer, Network, Station};
use crate::transport::queue::{Queue, Refusal};
use crate::transport::{Class, Frame, PeerEvent, SendError};

/// Bytes that are taken from a queue at once.
const BATCH: usize = 64 << 10;

/// How far a wire is. Before its first attempt it takes frames, so that what a node says to one it
/// has just learnt of is not lost.
const DIALLING: u8 = 0;
const UP: u8 = 1;
const DOWN: u8 = 2;

#[derive(Debug)]
struct Line {
    state: AtomicU8,
    queues: [Arc<Queue>; 4],
}

#[derive(Debug)]
pub(super) struct Wire {
    address: String,
    line: Arc<Line>,
    tasks: Vec<JoinHandle<()>>,
}

impl Wire {
    pub(super) fn new(network: &Network, from: &Arc<Station>, node: NodeId, address: &str) -> Self {
        let line = Arc::new(Line {
            state: AtomicU8::new(DIALLING),
            queues: std::array::from_fn(|_| Arc::new(Queue::new(from.limits.queue))),
        });
        let link = Link {
            network: network.clone(),
            from: Arc::clone(from),
            node,
            address: address.to_owned(),
            line: Arc::clone(&line),
        };
        let mut tasks: Vec<_> = Class::ALL
            .into_iter()
            .map(|class| tokio::spawn(link.clone().carry(class)))
            .collect();
        tasks.push(tokio::spawn(link.watch()));
        Self {
            address: address.to_owned(),
            line,
            tasks,
        }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn is_up(&self) -> bool {
        self.line.state.load(Ordering::Acquire) == UP
    }

    pub(super) fn queue(&self, class: Class) -> Arc<Queue> {
        Arc::clone(&self.line.queues[class.index()])
    }

    pub(super) fn send(&self, to: NodeId, frame: Frame) -> Result<(), SendError> {
        if self.line.state.load(Ordering::Acquire) == DOWN {
            return Err(SendError::Unreachable(to));
        }
        self.line.queues[frame.class().index()]
            .push(frame)
            .map_err(|refusal| match refusal {
                Refusal::Full => SendError::Full(to),
                Refusal::Closed => SendError::Unreachable(to),
            })
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        for queue in &self.line.queues {
            queue.close();
            queue.clear();
        }
    }
}

#[derive(Clone)]
struct Link {
    network: Network,
    from: Arc<Station>,
    node: NodeId,
    address: String,
    line: Arc<Line>,
}

impl Link {
    fn dial(&self) -> Answer {
        self.network.dial(&self.from, &self.address)
    }

    /// Carries what is queued, in order, to whoever is there.
    async fn carry(self, class: Class) {
        let me = self.from.me.clone();
        let mut changes = self.network.changes();
        while let Some(batch) = self.line.queues[class.index()].take(BATCH).await {
            for (queued, frame) in batch {
                while self.line.state.load(Ordering::Acquire) == DIALLING {
                    tokio::task::yield_now().await;
                }
                let delay = self.network.delayed(me.node, self.node);
                if !delay.is_zero() {
                    tokio::time::sleep_until((queued + delay).into()).await;
                }
                if self.network.muted(me.node, self.node) {
                    continue;
                }
                let Answer::Station(station) = self.dial() else {
                    continue;
                };
                if station.me.node != self.node {
                    continue;
                }
                changes.borrow_and_update();
                tokio::pin! { let delivered = station.deliver(&me, frame); }
                // A receiver that was cut off or killed meanwhile must not be waited for.
                loop {
                    tokio::select! {
                        () = &mut delivered => break,
                        _ = changes.changed() => {
                            if !matches!(self.dial(), Answer::Station(_)) {
                                break;
                            }
                        }
                    }
                }
            }
        }
    }

    /// Says when the way opens and closes.
    async fn watch(self) {
        let mut changes = self.network.changes();
        let mut said = None;
        loop {
            changes.borrow_and_update();
            let (state, event) = match self.dial() {
                Answer::Station(station) if station.me.node == self.node => {
                    (UP, PeerEvent::Connected(station.me.clone()))
                }
                Answer::Station(station) => (
                    DOWN,
                    PeerEvent::Replaced {
                        node: self.node,
                        by: station.me.clone(),
                    },
                ),
                Answer::Refused => (
                    DOWN,
                    PeerEvent::Refused {
                        node: self.node,
                        address: self.address.clone(),
                    },
                ),
                Answer::Silence => (DOWN, PeerEvent::Disconnected(self.node)),
                Answer::Rejected(rejection) => (
                    DOWN,
                    PeerEvent::Rejected {
                        address: self.address.clone(),
                        by_us: false,
                        rejection,
                    },
                ),
            };
            let was_up = self.line.state.swap(state, Ordering::AcqRel) == UP;
            if state == DOWN {
                for queue in &self.line.queues {
                    queue.clear();
                }
            }
            if said.as_ref() != Some(&event) {
                let broke = !matches!(event, PeerEvent::Connected(_) | PeerEvent::Disconnected(_));
                if was_up && broke {
                    self.from.tell(PeerEvent::Disconnected(self.node)).await;
                }
                self.from.tell(event.clone()).await;
                said = Some(event);
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}
