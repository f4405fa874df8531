//! The demo's report for people.

use super::report::{Phase, Report, Verdict};
use crate::hub::view::{count, counted, plain};
use crate::output::Ink;
use crate::view::quantity::{UNKNOWN, duration, millis};
use crate::view::table::{Align, Table};
use std::time::Duration;

/// A phase in a line, said when it is over.
pub(super) fn sentence(phase: &Phase) -> String {
    let settled = match phase.settled_ms {
        _ if phase.moves.count == 0 && phase.settled_ms == Some(0) => "only load".to_owned(),
        Some(took) => format!("settled in {}", millis(took)),
        None => "DID NOT SETTLE".to_owned(),
    };
    let reason = phase
        .calls
        .reason
        .as_ref()
        .map_or_else(String::new, |reason| {
            format!("; the first that failed: {}", plain(reason))
        });
    format!(
        "{}: {settled}, {} moved, {}, {} failed{reason}",
        phase.what,
        count(phase.moves.count),
        counted(phase.calls.count, "call", "calls"),
        count(phase.calls.failed),
    )
}

/// The table and the result; ends with a newline.
pub(super) fn render(report: &Report, ink: Ink) -> String {
    let mut table = Table::new(&[
        ("", Align::Left),
        ("SETTLED IN", Align::Right),
        ("MOVED", Align::Right),
        ("A SECOND", Align::Right),
        ("PAUSE P50", Align::Right),
        ("P99", Align::Right),
        ("MAX", Align::Right),
        ("CALLS", Align::Right),
        ("P99", Align::Right),
        ("MAX", Align::Right),
        ("FAILED", Align::Right),
        ("LOST", Align::Right),
        ("DOUBLED", Align::Right),
    ]);
    for phase in &report.phases {
        table.row(row(phase));
    }
    let mut lines = table.lines().into_iter();
    let header = lines.next().unwrap_or_default();
    let mut text = format!("\n{}\n", ink.dim(&header));
    for line in lines {
        text.push_str(&format!("{line}\n"));
    }
    text.push('\n');
    for line in remarks(report) {
        text.push_str(&format!("{line}\n"));
    }
    let verdict = verdict(report);
    text.push_str(&match report.verdict {
        Verdict::Kept => ink.good(&verdict),
        Verdict::Broken => ink.bad(&verdict),
    });
    text.push('\n');
    text
}

fn row(phase: &Phase) -> Vec<String> {
    let nanos = |nanos| duration(Duration::from_nanos(nanos));
    let moved = |text: String| match phase.moves.count {
        0 => UNKNOWN.to_owned(),
        _ => text,
    };
    vec![
        phase.what.clone(),
        match phase.settled_ms {
            None => "never".to_owned(),
            Some(0) => UNKNOWN.to_owned(),
            Some(took) => millis(took),
        },
        count(phase.moves.count),
        moved(format!("{:.0}", phase.moves_per_second)),
        moved(nanos(phase.moves.p50_ns)),
        moved(nanos(phase.moves.p99_ns)),
        moved(nanos(phase.moves.longest_ns)),
        count(phase.calls.count),
        nanos(phase.calls.p99_ns),
        nanos(phase.calls.longest_ns),
        count(phase.calls.failed),
        count(phase.lost + phase.lost_with_their_node),
        count(phase.doubled),
    ]
}

fn remarks(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    for phase in &report.phases {
        if phase.lost_with_their_node > 0 {
            lines.push(format!(
                "{}: {} were on that node only and are gone with it, as was to be expected without \
                 copies; with --replicas 1 their copies take over",
                phase.what,
                counted(phase.lost_with_their_node, "increment", "increments"),
            ));
        }
        if phase.moves.failed > 0 {
            lines.push(format!(
                "{}: {} at first, and those counters served where they were meanwhile",
                phase.what,
                counted(phase.moves.failed, "move failed", "moves failed"),
            ));
        }
        if phase.silent > 0 {
            let reason = phase.silent_reason.as_deref().unwrap_or_default();
            lines.push(format!(
                "{}: {} did not answer when it was over: {}",
                phase.what,
                counted(phase.silent, "counter", "counters"),
                plain(reason),
            ));
        }
    }
    lines
}

fn verdict(report: &Report) -> String {
    let sum = |each: fn(&Phase) -> u64| report.phases.iter().map(each).sum::<u64>();
    let calls = sum(|phase| phase.calls.count);
    let failed = sum(|phase| phase.calls.failed);
    let moved = sum(|phase| phase.moves.count);
    let took = millis(report.took_ms);
    let calls = format!(
        "{}, {} failed",
        counted(calls, "call", "calls"),
        count(failed)
    );
    if report.verdict == Verdict::Kept {
        return format!(
            "{calls}; {}; nothing acknowledged was lost that the guarantees cover, nothing was \
             counted twice ({took})",
            counted(moved, "move", "moves"),
        );
    }
    let lost = sum(|phase| phase.lost);
    let doubled = sum(|phase| phase.doubled);
    let silent = sum(|phase| phase.silent);
    let unsettled = report.phases.iter().filter(|p| p.settled_ms.is_none());
    format!(
        "THE GUARANTEES WERE BROKEN: {} lost, {} doubled, {} silent, {} of {} phases never settled; \
         {calls} ({took})",
        counted(lost, "increment", "increments"),
        count(doubled),
        counted(silent, "counter", "counters"),
        unsettled.count(),
        report.phases.len(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::hub::demo::load::Calls;
    use crate::command::hub::demo::report::Moved;

    fn phase(what: &str, settled_ms: Option<u64>, moved: u64) -> Phase {
        Phase {
            what: what.to_owned(),
            settled_ms,
            moves: Moved {
                count: moved,
                failed: 0,
                p50_ns: 412_000,
                p99_ns: 1_630_000,
                longest_ns: 9_100_000,
            },
            moves_per_second: 2_146.3,
            calls: Calls {
                count: 12_040,
                failed: 0,
                p50_ns: 130_000,
                p99_ns: 2_200_000,
                longest_ns: 14_000_000,
                reason: None,
            },
            lost: 0,
            lost_with_their_node: 0,
            doubled: 0,
            silent: 0,
            silent_reason: None,
        }
    }

    fn report(phases: Vec<Phase>, verdict: Verdict) -> Report {
        Report {
            processes: 10_000,
            nodes: 3,
            replicas: 0,
            clients: 32,
            started_ms: 640,
            took_ms: 18_300,
            phases,
            verdict,
        }
    }

    #[test]
    fn a_demo_that_kept_what_is_promised() {
        let mut killed = phase("c is killed", Some(1_900), 0);
        killed.lost_with_their_node = 3_310;
        let phases = vec![
            phase("at rest", Some(0), 0),
            phase("d joins", Some(1_180), 2_533),
            phase("b leaves", Some(1_402), 2_498),
            killed,
        ];
        insta::assert_snapshot!(render(&report(phases, Verdict::Kept), Ink::PLAIN));
    }

    #[test]
    fn a_demo_that_found_loss() {
        let mut joined = phase("d joins", None, 2_533);
        joined.lost = 3;
        joined.doubled = 1;
        joined.silent = 2;
        joined.silent_reason = Some("it did not reply".to_owned());
        joined.moves.failed = 4;
        let text = render(&report(vec![joined], Verdict::Broken), Ink::PLAIN);
        insta::assert_snapshot!(text);
    }
}
