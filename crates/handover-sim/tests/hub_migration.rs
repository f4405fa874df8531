//! Moves of one process: H1 to H8 and H11 in every interleaving, and each of them is missed when the
//! rule behind it is broken.

use handover_sim::broken::Broken;
use handover_sim::hub::migration::{Action, Budget, Fault, Layout, Report, explore};

const NOTHING: Budget = Budget {
    breaks: 0,
    deaths: 0,
    aborts: 0,
    refusals: 0,
    moves: 0,
    late: false,
};

const CALL: bool = true;
const CAST: bool = false;

/// The home beside, at the source, at the target.
const LAYOUTS: [Layout; 3] = [layout(3, 2), layout(2, 0), layout(2, 1)];

const fn layout(nodes: u8, home: u8) -> Layout {
    Layout {
        nodes,
        home,
        source: 0,
        target: 1,
    }
}

fn tell((broken, way): (Broken, Vec<Action>)) -> String {
    let steps: Vec<_> = way.iter().map(|action| format!("  {action:?}")).collect();
    format!("{broken}, after\n{}", steps.join("\n"))
}

fn explored(layout: Layout, budget: Budget, letters: &[bool]) -> Report {
    let began = std::time::Instant::now();
    let report = explore(layout, budget, letters, Fault::No);
    let report = report.unwrap_or_else(|failure| panic!("{}", tell(failure)));
    println!(
        "{layout:?}, {budget:?}, {letters:?}: {report:?} {:?}",
        began.elapsed()
    );
    report
}

/// Explores all layouts, and adds up what was found.
fn all(budget: Budget, letters: &[bool]) -> Report {
    let mut sum = Report::default();
    for layout in LAYOUTS {
        let report = explored(layout, budget, letters);
        sum.states += report.states;
        sum.ends += report.ends;
        sum.moved += report.moved;
        sum.stayed += report.stayed;
        sum.lost += report.lost;
        sum.succeeded += report.succeeded;
    }
    sum
}

#[test]
fn h8_undisturbed_it_commits_and_everything_is_answered_once() {
    let report = all(NOTHING, &[CAST, CALL, CAST]);
    assert!(
        report.ends > 1_000,
        "the exploration is shallow: {report:?}"
    );
    assert_eq!(report.moved, report.ends, "{report:?}");
    let there_and_back = Budget {
        moves: 1,
        ..NOTHING
    };
    let report = all(there_and_back, &[CAST, CALL]);
    assert_eq!(report.moved, report.ends, "{report:?}");
}

#[test]
fn h3_h4_h7_h11_hold_when_connections_break() {
    let once = Budget {
        breaks: 1,
        ..NOTHING
    };
    let late = Budget { late: true, ..once };
    let again = Budget { moves: 1, ..late };
    for (budget, letters) in [(once, &[CAST, CALL][..]), (late, &[CALL]), (again, &[])] {
        let report = all(budget, letters);
        assert!(report.moved > 0 && report.lost == 0, "{report:?}");
    }
}

#[test]
fn h5_the_source_serves_when_somebody_refuses() {
    let budget = Budget {
        aborts: 1,
        refusals: 1,
        ..NOTHING
    };
    let report = all(budget, &[CAST, CALL]);
    assert!(report.moved > 0 && report.stayed > 0, "{report:?}");
    assert_eq!(report.lost, 0, "{report:?}");
}

#[test]
fn h1_to_h6_hold_when_somebody_dies() {
    for letters in [&[CALL][..], &[CAST, CAST]] {
        let report = all(
            Budget {
                deaths: 1,
                ..NOTHING
            },
            letters,
        );
        assert!(report.moved > 0 && report.stayed > 0, "{report:?}");
        // The process alone, before its state was anywhere else; and a new home.
        assert!(report.lost > 0 && report.succeeded > 0, "{report:?}");
    }
    let again = Budget {
        deaths: 1,
        moves: 1,
        ..NOTHING
    };
    all(again, &[]);
}

#[test]
fn h1_to_h6_hold_when_two_die() {
    let report = all(
        Budget {
            deaths: 2,
            ..NOTHING
        },
        &[CALL],
    );
    assert!(report.moved > 0 && report.stayed > 0, "{report:?}");
    assert!(report.lost > 0 && report.succeeded > 0, "{report:?}");
}

#[test]
fn h1_to_h7_hold_when_all_of_it_happens() {
    let budget = Budget {
        deaths: 1,
        breaks: 1,
        aborts: 1,
        refusals: 1,
        late: true,
        moves: 0,
    };
    let report = all(budget, &[]);
    assert!(report.moved > 0 && report.stayed > 0, "{report:?}");
    let torn = Budget {
        deaths: 1,
        breaks: 1,
        ..NOTHING
    };
    all(torn, &[CALL]);
}

/// By which rule a fault is noticed, if it is.
fn noticed(fault: Fault) -> Option<Broken> {
    let late = Budget {
        breaks: 1,
        late: true,
        ..NOTHING
    };
    let trials: [(Budget, &[bool]); 6] = [
        (NOTHING, &[CAST, CAST]),
        (
            Budget {
                breaks: 1,
                ..NOTHING
            },
            &[CALL],
        ),
        (
            Budget {
                aborts: 1,
                refusals: 1,
                ..NOTHING
            },
            &[CALL],
        ),
        (
            Budget {
                deaths: 1,
                ..NOTHING
            },
            &[CALL],
        ),
        (late, &[CALL]),
        (Budget { aborts: 1, ..late }, &[]),
    ];
    for (budget, letters) in trials {
        for layout in LAYOUTS {
            if let Err((broken, way)) = explore(layout, budget, letters, fault) {
                println!(
                    "{fault:?} after {} steps with {budget:?}: {broken}",
                    way.len()
                );
                return Some(broken);
            }
        }
    }
    None
}

#[test]
fn every_rule_is_missed_when_it_is_broken() {
    let mut wrong = Vec::new();
    for (fault, rules) in Fault::ALL {
        match noticed(fault) {
            Some(broken) if rules.contains(&broken.rule) => {}
            found => wrong.push(format!("{fault:?} should break {rules:?}: {found:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
