//! Depth first through every interleaving: few worlds are held at once.

use std::collections::HashMap;
use std::time::Duration;

use super::fault::Fault;
use super::world::{Action, Budget, World};
use crate::broken::{Broken, Steps};
use crate::fingerprint::{self, Fingerprints};

/// Of so many states one goes on fairly to its end.
const FAIRLY_ONE_OF: u128 = 16;

/// How far: the slowest repetition comes three times.
pub(super) const FAIR: Duration = Duration::from_secs(200);

/// What an exploration found.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Distinct states.
    pub states: usize,
    /// Steps between them.
    pub steps: usize,
    /// States from which it went on fairly.
    pub ends: usize,
    /// States in which an instance that was not disturbed had let go.
    pub committed: usize,
    /// States in which one took back.
    pub took_back: usize,
}

/// Every interleaving of so many instances.
///
/// # Errors
/// The first rule that is broken, and a way there.
pub fn explore(
    instances: usize,
    budget: Budget,
    fault: Fault,
) -> Result<Report, (Broken, Vec<Action>)> {
    let begin = World::new(instances, budget, fault).map_err(|broken| (broken, Vec::new()))?;
    let mut known: HashMap<u128, (), Fingerprints> = HashMap::default();
    let mut steps = Steps::new();
    let mut waiting = vec![(begin, 0)];
    let mut report = Report {
        states: 1,
        steps: 0,
        ends: 0,
        committed: 0,
        took_back: 0,
    };
    while let Some((world, at)) = waiting.pop() {
        let way = |last| steps.way(at, last);
        let print = fingerprint::of(&world);
        if print.is_multiple_of(FAIRLY_ONE_OF) {
            report.ends += 1;
            let arrives = world.clone();
            for mut end in [arrives, world.without_flight()] {
                end.go_on_fairly(FAIR)
                    .map_err(|broken| (broken, way(None)))?;
            }
        }
        report.committed += usize::from(world.has_committed());
        report.took_back += usize::from(world.has_taken_back());
        let mut found = Vec::new();
        for action in world.possible() {
            let mut next = world.clone();
            next.apply(action)
                .map_err(|broken| (broken, way(Some(action))))?;
            report.steps += 1;
            next.settle();
            if known.insert(fingerprint::of(&next), ()).is_none() {
                found.push((next, action));
            }
        }
        for (next, action) in found {
            report.states += 1;
            waiting.push((next, steps.add(at, action)));
        }
    }
    Ok(report)
}
