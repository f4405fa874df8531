//! Every interleaving, every invariant (I1 to I13), and every arm.

use handover_sim::scenario::{self, Depth};
use handover_sim::{arms, explorer, trace};

/// I1, I2, I3, I5, I6, I7, I9, I10, I11, I12, I13 in every state of every scenario.
#[test]
fn the_invariants_hold_in_every_state() {
    let scenarios = scenario::all(Depth::Full);
    let mut failures = Vec::new();
    let (mut states, mut steps) = (0, 0);
    for (scenario, result) in scenarios.iter().zip(explorer::explore_all(&scenarios)) {
        match result {
            Ok(report) => {
                states += report.states;
                steps += report.steps;
                assert!(report.quiescent > 0, "{}: no rest", scenario.name);
            }
            Err(failure) => failures.push(trace::tell(scenario, &failure)),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let worlds = scenarios.len();
    println!("{worlds} scenarios, {states} states, {steps} steps");
    assert!(states > 1_000_000, "the exploration is shallow: {states}");
}

#[test]
fn every_arm_is_missed_when_it_is_taken_away() {
    let found = arms::deprive().unwrap_or_else(|words| panic!("{words}"));
    println!("{} arms noticed", found.noticed.len());
    let unnoticed: Vec<String> = found.unnoticed.iter().map(ToString::to_string).collect();
    assert!(
        unnoticed.is_empty(),
        "nobody notices the loss of:\n  {}",
        unnoticed.join("\n  ")
    );
    let arms = found.noticed.len();
    assert!(arms > 150, "the machines have more arms than {arms}");
}
