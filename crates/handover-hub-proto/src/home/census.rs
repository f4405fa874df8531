//! A new home asks everybody what they run in its shard, before it grants anything.
//!
//! Whoever does not answer is asked again until the engine says that it is gone; then it has
//! nothing. From its answer on a node takes no grant of an earlier home (H7), so what the answers
//! say together is all that runs (H2). Then the home takes the rows from whoever is furthest, since
//! an acknowledged start is in the copy of at least one that is left (H9), and begins.

use alloc::collections::BTreeMap;
use alloc::collections::btree_set::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Asker, Doing, Home, Stage, host_at};
use crate::identity::{Epoch, NodeId, ProcessId, ShardId, Term};
use crate::message::{Ask, Change, Hosted, Item, Position, Report, Told};
use crate::migration::Holding;
use crate::node::{Node, Timer};
use crate::row::{Host, Role, Row, Rows};
use crate::spec::ChildSpec;

/// Most things asked of a shard whose home is not ready that are kept; what is beyond is asked
/// again by whoever asked.
const ASKED_MAX: usize = 16 * 1024;

/// What there is of one process, by the word of all nodes.
#[derive(Default)]
pub(super) struct Found {
    pub(super) running: Vec<(NodeId, Hosted)>,
    pub(super) moving: Vec<(NodeId, Holding)>,
    /// Who ends it, and may answer until then.
    pub(super) ending: Vec<(NodeId, Hosted)>,
    spec: Option<Arc<ChildSpec>>,
}

impl Found {
    fn is_nothing(&self) -> bool {
        self.running.is_empty() && self.moving.is_empty() && self.ending.is_empty()
    }
}

/// What is known so far.
pub(crate) struct Census {
    waiting: BTreeSet<NodeId>,
    reports: BTreeMap<NodeId, Report>,
    /// Whose rows are ahead of this node's, the furthest last.
    ahead: Vec<(Position, NodeId)>,
    pub(crate) asked: Vec<(Asker, ProcessId, Ask, bool)>,
}

impl Census {
    pub(crate) fn new(waiting: BTreeSet<NodeId>) -> Self {
        Self {
            waiting,
            reports: BTreeMap::new(),
            ahead: Vec::new(),
            asked: Vec::new(),
        }
    }

    /// Whom the rows are fetched from.
    pub(crate) fn source(&self) -> Option<NodeId> {
        self.ahead.last().map(|(_, node)| *node)
    }

    /// Keeps what was asked until the home is ready; not if that is too much.
    pub(crate) fn keep(&mut self, asker: Asker, process: ProcessId, ask: Ask, again: bool) -> bool {
        let room = self.asked.len() < ASKED_MAX;
        if room {
            self.asked.push((asker, process, ask, again));
        }
        room
    }
}

impl<R: Rows> Node<R> {
    /// This node is the home of a shard from now on.
    pub(crate) fn begin_census(&mut self, shard: ShardId, term: Term) {
        let mut waiting: BTreeSet<NodeId> = self.members.ids().collect();
        waiting.insert(self.me.id);
        let mut asked = Vec::new();
        if let Some(home) = self.homes.get_mut(&shard)
            && let Stage::Census(census) = &mut home.stage
        {
            asked = core::mem::take(&mut census.asked);
        }
        self.end_home(shard);
        for &node in &waiting {
            self.outbox.say(node, Item::Census { shard, term });
        }
        let mut census = Census::new(waiting);
        census.asked = asked;
        self.homes.insert(shard, Home::new(term, census));
        self.retry_later();
    }

    /// A member joined: it is asked as well, it may have been here before.
    pub(crate) fn census_of_newcomer(&mut self, node: NodeId) {
        for (&shard, home) in &mut self.homes {
            let term = home.term;
            match &mut home.stage {
                Stage::Census(census) => {
                    census.waiting.insert(node);
                }
                Stage::Live => {
                    home.recount.insert(node);
                }
            }
            self.outbox.say(node, Item::Census { shard, term });
        }
        self.retry_later();
    }

    /// Something of a shard may run on a node beside what its rows say: that is asked for.
    pub(crate) fn count_again(&mut self, shard: ShardId, node: NodeId) {
        let Some(home) = self.homes.get_mut(&shard) else {
            return;
        };
        home.recount.insert(node);
        let term = home.term;
        self.outbox.say(node, Item::Census { shard, term });
        self.retry_later();
    }

    /// A member is gone, so is all it ran (the engine vouches for it).
    pub(crate) fn census_without(&mut self, node: NodeId) {
        let mut complete = Vec::new();
        for (&shard, home) in &mut self.homes {
            home.recount.remove(&node);
            home.placed.retain(|_, to| *to != node);
            if let Stage::Census(census) = &mut home.stage {
                census.waiting.remove(&node);
                census.reports.remove(&node);
                census.ahead.retain(|(_, holder)| *holder != node);
                complete.push(shard);
            }
        }
        for shard in complete {
            self.conclude_census(shard);
        }
    }

    /// Asks those again who have not answered.
    pub(crate) fn census_again(&mut self) -> bool {
        let mut open = false;
        for (&shard, home) in &self.homes {
            let term = home.term;
            let silent = match &home.stage {
                Stage::Census(census) => &census.waiting,
                Stage::Live => &home.recount,
            };
            for &node in silent {
                self.outbox.say(node, Item::Census { shard, term });
            }
            open |= !home.is_live() || !silent.is_empty();
        }
        open
    }

    /// An answer.
    pub(crate) fn heard_report(
        &mut self,
        from: NodeId,
        shard: ShardId,
        term: Term,
        report: Report,
    ) {
        let Some(home) = self.homes.get_mut(&shard) else {
            return;
        };
        if home.term != term {
            return;
        }
        match &mut home.stage {
            Stage::Census(census) => {
                if census.waiting.remove(&from) {
                    census.reports.insert(from, report);
                    self.conclude_census(shard);
                }
            }
            // Each answer counts: the first may be to what was asked long before the last was.
            Stage::Live => {
                home.recount.remove(&from);
                self.recounted(shard, from, report);
            }
        }
    }

    /// Rows that were fetched for a census are here.
    pub(crate) fn rows_arrived(&mut self, shard: ShardId) {
        self.conclude_census(shard);
    }

    fn conclude_census(&mut self, shard: ShardId) {
        let mine = self.copies.position(shard);
        let Some(home) = self.homes.get_mut(&shard) else {
            return;
        };
        let Stage::Census(census) = &mut home.stage else {
            return;
        };
        if !census.waiting.is_empty() {
            return;
        }
        census.ahead = census
            .reports
            .iter()
            .map(|(node, report)| (report.position, *node))
            .filter(|(position, _)| *position > mine)
            .collect();
        census.ahead.sort_unstable();
        match census.ahead.last() {
            None => self.go_live(shard, mine),
            Some((ahead, _)) if !self.copies.is_missing(shard) => {
                self.copies.miss(shard, *ahead);
                self.fetch_missing();
            }
            Some(_) => {}
        }
    }

    /// Everybody has answered and the rows are here: this home decides from now on.
    fn go_live(&mut self, shard: ShardId, base: Position) {
        let Some(home) = self.homes.get_mut(&shard) else {
            return;
        };
        let Stage::Census(census) = core::mem::replace(&mut home.stage, Stage::Live) else {
            return;
        };
        let position = Position {
            term: home.term,
            home: self.me.id,
            sequence: 0,
        };
        self.copies.set(shard, position);
        for node in self.members.others(self.me.id) {
            let item = Item::Began {
                shard,
                position,
                base,
            };
            self.outbox.say(node, item);
        }
        self.take_in(shard, census.reports);
        self.sweep.insert(shard);
        for (asker, process, ask, again) in census.asked {
            self.asked(asker, process, ask, again);
        }
    }

    /// Brings the rows in line with what the hosts said.
    fn take_in(&mut self, shard: ShardId, reports: BTreeMap<NodeId, Report>) {
        let mut all: BTreeMap<ProcessId, Found> = BTreeMap::new();
        let mut departed: BTreeMap<(ProcessId, NodeId), Epoch> = BTreeMap::new();
        for (node, report) in reports {
            for gone in report.departed {
                departed.insert((gone.process.clone(), node), gone.epoch);
                self.outbox.say(node, Item::Noted(gone));
            }
            for hosted in report.hosted {
                let found = all.entry(hosted.spec.id.clone()).or_default();
                match hosted.holding {
                    Holding::Running { .. } => found.running.push((node, hosted)),
                    Holding::Ending { .. } => {
                        if hosted.role == Role::Active {
                            found.ending.push((node, hosted));
                        }
                    }
                    holding => {
                        found.spec = Some(hosted.spec);
                        found.moving.push((node, holding));
                    }
                }
            }
            for (process, holding) in report.landing {
                all.entry(process).or_default().moving.push((node, holding));
            }
        }
        for row in self.rows.shard(shard) {
            let found = all.remove(row.id()).unwrap_or_default();
            let ended = |host: &Host| {
                let epoch = departed.get(&(row.id().clone(), host.node));
                epoch.is_some_and(|epoch| *epoch >= host.epoch)
            };
            if found.is_nothing() && row.hosts().iter().any(ended) {
                self.bury(shard, row.id());
            } else {
                self.found(shard, row.id(), Some(&row), found);
            }
        }
        for (process, found) in all {
            self.found(shard, &process, None, found);
        }
    }

    /// What there is of one process, by the word of all nodes.
    fn found(&mut self, shard: ShardId, process: &ProcessId, row: Option<&Row>, found: Found) {
        let mut found = found;
        self.end_late(shard, process, &mut found.running, &mut found.moving);
        if found.running.is_empty() && found.moving.is_empty() {
            match row {
                Some(row) if self.is_row_over(shard, row) => {
                    self.bury(shard, row.id());
                    return;
                }
                // All there was is from before its end.
                None if found.ending.is_empty() => return,
                Some(_) | None => {}
            }
        }
        if self.ends_still(shard, process, row, &found) {
            return;
        }
        let Found {
            mut running,
            moving,
            spec,
            ..
        } = found;
        running.sort_by_key(|(_, hosted)| core::cmp::Reverse(hosted.epoch));
        if let Some(row) = row.filter(|_| self.settings.guarantees.exclusive) {
            // Others ran it after it was taken from these, whoever they are (H7).
            let (late, rest) = running
                .into_iter()
                .partition(|(node, hosted)| is_late(row, *node, hosted));
            running = rest;
            self.keep_apart(shard, process, late);
        }
        let of_host = running.first().map(|(_, hosted)| hosted.spec.clone());
        let spec = row.map(|row| row.spec().clone()).or(of_host).or(spec);
        let Some(spec) = spec else {
            // Only on its way, and nobody knows it: it was never acknowledged, or stopped since.
            for (node, holding) in &moving {
                self.let_go(shard, process, *node, holding);
            }
            return;
        };
        let answers = |(_, hosted): &(NodeId, Hosted)| hosted.role == Role::Active;
        if !running.iter().any(answers) && !moving.is_empty() {
            let row = Row::new(spec, row.map_or(&[], Row::hosts));
            self.resolve_move(shard, &row, &moving, &ready(&running));
            return;
        }
        let apart = self.too_many(&mut running);
        self.keep_apart(shard, process, apart);
        if running.iter().any(|(_, hosted)| !hosted.ready) {
            self.adopt_starts(shard, spec, ready(&running), &running);
            return;
        }
        let hosts = ready(&running);
        if row.is_none_or(|row| row.hosts() != hosts) {
            self.publish(shard, Change::Put(Row::new(spec, &hosts)));
        }
        self.settle_moves(shard, process, &moving);
        self.merge_next(shard, process);
    }

    /// How many run one process.
    pub(crate) fn replicas(&self) -> usize {
        self.settings.redundancy.replicas(self.members.len()).max(1)
    }

    /// This node is no longer the home of a shard. Who asked it asks the next one.
    pub(crate) fn end_home(&mut self, shard: ShardId) {
        let Some(home) = self.homes.remove(&shard) else {
            return;
        };
        if let Stage::Census(census) = home.stage {
            for (asker, process, _, _) in census.asked {
                self.tell(asker, process, Told::NotHome);
            }
        }
        for (process, work) in home.work {
            if let Doing::Moving(moving) = &work.doing {
                moving.leave(&mut self.pace);
                self.timers.clear(&Timer::Move(shard, process.clone()));
            }
            for asker in work.askers {
                self.tell(asker, process.clone(), Told::NotHome);
            }
            for (asker, _, _) in work.then {
                self.tell(asker, process.clone(), Told::NotHome);
            }
        }
    }
}

/// Whether the registry knows of a later host than this one. Where it lists the same node under a later
/// epoch, that is the same copy: it was to go on under that epoch, and its home died before it was told.
fn is_late(row: &Row, node: NodeId, hosted: &Hosted) -> bool {
    let newest = row.hosts().iter().map(|host| host.epoch).max();
    host_at(row, node).is_none() && newest.is_some_and(|known| hosted.epoch < known)
}

/// Those that answer.
fn ready(running: &[(NodeId, Hosted)]) -> Vec<Host> {
    let ready = running.iter().filter(|(_, hosted)| hosted.ready);
    ready.map(|(node, hosted)| listed(*node, hosted)).collect()
}

/// A host as a row has it.
pub(super) const fn listed(node: NodeId, hosted: &Hosted) -> Host {
    Host {
        node,
        epoch: hosted.epoch,
        role: hosted.role,
        filled: hosted.filled,
    }
}
