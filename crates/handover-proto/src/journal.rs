//! What a coordinator records before it acts (I7), and what a new one makes of it.
//!
//! A record is advice, not truth: recovery decides from the record *and* from who is alive and
//! who holds the lease. It is total: every phase, every observation, one answer.

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::identity::{CandidateId, Generation, HandoverId, InstanceId, InstancePid};
use crate::phase::{Mode, Phase};

/// A process as it is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Recorded {
    /// Its number.
    pub instance: InstanceId,
    /// What it runs.
    pub candidate: CandidateId,
    /// Its process id; absent in a record written before the spawn.
    pub pid: Option<InstancePid>,
}

/// One record: the whole situation, so that the last one suffices.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// Overlap or exclusive.
    pub mode: Mode,
    /// What is about to happen.
    pub phase: Phase,
    /// The running attempt.
    pub handover: Option<HandoverId>,
    /// Who serves, or served last.
    pub incumbent: Option<Recorded>,
    /// Who will.
    pub successor: Option<Recorded>,
    /// Who is on its way out. In probation, and while one is undone, the parked instance is the
    /// last of them.
    pub leaving: Vec<Recorded>,
    /// Instances committed so far.
    pub generation: Generation,
    /// The last instance number given out.
    pub last_instance: InstanceId,
    /// What the incumbent runs.
    pub current: CandidateId,
    /// What ran before.
    pub previous: Option<CandidateId>,
    /// A probation is being undone. The parked instance is the last of `leaving` as it is in
    /// probation, and either of it and the incumbent may hold the lease. Absent in records of
    /// earlier versions, which undo nothing.
    #[serde(default)]
    pub undo: bool,
}

impl Record {
    /// Every process it names.
    pub fn members(&self) -> impl Iterator<Item = &Recorded> {
        self.incumbent
            .iter()
            .chain(&self.successor)
            .chain(&self.leaving)
    }
}

/// What a new coordinator sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Observation {
    /// Instances of this service that are alive, with their process ids.
    pub alive: Vec<(InstanceId, InstancePid)>,
}

impl Observation {
    /// The process of an instance that is alive.
    #[must_use]
    pub fn pid(&self, instance: InstanceId) -> Option<InstancePid> {
        self.alive
            .iter()
            .find(|(alive, _)| *alive == instance)
            .map(|(_, pid)| *pid)
    }

    fn find(&self, recorded: Option<Recorded>) -> Option<Recorded> {
        let recorded = recorded?;
        let (_, pid) = self
            .alive
            .iter()
            .find(|(instance, _)| *instance == recorded.instance)?;
        Some(Recorded {
            pid: Some(*pid),
            ..recorded
        })
    }
}

/// Who serves, as far as record and observation tell.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stance {
    /// This one.
    Serve(Recorded),
    /// One of these; the lease decides, and the one that has it will say so.
    Await(Vec<Recorded>),
    /// This one may serve, but nobody saw it ready: a fresh one takes its place.
    Replace(Recorded),
    /// Nobody: start one.
    Start,
}

/// What to do with a recorded situation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recovery {
    /// Who serves.
    pub stance: Stance,
    /// Who drains and goes.
    pub retire: Vec<Recorded>,
    /// Who must go at once: it has no right to serve and took no work.
    pub kill: Vec<Recorded>,
    /// The counters to go on from.
    pub generation: Generation,
    /// See [`Record::last_instance`].
    pub last_instance: InstanceId,
    /// See [`Record::current`].
    pub current: CandidateId,
    /// See [`Record::previous`].
    pub previous: Option<CandidateId>,
}

impl Recovery {
    /// Of a service without a record: `current` is to be started, and the next instance has a higher
    /// number than `last_instance`.
    #[must_use]
    pub const fn fresh(current: CandidateId, last_instance: InstanceId) -> Self {
        Self {
            stance: Stance::Start,
            retire: Vec::new(),
            kill: Vec::new(),
            generation: Generation(0),
            last_instance,
            current,
            previous: None,
        }
    }
}

/// Decides from a record and an observation (I12). Resumes or rolls back; never forgets a process.
#[must_use]
pub fn recover(record: &Record, observed: &Observation) -> Recovery {
    let incumbent = observed.find(record.incumbent);
    let successor = observed.find(record.successor);
    let (parked, leaving) = match record.leaving.split_last() {
        Some((parked, leaving)) if record.undo || record.phase == Phase::Probation => {
            (Some(*parked), leaving)
        }
        _ => (None, record.leaving.as_slice()),
    };
    let parked = observed.find(parked);
    let leaving = leaving
        .iter()
        .filter_map(|recorded| observed.find(Some(*recorded)));
    let mut recovery = Recovery {
        stance: Stance::Start,
        retire: leaving.collect(),
        kill: Vec::new(),
        generation: record.generation,
        last_instance: record.last_instance,
        current: record.current,
        previous: record.previous,
    };
    match record.mode {
        Mode::Overlap => recover_overlap(&mut recovery, record.phase, incumbent, successor, parked),
        Mode::Exclusive => {
            recover_exclusive(&mut recovery, record.phase, incumbent, successor, parked)
        }
    }
    // An instance no record names was spawned between the record and its process id.
    for &(instance, pid) in &observed.alive {
        let named = record
            .incumbent
            .iter()
            .chain(&record.successor)
            .chain(&record.leaving);
        if !named
            .into_iter()
            .any(|recorded| recorded.instance == instance)
        {
            let stray = Recorded {
                instance,
                candidate: record.current,
                pid: Some(pid),
            };
            recovery.retire.push(stray);
        }
        recovery.last_instance = recovery.last_instance.max(instance);
    }
    recovery
}

fn recover_overlap(
    recovery: &mut Recovery,
    phase: Phase,
    incumbent: Option<Recorded>,
    successor: Option<Recorded>,
    parked: Option<Recorded>,
) {
    if phase == Phase::Stop {
        recovery
            .retire
            .extend(incumbent.into_iter().chain(successor).chain(parked));
        return;
    }
    match (incumbent, parked, successor) {
        // The successor may have taken work before it was ready to; it drains.
        (Some(incumbent), parked, successor) => {
            recovery.stance = Stance::Serve(incumbent);
            recovery.retire.extend(parked.into_iter().chain(successor));
        }
        // In probation the parked instance still serves and can stand in.
        (None, Some(parked), successor) => {
            recovery.stance = Stance::Serve(parked);
            recovery.retire.extend(successor);
        }
        (None, None, Some(successor)) => recovery.stance = Stance::Replace(successor),
        (None, None, None) => {}
    }
}

fn recover_exclusive(
    recovery: &mut Recovery,
    phase: Phase,
    incumbent: Option<Recorded>,
    successor: Option<Recorded>,
    parked: Option<Recorded>,
) {
    let mut candidates = Vec::new();
    match phase {
        Phase::Stop => recovery
            .retire
            .extend(incumbent.into_iter().chain(successor).chain(parked)),
        Phase::Activate => candidates.extend(incumbent.into_iter().chain(successor).chain(parked)),
        // Drain, seal and resume of an undo too: the lease went from the one to the other, or
        // back, and nobody else knows how far.
        _ if parked.is_some() => {
            candidates.extend(incumbent.into_iter().chain(parked));
            recovery.kill.extend(successor);
        }
        // It was never told to activate, so it holds nothing and can take nothing; or it was
        // being killed already.
        Phase::Serving
        | Phase::Vacant
        | Phase::Warm
        | Phase::Drain
        | Phase::Seal
        | Phase::Abort
        | Phase::Probation
        | Phase::Resume => {
            candidates.extend(incumbent);
            recovery.kill.extend(successor);
        }
    }
    if !candidates.is_empty() {
        recovery.stance = Stance::Await(candidates);
    }
}
