//! Containers and their status, as `peer watch` shows them.

use super::quantity::{UNKNOWN, duration, moment, time_of_day};
use super::table::{Align, Table};
use crate::output::Ink;
use handover_proto::container::roster::{Cause, Change, Instance, Roster, Standing};
use handover_proto::moment::Moment;
use serde_json::{Value, json};

/// The word of the wire; SILENT is ours.
pub(crate) fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Up => "UP",
        Standing::Down => "DOWN",
        Standing::Silent => "SILENT",
    }
}

/// When an instance started, by its own clock.
fn started(instance: &Instance) -> String {
    u64::try_from(instance.started_ms()).map_or_else(|_| UNKNOWN.to_owned(), moment)
}

/// `07:51:19.024  api: 10.0.0.3, started 2026-11-21 07:51:02Z, is UP; route to 10.0.0.3`.
pub(crate) fn line(unix_ms: u64, change: &Change, ink: Ink) -> String {
    let instance = &change.instance;
    let what = match change.cause {
        Cause::Up => ink.good("is UP"),
        Cause::Down => ink.bad("is DOWN"),
        Cause::Silent => ink.bad("is SILENT: it was not heard for too long"),
        Cause::Moved => "has other addresses".to_owned(),
        Cause::Forgotten => "is forgotten".to_owned(),
    };
    let route = match (&change.serving, change.rerouted) {
        (Some(serving), true) => format!("; route to {}", serving.address()),
        (None, true) => format!("; {}", ink.bad("nobody is up")),
        (_, false) => String::new(),
    };
    format!(
        "{}  {}: {}, started {}, {what}{route}",
        ink.dim(&time_of_day(unix_ms)),
        ink.bold(&printable(&change.service)),
        instance.address(),
        started(instance),
    )
}

/// The schema is in the help of the command.
pub(crate) fn json_line(unix_ms: u64, change: &Change) -> String {
    let cause = match change.cause {
        Cause::Up => "up",
        Cause::Down => "down",
        Cause::Silent => "silent",
        Cause::Moved => "moved",
        Cause::Forgotten => "forgotten",
    };
    json!({
        "event": "status",
        "unix_ms": unix_ms,
        "service": change.service,
        "change": cause,
        "instance": member(&change.instance),
        "serving": change.serving.as_ref().map(member),
        "rerouted": change.rerouted,
    })
    .to_string()
}

fn member(instance: &Instance) -> Value {
    json!({
        "started_ms": instance.started_ms(),
        "status": word(instance.standing()),
        "address": instance.address(),
        "addresses": instance.addresses(),
    })
}

/// Everything that is known, a line for each instance; the one to route to has an arrow. Lines have
/// at most `width` characters.
pub(crate) fn table(roster: &Roster, now: Moment, width: usize, ink: Ink) -> Vec<String> {
    let columns = [
        "SERVICE", "", "STATUS", "ADDRESS", "STARTED", "HEARD", "ALSO AT",
    ];
    let mut table = Table::new(&columns.map(|name| (name, Align::Left)));
    let mut standings = Vec::new();
    for (name, service) in roster.services() {
        let serving = service.serving();
        for instance in service.instances() {
            let others = instance.addresses().iter();
            let others = others.filter(|address| **address != instance.address());
            let arrow = serving == Some(instance);
            table.row(vec![
                printable(name),
                if arrow { "→" } else { "" }.to_owned(),
                word(instance.standing()).to_owned(),
                instance.address().to_string(),
                started(instance),
                format!("{} ago", duration(now.since(instance.heard()))),
                others
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(" "),
            ]);
            standings.push(instance.standing());
        }
    }
    if standings.is_empty() {
        let nobody = "nobody was heard; an instance that is up says so every 10 s";
        return vec![ink.dim(nobody.get(..width).unwrap_or(nobody))];
    }
    let cut = |line: String| line.chars().take(width).collect::<String>();
    let mut lines = table.lines().into_iter().map(cut);
    let header = lines.next().map(|header| ink.dim(&header));
    let rows = lines.zip(standings).map(|(row, standing)| match standing {
        Standing::Up => ink.good(&row),
        Standing::Down => row,
        Standing::Silent => ink.bad(&row),
    });
    header.into_iter().chain(rows).collect()
}

/// A name from the network, so that it cannot move the cursor.
fn printable(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use handover_proto::container::status::{State, StatusDatagram};
    use std::net::Ipv4Addr;
    use std::time::Duration;

    const SOME_DAY: u64 = 1_653_000_000_123;

    fn says(last: u8, status: State) -> (Ipv4Addr, StatusDatagram) {
        let address = Ipv4Addr::new(10, 0, 0, last);
        let datagram = StatusDatagram {
            started_ms: i64::try_from(SOME_DAY).unwrap() + i64::from(last),
            service: "api".to_owned(),
            addresses: vec![address, Ipv4Addr::new(172, 17, 0, last)],
            status,
        };
        (address, datagram)
    }

    fn after(seconds: u64) -> Moment {
        Moment::ZERO + Duration::from_secs(seconds)
    }

    /// The old one, the young one, then the old one goes and the young one is lost.
    fn story() -> (Roster, Vec<Change>) {
        let mut roster = Roster::default();
        let mut changes = Vec::new();
        let said = [(0, 2, State::Up), (4, 3, State::Up), (5, 2, State::Down)];
        for (second, last, status) in said {
            let (from, datagram) = says(last, status);
            changes.extend(roster.hear(after(second), from, &datagram).unwrap());
        }
        let mut later = roster.clone();
        changes.extend(std::iter::from_fn(|| later.expire(after(45))));
        (roster, changes)
    }

    #[test]
    fn a_change_is_a_line() {
        let (_, changes) = story();
        let lines = changes
            .iter()
            .map(|change| line(SOME_DAY, change, Ink::PLAIN));
        insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn a_change_is_an_object() {
        let (_, changes) = story();
        let lines = changes.iter().map(|change| json_line(SOME_DAY, change));
        insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn the_table_shows_who_is_routed_to() {
        let (mut roster, _) = story();
        let mut lines = table(&roster, after(12), 80, Ink::PLAIN);
        while roster.expire(after(200)).is_some() {}
        lines.extend(table(&roster, after(200), 30, Ink::PLAIN));
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn a_name_cannot_move_the_cursor() {
        assert_eq!(printable("a\x1b[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
