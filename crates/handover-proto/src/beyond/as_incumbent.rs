//! We are the incumbent, the supervisor is theirs.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::{
    Effect, HEARTBEAT_EVERY, HELLO_WITHIN, HandoffId, Input, Message, SLACK, Side, VERSION,
};
use crate::event::DrainReport;
use crate::message::{FromInstance, ToInstance};
use crate::moment::{Machine, Moment};
use crate::settings::Ladder;

/// Frames that may wait while a hook runs. A supervisor of theirs has at most one under way; ours
/// sends two at an abort.
const MAX_WAITING: usize = 8;

/// One handover, from its `PrepareHandoff` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Attempt {
    id: HandoffId,
    /// Past it the supervisor is dead, whatever the channel says.
    until: Moment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    Greeting {
        deadline: Moment,
    },
    Idle,
    /// The drain hook runs.
    Draining {
        attempt: Attempt,
        beat: Moment,
    },
    Drained {
        attempt: Attempt,
        report: DrainReport,
    },
    /// The seal hook runs.
    Sealing {
        attempt: Attempt,
        beat: Moment,
    },
    /// The lease is released.
    Sealed {
        attempt: Attempt,
    },
    /// Takes back; nothing is said meanwhile, for a heartbeat now is the answer to one.
    Resuming {
        attempt: Attempt,
    },
    Over,
}

/// An incumbent of ours and a supervisor of theirs, for one session on the control socket. Frames
/// are taken strictly in order: what arrives while a hook runs waits for its end, as with theirs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AsIncumbent {
    pid: u32,
    build_id: Vec<u8>,
    ladder: Ladder,
    state: State,
    /// Its lease is given up, and was not taken back since.
    sealed: bool,
    waiting: VecDeque<Message>,
    effects: VecDeque<Effect>,
}

impl AsIncumbent {
    /// An incumbent to whom somebody connected. After a commit it retires by `ladder`, for their
    /// supervisor has none.
    #[must_use]
    pub fn new(now: Moment, pid: u32, build_id: Vec<u8>, ladder: Ladder) -> Self {
        Self {
            pid,
            build_id,
            ladder,
            state: State::Greeting {
                deadline: now + HELLO_WITHIN,
            },
            sealed: false,
            waiting: VecDeque::new(),
            effects: VecDeque::new(),
        }
    }

    /// Whether its lease is given up; also once the session is over.
    #[must_use]
    pub const fn is_sealed(&self) -> bool {
        self.sealed
    }

    fn push(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    /// Ends the session: whoever drained or sealed resumes by itself.
    fn close(&mut self) -> State {
        self.waiting.clear();
        self.push(Effect::Close);
        State::Over
    }

    fn resume(&mut self, attempt: Attempt) -> State {
        let id = attempt.id.number();
        self.push(Effect::Tell(ToInstance::Resume { id }));
        State::Resuming { attempt }
    }

    fn is_busy(&self) -> bool {
        matches!(
            self.state,
            State::Draining { .. } | State::Sealing { .. } | State::Resuming { .. }
        )
    }

    /// What waited while a hook ran.
    fn catch_up(&mut self, now: Moment) {
        while !self.is_busy() {
            let Some(message) = self.waiting.pop_front() else {
                return;
            };
            self.state = self.heard(now, message);
        }
    }

    fn heard(&mut self, now: Moment, message: Message) -> State {
        match (self.state, message) {
            (State::Over, _) => State::Over,
            (State::Greeting { .. }, Message::HelloAck { version, .. }) if version == VERSION => {
                State::Idle
            }
            (state, Message::Heartbeat { .. }) if !matches!(state, State::Greeting { .. }) => {
                self.push(Effect::Send(super::heartbeat(now)));
                state
            }
            (
                State::Idle,
                Message::PrepareHandoff {
                    id,
                    deadline_ms,
                    drain_grace_ms,
                    ..
                },
            ) => self.prepare(now, id, deadline_ms, drain_grace_ms),
            (State::Drained { attempt, report }, Message::PrepareHandoff { id, .. })
                if id == attempt.id =>
            {
                self.drained(attempt, report)
            }
            (State::Drained { attempt, .. }, Message::SealRequest { id }) if id == attempt.id => {
                let id = id.number();
                self.push(Effect::Tell(ToInstance::Seal { id }));
                State::Sealing {
                    attempt,
                    beat: now + HEARTBEAT_EVERY,
                }
            }
            (State::Sealed { attempt }, Message::Commit { id }) if id == attempt.id => {
                let (id, ladder) = (id.number(), self.ladder);
                self.push(Effect::Tell(ToInstance::Commit { id }));
                self.push(Effect::Tell(ToInstance::Retire { ladder }));
                State::Over
            }
            (
                State::Drained { attempt, .. } | State::Sealed { attempt },
                Message::Abort { id, .. } | Message::ResumeAfterAbort { id },
            ) if id == attempt.id => self.resume(attempt),
            // Out of order, of another attempt, or of the other direction.
            (
                State::Greeting { .. }
                | State::Idle
                | State::Draining { .. }
                | State::Drained { .. }
                | State::Sealing { .. }
                | State::Sealed { .. }
                | State::Resuming { .. },
                _,
            ) => self.close(),
        }
    }

    fn prepare(&mut self, now: Moment, id: HandoffId, deadline: u64, grace: u64) -> State {
        let within_ms = grace.min(deadline);
        self.push(Effect::Tell(ToInstance::Drain {
            id: id.number(),
            within_ms,
        }));
        // They wait for a reply until a second after it, and then tell us to resume.
        let until = now + Duration::from_millis(deadline) + SLACK + SLACK;
        State::Draining {
            attempt: Attempt { id, until },
            beat: now + HEARTBEAT_EVERY,
        }
    }

    fn drained(&mut self, attempt: Attempt, report: DrainReport) -> State {
        self.push(Effect::Send(Message::Drained {
            open_conns_remaining: u32::try_from(report.open).unwrap_or(u32::MAX),
            accept_closed: true,
        }));
        State::Drained { attempt, report }
    }

    fn say(&mut self, message: FromInstance) -> State {
        match (self.state, message) {
            (state @ State::Greeting { .. }, FromInstance::Hello { .. }) => {
                let hello = Message::hello(Side::Incumbent, self.pid, &self.build_id);
                self.push(Effect::Send(hello));
                state
            }
            (State::Draining { attempt, .. }, FromInstance::Drained { id, report })
                if id == attempt.id.number() =>
            {
                self.drained(attempt, report)
            }
            (
                state @ State::Sealing { attempt, .. },
                FromInstance::SealProgress { id, done, total },
            ) if id == attempt.id.number() => {
                self.push(Effect::Send(Message::SealProgress {
                    sealed: u32::try_from(done).unwrap_or(u32::MAX),
                    total: u32::try_from(total).unwrap_or(u32::MAX),
                    last_revision: 0,
                }));
                state
            }
            (State::Sealing { attempt, .. }, FromInstance::Sealed { id })
                if id == attempt.id.number() =>
            {
                self.push(Effect::Send(Message::SealComplete {
                    id: attempt.id,
                    last_revision_per_shard: Vec::new(),
                    data_dir_fingerprint: [0; 32],
                }));
                self.sealed = true;
                State::Sealed { attempt }
            }
            (State::Sealing { attempt, .. }, FromInstance::SealFailed { id, reason })
                if id == attempt.id.number() =>
            {
                self.push(Effect::Send(Message::SealFailed {
                    id: attempt.id,
                    error: reason,
                    partial_state: String::new(),
                }));
                // They expect us to do so unasked.
                self.resume(attempt)
            }
            (State::Resuming { attempt }, FromInstance::Resumed { id, .. })
                if id == attempt.id.number() =>
            {
                self.sealed = false;
                State::Idle
            }
            (
                state,
                FromInstance::Hello { .. }
                | FromInstance::Warmed
                | FromInstance::Ready { .. }
                | FromInstance::Drained { .. }
                | FromInstance::SealProgress { .. }
                | FromInstance::Sealed { .. }
                | FromInstance::SealFailed { .. }
                | FromInstance::Resumed { .. }
                | FromInstance::Failed { .. }
                | FromInstance::Status { .. }
                | FromInstance::Extend { .. }
                | FromInstance::Connections { .. }
                | FromInstance::Retired { .. },
            ) => state,
        }
    }

    fn tick(&mut self, now: Moment) -> State {
        match self.state {
            State::Greeting { deadline } if now >= deadline => self.close(),
            State::Draining { attempt, .. }
            | State::Drained { attempt, .. }
            | State::Sealing { attempt, .. }
            | State::Sealed { attempt }
                if now >= attempt.until =>
            {
                self.close()
            }
            State::Draining { attempt, beat } if now >= beat => {
                self.push(Effect::Send(super::heartbeat(now)));
                let beat = now + HEARTBEAT_EVERY;
                State::Draining { attempt, beat }
            }
            State::Sealing { attempt, beat } if now >= beat => {
                self.push(Effect::Send(super::heartbeat(now)));
                let beat = now + HEARTBEAT_EVERY;
                State::Sealing { attempt, beat }
            }
            state @ (State::Greeting { .. }
            | State::Idle
            | State::Draining { .. }
            | State::Drained { .. }
            | State::Sealing { .. }
            | State::Sealed { .. }
            | State::Resuming { .. }
            | State::Over) => state,
        }
    }
}

impl Machine for AsIncumbent {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Moment, input: Input) {
        self.state = match input {
            Input::Heard(_) if self.is_busy() && self.waiting.len() >= MAX_WAITING => self.close(),
            Input::Heard(message) if self.is_busy() => {
                self.waiting.push_back(message);
                self.state
            }
            Input::Heard(message) => self.heard(now, message),
            Input::Say(message) => self.say(message),
            Input::Closed => State::Over,
            Input::Tick => self.tick(now),
        };
        self.catch_up(now);
    }

    fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn next_deadline(&self) -> Option<Moment> {
        match self.state {
            State::Greeting { deadline } => Some(deadline),
            State::Draining { attempt, beat } | State::Sealing { attempt, beat } => {
                Some(beat.min(attempt.until))
            }
            State::Drained { attempt, .. } | State::Sealed { attempt } => Some(attempt.until),
            State::Idle | State::Resuming { .. } | State::Over => None,
        }
    }
}
