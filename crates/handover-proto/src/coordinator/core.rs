//! What every state shares: counters, the queue, and the few moves that end in a known state.

use alloc::collections::VecDeque;
use core::time::Duration;

use super::leaving::Leaving;
use super::serving::Serving;
use super::vacant::Vacant;
use super::warming::Warming;
use super::{Attempt, Effect, Link, Member, Signal, State, stopping};
use crate::event::EventKind;
use crate::identity::{CandidateId, Generation, HandoverId, InstanceId, RequestId};
use crate::journal::{Record, Recorded, Recovery};
use crate::message::ToInstance;
use crate::moment::Moment;
use crate::outcome::{Cause, Outcome, Refusal};
use crate::phase::{Mode, Phase};
use crate::settings::{Settings, Stop, WhenBusy};

/// A request that waits for the running attempt to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Queued {
    request: Option<RequestId>,
    candidate: CandidateId,
}

impl Queued {
    pub(super) fn candidate(self) -> CandidateId {
        self.candidate
    }

    pub(super) fn request(self) -> Option<RequestId> {
        self.request
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Core {
    pub(super) settings: Settings,
    pub(super) effects: VecDeque<Effect>,
    pub(super) leaving: Leaving,
    pub(super) queued: Option<Queued>,
    pub(super) generation: Generation,
    pub(super) current: CandidateId,
    pub(super) previous: Option<CandidateId>,
    /// An incumbent nobody saw ready, until it or its successor is.
    pub(super) unproven: Option<InstanceId>,
    last_instance: InstanceId,
    last_handover: HandoverId,
    /// When the current version was committed.
    committed_at: Option<Moment>,
    /// Crashes in a row, and when the first of them was.
    crashes: u32,
    crashing_since: Moment,
}

impl Core {
    pub(super) fn new(settings: Settings, incarnation: u32, current: CandidateId) -> Self {
        Self {
            settings,
            effects: VecDeque::new(),
            leaving: Leaving::default(),
            queued: None,
            generation: Generation(0),
            current,
            previous: None,
            unproven: None,
            last_instance: InstanceId(0),
            last_handover: HandoverId::new(incarnation, 0),
            committed_at: None,
            crashes: 0,
            crashing_since: Moment::ZERO,
        }
    }

    pub(super) fn restore(&mut self, found: &Recovery) {
        self.generation = found.generation;
        self.last_instance = found.last_instance;
        self.previous = found.previous;
    }

    pub(super) fn push(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    pub(super) fn report(&mut self, kind: EventKind) {
        self.push(Effect::Report(kind));
    }

    pub(super) fn send(&mut self, to: Member, message: ToInstance) {
        self.push(Effect::Send {
            to: to.instance,
            message,
        });
    }

    pub(super) fn signal(&mut self, to: Member, signal: Signal) {
        self.push(Effect::Signal {
            to: to.instance,
            signal,
        });
    }

    /// Answers a greeting.
    pub(super) fn welcome(&mut self, to: Member, incumbent: bool, introduced: bool) {
        let version = *crate::instance::VERSIONS.end();
        let mode = self.settings.mode;
        self.send(
            to,
            ToInstance::Welcome {
                version,
                mode,
                incumbent,
                introduced,
            },
        );
    }

    /// A native incumbent found its way back after its coordinator was replaced.
    pub(super) fn reconnected(&mut self, member: Member) {
        self.unproven
            .take_if(|unproven| *unproven == member.instance);
        self.welcome(member, true, false);
        self.report(EventKind::InstanceReconnected {
            instance: member.instance,
        });
    }

    /// Names a phase before any of its acts, and tells whoever it names as leaving to go (I7).
    pub(super) fn record(
        &mut self,
        now: Moment,
        phase: Phase,
        handover: Option<HandoverId>,
        incumbent: Option<Member>,
        successor: Option<Member>,
        parked: Option<Member>,
    ) {
        let leaving = self
            .leaving
            .members()
            .chain(parked)
            .map(Member::recorded)
            .collect();
        let recorded =
            |member: Option<Member>| -> Option<Recorded> { member.map(Member::recorded) };
        self.push(Effect::Record(Record {
            mode: self.settings.mode,
            phase,
            handover,
            incumbent: recorded(incumbent),
            successor: recorded(successor),
            leaving,
            generation: self.generation,
            last_instance: self.last_instance,
            current: self.current,
            previous: self.previous,
            undo: parked.is_some() && phase != Phase::Probation,
        }));
        let settings = self.settings;
        self.leaving.tell(now, &settings, &mut self.effects);
    }

    /// A record could not be written, so nothing it would have named begins: it stays with what
    /// ends something, and with answers.
    pub(super) fn withhold(&mut self, reason: &str) {
        self.unrecorded(reason);
        self.effects.retain(|effect| match effect {
            Effect::Spawn { .. } => false,
            Effect::Send { message, .. } => !matches!(
                message,
                ToInstance::Drain { .. } | ToInstance::Seal { .. } | ToInstance::Activate { .. }
            ),
            Effect::Report(kind) => !matches!(kind, EventKind::PhaseEntered { .. }),
            Effect::Record(_)
            | Effect::Signal { .. }
            | Effect::Finish { .. }
            | Effect::Exit { .. } => true,
        });
    }

    /// Names a phase of an attempt, in the journal and to everybody.
    pub(super) fn enter(
        &mut self,
        now: Moment,
        phase: Phase,
        attempt: &Attempt,
        incumbent: Option<Member>,
        successor: Member,
    ) {
        self.record(
            now,
            phase,
            Some(attempt.id),
            incumbent,
            Some(successor),
            None,
        );
        self.report(EventKind::PhaseEntered {
            id: attempt.id,
            phase,
        });
    }

    /// The next attempt.
    pub(super) fn attempt(&mut self, now: Moment, request: Option<RequestId>) -> Attempt {
        self.last_handover = self.last_handover.next();
        Attempt {
            id: self.last_handover,
            request,
            started: now,
            dark_since: None,
        }
    }

    /// Begins an attempt.
    pub(super) fn begin(
        &mut self,
        now: Moment,
        candidate: CandidateId,
        request: Option<RequestId>,
        incumbent: Option<Member>,
    ) -> State {
        self.last_instance = self.last_instance.next();
        let attempt = self.attempt(now, request);
        let instance = self.last_instance;
        let successor = Member {
            instance,
            candidate,
            pid: None,
            link: Link::Silent,
        };
        self.report(EventKind::HandoverStarted {
            id: attempt.id,
            from: incumbent.map(|incumbent| incumbent.instance),
            to: instance,
            candidate: alloc::string::String::new(),
            mode: self.settings.mode,
        });
        self.record(
            now,
            Phase::Warm,
            Some(attempt.id),
            incumbent,
            Some(successor),
            None,
        );
        self.push(Effect::Spawn {
            instance,
            candidate,
        });
        let deadline = now + self.settings.ready;
        State::Warming(Warming {
            attempt,
            successor,
            incumbent,
            introduced: false,
            deadline,
        })
    }

    /// Says how an attempt ended, to everybody and to whoever asked.
    pub(super) fn finish(&mut self, now: Moment, attempt: &Attempt, outcome: Outcome) {
        self.report(EventKind::HandoverFinished {
            id: attempt.id,
            outcome: outcome.clone(),
            took: now.since(attempt.started),
            dark: attempt
                .dark_since
                .map_or(Duration::ZERO, |since| now.since(since)),
            last_words: alloc::vec::Vec::new(),
        });
        self.answer(attempt.request, outcome);
    }

    pub(super) fn answer(&mut self, request: Option<RequestId>, outcome: Outcome) {
        if let Some(request) = request {
            self.push(Effect::Finish { request, outcome });
        }
    }

    pub(super) fn refuse(&mut self, request: Option<RequestId>, refusal: Refusal) {
        let outcome = Outcome::Refused { refusal };
        self.report(EventKind::RequestRefused {
            outcome: outcome.clone(),
        });
        self.answer(request, outcome);
    }

    /// A request that comes while an attempt runs. True if the attempt is to be abandoned for it.
    pub(super) fn busy(
        &mut self,
        phase: Phase,
        request: Option<RequestId>,
        candidate: CandidateId,
        when_busy: WhenBusy,
    ) -> bool {
        if when_busy == WhenBusy::Fail {
            self.refuse(request, Refusal::Busy { phase });
            return false;
        }
        if let Some(older) = self.queued.replace(Queued { request, candidate }) {
            self.refuse(older.request, Refusal::Superseded);
        }
        self.report(EventKind::RequestQueued);
        when_busy == WhenBusy::Supersede
    }

    /// The attempt failed and the incumbent serves (I5), able to be handed over again (I9); the next request, if one waits, begins.
    pub(super) fn rolled_back(
        &mut self,
        now: Moment,
        attempt: &Attempt,
        incumbent: Member,
        cause: Cause,
    ) -> State {
        if self
            .unproven
            .take_if(|unproven| *unproven == incumbent.instance)
            .is_some()
        {
            self.leaving.dismiss(incumbent, Stop::Drain);
            return self.lost(now, cause, Some(attempt));
        }
        self.record(now, Phase::Serving, None, Some(incumbent), None, None);
        self.finish(now, attempt, super::rollback::outcome(cause));
        self.serve(now, incumbent)
    }

    /// The successor is ready: from here nothing stops it (I6). Where nothing disturbs an attempt, it
    /// ends here (I10).
    pub(super) fn commit(
        &mut self,
        now: Moment,
        attempt: &Attempt,
        successor: Member,
        incumbent: Option<Member>,
    ) -> State {
        self.generation = self.generation.next();
        self.unproven = None;
        if successor.candidate != self.current {
            self.previous = Some(self.current);
            self.current = successor.candidate;
        }
        if self
            .committed_at
            .is_some_and(|at| now.since(at) > self.settings.backoff.window)
        {
            self.crashes = 0;
        }
        self.committed_at = Some(now);
        let parked = incumbent.filter(|_| !self.settings.probation.is_zero());
        if let (Some(incumbent), None) = (incumbent, parked) {
            self.leaving.dismiss(incumbent, Stop::Drain);
        }
        let phase = if parked.is_some() {
            Phase::Probation
        } else {
            Phase::Serving
        };
        self.record(now, phase, None, Some(successor), None, parked);
        if successor.link == Link::Open {
            self.send(successor, ToInstance::Commit { id: attempt.id });
        }
        let outcome = Outcome::Committed {
            generation: self.generation,
            instance: successor.instance,
        };
        if let Some(parked) = parked {
            if parked.link == Link::Open && self.settings.mode == Mode::Exclusive {
                self.send(parked, ToInstance::Commit { id: attempt.id });
            }
            self.finish(now, attempt, outcome);
            return super::probation::begin(self, now, attempt.id, successor, parked);
        }
        self.finish(now, attempt, outcome);
        self.serve(now, successor)
    }

    /// Steady: `incumbent` serves. A waiting request begins at once.
    pub(super) fn serve(&mut self, now: Moment, incumbent: Member) -> State {
        match self.queued.take() {
            Some(Queued { request, candidate }) => {
                self.begin(now, candidate, request, Some(incumbent))
            }
            None => State::Serving(Serving { incumbent }),
        }
    }

    /// Nobody serves: start again after a pause, or give up, or wait for whoever mends it.
    pub(super) fn lost(&mut self, now: Moment, cause: Cause, attempt: Option<&Attempt>) -> State {
        if let Some(attempt) = attempt {
            self.finish(
                now,
                attempt,
                Outcome::NobodyServes {
                    cause: cause.clone(),
                },
            );
        }
        if let Some(Queued { request, candidate }) = self.queued.take() {
            return self.begin(now, candidate, request, None);
        }
        if self.settings.attended {
            self.record(now, Phase::Vacant, None, None, None, None);
            return State::Vacant(Vacant { restart_at: None });
        }
        if now.since(self.crashing_since) > self.settings.backoff.window {
            self.crashes = 0;
        }
        if self.crashes == 0 {
            self.crashing_since = now;
        }
        self.crashes = self.crashes.saturating_add(1);
        // A first start that fails is a mistake to show, not a crash to ride out.
        let never_served = self.generation == Generation(0);
        if never_served || self.crashes > self.settings.backoff.limit {
            self.report(EventKind::GaveUp {
                crashes: self.crashes,
                cause,
            });
            return stopping::give_up(self, now);
        }
        let previous = self.fall_back(now);
        let after = self.pause();
        self.record(now, Phase::Vacant, None, None, None, None);
        self.report(EventKind::RestartScheduled {
            after,
            crashes: self.crashes,
            previous_version: previous,
        });
        State::Vacant(Vacant {
            restart_at: Some(now + after),
        })
    }

    /// A version that crashes soon after its commit is replaced by the one before it.
    fn fall_back(&mut self, now: Moment) -> bool {
        let young = self
            .committed_at
            .is_some_and(|at| now.since(at) < self.settings.fall_back);
        match self.previous.take_if(|_| young) {
            Some(previous) => {
                self.current = previous;
                true
            }
            None => false,
        }
    }

    /// None before the first restart; doubles from [`crate::settings::Backoff::first`].
    fn pause(&self) -> Duration {
        match self.crashes {
            0 | 1 => Duration::ZERO,
            n => {
                let backoff = &self.settings.backoff;
                let doubled = backoff.first.saturating_mul(1 << (n - 2).min(16));
                doubled.min(backoff.most)
            }
        }
    }
}
