//! An instance that let go for good.

use super::core::Core;
use super::draining::Going;
use super::effect::Effect;
use super::turn::Turn;
use super::{LAST_WORDS, State};
use crate::container::event::Event;
use crate::container::identity::PeerId;
use crate::container::message::Message;
use crate::container::schedule::Schedule;
use crate::moment::Moment;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Retired {
    going: Going,
    /// How often the successor is still to be told, and when.
    left: u32,
    repeat: Schedule,
}

fn tell(core: &mut Core, going: &Going) {
    match going {
        Going::Peer(followed) => core.send(Message::Committed {
            to: followed.peer,
            handover: followed.attempt,
        }),
        Going::Legacy { .. } | Going::Nobody => {}
    }
}

/// Lets go: the successor is told so many times, then the file is written.
pub(super) fn complete(core: &mut Core, going: &Going, words: u32) {
    for _ in 0..words {
        tell(core, going);
    }
    let by = going.successor();
    core.push(Effect::Complete { by });
    core.report(Event::Committed { by });
}

impl Retired {
    pub(super) fn enter(core: &mut Core, now: Moment, going: Going) -> State {
        complete(core, &going, 0);
        let left = match going {
            Going::Peer(_) => LAST_WORDS,
            Going::Legacy { .. } | Going::Nobody => 0,
        };
        let repeat = Schedule::new(core.settings.ask, now);
        State::Retired(Self {
            going,
            left,
            repeat,
        })
    }

    pub(super) fn serving(&self) -> Option<PeerId> {
        match &self.going {
            Going::Peer(followed) => Some(followed.peer),
            Going::Legacy { .. } | Going::Nobody => None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        (self.left > 0).then_some(self.repeat.due())
    }

    pub(super) fn take(self, core: &mut Core, turn: Turn) -> State {
        match turn {
            Turn::Answered(heard) => {
                // It shows itself still, and did not hear that nobody watches any more.
                if let Message::Alive { handover, .. } = heard.message {
                    core.send(Message::Committed {
                        to: heard.from,
                        handover,
                    });
                }
            }
            Turn::Ready => core.report(Event::ReadyRefused),
            Turn::Failed
            | Turn::Announced(_)
            | Turn::Withdrawn { .. }
            | Turn::Who
            | Turn::Legacy { .. }
            | Turn::Drained
            | Turn::Resumed { .. }
            | Turn::CannotResume
            | Turn::Stop
            | Turn::Reachable
            | Turn::Tick => {}
        }
        State::Retired(self)
    }

    pub(super) fn due(mut self, core: &mut Core, now: Moment) -> State {
        if self.left > 0 && self.repeat.take(now) {
            self.left -= 1;
            tell(core, &self.going);
        }
        State::Retired(self)
    }
}
