//! Moves that this node takes part in as source or target.

use handover_proto::moment::Moment;

use super::hosting::{Here, Phase};
use super::{Effect, HostOrder, HostReport, Node, Timer};
use crate::identity::{Epoch, NodeId, ProcessId};
use crate::message::Item;
use crate::migration::{Order, TerminalEffect};
use crate::row::Rows;

impl<R: Rows> Node<R> {
    /// A home orders something of a move.
    pub(crate) fn heard_order(&mut self, from: NodeId, order: Order) {
        let shard = self.shard_of(&order.process);
        if !self.hosting.obeys(shard, from, order.term) {
            return;
        }
        let here = self.epoch_here(&order.process);
        self.terminal.handle(self.now, order, here);
        self.do_terminal();
    }

    /// A process here reports. Whether that concerned a move, and nothing else.
    pub(crate) fn terminal_reports(&mut self, report: &HostReport) -> bool {
        let concerned = self.terminal.reported(self.now, report);
        if let (
            true,
            HostReport::Activated {
                process,
                epoch,
                result,
            },
        ) = (concerned, report)
        {
            let shard = self.shard_of(process);
            if let Some(here) = self.hosting.get_mut(shard, process)
                && here.epoch == *epoch
                && here.phase == Phase::Starting
            {
                match result {
                    Ok(()) => {
                        here.phase = Phase::Active;
                        self.replicate_arrived(process, *epoch);
                    }
                    Err(_) => {
                        self.hosting.remove(shard, process);
                    }
                }
            }
        }
        self.do_terminal();
        concerned
    }

    pub(crate) fn terminal_due(&mut self) {
        self.terminal.tick(self.now);
        self.do_terminal();
    }

    /// The epoch under which a process runs here, frozen or not.
    fn epoch_here(&self, process: &ProcessId) -> Option<Epoch> {
        let shard = self.shard_of(process);
        self.hosting.get(shard, process).map(|here| here.epoch)
    }

    fn do_terminal(&mut self) {
        while let Some(effect) = self.terminal.poll_effect() {
            match effect {
                TerminalEffect::Host(order) => {
                    self.note_order(&order);
                    self.effects.push_back(Effect::Host(order));
                }
                TerminalEffect::Report(report) => {
                    let shard = self.shard_of(&report.process);
                    let owner = self.table.owner(shard).map(|owner| owner.node);
                    if let Some(home) = self.hosting.home(shard).or(owner) {
                        self.outbox.say(home, Item::Reported(report));
                    }
                }
            }
        }
        match self.terminal.next_deadline() {
            Some(at) => self.timers.set(Timer::Terminal, at.max(Moment::ZERO)),
            None => self.timers.clear(&Timer::Terminal),
        }
    }

    /// Keeps what runs here in line with what a move orders.
    fn note_order(&mut self, order: &HostOrder) {
        match order {
            HostOrder::Activate {
                spec, epoch, role, ..
            } => {
                let here = Here {
                    spec: spec.clone(),
                    epoch: *epoch,
                    role: *role,
                    phase: Phase::Starting,
                    unconfirmed: false,
                    filled: true,
                };
                self.hosting.insert(self.shard_of(&spec.id), here);
            }
            HostOrder::Resume { process, epoch, .. } | HostOrder::Merge { process, epoch, .. } => {
                let shard = self.shard_of(process);
                if let Some(here) = self.hosting.get_mut(shard, process) {
                    here.epoch = *epoch;
                }
            }
            HostOrder::Retire { process, .. } => {
                let shard = self.shard_of(process);
                if self.hosting.remove(shard, process).is_some() {
                    self.moved_away += 1;
                }
            }
            HostOrder::Warm { .. }
            | HostOrder::Freeze { .. }
            | HostOrder::SendState { .. }
            | HostOrder::Discard { .. }
            | HostOrder::Stop { .. }
            | HostOrder::Role { .. }
            | HostOrder::Replicate { .. }
            | HostOrder::Suspend
            | HostOrder::Continue { .. } => {}
        }
    }
}
