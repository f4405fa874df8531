//! The calls that this node makes: each is sent until it is answered, under one number.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use handover_hub_proto::identity::{CallId, Epoch, NodeId, ProcessId};
use handover_hub_proto::reply::Ticket;
use tokio::sync::{Notify, oneshot};

use crate::transport::frame::Refusal;

/// Parts of the tables, each under its own lock.
const PARTS: usize = 64;

/// Calls to one process that are under way at once; further ones wait here, in order. Half of what
/// the process remembers of one caller ([`CALLS_MAX`](handover_hub_proto::reply::CALLS_MAX)).
const WINDOW: usize = 512;

/// What became of a call so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was handled.
    Reply(Bytes),
    /// It was not taken.
    Refused(Refusal),
    /// The process is elsewhere.
    Redirect(NodeId, Epoch),
    /// The connection that took it broke.
    Disconnected,
}

impl Outcome {
    /// Nothing that comes later changes it.
    fn is_final(&self) -> bool {
        match self {
            Self::Reply(_) => true,
            Self::Refused(refusal) => refusal.is_final(),
            Self::Redirect(..) | Self::Disconnected => false,
        }
    }
}

/// Calls without an answer yet.
pub(crate) struct Calls {
    me: NodeId,
    next: AtomicU64,
    slots: Vec<Mutex<HashMap<u64, Arc<Slot>, foldhash::fast::RandomState>>>,
    floors: Vec<Mutex<Floors>>,
}

type Floors = HashMap<ProcessId, Open, foldhash::fast::RandomState>;

/// Calls of this node to one process.
#[derive(Default)]
struct Open {
    numbers: BTreeSet<u64>,
    waiting: VecDeque<oneshot::Sender<()>>,
}

impl Open {
    /// Lets the next one begin that has not given up.
    fn admit(&mut self) {
        while let Some(next) = self.waiting.pop_front() {
            if next.send(()).is_ok() {
                return;
            }
        }
    }
}

/// Where the outcome of one call is left.
#[derive(Default)]
struct Slot {
    state: Mutex<SlotState>,
    left: Notify,
}

#[derive(Default)]
struct SlotState {
    /// What each node said last, in order. What one says of a call that it forwarded or lost must
    /// not cover what the one says that is asked now.
    said: Vec<(NodeId, Outcome)>,
    /// Who was sent it last.
    host: Option<NodeId>,
}

/// One call under way. Dropped, it is settled: whatever comes later nobody waits for.
pub(crate) struct Pending<'a> {
    calls: &'a Calls,
    slot: Arc<Slot>,
    process: &'a ProcessId,
    number: u64,
}

/// A place among the calls that wait until fewer are under way.
struct Turn<'a> {
    calls: &'a Calls,
    process: &'a ProcessId,
    comes: oneshot::Receiver<()>,
}

impl Calls {
    /// Those of a node whose numbers go on from here: no call of its program before has this number
    /// or a higher one.
    pub(crate) fn new(me: NodeId, next: u64) -> Self {
        Self {
            me,
            next: AtomicU64::new(next),
            slots: (0..PARTS).map(|_| Mutex::default()).collect(),
            floors: (0..PARTS).map(|_| Mutex::default()).collect(),
        }
    }

    /// A number that no other message of this node has.
    pub(crate) fn number(&self) -> CallId {
        CallId {
            caller: self.me,
            number: self.next.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// The number that comes next.
    pub(crate) fn next(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Begins a call, as soon as fewer than [`WINDOW`] to the same process are under way. May be
    /// cancelled.
    pub(crate) async fn begin<'a>(&'a self, process: &'a ProcessId) -> Pending<'a> {
        loop {
            let mut turn = match self.try_begin(process) {
                Ok(pending) => return pending,
                Err(turn) => turn,
            };
            turn.comes().await;
        }
    }

    fn try_begin<'a>(&'a self, process: &'a ProcessId) -> Result<Pending<'a>, Turn<'a>> {
        // The number is drawn under the lock of the floors: one that is lower than another's floor
        // cannot turn up after it.
        let mut floors = self.floors(process);
        if let Some(open) = floors.get_mut(process)
            && open.numbers.len() >= WINDOW
        {
            let (turn, comes) = oneshot::channel();
            open.waiting.push_back(turn);
            return Err(Turn {
                calls: self,
                process,
                comes,
            });
        }
        let number = self.number().number;
        match floors.get_mut(process) {
            Some(open) => {
                open.numbers.insert(number);
            }
            None => {
                let numbers = BTreeSet::from([number]);
                let waiting = VecDeque::new();
                floors.insert(process.clone(), Open { numbers, waiting });
            }
        }
        drop(floors);
        let slot = Arc::new(Slot::default());
        self.slots(number).insert(number, Arc::clone(&slot));
        Ok(Pending {
            calls: self,
            slot,
            process,
            number,
        })
    }

    /// A call ended, or one that was let in gave up: the next one may begin.
    fn admit(&self, process: &ProcessId, ended: Option<u64>) {
        let mut floors = self.floors(process);
        let Some(open) = floors.get_mut(process) else {
            return;
        };
        if let Some(number) = ended {
            open.numbers.remove(&number);
        }
        open.admit();
        if open.numbers.is_empty() && open.waiting.is_empty() {
            floors.remove(process);
        }
    }

    /// Leaves the outcome of a call for who waits for it.
    pub(crate) fn leave(&self, number: u64, from: NodeId, outcome: Outcome) {
        let slot = self.slots(number).get(&number).cloned();
        if let Some(slot) = slot {
            slot.put(from, outcome);
        }
    }

    /// A connection broke: what it took may be lost.
    pub(crate) fn disconnected(&self, node: NodeId) {
        for part in &self.slots {
            let hit: Vec<_> = lock(part)
                .values()
                .filter(|slot| lock(&slot.state).host == Some(node))
                .cloned()
                .collect();
            hit.iter()
                .for_each(|slot| slot.put(node, Outcome::Disconnected));
        }
    }

    fn slots(
        &self,
        number: u64,
    ) -> MutexGuard<'_, HashMap<u64, Arc<Slot>, foldhash::fast::RandomState>> {
        lock(&self.slots[part(number)])
    }

    fn floors(&self, process: &ProcessId) -> MutexGuard<'_, Floors> {
        let hash = xxhash_rust::xxh3::xxh3_64(process.as_str().as_bytes());
        lock(&self.floors[part(hash)])
    }
}

impl Slot {
    fn put(&self, from: NodeId, outcome: Outcome) {
        let mut state = lock(&self.state);
        if state.said.iter().any(|(_, said)| said.is_final()) {
            return;
        }
        if outcome.is_final() {
            state.said.clear();
        }
        state.said.retain(|(node, _)| *node != from);
        state.said.push((from, outcome));
        drop(state);
        self.left.notify_one();
    }
}

impl Pending<'_> {
    /// What the call says of itself.
    pub(crate) fn ticket(&self) -> Ticket {
        let floors = self.calls.floors(self.process);
        let floor = floors
            .get(self.process)
            .and_then(|open| open.numbers.first());
        Ticket {
            call: CallId {
                caller: self.calls.me,
                number: self.number,
            },
            floor: floor.copied().unwrap_or(self.number),
        }
    }

    /// Notes who is sent it now.
    pub(crate) fn sent_to(&self, node: NodeId) {
        lock(&self.slot.state).host = Some(node);
    }

    /// The next outcome. May be cancelled: nothing is lost.
    pub(crate) async fn outcome(&self) -> (NodeId, Outcome) {
        loop {
            let left = self.slot.left.notified();
            {
                let mut state = lock(&self.slot.state);
                if !state.said.is_empty() {
                    return state.said.remove(0);
                }
            }
            left.await;
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.calls.slots(self.number).remove(&self.number);
        self.calls.admit(self.process, Some(self.number));
    }
}

impl Turn<'_> {
    /// Waits until it is its turn. Whoever ends says so; a turn is never dropped before.
    async fn comes(&mut self) {
        let _ = (&mut self.comes).await;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Given up after it was let in: it is the next one's turn.
        self.comes.close();
        if self.comes.try_recv().is_ok() {
            self.calls.admit(self.process, None);
        }
    }
}

fn part(hash: u64) -> usize {
    usize::try_from(hash % PARTS as u64).unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
