//! The instance speaks.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::super::{HandoffId, Message, Side, VERSION};
use super::{Effect, Hook, Moment, Peer, Session, State};
use crate::event::DrainReport;
use crate::frame::negotiate;
use crate::message::{FromInstance, Role};

impl Peer {
    pub(super) fn heard(&mut self, now: Moment, message: Message) -> State {
        match (self.session, message) {
            (Session::Own, message) => self.on_own(now, message),
            (Session::Greeting { .. }, Message::Hello { side, pid, .. })
                if side == Side::Incumbent && pid == self.pid =>
            {
                let (version, id) = (VERSION, self.attempt);
                self.send(Message::HelloAck { version, id });
                self.opened(now)
            }
            // Somebody else is behind this path, still or by now.
            (Session::Greeting { lost, .. }, _) => {
                self.session = Session::Seeking { lost };
                self.push(Effect::Connect);
                self.state
            }
            // Of a channel that was given up.
            (Session::Seeking { .. }, _) => self.state,
            (Session::Open, message) => self.in_session(now, message),
        }
    }

    /// Its session is open: it serves, and holds its lock.
    fn opened(&mut self, now: Moment) -> State {
        let before = core::mem::replace(&mut self.session, Session::Open);
        match self.state {
            State::Cold => {
                self.hello(Role::Successor);
                State::Early
            }
            State::Found => {
                self.hello(Role::Incumbent);
                State::Serving
            }
            State::Serving => {
                // The coordinator believes that it cannot be reached.
                if matches!(before, Session::Greeting { lost: None, .. }) {
                    self.hello(Role::Incumbent);
                }
                match self.held.take() {
                    Some((id, within_ms, successor)) => self.prepare(now, id, within_ms, successor),
                    None => State::Serving,
                }
            }
            state => state,
        }
    }

    fn on_own(&mut self, now: Moment, message: Message) -> State {
        match (self.state, message) {
            (
                State::Greeting { .. },
                Message::Hello {
                    side: Side::Successor,
                    pid,
                    oldest,
                    newest,
                    ..
                },
            ) => {
                if let Err(error) = negotiate(VERSION..=VERSION, oldest..=newest) {
                    return self.fail(format!("beyond-handoff: {error}"));
                }
                // Whether it is the right process is the coordinator's to judge.
                self.pid = pid;
                self.hello(Role::Successor);
                State::Greeted
            }
            (State::Begun { hook }, Message::Heartbeat { .. }) => {
                let hook = self.alive(hook, now);
                State::Begun { hook }
            }
            (State::Greeted | State::Warm, Message::Heartbeat { .. }) => self.state,
            (
                State::Begun { .. },
                Message::Ready {
                    id,
                    healthz_ok,
                    advertised_revision_per_shard,
                    ..
                },
            ) => self.is_ready(now, id, healthz_ok, &advertised_revision_per_shard),
            (State::Leaving, _) => State::Leaving,
            (_, message) => {
                let found = message.name();
                self.fail(format!("beyond-handoff: {found} out of turn"))
            }
        }
    }

    fn is_ready(&mut self, now: Moment, id: HandoffId, healthy: bool, opened: &[u64]) -> State {
        if id != self.attempt {
            let expected = self.attempt;
            return self.fail(format!("Ready is for handoff {id}, this is {expected}"));
        }
        if !healthy {
            return self.fail("it is ready and says healthz_ok = false".into());
        }
        if let Some(reason) = older(&self.sealed, opened) {
            return self.fail(reason);
        }
        self.ready();
        self.seek(now)
    }

    fn in_session(&mut self, now: Moment, message: Message) -> State {
        match (self.state, message) {
            (State::Leaving, _) => State::Leaving,
            (State::Resuming { id }, Message::Heartbeat { .. }) => {
                self.resumed(id);
                State::Serving
            }
            (State::Draining { hook }, Message::Heartbeat { .. }) => State::Draining {
                hook: Hook {
                    silent: now + super::SILENCE,
                    ..hook
                },
            },
            (State::Sealing { hook }, Message::Heartbeat { .. }) => {
                let hook = self.alive(hook, now);
                State::Sealing { hook }
            }
            (State::Undoing { hook }, Message::Heartbeat { .. } | Message::SealProgress { .. }) => {
                let hook = self.alive(hook, now);
                State::Undoing { hook }
            }
            (state, Message::Heartbeat { .. }) => state,
            (
                State::Draining { hook },
                Message::Drained {
                    open_conns_remaining,
                    ..
                },
            ) => self.drained(hook, open_conns_remaining),
            (State::Sealing { hook }, Message::SealProgress { sealed, total, .. }) => {
                self.tell(FromInstance::SealProgress {
                    id: hook.id,
                    done: sealed.into(),
                    total: total.into(),
                });
                let hook = self.alive(hook, now);
                State::Sealing { hook }
            }
            (state @ (State::Sealing { hook } | State::Undoing { hook }), message) => {
                self.sealing(now, state, hook, message)
            }
            (_, _) => self.lose(),
        }
    }

    fn drained(&mut self, hook: Hook, open: u32) -> State {
        self.tell(FromInstance::Drained {
            id: hook.id,
            report: DrainReport {
                open: open.into(),
                ..DrainReport::default()
            },
        });
        State::Drained { hook }
    }

    /// How a seal ended, or a hook whose result is no longer wanted.
    fn sealing(&mut self, now: Moment, state: State, hook: Hook, message: Message) -> State {
        let wanted = matches!(state, State::Sealing { .. });
        let expected = HandoffId::of(hook.id);
        match message {
            Message::SealComplete {
                id,
                last_revision_per_shard: revisions,
                data_dir_fingerprint: fingerprint,
            } if id == expected && wanted => {
                self.push(Effect::Sealed {
                    revisions,
                    fingerprint,
                });
                self.tell(FromInstance::Sealed { id: hook.id });
                State::Sealed { id: hook.id }
            }
            Message::SealComplete { id, .. } if id == expected => {
                self.take_back(now, hook.id, hook.id)
            }
            Message::Drained { .. } if !wanted => self.take_back(now, hook.id, hook.id),
            Message::SealFailed { id, error, .. } if id == expected && wanted => {
                self.tell(FromInstance::SealFailed {
                    id: hook.id,
                    reason: error,
                });
                State::Unsealed { id: hook.id }
            }
            Message::SealFailed { id, .. } if id == expected => self.ping(now, hook.id),
            _ => self.lose(),
        }
    }
}

/// Why a successor that opened these revisions must not be committed after that seal. Daemons
/// that name none, or count shards otherwise, are not judged.
fn older(sealed: &[u64], opened: &[u64]) -> Option<String> {
    if sealed.len() != opened.len() {
        return None;
    }
    let lower: Vec<_> = sealed
        .iter()
        .zip(opened)
        .enumerate()
        .filter(|(_, (sealed, opened))| opened < sealed)
        .take(1)
        .collect();
    lower.first().map(|(shard, (sealed, opened))| {
        format!("it opened shard {shard} at revision {opened}, it was sealed at {sealed}")
    })
}
