//! What must hold, whatever happened: the shadow of a cluster.

use std::collections::{BTreeMap, BTreeSet};

use handover_hub_proto::identity::{CallId, Epoch, NodeId, ProcessId, RequestId, ShardId, Term};
use handover_hub_proto::view::Owner;

use super::network::RunIndex;

/// A rule that is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which: an invariant of the hub.
    pub rule: &'static str,
    /// How.
    pub words: String,
    /// What to look for in the log.
    pub about: Vec<String>,
}

impl Violation {
    /// `about`: what to look for in the log.
    pub fn new(rule: &'static str, words: String, about: &[&dyn std::fmt::Display]) -> Self {
        let about = about.iter().map(ToString::to_string).collect();
        Self { rule, words, about }
    }
}

/// What somebody wanted of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It was started, and that was acknowledged.
    Running,
    /// It was stopped, and that was acknowledged.
    Stopped,
    /// It was asked for something, and nobody knows what became of it.
    Either,
}

/// What is known of a child.
#[derive(Clone, Debug)]
pub struct Child {
    /// What was acknowledged last.
    pub wanted: Wanted,
    /// Requests about it without answer.
    pub asked: u32,
    /// Calls that its callers hold for applied.
    pub acknowledged: BTreeSet<CallId>,
    /// Calls that may be lost: their only holder was killed.
    pub excused: BTreeSet<CallId>,
    /// How often it was started from nothing.
    pub fresh: u64,
}

impl Default for Child {
    fn default() -> Self {
        Self {
            wanted: Wanted::Either,
            asked: 0,
            acknowledged: BTreeSet::new(),
            excused: BTreeSet::new(),
            fresh: 0,
        }
    }
}

/// What was seen, so that a run that saw nothing is noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls answered.
    pub answered: u64,
    /// Calls given up by their callers.
    pub given_up: u64,
    /// Calls applied.
    pub applied: u64,
    /// Processes activated from a state that was sent.
    pub moved: u64,
    /// Processes activated from nothing.
    pub fresh: u64,
    /// Processes activated from a replica.
    pub replicas: u64,
    /// Moves that ended where they began.
    pub resumed: u64,
    /// Copies that were merged.
    pub merged: u64,
    /// Processes that were suspended and confirmed.
    pub confirmed: u64,
    /// Nodes killed.
    pub killed: u64,
    /// Nodes that left in order.
    pub left: u64,
    /// Commands answered.
    pub commands: u64,
    /// Commands of which a part failed.
    pub failed: u64,
    /// Orders that a host carried out late.
    pub late: u64,
    /// Moments for which a machine stood still while its hosts went on.
    pub stalled: u64,
    /// Boards by which processes were shifted.
    pub shifted: u64,
    /// Children that were put on nodes by who started them.
    pub guided: u64,
}

impl Counts {
    /// Adds those of another run.
    pub const fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.given_up += other.given_up;
        self.applied += other.applied;
        self.moved += other.moved;
        self.fresh += other.fresh;
        self.replicas += other.replicas;
        self.resumed += other.resumed;
        self.merged += other.merged;
        self.confirmed += other.confirmed;
        self.killed += other.killed;
        self.left += other.left;
        self.commands += other.commands;
        self.failed += other.failed;
        self.late += other.late;
        self.stalled += other.stalled;
        self.shifted += other.shifted;
        self.guided += other.guided;
    }
}

/// The shadow.
#[derive(Debug)]
pub struct Checker {
    exclusive: bool,
    /// All children that were ever asked for.
    pub children: BTreeMap<ProcessId, Child>,
    homes: BTreeMap<(ShardId, Term), NodeId>,
    grants: BTreeMap<(ProcessId, Epoch), RunIndex>,
    highest: BTreeMap<ProcessId, Epoch>,
    open: BTreeSet<(RunIndex, RequestId)>,
    /// What was seen.
    pub counts: Counts,
}

impl Checker {
    /// Nothing was seen.
    #[must_use]
    pub fn new(exclusive: bool) -> Self {
        Self {
            exclusive,
            children: BTreeMap::new(),
            homes: BTreeMap::new(),
            grants: BTreeMap::new(),
            highest: BTreeMap::new(),
            open: BTreeSet::new(),
            counts: Counts::default(),
        }
    }

    /// What is known of a child.
    pub fn child(&mut self, process: &ProcessId) -> &mut Child {
        self.children.entry(process.clone()).or_default()
    }

    /// H1: one home of a shard under a term, if the engine promises that.
    ///
    /// # Errors
    /// The rule is broken.
    pub fn owners(&mut self, owners: &[(ShardId, Owner)]) -> Result<(), Violation> {
        for (shard, Owner { node, term }) in owners {
            let first = *self.homes.entry((*shard, *term)).or_insert(*node);
            if self.exclusive && first != *node {
                let words = format!("shard {} has two homes under {}", shard.0, term.0);
                return Err(Violation::new("H1", words, &[&first, node]));
            }
        }
        Ok(())
    }

    /// H1 and H7: an epoch is granted to one host, and no lower one than before has any effect.
    ///
    /// # Errors
    /// The rule is broken.
    pub fn activated(
        &mut self,
        run: RunIndex,
        process: &ProcessId,
        epoch: Epoch,
    ) -> Result<(), Violation> {
        let key = (process.clone(), epoch);
        let first = *self.grants.entry(key).or_insert(run);
        if self.exclusive && first != run {
            let words = format!("{process} has two hosts under {epoch}: runs {first} and {run}");
            return Err(Violation::new("H1", words, &[process]));
        }
        let highest = self.highest.entry(process.clone()).or_insert(epoch);
        if self.exclusive && epoch < *highest {
            let words = format!("{process} runs under {epoch} after {highest}");
            return Err(Violation::new("H7", words, &[process]));
        }
        *highest = epoch;
        Ok(())
    }

    /// H2: with an exclusive engine one host acts at a time.
    ///
    /// # Errors
    /// The rule is broken.
    pub fn acting(&self, process: &ProcessId, hosts: &[RunIndex]) -> Result<(), Violation> {
        if self.exclusive && hosts.len() > 1 {
            let words = format!("{process} is acted for by runs {hosts:?} at once");
            return Err(Violation::new("H2", words, &[process]));
        }
        Ok(())
    }

    /// A caller holds a call for applied.
    pub fn acknowledged(&mut self, process: &ProcessId, call: CallId) {
        self.counts.answered += 1;
        self.child(process).acknowledged.insert(call);
    }

    /// A node was killed: what only it held may be lost.
    pub fn excuse(&mut self, process: &ProcessId, calls: impl Iterator<Item = CallId>) {
        self.child(process).excused.extend(calls);
    }

    /// H3: what was acknowledged is in the state that survives.
    ///
    /// # Errors
    /// The rule is broken.
    pub fn survives(
        &self,
        process: &ProcessId,
        applied: &BTreeSet<CallId>,
    ) -> Result<(), Violation> {
        let Some(child) = self.children.get(process) else {
            return Ok(());
        };
        let lost = child.acknowledged.difference(applied);
        let mut lost = lost.filter(|call| !child.excused.contains(call));
        if let Some(call) = lost.next() {
            let more = lost.count();
            let (caller, number) = (call.caller, call.number);
            let words = format!(
                "{process} lost call {number} of {caller} and {more} more of {} acknowledged",
                child.acknowledged.len()
            );
            return Err(Violation::new("H3", words, &[process]));
        }
        Ok(())
    }

    /// A command was given.
    pub fn asked(&mut self, run: RunIndex, request: RequestId) {
        self.open.insert((run, request));
    }

    /// Each command is answered once.
    ///
    /// # Errors
    /// It was answered before, or never given.
    pub fn answered(&mut self, run: RunIndex, request: RequestId) -> Result<(), Violation> {
        self.counts.commands += 1;
        if self.open.remove(&(run, request)) {
            return Ok(());
        }
        let words = format!("run {run} answers {} twice", request.0);
        Err(Violation::new("answers", words, &[]))
    }

    /// A run is over; nobody waits for what it was asked.
    pub fn over(&mut self, run: RunIndex) {
        self.open.retain(|(asked, _)| *asked != run);
    }

    /// Commands without answer.
    #[must_use]
    pub fn open(&self) -> Option<&(RunIndex, RequestId)> {
        self.open.first()
    }
}
