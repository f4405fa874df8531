//! What a large cluster costs: changes at the engine, messages between nodes.

use super::agenda::{MILLISECOND, SECOND};
use super::checker::Violation;
use super::fault::Fault;
use super::log::Log;
use super::network::Latency;
use super::plan::{Plan, Profile};
use super::world::World;

/// What was counted in one part of a run.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Which part.
    pub what: &'static str,
    /// How long it lasted, in virtual seconds.
    pub seconds: f64,
    /// Transactions at the engine.
    pub changes: u64,
    /// Shards that changed their owner.
    pub shards: u64,
    /// Messages of the machines.
    pub messages: u64,
    /// What they said.
    pub items: u64,
    /// Processes that moved.
    pub moved: u64,
}

/// A cluster starts, idles, its processes start, it idles, a node joins, it idles.
///
/// # Errors
/// A rule is broken.
pub fn measure(nodes: usize, processes: usize) -> Result<Vec<Figures>, Violation> {
    let mut plan = Plan::drawn(1).with(true, Profile::Calm);
    plan.nodes = nodes;
    plan.most = nodes + 1;
    plan.shards = 1024;
    plan.stubborn = 0;
    plan.latency = Latency {
        least: MILLISECOND / 5,
        usual: MILLISECOND,
        slow: 0,
        worst: MILLISECOND,
    };
    plan.patience = 10 * SECOND;
    let mut world = World::new(plan, Fault::No, Log::new(false));
    let mut figures = Vec::new();
    for seat in 0..nodes {
        world.begin(seat);
    }
    part(&mut world, &mut figures, "start of all nodes", 30)?;
    part(&mut world, &mut figures, "idle, no process", 60)?;
    world.begin_children(processes);
    part(&mut world, &mut figures, "start of all processes", 60)?;
    part(&mut world, &mut figures, "idle, all processes", 60)?;
    world.begin(nodes);
    part(&mut world, &mut figures, "a node joins", 60)?;
    part(&mut world, &mut figures, "idle again", 60)?;
    Ok(figures)
}

fn part(
    world: &mut World,
    figures: &mut Vec<Figures>,
    what: &'static str,
    seconds: u64,
) -> Result<(), Violation> {
    let count = |world: &World| {
        let operations = world.engine().operations();
        let moved = world.checker.counts.moved;
        let (messages, items) = world.control;
        [
            operations.changes,
            operations.shards,
            messages,
            items,
            moved,
        ]
    };
    let before = count(world);
    world.until(world.now() + seconds * SECOND)?;
    let after = count(world);
    let grown = |at: usize| after[at] - before[at];
    figures.push(Figures {
        what,
        seconds: seconds as f64,
        changes: grown(0),
        shards: grown(1),
        messages: grown(2),
        items: grown(3),
        moved: grown(4),
    });
    Ok(())
}
