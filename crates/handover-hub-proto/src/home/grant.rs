//! A home has processes started and ended by their hosts.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::work::{Doing, Starting, Stopping};
use super::{Asker, Home, Pending, Work};
use crate::identity::{Epoch, NodeId, ProcessId, ShardId};
use crate::message::{Change, Departed, Hosted, Item, Refusal, Told};
use crate::migration::MovementInput;
use crate::node::{Failure, Node, Timer};
use crate::row::{Host, Role, Row, Rows};
use crate::spec::ChildSpec;

/// A process that nobody could start is tried again after this many retries' time.
const START_AGAIN: u32 = 4;

impl<R: Rows> Node<R> {
    /// Whether something is being done to a process.
    pub(crate) fn is_busy(&self, shard: ShardId, process: &ProcessId) -> bool {
        let home = self.homes.get(&shard);
        home.is_some_and(|home| home.work.contains_key(process))
    }

    /// Has nodes start a process, beside those that run it.
    pub(crate) fn start(
        &mut self,
        shard: ShardId,
        spec: Arc<ChildSpec>,
        hosts: Vec<Host>,
        on: &[(NodeId, Role, bool)],
        asker: Option<Asker>,
    ) {
        let Some(home) = self.homes.get_mut(&shard) else {
            return;
        };
        let mut pending = BTreeMap::new();
        for &(node, role, replica) in on {
            let epoch = home.epoch();
            let grant = Pending {
                epoch,
                role,
                replica,
            };
            pending.insert(node, grant);
        }
        let id = spec.id.clone();
        let fresh = self.rows.get(&id).is_none();
        let starting = Starting {
            spec,
            hosts,
            pending,
            failed: None,
            adopted: false,
            fresh,
        };
        self.begin(shard, &id, Doing::Starting(starting), asker);
    }

    /// Goes on with starts that an earlier home granted.
    pub(crate) fn adopt_starts(
        &mut self,
        shard: ShardId,
        spec: Arc<ChildSpec>,
        hosts: Vec<Host>,
        here: &[(NodeId, Hosted)],
    ) {
        let unready = here.iter().filter(|(_, hosted)| !hosted.ready);
        let pending = unready
            .map(|(node, hosted)| {
                let grant = Pending {
                    epoch: hosted.epoch,
                    role: hosted.role,
                    replica: false,
                };
                (*node, grant)
            })
            .collect();
        let id = spec.id.clone();
        let fresh = self.rows.get(&id).is_none();
        let starting = Starting {
            spec,
            hosts,
            pending,
            failed: None,
            adopted: true,
            fresh,
        };
        self.begin(shard, &id, Doing::Starting(starting), None);
    }

    /// Has all hosts of a process end it, and who runs a copy of it apart.
    pub(crate) fn stop(&mut self, shard: ShardId, row: &Row, asker: Option<Asker>) {
        let Some(home) = self.homes.get_mut(&shard) else {
            return;
        };
        let apart = home.apart.remove(row.id()).unwrap_or_default();
        let hosts: Vec<Host> = row.hosts().iter().copied().chain(apart).collect();
        let living = hosts.iter().filter(|host| self.members.has(host.node));
        let stopping = Stopping {
            pending: living.map(|host| (host.node, host.epoch)).collect(),
            nodes: hosts.iter().map(|host| host.node).collect(),
            for_good: true,
        };
        self.begin(shard, row.id(), Doing::Stopping(stopping), asker);
        self.work_may_be_done(shard, row.id());
    }

    /// Hosts are told what they are to do with a process, until they have.
    pub(super) fn begin(
        &mut self,
        shard: ShardId,
        process: &ProcessId,
        doing: Doing,
        asker: Option<Asker>,
    ) {
        let Some(home) = self.homes.get_mut(&shard) else {
            return;
        };
        let work = Work::new(doing, asker, self.now);
        home.work.insert(process.clone(), work);
        self.say_work(shard, process);
        self.retry_later();
    }

    /// Tells hosts, again if need be, what they are to do.
    pub(crate) fn say_work(&mut self, shard: ShardId, process: &ProcessId) {
        let Some(home) = self.homes.get_mut(&shard) else {
            return;
        };
        let Some(work) = home.work.get_mut(process) else {
            return;
        };
        work.said = self.now;
        match &work.doing {
            Doing::Starting(starting) => {
                for (&node, grant) in &starting.pending {
                    let item = Item::Grant {
                        spec: starting.spec.clone(),
                        epoch: grant.epoch,
                        role: grant.role,
                        replica: grant.replica,
                        term: home.term,
                    };
                    self.outbox.say(node, item);
                }
            }
            Doing::Stopping(stopping) => {
                for (&node, &epoch) in &stopping.pending {
                    let item = Item::End {
                        process: process.clone(),
                        epoch,
                        term: home.term,
                    };
                    self.outbox.say(node, item);
                }
            }
            // It says again by itself what was not answered.
            Doing::Moving(_) => {}
        }
    }

    /// Says again what hosts have not answered for long. Whether anything is open.
    pub(crate) fn work_again(&mut self) -> bool {
        let patience = self.settings.retry * START_AGAIN;
        let mut silent = Vec::new();
        let mut open = false;
        for (&shard, home) in &self.homes {
            open |= !home.work.is_empty();
            for (process, work) in &home.work {
                if self.now.since(work.said) >= patience {
                    silent.push((shard, process.clone()));
                }
            }
        }
        for (shard, process) in silent {
            self.say_work(shard, &process);
        }
        open
    }

    /// A host answers a grant.
    pub(crate) fn heard_granted(
        &mut self,
        from: NodeId,
        process: &ProcessId,
        epoch: Epoch,
        result: Result<(), Refusal>,
    ) {
        let shard = self.shard_of(process);
        let keeps_state = self.settings.redundancy.keeps_state();
        let Some(starting) = self.starting(shard, process) else {
            return;
        };
        let Some(grant) = starting.pending.get(&from).copied() else {
            return;
        };
        if grant.epoch != epoch {
            return;
        }
        match result {
            Ok(()) => {
                starting.pending.remove(&from);
                starting.hosts.retain(|host| host.node != from);
                starting.hosts.push(Host {
                    node: from,
                    epoch,
                    role: grant.role,
                    filled: grant.role == Role::Active || !keeps_state,
                });
            }
            // Said again later: by then this home knows that it is none, or the host has caught up.
            Err(Refusal::Stale) => return,
            Err(Refusal::UnknownKind) => {
                starting.pending.remove(&from);
                starting.failed = Some(Failure::UnknownKind {
                    node: from,
                    kind: starting.spec.kind.as_str().into(),
                });
            }
            Err(Refusal::Said(reason)) => {
                starting.pending.remove(&from);
                starting.failed = Some(Failure::Refused { node: from, reason });
            }
        }
        self.work_may_be_done(shard, process);
    }

    pub(super) fn starting(
        &mut self,
        shard: ShardId,
        process: &ProcessId,
    ) -> Option<&mut Starting> {
        let home = self.homes.get_mut(&shard)?;
        match &mut home.work.get_mut(process)?.doing {
            Doing::Starting(starting) => Some(starting),
            Doing::Stopping(_) | Doing::Moving(_) => None,
        }
    }

    /// A host has ended a process, as it was told.
    pub(crate) fn heard_ended(&mut self, from: NodeId, process: &ProcessId, epoch: Epoch) {
        let shard = self.shard_of(process);
        let Some(home) = self.homes.get_mut(&shard).filter(|home| home.is_live()) else {
            return;
        };
        let gone = Departed {
            process: process.clone(),
            epoch,
        };
        self.outbox.say(from, Item::Noted(gone));
        let Some(work) = home.work.get_mut(process) else {
            return;
        };
        match &mut work.doing {
            Doing::Stopping(stopping) => {
                if stopping.pending.get(&from) == Some(&epoch) {
                    stopping.pending.remove(&from);
                }
            }
            Doing::Starting(_) | Doing::Moving(_) => return,
        }
        self.work_may_be_done(shard, process);
    }

    /// A member is gone: nothing is waited for that it was to do.
    pub(crate) fn work_without(&mut self, node: NodeId) {
        let mut touched = Vec::new();
        for (&shard, home) in &mut self.homes {
            for (process, work) in &mut home.work {
                let waited = match &mut work.doing {
                    Doing::Starting(starting) => {
                        starting.hosts.retain(|host| host.node != node);
                        starting.pending.remove(&node).is_some()
                    }
                    Doing::Stopping(stopping) => stopping.pending.remove(&node).is_some(),
                    Doing::Moving(_) => false,
                };
                if waited {
                    touched.push((shard, process.clone()));
                }
            }
        }
        for (shard, process) in touched {
            self.work_may_be_done(shard, &process);
        }
        self.tell_movements(&MovementInput::Gone(node));
    }

    /// Ends what was being done to a process once nobody is waited for.
    pub(crate) fn work_may_be_done(&mut self, shard: ShardId, process: &ProcessId) {
        let Some(home) = self.homes.get_mut(&shard) else {
            return;
        };
        let waits = match home.work.get(process).map(|work| &work.doing) {
            None | Some(Doing::Moving(_)) => return,
            Some(Doing::Starting(starting)) => !starting.pending.is_empty(),
            Some(Doing::Stopping(stopping)) => !stopping.pending.is_empty(),
        };
        if waits {
            return;
        }
        let Some(work) = home.work.remove(process) else {
            return;
        };
        match work.doing {
            Doing::Starting(starting) => self.started(shard, process, starting, &work.askers),
            Doing::Stopping(stopping) if !stopping.for_good => {
                self.have_ended(shard, process, &stopping);
            }
            Doing::Stopping(stopping) => {
                self.bury(shard, process);
                if let Some(home) = self.homes.get_mut(&shard) {
                    home.placed.remove(process);
                    home.sent.remove(process);
                    home.rested.remove(process);
                    home.later.remove(process);
                }
                for asker in work.askers {
                    let told = Told::Stopped(stopping.nodes.clone());
                    self.tell_when_held(shard, asker, process.clone(), told);
                }
            }
            // Moves end by themselves.
            Doing::Moving(_) => {}
        }
        for (asker, ask, again) in work.then {
            self.asked(asker, process.clone(), ask, again);
        }
    }

    fn started(
        &mut self,
        shard: ShardId,
        process: &ProcessId,
        starting: Starting,
        askers: &[Asker],
    ) {
        let nobody = starting.hosts.is_empty();
        if nobody && starting.failed.is_none() {
            // Whoever was to start it is gone: another one is, once the members have settled.
            self.start_anew(shard, starting, askers);
            return;
        }
        if !(nobody && starting.fresh) {
            let row = Row::new(starting.spec, &starting.hosts);
            if self.rows.get(process).as_ref() != Some(&row) {
                self.publish(shard, Change::Put(row));
            }
        }
        if (starting.adopted || self.replicas() > 1) && starting.failed.is_none() {
            self.sweep.insert(shard);
        }
        if nobody || starting.failed.is_some() {
            let at = self.now + self.settings.retry * START_AGAIN;
            self.timers.set_unless(Timer::Review(shard), at);
        }
        for &asker in askers {
            match &starting.failed {
                Some(failure) if nobody => {
                    let told = Told::Failed(failure.clone());
                    self.tell(asker, process.clone(), told);
                }
                Some(_) | None => {
                    let told = Told::Started(starting.hosts.clone());
                    self.tell_when_held(shard, asker, process.clone(), told);
                }
            }
        }
    }

    fn start_anew(&mut self, shard: ShardId, starting: Starting, askers: &[Asker]) {
        let on = self.wanted(shard, &starting.spec, &[]);
        if on.is_empty() {
            for &asker in askers {
                let told = Told::Failed(Failure::Nowhere);
                self.tell(asker, starting.spec.id.clone(), told);
            }
            return;
        }
        let on: Vec<_> = on
            .into_iter()
            .map(|(node, role)| (node, role, false))
            .collect();
        let id = starting.spec.id.clone();
        self.start(shard, starting.spec, Vec::new(), &on, None);
        if let Some(work) = self.homes.get_mut(&shard).and_then(|h| h.work.get_mut(&id)) {
            work.askers.extend_from_slice(askers);
        }
    }

    /// A host asks whether it may go on with a process after it stood still (H12).
    pub(crate) fn heard_confirm(&mut self, from: NodeId, process: &ProcessId, epoch: Epoch) {
        let shard = self.shard_of(process);
        if self.is_busy(shard, process) {
            return;
        }
        let Some(home) = self.homes.get(&shard).filter(|home| home.is_live()) else {
            return;
        };
        if home.recount.contains(&from) {
            // What it runs is looked at first; it asks again.
            return;
        }
        let term = home.term;
        // An earlier home of which nobody is left can have had it run elsewhere meanwhile: a higher epoch
        // than this may have been seen outside (H7).
        let outdated = epoch.term < term;
        let row = self.rows.get(process);
        let is_it = |host: &Host| host.node == from && host.epoch == epoch;
        let listed = row
            .as_ref()
            .and_then(|row| row.hosts().iter().find(|h| is_it(h)));
        if let (Some(row), Some(host)) = (&row, listed)
            && outdated
            && host.role == Role::Active
            && self.settings.guarantees.exclusive
        {
            // It asks again under the epoch that it is granted now.
            let rest = row.hosts().iter().copied().filter(|host| !is_it(host));
            let (rest, on) = (rest.collect(), [(from, Role::Active, false)]);
            self.start(shard, row.spec().clone(), rest, &on, None);
            return;
        }
        if listed.is_none() {
            self.end_copy(shard, process, from, epoch);
            return;
        }
        let item = Item::Confirmed {
            process: process.clone(),
            epoch,
            term,
        };
        self.outbox.say(from, item);
    }

    /// Whether this node is the home of a shard and decides.
    pub(crate) fn decides(&self, shard: ShardId) -> bool {
        self.homes.get(&shard).is_some_and(Home::is_live)
    }
}
