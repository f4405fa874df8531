//! The home's side of one move: it decides alone.

mod deciding;

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;

use handover_proto::moment::{Machine, Moment};

use super::message::{Bid, Order, Purpose, Word};
use super::settings::Settings;
use crate::identity::{Epoch, MoveId, NodeId, ProcessId};
use crate::node::HostFailure;
use crate::row::{Host, Role};
use crate::spec::ChildSpec;

/// Epochs that one move may use up, from [`Plan::epoch`] on: the target's, the source's if it goes
/// on, the target's again if the source dies over that.
pub const GRANTS: u64 = 4;

/// One attempt, as its home plans it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// Names the attempt.
    pub attempt: MoveId,
    /// What moves.
    pub spec: Arc<ChildSpec>,
    /// Who runs it.
    pub source: Host,
    /// Who shall.
    pub target: NodeId,
    /// The first of [`GRANTS`] epochs that nobody else is given. Higher than the source's.
    pub epoch: Epoch,
    /// What for.
    pub purpose: Purpose,
    /// Its consent is not asked for.
    pub forced: bool,
    /// Its state outlives its host by a replica or a checkpoint, which is never older than what was
    /// acknowledged.
    pub kept: bool,
}

/// Why a process did not move.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reason {
    /// It asked to be moved later.
    #[error("it asked to be moved later")]
    Deferred,
    /// Its state was not at the target in time.
    #[error("its state was not at the target in time")]
    TimedOut,
    /// A party could not do its part.
    #[error("node {at} failed: {failure}")]
    Failed {
        /// Which.
        at: NodeId,
        /// How.
        failure: HostFailure,
    },
    /// A party is gone.
    #[error("node {0} is gone")]
    Gone(NodeId),
    /// Its home was told to end it.
    #[error("{0}")]
    Aborted(String),
    /// Its home is a new one, which found it on the way.
    #[error("its home changed on the way")]
    HomeChanged,
}

impl Reason {
    /// Whether another attempt would end alike.
    const fn is_final(&self) -> bool {
        let Self::Failed { failure, .. } = self else {
            return false;
        };
        matches!(
            failure,
            HostFailure::UnknownKind | HostFailure::Refused(_) | HostFailure::TooLarge { .. }
        )
    }
}

/// How a move ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The target serves.
    Moved(Host),
    /// The source serves. Its epoch is a new one if it had been asked to depart.
    Stayed {
        /// Who.
        host: Host,
        /// Why.
        reason: Reason,
    },
    /// The target serves as before, and what the source had is dropped. Only of a merge.
    Unmerged {
        /// Who.
        host: Host,
        /// Why.
        reason: Reason,
    },
    /// Source and target serve both, as before, and are to be merged later. Only of a merge.
    Apart {
        /// The source.
        host: Host,
        /// Why.
        reason: Reason,
    },
    /// Nobody serves: it is to be started again from what was kept of it.
    Lost(Reason),
}

/// What the registry must say from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// The target has it.
    Commit(Host),
    /// The source keeps it.
    Return(Host),
}

/// What can happen to a move.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// A party reports. What does not belong to this attempt is not given here.
    Heard {
        /// Who.
        from: NodeId,
        /// What.
        word: Word,
    },
    /// A node is no member any more, and has stopped.
    Gone(NodeId),
    /// The connection to a node broke; what was under way is lost.
    Disconnected(NodeId),
    /// It is its turn: the source may be told to freeze. After [`Effect::Ready`].
    Depart,
    /// It shall not take place, if that can be helped.
    Abort(String),
    /// Time has passed.
    Tick,
}

/// What a move wants done, strictly in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Change the registry, before anything else is done.
    Decide(Decision),
    /// Tell a party, which may be this node.
    Send {
        /// Whom.
        to: NodeId,
        /// What.
        order: Order,
    },
    /// The target is prepared, and the source serves still: [`Input::Depart`] when it is its turn,
    /// however late.
    Ready,
    /// It is over. Nothing follows.
    Finish(Outcome),
}

/// Where a move is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    /// The target prepares; the source serves and knows nothing.
    Preparing,
    /// The target waits for the state; the source serves until it is its turn.
    Ready,
    /// The source freezes and sends.
    Departing,
    /// The source is gone: has the target its state?
    Inquiring { reason: Reason },
    /// Decided for the target, which activates. The source is frozen.
    Landing { host: Host },
    /// The target serves; the source lets go. `without`: why the target did not get its state.
    Retiring { host: Host, without: Option<Reason> },
    /// Decided for the source, which goes on. The target may have the state still.
    Returning { host: Host, reason: Reason },
    /// Nothing is left to do.
    Ended,
}

/// One move, from its home's side.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Movement {
    plan: Plan,
    settings: Settings,
    deadline: Moment,
    /// When the last order is said again.
    repeat: Moment,
    granted: u64,
    source_gone: bool,
    target_gone: bool,
    state: State,
    effects: VecDeque<Effect>,
}

impl Movement {
    /// Begins a move. A process has one movement at a time.
    #[must_use]
    pub fn new(now: Moment, plan: Plan, settings: Settings) -> Self {
        let mut movement = Self::idle(now, plan, settings);
        movement.enter(now, State::Preparing);
        movement
    }

    /// Takes over a move whose source is frozen and goes on, nobody serving.
    #[must_use]
    pub fn returning(now: Moment, plan: Plan, settings: Settings) -> Self {
        let mut movement = Self::idle(now, plan, settings);
        movement.go_back(now, Reason::HomeChanged);
        movement
    }

    /// Takes over a move that was decided: this host begins to serve. Says so to the registry again.
    #[must_use]
    pub fn activating(now: Moment, plan: Plan, settings: Settings, host: Host) -> Self {
        let mut movement = Self::idle(now, plan, settings);
        movement
            .effects
            .push_back(Effect::Decide(Decision::Commit(host)));
        movement.enter(now, State::Landing { host });
        movement
    }

    /// Takes over a move whose source is gone; the target may have its state, nobody serving.
    #[must_use]
    pub fn inquiring(now: Moment, plan: Plan, settings: Settings) -> Self {
        let mut movement = Self::idle(now, plan, settings);
        movement.source_gone = true;
        let reason = Reason::Gone(movement.plan.source.node);
        movement.enter(now, State::Inquiring { reason });
        movement
    }

    fn idle(now: Moment, plan: Plan, settings: Settings) -> Self {
        Self {
            deadline: now + settings.timeout,
            repeat: now + settings.repeat,
            plan,
            settings,
            granted: 0,
            source_gone: false,
            target_gone: false,
            state: State::Ended,
            effects: VecDeque::new(),
        }
    }

    /// What was planned.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Which process.
    #[must_use]
    pub fn process(&self) -> &ProcessId {
        &self.plan.spec.id
    }

    /// Whether the target has it by now, served or about to.
    #[must_use]
    pub const fn is_decided(&self) -> bool {
        matches!(self.state, State::Landing { .. } | State::Retiring { .. })
    }

    /// Whether it waits for [`Input::Depart`].
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready)
    }

    fn grant(&mut self, node: NodeId) -> Host {
        let mut epoch = self.plan.epoch;
        epoch.grant += self.granted;
        self.granted += 1;
        Host {
            node,
            epoch,
            role: Role::Active,
            filled: true,
        }
    }

    fn enter(&mut self, now: Moment, state: State) {
        self.state = state;
        self.say(now);
    }

    /// Says what the present state wants done, to whom it concerns.
    fn say(&mut self, now: Moment) {
        self.repeat = now + self.settings.repeat;
        let Plan {
            source,
            target,
            epoch,
            ..
        } = self.plan;
        let (to, bid) = match &self.state {
            State::Preparing => {
                let spec = self.plan.spec.clone();
                let (from, purpose) = (source.node, self.plan.purpose);
                let bid = Bid::Prepare {
                    spec,
                    from,
                    epoch,
                    purpose,
                };
                (target, bid)
            }
            State::Departing => {
                let bid = Bid::Depart {
                    epoch: source.epoch,
                    to: target,
                    next: epoch,
                    forced: self.plan.forced,
                };
                (source.node, bid)
            }
            State::Inquiring { .. } => (target, Bid::Inquire),
            State::Landing { host } => {
                let latecomers = (!self.source_gone).then_some(source.node);
                let epoch = host.epoch;
                (target, Bid::Commit { epoch, latecomers })
            }
            State::Retiring { host, .. } => {
                let (to, epoch) = match self.plan.purpose {
                    // A copy that ran apart may have a later one than who serves.
                    Purpose::Merge { .. } => (host.node, host.epoch.max(epoch)),
                    _ => (host.node, host.epoch),
                };
                (source.node, Bid::Retire { to, epoch })
            }
            State::Returning { host, .. } => {
                let epoch = host.epoch;
                (source.node, Bid::Resume { epoch })
            }
            State::Ready | State::Ended => return,
        };
        self.send(to, bid);
    }

    fn send(&mut self, to: NodeId, bid: Bid) {
        let order = Order {
            process: self.plan.spec.id.clone(),
            attempt: self.plan.attempt,
            term: self.plan.epoch.term,
            bid,
        };
        self.effects.push_back(Effect::Send { to, order });
    }

    fn moved(&mut self, host: Host, without: Option<Reason>) {
        self.finish(match without {
            None => Outcome::Moved(host),
            Some(reason) => Outcome::Unmerged { host, reason },
        });
    }

    fn finish(&mut self, outcome: Outcome) {
        self.state = State::Ended;
        self.effects.push_back(Effect::Finish(outcome));
    }

    /// The target need not keep anything. A target that does not hear it asks by itself, later.
    fn discard(&mut self) {
        if !self.target_gone {
            self.send(self.plan.target, Bid::Discard);
        }
    }

    /// The source serves as before and was asked nothing.
    fn call_off(&mut self, reason: Reason) {
        self.discard();
        let host = self.plan.source;
        self.stayed(host, reason);
    }

    /// The source serves.
    fn stayed(&mut self, host: Host, reason: Reason) {
        self.finish(match self.other() {
            Some(_) => Outcome::Apart { host, reason },
            None => Outcome::Stayed { host, reason },
        });
    }

    /// Who serves beside the source: of a merge, as long as it is there.
    fn other(&self) -> Option<Host> {
        let Purpose::Merge { serves: epoch } = self.plan.purpose else {
            return None;
        };
        let (node, role) = (self.plan.target, Role::Active);
        let filled = true;
        (!self.target_gone).then_some(Host {
            node,
            epoch,
            role,
            filled,
        })
    }

    fn lose(&mut self, reason: Reason) {
        self.discard();
        self.finish(match self.other() {
            Some(host) => Outcome::Unmerged { host, reason },
            None => Outcome::Lost(reason),
        });
    }

    fn commit(&mut self, now: Moment) {
        let host = self.grant(self.plan.target);
        self.effects
            .push_back(Effect::Decide(Decision::Commit(host)));
        self.enter(now, State::Landing { host });
    }

    /// H5: the source goes on, under an epoch that no order of this attempt names. A copy beside
    /// another one that serves is dropped instead if it cannot be merged at all (H3).
    fn go_back(&mut self, now: Moment, reason: Reason) {
        if self.source_gone {
            return self.without_source(now, reason);
        }
        let other = self.other();
        if let Some(host) = other.filter(|_| reason.is_final()) {
            let without = Some(reason);
            return self.enter(now, State::Retiring { host, without });
        }
        let host = self.grant(self.plan.source.node);
        if other.is_none() {
            self.effects
                .push_back(Effect::Decide(Decision::Return(host)));
        }
        self.enter(now, State::Returning { host, reason });
    }

    /// The source is gone, or has nothing any more, before anybody else served.
    fn without_source(&mut self, now: Moment, reason: Reason) {
        self.source_gone = true;
        if self.target_gone {
            self.finish(Outcome::Lost(reason));
        } else {
            self.enter(now, State::Inquiring { reason });
        }
    }
}

impl Machine for Movement {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Moment, input: Input) {
        let (source, target) = (self.plan.source.node, self.plan.target);
        match input {
            Input::Heard { from, word } if from == source => self.heard_source(now, word),
            Input::Heard { from, word } if from == target => self.heard_target(now, word),
            Input::Gone(node) if node == source => self.source_gone(now),
            Input::Gone(node) if node == target => self.target_gone(now),
            Input::Disconnected(node) if self.addressee() == Some(node) => self.say(now),
            Input::Heard { .. } | Input::Gone(_) | Input::Disconnected(_) => {}
            Input::Depart => self.depart(now),
            Input::Abort(why) => self.abort(now, Reason::Aborted(why)),
            Input::Tick => self.tick(now),
        }
    }

    fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn next_deadline(&self) -> Option<Moment> {
        match self.state {
            State::Preparing | State::Departing => Some(self.repeat.min(self.deadline)),
            State::Inquiring { .. }
            | State::Landing { .. }
            | State::Retiring { .. }
            | State::Returning { .. } => Some(self.repeat),
            State::Ready | State::Ended => None,
        }
    }
}
