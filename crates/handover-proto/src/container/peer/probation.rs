//! An instance that is drained, and comes back if the younger one fails.

use super::State;
use super::candidates::{Candidates, Followed};
use super::core::{Core, Heard};
use super::draining::Going;
use super::effect::Effect;
use super::retired::Retired;
use super::turn::Turn;
use crate::container::event::{Cause, Event};
use crate::container::identity::{Attempt, PeerId};
use crate::container::message::Message;
use crate::container::schedule::Schedule;
use crate::container::settings::Rhythm;
use crate::moment::Moment;

/// The question before an instance lets go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Last {
    attempt: Attempt,
    asked: Moment,
    repeat: Schedule,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Probation {
    followed: Followed,
    since: Moment,
    /// The successor knows that it is alone.
    released: bool,
    repeat: Schedule,
    last: Option<Last>,
    candidates: Candidates,
    /// The program can be started again.
    way_back: bool,
    /// It cannot, and the successor counts as gone; people were told.
    stranded: bool,
}

impl Probation {
    fn new(core: &Core, now: Moment, followed: Followed, candidates: Candidates) -> Self {
        Self {
            followed,
            since: now,
            released: false,
            repeat: Schedule::new(core.settings.ask, now),
            last: None,
            candidates,
            way_back: core.settings.can_resume,
            stranded: false,
        }
    }

    fn report(&self, core: &mut Core) {
        if self.way_back {
            core.report(Event::Probation {
                peer: self.followed.peer,
                lasts: core.settings.probation,
            });
        }
    }

    pub(super) fn enter(
        core: &mut Core,
        now: Moment,
        followed: Followed,
        candidates: Candidates,
    ) -> State {
        let probation = Self::new(core, now, followed, candidates);
        probation.report(core);
        State::Probation(probation)
    }

    /// The successor counts as gone: comes back, if that is possible.
    pub(super) fn give_up(core: &mut Core, now: Moment, from: Followed, cause: Cause) -> State {
        if !core.settings.can_resume {
            return Self::stranded(core, now, from, cause);
        }
        let peer = from.peer;
        core.report(Event::TakingBack { peer, cause });
        core.push(Effect::Resume { cause });
        State::TakingBack { from, cause }
    }

    /// The successor counts as gone, and there is no way back.
    pub(super) fn stranded(core: &mut Core, now: Moment, from: Followed, cause: Cause) -> State {
        let mut probation = Self::new(core, now, from, Candidates::new());
        probation.way_back = false;
        probation.strand(core, now, cause);
        State::Probation(probation)
    }

    fn strand(&mut self, core: &mut Core, now: Moment, cause: Cause) {
        self.stranded = true;
        self.last = None;
        self.repeat = Schedule::new(core.settings.announce, now);
        let peer = self.followed.peer;
        core.report(Event::NobodyServes { peer, cause });
    }

    pub(super) const fn is_stranded(&self) -> bool {
        self.stranded
    }

    pub(super) fn serving(&self) -> Option<PeerId> {
        (!self.stranded).then_some(self.followed.peer)
    }

    pub(super) fn going(&self) -> Going {
        Going::Peer(self.followed.clone())
    }

    /// When the last question is asked: not before the successor knows that it is alone.
    fn ends(&self, core: &Core) -> Option<Moment> {
        let lasts = if self.way_back {
            core.settings.probation
        } else {
            core::time::Duration::ZERO
        };
        (self.released && !self.stranded).then_some(self.since + lasts)
    }

    pub(super) fn deadline(&self, core: &Core) -> Moment {
        let last = match &self.last {
            Some(last) => Some(last.repeat.due()),
            None => self.ends(core),
        };
        let silent = (!self.stranded).then_some(self.followed.confirmed + core.settings.silence);
        let all = [last, silent, self.candidates.deadline(core)];
        let due = self.repeat.due();
        all.into_iter().flatten().fold(due, Moment::min)
    }

    pub(super) fn take(mut self, core: &mut Core, now: Moment, turn: Turn) -> State {
        match turn {
            Turn::Announced(heard) => {
                if self.followed.is_outdone(&heard, self.stranded) {
                    self.candidates.consider(core, now, heard.from);
                }
            }
            Turn::Answered(heard) => return self.answered(core, now, &heard),
            Turn::Withdrawn { from, attempt } => {
                self.candidates.drop_peer(from);
                if self.followed.peer == from && self.followed.attempt == attempt && !self.stranded
                {
                    let cause = Cause::Withdrawn;
                    if self.way_back {
                        return Self::give_up(core, now, self.followed, cause);
                    }
                    self.strand(core, now, cause);
                }
            }
            Turn::Legacy { time_ms, wall_ms } => {
                self.candidates.legacy(core, now, time_ms, wall_ms);
            }
            Turn::Reachable => {
                self.repeat.hasten(now);
                self.candidates.reachable(now);
            }
            Turn::Ready => core.report(Event::ReadyRefused),
            Turn::Failed
            | Turn::Drained
            | Turn::Who
            | Turn::Resumed { .. }
            | Turn::CannotResume
            | Turn::Stop
            | Turn::Tick => {}
        }
        State::Probation(self)
    }

    fn answered(mut self, core: &mut Core, now: Moment, heard: &Heard) -> State {
        if let Some(followed) = self.candidates.answered(now, heard) {
            let from = self.followed.successor();
            let to = followed.successor();
            core.report(Event::Replaced { from, to });
            let way_back = self.way_back;
            let mut next = Self::new(core, now, followed, self.candidates);
            next.way_back = way_back;
            next.report(core);
            return State::Probation(next);
        }
        if heard.from != self.followed.peer {
            return State::Probation(self);
        }
        match heard.message {
            Message::Confirm { handover, .. } => {
                if self.is_last(core, now, handover) && heard.younger {
                    self.followed.order = heard.order;
                    return Retired::enter(core, now, Going::Peer(self.followed));
                }
            }
            Message::Alive {
                handover,
                released,
                serving,
                ..
            } if handover == self.followed.attempt => {
                self.alive(core, now, heard, released, serving);
            }
            Message::Alive { .. }
            | Message::Announce { .. }
            | Message::Challenge { .. }
            | Message::Draining { .. }
            | Message::Released { .. }
            | Message::Committed { .. }
            | Message::Withdraw { .. }
            | Message::Resumed { .. }
            | Message::Who => {}
        }
        State::Probation(self)
    }

    /// C2: whoever answers this was there after it was asked.
    fn is_last(&self, core: &Core, now: Moment, attempt: Attempt) -> bool {
        self.last.as_ref().is_some_and(|last| {
            last.attempt == attempt && now.since(last.asked) < core.settings.silence
        })
    }

    fn alive(
        &mut self,
        core: &mut Core,
        now: Moment,
        heard: &Heard,
        released: bool,
        serving: PeerId,
    ) {
        if serving != heard.from {
            if serving != core.identity.peer {
                self.candidates.consider(core, now, serving);
            }
            return;
        }
        self.followed.confirmed = now;
        self.followed.order = heard.order;
        if core::mem::take(&mut self.stranded) {
            let peer = heard.from;
            core.report(Event::SuccessorBack { peer });
            self.repeat = Schedule::new(core.settings.ask, now);
        }
        if released && !self.released {
            self.released = true;
            let every = core.settings.heartbeat;
            self.repeat = Schedule::new(Rhythm::steady(every), now + every);
        }
    }

    pub(super) fn due(mut self, core: &mut Core, now: Moment) -> State {
        if let Some(time_ms) = self.candidates.tick(core, now) {
            let from = self.followed.successor();
            let going = Going::Legacy { time_ms };
            let to = going.successor();
            core.report(Event::Replaced { from, to });
            return Retired::enter(core, now, going);
        }
        if !self.stranded
            && let Some(cause) = self.followed.silence(core, now)
        {
            if self.way_back {
                return Self::give_up(core, now, self.followed, cause);
            }
            self.strand(core, now, cause);
        }
        if self.repeat.take(now) {
            core.send(Message::Released {
                to: self.followed.peer,
                handover: self.followed.attempt,
            });
            if self.stranded {
                core.send(Message::Who);
            }
        }
        if self.ends(core).is_some_and(|ends| now >= ends) {
            self.ask(core, now);
        }
        State::Probation(self)
    }

    /// Asks the last question; one whose answer would be too old by now is asked anew.
    fn ask(&mut self, core: &mut Core, now: Moment) {
        let old = |last: &Last| now.since(last.asked) >= core.settings.silence;
        if self.last.as_ref().is_none_or(old) {
            self.last = Some(Last {
                attempt: core.attempt(),
                asked: now,
                repeat: Schedule::new(core.settings.ask, now),
            });
        }
        if let Some(last) = &mut self.last
            && last.repeat.take(now)
        {
            core.send(Message::Challenge {
                to: self.followed.peer,
                handover: last.attempt,
            });
        }
    }
}
