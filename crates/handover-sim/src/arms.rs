//! Arms are taken away from the machines one at a time, and somebody has to notice: an invariant
//! breaks, or something that used to happen does not happen any more.
//!
//! A transition nobody would miss is untested, or of no use.

use std::collections::BTreeMap;

use crate::explorer::{self, Report, explore};
use crate::parallel;
use crate::scenario::{self, Depth, Scenario};
use crate::seen::{Arm, Happening, Seen};
use crate::trace;

/// Arms that may go unnoticed, each with the reason.
pub const EXCUSED: [(Arm, &str); 0] = [];

const THREADS: usize = 2;

/// Which arms were missed.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Arms whose loss was noticed, and by what.
    pub noticed: Vec<(Arm, String)>,
    /// Arms whose loss nobody noticed.
    pub unnoticed: Vec<Arm>,
}

/// Takes every arm away that the machines have when any one thing goes wrong.
///
/// # Errors
/// The trace of a violation that needs no arm to be taken away.
pub fn deprive() -> Result<Found, String> {
    let scenarios = scenario::all(Depth::One);
    let results = explorer::explore_all(&scenarios);
    let mut whole: Vec<(&Scenario, Report)> = Vec::new();
    for (scenario, result) in scenarios.iter().zip(results) {
        let report = result.map_err(|failure| trace::tell(scenario, &failure))?;
        whole.push((scenario, report));
    }
    // The smallest world that takes the arm is asked first.
    whole.sort_by_key(|(_, report)| report.steps);
    let mut worlds: BTreeMap<Arm, Vec<usize>> = BTreeMap::new();
    for (at, (_, report)) in whole.iter().enumerate() {
        for arm in &report.seen.active {
            worlds.entry(*arm).or_default().push(at);
        }
    }
    let arms: Vec<(Arm, Vec<usize>)> = worlds.into_iter().collect();
    let notices = parallel::map(&arms, THREADS, |(arm, worlds)| {
        worlds.iter().find_map(|at| {
            let (scenario, report) = &whole[*at];
            notice(scenario, report, *arm)
        })
    });
    let mut found = Found::default();
    for ((arm, _), notice) in arms.into_iter().zip(notices) {
        match notice {
            Some(notice) => found.noticed.push((arm, notice)),
            None => found.unnoticed.push(arm),
        }
    }
    Ok(found)
}

/// What somebody notices when the arm is missing from this world.
fn notice(scenario: &Scenario, whole: &Report, arm: Arm) -> Option<String> {
    let deprived = Scenario {
        without: Some(arm),
        ..scenario.clone()
    };
    match explore(&deprived) {
        Err(failure) => Some(failure.violation.to_string()),
        Ok(report) => missed(&whole.seen, &report.seen),
    }
}

/// The first happening that one saw and the other did not.
fn missed(whole: &Seen, deprived: &Seen) -> Option<String> {
    let lost = whole.happenings.difference(&deprived.happenings).next();
    let new = deprived.happenings.difference(&whole.happenings).next();
    let words = |happening: &Happening, how: &str| {
        let Happening { kind, name, detail } = happening;
        let space = if detail.is_empty() { "" } else { ", " };
        format!("{how}: {kind} {name}{space}{detail}")
    };
    lost.map(|happening| words(happening, "never again"))
        .or_else(|| new.map(|happening| words(happening, "for the first time")))
}
