//! What machines order of processes that move.

use handover_hub_proto::identity::{Epoch, MoveId, NodeId, ProcessId};
use handover_hub_proto::mailbox::{Freeze, Limits, Mailbox, Sealed};
use handover_hub_proto::node::{HostFailure, HostReport};

use super::World;
use crate::cluster::agenda::MILLISECOND;
use crate::cluster::fault::Fault;
use crate::cluster::host::{Answer, Called, Frame, Landing, State};
use crate::cluster::network::{Class, RunIndex};

impl World {
    pub(super) fn freeze(
        &mut self,
        run: RunIndex,
        process: ProcessId,
        epoch: Epoch,
        attempt: MoveId,
        forced: bool,
    ) {
        let stubborn = self.stubborn.contains(&process) && !forced;
        let unfrozen = self.fault == Fault::Unfrozen;
        let cell = self.runs[run].host.cells.get_mut(&process);
        let cell = cell.filter(|cell| cell.epoch == epoch);
        let result = match cell {
            None => Err(HostFailure::NotHere),
            Some(cell) if cell.attempt.is_some_and(|other| other != attempt) => {
                Err(HostFailure::Busy)
            }
            Some(_) if stubborn => Err(HostFailure::Deferred),
            Some(cell) => {
                cell.attempt = Some(attempt);
                if unfrozen {
                    Ok(())
                } else {
                    match cell.mailbox.freeze() {
                        Freeze::Frozen => Ok(()),
                        Freeze::Later => return,
                        Freeze::Refused => Err(HostFailure::NotHere),
                    }
                }
            }
        };
        let frozen = HostReport::Frozen {
            process,
            attempt,
            result,
        };
        self.report(run, frozen);
    }

    /// A process that was asked to freeze has finished its message.
    pub(super) fn frozen(&mut self, run: RunIndex, process: &ProcessId) {
        let cell = self.runs[run].host.cells.get(process);
        if let Some(attempt) = cell.and_then(|cell| cell.attempt) {
            let frozen = HostReport::Frozen {
                process: process.clone(),
                attempt,
                result: Ok(()),
            };
            self.report(run, frozen);
        }
    }

    pub(super) fn send_state(
        &mut self,
        run: RunIndex,
        process: ProcessId,
        attempt: MoveId,
        to: NodeId,
    ) {
        let unfrozen = self.fault == Fault::Unfrozen;
        let to = self.by_id.get(&to).copied();
        let cell = self.runs[run].host.cells.get_mut(&process);
        let cell = cell.filter(|cell| cell.attempt == Some(attempt));
        let sealed = cell.and_then(|cell| {
            let sealed = cell.mailbox.seal();
            let sealed = sealed.or_else(|| unfrozen.then(Sealed::default))?;
            Some((cell.state.clone(), sealed))
        });
        let (Some((state, sealed)), Some(to)) = (sealed, to) else {
            let sent = HostReport::StateSent {
                process,
                attempt,
                result: Err(HostFailure::NotHere),
            };
            return self.report(run, sent);
        };
        let slow = self.random.chance(50);
        let most = if slow { 3_000 } else { 10 };
        let size = self.random.between(0, most) * MILLISECOND;
        let sending = (process.clone(), attempt, to);
        self.runs[run].host.sending.push(sending);
        let frame = Frame::State {
            process,
            attempt,
            state,
            sealed,
        };
        self.send(run, to, Class::States, size, frame);
    }

    /// A state arrives. Whether somebody waits for it: what was warmed, or a copy that will be
    /// merged with it.
    pub(super) fn land(
        &mut self,
        run: RunIndex,
        process: &ProcessId,
        attempt: MoveId,
        (state, sealed): (State, Sealed<Called, Answer>),
    ) -> bool {
        let host = &mut self.runs[run].host;
        if host.discarded.contains(&attempt) {
            return false;
        }
        let runs = host.cells.contains_key(process);
        if let Some(landing) = host.landing(process, Some(attempt)) {
            landing.mailbox.restore(sealed.clone());
            landing.arrived = Some((state, sealed));
            return true;
        }
        if runs {
            let landing = Landing {
                attempt: Some(attempt),
                mailbox: Mailbox::restoring(),
                arrived: Some((state, sealed)),
            };
            let landings = host.landings.entry(process.clone());
            landings.or_default().push(landing);
        }
        runs
    }

    pub(super) fn discard(&mut self, run: RunIndex, process: &ProcessId, attempt: MoveId) {
        let host = &mut self.runs[run].host;
        host.discarded.insert(attempt);
        if let Some(landing) = host.land(process, Some(attempt)) {
            // What came with the state is the source's to answer.
            let came = landing.arrived.map(|(_, sealed)| sealed.queue);
            let came = came.unwrap_or_default();
            let mut letters = landing.mailbox.close();
            letters.retain(|letter| !came.contains(letter));
            self.turn_away(run, process, letters);
        }
    }

    pub(super) fn resume(&mut self, run: RunIndex, process: &ProcessId, epoch: Epoch) {
        let Some(cell) = self.runs[run].host.cells.get_mut(process) else {
            return;
        };
        cell.epoch = cell.epoch.max(epoch);
        cell.attempt = None;
        let released = cell.mailbox.resume(&Limits::default());
        let epoch = cell.epoch;
        self.checker.counts.resumed += 1;
        self.check_epoch(run, process, epoch);
        self.check_acting(process);
        self.release(run, process, released);
    }

    pub(super) fn retire(
        &mut self,
        run: RunIndex,
        process: &ProcessId,
        attempt: MoveId,
        to: NodeId,
        epoch: Epoch,
    ) {
        let host = &mut self.runs[run].host;
        let cell = host.cells.get(process);
        if cell.is_none_or(|cell| cell.attempt != Some(attempt)) {
            return;
        }
        let Some(mut cell) = host.cells.remove(process) else {
            return;
        };
        host.went.insert(process.clone(), (to, epoch));
        let letters = cell.mailbox.retire(to, epoch);
        if self.fault == Fault::Swallowed {
            for letter in letters {
                self.answer_call(run, process, letter.0.call, cell.state.incarnation);
            }
        } else if let Some(to) = self.by_id.get(&to).copied() {
            let process = process.clone();
            let frame = Frame::Forward {
                process,
                attempt: Some(attempt),
                letters,
            };
            self.send(run, to, Class::Calls, 0, frame);
        }
    }
}
