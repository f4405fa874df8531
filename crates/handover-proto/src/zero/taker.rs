//! Whoever will serve: holds a silent connection until its new version is ready, then asks.

use alloc::collections::VecDeque;

use super::{LOOKS_EVERY, REQUEST, SHOWS_WITHIN, SLOW_AFTER};
use crate::moment::{Machine, Moment};

/// What can happen to a taker that is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TakerInput {
    /// The new version serves: the incumbent may go.
    Relieve,
    /// There is no new version after all: the incumbent goes on.
    LetGo,
    /// One message came.
    Answered {
        /// How many bytes it had.
        bytes: usize,
        /// How many descriptors.
        descriptors: usize,
    },
    /// The connection ended.
    Closed,
    /// The incumbent's process ended.
    Gone,
    /// Somebody connected to the path, on `Look`.
    Looked {
        /// Whether a process listens there.
        served: bool,
    },
    /// Time has passed.
    Tick,
}

/// What a taker wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TakerEffect {
    /// Write these bytes, at once.
    Say {
        /// [`REQUEST`].
        bytes: [u8; 4],
    },
    /// Close the connection.
    HangUp,
    /// The descriptor that came is ours now, and the incumbent on its way out.
    Keep,
    /// Nothing was given and nothing will be: the incumbent closed the connection before it was
    /// asked. It serves on.
    TurnedAway,
    /// It was asked and has not answered for a while.
    Slow,
    /// Something came that is no answer of a giver's: whoever listens there is another program.
    NotAnAnswer {
        /// How many bytes it had.
        bytes: usize,
        /// How many descriptors; they are to be closed.
        descriptors: usize,
    },
    /// See whether a process listens at the path.
    Look,
    /// Another taker was first, and serves.
    Lost,
    /// The incumbent is gone, or going, and nobody else took over: the new version serves.
    Alone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    /// Connected, silent.
    Holding,
    Asked {
        slow_at: Moment,
    },
    /// The incumbent closed the connection unasked; the attempt may go on nevertheless.
    TurnedAway,
    /// It ended without an answer: another taker was first, or the incumbent died.
    Doubting {
        look_at: Moment,
        until: Moment,
    },
    Over,
}

/// The machine of a taker, from its connection to the one descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Taker {
    state: State,
    effects: VecDeque<TakerEffect>,
}

impl Default for Taker {
    fn default() -> Self {
        Self::new()
    }
}

impl Taker {
    /// A taker that is connected and has said nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::Holding,
            effects: VecDeque::new(),
        }
    }

    /// Whether nothing more will come of it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    fn push(&mut self, effect: TakerEffect) {
        self.effects.push_back(effect);
    }

    fn over(&mut self, effects: impl IntoIterator<Item = TakerEffect>) -> State {
        self.effects.extend(effects);
        State::Over
    }

    fn holding(&mut self, now: Moment, input: TakerInput) -> State {
        match input {
            TakerInput::Relieve => {
                self.push(TakerEffect::Say { bytes: REQUEST });
                let slow_at = now + SLOW_AFTER;
                State::Asked { slow_at }
            }
            TakerInput::LetGo => self.over([TakerEffect::HangUp]),
            TakerInput::Closed => {
                self.push(TakerEffect::HangUp);
                self.push(TakerEffect::TurnedAway);
                State::TurnedAway
            }
            TakerInput::Answered { bytes, descriptors } => {
                let effect = TakerEffect::NotAnAnswer { bytes, descriptors };
                self.over([effect, TakerEffect::HangUp])
            }
            TakerInput::Gone => self.over([TakerEffect::HangUp, TakerEffect::Alone]),
            TakerInput::Looked { .. } | TakerInput::Tick => State::Holding,
        }
    }

    /// The new version may have become ready at that very moment. Then whoever serves at the path is
    /// another taker.
    fn turned_away(&mut self, now: Moment, input: TakerInput) -> State {
        match input {
            TakerInput::Relieve => self.doubt(now),
            TakerInput::LetGo => State::Over,
            TakerInput::Gone
            | TakerInput::Answered { .. }
            | TakerInput::Closed
            | TakerInput::Looked { .. }
            | TakerInput::Tick => State::TurnedAway,
        }
    }

    fn doubt(&mut self, now: Moment) -> State {
        self.push(TakerEffect::Look);
        State::Doubting {
            look_at: now + LOOKS_EVERY,
            until: now + SHOWS_WITHIN,
        }
    }

    /// From here nothing is taken back: theirs that has read the request and cannot answer ends its
    /// process.
    fn asked(&mut self, now: Moment, slow_at: Moment, input: TakerInput) -> State {
        match input {
            TakerInput::Answered { descriptors: 1, .. } => {
                self.over([TakerEffect::Keep, TakerEffect::HangUp])
            }
            TakerInput::Answered { bytes, descriptors } => {
                let effect = TakerEffect::NotAnAnswer { bytes, descriptors };
                self.over([effect, TakerEffect::HangUp])
            }
            TakerInput::Closed => {
                self.push(TakerEffect::HangUp);
                self.doubt(now)
            }
            TakerInput::Gone => self.over([TakerEffect::HangUp, TakerEffect::Alone]),
            TakerInput::Tick if now >= slow_at => {
                self.push(TakerEffect::Slow);
                let slow_at = now + SLOW_AFTER;
                State::Asked { slow_at }
            }
            TakerInput::Tick
            | TakerInput::Relieve
            | TakerInput::LetGo
            | TakerInput::Looked { .. } => State::Asked { slow_at },
        }
    }

    fn doubting(
        &mut self,
        now: Moment,
        look_at: Moment,
        until: Moment,
        input: TakerInput,
    ) -> State {
        match input {
            TakerInput::Looked { served: true } => self.over([TakerEffect::Lost]),
            TakerInput::Tick if now >= until => self.over([TakerEffect::Alone]),
            TakerInput::Tick if now >= look_at => {
                self.push(TakerEffect::Look);
                let look_at = now + LOOKS_EVERY;
                State::Doubting { look_at, until }
            }
            // One that has gone can have given before it went.
            TakerInput::Gone
            | TakerInput::Looked { served: false }
            | TakerInput::Tick
            | TakerInput::Relieve
            | TakerInput::LetGo
            | TakerInput::Answered { .. }
            | TakerInput::Closed => State::Doubting { look_at, until },
        }
    }
}

impl Machine for Taker {
    type Input = TakerInput;
    type Effect = TakerEffect;

    fn handle(&mut self, now: Moment, input: TakerInput) {
        self.state = match self.state {
            State::Holding => self.holding(now, input),
            State::TurnedAway => self.turned_away(now, input),
            State::Asked { slow_at } => self.asked(now, slow_at, input),
            State::Doubting { look_at, until } => self.doubting(now, look_at, until, input),
            State::Over => State::Over,
        };
    }

    fn poll_effect(&mut self) -> Option<TakerEffect> {
        self.effects.pop_front()
    }

    fn next_deadline(&self) -> Option<Moment> {
        match self.state {
            State::Asked { slow_at } => Some(slow_at),
            State::Doubting { look_at, until } => Some(look_at.min(until)),
            State::Holding | State::TurnedAway | State::Over => None,
        }
    }
}
