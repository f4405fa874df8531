//! What a node does: it obeys its terminal, and reports what came of it.

use handover_hub_proto::identity::{Epoch, MoveId, NodeId};
use handover_hub_proto::mailbox::{Freeze, Mailbox};
use handover_hub_proto::migration::{Bid, Order, TerminalEffect};
use handover_hub_proto::node::{HostFailure, HostOrder, HostReport};

use super::fault::Fault;
use super::judge;
use super::network::{Mail, Packet};
use super::world::{Cell, Job, World, id, limits, number, process};
use crate::broken::Broken;

impl World {
    /// A packet is read.
    pub(super) fn arrives(&mut self, from: u8, to: u8, packet: Packet) -> Result<(), Broken> {
        if !self.is_alive(to) {
            return Ok(());
        }
        if to == self.outside() {
            return self.caller_hears(from, packet);
        }
        match packet {
            Packet::Order(order) => self.ordered(to, order),
            Packet::Report(report) => {
                // Whoever is not the home does not listen.
                if to == self.home.at {
                    self.home_hears(from, report)?;
                }
                Ok(())
            }
            Packet::Census { term } => self.counted(from, to, term),
            Packet::Held { term, holding } => self.census_hears(from, term, holding),
            Packet::Mail(mail) => self.mail(to, mail),
            Packet::State {
                attempt,
                epoch,
                log,
                sealed,
            } => {
                self.send(to, from, Packet::Taken { attempt });
                self.state(to, attempt, epoch, log, sealed)
            }
            Packet::Taken { attempt } => {
                let result = Ok(());
                self.state_sent(to, attempt, result)
            }
            Packet::Forward { batch } => {
                if let Some(cell) = &mut self.node(to).cell {
                    let released = cell.mailbox.forwarded(batch, true, &limits());
                    self.released(to, released)?;
                }
                Ok(())
            }
            Packet::Reply { .. } | Packet::Redirect { .. } | Packet::Refused { .. } => Ok(()),
        }
    }

    /// The home orders something. H7: nothing that a lower term ordered is done.
    pub(super) fn ordered(&mut self, at: u8, order: Order) -> Result<(), Broken> {
        let (now, fault) = (self.now, self.fault);
        let node = self.node(at);
        if order.term.0 < node.fence && fault != Fault::Unfenced {
            return Ok(());
        }
        node.fence = node.fence.max(order.term.0);
        let mut here = node.here();
        if fault == Fault::Unnamed
            && let Bid::Depart { epoch, .. } = order.bid
        {
            here = here.map(|_| epoch);
        }
        node.terminal.handle(now, order, here);
        self.obey(at)
    }

    pub(super) fn tell(&mut self, at: u8, report: &HostReport) -> Result<(), Broken> {
        let now = self.now;
        self.node(at).terminal.reported(now, report);
        self.obey(at)
    }

    pub(super) fn obey(&mut self, at: u8) -> Result<(), Broken> {
        while let Some(effect) = self.node(at).terminal.poll_effect() {
            match effect {
                TerminalEffect::Report(report) => {
                    let home = self.home.at;
                    if home == at {
                        self.jobs.push_back(Job::Report(at, report));
                    } else {
                        self.send(at, home, Packet::Report(report));
                    }
                }
                TerminalEffect::Host(order) => self.carry_out(at, order)?,
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, at: u8, order: HostOrder) -> Result<(), Broken> {
        match order {
            HostOrder::Warm { epoch, attempt, .. } => {
                let node = self.node(at);
                node.cell = Some(Cell {
                    mailbox: Mailbox::restoring(),
                    log: Vec::new(),
                    epoch: None,
                    attempt,
                    hand: None,
                    restored: None,
                    early: None,
                    begins: None,
                    sending: None,
                });
                let (process, result) = (process().id.clone(), Ok(()));
                self.tell(
                    at,
                    &HostReport::Warmed {
                        process,
                        epoch,
                        result,
                    },
                )
            }
            HostOrder::Activate {
                epoch, latecomers, ..
            } => {
                let fault = self.fault;
                if let Some(cell) = &mut self.node(at).cell {
                    let waits = latecomers.is_some() && fault != Fault::Overtaken;
                    cell.begins = Some((epoch, waits));
                }
                Ok(())
            }
            HostOrder::Freeze { epoch, attempt, .. } => self.freeze(at, epoch, attempt),
            HostOrder::SendState { attempt, to, .. } => self.send_state(at, attempt, number(to)),
            HostOrder::Resume { epoch, .. } => self.resume(at, epoch),
            HostOrder::Retire { to, epoch, .. } => self.retire(at, to, epoch),
            HostOrder::Discard { attempt, .. } => self.discard(at, attempt),
            HostOrder::Stop { .. }
            | HostOrder::Role { .. }
            | HostOrder::Replicate { .. }
            | HostOrder::Suspend
            | HostOrder::Continue { .. }
            | HostOrder::Merge { .. } => Ok(()),
        }
    }

    fn discard(&mut self, at: u8, attempt: MoveId) -> Result<(), Broken> {
        let held = self.node(at).cell.as_ref();
        if held.is_some_and(|cell| cell.epoch.is_none() && cell.attempt == Some(attempt)) {
            judge::h5_may_discard(self, at)?;
            self.close(at);
        }
        Ok(())
    }

    fn freeze(&mut self, at: u8, epoch: Epoch, attempt: MoveId) -> Result<(), Broken> {
        judge::h7_may_freeze(self, attempt)?;
        let fault = self.fault;
        let Some(cell) = &mut self.node(at).cell else {
            return self.frozen(at, attempt, Err(HostFailure::NotHere));
        };
        if cell.epoch != Some(epoch) && fault != Fault::Unnamed {
            return self.frozen(at, attempt, Err(HostFailure::NotHere));
        }
        cell.attempt = Some(attempt);
        cell.early = (fault == Fault::Early).then(|| cell.log.clone());
        match cell.mailbox.freeze() {
            Freeze::Frozen => self.frozen(at, attempt, Ok(())),
            Freeze::Later => Ok(()),
            Freeze::Refused => self.frozen(at, attempt, Err(HostFailure::NotHere)),
        }
    }

    pub(super) fn frozen(
        &mut self,
        at: u8,
        attempt: MoveId,
        result: Result<(), HostFailure>,
    ) -> Result<(), Broken> {
        let process = process().id.clone();
        self.tell(
            at,
            &HostReport::Frozen {
                process,
                attempt,
                result,
            },
        )
    }

    /// The process does not want to be frozen.
    pub(super) fn refuse(&mut self, at: u8) -> Result<(), Broken> {
        let Some(cell) = &mut self.node(at).cell else {
            return Ok(());
        };
        let Some(attempt) = cell.attempt.take() else {
            return Ok(());
        };
        let released = cell.mailbox.resume(&limits());
        self.released(at, released)?;
        self.frozen(at, attempt, Err(HostFailure::Deferred))
    }

    fn send_state(&mut self, at: u8, attempt: MoveId, to: u8) -> Result<(), Broken> {
        let fault = self.fault;
        let Some(cell) = &mut self.node(at).cell else {
            return Ok(());
        };
        let Some(mut sealed) = cell.mailbox.seal() else {
            return Ok(());
        };
        match fault {
            Fault::Forgetful => sealed.replies.clear(),
            Fault::Empty => sealed.queue.clear(),
            _ => {}
        }
        let log = cell.early.take().unwrap_or_else(|| cell.log.clone());
        let epoch = cell.epoch;
        cell.sending = Some((attempt, to));
        if !self.is_alive(to) {
            return self.state_stuck(at, to);
        }
        let state = Packet::State {
            attempt,
            epoch,
            log,
            sealed,
        };
        self.send(at, to, state);
        Ok(())
    }

    /// A state under way was lost, or its receipt.
    pub(super) fn state_stuck(&mut self, at: u8, to: u8) -> Result<(), Broken> {
        let Some(cell) = &self.nodes[usize::from(at)].cell else {
            return Ok(());
        };
        let Some((attempt, _)) = cell.sending.filter(|(_, target)| *target == to) else {
            return Ok(());
        };
        let epoch = cell.epoch;
        if self.fault == Fault::Impatient {
            return epoch.map_or(Ok(()), |epoch| self.resume(at, epoch));
        }
        let why = HostFailure::Transfer("its connection broke".into());
        self.state_sent(at, attempt, Err(why))
    }

    fn state_sent(
        &mut self,
        at: u8,
        attempt: MoveId,
        result: Result<(), HostFailure>,
    ) -> Result<(), Broken> {
        if let Some(cell) = &mut self.node(at).cell {
            cell.sending = None;
        }
        let process = process().id.clone();
        self.tell(
            at,
            &HostReport::StateSent {
                process,
                attempt,
                result,
            },
        )
    }

    fn state(
        &mut self,
        at: u8,
        attempt: MoveId,
        epoch: Option<Epoch>,
        log: Vec<u64>,
        sealed: handover_hub_proto::mailbox::Sealed<Mail, Vec<u8>>,
    ) -> Result<(), Broken> {
        let fault = self.fault;
        let node = self.node(at);
        if let Some(cell) = &mut node.cell
            && cell.epoch.is_none()
            && cell.attempt == Some(attempt)
        {
            cell.mailbox.restore(sealed);
            cell.log = log;
            cell.restored = epoch;
            if fault == Fault::Uncommitted {
                cell.begins = Some((Epoch::default(), false));
            }
        }
        let (process, result) = (process().id.clone(), Ok(()));
        self.tell(
            at,
            &HostReport::StateArrived {
                process,
                attempt,
                result,
            },
        )
    }

    /// A process that was told to serves now.
    pub(super) fn begin(&mut self, at: u8) -> Result<(), Broken> {
        let Some(cell) = &mut self.node(at).cell else {
            return Ok(());
        };
        let Some((epoch, latecomers)) = cell.begins.take() else {
            return Ok(());
        };
        cell.epoch = Some(epoch);
        cell.restored = None;
        cell.attempt = None;
        let released = cell.mailbox.activate(latecomers, &limits());
        self.released(at, released)?;
        let (process, result) = (process().id.clone(), Ok(()));
        self.tell(
            at,
            &HostReport::Activated {
                process,
                epoch,
                result,
            },
        )
    }

    /// A process that was told to serve cannot.
    pub(super) fn fail(&mut self, at: u8) -> Result<(), Broken> {
        let begins = self.node(at).cell.as_ref().and_then(|cell| cell.begins);
        self.close(at);
        let Some((epoch, _)) = begins else {
            return Ok(());
        };
        let process = process().id.clone();
        let result = Err(HostFailure::Refused("it panicked".into()));
        self.tell(
            at,
            &HostReport::Activated {
                process,
                epoch,
                result,
            },
        )
    }

    pub(super) fn resume(&mut self, at: u8, epoch: Epoch) -> Result<(), Broken> {
        if let Some(cell) = &mut self.node(at).cell {
            cell.epoch = Some(epoch);
            cell.sending = None;
            cell.attempt = None;
            let released = cell.mailbox.resume(&limits());
            self.released(at, released)?;
        }
        Ok(())
    }

    pub(super) fn retire(&mut self, at: u8, to: NodeId, epoch: Epoch) -> Result<(), Broken> {
        let fault = self.fault;
        judge::h5_may_retire(self, epoch)?;
        if fault == Fault::Undead {
            return self.resume(at, epoch);
        }
        let Some(cell) = &mut self.node(at).cell else {
            return Ok(());
        };
        let mut batch = cell.mailbox.retire(to, epoch);
        cell.epoch = None;
        cell.attempt = None;
        cell.sending = None;
        cell.hand = None;
        match fault {
            Fault::Dropped => batch.clear(),
            Fault::Doubled => batch.extend(batch.clone()),
            _ => {}
        }
        self.send(at, number(to), Packet::Forward { batch });
        Ok(())
    }

    /// A new home asks what is here.
    fn counted(&mut self, from: u8, at: u8, term: u64) -> Result<(), Broken> {
        let node = self.node(at);
        node.fence = node.fence.max(term);
        let holding = node.terminal.holding(&process().id, node.here());
        if from == at {
            return self.census_hears(at, term, holding);
        }
        self.send(at, from, Packet::Held { term, holding });
        Ok(())
    }

    pub(super) fn count_here(&mut self, at: u8, term: u64) -> Result<(), Broken> {
        self.counted(at, at, term)
    }

    pub(super) fn home_id(&self) -> NodeId {
        id(self.home.at)
    }
}
