//! Which replicas of a process on this node are kept up to date, and by whom; and which have what
//! they need to take over.
//!
//! A passive replica that is new has nothing. It says when the active one's state has reached it:
//! the active one has known it by then, and answers nothing any more without it. Until the row says
//! so too, it says so again.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::hosting::Phase;
use super::{Effect, HostOrder, Node, Origin};
use crate::event::Event;
use crate::identity::{Epoch, ProcessId, ShardId};
use crate::message::Item;
use crate::row::{Host, Role, Row, Rows};
use crate::spec::ChildSpec;

impl<R: Rows> Node<R> {
    /// Has the active replica on this node keep those up to date that are passive by the row.
    pub(super) fn replicate(&mut self, row: &Row, epoch: Epoch) {
        let (me, hosts) = (self.me.id, row.hosts());
        let active = |host: &Host| host.node == me && host.role == Role::Active;
        if !hosts.iter().any(active) {
            return;
        }
        let passive = hosts.iter().filter(|host| host.role == Role::Passive);
        self.effects.push_back(Effect::Host(HostOrder::Replicate {
            process: row.id().clone(),
            epoch,
            to: passive.map(|host| host.node).collect(),
        }));
    }

    /// A process has come here. The row that says so may have been here before it.
    pub(crate) fn replicate_arrived(&mut self, process: &ProcessId, epoch: Epoch) {
        if self.settings.redundancy.keeps_state()
            && let Some(row) = self.rows.get(process)
        {
            self.replicate(&row, epoch);
        }
    }

    /// The active replica hands the passive ones its state, then becomes one of them.
    pub(super) fn step_aside(&mut self, process: ProcessId, epoch: Epoch) {
        self.moved_away += 1;
        if let Some(row) = self.rows.get(&process) {
            self.replicate(&row, epoch);
        }
        self.effects.push_back(Effect::Host(HostOrder::Role {
            process,
            epoch,
            role: Role::Passive,
        }));
    }

    /// A passive replica here becomes the active one: from what it was sent, or as after a loss if
    /// that is not all.
    pub(super) fn promote(
        &mut self,
        shard: ShardId,
        spec: Arc<ChildSpec>,
        epoch: Epoch,
        role: Role,
    ) {
        let Some(here) = self.hosting.get_mut(shard, &spec.id) else {
            return;
        };
        let filled = core::mem::replace(&mut here.filled, true);
        here.epoch = epoch;
        here.role = role;
        here.phase = Phase::Starting;
        if !filled {
            let (process, node) = (spec.id.clone(), self.me.id);
            self.effects
                .push_back(Effect::Report(Event::Lost { process, node }));
        }
        self.effects.push_back(Effect::Host(HostOrder::Activate {
            spec,
            epoch,
            origin: if filled {
                Origin::Replica
            } else {
                Origin::Fresh
            },
            role,
            latecomers: None,
        }));
    }

    /// The state of the active one has reached a passive replica here.
    pub(super) fn filled(&mut self, process: &ProcessId, epoch: Epoch) {
        let shard = self.shard_of(process);
        let Some(here) = self.hosting.get_mut(shard, process) else {
            return;
        };
        if here.epoch != epoch || here.role != Role::Passive {
            return;
        }
        here.filled = true;
        if let Some(row) = self.rows.get(process) {
            self.compare_filled(shard, &row);
        }
    }

    /// Tells the home of a replica here that it is filled, if the row does not say so.
    pub(super) fn compare_filled(&mut self, shard: ShardId, row: &Row) {
        let me = self.me.id;
        let Some(here) = self.hosting.get(shard, row.id()) else {
            return;
        };
        let is_it = |host: &&Host| host.node == me && host.epoch == here.epoch;
        let listed = row.hosts().iter().find(is_it).map(|host| host.filled);
        let (filled, epoch) = (here.filled, here.epoch);
        let key = (shard, row.id().clone());
        if !filled || listed != Some(false) {
            self.hosting.unlisted.remove(&key);
            return;
        }
        self.hosting.unlisted.insert(key);
        self.say_filled(shard, row.id().clone(), epoch);
        self.retry_later();
    }

    fn say_filled(&mut self, shard: ShardId, process: ProcessId, epoch: Epoch) {
        if let Some(home) = self.hosting.home(shard) {
            self.outbox.say(home, Item::Filled { process, epoch });
        }
    }

    /// Says again what rows do not say yet. Whether anything is open.
    pub(super) fn filled_again(&mut self) -> bool {
        let unlisted: Vec<_> = self.hosting.unlisted.iter().cloned().collect();
        for (shard, process) in unlisted {
            match self.rows.get(&process) {
                Some(row) if self.hosting.get(shard, &process).is_some() => {
                    self.compare_filled(shard, &row);
                }
                Some(_) | None => {
                    self.hosting.unlisted.remove(&(shard, process));
                }
            }
        }
        !self.hosting.unlisted.is_empty()
    }
}
