//! What this node runs, and for whom.

use alloc::collections::BTreeMap;
use alloc::collections::btree_set::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Effect, HostFailure, HostOrder, HostReport, Node, Origin};
use crate::event::Event;
use crate::identity::{Epoch, NodeId, ProcessId, ShardId, Term};
use crate::message::{Departed, Hosted, Item, Report};
use crate::migration::Holding;
use crate::row::{Host, Role, Row, Rows};
use crate::spec::ChildSpec;
use crate::view::Owner;

/// How far a process on this node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It is being activated.
    Starting,
    /// It answers.
    Active,
    /// It is being stopped, as its home said.
    Ending,
    /// It is being stopped, since this node leaves: it begins again elsewhere.
    Leaving,
}

/// A process on this node.
pub(crate) struct Here {
    pub(crate) spec: Arc<ChildSpec>,
    pub(crate) epoch: Epoch,
    pub(crate) role: Role,
    pub(crate) phase: Phase,
    /// It stands still until its home has confirmed it (H12).
    pub(crate) unconfirmed: bool,
    /// It has all that was acknowledged ([`Host::filled`]).
    pub(crate) filled: bool,
}

/// The processes of one shard on this node.
#[derive(Default)]
pub(super) struct Local {
    pub(super) here: BTreeMap<ProcessId, Here>,
    /// Those that ended, by themselves or as a home said, until their home has noted it.
    departed: BTreeMap<ProcessId, Epoch>,
}

/// All processes on this node.
#[derive(Default)]
pub(crate) struct Hosting {
    pub(super) shards: BTreeMap<ShardId, Local>,
    /// The home of the highest term that this node has heard of, for each shard.
    homes: BTreeMap<ShardId, Owner>,
    count: usize,
    unconfirmed: usize,
    /// Replicas that are filled, while their row does not say so.
    pub(super) unlisted: BTreeSet<(ShardId, ProcessId)>,
}

impl Hosting {
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn get(&self, shard: ShardId, process: &ProcessId) -> Option<&Here> {
        self.shards.get(&shard)?.here.get(process)
    }

    pub(crate) fn get_mut(&mut self, shard: ShardId, process: &ProcessId) -> Option<&mut Here> {
        self.shards.get_mut(&shard)?.here.get_mut(process)
    }

    pub(crate) fn insert(&mut self, shard: ShardId, here: Here) {
        let local = self.shards.entry(shard).or_default();
        local.departed.remove(&here.spec.id);
        self.unconfirmed += usize::from(here.unconfirmed);
        match local.here.insert(here.spec.id.clone(), here) {
            None => self.count += 1,
            Some(before) => self.unconfirmed -= usize::from(before.unconfirmed),
        }
    }

    pub(crate) fn remove(&mut self, shard: ShardId, process: &ProcessId) -> Option<Here> {
        let here = self.shards.get_mut(&shard)?.here.remove(process)?;
        self.count -= 1;
        self.unconfirmed -= usize::from(here.unconfirmed);
        Some(here)
    }

    pub(super) fn departed(&mut self, shard: ShardId, gone: &Departed) {
        let local = self.shards.entry(shard).or_default();
        local.departed.insert(gone.process.clone(), gone.epoch);
    }

    /// Takes the word of a home, unless a higher one was heard (H7).
    pub(crate) fn obeys(&mut self, shard: ShardId, home: NodeId, term: Term) -> bool {
        let known = self
            .homes
            .entry(shard)
            .or_insert(Owner { node: home, term });
        if (term, home) < (known.term, known.node) {
            return false;
        }
        *known = Owner { node: home, term };
        true
    }

    /// Who grants what runs here.
    pub(crate) fn home(&self, shard: ShardId) -> Option<NodeId> {
        self.homes.get(&shard).map(|owner| owner.node)
    }

    /// The home of the highest term that was heard of.
    pub(crate) fn obeyed(&self, shard: ShardId) -> Option<Owner> {
        self.homes.get(&shard).copied()
    }

    /// Nothing goes on before its home has confirmed it.
    pub(crate) fn doubt_all(&mut self) {
        for local in self.shards.values_mut() {
            for here in local.here.values_mut() {
                here.unconfirmed = true;
            }
        }
        self.unconfirmed = self.count;
    }

    pub(crate) fn confirm(&mut self, shard: ShardId, process: &ProcessId) {
        let local = self.shards.get_mut(&shard);
        if let Some(here) = local.and_then(|local| local.here.get_mut(process))
            && core::mem::take(&mut here.unconfirmed)
        {
            self.unconfirmed -= 1;
        }
    }

    /// All that runs here.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Here> {
        self.shards.values().flat_map(|local| local.here.values())
    }

    /// What waits for its home's word, with its shard; nothing is looked at if nothing does.
    fn doubtful(&self) -> Vec<(ShardId, ProcessId, Epoch)> {
        if self.unconfirmed == 0 {
            return Vec::new();
        }
        let mut found = Vec::new();
        for (&shard, local) in &self.shards {
            let doubtful = local.here.iter().filter(|(_, here)| here.unconfirmed);
            found.extend(doubtful.map(|(id, here)| (shard, id.clone(), here.epoch)));
        }
        found
    }
}

impl<R: Rows> Node<R> {
    /// A home wants to know what runs here.
    pub(crate) fn heard_census(&mut self, from: NodeId, shard: ShardId, term: Term) {
        if !self.table.has(shard) || !self.hosting.obeys(shard, from, term) {
            return;
        }
        let position = self.copies.position(shard);
        let mut report = Report {
            position,
            hosted: Vec::new(),
            landing: Vec::new(),
            departed: Vec::new(),
        };
        let terminal = &self.terminal;
        for process in terminal.processes() {
            // Also beside a copy that runs: then it is to take in the state of another.
            if self.shard_of(process) == shard
                && let Some(holding @ Holding::Landing { .. }) = terminal.holding(process, None)
            {
                report.landing.push((process.clone(), holding));
            }
        }
        if let Some(local) = self.hosting.shards.get(&shard) {
            report.hosted.extend(local.here.values().map(|here| Hosted {
                spec: here.spec.clone(),
                epoch: here.epoch,
                role: here.role,
                ready: here.phase == Phase::Active,
                filled: here.filled,
                holding: here.ending().unwrap_or_else(|| {
                    terminal
                        .holding(&here.spec.id, Some(here.epoch))
                        .unwrap_or(Holding::Running { epoch: here.epoch })
                }),
            }));
            report
                .departed
                .extend(local.departed.iter().map(|(id, epoch)| Departed {
                    process: id.clone(),
                    epoch: *epoch,
                }));
        }
        let item = Item::Report {
            shard,
            term,
            report,
        };
        self.outbox.say(from, item);
    }

    /// A home wants a process to run here.
    pub(crate) fn heard_grant(
        &mut self,
        from: NodeId,
        term: Term,
        spec: Arc<ChildSpec>,
        grant: (Epoch, Role, bool),
    ) {
        let (epoch, role, replica) = grant;
        let shard = self.shard_of(&spec.id);
        if !self.hosting.obeys(shard, from, term) {
            let refused = Err(crate::message::Refusal::Stale);
            self.say_granted(from, spec.id.clone(), epoch, refused);
            return;
        }
        let id = spec.id.clone();
        let Some(here) = self.hosting.get_mut(shard, &id) else {
            self.activate(shard, spec, epoch, role, replica);
            return;
        };
        if here.epoch > epoch {
            self.say_granted(from, id, epoch, Err(crate::message::Refusal::Stale));
            return;
        }
        match here.phase {
            Phase::Starting | Phase::Ending | Phase::Leaving => {}
            Phase::Active if here.epoch == epoch => self.say_granted(from, id, epoch, Ok(())),
            Phase::Active if replica || (here.role == Role::Passive && role == Role::Active) => {
                self.promote(shard, spec, epoch, role);
            }
            Phase::Active if here.role == Role::Active && role == Role::Passive => {
                here.epoch = epoch;
                here.role = role;
                here.phase = Phase::Starting;
                self.step_aside(id, epoch);
            }
            Phase::Active => {
                here.epoch = epoch;
                here.role = role;
                // Whoever lists it anew may have gone without it for a while.
                here.filled = role == Role::Active || !self.settings.redundancy.keeps_state();
                self.effects.push_back(Effect::Host(HostOrder::Role {
                    process: id.clone(),
                    epoch,
                    role,
                }));
                self.say_granted(from, id, epoch, Ok(()));
            }
        }
    }

    fn activate(
        &mut self,
        shard: ShardId,
        spec: Arc<ChildSpec>,
        epoch: Epoch,
        role: Role,
        replica: bool,
    ) {
        let here = Here {
            spec: spec.clone(),
            epoch,
            role,
            phase: Phase::Starting,
            unconfirmed: false,
            filled: role == Role::Active || !self.settings.redundancy.keeps_state(),
        };
        self.hosting.insert(shard, here);
        let origin = if replica {
            Origin::Replica
        } else {
            Origin::Fresh
        };
        self.effects.push_back(Effect::Host(HostOrder::Activate {
            spec,
            epoch,
            origin,
            role,
            latecomers: None,
        }));
    }

    fn say_granted(
        &mut self,
        to: NodeId,
        process: ProcessId,
        epoch: Epoch,
        result: Result<(), crate::message::Refusal>,
    ) {
        let item = Item::Granted {
            process,
            epoch,
            result,
        };
        self.outbox.say(to, item);
    }

    /// A home wants a process to end.
    pub(crate) fn heard_end(&mut self, from: NodeId, term: Term, process: ProcessId, epoch: Epoch) {
        let shard = self.shard_of(&process);
        if !self.hosting.obeys(shard, from, term) {
            return;
        }
        match self.hosting.get_mut(shard, &process) {
            Some(here) if here.epoch > epoch => {}
            Some(here) => {
                if matches!(here.phase, Phase::Starting | Phase::Active) {
                    here.phase = Phase::Ending;
                    let epoch = here.epoch;
                    let order = HostOrder::Stop { process, epoch };
                    self.effects.push_back(Effect::Host(order));
                }
            }
            None => self.outbox.say(from, Item::Ended { process, epoch }),
        }
    }

    /// The home has taken note of a process that ended by itself.
    pub(crate) fn heard_noted(&mut self, gone: &Departed) {
        let shard = self.shard_of(&gone.process);
        if let Some(local) = self.hosting.shards.get_mut(&shard)
            && local.departed.get(&gone.process) == Some(&gone.epoch)
        {
            local.departed.remove(&gone.process);
        }
    }

    /// The home lets a process go on after this node stood still.
    pub(crate) fn heard_confirmed(
        &mut self,
        from: NodeId,
        term: Term,
        process: ProcessId,
        epoch: Epoch,
    ) {
        let shard = self.shard_of(&process);
        if self.is_still() || !self.hosting.obeys(shard, from, term) {
            return;
        }
        let here = self.hosting.get(shard, &process);
        if here.is_some_and(|here| here.unconfirmed && here.epoch == epoch) {
            self.hosting.confirm(shard, &process);
            let order = HostOrder::Continue { process, epoch };
            self.effects.push_back(Effect::Host(order));
        }
    }

    /// Asks the homes of what stands still whether it may go on.
    pub(crate) fn confirm_again(&mut self) -> bool {
        let doubtful = self.hosting.doubtful();
        let open = !doubtful.is_empty();
        for (shard, process, epoch) in doubtful {
            let Some(owner) = self.table.owner(shard) else {
                continue;
            };
            self.outbox
                .say(owner.node, Item::Confirm { process, epoch });
        }
        open
    }

    /// The row of a child changes: what this node runs of it follows.
    pub(crate) fn row_of_mine(&mut self, row: &Row, before: &[Host]) {
        let me = self.me.id;
        if !row.hosts().iter().any(|host| host.node == me) {
            return;
        }
        let shard = self.shard_of(row.id());
        let Some(here) = self.hosting.get_mut(shard, row.id()) else {
            return;
        };
        here.spec = row.spec().clone();
        let epoch = here.epoch;
        self.compare_filled(shard, row);
        if self.settings.redundancy.keeps_state() && row.hosts() != before {
            self.replicate(row, epoch);
        }
    }

    /// A process on this node did something.
    pub(crate) fn host_reports(&mut self, report: HostReport) {
        let moves = self.terminal_reports(&report);
        match report {
            HostReport::Activated { .. } if moves => {}
            HostReport::Activated {
                process,
                epoch,
                result,
            } => self.activated(process, epoch, result),
            HostReport::Ended {
                process,
                epoch,
                crash,
            } => self.ended(process, epoch, crash),
            HostReport::Filled { process, epoch } => self.filled(&process, epoch),
            HostReport::Restarted {
                process, reason, ..
            } => self.effects.push_back(Effect::Report(Event::Crashed {
                process,
                reason,
                restarted: true,
            })),
            HostReport::Warmed { .. }
            | HostReport::Frozen { .. }
            | HostReport::StateSent { .. }
            | HostReport::StateArrived { .. }
            | HostReport::Merged { .. } => {}
        }
    }

    fn activated(&mut self, process: ProcessId, epoch: Epoch, result: Result<(), HostFailure>) {
        let shard = self.shard_of(&process);
        let Some(here) = self.hosting.get_mut(shard, &process) else {
            return;
        };
        if here.epoch != epoch {
            return;
        }
        match (here.phase, &result) {
            (Phase::Starting, Ok(())) => here.phase = Phase::Active,
            (Phase::Starting, Err(_)) => {
                self.hosting.remove(shard, &process);
            }
            (Phase::Ending | Phase::Leaving, Err(_)) => {
                self.ended(process, epoch, None);
                return;
            }
            (Phase::Ending | Phase::Leaving | Phase::Active, _) => return,
        }
        if let Some(home) = self.hosting.home(shard) {
            self.say_granted(home, process, epoch, result.map_err(Into::into));
        }
    }
}
