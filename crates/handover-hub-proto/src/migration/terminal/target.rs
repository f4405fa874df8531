//! What comes to this node.

use alloc::string::String;

use handover_proto::moment::Moment;

use super::Terminal;
use crate::identity::{Epoch, MoveId, NodeId, ProcessId};
use crate::migration::landing::{Landing, Stage};
use crate::migration::message::{Purpose, Word};
use crate::node::{HostFailure, HostOrder, Origin};
use crate::row::Role;

impl Terminal {
    pub(super) fn prepare(
        &mut self,
        process: ProcessId,
        mut landing: Landing,
        here: Option<Epoch>,
    ) {
        let attempt = landing.attempt;
        if let Some(known) = self.landings.get(&process) {
            if known.attempt == attempt {
                if let Some(word) = known.word() {
                    self.report(process, attempt, word);
                }
                return;
            }
            // Late (H7), or it serves already (H6).
            if known.epoch >= landing.epoch || matches!(known.stage, Stage::Activating(_)) {
                return;
            }
        }
        let departs = self.departures.contains_key(&process);
        let over = self.over.get(&process);
        let over = over.is_some_and(|(over, _)| *over == attempt);
        let refusal = match (landing.purpose, here) {
            _ if departs => Some(HostFailure::Busy),
            _ if over => Some(HostFailure::Refused(String::from("this move is over"))),
            (Purpose::Move, None) => None,
            (Purpose::Move, Some(_)) => Some(HostFailure::Refused(String::from("it runs here"))),
            (Purpose::Merge { serves }, Some(epoch)) if serves == epoch => None,
            (Purpose::Merge { .. }, _) => Some(HostFailure::NotHere),
        };
        if let Some(failure) = refusal {
            return self.report(process, attempt, Word::Prepared(Err(failure)));
        }
        if let Some(known) = self.landings.remove(&process) {
            self.order(HostOrder::Discard {
                process: process.clone(),
                attempt: known.attempt,
            });
        }
        match landing.purpose {
            Purpose::Move => self.order(HostOrder::Warm {
                spec: landing.spec.clone(),
                epoch: landing.epoch,
                attempt: Some(attempt),
            }),
            Purpose::Merge { .. } => {
                landing.stage = Stage::Waiting;
                self.report(process.clone(), attempt, Word::Prepared(Ok(())));
            }
        }
        self.landings.insert(process, landing);
    }

    pub(super) fn inquire(
        &mut self,
        now: Moment,
        process: ProcessId,
        attempt: MoveId,
        here: Option<Epoch>,
    ) {
        let known = self.landings.get(&process);
        let result = match known.filter(|known| known.attempt == attempt) {
            Some(Landing {
                stage: Stage::Whole | Stage::Activating(_),
                ..
            }) => Ok(()),
            Some(_) => {
                self.give_up(now, &process, attempt);
                let why = String::from("its source was gone before all of it was there");
                Err(HostFailure::Transfer(why))
            }
            None if here.is_some() => return,
            None => Err(HostFailure::NotHere),
        };
        self.report(process, attempt, Word::Arrived(result));
    }

    pub(super) fn commit(
        &mut self,
        process: ProcessId,
        attempt: MoveId,
        epoch: Epoch,
        latecomers: Option<NodeId>,
        here: Option<Epoch>,
    ) {
        let known = self.landings.get_mut(&process);
        let Some(landing) = known.filter(|known| known.attempt == attempt) else {
            let result = match here {
                Some(here) if here == epoch => Ok(()),
                // It is the target's again, by a later move.
                Some(here) if here > epoch => return,
                Some(_) | None => Err(HostFailure::NotHere),
            };
            return self.report(process, attempt, Word::Activated { epoch, result });
        };
        match landing.stage {
            // Late, or the source is gone since.
            Stage::Activating(_) => {}
            Stage::Warming | Stage::Waiting => {
                let result = Err(HostFailure::NotHere);
                self.report(process, attempt, Word::Activated { epoch, result });
            }
            Stage::Whole => {
                landing.stage = Stage::Activating(epoch);
                let order = match landing.purpose {
                    Purpose::Move => HostOrder::Activate {
                        spec: landing.spec.clone(),
                        epoch,
                        origin: Origin::Handed(attempt),
                        role: Role::Active,
                        latecomers,
                    },
                    Purpose::Merge { .. } => HostOrder::Merge {
                        process,
                        attempt,
                        epoch,
                    },
                };
                self.order(order);
            }
        }
    }

    /// From here on this node has nothing of it, whatever arrives.
    fn give_up(&mut self, now: Moment, process: &ProcessId, attempt: MoveId) {
        let known = self.landings.get(process);
        if known.is_some_and(|known| known.attempt == attempt) {
            self.landings.remove(process);
            self.order(HostOrder::Discard {
                process: process.clone(),
                attempt,
            });
        }
        let until = now + self.settings.timeout;
        self.over.insert(process.clone(), (attempt, until));
    }

    pub(super) fn discard(&mut self, now: Moment, process: ProcessId, attempt: MoveId) {
        if let Some(known) = self.landings.get(&process)
            && known.attempt == attempt
        {
            // H6: what serves is not ended by this.
            if matches!(known.stage, Stage::Activating(_)) {
                return;
            }
        }
        self.give_up(now, &process, attempt);
        self.report(process, attempt, Word::Discarded);
    }

    pub(super) fn warmed(
        &mut self,
        process: &ProcessId,
        epoch: Epoch,
        result: &Result<(), HostFailure>,
    ) -> bool {
        let Some(landing) = self.landings.get_mut(process) else {
            return false;
        };
        if landing.epoch != epoch || landing.stage != Stage::Warming {
            return false;
        }
        let attempt = landing.attempt;
        match result {
            Ok(()) => landing.stage = Stage::Waiting,
            Err(_) => {
                self.landings.remove(process);
            }
        }
        self.report(process.clone(), attempt, Word::Prepared(result.clone()));
        true
    }

    pub(super) fn arrived(
        &mut self,
        process: &ProcessId,
        attempt: MoveId,
        result: &Result<(), HostFailure>,
    ) {
        let landing = self.landings.get_mut(process);
        let landing = landing.filter(|landing| landing.attempt == attempt);
        let Some(landing) = landing else {
            // Of an attempt that is over.
            let process = process.clone();
            return self.order(HostOrder::Discard { process, attempt });
        };
        match landing.stage {
            Stage::Warming | Stage::Waiting => {}
            // Sent twice, and the first one was taken.
            Stage::Whole | Stage::Activating(_) => return,
        }
        match result {
            Ok(()) => landing.stage = Stage::Whole,
            Err(_) => {
                self.landings.remove(process);
                self.order(HostOrder::Discard {
                    process: process.clone(),
                    attempt,
                });
            }
        }
        self.report(process.clone(), attempt, Word::Arrived(result.clone()));
    }

    pub(super) fn activated(
        &mut self,
        process: &ProcessId,
        epoch: Epoch,
        result: &Result<(), HostFailure>,
    ) -> bool {
        let Some(landing) = self.landings.get(process) else {
            return false;
        };
        if landing.stage != Stage::Activating(epoch) {
            return false;
        }
        let attempt = landing.attempt;
        self.landings.remove(process);
        let result = result.clone();
        self.report(process.clone(), attempt, Word::Activated { epoch, result });
        true
    }

    pub(super) fn merged(
        &mut self,
        process: &ProcessId,
        attempt: MoveId,
        result: &Result<(), HostFailure>,
    ) -> bool {
        let landing = self.landings.get(process);
        let Some(landing) = landing.filter(|landing| landing.attempt == attempt) else {
            return false;
        };
        let Stage::Activating(epoch) = landing.stage else {
            return false;
        };
        self.landings.remove(process);
        let result = result.clone();
        self.report(process.clone(), attempt, Word::Activated { epoch, result });
        true
    }
}
