//! We are the coordinator, the instance is theirs: one machine for all its life.
//!
//! It comes up as a successor on a channel of its own, and from its readiness on it is reached by
//! its control socket, which it binds then. A session is kept open there, so that the coordinator
//! knows at any time whether it can be talked to.
//!
//! Their `ResumeAfterAbort` is not answered. What is: a heartbeat, once everything before it is
//! done. So one is sent right after, and its echo is the `Resumed` the coordinator waits for.

mod hearing;
mod saying;

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use super::{HELLO_WITHIN, HandoffId, Message, SILENCE};
use crate::identity::{Epoch, HandoverId, InstanceId, InstancePid};
use crate::instance::VERSIONS;
use crate::message::{FromInstance, Role, ToInstance};
use crate::moment::{Machine, Moment};

/// The lease of a daemon of theirs: a lock without a number.
const UNNUMBERED: Option<Epoch> = Some(Epoch(0));

/// How an instance came to be ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Birth {
    /// Started as a successor; its channel is open.
    Successor,
    /// Started where nobody served, as theirs are: without a channel. It takes its lock and binds
    /// its control socket by itself.
    Cold,
    /// Alive when the coordinator came.
    Found,
}

/// What a message of ours does not say and one of theirs does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Aside {
    /// The successor's process id.
    pub successor: u32,
    /// The last revision of each shard as the incumbent sealed it; empty if it named none.
    pub revisions: Vec<u64>,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// It said something on its present channel.
    Heard(Message),
    /// The coordinator says something.
    Say {
        /// What.
        message: ToInstance,
        /// What theirs says besides.
        aside: Aside,
    },
    /// Its control socket was connected to, as asked by [`Effect::Connect`].
    Connected,
    /// Its present channel broke.
    Closed,
    /// Time has passed.
    Tick,
}

/// What is to be done, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Send this on its present channel.
    Send(Message),
    /// Tell the coordinator.
    Tell(FromInstance),
    /// Drop the present channel, and try to connect to its control socket until it succeeds.
    Connect,
    /// Tell the coordinator that its channel broke.
    Lost,
    /// Keep the revisions of this seal for the successor's [`Aside`].
    Sealed {
        /// Of each shard.
        revisions: Vec<u64>,
        /// Of the data directory; compared with nothing.
        fingerprint: [u8; 32],
    },
    /// Ask it to end by its stop signal: theirs has no word for it.
    Terminate,
}

/// A step whose hook runs on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Hook {
    /// The attempt.
    id: HandoverId,
    /// Dead from then on, unless it is heard of.
    silent: Moment,
    /// No heartbeat keeps it alive past this.
    until: Moment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    /// Has to greet on its own channel.
    Greeting {
        deadline: Moment,
    },
    /// Greeted; the coordinator looks at it.
    Greeted,
    /// Waits for its turn. Theirs does nothing meanwhile.
    Warm,
    /// Takes the lock and opens its state.
    Begun {
        hook: Hook,
    },
    /// Started cold; serves as soon as its control socket answers.
    Cold,
    /// Started cold, and serves before it was told to.
    Early,
    /// Alive when the coordinator came.
    Found,
    Serving,
    Draining {
        hook: Hook,
    },
    Drained {
        hook: Hook,
    },
    Sealing {
        hook: Hook,
    },
    /// Its lock is free.
    Sealed {
        id: HandoverId,
    },
    /// It could not seal, and resumes by itself.
    Unsealed {
        id: HandoverId,
    },
    /// A hook runs whose result is no longer wanted.
    Undoing {
        hook: Hook,
    },
    /// Told to resume; the echo of a heartbeat is awaited.
    Resuming {
        id: HandoverId,
    },
    /// On its way out.
    Leaving,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Session {
    /// On the channel it was started with, or none.
    Own,
    /// Its control socket is being knocked at. `lost`: until then the coordinator need not know.
    Seeking {
        lost: Option<Moment>,
    },
    /// Connected; it has to greet.
    Greeting {
        deadline: Moment,
        lost: Option<Moment>,
    },
    Open,
}

/// An instance of theirs under a coordinator of ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    instance: InstanceId,
    pid: u32,
    /// The attempt it was started in.
    attempt: HandoffId,
    /// Names of the listeners it was given.
    listeners: Vec<String>,
    /// A whole handover at most; theirs is told.
    overall: Duration,
    state: State,
    session: Session,
    /// Revisions a successor must have.
    sealed: Vec<u64>,
    /// Asked for before its session was open.
    held: Option<(HandoverId, u64, u32)>,
    effects: VecDeque<Effect>,
}

impl Peer {
    /// An instance with this process id. `attempt` is the attempt it was started in, `overall`
    /// the most a handover may take, of which their incumbent is told.
    #[must_use]
    pub fn new(
        now: Moment,
        birth: Birth,
        instance: InstanceId,
        pid: InstancePid,
        attempt: HandoverId,
        overall: Duration,
    ) -> Self {
        let mut effects = VecDeque::new();
        let (state, session) = match birth {
            Birth::Successor => {
                let deadline = now + HELLO_WITHIN;
                (State::Greeting { deadline }, Session::Own)
            }
            Birth::Cold | Birth::Found => {
                effects.push_back(Effect::Connect);
                let state = if birth == Birth::Cold {
                    State::Cold
                } else {
                    State::Found
                };
                (state, Session::Seeking { lost: None })
            }
        };
        Self {
            instance,
            pid: pid.0,
            attempt: HandoffId::of(attempt),
            listeners: Vec::new(),
            overall,
            state,
            session,
            sealed: Vec::new(),
            held: None,
            effects,
        }
    }

    /// Names the listeners it is given; theirs does not say which of them it uses.
    #[must_use]
    pub fn with_listeners(mut self, names: Vec<String>) -> Self {
        self.listeners = names;
        self
    }

    fn push(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    fn send(&mut self, message: Message) {
        self.push(Effect::Send(message));
    }

    fn tell(&mut self, message: FromInstance) {
        self.push(Effect::Tell(message));
    }

    fn hello(&mut self, role: Role) {
        let lease = match role {
            Role::Incumbent => UNNUMBERED,
            Role::Successor => None,
        };
        self.tell(FromInstance::Hello {
            instance: self.instance,
            pid: InstancePid(self.pid),
            role,
            oldest: *VERSIONS.start(),
            newest: *VERSIONS.end(),
            lease,
        });
    }

    fn hook(&self, id: HandoverId, now: Moment) -> Hook {
        Hook {
            id,
            silent: now + SILENCE,
            until: now + self.overall,
        }
    }

    /// It was heard of while its hook runs: its step may go on.
    fn alive(&mut self, hook: Hook, now: Moment) -> Hook {
        let left = hook.until.since(now).min(SILENCE);
        if !left.is_zero() {
            let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            self.tell(FromInstance::Extend { millis });
        }
        Hook {
            silent: now + SILENCE,
            ..hook
        }
    }

    fn fail(&mut self, reason: String) -> State {
        self.tell(FromInstance::Failed { reason });
        State::Leaving
    }

    /// Its channel is of no use any more. One that serves, or will again by itself, is looked for.
    fn lose(&mut self) -> State {
        let known = !matches!(
            self.session,
            Session::Seeking { lost: None } | Session::Greeting { lost: None, .. }
        );
        self.session = Session::Seeking { lost: None };
        self.held = None;
        match self.state {
            State::Greeting { .. }
            | State::Greeted
            | State::Warm
            | State::Begun { .. }
            | State::Early => {
                self.session = Session::Own;
                self.push(Effect::Lost);
                State::Leaving
            }
            State::Leaving => State::Leaving,
            state @ (State::Cold | State::Found) => {
                self.push(Effect::Connect);
                state
            }
            // It resumes by itself, and speaks again when it has.
            State::Serving
            | State::Draining { .. }
            | State::Drained { .. }
            | State::Sealing { .. }
            | State::Sealed { .. }
            | State::Unsealed { .. }
            | State::Undoing { .. }
            | State::Resuming { .. } => {
                if known {
                    self.push(Effect::Lost);
                }
                self.push(Effect::Connect);
                State::Serving
            }
        }
    }

    /// It serves, and binds its control socket.
    fn seek(&mut self, now: Moment) -> State {
        self.push(Effect::Connect);
        self.session = Session::Seeking {
            lost: Some(now + HELLO_WITHIN),
        };
        State::Serving
    }

    fn connected(&mut self, now: Moment) {
        if let Session::Seeking { lost } = self.session {
            self.session = Session::Greeting {
                deadline: now + HELLO_WITHIN,
                lost,
            };
        }
    }

    fn tick(&mut self, now: Moment) -> State {
        match &mut self.session {
            Session::Seeking { lost } | Session::Greeting { lost, .. }
                if lost.is_some_and(|at| now >= at) =>
            {
                *lost = None;
                self.held = None;
                self.push(Effect::Lost);
            }
            Session::Own | Session::Seeking { .. } | Session::Greeting { .. } | Session::Open => {}
        }
        if let Session::Greeting { deadline, lost } = self.session
            && now >= deadline
        {
            // Busy with somebody else's session, or stuck.
            self.session = Session::Seeking { lost };
            self.push(Effect::Connect);
        }
        match self.state {
            State::Greeting { deadline } if now >= deadline => self.fail(alloc::format!(
                "it has not greeted within {HELLO_WITHIN:?} on HANDOFF_SOCK_FD"
            )),
            State::Begun { hook } if now >= hook.silent => self.fail(alloc::format!(
                "it was silent for {SILENCE:?} after Begin; start_heartbeats() keeps a slow start alive"
            )),
            State::Draining { hook } | State::Sealing { hook } | State::Undoing { hook }
                if now >= hook.silent =>
            {
                self.lose()
            }
            state => state,
        }
    }
}

impl Machine for Peer {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Moment, input: Input) {
        self.state = match input {
            Input::Heard(message) => self.heard(now, message),
            Input::Say { message, aside } => self.say(now, message, aside),
            Input::Connected => {
                self.connected(now);
                self.state
            }
            Input::Closed => self.closed(),
            Input::Tick => self.tick(now),
        };
    }

    fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn next_deadline(&self) -> Option<Moment> {
        let of_session = match self.session {
            Session::Own | Session::Open => None,
            Session::Seeking { lost } => lost,
            Session::Greeting { deadline, lost } => {
                Some(lost.map_or(deadline, |lost| lost.min(deadline)))
            }
        };
        let of_state = match self.state {
            State::Greeting { deadline } => Some(deadline),
            State::Begun { hook }
            | State::Draining { hook }
            | State::Sealing { hook }
            | State::Undoing { hook } => Some(hook.silent),
            State::Greeted
            | State::Warm
            | State::Cold
            | State::Early
            | State::Found
            | State::Serving
            | State::Drained { .. }
            | State::Sealed { .. }
            | State::Unsealed { .. }
            | State::Resuming { .. }
            | State::Leaving => None,
        };
        of_session.into_iter().chain(of_state).min()
    }
}

impl Peer {
    fn closed(&mut self) -> State {
        match mem::replace(&mut self.session, Session::Own) {
            // The end of a channel that was given up already.
            session @ Session::Seeking { .. } => {
                self.session = session;
                self.state
            }
            // The path's last owner let the connection fall; the next one is knocked at.
            Session::Greeting { lost, .. } => {
                self.session = Session::Seeking { lost };
                self.push(Effect::Connect);
                self.state
            }
            session @ (Session::Own | Session::Open) => {
                self.session = session;
                self.lose()
            }
        }
    }
}
