//! The screen of `handover status`.

use super::quantity::{bytes, millis, or_unknown};
use super::table::{Align, Table};
use crate::output::Ink;
use handover_proto::phase::Phase;
use handover_proto::status::{InstanceStatus, Status};

/// Who serves, on what, since when; ends with a newline.
pub(crate) fn render(status: &Status, ink: Ink) -> String {
    let mut text = headline(status, ink);
    text.push('\n');
    for line in instances(status) {
        text.push_str(&format!("\n{line}"));
    }
    text.push('\n');
    for line in listeners(status) {
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

/// Everybody with their role: who serves, who will, who leaves.
pub(crate) fn roles(status: &Status) -> Vec<(&'static str, &InstanceStatus)> {
    let incumbent = status.incumbent.iter().map(|i| ("serves", i));
    let successor = status.successor.iter().map(|i| ("comes", i));
    let leaving = status.leaving.iter().map(|i| ("leaves", i));
    incumbent.chain(successor).chain(leaving).collect()
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

fn listeners(status: &Status) -> Vec<String> {
    let mut table = Table::new(&[
        ("LISTENER", Align::Left),
        ("KIND", Align::Left),
        ("ADDRESS", Align::Left),
    ]);
    for listener in &status.listeners {
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
    fn nobody_serves() {
        insta::assert_snapshot!(render(&sample::vacant(), Ink::PLAIN));
    }
}
