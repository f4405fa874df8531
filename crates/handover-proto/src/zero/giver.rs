//! Whoever serves: waits to be asked, gives, serves on for a while, goes.

use alloc::collections::VecDeque;

use super::{MOST_WAITING, REQUEST, SERVES_ON};
use crate::moment::Moment;

/// A connection, numbered by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

/// What can happen to a giver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GiverInput<'a> {
    /// Somebody connected.
    Connected {
        /// Whom.
        peer: PeerId,
        /// Whether it is of a user who may ask.
        may: bool,
    },
    /// One read returned; no bytes: the peer closed its end.
    Read {
        /// Whose.
        peer: PeerId,
        /// All of them.
        bytes: &'a [u8],
    },
    /// The answer went out.
    Sent {
        /// To whom.
        peer: PeerId,
    },
    /// The answer did not go out.
    NotSent {
        /// To whom.
        peer: PeerId,
    },
    /// The process that was given the socket has ended.
    Died {
        /// Which.
        peer: PeerId,
    },
    /// Time has passed.
    Tick,
}

/// What a giver wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GiverEffect {
    /// Close this connection.
    Close {
        /// Whose.
        peer: PeerId,
    },
    /// Send [`super::ANSWER`] with the listener's descriptor, in one message.
    Give {
        /// To whom.
        peer: PeerId,
    },
    /// Close the path's listener and remove the path, if it is still ours.
    Withdraw,
    /// Listen on the path again: the one that took over has died, and theirs would leave nobody.
    Renew,
    /// Drain and go: the other has had its time to come up.
    Retire,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    /// Those that have not spoken, oldest first.
    Listening {
        waiting: VecDeque<PeerId>,
    },
    Giving {
        to: PeerId,
        waiting: VecDeque<PeerId>,
    },
    ServingOn {
        taker: PeerId,
        until: Moment,
    },
    Retired,
}

/// The machine of a giver.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Giver {
    state: State,
    effects: VecDeque<GiverEffect>,
}

impl Default for Giver {
    fn default() -> Self {
        Self::new()
    }
}

impl Giver {
    /// A giver whose path is listened on.
    #[must_use]
    pub fn new() -> Self {
        let waiting = VecDeque::new();
        Self {
            state: State::Listening { waiting },
            effects: VecDeque::new(),
        }
    }

    /// Handles one input; see [`Machine::handle`](crate::moment::Machine::handle), which this is but for the borrowed bytes.
    pub fn handle(&mut self, now: Moment, input: GiverInput<'_>) {
        let Self { state, effects } = self;
        let before = core::mem::replace(state, State::Retired);
        *state = match before {
            State::Listening { waiting } => listening(effects, waiting, input),
            State::Giving { to, waiting } => giving(effects, now, to, waiting, input),
            State::ServingOn { taker, until } => serving_on(effects, now, taker, until, input),
            State::Retired => State::Retired,
        };
    }

    /// See [`Machine::poll_effect`](crate::moment::Machine::poll_effect).
    pub fn poll_effect(&mut self) -> Option<GiverEffect> {
        self.effects.pop_front()
    }

    /// See [`Machine::next_deadline`](crate::moment::Machine::next_deadline).
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        match self.state {
            State::ServingOn { until, .. } => Some(until),
            State::Listening { .. } | State::Giving { .. } | State::Retired => None,
        }
    }

    /// Whether the socket was given.
    #[must_use]
    pub fn has_given(&self) -> bool {
        match self.state {
            State::ServingOn { .. } | State::Retired => true,
            State::Listening { .. } | State::Giving { .. } => false,
        }
    }
}

type Effects = VecDeque<GiverEffect>;

fn admit(effects: &mut Effects, waiting: &mut VecDeque<PeerId>, peer: PeerId, may: bool) {
    if !may {
        effects.push_back(GiverEffect::Close { peer });
        return;
    }
    if waiting.len() >= MOST_WAITING
        && let Some(oldest) = waiting.pop_front()
    {
        effects.push_back(GiverEffect::Close { peer: oldest });
    }
    waiting.push_back(peer);
}

fn listening(effects: &mut Effects, mut waiting: VecDeque<PeerId>, input: GiverInput<'_>) -> State {
    match input {
        GiverInput::Connected { peer, may } => admit(effects, &mut waiting, peer, may),
        GiverInput::Read { peer, bytes } => {
            let known = waiting.len();
            waiting.retain(|waits| *waits != peer);
            if waiting.len() == known {
                // It was closed, and its words crossed that.
            } else if bytes == REQUEST {
                effects.push_back(GiverEffect::Give { peer });
                return State::Giving { to: peer, waiting };
            } else {
                effects.push_back(GiverEffect::Close { peer });
            }
        }
        GiverInput::Sent { .. }
        | GiverInput::NotSent { .. }
        | GiverInput::Died { .. }
        | GiverInput::Tick => {}
    }
    State::Listening { waiting }
}

fn giving(
    effects: &mut Effects,
    now: Moment,
    to: PeerId,
    mut waiting: VecDeque<PeerId>,
    input: GiverInput<'_>,
) -> State {
    match input {
        GiverInput::Sent { peer } if peer == to => {
            let late = waiting.into_iter();
            let closed = core::iter::once(to).chain(late);
            effects.extend(closed.map(|peer| GiverEffect::Close { peer }));
            effects.push_back(GiverEffect::Withdraw);
            let until = now + SERVES_ON;
            return State::ServingOn { taker: to, until };
        }
        // Theirs gives up its whole process here.
        GiverInput::NotSent { peer } if peer == to => {
            effects.push_back(GiverEffect::Close { peer });
            return State::Listening { waiting };
        }
        GiverInput::Connected { peer, may } => admit(effects, &mut waiting, peer, may),
        GiverInput::Read { peer, .. } if waiting.contains(&peer) => {
            waiting.retain(|waits| *waits != peer);
            effects.push_back(GiverEffect::Close { peer });
        }
        GiverInput::Sent { .. }
        | GiverInput::NotSent { .. }
        | GiverInput::Read { .. }
        | GiverInput::Died { .. }
        | GiverInput::Tick => {}
    }
    State::Giving { to, waiting }
}

fn serving_on(
    effects: &mut Effects,
    now: Moment,
    taker: PeerId,
    until: Moment,
    input: GiverInput<'_>,
) -> State {
    match input {
        GiverInput::Tick if now >= until => {
            effects.push_back(GiverEffect::Retire);
            return State::Retired;
        }
        GiverInput::Died { peer } if peer == taker => {
            effects.push_back(GiverEffect::Renew);
            let waiting = VecDeque::new();
            return State::Listening { waiting };
        }
        GiverInput::Connected { peer, .. } => effects.push_back(GiverEffect::Close { peer }),
        GiverInput::Read { .. }
        | GiverInput::Sent { .. }
        | GiverInput::NotSent { .. }
        | GiverInput::Died { .. }
        | GiverInput::Tick => {}
    }
    State::ServingOn { taker, until }
}
