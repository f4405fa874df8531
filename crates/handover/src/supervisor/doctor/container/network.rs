//! The network of a container: whether instances hear each other on it, and nobody else does.

mod surroundings;
#[cfg(test)]
mod tests;

use std::path::Path;

use handover_sys::interface::{Interface, interfaces};

use self::surroundings::Surroundings;
use super::super::Finding;
use super::echo;
use crate::container::{Environment, Network, Protocol};

const MODE: &str = "network mode";
const INTERFACE: &str = "interface";

/// With a volume, multicast is for peers of handover-lib only.
pub(super) fn examine(environment: &Environment, has_volume: bool) -> Vec<Finding> {
    let all = match interfaces() {
        Ok(all) => all,
        Err(error) => {
            let fix = "let the container use netlink sockets (a seccomp profile forbids it)";
            return vec![Finding::bad(INTERFACE, error.to_string(), fix)];
        }
    };
    let network = &environment.network;
    let around = Surroundings::of(&all);
    let mut findings = vec![mode(network, &around), choice(network, &all, has_volume)];
    if let Network::Host { interface } = network {
        findings.extend(leads_out(interface, Path::new("/sys/class/net")));
    }
    for link in network.choose(&all) {
        let check = format!("multicast on {}", link.name);
        let fix = "let a packet filter pass UDP to 239.192.16.16, ports 1536 to 1538, in and out; or \
                   --volume with a shared volume";
        findings.push(match echo::comes_back(&link, environment.group) {
            Ok(true) => Finding::ok(&check, "what is sent is heard"),
            Ok(false) => worse(
                has_volume,
                &check,
                "blocked: what is sent is not heard",
                fix,
            ),
            Err(error) => worse(has_volume, &check, format!("blocked: {error}"), fix),
        });
    }
    findings
}

/// Without a volume nothing else connects the instances.
fn worse(
    has_volume: bool,
    check: &str,
    found: impl Into<String>,
    fix: impl Into<String>,
) -> Finding {
    match has_volume {
        true => Finding::note(check, found, fix),
        false => Finding::bad(check, found, fix),
    }
}

fn mode(network: &Network, around: &Surroundings) -> Finding {
    match (network, around.host.first(), around.own.first()) {
        (Network::Bridge, Some(sign), _) => Finding::bad(
            MODE,
            format!(
                "bridge, and this is the host's network ({sign}): announcements leave the device, and \
                 every device of a LAN retires the others"
            ),
            "HANDOVER_NETWORK_MODE=host, or network_mode: bridge in the compose file",
        ),
        (Network::Host { .. }, None, Some(sign)) => Finding::bad(
            MODE,
            format!("host, and this is a container's own network ({sign})"),
            "network_mode: host in the compose file, or HANDOVER_NETWORK_MODE=bridge",
        ),
        (Network::Bridge, None, Some(sign)) => Finding::ok(MODE, format!("bridge ({sign})")),
        (Network::Host { .. }, Some(sign), _) => Finding::ok(MODE, format!("host ({sign})")),
        (Network::Bridge, None, None) => Finding::ok(MODE, "bridge"),
        (Network::Host { .. }, None, None) => Finding::ok(MODE, "host"),
    }
}

/// Why an interface is not used.
fn flaw(interface: &Interface) -> Option<&'static str> {
    if !interface.up {
        return Some("is down");
    }
    if !interface.multicast {
        return Some("takes no multicast");
    }
    if interface.ipv4.is_empty() && interface.ipv6.is_empty() {
        return Some("has no address");
    }
    None
}

fn choice(network: &Network, all: &[Interface], has_volume: bool) -> Finding {
    let names = |all: &mut dyn Iterator<Item = String>| all.collect::<Vec<_>>().join(", ");
    let links = network.choose(all);
    if let [first, ..] = links.as_slice() {
        let found = names(&mut links.iter().map(|link| link.name.clone()));
        if links.iter().any(|link| link.protocol == Protocol::Ipv4) {
            return Finding::ok(INTERFACE, found);
        }
        return Finding::note(
            INTERFACE,
            format!("{found} without IPv4: peers of handover-lib are not reached"),
            format!("an IPv4 address for {}; ours alone need none", first.name),
        );
    }
    match network {
        Network::Host { interface } => {
            let there = all.iter().find(|one| one.name == *interface);
            let found = match there.map(flaw) {
                Some(flaw) => format!("{interface} {}", flaw.unwrap_or("cannot be used")),
                None => {
                    let others = names(&mut all.iter().map(|one| one.name.clone()));
                    format!("{interface} is missing; there are {others}")
                }
            };
            let fix = "NETWORK_INTERFACE= with a bridge of this device alone, up, with an IPv4 \
                       address (balena's supervisor makes supervisor0); or --volume with a shared \
                       volume";
            worse(has_volume, INTERFACE, found, fix)
        }
        Network::Bridge => {
            let why = |one: &Interface| match one.loopback {
                true => format!("{} is loopback", one.name),
                false => format!("{} {}", one.name, flaw(one).unwrap_or("cannot be used")),
            };
            let found = names(&mut all.iter().map(why));
            let fix = "a network for the container (network_mode: bridge), with multicast (`ip link \
                       set dev eth0 multicast on`); or --volume with a shared volume";
            worse(has_volume, INTERFACE, format!("none: {found}"), fix)
        }
    }
}

/// Whether an interface belongs to a device: what is sent on it leaves this machine.
fn leads_out(interface: &str, class: &Path) -> Option<Finding> {
    class.join(interface).join("device").exists().then(|| {
        Finding::bad(
            INTERFACE,
            format!("{interface} leads out of this device: devices of a LAN retire each other"),
            "NETWORK_INTERFACE= with a bridge of this device alone, such as supervisor0",
        )
    })
}
