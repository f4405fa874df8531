//! Which replicas of a process on this node are kept up to date, and by whom.

use super::{Effect, HostOrder, Node};
use crate::identity::{Epoch, ProcessId};
use crate::row::{Host, Role, Row, Rows};

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
}
