//! The machine of one instance: it announces itself once it serves, asks a younger one whether it is
//! there, drains for it, and lets go or takes back.
//!
//! ```text
//!  Warming ──ready──► Serving ──younger heard──► Asking ──confirmed──► Draining ──drained──► Probation
//!                        ▲                         │                       │                     │
//!                        ├──── no answer ──────────┘                       │   silent, withdrew  │
//!                        └──────── resumed ──────── TakingBack ◄───────────┴─────────────────────┤
//!                                                                                                ▼
//!                                                                 Retired ◄── asked once more, confirmed
//! ```
//!
//! An announcement retires nobody: it can be recorded and sent again, and its sender may be dead.
//! What retires an instance is the answer to a question that it has just asked. It asks twice: before
//! it drains, and before it lets go, so that the second answer is never older than
//! [`Settings::silence`] however long the network delays (C2). In between the young one shows every
//! second that it is there; if it does not, the old one comes back as the *youngest*: should both
//! serve then, there is one order, and the other one goes (C3).
//!
//! Whoever hands over says who serves instead ([`Message::Alive`]), so that those that count on it
//! count on that one: three generations in a row end with the youngest.
//!
//! [`Message::Alive`]: super::message::Message::Alive

mod candidates;
mod core;
mod draining;
mod effect;
mod elders;
mod input;
mod probation;
mod retired;
mod senders;
mod serving;
mod turn;

use self::candidates::Followed;
use self::core::Core;
use self::draining::{Draining, Going};
pub use self::effect::{Effect, Phase};
use self::elders::Elders;
pub use self::input::{Identity, Input, Refusal};
use self::probation::Probation;
use self::retired::Retired;
use self::serving::Serving;
use self::turn::Turn;
use super::event::{Cause, Event, Successor};
use super::identity::PeerId;
use super::message::Message;
use super::settings::Settings;
use crate::moment::{Machine, Moment};

/// How often something is said that nobody will be there to repeat.
const LAST_WORDS: u32 = 3;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    Warming,
    Serving(Serving),
    Draining(Draining),
    Probation(Probation),
    TakingBack { from: Followed, cause: Cause },
    Retired(Retired),
    // `served`: it was ready once, so there is something to complete.
    Leaving { going: Going, served: bool },
    Left,
}

/// The machine of one instance. See [the module](self).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    core: Core,
    elders: Elders,
    state: State,
}

impl Peer {
    /// An instance whose program is not ready.
    #[must_use]
    pub const fn new(settings: Settings, identity: Identity, now: Moment) -> Self {
        Self {
            core: Core::new(settings, identity, now),
            elders: Elders::new(),
            state: State::Warming,
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match &self.state {
            State::Warming => Phase::Warming,
            State::Serving(serving) if serving.asks() => Phase::Asking,
            State::Serving(_) => Phase::Serving,
            State::Draining(_) => Phase::Draining,
            State::Probation(probation) if probation.is_stranded() => Phase::Stranded,
            State::Probation(_) => Phase::Probation,
            State::TakingBack { .. } => Phase::TakingBack,
            State::Retired(_) => Phase::Retired,
            State::Leaving { .. } => Phase::Leaving,
            State::Left => Phase::Left,
        }
    }

    /// Who it is; its order and legacy time change when it takes back.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.core.identity
    }

    /// What it decides by.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.core.settings
    }

    /// Who serves, as far as it can vouch for that.
    #[must_use]
    pub fn serving(&self) -> Option<PeerId> {
        match &self.state {
            State::Serving(_) => Some(self.core.identity.peer),
            State::Draining(draining) => draining.serving(),
            State::Probation(probation) => probation.serving(),
            State::Retired(retired) => retired.serving(),
            State::Warming | State::TakingBack { .. } | State::Leaving { .. } | State::Left => None,
        }
    }

    /// What an input is for the state: what older instances say to a younger one is done here, since
    /// it is the same in every state.
    fn turn(&mut self, now: Moment, input: Input) -> Turn {
        let envelope = match input {
            Input::Heard(envelope) => envelope,
            Input::Refused(refusal) => {
                self.core.refused(refusal);
                return Turn::Tick;
            }
            Input::Legacy { time_ms, wall_ms } => return Turn::Legacy { time_ms, wall_ms },
            Input::Ready => return Turn::Ready,
            Input::Failed => return Turn::Failed,
            Input::Drained => return Turn::Drained,
            Input::Resumed { order, legacy_ms } => return Turn::Resumed { order, legacy_ms },
            Input::CannotResume => return Turn::CannotResume,
            Input::Stop => return Turn::Stop,
            Input::Reachable => return Turn::Reachable,
            Input::Tick => return Turn::Tick,
        };
        let Some(heard) = self.core.admit(&envelope) else {
            return Turn::Tick;
        };
        let from = heard.from;
        let serves = self.phase().serves() && !heard.younger;
        let Self { core, elders, .. } = self;
        match heard.message {
            Message::Announce { .. } => return Turn::Announced(heard),
            Message::Confirm { .. } | Message::Alive { .. } => return Turn::Answered(heard),
            Message::Withdraw { handover, .. } => {
                return Turn::Withdrawn {
                    from,
                    attempt: handover,
                };
            }
            Message::Who => return Turn::Who,
            // C1: only an older one is told so, and only by one that serves, so that of all that
            // serve the youngest goes for nobody.
            Message::Challenge { handover, .. } => {
                if serves {
                    elders.asked(core, now, from, handover);
                }
            }
            Message::Draining { handover, .. } => {
                elders.progressed(core, now, from, handover, false, serves);
            }
            Message::Released { handover, .. } => {
                elders.progressed(core, now, from, handover, true, serves);
            }
            Message::Committed { handover, .. } => elders.settled(core, from, handover, false),
            Message::Resumed { handover, .. } => elders.settled(core, from, handover, true),
        }
        Turn::Tick
    }

    fn warming(&mut self, now: Moment, turn: Turn) -> State {
        match turn {
            Turn::Ready => return Serving::enter(&mut self.core, now),
            Turn::Failed => return self.fail(),
            Turn::Stop => return self.stop(false),
            Turn::Legacy { time_ms, wall_ms } => self.core.raise(time_ms, wall_ms),
            Turn::Announced(_)
            | Turn::Answered(_)
            | Turn::Withdrawn { .. }
            | Turn::Who
            | Turn::Drained
            | Turn::Resumed { .. }
            | Turn::CannotResume
            | Turn::Reachable
            | Turn::Tick => {}
        }
        State::Warming
    }

    fn taking_back(&mut self, now: Moment, from: Followed, cause: Cause, turn: Turn) -> State {
        match turn {
            Turn::Resumed { order, legacy_ms } => {
                self.core.identity.order = order;
                self.core.identity.legacy_ms = legacy_ms;
                self.core.send(Message::Resumed {
                    to: from.peer,
                    handover: from.attempt,
                });
                return Serving::enter(&mut self.core, now);
            }
            Turn::CannotResume | Turn::Failed => {
                return Probation::stranded(&mut self.core, now, from, cause);
            }
            // The program is being started, and must not stay.
            Turn::Stop => return self.stop(true),
            Turn::Announced(_)
            | Turn::Answered(_)
            | Turn::Withdrawn { .. }
            | Turn::Who
            | Turn::Legacy { .. }
            | Turn::Ready
            | Turn::Drained
            | Turn::Reachable
            | Turn::Tick => {}
        }
        State::TakingBack { from, cause }
    }

    fn leaving(&mut self, going: Going, served: bool, turn: Turn) -> State {
        match turn {
            Turn::Drained | Turn::Failed => {
                if served {
                    retired::complete(&mut self.core, &going, LAST_WORDS);
                }
                self.leave()
            }
            Turn::Ready => {
                self.core.report(Event::ReadyRefused);
                State::Leaving { going, served }
            }
            Turn::Announced(_)
            | Turn::Answered(_)
            | Turn::Withdrawn { .. }
            | Turn::Who
            | Turn::Legacy { .. }
            | Turn::Resumed { .. }
            | Turn::CannotResume
            | Turn::Stop
            | Turn::Reachable
            | Turn::Tick => State::Leaving { going, served },
        }
    }

    /// The program is gone for good.
    fn fail(&mut self) -> State {
        let told = self.elders.withdraw(&mut self.core);
        self.core.report(Event::Failed { told });
        self.leave()
    }

    /// The platform wants the instance gone, and it goes for nobody.
    fn stop(&mut self, served: bool) -> State {
        let told = self.elders.withdraw(&mut self.core);
        self.core.report(Event::Stopping { told });
        let by = Successor::Nobody;
        self.core.push(Effect::Drain { by });
        let going = Going::Nobody;
        State::Leaving { going, served }
    }

    fn leave(&mut self) -> State {
        self.elders = Elders::new();
        self.core.push(Effect::Leave);
        State::Left
    }

    fn take(&mut self, now: Moment, turn: Turn) -> State {
        let core = &mut self.core;
        match take_out(&mut self.state) {
            State::Warming => self.warming(now, turn),
            State::Serving(_) if turn.is_failed() => self.fail(),
            State::Serving(_) if turn.is_stop() => self.stop(true),
            State::Serving(serving) => serving.take(core, now, turn),
            State::Draining(draining) => draining.take(core, now, turn),
            State::Probation(probation) if turn.is_stop() => {
                retired::complete(core, &probation.going(), LAST_WORDS);
                self.leave()
            }
            State::Probation(probation) => probation.take(core, now, turn),
            State::TakingBack { from, cause } => self.taking_back(now, from, cause, turn),
            State::Retired(_) if turn.is_stop() => self.leave(),
            State::Retired(retired) => retired.take(core, turn),
            State::Leaving { going, served } => self.leaving(going, served, turn),
            State::Left => State::Left,
        }
    }
}

/// Takes the state out; whoever does puts the next one in.
fn take_out(state: &mut State) -> State {
    ::core::mem::replace(state, State::Left)
}

impl Machine for Peer {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Moment, input: Input) {
        if self.state == State::Left {
            return;
        }
        let turn = self.turn(now, input);
        self.state = self.take(now, turn);
        let core = &mut self.core;
        self.state = match take_out(&mut self.state) {
            State::Serving(serving) => serving.due(core, now),
            State::Draining(draining) => draining.due(core, now),
            State::Probation(probation) => probation.due(core, now),
            State::Retired(retired) => retired.due(core, now),
            State::Warming => State::Warming,
            State::TakingBack { from, cause } => State::TakingBack { from, cause },
            State::Leaving { going, served } => State::Leaving { going, served },
            State::Left => State::Left,
        };
        if self.state == State::Left {
            return;
        }
        let serving = self.serving();
        self.elders.tick(&mut self.core, now, serving);
        self.core.tick(now);
    }

    fn poll_effect(&mut self) -> Option<Effect> {
        self.core.pop()
    }

    fn next_deadline(&self) -> Option<Moment> {
        let core = &self.core;
        let state = match &self.state {
            State::Serving(serving) => Some(serving.deadline(core)),
            State::Draining(draining) => draining.deadline(core),
            State::Probation(probation) => Some(probation.deadline(core)),
            State::Retired(retired) => retired.deadline(),
            State::Left => return None,
            State::Warming | State::TakingBack { .. } | State::Leaving { .. } => None,
        };
        let elders = self.elders.deadline(core);
        [state, elders, core.deadline()].into_iter().flatten().min()
    }
}
