//! The calls of one node that have no answer yet.

use alloc::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::identity::{CallId, NodeId, ProcessId};
use crate::reply::Ticket;

/// Numbers calls, and knows for each process the lowest one without an answer.
#[derive(Clone, Debug)]
pub struct Ledger {
    node: NodeId,
    next: u64,
    /// Only processes that are being called. Numbers grow.
    open: HashMap<ProcessId, VecDeque<u64>, FixedState>,
}

impl Ledger {
    /// The calls of this node. Every one of its calls must be in the same ledger, or in one of
    /// several that share no process: see [`Self::counting_from`].
    #[must_use]
    pub fn new(node: NodeId) -> Self {
        Self::counting_from(node, 1)
    }

    /// The same, with a first number. Numbers of one process must grow and be unique on this node.
    #[must_use]
    pub fn counting_from(node: NodeId, first: u64) -> Self {
        Self {
            node,
            next: first,
            open: HashMap::default(),
        }
    }

    /// Begins a call.
    pub fn begin(&mut self, process: &ProcessId) -> Ticket {
        let number = self.next;
        self.next += 1;
        let open = match self.open.get_mut(process) {
            Some(open) => open,
            None => self.open.entry(process.clone()).or_default(),
        };
        open.push_back(number);
        Ticket {
            call: CallId {
                caller: self.node,
                number,
            },
            floor: open.front().copied().unwrap_or(number),
        }
    }

    /// What a call says of itself when it is sent again.
    #[must_use]
    pub fn again(&self, process: &ProcessId, call: CallId) -> Ticket {
        let floor = self.floor(process).unwrap_or(call.number).min(call.number);
        Ticket { call, floor }
    }

    /// The lowest call to a process without an answer.
    #[must_use]
    pub fn floor(&self, process: &ProcessId) -> Option<u64> {
        self.open.get(process)?.front().copied()
    }

    /// A call was answered, or given up: its answer is of no use any more. False if it was before.
    pub fn end(&mut self, process: &ProcessId, call: CallId) -> bool {
        let Some(open) = self.open.get_mut(process) else {
            return false;
        };
        let Ok(at) = open.binary_search(&call.number) else {
            return false;
        };
        open.remove(at);
        if open.is_empty() {
            self.open.remove(process);
        }
        true
    }

    /// Calls without an answer.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.values().map(VecDeque::len).sum()
    }
}
