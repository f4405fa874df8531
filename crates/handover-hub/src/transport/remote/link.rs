//! The way from this node to an address: dialled again whenever it breaks.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use handover_hub_proto::identity::NodeId;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::Shared;
use super::dial::{Connection, Failure};
use super::jitter;
use crate::transport::queue::{Queue, Refusal};
use crate::transport::{Class, Frame, Introduction, PeerEvent, Rejection, SendError};

/// How far a link is. Before its first attempt has failed it takes frames, so that what a node says
/// to one it has just learnt of is not lost.
const DIALLING: u8 = 0;
const UP: u8 = 1;
const DOWN: u8 = 2;

/// What waits for one connection, by class. A new connection has new ones.
#[derive(Debug)]
pub(super) struct Lanes([Queue; 4]);

impl Lanes {
    fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self(std::array::from_fn(|_| Queue::new(limit))))
    }

    pub(super) fn queue(&self, class: Class) -> &Queue {
        &self.0[class.index()]
    }

    /// Takes no more; what waits is still sent.
    pub(super) fn close(&self) {
        for queue in &self.0 {
            queue.close();
        }
    }

    fn drop_all(&self) {
        self.close();
        for queue in &self.0 {
            queue.clear();
        }
    }
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) address: String,
    state: AtomicU8,
    /// The longest frame that both sides take, in bytes.
    frame: AtomicUsize,
    lanes: RwLock<Arc<Lanes>>,
    node: Mutex<Node>,
    hint: Notify,
    task: OnceLock<AbortHandle>,
    idle: Duration,
}

#[derive(Debug, Default)]
struct Node {
    /// Who should be there.
    expected: Option<NodeId>,
    /// How often that was said: who is learnt again is told again that it is connected.
    learnt: u64,
    /// Who is there.
    who: Option<Introduction>,
    /// When an engine last sent something there.
    posted: Option<Instant>,
}

impl Link {
    pub(super) fn start(shared: &Arc<Shared>, address: &str) -> Arc<Self> {
        let limits = &shared.settings.limits;
        let link = Arc::new(Self {
            address: address.to_owned(),
            state: AtomicU8::new(DIALLING),
            frame: AtomicUsize::new(limits.frame),
            lanes: RwLock::new(Lanes::new(limits.queue)),
            node: Mutex::default(),
            hint: Notify::new(),
            task: OnceLock::new(),
            idle: shared.settings.timing.idle,
        });
        let task = tokio::spawn(Keeper::new(shared, &link).run());
        let _ = link.task.set(task.abort_handle());
        link
    }

    fn node(&self) -> MutexGuard<'_, Node> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lanes(&self) -> Arc<Lanes> {
        Arc::clone(&self.lanes.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn is_up(&self) -> bool {
        self.state.load(Ordering::Acquire) == UP
    }

    pub(super) fn who(&self) -> Option<Introduction> {
        self.node().who.clone()
    }

    pub(super) fn expected(&self) -> Option<NodeId> {
        self.node().expected
    }

    /// Says who should be there; returns who should have been.
    pub(super) fn expect(&self, node: Option<NodeId>) -> Option<NodeId> {
        let mut known = self.node();
        known.learnt += 1;
        let before = std::mem::replace(&mut known.expected, node);
        drop(known);
        self.hint.notify_one();
        before
    }

    pub(super) fn posted(&self) {
        self.node().posted = Some(Instant::now());
    }

    pub(super) fn is_posted_to(&self) -> bool {
        self.node()
            .posted
            .is_some_and(|posted| posted.elapsed() < self.idle)
    }

    pub(super) fn hint(&self) {
        if !self.is_up() {
            self.hint.notify_one();
        }
    }

    pub(super) fn stop(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
        self.state.store(DOWN, Ordering::Release);
        self.node().who = None;
        self.lanes().drop_all();
    }

    pub(super) fn send(&self, to: NodeId, frame: Frame) -> Result<(), SendError> {
        if self.state.load(Ordering::Acquire) == DOWN {
            return Err(SendError::Unreachable(to));
        }
        let limit = self.frame.load(Ordering::Relaxed);
        let found = frame.weight();
        if found > limit {
            return Err(SendError::TooLarge { limit, found });
        }
        let lanes = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
        lanes
            .queue(frame.class())
            .push(frame)
            .map_err(|refusal| match refusal {
                Refusal::Full => SendError::Full(to),
                Refusal::Closed => SendError::Unreachable(to),
            })
    }

    fn up(&self, connection: &Connection) {
        self.frame.store(connection.frame, Ordering::Relaxed);
        self.node().who = Some(connection.who.clone());
        self.state.store(UP, Ordering::Release);
    }

    fn down(&self, limit: usize) {
        self.state.store(DOWN, Ordering::Release);
        self.node().who = None;
        let fresh = Lanes::new(limit);
        let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *lanes, fresh).drop_all();
    }
}

/// Keeps a link up, and says what becomes of it.
struct Keeper {
    shared: Arc<Shared>,
    link: Arc<Link>,
    /// Who was there last.
    last: Option<NodeId>,
    /// To whom a connection was said to be, and how often that had been said then.
    connected: Option<(NodeId, u64)>,
    /// What was last said about it being down, each only once.
    disconnected: Option<NodeId>,
    refused: Option<NodeId>,
    rejected: Option<Rejection>,
}

impl Keeper {
    fn new(shared: &Arc<Shared>, link: &Arc<Link>) -> Self {
        Self {
            shared: Arc::clone(shared),
            link: Arc::clone(link),
            last: None,
            connected: None,
            disconnected: None,
            refused: None,
            rejected: None,
        }
    }

    async fn run(mut self) {
        let timing = self.shared.settings.timing.clone();
        let mut pause = timing.retry;
        loop {
            match self.shared.dial(&self.link).await {
                Ok(connection) => {
                    self.keep(connection).await;
                    // What ended the connection may have ended the node: that is known by trying.
                    pause = timing.retry;
                    self.link.down(self.shared.settings.limits.queue);
                    self.say_disconnected().await;
                }
                Err(failure) => {
                    self.link.down(self.shared.settings.limits.queue);
                    self.say_failure(failure).await;
                }
            }
            if self.shared.links.reap(&self.link) {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(jitter(pause)) => {
                    pause = (pause * 2).min(timing.retry_most);
                }
                () = self.link.hint.notified() => pause = timing.retry,
            }
        }
    }

    /// Until the connection breaks, or nobody needs it.
    async fn keep(&mut self, connection: Connection) {
        let who = connection.who.clone();
        self.last = Some(who.node);
        self.link.up(&connection);
        self.rejected = None;
        let idle = self.link.idle;
        let broken = connection.broken();
        tokio::pin!(broken);
        loop {
            self.say_connected(&who).await;
            tokio::select! {
                () = &mut broken => return,
                () = self.link.hint.notified() => {}
                () = tokio::time::sleep(idle) => {
                    if self.link.expected().is_none() && !self.link.is_posted_to() {
                        return;
                    }
                }
            }
        }
    }

    async fn say_connected(&mut self, who: &Introduction) {
        let (expected, learnt) = {
            let node = self.link.node();
            (node.expected, node.learnt)
        };
        let Some(expected) = expected else {
            return;
        };
        if expected != who.node {
            self.shared.links.lose(expected);
            self.shared.replaced(expected, who).await;
        } else if self.connected != Some((expected, learnt)) {
            self.connected = Some((expected, learnt));
            self.disconnected = None;
            self.refused = None;
            self.shared.tell(PeerEvent::Connected(who.clone())).await;
        }
    }

    async fn say_disconnected(&mut self) {
        let node = self
            .link
            .expected()
            .or(self.connected.map(|(node, _)| node));
        self.connected = None;
        if let Some(node) = node.filter(|node| self.disconnected != Some(*node)) {
            self.disconnected = Some(node);
            self.shared.tell(PeerEvent::Disconnected(node)).await;
        }
    }

    async fn say_failure(&mut self, failure: Failure) {
        let address = self.link.address.clone();
        self.say_disconnected().await;
        match failure {
            Failure::Refused => {
                let node = self.link.expected().or(self.last);
                if let Some(node) = node
                    && self.refused != Some(node)
                    && !self.shared.sessions.has(node)
                {
                    self.refused = Some(node);
                    self.shared.tell(PeerEvent::Refused { node, address }).await;
                }
            }
            Failure::Rejected { by_us, rejection } => {
                if self.rejected.as_ref() != Some(&rejection) {
                    self.rejected = Some(rejection.clone());
                    self.shared
                        .tell(PeerEvent::Rejected {
                            address,
                            by_us,
                            rejection,
                        })
                        .await;
                }
            }
            Failure::Silent(reason) => {
                tracing::debug!(address, reason, "a node was not reached");
            }
        }
    }
}
