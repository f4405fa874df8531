//! What must hold when nothing happens any more by itself.

use handover_proto::coordinator::{Coordinator, Link};
use handover_proto::identity::{CandidateId, InstanceId, RequestId};
use handover_proto::settings::WhenBusy;

use super::{Violation, broken, left, safe};
use crate::actions::possible;
use crate::process::Program;
use crate::scenario::{Budget, Scenario};
use crate::seen::Seen;
use crate::step::Stage;
use crate::world::World;

/// The request that is asked when all is quiet.
const AGAIN: RequestId = RequestId(99);
/// What it asks for.
const FRESH: CandidateId = CandidateId(99);

/// Steps after which a single undisturbed upgrade is taken not to end. It takes below a hundred.
const STEPS: usize = 2_000;

/// Everything that must hold in a state without progress.
///
/// # Errors
/// The invariant that does not hold.
pub fn quiescent(world: &World, scenario: &Scenario) -> Result<(), Violation> {
    every_request_is_answered(world)?;
    a_failed_record_is_told(world)?;
    a_stop_stops(world)?;
    nobody_leaks(world)?;
    the_incumbent_is_linked(world)?;
    i12_somebody_serves(world)?;
    i10_an_undisturbed_handover_commits(world, scenario)?;
    i11_the_successor_of_the_sealed_serves(world)?;
    i5_the_undisturbed_serves(world)
}

/// The service runs before it is upgraded.
///
/// # Errors
/// Nobody serves, or somebody is left over.
pub fn started(world: &World) -> Result<(), Violation> {
    nobody_leaks(world)?;
    i12_somebody_serves(world)
}

fn every_request_is_answered(world: &World) -> Result<(), Violation> {
    match world.memory.waiting.first() {
        Some(request) => Err(broken("answers", format!("none to {request}"))),
        None => Ok(()),
    }
}

/// Whoever reads what the supervisor says knows that the journal is not to be trusted.
fn a_failed_record_is_told(world: &World) -> Result<(), Violation> {
    if world.memory.unsaid && left(world).is_none() {
        return Err(broken("journal", "a record failed and nobody was told"));
    }
    Ok(())
}

fn a_stop_stops(world: &World) -> Result<(), Violation> {
    if world.memory.stop && left(world).is_none() {
        return Err(broken("stop", "it was asked for, and the service runs"));
    }
    Ok(())
}

/// A native incumbent has a channel to its coordinator, and the coordinator knows.
fn the_incumbent_is_linked(world: &World) -> Result<(), Violation> {
    let Some(incumbent) = world.coordinator().and_then(Coordinator::incumbent) else {
        return Ok(());
    };
    let Some(process) = world.process(incumbent.instance) else {
        return Ok(());
    };
    let native = matches!(process.program, Program::Native { .. });
    if native && (process.link.is_none() || incumbent.link != Link::Open) {
        let found = format!("{} serves without a channel", incumbent.instance);
        return Err(broken("channel", found));
    }
    Ok(())
}

/// Every process serves or has ended, and the coordinator knows which.
fn nobody_leaks(world: &World) -> Result<(), Violation> {
    if let Some(process) = world.processes.iter().find(|process| !process.serves()) {
        let (instance, state) = (process.instance, process.state_name());
        return Err(broken("leaks", format!("{instance} is left {state}")));
    }
    let Some(coordinator) = world.coordinator() else {
        return match world.processes.first() {
            Some(process) if left(world) == Some(0) => Err(broken(
                "leaks",
                format!("{} outlives a stop", process.instance),
            )),
            _ => Ok(()),
        };
    };
    let leaving = coordinator.leaving();
    if let Some(leaver) = leaving.first() {
        let instance = leaver.instance;
        return Err(broken("leaks", format!("{instance} never left")));
    }
    let known = coordinator.incumbent().map(|member| member.instance);
    let serves: Vec<InstanceId> = world.alive().map(|process| process.instance).collect();
    if known.as_slice() == serves {
        return Ok(());
    }
    let found = format!("serving: {serves:?}; known: {known:?}");
    Err(broken("leaks", found))
}

/// I12: somebody serves unless the coordinator was told to stop, or gave up as it may.
fn i12_somebody_serves(world: &World) -> Result<(), Violation> {
    if world.alive().any(crate::process::Process::serves) {
        return Ok(());
    }
    let legal = match left(world) {
        Some(0) => world.memory.stop,
        Some(_) => world.memory.gave_up,
        None => false,
    };
    if legal {
        return Ok(());
    }
    let state = world.coordinator().map(Coordinator::state_name);
    let code = left(world);
    Err(broken(
        "I12",
        format!("nobody serves; the coordinator is {state:?}, its exit code {code:?}"),
    ))
}

/// I10: without disturbances the handover commits.
fn i10_an_undisturbed_handover_commits(
    world: &World,
    scenario: &Scenario,
) -> Result<(), Violation> {
    if world.spent != Budget::NONE {
        return Ok(());
    }
    let asked = World::begins_with_request(scenario);
    if !asked || world.memory.answer == Some("committed") {
        return Ok(());
    }
    let answer = world.memory.answer;
    Err(broken("I10", format!("undisturbed, it ended {answer:?}")))
}

/// I11: an incumbent that dies sealed is succeeded.
fn i11_the_successor_of_the_sealed_serves(world: &World) -> Result<(), Violation> {
    if let Some(heir) = world.memory.heir.filter(|_| world.spent.total == 1) {
        return match world.process(heir) {
            Some(process) if process.serves() => Ok(()),
            _ => Err(broken(
                "I11",
                format!("the incumbent died with its coordinator, and {heir} does not serve"),
            )),
        };
    }
    let alone = world.spent.total == 1 && world.memory.died_sealed;
    if !alone || world.memory.answer == Some("committed") {
        return Ok(());
    }
    let answer = world.memory.answer;
    Err(broken(
        "I11",
        format!("the incumbent died sealed and the handover ended {answer:?}"),
    ))
}

/// I5 (and I6): whoever was recorded as serving last and was not disturbed itself, serves.
fn i5_the_undisturbed_serves(world: &World) -> Result<(), Violation> {
    let Some(committed) = world.memory.committed else {
        return Ok(());
    };
    if world.memory.stop || world.memory.gave_up {
        return Ok(());
    }
    if world
        .process(committed)
        .is_some_and(|process| process.serves())
    {
        return Ok(());
    }
    let serves: Vec<_> = world.alive().map(|process| process.instance).collect();
    Err(broken(
        "I5",
        format!("{committed} was undisturbed and does not serve; serving: {serves:?}"),
    ))
}

/// I9 and I12: from here an undisturbed upgrade commits.
///
/// # Errors
/// I9, with what happened instead; or whatever broke on the way.
pub fn hands_over_again(world: &World, scenario: &Scenario) -> Result<(), Violation> {
    if world.coordinator().is_none() {
        return Ok(());
    }
    let mut world = world.clone();
    let scenario = Scenario {
        budget: Budget::NONE,
        without: scenario.without,
        ..scenario.clone()
    };
    world.spent = Budget::NONE;
    let mut seen = Seen::default();
    let mut stage = Stage::new(&mut world, &scenario, &mut seen);
    stage.request(AGAIN, FRESH, WhenBusy::Queue)?;
    for _ in 0..STEPS {
        let Some(&action) = possible(stage.world, &scenario).progress.first() else {
            return committed(stage.world);
        };
        stage.apply(action)?;
        safe(stage.world)?;
    }
    Err(broken("I9", "another upgrade never ends"))
}

fn committed(world: &World) -> Result<(), Violation> {
    let serving = world.alive().find(|process| process.serves());
    let fresh = world
        .coordinator()
        .is_some_and(|coordinator| coordinator.current() == FRESH);
    if fresh && serving.is_some() && world.memory.waiting.is_empty() {
        return Ok(());
    }
    Err(broken(
        "I9",
        format!(
            "another upgrade does not commit; answered: {}, serving: {:?}",
            world.memory.waiting.is_empty(),
            serving.map(|process| process.instance)
        ),
    ))
}
