//! Tables and sentences. No clock, no terminal, no socket.

use crate::output::Ink;
use crate::view::quantity::{UNKNOWN, duration, millis, time_of_day};
use crate::view::table::{Align, Table};
use handover_hub::admin::view::{
    EventView, HostView, NodeView, Outcome, ProcessView, Status, Weight,
};
use handover_hub_proto::row::Role;
use handover_hub_proto::spec::Restart;
use handover_hub_proto::view::{Load, Standing};
use std::time::Duration;

/// Processes left behind that are named; `ps --node` has the rest.
const NAMED: usize = 10;

/// `12,345`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 node`, `3 nodes`.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    let word = if number == 1 { one } else { many };
    format!("{} {word}", count(number))
}

/// Without what a terminal would obey: words of processes come from anywhere.
pub(crate) fn plain(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
}

/// A part of a load, if the node says how busy it is.
pub(crate) fn known(load: &Load, text: String) -> String {
    match load.is_known() {
        true => text,
        false => UNKNOWN.to_owned(),
    }
}

pub(crate) fn share(thousandths: u16) -> String {
    format!("{} %", (u32::from(thousandths) + 5) / 10)
}

pub(crate) fn takes(node: &NodeView) -> &'static str {
    match node.standing {
        Standing::Serving if node.weight == 0 => "no, weight 0",
        Standing::Serving => "yes",
        Standing::Evacuating => "no, being emptied",
        Standing::Leaving => "no, leaving",
    }
}

/// The hub in a line, and why it is not well if it is not.
pub(crate) fn headline(status: &Status, nodes: usize, ink: Ink) -> String {
    let kind = match status.exclusive {
        true => "exclusive ownership",
        false => "ownership by gossip",
    };
    let mut text = format!(
        "{}  {}, {}, {}, {kind}\n",
        ink.bold(status.hub.as_str()),
        counted(nodes as u64, "node", "nodes"),
        counted(status.processes, "process", "processes"),
        counted(u64::from(status.shards.total), "shard", "shards"),
    );
    text.push_str(&ink.dim(&format!(
        "as node {} knows it, up {}",
        status.node,
        millis(status.uptime_ms)
    )));
    text.push('\n');
    if status.shards.vacant > 0 {
        let text_of = format!(
            "{} without a home: their processes run, none starts, stops or moves\n",
            counted(u64::from(status.shards.vacant), "shard", "shards")
        );
        text.push_str(&ink.bad(&text_of));
    }
    if let Some(reason) = &status.suspended {
        let reason = plain(reason);
        text.push_str(&ink.bad(&format!("node {} stands still: {reason}", status.node)));
        text.push('\n');
    }
    text
}

/// `12 moves in flight, 480/s; 10,000 moved, none failed`: of the hub, but for nodes that are
/// [`unheard`].
pub(crate) fn moves(status: &Status) -> String {
    let moves = &status.moves;
    let failed = match moves.failed {
        0 => "none failed".to_owned(),
        failed => format!("{} failed and serve where they were", count(failed)),
    };
    let pause = moves.last_pause_ns.map_or_else(String::new, |pause| {
        format!("; last pause {}", duration(Duration::from_nanos(pause)))
    });
    format!(
        "{} in flight, {:.0}/s; {} moved, {failed}{pause}",
        counted(moves.in_flight, "move", "moves"),
        moves.per_second,
        count(moves.moved),
    )
}

/// `not known of node b`: those of others are told without them.
pub(crate) fn unheard(nodes: &[String]) -> String {
    let word = if nodes.len() == 1 { "node" } else { "nodes" };
    format!("not known of {word} {}", plain(&nodes.join(", ")))
}

/// The table of `hub nodes`; ends with a newline.
pub(crate) fn nodes(status: &Status, nodes: &[NodeView], ink: Ink) -> String {
    let mut table = Table::new(&[
        ("NODE", Align::Left),
        ("TAKES PROCESSES", Align::Left),
        ("PROCESSES", Align::Right),
        ("SHARDS", Align::Right),
        ("WAITING", Align::Right),
        ("CPU", Align::Right),
        ("MEMORY", Align::Right),
        ("ADDRESS", Align::Left),
        ("VERSION", Align::Left),
    ]);
    for node in nodes {
        table.row(vec![
            node.name.to_string(),
            takes(node).to_owned(),
            count(node.processes),
            count(u64::from(node.shards)),
            known(&node.load, count(u64::from(node.load.queued))),
            known(&node.load, share(node.load.processor)),
            known(&node.load, share(node.load.memory)),
            plain(&node.address),
            plain(&node.version),
        ]);
    }
    let mut text = headline(status, nodes.len(), ink);
    text.push('\n');
    for line in table.lines() {
        text.push_str(&format!("{line}\n"));
    }
    text.push_str(&format!("\n{}\n", moves(status)));
    if !status.moves.unknown.is_empty() {
        let unknown = format!("moves are {}", unheard(&status.moves.unknown));
        text.push_str(&ink.bad(&unknown));
        text.push('\n');
    }
    text
}

/// Where a process runs: the node that answers first, then the others.
fn runs_on(process: &ProcessView) -> (String, String) {
    let active = process.active();
    let others: Vec<String> = process
        .hosts
        .iter()
        .filter(|host| active.is_none_or(|active| active.node != host.node))
        .map(|host| format!("{} ({})", host.node, role(host)))
        .collect();
    let active = active.map_or_else(|| UNKNOWN.to_owned(), |host| host.node.clone());
    (active, others.join(", "))
}

fn role(host: &HostView) -> &'static str {
    match host.role {
        Role::Active => "active",
        Role::Passive => "passive",
    }
}

/// The table of `hub ps`, by id; ends with a newline.
pub(crate) fn processes(processes: &mut [ProcessView]) -> String {
    if processes.is_empty() {
        return "no process fits\n".to_owned();
    }
    processes.sort_by(|a, b| a.id.cmp(&b.id));
    let mut table = Table::new(&[
        ("ID", Align::Left),
        ("KIND", Align::Left),
        ("ACTIVE ON", Align::Left),
        ("OTHERS", Align::Left),
        ("HOME", Align::Left),
        ("SHARD", Align::Right),
        ("TAG", Align::Left),
    ]);
    for process in processes {
        let (active, others) = runs_on(process);
        table.row(vec![
            process.id.to_string(),
            process.kind.to_string(),
            active,
            others,
            process.home.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
            process.shard.to_string(),
            plain(process.tag.as_deref().unwrap_or_default()),
        ]);
    }
    let lines = table.lines().into_iter();
    lines.map(|line| format!("{line}\n")).collect()
}

/// One process; ends with a newline.
pub(crate) fn process(process: &ProcessView, ink: Ink) -> String {
    let mut text = format!(
        "{}  {}\n",
        ink.bold(process.id.as_str()),
        ink.dim(process.kind.as_str())
    );
    let mut line = |name: &str, value: String| text.push_str(&format!("  {name:<10}{value}\n"));
    for host in &process.hosts {
        let value = format!("{}, epoch {}", host.node, host.epoch);
        line(role(host), value);
    }
    if process.hosts.is_empty() {
        line(
            "active",
            "nowhere now: it is being started again".to_owned(),
        );
    }
    let home = match &process.home {
        Some(home) => home.clone(),
        None => "none now: nothing is decided on it until it has one".to_owned(),
    };
    line("home", home);
    line("shard", process.shard.to_string());
    if !process.pinned.is_empty() {
        let nodes: Vec<&str> = process.pinned.iter().map(|node| node.as_str()).collect();
        line("pinned", nodes.join(", "));
    }
    let restart = match process.restart {
        Restart::Permanent => "always",
        Restart::Transient => "after a crash",
        Restart::Temporary => "never",
    };
    line("restart", restart.to_owned());
    if process.declared {
        line("declared", "yes".to_owned());
    }
    if let Some(tag) = &process.tag {
        line("tag", plain(tag));
    }
    for (name, value) in &process.fields {
        let field = format!("{}={}", plain(name), plain(value));
        line("field", field);
    }
    text
}

/// An event as a line, without its end.
pub(crate) fn event(event: &EventView, ink: Ink) -> String {
    let text = plain(&event.text);
    let text = match event.weight {
        Weight::Plain => text,
        Weight::Good => ink.good(&text),
        Weight::Bad => ink.bad(&text),
    };
    format!("{}  {text}", ink.dim(&time_of_day(event.unix_ms)))
}

/// How an order ended; ends with a newline.
pub(crate) fn outcome(outcome: &Outcome, took: Duration, ink: Ink) -> String {
    match outcome {
        Outcome::Moved {
            process,
            node,
            pause_ns,
        } => {
            let pause = duration(Duration::from_nanos(*pause_ns));
            let text = format!("{process} moved to node {node}");
            format!("{}, pause {pause}\n", ink.good(&text))
        }
        Outcome::Evacuated { node, moved, left } => {
            let took = duration(took);
            let moved = counted(*moved, "process", "processes");
            if left.is_empty() {
                let text = format!("node {node} is empty");
                return format!(
                    "{}: {moved} moved away in {took}; it takes nothing new until \
                     `handover hub evacuate {node} --abort`\n",
                    ink.good(&text)
                );
            }
            let mut text = format!(
                "{}\n",
                ink.bad(&format!(
                    "node {node} is not empty: {moved} moved away in {took}, these serve on there:"
                ))
            );
            for child in left.iter().take(NAMED) {
                text.push_str(&format!("  {}: {}\n", child.process, plain(&child.reason)));
            }
            if left.len() > NAMED {
                text.push_str(&format!(
                    "  and others: `handover hub ps --node {node}` lists them\n"
                ));
            }
            text
        }
        Outcome::Evacuating { node, left } => {
            let took = duration(took);
            let left = counted(*left, "process", "processes");
            let text = format!("node {node} still runs {left} after {took}");
            format!(
                "{}: they serve there, and its evacuation goes on: `handover hub top` shows it, \
                 `handover hub evacuate {node} --abort` ends it\n",
                ink.bad(&text)
            )
        }
        Outcome::Done => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::sample;
    use handover_hub::admin::view::LeftBehind;
    use handover_hub_proto::identity::{NodeName, ProcessId};

    #[test]
    fn numbers_are_divided_by_thousands() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000), "1,000");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(counted(1, "node", "nodes"), "1 node");
    }

    #[test]
    fn three_nodes_of_which_one_is_emptied() {
        let text = nodes(&sample::status(), &sample::nodes(), Ink::PLAIN);
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_node_that_stands_still_says_so_first() {
        let mut status = sample::status();
        status.suspended = Some("its lease is in doubt".to_owned());
        status.shards.vacant = 12;
        insta::assert_snapshot!(nodes(&status, &sample::nodes(), Ink::PLAIN));
    }

    #[test]
    fn nodes_whose_moves_are_not_known_are_named() {
        let mut status = sample::status();
        status.moves.unknown = vec!["b".to_owned()];
        let text = nodes(&status, &sample::nodes(), Ink::PLAIN);
        assert!(
            text.ends_with("\nmoves are not known of node b\n"),
            "{text}"
        );
        status.moves.unknown.push("c".to_owned());
        let text = nodes(&status, &sample::nodes(), Ink::PLAIN);
        assert!(text.ends_with("of nodes b, c\n"), "{text}");
    }

    #[test]
    fn processes_come_by_id() {
        insta::assert_snapshot!(processes(&mut sample::processes()));
    }

    #[test]
    fn a_process_with_a_replica_that_is_pinned() {
        let text: String = sample::processes()
            .iter()
            .map(|found| process(found, Ink::PLAIN))
            .collect();
        insta::assert_snapshot!(text);
    }

    #[test]
    fn each_event_is_a_line() {
        let lines = sample::events();
        let lines: Vec<String> = lines.iter().map(|e| event(e, Ink::PLAIN)).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn an_evacuation_says_what_was_left_behind() {
        let node = NodeName::new("c").unwrap();
        let whole = Outcome::Evacuated {
            node: node.clone(),
            moved: 10_000,
            left: Vec::new(),
        };
        let part = Outcome::Evacuated {
            node,
            moved: 9_999,
            left: vec![LeftBehind {
                process: ProcessId::new("user-7").unwrap(),
                reason: "it asked\u{1b}[2Jto be moved later".to_owned(),
            }],
        };
        let late = Outcome::Evacuating {
            node: NodeName::new("c").unwrap(),
            left: 1_204,
        };
        let took = Duration::from_secs(20);
        let text = [whole, part, late].map(|end| outcome(&end, took, Ink::PLAIN));
        insta::assert_snapshot!(text.concat());
    }
}
