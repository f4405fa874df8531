//! Containers that hand over: C1 to C5 in every interleaving, and each of them is missed when the
//! rule behind it is broken.

use handover_sim::broken::Broken;
use handover_sim::container::{Action, Budget, Fault, Report, explore, wander};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{TestCaseError, TestRunner};

const fn budget(ticks: u8, deaths: u8, flight: u8) -> Budget {
    Budget {
        ticks,
        deaths,
        flight,
    }
}

fn tell((broken, way): (Broken, Vec<Action>)) -> String {
    let steps: Vec<_> = way.iter().map(|action| format!("  {action:?}")).collect();
    format!("{broken}, after\n{}", steps.join("\n"))
}

fn explored(instances: usize, budget: Budget) -> Report {
    let report = explore(instances, budget, Fault::No);
    let report = report.unwrap_or_else(|failure| panic!("{}", tell(failure)));
    println!("{instances} instances, {budget:?}: {report:?}");
    // The musts: there are ends, and both ways to them were gone.
    assert!(report.ends > 100 && report.took_back > 0, "{report:?}");
    report
}

#[test]
fn c1_to_c5_hold_in_every_state_of_two() {
    // Long delays alone, then a death or a failure at any point.
    let late = explored(2, budget(3, 0, 1));
    let dead = explored(2, budget(2, 1, 2));
    for report in [late, dead] {
        assert!(report.states > 30_000, "the exploration is shallow");
        assert!(report.committed > 0, "nobody ever lets go");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn c1_to_c5_hold_far_beyond(
        instances in 2usize..=3,
        deaths in 0u8..=1,
        numbers in vec(any::<u8>(), 50..400),
    ) {
        let walked = wander(instances, deaths, Fault::No, &numbers);
        walked.map_err(|failure| TestCaseError::fail(tell(failure)))?;
    }
}

/// By which rule a fault is noticed, if it is: where every interleaving is tried, or far beyond.
fn noticed(fault: Fault) -> Option<Broken> {
    if let Err((broken, way)) = explore(2, budget(1, 1, 2), fault) {
        println!("{fault:?} explored: {}", tell((broken.clone(), way)));
        return Some(broken);
    }
    let mut runner = TestRunner::deterministic();
    let walks = (2usize..=3, 0u8..=1, vec(any::<u8>(), 50..300));
    for _ in 0..500 {
        let walk = walks.new_tree(&mut runner).map(|tree| tree.current());
        let (instances, deaths, numbers) = walk.expect("a walk");
        if let Err((broken, way)) = wander(instances, deaths, fault, &numbers) {
            println!("{fault:?} after {} steps: {broken}", way.len());
            return Some(broken);
        }
    }
    None
}

#[test]
fn every_rule_is_missed_when_it_is_broken() {
    let mut wrong = Vec::new();
    for (fault, rule) in Fault::ALL {
        match noticed(fault) {
            Some(broken) if broken.rule == rule => {}
            found => wrong.push(format!("{fault:?} should break {rule}: {found:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
