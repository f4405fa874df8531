//! From greeting until ready.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use super::{
    Effect, Identity, Incumbent, Input, Promotion, RECLAIM_EVERY, RECLAIM_WITHIN, WELCOME_WITHIN,
};
use crate::identity::Epoch;
use crate::message::{FromInstance, Role, ToInstance};
use crate::moment::{Machine, Moment};
use crate::phase::Mode;

/// Where a successor's coordinator is, which says what it means that its channel closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Placement {
    /// A supervisor: the incumbent outlives it. A successor that nobody has asked to serve yet
    /// ends when there is an incumbent (I5).
    Supervisor,
    /// The incumbent itself: before a `Dismiss` it closes only by its end, so that the successor
    /// is all there is and goes on alone (I11). If the incumbent lives after all it holds the
    /// lease, and the successor ends.
    Incumbent,
}

/// What the coordinator's welcome said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Terms {
    /// Absent if it died before it: then the program says.
    mode: Option<Mode>,
    /// Whether somebody serves, so that giving up is safe.
    incumbent: bool,
    linked: bool,
}

impl Terms {
    /// Neither coordinator nor incumbent: the lease decides who serves.
    const fn alone(mode: Option<Mode>) -> Self {
        Self {
            mode,
            incumbent: false,
            linked: false,
        }
    }
}

/// How long to try for a lease that is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Patience {
    /// The next try; absent while one runs.
    retry: Option<Moment>,
    /// Gives up then; absent while a coordinator waits and decides.
    until: Option<Moment>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    /// Said hello; waits for the welcome.
    Greeting { deadline: Moment },
    /// The warm hook runs.
    Warming { terms: Terms },
    /// Exclusive: warm, waits for its turn.
    Warm { terms: Terms, claimed: Vec<String> },
    /// Exclusive: takes the lease. Somebody on its way out may hold it a little longer.
    Acquiring {
        terms: Terms,
        sealed: bool,
        claimed: Vec<String>,
        patience: Patience,
    },
    /// Exclusive: the activate hook runs under the lease.
    Activating {
        terms: Terms,
        lease: Epoch,
        claimed: Vec<String>,
    },
    /// Ready; becomes an incumbent.
    Ready(Promotion),
    /// Gone.
    Exited,
}

/// An instance that is not ready yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Successor {
    identity: Identity,
    placement: Placement,
    state: State,
    effects: VecDeque<Effect>,
}

impl Successor {
    /// A successor whose channel to the coordinator is open. Greets at once.
    #[must_use]
    pub fn new(now: Moment, identity: Identity, placement: Placement) -> Self {
        let mut effects = VecDeque::new();
        effects.push_back(Effect::Send(identity.hello(Role::Successor, None)));
        Self {
            identity,
            placement,
            state: State::Greeting {
                deadline: now + WELCOME_WITHIN,
            },
            effects,
        }
    }

    /// A successor without a coordinator: it was started by hand. Whoever holds the lease serves.
    #[must_use]
    pub fn alone(identity: Identity) -> Self {
        let terms = Terms::alone(Some(Mode::Exclusive));
        Self {
            identity,
            placement: Placement::Supervisor,
            state: State::Warming { terms },
            effects: VecDeque::from([Effect::Warm]),
        }
    }

    /// The state's name, for state tables.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        match self.state {
            State::Greeting { .. } => "Greeting",
            State::Warming { .. } => "Warming",
            State::Warm { .. } => "Warm",
            State::Acquiring { .. } => "Acquiring",
            State::Activating { .. } => "Activating",
            State::Ready(_) => "Ready",
            State::Exited => "Exited",
        }
    }

    /// The lease it may write under: its activate hook opens state for writing.
    #[must_use]
    pub fn may_write(&self) -> Option<Epoch> {
        match self.state {
            State::Activating { lease, .. } => Some(lease),
            State::Greeting { .. }
            | State::Warming { .. }
            | State::Warm { .. }
            | State::Acquiring { .. }
            | State::Ready(_)
            | State::Exited => None,
        }
    }

    /// The incumbent this successor became, with the effects it had not handed out.
    pub(crate) fn promote(&mut self) -> Option<Incumbent> {
        match self.state {
            State::Ready(promotion) => Some(Incumbent::promoted(
                self.identity,
                promotion,
                mem::take(&mut self.effects),
            )),
            _ => None,
        }
    }

    fn exit(&mut self, code: u8) -> State {
        self.effects.push_back(Effect::Exit { code });
        State::Exited
    }

    fn fail(&mut self, linked: bool, reason: String) -> State {
        if linked {
            self.effects
                .push_back(Effect::Send(FromInstance::Failed { reason }));
        }
        self.exit(1)
    }

    /// Whether somebody serves although the channel has closed, and nobody asked us to (I5).
    fn is_dispensable(&self, terms: Terms) -> bool {
        terms.incumbent && self.placement == Placement::Supervisor
    }

    /// Overlap: warm is ready. Exclusive: says so and waits for its turn.
    fn warmed(&mut self, terms: Terms, claimed: Vec<String>, mode: Mode, now: Moment) -> State {
        match terms.mode.unwrap_or(mode) {
            Mode::Overlap => self.ready(terms, None, claimed),
            Mode::Exclusive if terms.linked => {
                self.effects.push_back(Effect::Send(FromInstance::Warmed));
                State::Warm { terms, claimed }
            }
            // Nobody can tell it to activate and nobody else serves: the lease decides.
            Mode::Exclusive => self.acquire(terms, false, claimed, Some(now + RECLAIM_WITHIN)),
        }
    }

    fn acquire(
        &mut self,
        terms: Terms,
        sealed: bool,
        claimed: Vec<String>,
        until: Option<Moment>,
    ) -> State {
        self.effects.push_back(Effect::Acquire);
        State::Acquiring {
            terms,
            sealed,
            claimed,
            patience: Patience { retry: None, until },
        }
    }

    fn ready(&mut self, terms: Terms, lease: Option<Epoch>, claimed: Vec<String>) -> State {
        if terms.linked {
            self.effects
                .push_back(Effect::Send(FromInstance::Ready { claimed, lease }));
        } else {
            // Nobody is left who could commit it.
            self.effects.push_back(Effect::Committed);
            self.effects.push_back(Effect::Reconnect);
        }
        State::Ready(Promotion {
            lease,
            linked: terms.linked,
            placement: self.placement,
        })
    }

    fn greeting(&mut self, deadline: Moment, now: Moment, input: Input) -> State {
        match input {
            Input::Said(ToInstance::Welcome {
                mode, incumbent, ..
            }) => {
                self.effects.push_back(Effect::Warm);
                State::Warming {
                    terms: Terms {
                        mode: Some(mode),
                        incumbent,
                        linked: true,
                    },
                }
            }
            Input::Closed if self.placement == Placement::Incumbent => {
                self.effects.push_back(Effect::Warm);
                let terms = Terms::alone(None);
                State::Warming { terms }
            }
            Input::Closed | Input::Said(ToInstance::Dismiss { .. }) => self.exit(1),
            Input::Terminate | Input::Said(ToInstance::Retire { .. }) => self.exit(0),
            Input::Failed { reason } => self.fail(true, reason),
            Input::Tick if now >= deadline => self.exit(1),
            Input::Tick
            | Input::Said(_)
            | Input::Connected
            | Input::Warmed { .. }
            | Input::LeaseAcquired { .. }
            | Input::LeaseBusy
            | Input::Activated
            | Input::Drained { .. }
            | Input::Sealed
            | Input::SealFailed { .. }
            | Input::Resumed
            | Input::Retired { .. } => State::Greeting { deadline },
        }
    }

    fn warming(&mut self, terms: Terms, now: Moment, input: Input) -> State {
        match input {
            Input::Warmed { claimed, mode } => self.warmed(terms, claimed, mode, now),
            Input::Failed { reason } => self.fail(terms.linked, reason),
            Input::Closed if self.is_dispensable(terms) => self.exit(1),
            Input::Closed => State::Warming {
                terms: Terms::alone(terms.mode),
            },
            Input::Said(ToInstance::Dismiss { .. }) => self.exit(1),
            Input::Terminate | Input::Said(ToInstance::Retire { .. }) => self.exit(0),
            Input::Said(_)
            | Input::Connected
            | Input::LeaseAcquired { .. }
            | Input::LeaseBusy
            | Input::Activated
            | Input::Drained { .. }
            | Input::Sealed
            | Input::SealFailed { .. }
            | Input::Resumed
            | Input::Retired { .. }
            | Input::Tick => State::Warming { terms },
        }
    }

    fn warm(&mut self, terms: Terms, claimed: Vec<String>, now: Moment, input: Input) -> State {
        match input {
            Input::Said(ToInstance::Activate { sealed, .. }) => {
                self.acquire(terms, sealed, claimed, None)
            }
            Input::Closed if self.is_dispensable(terms) => self.exit(1),
            Input::Closed => {
                let terms = Terms::alone(terms.mode);
                self.acquire(terms, false, claimed, Some(now + RECLAIM_WITHIN))
            }
            Input::Said(ToInstance::Dismiss { .. }) => self.exit(1),
            Input::Failed { reason } => self.fail(terms.linked, reason),
            Input::Terminate | Input::Said(ToInstance::Retire { .. }) => self.exit(0),
            Input::Said(_)
            | Input::Connected
            | Input::Warmed { .. }
            | Input::LeaseAcquired { .. }
            | Input::LeaseBusy
            | Input::Activated
            | Input::Drained { .. }
            | Input::Sealed
            | Input::SealFailed { .. }
            | Input::Resumed
            | Input::Retired { .. }
            | Input::Tick => State::Warm { terms, claimed },
        }
    }

    fn acquiring(
        &mut self,
        terms: Terms,
        sealed: bool,
        claimed: Vec<String>,
        patience: Patience,
        now: Moment,
        input: Input,
    ) -> State {
        let Patience { retry, until } = patience;
        match input {
            Input::LeaseAcquired { epoch } => {
                self.effects.push_back(Effect::Activate {
                    lease: epoch,
                    sealed,
                });
                State::Activating {
                    terms,
                    lease: epoch,
                    claimed,
                }
            }
            // Without a coordinator: whoever holds it serves, or will.
            Input::LeaseBusy if until.is_some_and(|until| now >= until) => self.exit(1),
            Input::LeaseBusy => {
                let at = now + RECLAIM_EVERY;
                let retry = Some(until.map_or(at, |until| at.min(until)));
                State::Acquiring {
                    terms,
                    sealed,
                    claimed,
                    patience: Patience { retry, until },
                }
            }
            Input::Tick if retry.is_some_and(|at| now >= at) => {
                self.acquire(terms, sealed, claimed, until)
            }
            Input::Failed { reason } => self.fail(terms.linked, reason),
            // It was told to activate: from here the lease decides, not the coordinator (I11).
            Input::Closed => {
                let terms = Terms::alone(terms.mode);
                let until = until.or(Some(now + RECLAIM_WITHIN));
                State::Acquiring {
                    terms,
                    sealed,
                    claimed,
                    patience: Patience { retry, until },
                }
            }
            Input::Said(ToInstance::Dismiss { .. }) => self.exit(1),
            Input::Terminate | Input::Said(ToInstance::Retire { .. }) => self.exit(0),
            Input::Said(_)
            | Input::Connected
            | Input::Warmed { .. }
            | Input::Activated
            | Input::Drained { .. }
            | Input::Sealed
            | Input::SealFailed { .. }
            | Input::Resumed
            | Input::Retired { .. }
            | Input::Tick => State::Acquiring {
                terms,
                sealed,
                claimed,
                patience,
            },
        }
    }

    fn activating(
        &mut self,
        terms: Terms,
        lease: Epoch,
        claimed: Vec<String>,
        input: Input,
    ) -> State {
        match input {
            Input::Activated => self.ready(terms, Some(lease), claimed),
            Input::Failed { reason } => self.fail(terms.linked, reason),
            Input::Closed => State::Activating {
                terms: Terms::alone(terms.mode),
                lease,
                claimed,
            },
            Input::Said(ToInstance::Dismiss { .. }) => self.exit(1),
            Input::Terminate | Input::Said(ToInstance::Retire { .. }) => self.exit(0),
            Input::Said(_)
            | Input::Connected
            | Input::Warmed { .. }
            | Input::LeaseAcquired { .. }
            | Input::LeaseBusy
            | Input::Drained { .. }
            | Input::Sealed
            | Input::SealFailed { .. }
            | Input::Resumed
            | Input::Retired { .. }
            | Input::Tick => State::Activating {
                terms,
                lease,
                claimed,
            },
        }
    }
}

impl Machine for Successor {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Moment, input: Input) {
        self.state = match mem::replace(&mut self.state, State::Exited) {
            State::Greeting { deadline } => self.greeting(deadline, now, input),
            State::Warming { terms } => self.warming(terms, now, input),
            State::Warm { terms, claimed } => self.warm(terms, claimed, now, input),
            State::Acquiring {
                terms,
                sealed,
                claimed,
                patience,
            } => self.acquiring(terms, sealed, claimed, patience, now, input),
            State::Activating {
                terms,
                lease,
                claimed,
            } => self.activating(terms, lease, claimed, input),
            State::Ready(promotion) => State::Ready(promotion),
            State::Exited => State::Exited,
        };
    }

    fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn next_deadline(&self) -> Option<Moment> {
        match self.state {
            State::Greeting { deadline } => Some(deadline),
            State::Acquiring { patience, .. } => patience.retry,
            State::Warming { .. }
            | State::Warm { .. }
            | State::Activating { .. }
            | State::Ready(_)
            | State::Exited => None,
        }
    }
}
