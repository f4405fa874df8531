//! One long way at random, far beyond what can be explored.

use super::fault::Fault;
use super::search::FAIR;
use super::world::{Action, Budget, World};
use crate::broken::Broken;

/// Goes where the numbers lead: each chooses among what can happen next. Then goes on fairly.
/// Returns what happened.
///
/// # Errors
/// The first rule that is broken, and the way there.
pub fn wander(
    instances: usize,
    deaths: u8,
    fault: Fault,
    numbers: &[u8],
) -> Result<Vec<Action>, (Broken, Vec<Action>)> {
    let ticks = u8::MAX;
    let flight = 4;
    let budget = Budget {
        ticks,
        deaths,
        flight,
    };
    let mut way = Vec::new();
    let mut world = World::new(instances, budget, fault).map_err(|broken| (broken, way.clone()))?;
    for number in numbers {
        let possible = world.possible();
        // A small number chooses among all; a large one delivers, or nothing would ever arrive.
        let deliveries = possible
            .iter()
            .filter(|action| matches!(action, Action::Deliver(_)));
        let deliveries: Vec<_> = deliveries.copied().collect();
        let among = if *number >= 160 && !deliveries.is_empty() {
            &deliveries
        } else {
            &possible
        };
        let Some(action) = among.get(usize::from(*number) % among.len().max(1)) else {
            break;
        };
        way.push(*action);
        world
            .apply(*action)
            .map_err(|broken| (broken, way.clone()))?;
        world.settle();
    }
    for mut end in [world.without_flight(), world] {
        end.go_on_fairly(FAIR)
            .map_err(|broken| (broken, way.clone()))?;
    }
    Ok(way)
}
