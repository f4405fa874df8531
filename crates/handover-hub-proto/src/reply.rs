//! The replies of a process that a caller may still ask for.
//!
//! A call is sent again whenever its caller cannot know whether it arrived, so the process must
//! know it again: one that waits is not queued twice, one that was applied is answered from here
//! (H4). The cache belongs to the state and moves with it. It holds, for each calling node, the
//! calls from that node's **floor** on: the lowest of its calls to this process whose answer it does
//! not have yet. What is below the floor was answered, and is dropped wherever it turns up.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::identity::{CallId, NodeId};

/// Replies kept for one calling node: as many of its calls can be unanswered at once. A node that
/// has more under way is told to wait, which raises its floor.
pub const CALLS_MAX: usize = 1024;

/// Bytes of replies kept for one calling node.
pub const REPLY_BYTES_MAX: usize = 4 << 20;

/// Bounds of a cache, for each calling node: there are as many as members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReplyLimits {
    /// Calls that wait or have a reply here.
    pub calls: usize,
    /// Bytes of their replies. One reply may go beyond; no further call is admitted then.
    pub bytes: usize,
}

impl Default for ReplyLimits {
    fn default() -> Self {
        Self {
            calls: CALLS_MAX,
            bytes: REPLY_BYTES_MAX,
        }
    }
}

/// What a call says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ticket {
    /// Which call.
    pub call: CallId,
    /// The lowest call of its caller to this process that has no answer yet; at most `call`.
    pub floor: u64,
}

/// What is known of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known<'a, B> {
    /// Nothing: it was never here.
    New,
    /// It waits or is being applied.
    Waits,
    /// It was applied, with this reply.
    Answered(&'a B),
    /// Its caller has the answer, or gave up.
    Settled,
    /// Nothing, and there is no room to know more of that caller.
    Full,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Slot<B> {
    Waits,
    Answered(B),
}

/// The calls of one node. `calls` is sorted by number, all at `floor` or above.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Caller<B> {
    node: NodeId,
    floor: u64,
    calls: Vec<(u64, Slot<B>)>,
}

/// The replies of one caller, as they move with the state.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Remembered<B> {
    /// Whose calls.
    pub caller: NodeId,
    /// Its floor.
    pub floor: u64,
    /// Number and reply of each call that was answered, sorted.
    pub replies: Vec<(u64, B)>,
}

/// The cache of one process. `B`: the bytes of a reply.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replies<B> {
    /// Sorted by node.
    callers: Vec<Caller<B>>,
}

impl<B> Default for Replies<B> {
    fn default() -> Self {
        Self {
            callers: Vec::new(),
        }
    }
}

impl<B> Caller<B> {
    fn raise(&mut self, floor: u64) {
        if floor <= self.floor {
            return;
        }
        self.floor = floor;
        let below = self.calls.partition_point(|(number, _)| *number < floor);
        self.calls.drain(..below);
        // What a burst left behind is not kept by a process that goes idle.
        if self.calls.capacity() > 8 && self.calls.len() < self.calls.capacity() / 4 {
            self.calls.shrink_to_fit();
        }
    }

    fn slot(&self, number: u64) -> Result<usize, usize> {
        self.calls
            .binary_search_by_key(&number, |(known, _)| *known)
    }
}

impl<B: AsRef<[u8]>> Caller<B> {
    fn is_full(&self, limits: &ReplyLimits) -> bool {
        let bytes = self.calls.iter().map(|(_, slot)| match slot {
            Slot::Waits => 0,
            Slot::Answered(reply) => reply.as_ref().len(),
        });
        self.calls.len() >= limits.calls || bytes.sum::<usize>() > limits.bytes
    }
}

impl<B> Replies<B> {
    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.callers.is_empty()
    }

    fn find(&self, node: NodeId) -> Result<usize, usize> {
        self.callers
            .binary_search_by_key(&node, |caller| caller.node)
    }

    fn caller(&mut self, node: NodeId) -> &mut Caller<B> {
        let at = match self.find(node) {
            Ok(at) => at,
            Err(at) => {
                let caller = Caller {
                    node,
                    floor: 0,
                    calls: Vec::new(),
                };
                self.callers.insert(at, caller);
                at
            }
        };
        &mut self.callers[at]
    }

    /// What is known of a call. Changes nothing.
    #[must_use]
    pub fn known(&self, call: CallId) -> Known<'_, B> {
        let Ok(at) = self.find(call.caller) else {
            return Known::New;
        };
        let caller = &self.callers[at];
        if call.number < caller.floor {
            return Known::Settled;
        }
        match caller.slot(call.number) {
            Ok(at) => match &caller.calls[at].1 {
                Slot::Waits => Known::Waits,
                Slot::Answered(reply) => Known::Answered(reply),
            },
            Err(_) => Known::New,
        }
    }

    /// Notes the reply of a call that was admitted. Below the floor nobody asks for it again.
    pub fn answer(&mut self, call: CallId, reply: B) {
        let caller = self.caller(call.caller);
        if call.number < caller.floor {
            return;
        }
        match caller.slot(call.number) {
            Ok(at) => caller.calls[at].1 = Slot::Answered(reply),
            Err(at) => caller
                .calls
                .insert(at, (call.number, Slot::Answered(reply))),
        }
    }

    /// Notes a call that waits, wherever it was admitted.
    pub fn await_reply(&mut self, call: CallId) {
        let caller = self.caller(call.caller);
        if call.number >= caller.floor
            && let Err(at) = caller.slot(call.number)
        {
            caller.calls.insert(at, (call.number, Slot::Waits));
        }
    }

    /// Forgets a call that waited and will not be applied. It may be admitted again.
    pub fn abandon(&mut self, call: CallId) {
        if let Ok(at) = self.find(call.caller)
            && let Ok(slot) = self.callers[at].slot(call.number)
            && matches!(self.callers[at].calls[slot].1, Slot::Waits)
        {
            self.callers[at].calls.remove(slot);
        }
    }

    /// A caller has the answers of all calls below a number: their replies are dropped.
    pub fn settle(&mut self, caller: NodeId, floor: u64) {
        if let Ok(at) = self.find(caller) {
            self.callers[at].raise(floor);
        }
    }

    /// Forgets a node that is gone. Only when nothing of it can be under way any more, a forwarded
    /// message neither: one that was applied before would be applied again.
    pub fn forget(&mut self, caller: NodeId) {
        if let Ok(at) = self.find(caller) {
            self.callers.remove(at);
        }
    }
}

impl<B: AsRef<[u8]>> Replies<B> {
    /// Raises the caller's floor to what the call says, and takes the call in if it is new: then
    /// [`Known::New`] is returned once, and [`Known::Waits`] until it is answered.
    pub fn admit(&mut self, ticket: Ticket, limits: &ReplyLimits) -> Known<'_, B> {
        let Ticket { call, floor } = ticket;
        let caller = self.caller(call.caller);
        // A call is never below its own floor; one that says so is taken at its number.
        caller.raise(floor.min(call.number));
        if call.number < caller.floor {
            return Known::Settled;
        }
        match caller.slot(call.number) {
            Ok(at) => match &caller.calls[at].1 {
                Slot::Waits => Known::Waits,
                Slot::Answered(reply) => Known::Answered(reply),
            },
            // The one at the floor is always taken in: only its answer makes room again.
            Err(_) if call.number > caller.floor && caller.is_full(limits) => Known::Full,
            Err(at) => {
                caller.calls.insert(at, (call.number, Slot::Waits));
                Known::New
            }
        }
    }
}

impl<B: Clone> Replies<B> {
    /// What moves with the state: floors and replies. Calls that wait are in the queue beside.
    #[must_use]
    pub fn remembered(&self) -> Vec<Remembered<B>> {
        let callers = self.callers.iter().map(|caller| Remembered {
            caller: caller.node,
            floor: caller.floor,
            replies: caller
                .calls
                .iter()
                .filter_map(|(number, slot)| match slot {
                    Slot::Waits => None,
                    Slot::Answered(reply) => Some((*number, reply.clone())),
                })
                .collect(),
        });
        callers.collect()
    }

    /// Adds what came with a state. What was answered here already stays.
    pub fn absorb(&mut self, remembered: Vec<Remembered<B>>) {
        for Remembered {
            caller,
            floor,
            replies,
        } in remembered
        {
            let known = self.caller(caller);
            for (number, reply) in replies {
                match known.slot(number) {
                    Ok(at) => {
                        if let slot @ Slot::Waits = &mut known.calls[at].1 {
                            *slot = Slot::Answered(reply);
                        }
                    }
                    Err(at) => known.calls.insert(at, (number, Slot::Answered(reply))),
                }
            }
            known.raise(floor);
            let floor = known.floor;
            known.calls.retain(|(number, _)| *number >= floor);
        }
    }
}

#[cfg(test)]
mod tests;
