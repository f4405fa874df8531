//! The screen of `handover status`.

use super::quantity::{bytes, duration, millis, or_unknown};
use super::table::{Align, Table};
use crate::output::Ink;
use handover_proto::manifest::ListenerEntry;
use handover_proto::phase::{Mode, Phase};
use handover_proto::status::{InstanceStatus, LeaseStatus, Progress, Status};
use std::time::Duration;

/// Who serves, on what, since when; ends with a newline.
pub(crate) fn render(status: &Status, ink: Ink) -> String {
    let mut text = headline(status, ink);
    text.push('\n');
    for line in reasons(status) {
        text.push_str(&format!("{line}\n"));
    }
    for line in instances(status) {
        text.push_str(&format!("\n{line}"));
    }
    text.push('\n');
    for line in listeners(&status.listeners) {
        text.push_str(&format!("\n{line}"));
    }
    text.push('\n');
    for line in remarks(status) {
        text.push_str(&format!("\n{line}"));
    }
    text.push('\n');
    text
}

fn headline(status: &Status, ink: Ink) -> String {
    let phase = status.phase.to_string();
    let phase = match status.phase {
        Phase::Serving => ink.good(&phase),
        Phase::Vacant => ink.bad("vacant: nobody serves"),
        _ => ink.bold(&phase),
    };
    format!(
        "{}  {phase}  {}  {}\n{}",
        ink.bold(&status.service),
        status.generation,
        status.mode,
        ink.dim(&format!(
            "supervisor pid {}, up {}, {}, {} descriptors, handover {}",
            status.supervisor_pid,
            millis(status.uptime_ms),
            bytes(status.supervisor_rss_bytes),
            status.supervisor_descriptors,
            status.version,
        ))
    )
}

/// Who serves and why, and who may write.
pub(crate) fn reasons(status: &Status) -> Vec<String> {
    let mut lines = Vec::new();
    let who = match (&status.incumbent, &status.candidates[..]) {
        (Some(incumbent), _) => format!("{} {}", incumbent.instance, yields(status)),
        (None, []) => "nobody serves".to_owned(),
        (None, candidates) => {
            let names: Vec<_> = candidates.iter().map(|i| i.instance.to_string()).collect();
            format!("{} serves", names.join(" or "))
        }
    };
    if !status.why.is_empty() {
        lines.push(format!("{who}: {}", status.why));
    }
    if status.mode == Mode::Exclusive {
        let holder = match &status.lease {
            Some(LeaseStatus { instance, epoch }) => format!("{instance} holds the lease, {epoch}"),
            None => "nobody is known to hold the lease".to_owned(),
        };
        let dark = status.handover.as_ref().and_then(|running| running.dark_us);
        let dark = dark.map(|dark| duration(Duration::from_micros(dark)));
        let dark = dark.map(|dark| format!("; dark for {dark}: nobody may write"));
        lines.push(format!("{holder}{}", dark.unwrap_or_default()));
    }
    lines
}

/// What the incumbent does: in an exclusive handover it serves less and less.
fn yields(status: &Status) -> &'static str {
    match (status.mode, status.phase) {
        (Mode::Exclusive, Phase::Drain | Phase::Seal | Phase::Activate) => "yields",
        (Mode::Exclusive, Phase::Abort | Phase::Resume) => "resumes",
        _ => "serves",
    }
}

/// Everybody with their role: who serves, who will, who could, who leaves.
pub(crate) fn roles(status: &Status) -> Vec<(&'static str, &InstanceStatus)> {
    let incumbent = status.incumbent.iter().map(|i| (yields(status), i));
    let successor = status.successor.iter().map(|i| ("comes", i));
    let candidates = status.candidates.iter().map(|i| ("may serve", i));
    let parked = status.parked.iter().map(|i| ("parked", i));
    let leaving = status.leaving.iter().map(|i| ("leaves", i));
    let present = incumbent.chain(successor).chain(candidates);
    present.chain(parked).chain(leaving).collect()
}

fn instances(status: &Status) -> Vec<String> {
    if roles(status).is_empty() {
        return vec!["no instance runs; `handover upgrade --binary PATH` starts one".to_owned()];
    }
    let mut table = Table::new(&[
        ("INSTANCE", Align::Left),
        ("ROLE", Align::Left),
        ("PID", Align::Right),
        ("UP", Align::Right),
        ("CONNS", Align::Right),
        ("MEMORY", Align::Right),
        ("FDS", Align::Right),
        ("PROGRAM", Align::Left),
    ]);
    for (role, instance) in roles(status) {
        table.row(vec![
            instance.instance.to_string(),
            role.to_owned(),
            or_unknown(instance.pid, |pid| pid.to_string()),
            millis(instance.uptime_ms),
            or_unknown(instance.connections, |n| n.to_string()),
            or_unknown(instance.rss_bytes, bytes),
            or_unknown(instance.descriptors, |n| n.to_string()),
            instance.program.clone(),
        ]);
    }
    table.lines()
}

/// The sockets, as a table.
pub(crate) fn listeners(listeners: &[ListenerEntry]) -> Vec<String> {
    let mut table = Table::new(&[
        ("LISTENER", Align::Left),
        ("KIND", Align::Left),
        ("ADDRESS", Align::Left),
    ]);
    for listener in listeners {
        table.row(vec![
            listener.name.clone(),
            listener.kind.to_string(),
            listener.address.clone(),
        ]);
    }
    table.lines()
}

fn remarks(status: &Status) -> Vec<String> {
    let mut lines = Vec::new();
    for (_, instance) in roles(status) {
        if let Some(text) = &instance.text {
            lines.push(format!("{} says: {text}", instance.instance));
        }
    }
    if let Some(handover) = &status.handover {
        let elapsed = millis(handover.elapsed_ms);
        lines.push(format!(
            "handover {}: {} after {elapsed}; `handover abort` cancels it",
            handover.id, status.phase
        ));
        if let Some(Progress { done, total }) = handover.seal {
            lines.push(format!(
                "sealed: {done} of {}",
                or_unknown((total > 0).then_some(total), |n| n.to_string())
            ));
        }
    }
    if let (Some(parked), Some(left)) = (&status.parked, status.probation_ms) {
        lines.push(format!(
            "{} is parked for {} more; `handover undo` lets it take back",
            parked.instance,
            millis(left)
        ));
    }
    if status.queued {
        lines.push("a request waits for it to end".to_owned());
    }
    lines.push(match &status.previous {
        Some(program) => format!("`handover rollback` goes back to: {program}"),
        None => "no previous version to roll back to".to_owned(),
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::sample;

    #[test]
    fn a_service_at_rest() {
        insta::assert_snapshot!(render(&sample::at_rest(), Ink::PLAIN));
    }

    #[test]
    fn a_service_in_a_handover() {
        insta::assert_snapshot!(render(&sample::in_handover(), Ink::PLAIN));
    }

    #[test]
    fn an_owner_that_seals() {
        insta::assert_snapshot!(render(&sample::sealing(), Ink::PLAIN));
    }

    #[test]
    fn an_owner_on_probation() {
        insta::assert_snapshot!(render(&sample::on_probation(), Ink::PLAIN));
    }

    #[test]
    fn a_supervisor_that_does_not_know_the_owner_yet() {
        insta::assert_snapshot!(render(&sample::recovering(), Ink::PLAIN));
    }

    #[test]
    fn nobody_serves() {
        insta::assert_snapshot!(render(&sample::vacant(), Ink::PLAIN));
    }
}
