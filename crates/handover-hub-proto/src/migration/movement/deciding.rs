//! What each state of a move makes of what happens.

use handover_proto::moment::Moment;

use super::{Decision, Effect, Movement, Outcome, Reason, State};
use crate::identity::NodeId;
use crate::migration::message::Word;
use crate::node::HostFailure;

impl Movement {
    pub(super) fn heard_source(&mut self, now: Moment, word: Word) {
        let at = self.plan.source.node;
        let failed = |failure| match failure {
            HostFailure::Deferred => Reason::Deferred,
            failure => Reason::Failed { at, failure },
        };
        match (&self.state, word) {
            (State::Departing, Word::Departed { result, .. }) => {
                if let Err(failure) = result {
                    self.go_back(now, failed(failure));
                }
            }
            (State::Retiring { host, without }, Word::Retired) => {
                let (host, without) = (*host, without.clone());
                self.moved(host, without);
            }
            (State::Returning { host, reason }, Word::Resumed { epoch, result }) => {
                if epoch != host.epoch {
                    return;
                }
                let (host, reason) = (*host, reason.clone());
                match result {
                    Ok(()) => {
                        self.discard();
                        self.stayed(host, reason);
                    }
                    Err(_) => self.without_source(now, reason),
                }
            }
            // Of an order that was said again, or late.
            (
                State::Preparing
                | State::Ready
                | State::Departing
                | State::Inquiring { .. }
                | State::Landing { .. }
                | State::Retiring { .. }
                | State::Returning { .. }
                | State::Ended,
                Word::Departed { .. }
                | Word::Retired
                | Word::Resumed { .. }
                | Word::Prepared(_)
                | Word::Arrived(_)
                | Word::Activated { .. }
                | Word::Discarded,
            ) => {}
        }
    }

    pub(super) fn heard_target(&mut self, now: Moment, word: Word) {
        let at = self.plan.target;
        let failed = |failure| Reason::Failed { at, failure };
        match (&self.state, word) {
            (State::Preparing, Word::Prepared(Ok(()))) => {
                self.effects.push_back(Effect::Ready);
                self.enter(now, State::Ready);
            }
            (State::Preparing | State::Ready, Word::Prepared(Err(failure))) => {
                self.call_off(failed(failure));
            }
            (State::Departing, Word::Arrived(Err(failure)) | Word::Prepared(Err(failure))) => {
                self.go_back(now, failed(failure));
            }
            (State::Departing | State::Inquiring { .. }, Word::Arrived(Ok(()))) => {
                self.commit(now);
            }
            (State::Inquiring { reason }, Word::Arrived(Err(_))) => {
                let reason = reason.clone();
                self.lose(reason);
            }
            (State::Landing { host }, Word::Activated { epoch, result }) => {
                if epoch != host.epoch {
                    return;
                }
                let host = *host;
                match result {
                    Ok(()) if self.source_gone => self.finish(Outcome::Moved(host)),
                    Ok(()) => self.enter(
                        now,
                        State::Retiring {
                            host,
                            without: None,
                        },
                    ),
                    Err(failure) => self.go_back(now, failed(failure)),
                }
            }
            // Of an order that was said again, or late.
            (
                State::Preparing
                | State::Ready
                | State::Departing
                | State::Inquiring { .. }
                | State::Landing { .. }
                | State::Retiring { .. }
                | State::Returning { .. }
                | State::Ended,
                Word::Prepared(_)
                | Word::Arrived(_)
                | Word::Activated { .. }
                | Word::Discarded
                | Word::Departed { .. }
                | Word::Retired
                | Word::Resumed { .. },
            ) => {}
        }
    }

    pub(super) fn source_gone(&mut self, now: Moment) {
        self.source_gone = true;
        let gone = Reason::Gone(self.plan.source.node);
        match &self.state {
            State::Preparing | State::Ready => self.lose(gone),
            State::Departing => self.enter(now, State::Inquiring { reason: gone }),
            // It may have served again: what was kept is newer than what the target has.
            State::Returning { .. } if self.plan.kept => self.lose(gone),
            State::Returning { .. } => self.without_source(now, gone),
            State::Retiring { host, without } => {
                let (host, without) = (*host, without.clone());
                self.moved(host, without);
            }
            // The target need not wait for latecomers.
            State::Landing { .. } => self.say(now),
            State::Inquiring { .. } | State::Ended => {}
        }
    }

    pub(super) fn target_gone(&mut self, now: Moment) {
        let served = self.other().is_some();
        self.target_gone = true;
        let gone = Reason::Gone(self.plan.target);
        match &self.state {
            State::Preparing | State::Ready => self.call_off(gone),
            State::Departing => self.go_back(now, gone),
            State::Inquiring { .. } => self.lose(gone),
            // It may have served: what was kept is newer than what the source has, which is told
            // to let go as soon as somebody serves.
            State::Landing { .. } | State::Retiring { .. } if self.plan.kept => self.lose(gone),
            State::Landing { .. } | State::Retiring { .. } => self.go_back(now, gone),
            // Of a merge: now it is the only one.
            State::Returning { host, .. } if served => {
                let decision = Decision::Return(*host);
                self.effects.push_back(Effect::Decide(decision));
            }
            State::Returning { .. } | State::Ended => {}
        }
    }

    pub(super) fn abort(&mut self, now: Moment, reason: Reason) {
        match self.state {
            State::Preparing | State::Ready => self.call_off(reason),
            State::Departing => self.go_back(now, reason),
            // H6: it is decided. Or it is being ended already.
            State::Inquiring { .. }
            | State::Landing { .. }
            | State::Retiring { .. }
            | State::Returning { .. }
            | State::Ended => {}
        }
    }

    /// To whom the last order went.
    pub(super) fn addressee(&self) -> Option<NodeId> {
        match self.state {
            State::Preparing | State::Inquiring { .. } | State::Landing { .. } => {
                Some(self.plan.target)
            }
            State::Departing | State::Retiring { .. } | State::Returning { .. } => {
                Some(self.plan.source.node)
            }
            State::Ready | State::Ended => None,
        }
    }

    /// It is its turn. The source is given the whole time: how long others took is not its doing.
    pub(super) fn depart(&mut self, now: Moment) {
        if self.is_ready() {
            self.deadline = now + self.settings.timeout;
            self.enter(now, State::Departing);
        }
    }

    pub(super) fn tick(&mut self, now: Moment) {
        if now >= self.deadline && !self.is_ready() {
            self.abort(now, Reason::TimedOut);
        }
        if now >= self.repeat {
            self.say(now);
        }
    }
}
