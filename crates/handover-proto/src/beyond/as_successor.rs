//! We are the successor, the supervisor is theirs.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use super::{HEARTBEAT_EVERY, HELLO_WITHIN, HandoffId, Message, Side, VERSION};
use crate::instance::VERSIONS;
use crate::message::{FromInstance, ToInstance};
use crate::moment::{Machine, Moment};
use crate::phase::Mode;
use crate::settings::Ladder;

/// How long the greeting is held back so that the program can warm while the incumbent serves:
/// their supervisor makes the incumbent drain as soon as it has heard the greeting, and waits
/// [`HELLO_WITHIN`] for it.
pub const GREETING_HELD: Duration = Duration::from_secs(4);

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// The supervisor said something.
    Heard(Message),
    /// Our instance's machine says something.
    Say(FromInstance),
    /// The channel broke; our instance's machine is told by whoever tells us.
    Closed,
    /// Time has passed.
    Tick,
}

/// What is to be done, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Send this to the supervisor.
    Send(Message),
    /// Tell our instance's machine.
    Tell(ToInstance),
    /// Close the channel, and tell our instance's machine that it broke.
    Close,
    /// We are the incumbent: from here the channel is the control socket.
    Serve,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    /// Warms; the greeting is held back until then.
    Holding {
        until: Moment,
    },
    Greeting {
        deadline: Moment,
    },
    Greeted {
        id: HandoffId,
    },
    /// It is our turn; heartbeats until ready.
    Begun {
        id: HandoffId,
        beat: Moment,
    },
    Over,
}

/// A successor of ours and a supervisor of theirs, from the start of the process until it is
/// ready.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AsSuccessor {
    pid: u32,
    build_id: Vec<u8>,
    warm: bool,
    state: State,
    effects: VecDeque<Effect>,
}

impl AsSuccessor {
    /// A successor whose channel is open. `build_id` is what the greeting names it by.
    #[must_use]
    pub fn new(now: Moment, pid: u32, build_id: Vec<u8>) -> Self {
        Self {
            pid,
            build_id,
            warm: false,
            state: State::Holding {
                until: now + GREETING_HELD,
            },
            effects: VecDeque::new(),
        }
    }

    fn push(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    fn greet(&mut self, now: Moment) -> State {
        let hello = Message::hello(Side::Successor, self.pid, &self.build_id);
        self.push(Effect::Send(hello));
        State::Greeting {
            deadline: now + HELLO_WITHIN,
        }
    }

    fn close(&mut self) -> State {
        self.push(Effect::Close);
        State::Over
    }

    fn activate(&mut self, id: HandoffId) {
        self.push(Effect::Tell(ToInstance::Activate {
            id: id.number(),
            sealed: true,
        }));
    }

    fn heard(&mut self, state: State, now: Moment, message: Message) -> State {
        match (state, message) {
            (State::Over, _) => State::Over,
            (state, Message::Heartbeat { .. }) => state,
            (State::Greeting { .. }, Message::HelloAck { version, id }) if version == VERSION => {
                State::Greeted { id }
            }
            (State::Greeted { id }, Message::Begin { id: named }) if named == id => {
                if self.warm {
                    self.activate(id);
                }
                State::Begun {
                    id,
                    beat: now + HEARTBEAT_EVERY,
                }
            }
            (State::Greeted { .. } | State::Begun { .. }, Message::Abort { .. }) => {
                // Whoever says it kills us next; what was begun is left as a crash would.
                let ladder = Ladder::default();
                self.push(Effect::Tell(ToInstance::Retire { ladder }));
                self.close()
            }
            // Anything else breaks the protocol; the incumbent takes back (I5).
            (
                State::Holding { .. }
                | State::Greeting { .. }
                | State::Greeted { .. }
                | State::Begun { .. },
                _,
            ) => self.close(),
        }
    }

    fn say(&mut self, state: State, now: Moment, message: FromInstance) -> State {
        match (state, message) {
            (state, FromInstance::Hello { .. }) => {
                // What their supervisor would say is known already: it starts a successor only
                // beside an incumbent, and only for exclusive ownership.
                self.push(Effect::Tell(ToInstance::Welcome {
                    version: *VERSIONS.end(),
                    mode: Mode::Exclusive,
                    incumbent: true,
                    introduced: false,
                }));
                state
            }
            (State::Holding { .. }, FromInstance::Warmed) => {
                self.warm = true;
                self.greet(now)
            }
            (state, FromInstance::Warmed) => {
                self.warm = true;
                if let State::Begun { id, .. } = state {
                    self.activate(id);
                }
                state
            }
            (State::Begun { id, .. }, FromInstance::Ready { claimed, .. }) => {
                self.ready(id, claimed)
            }
            // There is no word for it: they see the channel close.
            (State::Over, FromInstance::Failed { .. }) => State::Over,
            (_, FromInstance::Failed { .. }) => self.close(),
            (
                state,
                FromInstance::Ready { .. }
                | FromInstance::Drained { .. }
                | FromInstance::SealProgress { .. }
                | FromInstance::Sealed { .. }
                | FromInstance::SealFailed { .. }
                | FromInstance::Resumed { .. }
                | FromInstance::Status { .. }
                | FromInstance::Extend { .. }
                | FromInstance::Connections { .. }
                | FromInstance::Retired { .. },
            ) => state,
        }
    }

    /// From here nothing stops us (I6), so there is no commit to wait for.
    fn ready(&mut self, id: HandoffId, claimed: Vec<String>) -> State {
        self.push(Effect::Send(Message::Ready {
            id,
            listening_on: claimed,
            healthz_ok: true,
            advertised_revision_per_shard: Vec::new(),
        }));
        self.push(Effect::Tell(ToInstance::Commit { id: id.number() }));
        self.push(Effect::Serve);
        State::Over
    }

    fn tick(&mut self, state: State, now: Moment) -> State {
        match state {
            State::Holding { until } if now >= until => self.greet(now),
            State::Greeting { deadline } if now >= deadline => self.close(),
            State::Begun { id, beat } if now >= beat => {
                self.push(Effect::Send(super::heartbeat(now)));
                State::Begun {
                    id,
                    beat: now + HEARTBEAT_EVERY,
                }
            }
            State::Holding { .. }
            | State::Greeting { .. }
            | State::Greeted { .. }
            | State::Begun { .. }
            | State::Over => state,
        }
    }
}

impl Machine for AsSuccessor {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Moment, input: Input) {
        let state = mem::replace(&mut self.state, State::Over);
        self.state = match input {
            Input::Heard(message) => self.heard(state, now, message),
            Input::Say(message) => self.say(state, now, message),
            Input::Closed => State::Over,
            Input::Tick => self.tick(state, now),
        };
    }

    fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn next_deadline(&self) -> Option<Moment> {
        match self.state {
            State::Holding { until } => Some(until),
            State::Greeting { deadline } => Some(deadline),
            State::Begun { beat, .. } => Some(beat),
            State::Greeted { .. } | State::Over => None,
        }
    }
}
