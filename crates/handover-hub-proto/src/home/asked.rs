//! What a home is asked to do with a process.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::work::Doing;
use super::{Asker, Stage, host_at};
use crate::identity::{NodeId, NodeName, ProcessId, ShardId};
use crate::message::{Ask, Change, Told};
use crate::migration::Purpose;
use crate::node::{Failure, Node};
use crate::placement::{Distribution, guided};
use crate::row::{Role, Row, Rows};
use crate::spec::{ChildSpec, Placing};

/// Most things that wait for the work on one process to end.
const THEN_MAX: usize = 64;

impl<R: Rows> Node<R> {
    /// Somebody wants something of a process in one of this node's shards.
    pub(crate) fn asked(&mut self, asker: Asker, process: ProcessId, ask: Ask, again: bool) {
        let shard = self.shard_of(&process);
        let Some(home) = self.homes.get_mut(&shard) else {
            self.tell(asker, process, Told::NotHome);
            return;
        };
        if let Stage::Census(census) = &mut home.stage {
            if !census.keep(asker, process.clone(), ask, again) {
                self.tell(asker, process, Told::NotHome);
            }
            return;
        }
        if ask == Ask::Locate
            && let Some(row) = self.rows.get(&process)
        {
            // Whatever is being done with it.
            self.tell(asker, process, Told::Located(row.hosts().to_vec()));
            return;
        }
        if let Some(work) = home.work.get_mut(&process) {
            let same = work.askers.contains(&asker) || work.then.iter().any(|(a, ..)| *a == asker);
            if same {
                return;
            }
            if let (Doing::Starting(starting), Ask::Start { check_existing, .. }) =
                (&work.doing, &ask)
                && starting.fresh
                && (again || !check_existing)
            {
                work.askers.push(asker);
            } else if work.then.len() < THEN_MAX {
                work.then.push((asker, ask, again));
            } else {
                self.tell(asker, process, Told::NotHome);
            }
            return;
        }
        match ask {
            Ask::Start {
                spec,
                check_existing,
            } => self.asked_to_start(shard, asker, spec, check_existing && !again),
            Ask::Stop => self.asked_to_stop(shard, asker, process, again),
            Ask::Move { to } => self.asked_to_move(shard, asker, process, to),
            Ask::Pin(placing) => self.asked_to_pin(shard, asker, process, placing),
            Ask::ReadyToMove => {
                self.ready_to_move(shard, &process);
                self.tell(asker, process, Told::Done);
            }
            Ask::Locate => {
                let failure = Failure::Unknown(process.clone());
                self.tell(asker, process, Told::Failed(failure));
            }
        }
    }

    fn asked_to_start(
        &mut self,
        shard: ShardId,
        asker: Asker,
        spec: Arc<ChildSpec>,
        check_existing: bool,
    ) {
        let process = spec.id.clone();
        if let Some(row) = self.rows.get(&process) {
            if !check_existing && row.hosts().is_empty() {
                // Whoever ran it is gone: who starts it now is the answer.
                self.start_placed(shard, row.spec().clone(), asker);
            } else if check_existing {
                let failure = Failure::AlreadyStarted(process.clone());
                self.tell(asker, process, Told::Failed(failure));
            } else {
                let told = Told::Started(row.hosts().to_vec());
                self.tell_when_held(shard, asker, process, told);
            }
            return;
        }
        if let Some(failure) = self.unfit(&spec) {
            self.tell(asker, process, Told::Failed(failure));
            return;
        }
        self.start_placed(shard, spec, asker);
    }

    /// Has a child started that nobody runs, where it should run.
    fn start_placed(&mut self, shard: ShardId, spec: Arc<ChildSpec>, asker: Asker) {
        let on = self.wanted(shard, &spec, &[]);
        if on.is_empty() {
            self.tell(asker, spec.id.clone(), Told::Failed(Failure::Nowhere));
            return;
        }
        let on: Vec<(NodeId, Role, bool)> = on
            .into_iter()
            .map(|(node, role)| (node, role, false))
            .collect();
        self.start(shard, spec, Vec::new(), &on, Some(asker));
    }

    /// Why a child cannot be placed so.
    fn unfit(&self, spec: &ChildSpec) -> Option<Failure> {
        let guided = self.settings.distribution == Distribution::Guided;
        let is_member = |name: &NodeName| self.members.named(name).is_some();
        let checked = guided::check(spec, guided, self.replicas(), is_member);
        checked.err().map(Failure::from)
    }

    fn asked_to_stop(&mut self, shard: ShardId, asker: Asker, process: ProcessId, again: bool) {
        match self.rows.get(&process) {
            Some(row) => self.stop(shard, &row, Some(asker)),
            // Whoever may run it is away: it ends when it is back.
            None => {
                self.bury(shard, &process);
                let told = if again {
                    Told::Stopped(Vec::new())
                } else {
                    Told::Failed(Failure::Unknown(process.clone()))
                };
                self.tell_when_held(shard, asker, process, told);
            }
        }
    }

    /// Somebody asks for a move by hand.
    pub(crate) fn asked_to_move(
        &mut self,
        shard: ShardId,
        asker: Asker,
        process: ProcessId,
        to: NodeId,
    ) {
        let Some(row) = self.rows.get(&process) else {
            let failure = Failure::Unknown(process.clone());
            self.tell(asker, process, Told::Failed(failure));
            return;
        };
        let Some(source) = row.active().filter(|host| self.members.has(host.node)) else {
            self.tell(asker, process, Told::Failed(Failure::Nowhere));
            return;
        };
        let serves = source.node;
        let refused = if matches!(row.spec().placing, Placing::Pinned(_)) {
            Some("it is pinned; pin it elsewhere instead")
        } else if !self.members.serves(to) {
            Some("that node takes no processes")
        } else if serves != to && host_at(&row, to).is_some() {
            Some("that node runs a replica of it")
        } else {
            None
        };
        if let Some(reason) = refused {
            let reason = reason.into();
            let failure = Failure::NotMoved { serves, reason };
            self.tell(asker, process, Told::Failed(failure));
            return;
        }
        if let Some(home) = self.homes.get_mut(&shard) {
            home.placed.insert(process.clone(), to);
        }
        if serves == to {
            let (node, pause_ns) = (to, 0);
            self.tell(asker, process, Told::Moved { node, pause_ns });
            return;
        }
        self.launch(shard, &row, source, to, Purpose::Move, Some(asker));
    }

    fn asked_to_pin(&mut self, shard: ShardId, asker: Asker, process: ProcessId, placing: Placing) {
        let Some(row) = self.rows.get(&process) else {
            let failure = Failure::Unknown(process.clone());
            self.tell(asker, process, Told::Failed(failure));
            return;
        };
        let mut spec = ChildSpec::clone(&row.spec());
        spec.placing = placing;
        if let Some(failure) = self.unfit(&spec) {
            self.tell(asker, process, Told::Failed(failure));
            return;
        }
        let row = Row::new(spec, row.hosts());
        self.publish(shard, Change::Put(row));
        self.sweep.insert(shard);
        self.tell_when_held(shard, asker, process, Told::Done);
    }
}
