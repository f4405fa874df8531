//! Whoever decides: the supervisor's machine.
//!
//! One state at a time, each owning what is valid in it; leavers (instances on their way out) are
//! beside the state, since any number of them may drain while the next attempt runs.
//!
//! The driver's part of the contract: effects are executed strictly in order; `Spawn` is answered
//! by `Spawned` or `SpawnFailed` before any other input; a `Record` that fails is answered by
//! `RecordFailed` before the next effect.

mod core;
mod effect;
mod exclusive;
mod input;
mod leaving;
mod member;
mod probation;
mod recovering;
mod rollback;
mod serving;
mod stopping;
mod undo;
mod vacant;
mod warming;

use alloc::vec::Vec;

use crate::identity::{CandidateId, Generation, HandoverId, InstanceId, RequestId};
use crate::journal::Recovery;
use crate::message::FromInstance;
use crate::moment::{Machine, Moment};
use crate::phase::Phase;
use crate::settings::Settings;

pub use self::effect::{Effect, Signal};
pub use self::input::Input;
pub use self::member::{Link, Member};

use self::core::Core;
use self::exclusive::Handing;
use self::probation::Probation;
use self::recovering::Recovering;
use self::rollback::{Aborting, Resuming};
use self::serving::Serving;
use self::vacant::Vacant;
use self::warming::Warming;

/// One attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Attempt {
    id: HandoverId,
    request: Option<RequestId>,
    started: Moment,
    /// Since when nobody may write; exclusive mode only.
    dark_since: Option<Moment>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    Recovering(Recovering),
    Vacant(Vacant),
    Serving(Serving),
    Warming(Warming),
    Handing(Handing),
    Aborting(Aborting),
    Resuming(Resuming),
    Probation(Probation),
    Stopping { code: u8 },
    Stopped,
}

/// The coordinator of one service, for as long as its supervisor lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Coordinator {
    core: Core,
    state: State,
}

impl Coordinator {
    /// A coordinator of a service that has never run; starts `candidate` at once.
    /// `incarnation` makes its attempts distinct from those of any earlier coordinator.
    #[must_use]
    pub fn new(now: Moment, settings: Settings, incarnation: u32, candidate: CandidateId) -> Self {
        let mut core = Core::new(settings, incarnation, candidate);
        let state = core.begin(now, candidate, None, None);
        Self { core, state }
    }

    /// A coordinator that goes on from what another one left behind.
    #[must_use]
    pub fn recovered(now: Moment, settings: Settings, incarnation: u32, found: Recovery) -> Self {
        let mut core = Core::new(settings, incarnation, found.current);
        core.restore(&found);
        let state = recovering::settle(&mut core, now, found);
        Self { core, state }
    }

    /// The state's name, for state tables.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        match &self.state {
            State::Recovering(_) => "Recovering",
            State::Vacant(_) => "Vacant",
            State::Serving(_) => "Serving",
            State::Warming(_) => "Warming",
            State::Handing(handing) => handing.name(),
            State::Aborting(_) => "Aborting",
            State::Resuming(_) => "Resuming",
            State::Probation(_) => "Probation",
            State::Stopping { .. } => "Stopping",
            State::Stopped => "Stopped",
        }
    }

    /// Where the running attempt stands, or that none runs.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match &self.state {
            State::Recovering(_) | State::Resuming(_) => Phase::Resume,
            State::Vacant(_) => Phase::Vacant,
            State::Serving(_) => Phase::Serving,
            State::Warming(_) => Phase::Warm,
            State::Handing(handing) => handing.phase(),
            State::Aborting(_) => Phase::Abort,
            State::Probation(_) => Phase::Probation,
            State::Stopping { .. } | State::Stopped => Phase::Stop,
        }
    }

    /// The instance that serves, as far as the coordinator knows.
    #[must_use]
    pub fn incumbent(&self) -> Option<Member> {
        match &self.state {
            State::Serving(state) => Some(state.incumbent),
            State::Warming(state) => state.incumbent,
            State::Handing(state) => state.incumbent,
            State::Aborting(state) => state.incumbent,
            State::Resuming(state) => Some(state.incumbent),
            State::Probation(state) => Some(state.incumbent),
            State::Recovering(_) | State::Vacant(_) | State::Stopping { .. } | State::Stopped => {
                None
            }
        }
    }

    /// The instance that will serve, if an attempt runs.
    #[must_use]
    pub fn successor(&self) -> Option<Member> {
        match &self.state {
            State::Warming(state) => Some(state.successor),
            State::Handing(state) => Some(state.successor),
            State::Aborting(state) => Some(state.successor),
            State::Recovering(_)
            | State::Vacant(_)
            | State::Serving(_)
            | State::Resuming(_)
            | State::Probation(_)
            | State::Stopping { .. }
            | State::Stopped => None,
        }
    }

    /// The instance that is kept able to take back. While it does so on request it is the
    /// [`successor`](Self::successor).
    #[must_use]
    pub fn parked(&self) -> Option<Member> {
        match &self.state {
            State::Probation(state) => Some(state.parked),
            State::Resuming(state) => state.parked.map(|parked| parked.member),
            State::Recovering(_)
            | State::Vacant(_)
            | State::Serving(_)
            | State::Warming(_)
            | State::Handing(_)
            | State::Aborting(_)
            | State::Stopping { .. }
            | State::Stopped => None,
        }
    }

    /// Those on their way out, oldest first, and last the parked instance.
    #[must_use]
    pub fn leaving(&self) -> Vec<Member> {
        self.core.leaving.members().chain(self.parked()).collect()
    }

    /// Every process it is responsible for.
    pub fn known(&self) -> impl Iterator<Item = Member> {
        let awaited = match &self.state {
            State::Recovering(state) => state.candidates.clone(),
            _ => Vec::new(),
        };
        let leaving = self.leaving().into_iter();
        awaited
            .into_iter()
            .chain(self.incumbent())
            .chain(self.successor())
            .chain(leaving)
    }

    /// Whether an instance greeted on a native channel.
    #[must_use]
    pub fn is_native(&self, instance: InstanceId) -> bool {
        self.known()
            .any(|member| member.instance == instance && member.link != Link::Silent)
    }

    /// What the waiting request wants to run.
    #[must_use]
    pub fn waiting(&self) -> Option<CandidateId> {
        self.core.queued.map(core::Queued::candidate)
    }

    /// The running attempt and when it began.
    #[must_use]
    pub fn attempt(&self) -> Option<(HandoverId, Moment)> {
        let attempt = match &self.state {
            State::Warming(state) => Some(state.attempt),
            State::Handing(state) => Some(state.attempt),
            State::Aborting(state) => Some(state.attempt),
            State::Resuming(state) => state.attempt,
            State::Recovering(_)
            | State::Vacant(_)
            | State::Serving(_)
            | State::Probation(_)
            | State::Stopping { .. }
            | State::Stopped => None,
        };
        attempt.map(|attempt| (attempt.id, attempt.started))
    }

    /// How many instances have been committed.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.core.generation
    }

    /// What the incumbent runs, or what is started next.
    #[must_use]
    pub fn current(&self) -> CandidateId {
        self.core.current
    }

    /// What ran before, if anything.
    #[must_use]
    pub fn previous(&self) -> Option<CandidateId> {
        self.core.previous
    }

    /// Whether a request waits.
    #[must_use]
    pub fn queued(&self) -> bool {
        self.core.queued.is_some()
    }

    /// Whether another instance was committed and `host` told to go. A coordinator that runs inside
    /// `host` ends then: its driver says what is left to say and closes all channels, and the new
    /// incumbent coordinates itself. While it is parked in probation `host` still decides. Inside
    /// its incumbent a coordinator is not asked with [`crate::settings::WhenBusy::Queue`], nor in
    /// probation to supersede, so that nothing waits that it would have to begin then.
    #[must_use]
    pub fn is_succeeded(&self, host: InstanceId) -> bool {
        let told = self
            .core
            .leaving
            .members()
            .any(|member| member.instance == host);
        told && matches!(self.state, State::Serving(_))
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, State::Stopped)
    }

    /// Those whose channel decides something.
    fn linked_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        let of_state: Vec<&mut Member> = match &mut self.state {
            State::Recovering(state) => state.candidates.iter_mut().collect(),
            State::Serving(state) => Vec::from([&mut state.incumbent]),
            State::Warming(Warming {
                successor,
                incumbent,
                ..
            })
            | State::Handing(Handing {
                successor,
                incumbent,
                ..
            }) => incumbent.iter_mut().chain([successor]).collect(),
            State::Aborting(Aborting { incumbent, .. }) => incumbent.iter_mut().collect(),
            State::Resuming(Resuming {
                incumbent, parked, ..
            }) => {
                let parked = parked.iter_mut().map(|parked| &mut parked.member);
                parked.chain([incumbent]).collect()
            }
            State::Probation(state) => Vec::from([&mut state.incumbent, &mut state.parked]),
            State::Vacant(_) | State::Stopping { .. } | State::Stopped => Vec::new(),
        };
        of_state.into_iter()
    }

    /// Keeps the channel's state; the same in every state of the machine. Leavers were told.
    fn note_link(&mut self, input: &Input) {
        let (instance, link) = match input {
            Input::Said {
                instance,
                message: FromInstance::Hello { .. },
            } => (*instance, Link::Open),
            Input::Closed { instance } => (*instance, Link::Broken),
            _ => return,
        };
        if let Some(member) = self.linked_mut().find(|member| member.instance == instance) {
            member.link = link;
        }
    }
}

impl Machine for Coordinator {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Moment, input: Input) {
        self.note_link(&input);
        let Self { core, state } = self;
        if core.leaving.owns(&input) {
            core.leaver(&input);
            if let State::Stopping { code } = *state
                && core.leaving.is_empty()
            {
                *state = stopping::stopped(core, code);
            }
            return;
        }
        if matches!(input, Input::Tick) {
            core.leavers_tick(now);
        }
        let before = ::core::mem::replace(state, State::Stopped);
        *state = match before {
            State::Recovering(state) => state.handle(core, now, input),
            State::Vacant(state) => state.handle(core, now, input),
            State::Serving(state) => state.handle(core, now, input),
            State::Warming(state) => state.handle(core, now, input),
            State::Handing(state) => state.handle(core, now, input),
            State::Aborting(state) => state.handle(core, now, input),
            State::Resuming(state) => state.handle(core, now, input),
            State::Probation(state) => state.handle(core, now, input),
            State::Stopping { code } => stopping::stopping(core, now, code, input),
            State::Stopped => State::Stopped,
        };
    }

    fn poll_effect(&mut self) -> Option<Effect> {
        self.core.effects.pop_front()
    }

    fn next_deadline(&self) -> Option<Moment> {
        let of_state = match &self.state {
            State::Recovering(state) => Some(state.deadline),
            State::Vacant(state) => state.restart_at,
            State::Warming(state) => Some(state.deadline),
            State::Handing(state) => Some(state.deadline(&self.core.settings)),
            State::Resuming(state) => state.deadline,
            State::Probation(state) => Some(state.deadline),
            State::Serving(_) | State::Aborting(_) | State::Stopping { .. } | State::Stopped => {
                None
            }
        };
        of_state
            .into_iter()
            .chain(self.core.leaving.next_deadline())
            .min()
    }
}
