//! The coordinator is fed, and executes its effects.

use handover_proto::coordinator::{Coordinator, Effect, Input, Signal};
use handover_proto::event::EventKind;
use handover_proto::identity::{CandidateId, Generation, InstanceId, RequestId};
use handover_proto::instance::{Identity, Instance, Placement, Successor};
use handover_proto::journal::Record;
use handover_proto::message::ToInstance;
use handover_proto::moment::Machine;
use handover_proto::outcome::{Cause, Outcome};
use handover_proto::phase::Phase;

use super::Stage;
use crate::invariants::{self, Violation};
use crate::kept::Kept;
use crate::process::{Link, Process, Program, pid};
use crate::scenario::{Place, Programs};
use crate::seen::{Arm, Party, Way, cause_name, reason};
use crate::world::{FIRST, Post, REQUEST, World};

/// Whom an input is about, as the coordinator knows it now.
fn party(world: &World, instance: Option<InstanceId>) -> Party {
    let (Some(instance), Some(coordinator)) = (instance, world.coordinator()) else {
        return Party::Nobody;
    };
    let is = |member: Option<handover_proto::coordinator::Member>| {
        member.is_some_and(|member| member.instance == instance)
    };
    if is(coordinator.incumbent()) {
        return Party::Incumbent;
    }
    if is(coordinator.successor()) {
        return Party::Successor;
    }
    if is(coordinator.parked()) {
        return Party::Parked;
    }
    let leaving = coordinator.leaving();
    if leaving.iter().any(|member| member.instance == instance) {
        return Party::Leaver;
    }
    if coordinator.state_name() == "Recovering" {
        return Party::Candidate;
    }
    Party::Stranger
}

impl Stage<'_> {
    /// The arm an input takes. Leavers answer for themselves whatever the state is, but for the
    /// last of them when the service stops.
    fn arm(&self, input: &Input) -> Arm {
        let state = self
            .world
            .coordinator()
            .map_or("", handover_proto::coordinator::Coordinator::state_name);
        let party = party(self.world, input.instance());
        let beside = party == Party::Leaver && state != "Stopping";
        Arm {
            machine: "Coordinator",
            state: if beside { "(any)" } else { state },
            party,
            input: input.name(),
        }
    }

    pub(super) fn feed(&mut self, input: Input) -> Result<(), Violation> {
        let arm = self.arm(&input);
        if self.scenario.without == Some(arm) {
            return Ok(());
        }
        let Post::Held { machine, .. } = &mut self.world.post else {
            return Ok(());
        };
        let before = machine.clone();
        self.during = before.state_name();
        let fresh = self.seen.is_new(&(machine.print(), self.world.now, &input));
        machine.handle(self.world.now, input);
        if !fresh {
            return Ok(());
        }
        let mut after = (**machine).clone();
        let effects: Vec<_> = std::iter::from_fn(|| after.poll_effect())
            .map(|effect| effect.name())
            .collect();
        let active = *machine != before;
        let next = match machine.state_name() {
            name if name == before.state_name() => arm.state,
            name => name,
        };
        self.seen.transition(arm, Way { next, effects }, active);
        Ok(())
    }

    /// Fetches the effect to execute next; words for people are said at once, since nobody can
    /// tell a kill before them from a kill after them.
    pub(super) fn fetch(&mut self) -> Result<(), Violation> {
        loop {
            let Post::Held { machine, next } = &mut self.world.post else {
                return Ok(());
            };
            if next.is_some() {
                return Ok(());
            }
            match machine.poll_effect() {
                Some(Effect::Report(kind)) => self.report(&kind)?,
                Some(Effect::Finish { request, outcome }) => self.finish(request, &outcome)?,
                effect => {
                    *next = effect.map(Kept::new);
                    return Ok(());
                }
            }
        }
    }

    fn report(&mut self, kind: &EventKind) -> Result<(), Violation> {
        invariants::only_the_slow_are_timed_out(self.world, kind)?;
        let detail = match kind {
            EventKind::HandoverFinished { outcome, .. } => reason(outcome),
            EventKind::TakenBack { cause, .. } | EventKind::GaveUp { cause, .. } => {
                cause_name(cause)
            }
            EventKind::InstanceExited { expected: true, .. } => "expected",
            EventKind::InstanceDrained { .. }
            | EventKind::Stopping { .. }
            | EventKind::Warning { .. } => {
                self.world.coordinator().map_or("", Coordinator::state_name)
            }
            EventKind::RestartScheduled {
                previous_version: true,
                ..
            } => "previous version",
            _ => "",
        };
        self.seen.note("event", kind.name(), detail);
        if let EventKind::GaveUp { crashes, .. } = kind {
            let never = self
                .world
                .coordinator()
                .is_some_and(|coordinator| coordinator.generation() == Generation(0));
            let limit = self.scenario.settings.backoff.limit;
            self.world.memory.gave_up |= never || *crashes > limit;
        }
        let told = match kind {
            EventKind::Warning { .. } => true,
            EventKind::HandoverFinished { id, outcome, .. } => {
                invariants::the_abandoned_does_not_commit(self.world, *id, outcome)?;
                self.seen.note("finished", self.cause(outcome), self.during);
                false
            }
            _ => false,
        };
        self.world.memory.unsaid &= !told;
        Ok(())
    }

    /// The outcome's cause, and whose channel if one closed: the youngest is the successor.
    fn cause(&self, outcome: &Outcome) -> &'static str {
        if let Outcome::RolledBack {
            cause: Cause::ChannelClosed { instance, phase },
        } = outcome
        {
            let older = self
                .world
                .coordinator()
                .and_then(Coordinator::incumbent)
                .is_some_and(|incumbent| incumbent.instance == *instance);
            return match (older, phase) {
                (true, _) => "channel of the incumbent closed",
                (false, Phase::Drain) => "channel of the successor closed in drain",
                (false, Phase::Seal) => "channel of the successor closed in seal",
                (false, _) => "channel of the successor closed",
            };
        }
        reason(outcome)
    }

    fn finish(&mut self, request: RequestId, outcome: &Outcome) -> Result<(), Violation> {
        self.seen.note("answer", outcome.word(), reason(outcome));
        invariants::every_request_is_answered_once(self.world, request)?;
        let memory = &mut self.world.memory;
        memory.waiting.retain(|waiting| *waiting != request);
        if request == REQUEST {
            memory.answer = Some(outcome.word());
        }
        Ok(())
    }

    fn take_effect(&mut self) -> Option<Effect> {
        match &mut self.world.post {
            Post::Held { next, .. } => next.take().map(|effect| (*effect).clone()),
            Post::Crashed | Post::Left { .. } => None,
        }
    }

    pub(super) fn coordinate(&mut self) -> Result<(), Violation> {
        match self.take_effect() {
            Some(Effect::Record(record)) => {
                self.remember(&record);
                self.world.memory.unrecorded = false;
                self.world.journal = Some(Kept::new(record));
            }
            Some(Effect::Spawn {
                instance,
                candidate,
            }) => {
                invariants::i7_spawn_is_recorded(self.world, instance)?;
                self.spawn(instance, candidate);
                let pid = pid(instance);
                self.feed(Input::Spawned { instance, pid })?;
            }
            Some(Effect::Send { to, message }) => {
                invariants::i7_message_is_recorded(self.world, to, &message)?;
                invariants::whoever_drains_was_introduced(self.world, &message)?;
                if let ToInstance::Introduce { id } = message {
                    self.world.memory.introduced = Some(id);
                }
                if let ToInstance::Retire { .. } = message {
                    invariants::i6_nothing_stops_the_committed(self.world, to)?;
                }
                self.send_to(to, message);
            }
            Some(Effect::Signal { to, signal }) => self.send_signal(to, signal)?,
            Some(Effect::Exit { code }) => {
                self.world.leave_post(Post::Left { code });
            }
            // Said while fetching.
            Some(Effect::Report(_) | Effect::Finish { .. }) | None => {}
        }
        self.fetch()?;
        self.leave_the_succeeded();
        Ok(())
    }

    fn send_signal(&mut self, to: InstanceId, signal: Signal) -> Result<(), Violation> {
        let resuming = self
            .world
            .coordinator()
            .is_some_and(|coordinator| coordinator.state_name() == "Resuming");
        // It did not come back in time: it is replaced, since nobody else can serve.
        if resuming && signal == Signal::Kill {
            self.hurt(to);
        }
        invariants::i7_signal_is_recorded(self.world, to)?;
        invariants::i6_nothing_stops_the_committed(self.world, to)?;
        let name = match signal {
            Signal::Term => "terminate",
            Signal::Kill => "kill",
        };
        self.seen.note("signal", name, "");
        self.signal(to, signal);
        Ok(())
    }

    /// From this record on nothing may stop the incumbent it names.
    fn remember(&mut self, record: &Record) {
        let name = match record.phase {
            Phase::Serving => "serving",
            Phase::Warm => "warm",
            Phase::Drain => "drain",
            Phase::Seal => "seal",
            Phase::Activate => "activate",
            Phase::Probation => "probation",
            Phase::Abort => "abort",
            Phase::Resume => "resume",
            Phase::Vacant => "vacant",
            Phase::Stop => "stop",
        };
        self.seen.note("record", name, "");
        if matches!(record.phase, Phase::Serving | Phase::Probation) {
            let incumbent = record.incumbent.map(|recorded| recorded.instance);
            self.world.memory.committed = incumbent.filter(|incumbent| {
                let process = self.world.process(*incumbent);
                process.is_some_and(|process| process.alive() && !process.kill)
            });
        }
    }

    pub(super) fn fail_record(&mut self) -> Result<(), Violation> {
        if let Some(Effect::Record(record)) = self.take_effect() {
            self.remember(&record);
        }
        self.world.memory.unrecorded = true;
        self.world.memory.unsaid = true;
        let reason = String::from("disk");
        self.feed(Input::RecordFailed { reason })?;
        self.fetch()
    }

    pub(super) fn fail_spawn(&mut self) -> Result<(), Violation> {
        if let Some(Effect::Spawn { instance, .. }) = self.take_effect() {
            let reason = String::from("spawn");
            self.feed(Input::SpawnFailed { instance, reason })?;
        }
        self.fetch()
    }

    pub(super) fn spawn(&mut self, instance: InstanceId, candidate: CandidateId) {
        let foreign = match self.scenario.programs {
            Programs::Native => false,
            Programs::Foreign => true,
            Programs::ForeignFirst => candidate == FIRST,
        };
        let (program, link) = if foreign {
            let program = Program::Foreign {
                ready: false,
                found: false,
                draining: false,
                hung: false,
            };
            (program, None)
        } else {
            let pid = pid(instance);
            let identity = Identity { instance, pid };
            let placement = match self.scenario.place {
                Place::Supervisor => Placement::Supervisor,
                Place::SelfUpgrade | Place::Takeover => Placement::Incumbent,
            };
            let successor = Successor::new(self.world.now, identity, placement);
            let program = Program::native(Instance::Successor(successor));
            (program, Some(Link::default()))
        };
        let process = Process::new(instance, program, link);
        self.world.processes.push(Kept::new(process));
    }
}
