//! The invariants, each a function that names its number.
//!
//! I4 (a listening socket is never closed by a handover) is structural here: no effect of either
//! machine closes a listener or names one. I8 (descriptors are adopted by name or closed) has no
//! descriptors to speak of here. Both are tested against the kernel where descriptors are.

mod late;
mod quiet;

use std::fmt;

use handover_proto::coordinator::Coordinator;
use handover_proto::event::EventKind;
use handover_proto::identity::{HandoverId, InstanceId, RequestId};
use handover_proto::journal::Recorded;
use handover_proto::message::ToInstance;
use handover_proto::outcome::{Cause, Outcome};
use handover_proto::phase::Phase;

use crate::actions::Action;
use crate::process::{Process, Program};
use crate::world::{Post, World};

pub use late::{Injected, i13_late_frames_change_nothing};
pub use quiet::{hands_over_again, quiescent, started};

/// An invariant does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its number, or what it is about.
    pub invariant: &'static str,
    /// What was found.
    pub found: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.found)
    }
}

pub(crate) fn broken(invariant: &'static str, found: impl Into<String>) -> Violation {
    let found = found.into();
    Violation { invariant, found }
}

/// Everything that must hold in every state.
///
/// # Errors
/// The invariant that does not.
pub fn safe(world: &World) -> Result<(), Violation> {
    i1_one_writer(world)?;
    i2_writers_hold_the_lease(world)?;
    a_stop_now_kills(world)
}

/// A stop that is to be now leaves nobody the time to drain.
fn a_stop_now_kills(world: &World) -> Result<(), Violation> {
    if !world.memory.stop_now || world.next().is_some() {
        return Ok(());
    }
    let Some(coordinator) = world.coordinator() else {
        return Ok(());
    };
    // Whoever was succeeded and still drains is nobody's.
    let ours = |process: &Process| {
        let mut known = coordinator.known();
        !world.place.is_inside() || known.any(|member| member.instance == process.instance)
    };
    let told = |process: &Process| process.kill || process.is_dismissed();
    match world
        .alive()
        .find(|process| ours(process) && !told(process))
    {
        Some(process) => {
            let found = format!("{} was not killed", process.instance);
            Err(broken("stop", found))
        }
        _ => Ok(()),
    }
}

/// I1: at most one instance believes that it may write. (The lease itself has one holder at most
/// by the type of [`crate::world::Lease`], as the kernel's lock has.)
fn i1_one_writer(world: &World) -> Result<(), Violation> {
    let writes = |process: &&Process| process.may_write().is_some();
    let mut writers = world.alive().filter(writes).map(|process| process.instance);
    match (writers.next(), writers.next()) {
        (Some(one), Some(other)) => Err(broken("I1", format!("{one} and {other} both write"))),
        _ => Ok(()),
    }
}

/// I2: whoever believes that it may write holds the lease, with the epoch it believes.
fn i2_writers_hold_the_lease(world: &World) -> Result<(), Violation> {
    for process in world.alive() {
        let Some(epoch) = process.may_write() else {
            continue;
        };
        let (holder, current) = (world.lease.holder, world.lease.epoch);
        if holder != Some(process.instance) || current != epoch {
            let instance = process.instance;
            return Err(broken(
                "I2",
                format!("{instance} writes under {epoch}; the lease: {holder:?}, {current}"),
            ));
        }
    }
    Ok(())
}

/// I3: the lease is given up only after the seal hook succeeded.
pub(crate) fn i3_release_follows_seal(
    world: &World,
    instance: InstanceId,
) -> Result<(), Violation> {
    let sealed = world
        .process(instance)
        .is_some_and(|process| matches!(process.program, Program::Native { sealed: true, .. }));
    if sealed {
        return Ok(());
    }
    Err(broken("I3", format!("{instance} released without a seal")))
}

/// I6: whoever was committed is told to go only by a stop or by a later commit.
pub(crate) fn i6_nothing_stops_the_committed(
    world: &World,
    to: InstanceId,
) -> Result<(), Violation> {
    if world.memory.committed == Some(to) && !world.memory.stop && !world.memory.gave_up {
        return Err(broken(
            "I6",
            format!("{to} was committed and is told to go"),
        ));
    }
    Ok(())
}

fn names(recorded: Option<Recorded>, instance: InstanceId) -> bool {
    recorded.is_some_and(|recorded| recorded.instance == instance)
}

/// I7: a process is named as the successor before it exists.
pub(crate) fn i7_spawn_is_recorded(world: &World, instance: InstanceId) -> Result<(), Violation> {
    let named = world
        .journal
        .as_ref()
        .is_some_and(|record| record.phase == Phase::Warm && names(record.successor, instance));
    if named && !world.memory.unrecorded {
        return Ok(());
    }
    Err(broken("I7", format!("{instance} is spawned, not recorded")))
}

/// I7: a phase is recorded, with whom it is about, before anybody is told.
pub(crate) fn i7_message_is_recorded(
    world: &World,
    to: InstanceId,
    message: &ToInstance,
) -> Result<(), Violation> {
    let unrecorded = world.memory.unrecorded;
    let named = world.journal.as_ref().is_some_and(|record| {
        let incumbent = names(record.incumbent, to);
        let leaving = record.leaving.iter().any(|leaver| leaver.instance == to);
        match message {
            ToInstance::Welcome { .. } => true,
            ToInstance::Introduce { .. } => {
                record.phase == Phase::Warm && (incumbent || names(record.successor, to))
            }
            ToInstance::Drain { .. } => record.phase == Phase::Drain && incumbent && !unrecorded,
            ToInstance::Seal { .. } => record.phase == Phase::Seal && incumbent && !unrecorded,
            ToInstance::Activate { .. } => {
                record.phase == Phase::Activate && names(record.successor, to) && !unrecorded
            }
            ToInstance::Commit { .. } => {
                let committed = matches!(record.phase, Phase::Serving | Phase::Probation);
                unrecorded || (committed && (incumbent || leaving))
            }
            ToInstance::Resume { .. } => unrecorded || (record.phase == Phase::Resume && incumbent),
            ToInstance::Retire { .. } | ToInstance::Dismiss { .. } => unrecorded || leaving,
        }
    });
    if named || matches!(message, ToInstance::Welcome { .. }) {
        return Ok(());
    }
    let recorded = world.journal.as_ref().map(|record| record.phase);
    Err(broken(
        "I7",
        format!("{} to {to}; recorded: {recorded:?}", message.name()),
    ))
}

/// State crosses between two that were introduced to each other. An undo carries none.
pub(crate) fn whoever_drains_was_introduced(
    world: &World,
    message: &ToInstance,
) -> Result<(), Violation> {
    let undo = world.journal.as_ref().is_some_and(|record| record.undo);
    match message {
        ToInstance::Drain { id, .. } if !undo && world.memory.introduced != Some(*id) => {
            let found = format!("attempt {id} drains, nobody was introduced");
            Err(broken("introduction", found))
        }
        _ => Ok(()),
    }
}

/// I7: whoever is signalled is recorded as leaving, as the successor of an abort, or as the one
/// that did not resume. A journal that could not be written excuses it: nobody serves by it.
pub(crate) fn i7_signal_is_recorded(world: &World, to: InstanceId) -> Result<(), Violation> {
    let named = world.journal.as_ref().is_some_and(|record| {
        record.leaving.iter().any(|leaver| leaver.instance == to)
            || (record.phase == Phase::Abort && names(record.successor, to))
            || (record.phase == Phase::Resume && names(record.incumbent, to))
    });
    if named || world.memory.unrecorded {
        return Ok(());
    }
    let recorded = world.journal.as_ref().map(|record| record.phase);
    Err(broken(
        "I7",
        format!("signal to {to}; recorded: {recorded:?}"),
    ))
}

/// Every request gets exactly one answer.
pub(crate) fn every_request_is_answered_once(
    world: &World,
    request: RequestId,
) -> Result<(), Violation> {
    if world.memory.waiting.contains(&request) {
        return Ok(());
    }
    Err(broken("answers", format!("a second one to {request}")))
}

/// Cancelled, superseded or stopped, an attempt does not commit any more. But for an undo: where
/// the new instance did not come back, or nobody could tell the old one to stay parked,
/// the old one serves nevertheless.
pub(crate) fn the_abandoned_does_not_commit(
    world: &World,
    id: HandoverId,
    outcome: &Outcome,
) -> Result<(), Violation> {
    let Outcome::Committed { instance, .. } = outcome else {
        return Ok(());
    };
    let newest = world.journal.as_ref().map(|record| record.last_instance);
    let excused = newest > Some(*instance) && world.spent.total > world.spent.requests;
    if world.memory.abandoned == Some(id) && !excused {
        return Err(broken("abandoned", format!("{id} committed nevertheless")));
    }
    Ok(())
}

/// A deadline is the only way on where time is the point, or where something hangs; anywhere
/// else somebody forgot what another one waits for.
pub(crate) fn nobody_waits_in_vain(world: &World, action: Action) -> Result<(), Violation> {
    let fine = match action {
        Action::Expire => world.coordinator().is_some_and(|coordinator| {
            let state = coordinator.state_name();
            matches!(state, "Probation" | "Vacant") && coordinator.leaving().len() < 2
        }),
        Action::ExpireOf(instance) => world.process(instance).is_some_and(Process::reclaims),
        _ => true,
    };
    if fine || world.memory.hung || world.spent.expiries > 0 {
        return Ok(());
    }
    let state = world.coordinator().map(Coordinator::state_name);
    let found = format!("nothing but a deadline leads on from {state:?}");
    Err(broken("waiting", found))
}

/// Nobody is killed for being slow, and no attempt times out, unless something is.
pub(crate) fn only_the_slow_are_timed_out(
    world: &World,
    event: &EventKind,
) -> Result<(), Violation> {
    let slow = match event {
        EventKind::InstanceKilled { .. } => true,
        EventKind::HandoverFinished { outcome, .. } => matches!(
            outcome,
            Outcome::TimedOut { .. }
                | Outcome::RolledBack {
                    cause: Cause::TooDark { .. }
                }
                | Outcome::NobodyServes {
                    cause: Cause::TimedOut { .. } | Cause::TooDark { .. }
                }
        ),
        _ => false,
    };
    if slow && !world.memory.hung && world.spent.expiries == 0 {
        return Err(broken("waiting", format!("{event}, and nothing was slow")));
    }
    Ok(())
}

pub(crate) fn left(world: &World) -> Option<u8> {
    match world.post {
        Post::Left { code } => Some(code),
        Post::Held { .. } | Post::Crashed => None,
    }
}
