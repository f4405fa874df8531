//! A world: one coordinator and its journal, processes, the lease, and what was used of the
//! allowance for disturbances. A value; two worlds that are equal have equal futures.

use handover_proto::coordinator::{Coordinator, Effect};
use handover_proto::identity::{CandidateId, Epoch, HandoverId, InstanceId, RequestId};
use handover_proto::journal::{Observation, Record};
use handover_proto::moment::Moment;
use handover_proto::outcome::Exit;

use crate::kept::Kept;
use crate::process::{Process, pid};
use crate::scenario::{Begin, Budget, Place, Scenario};

/// The candidate that runs first.
pub(crate) const FIRST: CandidateId = CandidateId(1);
/// The candidate of the scenario's own request.
pub(crate) const SECOND: CandidateId = CandidateId(2);
/// The scenario's own request.
pub(crate) const REQUEST: RequestId = RequestId(1);

/// The coordinator's process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Post {
    /// It runs.
    Held {
        /// The machine.
        machine: Kept<Coordinator>,
        /// The effect to execute next.
        next: Option<Kept<Effect>>,
    },
    /// It was killed; a new one can be started.
    Crashed,
    /// It exited by itself.
    Left {
        /// With this code.
        code: u8,
    },
}

/// The right to write, as the kernel keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Who holds it.
    pub holder: Option<InstanceId>,
    /// The number of its last change of owner.
    pub epoch: Epoch,
}

/// What no role knows but the invariants ask about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Memory {
    /// Who was recorded as serving last, unless something happened to it since.
    pub committed: Option<InstanceId>,
    /// The last record was not written, so that the journal tells of an earlier situation.
    pub unrecorded: bool,
    /// Requests without an answer.
    pub waiting: Vec<RequestId>,
    /// The answer to the scenario's own request.
    pub answer: Option<&'static str>,
    /// Somebody asked for a stop.
    pub stop: bool,
    /// The incumbent was killed when it was sealed.
    pub died_sealed: bool,
    /// Who was to succeed the incumbent when both it and the coordinator in it were killed.
    pub heir: Option<InstanceId>,
    /// Somebody asked for a stop now.
    pub stop_now: bool,
    /// The attempt that was to be abandoned.
    pub abandoned: Option<HandoverId>,
    /// The last attempt whose two instances were introduced to each other.
    pub introduced: Option<HandoverId>,
    /// A record failed, and nobody was told so yet.
    pub unsaid: bool,
    /// Something never ends, so that a deadline is the way on.
    pub hung: bool,
    /// The coordinator gave up as its settings allow.
    pub gave_up: bool,
}

/// One state of the world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// Advances only when a deadline fires.
    pub now: Moment,
    /// The coordinator.
    pub post: Post,
    /// Where the coordinator is.
    pub place: Place,
    /// The instance it runs in, if it does.
    pub home: Option<InstanceId>,
    /// How many coordinators there were.
    pub incarnation: u32,
    /// The last record on disk.
    pub journal: Option<Kept<Record>>,
    /// Processes the coordinator has not seen end.
    pub processes: Vec<Kept<Process>>,
    /// The lease.
    pub lease: Lease,
    /// Disturbances so far.
    pub spent: Budget,
    /// For the invariants.
    pub memory: Memory,
}

impl World {
    /// The world as the first coordinator begins.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Self {
        let now = Moment::ZERO;
        let post = if scenario.place.is_inside() {
            // Somebody has to start the first instance.
            Post::Crashed
        } else {
            Post::Held {
                machine: Kept::new(Coordinator::new(now, scenario.settings, 1, FIRST)),
                next: None,
            }
        };
        Self {
            now,
            post,
            place: scenario.place,
            home: None,
            incarnation: 1,
            journal: None,
            processes: Vec::new(),
            lease: Lease::default(),
            spent: Budget::NONE,
            memory: Memory::default(),
        }
    }

    /// Whether the scenario's own request has to be asked yet.
    #[must_use]
    pub(crate) fn begins_with_request(scenario: &Scenario) -> bool {
        scenario.begin != Begin::Start
    }

    /// The running coordinator.
    #[must_use]
    pub fn coordinator(&self) -> Option<&Coordinator> {
        match &self.post {
            Post::Held { machine, .. } => Some(machine),
            Post::Crashed | Post::Left { .. } => None,
        }
    }

    /// The effect the coordinator wants executed next.
    #[must_use]
    pub(crate) fn next(&self) -> Option<&Effect> {
        match &self.post {
            Post::Held { next, .. } => next.as_deref(),
            Post::Crashed | Post::Left { .. } => None,
        }
    }

    /// A process by number.
    #[must_use]
    pub fn process(&self, instance: InstanceId) -> Option<&Process> {
        self.processes
            .iter()
            .map(|process| &**process)
            .find(|process| process.instance == instance)
    }

    pub(crate) fn process_mut(&mut self, instance: InstanceId) -> Option<&mut Process> {
        self.processes
            .iter_mut()
            .find(|process| process.instance == instance)
            .map(|process| &mut **process)
    }

    /// Processes that run.
    pub fn alive(&self) -> impl Iterator<Item = &Process> {
        self.processes
            .iter()
            .map(|process| &**process)
            .filter(|process| process.alive())
    }

    /// What a new coordinator sees.
    #[must_use]
    pub fn observe(&self) -> Observation {
        let alive = self.alive().map(|process| process.instance);
        Observation {
            alive: alive.map(|instance| (instance, pid(instance))).collect(),
        }
    }

    /// A process ends: its lease is free, its channel closes at its end, its hooks are gone.
    pub(crate) fn end(&mut self, instance: InstanceId, exit: Exit) {
        if self.lease.holder == Some(instance) {
            self.lease.holder = None;
        }
        let observed = self.coordinator().is_some_and(|coordinator| {
            let mut known = coordinator.known();
            !self.place.is_inside() || known.any(|member| member.instance == instance)
        });
        let Some(process) = self.process_mut(instance) else {
            return;
        };
        process.ended = Some(exit);
        process.term = false;
        process.kill = false;
        if let Some(link) = &mut process.link {
            link.lose_instance();
        }
        process.link.take_if(|link| link.is_over());
        if !observed {
            self.processes
                .retain(|process| process.instance != instance);
        }
        if self.home == Some(instance) {
            self.memory.waiting.clear();
            self.leave_post(if self.memory.stop {
                Post::Left { code: 0 }
            } else {
                Post::Crashed
            });
        }
    }

    /// The coordinator ends, by itself or not: channels close at its end, requests break off.
    pub(crate) fn leave_post(&mut self, post: Post) {
        self.post = post;
        self.home = None;
        self.processes.retain(|process| process.alive());
        for process in &mut self.processes {
            if let Some(link) = &mut process.link {
                link.lose_coordinator();
            }
            process.link.take_if(|link| link.is_over());
        }
    }
}
