//! The coordinator speaks.

use super::super::{Message, SLACK, VERSION};
use super::Effect;
use super::{Aside, HandoffId, Moment, Peer, Session, State, UNNUMBERED};
use crate::identity::HandoverId;
use crate::message::{FromInstance, ToInstance};

impl Peer {
    pub(super) fn say(&mut self, now: Moment, message: ToInstance, aside: Aside) -> State {
        match message {
            ToInstance::Welcome { .. } => self.welcome(),
            ToInstance::Activate { id, .. } => self.activate(now, id, aside),
            ToInstance::Drain { id, within_ms } => self.drain(now, id, within_ms, aside.successor),
            ToInstance::Seal { id } => self.seal(now, id),
            ToInstance::Resume { id } => self.resume(now, id),
            ToInstance::Retire { .. } => self.retire(),
            // A sealed incumbent that is parked goes only when it is told to retire: their
            // `Commit` would end it.
            ToInstance::Commit { .. } => self.state,
            // Theirs has no channel for state: it crosses in the data directory.
            ToInstance::Introduce { .. } => self.state,
            // It is told by signal: only a coordinator in the incumbent says this, and theirs is
            // always a supervisor.
            ToInstance::Dismiss { .. } => self.state,
        }
    }

    fn welcome(&mut self) -> State {
        match self.state {
            State::Greeted => {
                let (version, id) = (VERSION, self.attempt);
                self.send(Message::HelloAck { version, id });
                self.tell(FromInstance::Warmed);
                State::Warm
            }
            State::Early => {
                self.tell(FromInstance::Warmed);
                State::Early
            }
            state => state,
        }
    }

    fn activate(&mut self, now: Moment, id: HandoverId, aside: Aside) -> State {
        match self.state {
            State::Warm => {
                self.sealed = aside.revisions;
                let named = self.attempt;
                self.send(Message::Begin { id: named });
                let hook = self.hook(id, now);
                State::Begun { hook }
            }
            State::Early => {
                self.ready();
                State::Serving
            }
            state => state,
        }
    }

    pub(super) fn ready(&mut self) {
        let claimed = core::mem::take(&mut self.listeners);
        let lease = UNNUMBERED;
        self.tell(FromInstance::Ready { claimed, lease });
    }

    fn drain(&mut self, now: Moment, id: HandoverId, within_ms: u64, successor: u32) -> State {
        match (self.state, self.session) {
            (State::Serving, Session::Open) => self.prepare(now, id, within_ms, successor),
            (State::Serving, Session::Seeking { .. } | Session::Greeting { .. }) => {
                self.held = Some((id, within_ms, successor));
                State::Serving
            }
            (state, _) => state,
        }
    }

    pub(super) fn prepare(
        &mut self,
        now: Moment,
        id: HandoverId,
        within_ms: u64,
        successor: u32,
    ) -> State {
        let overall = u64::try_from(self.overall.as_millis()).unwrap_or(u64::MAX);
        self.send(Message::PrepareHandoff {
            id: HandoffId::of(id),
            successor_pid: successor,
            deadline_ms: overall,
            drain_grace_ms: within_ms,
        });
        // Its clock starts when it reads this, and its answer has a way to go.
        let slack = u64::try_from(SLACK.as_millis()).unwrap_or(u64::MAX);
        let millis = within_ms.saturating_add(slack);
        self.tell(FromInstance::Extend { millis });
        let hook = self.hook(id, now);
        State::Draining { hook }
    }

    fn seal(&mut self, now: Moment, id: HandoverId) -> State {
        match self.state {
            State::Drained { hook } if hook.id == id => {
                let named = HandoffId::of(id);
                self.send(Message::SealRequest { id: named });
                let hook = super::Hook {
                    silent: now + super::SILENCE,
                    ..hook
                };
                State::Sealing { hook }
            }
            state => state,
        }
    }

    fn resume(&mut self, now: Moment, id: HandoverId) -> State {
        match self.state {
            // Its hook cannot be interrupted, and its answer decides what undoes it.
            State::Draining { hook } | State::Sealing { hook } => State::Undoing { hook },
            State::Drained { hook } => self.take_back(now, hook.id, id),
            // Parked: the attempt it sealed in is the one it knows.
            State::Sealed { id: sealed } => self.take_back(now, sealed, id),
            State::Unsealed { .. } => self.ping(now, id),
            State::Serving => {
                // Nothing was begun.
                self.held = None;
                self.resumed(id);
                State::Serving
            }
            state => state,
        }
    }

    /// Undoes its attempt `begun`; the coordinator waits for the end of `id`.
    pub(super) fn take_back(&mut self, now: Moment, begun: HandoverId, id: HandoverId) -> State {
        let named = HandoffId::of(begun);
        self.send(Message::ResumeAfterAbort { id: named });
        self.ping(now, id)
    }

    pub(super) fn ping(&mut self, now: Moment, id: HandoverId) -> State {
        self.send(super::super::heartbeat(now));
        State::Resuming { id }
    }

    pub(super) fn resumed(&mut self, id: HandoverId) {
        let lease = UNNUMBERED;
        self.tell(FromInstance::Resumed { id, lease });
    }

    fn retire(&mut self) -> State {
        match (self.state, self.session) {
            (State::Sealed { id }, Session::Open) => {
                let id = HandoffId::of(id);
                self.send(Message::Commit { id });
            }
            (State::Leaving, _) => {}
            _ => self.push(Effect::Terminate),
        }
        State::Leaving
    }
}
