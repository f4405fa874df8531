//! The moves that one node takes part in as source or target.

mod source;
mod target;

use alloc::collections::{BTreeMap, VecDeque};

use handover_proto::moment::Moment;

use super::census::Holding;
use super::departure::{Departure, Stage as Leaving};
use super::landing::{Landing, Stage as Coming};
use super::message::{Bid, Order, Purpose, Report, Word};
use super::settings::Settings;
use crate::identity::{Epoch, MoveId, ProcessId};
use crate::node::{HostOrder, HostReport};

/// What a terminal wants done, strictly in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Do something to a process on this node. After [`HostOrder::Retire`] it does not run here any
    /// more, after [`HostOrder::Resume`] it has the epoch that is named.
    Host(HostOrder),
    /// Tell the home of the process, whoever that is now. May be lost: it is said again.
    Report(Report),
}

/// Departures and landings of one node. Costs nothing for processes that do not move.
///
/// Every order goes through a check of its term first, which is the caller's (H7), and so does what a
/// census was answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Terminal {
    settings: Settings,
    departures: BTreeMap<ProcessId, Departure>,
    landings: BTreeMap<ProcessId, Landing>,
    /// Attempts that this node said it has nothing of, each until when it would notice that one is
    /// ordered once more: by an order that was overtaken on another connection.
    over: BTreeMap<ProcessId, (MoveId, Moment)>,
    /// When what has no answer is reported again.
    repeat: Option<Moment>,
    effects: VecDeque<Effect>,
}

impl Terminal {
    /// Nothing moves yet.
    #[must_use]
    pub const fn new(settings: Settings) -> Self {
        Self {
            settings,
            departures: BTreeMap::new(),
            landings: BTreeMap::new(),
            over: BTreeMap::new(),
            repeat: None,
            effects: VecDeque::new(),
        }
    }

    /// What this node has of a process. `here`: the epoch under which it runs here, frozen or not.
    #[must_use]
    pub fn holding(&self, process: &ProcessId, here: Option<Epoch>) -> Option<Holding> {
        let departs = self.departures.get(process).map(Departure::holding);
        let runs = here.map(|epoch| Holding::Running { epoch });
        let lands = self.landings.get(process);
        let begins = lands.filter(|lands| lands.purpose == Purpose::Move);
        let begins = begins.map(Landing::holding);
        let begins = begins.filter(|lands| matches!(lands, Holding::Activating { .. }));
        let lands = lands.map(Landing::holding);
        departs.or(begins).or(runs).or(lands)
    }

    /// Processes that take part in a move here, in order, each once.
    pub fn processes(&self) -> impl Iterator<Item = &ProcessId> {
        let departs = self.departures.keys();
        let lands = self.landings.keys();
        departs.chain(lands.filter(|process| !self.departures.contains_key(*process)))
    }

    /// An order of the home of a process. `here`: the epoch under which it runs here, frozen or not.
    pub fn handle(&mut self, now: Moment, order: Order, here: Option<Epoch>) {
        let Order {
            process,
            attempt,
            bid,
            ..
        } = order;
        match bid {
            Bid::Prepare {
                spec,
                from,
                epoch,
                purpose,
            } => {
                let landing = Landing {
                    attempt,
                    spec,
                    from,
                    purpose,
                    epoch,
                    stage: Coming::Warming,
                };
                self.prepare(process, landing, here);
            }
            Bid::Depart {
                epoch,
                to,
                next,
                forced,
            } => {
                let departure = Departure {
                    attempt,
                    epoch,
                    to,
                    next,
                    stage: Leaving::Freezing,
                };
                self.depart(process, departure, forced, here);
            }
            Bid::Inquire => self.inquire(now, process, attempt, here),
            Bid::Commit { epoch, latecomers } => {
                self.commit(process, attempt, epoch, latecomers, here);
            }
            Bid::Retire { to, epoch } => self.retire(process, attempt, to, epoch, here),
            Bid::Resume { epoch } => self.resume(process, attempt, epoch, here),
            Bid::Discard => self.discard(now, process, attempt),
        }
        self.watch(now);
    }

    /// A process on this node did what it was ordered to. What concerns no move is passed over:
    /// returns whether it concerned one.
    pub fn reported(&mut self, now: Moment, report: &HostReport) -> bool {
        let concerned = self.take(report);
        self.watch(now);
        concerned
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Moment) {
        if self.repeat.is_none_or(|repeat| now < repeat) {
            return;
        }
        let departures = self.departures.iter();
        let departed = departures.map(|(process, it)| (process, it.attempt, it.word()));
        let landings = self.landings.iter();
        let landed = landings.map(|(process, it)| (process, it.attempt, it.word()));
        for (process, attempt, word) in departed.chain(landed) {
            if let Some(word) = word {
                let process = process.clone();
                self.effects.push_back(Effect::Report(Report {
                    process,
                    attempt,
                    word,
                }));
            }
        }
        self.over.retain(|_, (_, until)| *until > now);
        self.repeat = None;
        self.watch(now);
    }

    /// The next effect.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Self::tick`] is to be called.
    #[must_use]
    pub const fn next_deadline(&self) -> Option<Moment> {
        self.repeat
    }

    fn watch(&mut self, now: Moment) {
        let moves = !self.departures.is_empty() || !self.landings.is_empty();
        if !moves && self.over.is_empty() {
            self.repeat = None;
        } else if self.repeat.is_none() {
            self.repeat = Some(now + self.settings.repeat);
        }
    }

    fn order(&mut self, order: HostOrder) {
        self.effects.push_back(Effect::Host(order));
    }

    fn report(&mut self, process: ProcessId, attempt: MoveId, word: Word) {
        self.effects.push_back(Effect::Report(Report {
            process,
            attempt,
            word,
        }));
    }

    fn take(&mut self, report: &HostReport) -> bool {
        match report {
            HostReport::Warmed {
                process,
                epoch,
                result,
            } => self.warmed(process, *epoch, result),
            HostReport::StateArrived {
                process,
                attempt,
                result,
            } => {
                self.arrived(process, *attempt, result);
                true
            }
            HostReport::Frozen {
                process,
                attempt,
                result,
            } => self.frozen(process, *attempt, result),
            HostReport::StateSent {
                process,
                attempt,
                result,
            } => self.sent(process, *attempt, result),
            HostReport::Activated {
                process,
                epoch,
                result,
            } => self.activated(process, *epoch, result),
            HostReport::Merged {
                process,
                attempt,
                result,
            } => self.merged(process, *attempt, result),
            HostReport::Ended { process, .. } => self.departures.remove(process).is_some(),
            HostReport::Restarted { .. } | HostReport::Filled { .. } => false,
        }
    }
}
