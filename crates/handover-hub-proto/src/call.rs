//! The caller's side of one call: it finds the process wherever it is.
//!
//! A [`Call`] is sent to the host that the registry names. When that host says that the process is
//! elsewhere, or that it has too much to do, or when the connection to it breaks, or the registry
//! names another one, the call is sent again, under the same number, until it is answered or its time
//! is over. The process recognises it (H4). [`Ledger`] numbers the calls of a node and knows the floor
//! for each process.

mod ledger;

use core::time::Duration;

use alloc::collections::VecDeque;
use handover_proto::moment::{Machine, Moment};

pub use self::ledger::Ledger;
use crate::identity::{Epoch, NodeId};
use crate::mailbox::Refusal;
use crate::row::Host;

/// How calls are sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// The first pause before a call is sent to a host that refused it, or looked up again. Doubles
    /// each time.
    pub least_pause: Duration,
    /// The longest such pause.
    pub most_pause: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            least_pause: Duration::from_millis(1),
            most_pause: Duration::from_millis(200),
        }
    }
}

/// What can happen to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// What the registry says: after [`Effect::LookUp`], and whenever the row of the process changes.
    /// Nothing if it has no row. A row without a host has no `Host`.
    Row(Option<Option<Host>>),
    /// It was answered. The answer itself is the driver's.
    Answered,
    /// A host says that the process is elsewhere.
    Redirected {
        /// Who says so.
        from: NodeId,
        /// Where it is.
        to: NodeId,
        /// Under which epoch.
        epoch: Epoch,
    },
    /// A host did not take it.
    Refused {
        /// Who says so.
        from: NodeId,
        /// Why.
        why: Refusal,
    },
    /// The connection to a node broke, or it cannot be reached.
    Disconnected(NodeId),
    /// Time has passed.
    Tick,
}

/// What a call wants done, strictly in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Say what the registry has now: [`Input::Row`].
    LookUp,
    /// Send it, with the floor as it is now.
    Send {
        /// To whom, which may be this node.
        to: NodeId,
        /// Under which epoch the process is believed to run there.
        epoch: Epoch,
    },
    /// It is over. Nothing follows.
    Finish(Outcome),
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was answered.
    Answered,
    /// No process has that id.
    Unknown,
    /// No answer came in time. It may have been applied; it will be at most once.
    TimedOut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    /// The registry was asked.
    Looking,
    /// It was sent there.
    Asked(Host),
    /// It waits until then, and looks again, unless the registry says something new before. `than`:
    /// who refused it.
    Pausing { until: Moment, than: Option<Host> },
    /// Over.
    Ended,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    settings: Settings,
    deadline: Moment,
    pause: Duration,
    state: State,
    effects: VecDeque<Effect>,
}

impl Call {
    /// Begins with a look at the registry.
    #[must_use]
    pub fn new(deadline: Moment, settings: Settings) -> Self {
        Self {
            settings,
            deadline,
            pause: settings.least_pause,
            state: State::Looking,
            effects: VecDeque::from([Effect::LookUp]),
        }
    }

    fn send(&mut self, to: Host) {
        self.state = State::Asked(to);
        let (to, epoch) = (to.node, to.epoch);
        self.effects.push_back(Effect::Send { to, epoch });
    }

    fn wait(&mut self, now: Moment, than: Option<Host>) {
        let until = now + self.pause;
        self.pause = (self.pause * 2).min(self.settings.most_pause);
        self.state = State::Pausing { until, than };
    }

    fn look(&mut self) {
        self.state = State::Looking;
        self.effects.push_back(Effect::LookUp);
    }

    fn finish(&mut self, outcome: Outcome) {
        self.state = State::Ended;
        self.effects.push_back(Effect::Finish(outcome));
    }

    fn row(&mut self, now: Moment, row: Option<Option<Host>>) {
        match (self.state, row) {
            (State::Ended, _) => {}
            (State::Looking | State::Pausing { .. } | State::Asked(_), None) => {
                self.finish(Outcome::Unknown);
            }
            (State::Looking, Some(Some(host))) => self.send(host),
            (State::Looking, Some(None)) => self.wait(now, None),
            (State::Asked(asked), Some(Some(host))) if host.epoch > asked.epoch => self.send(host),
            (State::Pausing { than, .. }, Some(Some(host))) => {
                // The same one would refuse it again: its pause goes on.
                if than.is_none_or(|than| host.epoch > than.epoch) {
                    self.send(host);
                }
            }
            // An older row, or none yet: what is under way may be right.
            (State::Asked(_), Some(_)) | (State::Pausing { .. }, Some(None)) => {}
        }
    }

    fn redirected(&mut self, now: Moment, from: NodeId, to: NodeId, epoch: Epoch) {
        let State::Asked(asked) = self.state else {
            return;
        };
        if asked.node != from {
            return;
        }
        if epoch > asked.epoch {
            let host = Host {
                node: to,
                epoch,
                role: asked.role,
                filled: true,
            };
            self.send(host);
        } else {
            // It knows less than the registry here: nobody is sent in circles.
            self.wait(now, Some(asked));
        }
    }

    fn tick(&mut self, now: Moment) {
        if now >= self.deadline && self.state != State::Ended {
            return self.finish(Outcome::TimedOut);
        }
        match self.state {
            State::Pausing { until, .. } if now >= until => self.look(),
            State::Pausing { .. } | State::Looking | State::Asked(_) | State::Ended => {}
        }
    }
}

impl Machine for Call {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Moment, input: Input) {
        match input {
            Input::Row(row) => self.row(now, row),
            Input::Answered if self.state != State::Ended => self.finish(Outcome::Answered),
            Input::Answered => {}
            Input::Redirected { from, to, epoch } => self.redirected(now, from, to, epoch),
            Input::Refused { from, why: _ } | Input::Disconnected(from) => {
                if let State::Asked(asked) = self.state
                    && asked.node == from
                {
                    self.wait(now, Some(asked));
                }
            }
            Input::Tick => self.tick(now),
        }
    }

    fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn next_deadline(&self) -> Option<Moment> {
        match self.state {
            State::Looking | State::Asked(_) => Some(self.deadline),
            State::Pausing { until, .. } => Some(until.min(self.deadline)),
            State::Ended => None,
        }
    }
}

#[cfg(test)]
mod tests;
