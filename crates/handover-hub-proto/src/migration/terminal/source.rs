//! What leaves this node.

use super::Terminal;
use crate::identity::{Epoch, MoveId, NodeId, ProcessId};
use crate::migration::departure::{Departure, Stage};
use crate::migration::message::Word;
use crate::node::{HostFailure, HostOrder};

impl Terminal {
    pub(super) fn depart(
        &mut self,
        process: ProcessId,
        departure: Departure,
        forced: bool,
        here: Option<Epoch>,
    ) {
        let (attempt, epoch) = (departure.attempt, departure.epoch);
        let failed = |failure| Word::Departed {
            epoch,
            result: Err(failure),
        };
        match self.departures.get_mut(&process) {
            Some(known) if known.attempt == attempt => {
                // A state that did not go out is sent once more.
                if let Stage::Stuck(_) = known.stage {
                    known.stage = Stage::Sending;
                    let (to, epoch) = (known.to, known.next);
                    self.order(HostOrder::SendState {
                        process,
                        attempt,
                        to,
                        epoch,
                    });
                }
            }
            Some(_) => self.report(process, attempt, failed(HostFailure::Busy)),
            // Of an earlier attempt: it has gone on under another epoch since (H7).
            None if here != Some(epoch) => {
                self.report(process, attempt, failed(HostFailure::NotHere));
            }
            None => {
                self.order(HostOrder::Freeze {
                    process: process.clone(),
                    epoch,
                    attempt,
                    forced,
                });
                self.departures.insert(process, departure);
            }
        }
    }

    pub(super) fn retire(
        &mut self,
        process: ProcessId,
        attempt: MoveId,
        to: NodeId,
        epoch: Epoch,
        here: Option<Epoch>,
    ) {
        // H7: only a higher epoch ends what is here.
        if here.is_some_and(|here| here < epoch) {
            self.departures.remove(&process);
            self.order(HostOrder::Retire {
                process: process.clone(),
                attempt,
                to,
                epoch,
            });
        }
        self.report(process, attempt, Word::Retired);
    }

    pub(super) fn resume(
        &mut self,
        process: ProcessId,
        attempt: MoveId,
        epoch: Epoch,
        here: Option<Epoch>,
    ) {
        let result = match here {
            None => Err(HostFailure::NotHere),
            // Late: whoever said this has been answered, or does not ask any more.
            Some(here) if here > epoch => return,
            Some(here) if here == epoch => Ok(()),
            Some(_) => {
                self.departures.remove(&process);
                self.order(HostOrder::Resume {
                    process: process.clone(),
                    attempt,
                    epoch,
                });
                Ok(())
            }
        };
        self.report(process, attempt, Word::Resumed { epoch, result });
    }

    pub(super) fn frozen(
        &mut self,
        process: &ProcessId,
        attempt: MoveId,
        result: &Result<(), HostFailure>,
    ) -> bool {
        let known = self.departures.get_mut(process);
        let Some(departure) = known.filter(|known| known.attempt == attempt) else {
            return false;
        };
        if departure.stage != Stage::Freezing {
            return false;
        }
        let (to, epoch) = (departure.to, departure.next);
        match result {
            Ok(()) => {
                departure.stage = Stage::Sending;
                self.order(HostOrder::SendState {
                    process: process.clone(),
                    attempt,
                    to,
                    epoch,
                });
            }
            Err(failure) => {
                let epoch = departure.epoch;
                let result = Err(failure.clone());
                self.departures.remove(process);
                self.report(process.clone(), attempt, Word::Departed { epoch, result });
            }
        }
        true
    }

    pub(super) fn sent(
        &mut self,
        process: &ProcessId,
        attempt: MoveId,
        result: &Result<(), HostFailure>,
    ) -> bool {
        let known = self.departures.get_mut(process);
        let Some(departure) = known.filter(|known| known.attempt == attempt) else {
            return false;
        };
        match result {
            Ok(()) => departure.stage = Stage::Sent,
            Err(failure) => {
                departure.stage = Stage::Stuck(failure.clone());
                let word = departure.word();
                if let Some(word) = word {
                    self.report(process.clone(), attempt, word);
                }
            }
        }
        true
    }
}
