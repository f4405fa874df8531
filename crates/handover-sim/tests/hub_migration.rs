//! Moves of one process: H1 to H8 and H11 in every interleaving, and each of them is missed when the
//! rule behind it is broken.

use handover_sim::hub::migration::{Action, Broken, Budget, Fault, Layout, Report, explore};

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

#[test]
fn undisturbed_it_commits_and_all_is_answered() {
    for layout in LAYOUTS {
        let report = explored(layout, NOTHING, &[CAST, CALL, CAST]);
        assert_eq!(report.moved, report.ends, "{report:?}");
    }
}
