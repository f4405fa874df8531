//! The machines' transitions as Markdown: what exploration saw, in a fixed order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::explorer;
use crate::scenario::{self, Depth};
use crate::seen::{Arm, Party, Seen, Way};
use crate::trace;

const HEAD: &str = "\
# State tables

Generated from the machines by exploring them with any two disturbances (`cargo xtask tables`); \
never edited. Each row is one input in one state: the next states, and the effects asked for on \
the way. Inputs in parentheses are not messages. *ignored* means that the input arrives, the \
state stays and nothing is asked for; an input without a row does not arrive in that state.
";

const PARTIES: &str = "\
Inputs name whom they are about, as the coordinator knows it. A *leaver* is on its way out and \
answers for itself, whatever the state; a *stranger* is an instance the coordinator has forgotten.
";

/// The tables of all machines.
///
/// # Errors
/// The trace of a violation: there are no tables of machines that are wrong.
pub fn markdown() -> Result<String, String> {
    let scenarios = scenario::all(Depth::Two);
    let mut seen = Seen::default();
    for (scenario, result) in scenarios.iter().zip(explorer::explore_all(&scenarios)) {
        let report = result.map_err(|failure| trace::tell(scenario, &failure))?;
        seen.merge(report.seen);
    }
    Ok(render(&seen))
}

fn render(seen: &Seen) -> String {
    let mut words = String::from(HEAD);
    for machine in ["Coordinator", "Successor", "Incumbent"] {
        let _ = write!(words, "\n## {machine}\n");
        if machine == "Coordinator" {
            let _ = write!(words, "\n{PARTIES}");
        }
        let mut states: BTreeMap<&str, Vec<(&Arm, &BTreeSet<Way>)>> = BTreeMap::new();
        for (arm, ways) in seen
            .transitions
            .iter()
            .filter(|(arm, _)| arm.machine == machine)
        {
            states.entry(arm.state).or_default().push((arm, ways));
        }
        for (state, rows) in states {
            table(&mut words, state, &rows);
        }
    }
    words
}

fn table(words: &mut String, state: &str, rows: &[(&Arm, &BTreeSet<Way>)]) {
    let _ = write!(
        words,
        "\n### {state}\n\n| input | next | effects |\n|---|---|---|\n"
    );
    for (arm, ways) in rows {
        let party = match arm.party {
            Party::Nobody => String::new(),
            party => format!("{}: ", party.name()),
        };
        let mut nexts: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for way in *ways {
            let effects = way.effects.join(", ");
            nexts.entry(way.next).or_default().insert(effects);
        }
        for (next, effects) in nexts {
            let stays = next == state;
            let told: Vec<&str> = effects.iter().map(String::as_str).collect();
            let (next, told) = match told.as_slice() {
                [""] if stays => ("", "*ignored*".to_owned()),
                told => (next, several(told)),
            };
            let _ = writeln!(words, "| {party}{} | {next} | {told} |", arm.input);
        }
    }
}

/// Alternatives, on lines of their own.
fn several(effects: &[&str]) -> String {
    let shown = effects.iter().map(|effects| match *effects {
        "" => "–",
        effects => effects,
    });
    shown.collect::<Vec<_>>().join("<br>")
}
