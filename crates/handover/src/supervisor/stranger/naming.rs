//! What the listeners of a program are called: as the user wishes, else by address.

use std::net::SocketAddr;

use handover_proto::manifest::{ListenerKind, check_name};

use super::facts::{Facts, Listening};
use super::plan::{PlannedListener, Wish};
use super::refusal::Refusal;
use crate::supervisor::config::ListenerSpec;

/// The listeners by name. Those that were named come first, in that order; the others follow by
/// port, because a new version without one of them would lose whoever connects there.
pub(super) fn named(
    facts: &Facts,
    wish: &Wish,
    refusals: &mut Vec<Refusal>,
) -> Vec<PlannedListener> {
    let mut left: Vec<&Listening> = facts.listening.iter().collect();
    left.sort_by_key(|socket| (socket.kind == ListenerKind::Unix, order(socket)));
    let mut listeners = Vec::new();
    for wished in &wish.listeners {
        let there = |socket: &&Listening| {
            socket.kind == wished.kind && same_address(&wished.address, &socket.address)
        };
        match left.iter().position(there) {
            Some(at) => listeners.push(planned(left.remove(at), wished.name.clone())),
            None => refusals.push(Refusal::NotThere {
                name: wished.name.clone(),
                address: wished.address.clone(),
                found: facts
                    .listening
                    .iter()
                    .map(|socket| socket.address.clone())
                    .collect(),
            }),
        }
    }
    for socket in left {
        listeners.push(planned(socket, by_address(socket, &facts.listening)));
    }
    for (at, planned) in listeners.iter().enumerate() {
        let name = &planned.listener.name;
        if let Err(error) = check_name(name) {
            refusals.push(Refusal::BadName(error));
        }
        let mut earlier = listeners[..at].iter();
        if earlier.any(|earlier| earlier.listener.name == *name) {
            refusals.push(Refusal::SameName { name: name.clone() });
        }
    }
    listeners
}

fn planned(socket: &Listening, name: String) -> PlannedListener {
    PlannedListener {
        listener: ListenerSpec {
            name,
            kind: socket.kind,
            address: socket.address.clone(),
        },
        inode: socket.inode,
        waiting: socket.waiting,
    }
}

fn inet(socket: &Listening) -> Option<SocketAddr> {
    socket.address.parse().ok()
}

/// By port, IPv4 before IPv6.
fn order(socket: &Listening) -> (u16, bool, String) {
    let inet = inet(socket);
    (
        inet.map_or(0, |inet| inet.port()),
        inet.is_some_and(|inet| inet.is_ipv6()),
        socket.address.clone(),
    )
}

fn family(socket: &Listening) -> &'static str {
    match (socket.kind, inet(socket)) {
        (ListenerKind::Unix, _) => "unix",
        (_, Some(SocketAddr::V6(_))) => "tcp6",
        _ => "tcp",
    }
}

/// `tcp-80`, `tcp6-80`; with the whole address where the port is not enough, and for a path.
fn by_address(socket: &Listening, all: &[Listening]) -> String {
    let port = |socket: &Listening| inet(socket).map(|inet| inet.port());
    let same = |other: &&Listening| port(other) == port(socket) && family(other) == family(socket);
    if let (Some(port), 1) = (port(socket), all.iter().filter(same).count()) {
        return format!("{}-{port}", family(socket));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let address: String = socket
        .address
        .trim_start_matches(['/', '@', '['])
        .chars()
        .map(|c| if allowed(c) { c } else { '-' })
        .collect();
    format!("{}-{address}", family(socket))
}

/// As it was written, or as it resolves: `localhost:80` is `127.0.0.1:80`.
fn same_address(written: &str, found: &str) -> bool {
    if written == found {
        return true;
    }
    match (written.parse::<SocketAddr>(), found.parse::<SocketAddr>()) {
        (Ok(written), Ok(found)) => written == found,
        _ => written
            .strip_prefix("localhost:")
            .is_some_and(|port| found == format!("127.0.0.1:{port}")),
    }
}
