//! Arms are taken away from the machines one at a time, and somebody has to notice: an invariant
//! breaks, or something that used to happen does not happen any more.
//!
//! A transition nobody would miss is untested, or of no use.

use std::collections::{BTreeMap, BTreeSet};

use crate::explorer::{self, Report, explore};
use crate::parallel;
use crate::scenario::{self, Depth, Scenario};
use crate::seen::{Arm, Happening, Party, Seen};
use crate::trace;

/// Arms that may go unnoticed, each with the reason.
pub const EXCUSED: [(Arm, &str); 13] = [
    (closed("Aborting", Party::Incumbent), NOTED),
    (closed("Activating", Party::Incumbent), NOTED),
    (closed("Probation", Party::Parked), NOTED),
    (closed("Recovering", Party::Candidate), NOTED),
    (closed("Resuming", Party::Incumbent), NOTED),
    (closed("Resuming", Party::Parked), NOTED),
    (closed("UndoResuming", Party::Incumbent), NOTED),
    (closed("UndoResuming", Party::Successor), NOTED),
    (
        closed("Stopping", Party::Leaver),
        "a sealed instance takes the lease of whoever stops before it, says hello, and is told then",
    ),
    (
        of_instance("Incumbent", "Retiring", "(closed)"),
        "what it would still say is lost on the broken channel",
    ),
    (
        of_instance("Incumbent", "Reclaiming", "(terminate)"),
        "without a coordinator it goes by itself a little later",
    ),
    (
        of_instance("Successor", "Warming", "Retire"),
        "whoever leaves before it has served is sent a signal besides, which says the same",
    ),
    (
        of_instance("Successor", "Greeting", "(deadline)"),
        "a coordinator that lives and says nothing is not part of these worlds",
    ),
];

/// Whether a channel is open is kept the same way in every state; in these nothing hangs on it,
/// since whoever lost its channel comes back by itself and says so.
const NOTED: &str = "the state of the channel is kept everywhere, and decides nothing here";

const fn closed(state: &'static str, party: Party) -> Arm {
    Arm {
        machine: "Coordinator",
        state,
        party,
        input: "(closed)",
    }
}

const fn of_instance(machine: &'static str, state: &'static str, input: &'static str) -> Arm {
    Arm {
        machine,
        state,
        party: Party::Nobody,
        input,
    }
}

const THREADS: usize = 2;

/// Which arms were missed.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Arms whose loss was noticed, and by what.
    pub noticed: Vec<(Arm, String)>,
    /// Arms whose loss nobody noticed.
    pub unnoticed: Vec<Arm>,
}

/// Takes every arm away that the machines have, first where any one thing goes wrong, then, for
/// what nobody noticed there, where any two do.
///
/// # Errors
/// The trace of a violation that needs no arm to be taken away.
pub fn deprive() -> Result<Found, String> {
    let mut found = Found::default();
    for depth in [Depth::One, Depth::Two] {
        let known: BTreeSet<Arm> = found.noticed.iter().map(|(arm, _)| *arm).collect();
        found.unnoticed.clear();
        let wholes = Whole::explore(&scenario::all(depth))?;
        let arms = by_arm(&wholes, &known);
        let notices = parallel::map(&arms, THREADS, |(arm, wholes)| {
            wholes.iter().find_map(|whole| notice(whole, *arm))
        });
        for ((arm, _), notice) in arms.iter().zip(notices) {
            match notice {
                Some(notice) => found.noticed.push((*arm, notice)),
                None => found.unnoticed.push(*arm),
            }
        }
    }
    found.noticed.sort();
    Ok(found)
}

/// A world with all its arms.
struct Whole {
    scenario: Scenario,
    report: Report,
}

impl Whole {
    /// The smallest first, so that an arm is missed where that is cheapest.
    fn explore(scenarios: &[Scenario]) -> Result<Vec<Self>, String> {
        let results = explorer::explore_all(scenarios);
        let mut wholes = Vec::new();
        for (scenario, result) in scenarios.iter().zip(results) {
            let report = result.map_err(|failure| trace::tell(scenario, &failure))?;
            let scenario = scenario.clone();
            wholes.push(Self { scenario, report });
        }
        wholes.sort_by_key(|whole| whole.report.steps);
        Ok(wholes)
    }
}

fn by_arm<'a>(wholes: &'a [Whole], but: &BTreeSet<Arm>) -> Vec<(Arm, Vec<&'a Whole>)> {
    let mut worlds: BTreeMap<Arm, Vec<&Whole>> = BTreeMap::new();
    for whole in wholes {
        let excused = |arm: &Arm| EXCUSED.iter().any(|(excused, _)| excused == arm);
        let arms = whole.report.seen.active.iter();
        for arm in arms.filter(|arm| !but.contains(arm) && !excused(arm)) {
            worlds.entry(*arm).or_default().push(whole);
        }
    }
    worlds.into_iter().collect()
}

/// What somebody notices when the arm is missing from this world.
fn notice(whole: &Whole, arm: Arm) -> Option<String> {
    let deprived = Scenario {
        without: Some(arm),
        ..whole.scenario.clone()
    };
    match explore(&deprived) {
        Err(failure) => Some(failure.violation.to_string()),
        Ok(report) => missed(&whole.report.seen, &report.seen),
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
