//! An instance that serves: says so, and asks younger ones.

use super::State;
use super::candidates::Candidates;
use super::core::{Core, Heard};
use super::draining::{Draining, Going};
use super::effect::Effect;
use super::turn::Turn;
use crate::container::event::Event;
use crate::container::message::Message;
use crate::container::schedule::Schedule;
use crate::container::settings::Legacy;
use crate::moment::Moment;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Serving {
    announce: Schedule,
    announced: Moment,
    announce_legacy: Schedule,
    candidates: Candidates,
}

impl Serving {
    pub(super) fn enter(core: &mut Core, now: Moment) -> State {
        core.report(Event::Serving {
            peer: core.identity.peer,
            order: core.identity.order,
            legacy_ms: core.legacy_ms(),
        });
        State::Serving(Self {
            announce: Schedule::new(core.settings.announce, now),
            announced: now,
            announce_legacy: Schedule::new(core.settings.announce_legacy, now),
            candidates: Candidates::new(),
        })
    }

    pub(super) const fn asks(&self) -> bool {
        self.candidates.asks()
    }

    pub(super) fn deadline(&self, core: &Core) -> Moment {
        let announce = match core.settings.legacy {
            Legacy::Obey | Legacy::Announce => self.announce.due().min(self.announce_legacy.due()),
            Legacy::Off => self.announce.due(),
        };
        let candidates = self.candidates.deadline(core);
        candidates.map_or(announce, |due| due.min(announce))
    }

    pub(super) fn take(mut self, core: &mut Core, now: Moment, turn: Turn) -> State {
        match turn {
            Turn::Announced(heard) if heard.younger => {
                if self.candidates.consider(core, now, heard.from) {
                    core.report(Event::YoungerHeard {
                        peer: heard.from,
                        order: heard.order,
                    });
                }
            }
            // An older one that still announces has not heard this one.
            Turn::Announced(_) | Turn::Who => self
                .announce
                .hasten(self.announced + core.settings.least_pause),
            Turn::Answered(heard) => return self.answered(core, now, &heard),
            Turn::Withdrawn { from, .. } => self.candidates.drop_peer(from),
            Turn::Legacy { time_ms, wall_ms } => {
                self.candidates.legacy(core, now, time_ms, wall_ms);
            }
            Turn::Reachable => {
                self.announce = Schedule::new(core.settings.announce, now);
                self.announce_legacy = Schedule::new(core.settings.announce_legacy, now);
                self.candidates.reachable(now);
            }
            Turn::Ready
            | Turn::Failed
            | Turn::Drained
            | Turn::Resumed { .. }
            | Turn::CannotResume
            | Turn::Stop
            | Turn::Tick => {}
        }
        State::Serving(self)
    }

    fn answered(mut self, core: &mut Core, now: Moment, heard: &Heard) -> State {
        if let Some(followed) = self.candidates.answered(now, heard) {
            let going = Going::Peer(followed);
            return Draining::enter(core, now, going, self.candidates);
        }
        // It shows itself for an attempt that is over, and did not hear so.
        if let Message::Alive { handover, .. } = heard.message {
            core.send(Message::Resumed {
                to: heard.from,
                handover,
            });
        }
        State::Serving(self)
    }

    pub(super) fn due(mut self, core: &mut Core, now: Moment) -> State {
        if self.announce.take(now) {
            self.announced = now;
            core.send(Message::Announce {
                legacy_ms: core.legacy_ms(),
            });
        }
        if let Some(time_ms) = core.legacy_ms()
            && self.announce_legacy.take(now)
        {
            core.push(Effect::SendLegacy { time_ms });
        }
        match self.candidates.tick(core, now) {
            Some(time_ms) => {
                let going = Going::Legacy { time_ms };
                Draining::enter(core, now, going, self.candidates)
            }
            None => State::Serving(self),
        }
    }
}
