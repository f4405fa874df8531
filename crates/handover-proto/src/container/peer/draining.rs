//! An instance that drains for a younger one.

use super::State;
use super::candidates::{Candidates, Followed};
use super::core::{Core, Heard};
use super::effect::Effect;
use super::probation::Probation;
use super::retired::Retired;
use super::turn::Turn;
use crate::container::event::{Cause, Event, Successor};
use crate::container::identity::PeerId;
use crate::container::message::Message;
use crate::container::order::Relation;
use crate::moment::Moment;

/// For whom an instance goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Going {
    Peer(Followed),
    Legacy { time_ms: i64 },
    Nobody,
}

impl Going {
    pub(super) const fn successor(&self) -> Successor {
        match self {
            Self::Peer(followed) => followed.successor(),
            Self::Legacy { time_ms } => Successor::Legacy { time_ms: *time_ms },
            Self::Nobody => Successor::Nobody,
        }
    }
}

impl Followed {
    /// Why it counts as gone, if it does.
    pub(super) fn silence(&self, core: &Core, now: Moment) -> Option<Cause> {
        let silent = now.since(self.confirmed);
        (silent >= core.settings.silence).then_some(Cause::Silent { silent })
    }

    /// Whether another instance that announces itself should be asked. `lost`: this one may not be
    /// there any more, so anybody younger than we are will do, itself included.
    pub(super) fn is_outdone(&self, heard: &Heard, lost: bool) -> bool {
        let younger = self.order.compare(self.peer, &heard.order, heard.from) == Relation::Younger;
        heard.younger && (lost || (younger && heard.from != self.peer))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Draining {
    going: Going,
    /// Why the successor counts as gone, if it does; people were told.
    lost: Option<Cause>,
    candidates: Candidates,
    /// When the successor is to be told next.
    beat: Moment,
}

impl Draining {
    /// C5: the only way into a drain for a successor, out of `Serving` alone.
    pub(super) fn enter(
        core: &mut Core,
        now: Moment,
        going: Going,
        candidates: Candidates,
    ) -> State {
        let by = going.successor();
        core.report(Event::Draining { by });
        core.push(Effect::Drain { by });
        State::Draining(Self {
            going,
            lost: None,
            candidates,
            beat: now,
        })
    }

    pub(super) fn serving(&self) -> Option<PeerId> {
        match &self.going {
            Going::Peer(followed) if self.lost.is_none() => Some(followed.peer),
            Going::Peer(_) | Going::Legacy { .. } | Going::Nobody => None,
        }
    }

    pub(super) fn deadline(&self, core: &Core) -> Option<Moment> {
        let own = match &self.going {
            Going::Peer(followed) if self.lost.is_none() => {
                Some(self.beat.min(followed.confirmed + core.settings.silence))
            }
            Going::Peer(_) => Some(self.beat),
            Going::Legacy { .. } | Going::Nobody => None,
        };
        let candidates = self.candidates.deadline(core);
        [own, candidates].into_iter().flatten().min()
    }

    pub(super) fn take(mut self, core: &mut Core, now: Moment, turn: Turn) -> State {
        match turn {
            // A program that ended while it drained serves no more either.
            Turn::Drained | Turn::Failed => return self.drained(core, now),
            Turn::Stop => {
                core.report(Event::Stopping { told: 0 });
                let going = self.going;
                let served = true;
                return State::Leaving { going, served };
            }
            Turn::Announced(heard) => {
                let wanted = match &self.going {
                    Going::Peer(followed) => followed.is_outdone(&heard, self.lost.is_some()),
                    Going::Legacy { .. } => heard.younger,
                    Going::Nobody => false,
                };
                if wanted {
                    self.candidates.consider(core, now, heard.from);
                }
            }
            Turn::Answered(heard) => self.answered(core, now, &heard),
            Turn::Withdrawn { from, attempt } => {
                self.candidates.drop_peer(from);
                if let Going::Peer(followed) = &self.going
                    && followed.peer == from
                    && followed.attempt == attempt
                {
                    self.lose(core, Cause::Withdrawn);
                }
            }
            Turn::Legacy { time_ms, wall_ms } => {
                self.candidates.legacy(core, now, time_ms, wall_ms);
            }
            Turn::Reachable => {
                self.beat = now;
                self.candidates.reachable(now);
            }
            Turn::Ready => core.report(Event::ReadyRefused),
            Turn::Who | Turn::Resumed { .. } | Turn::CannotResume | Turn::Tick => {}
        }
        State::Draining(self)
    }

    /// C2: what was heard of the successor until now decides.
    fn drained(self, core: &mut Core, now: Moment) -> State {
        let followed = match self.going {
            Going::Peer(followed) => followed,
            going @ (Going::Legacy { .. } | Going::Nobody) => {
                return Retired::enter(core, now, going);
            }
        };
        match self.lost.or_else(|| followed.silence(core, now)) {
            None => Probation::enter(core, now, followed, self.candidates),
            Some(cause) => Probation::give_up(core, now, followed, cause),
        }
    }

    fn answered(&mut self, core: &mut Core, now: Moment, heard: &Heard) {
        if let Some(followed) = self.candidates.answered(now, heard) {
            let from = self.going.successor();
            let to = followed.successor();
            core.report(Event::Replaced { from, to });
            self.going = Going::Peer(followed);
            self.lost = None;
            self.beat = now;
            return;
        }
        let (
            Going::Peer(followed),
            Message::Alive {
                handover, serving, ..
            },
        ) = (&mut self.going, heard.message)
        else {
            return;
        };
        if followed.peer != heard.from || followed.attempt != handover {
            return;
        }
        if serving != heard.from {
            if serving != core.identity.peer {
                self.candidates.consider(core, now, serving);
            }
        } else if self.lost != Some(Cause::Withdrawn) {
            followed.confirmed = now;
            followed.order = heard.order;
            if self.lost.take().is_some() {
                let peer = heard.from;
                core.report(Event::SuccessorBack { peer });
            }
        }
    }

    fn lose(&mut self, core: &mut Core, cause: Cause) {
        if let Going::Peer(followed) = &self.going
            && self.lost != Some(Cause::Withdrawn)
        {
            let told = self.lost.replace(cause).is_some();
            if !told {
                let peer = followed.peer;
                core.report(Event::SuccessorLost { peer, cause });
            }
        }
    }

    pub(super) fn due(mut self, core: &mut Core, now: Moment) -> State {
        if let Some(time_ms) = self.candidates.tick(core, now) {
            let from = self.going.successor();
            self.going = Going::Legacy { time_ms };
            self.lost = None;
            let to = self.going.successor();
            core.report(Event::Replaced { from, to });
        }
        if let Going::Peer(followed) = &self.going
            && self.lost.is_none()
            && let Some(cause) = followed.silence(core, now)
        {
            self.lose(core, cause);
        }
        if let Going::Peer(followed) = &self.going
            && now >= self.beat
        {
            self.beat = now + core.settings.heartbeat;
            core.send(Message::Draining {
                to: followed.peer,
                handover: followed.attempt,
            });
        }
        State::Draining(self)
    }
}
