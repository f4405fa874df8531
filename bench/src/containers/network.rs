//! Network namespaces: two containers on one bridge, or each on a bridge of its own with a relay
//! between them. The bridges are in a third namespace; nothing of the host's network is changed.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::Failure;

/// Where a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Old,
    Young,
    /// Where the bridges are.
    Between,
}

/// How the containers are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Bridge,
    /// Nothing crosses but what a relay sends again.
    Apart,
}

/// Addresses of the two bridges; with [`Wire::Bridge`] there is the first only.
pub(super) const SIDES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 88, 0, 1), Ipv4Addr::new(10, 88, 1, 1)];

/// A network namespace without a name, held by a process that ends with ours, even when that is killed.
struct Namespace {
    holder: Child,
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

impl Namespace {
    fn new() -> Result<Self, Failure> {
        let mut holder = Command::new("unshare")
            .args(["--net", "--", "sh", "-c", "echo made; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let said = holder.stdout.take().ok_or("no standard output")?;
        let namespace = Self { holder };
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line)?;
        if line.trim() == "made" {
            Ok(namespace)
        } else {
            Err("no network namespace: `unshare --net` needs root".into())
        }
    }

    /// A command that runs inside; its process becomes the program.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.holder.id()));
        command.arg("--").arg(program);
        command
    }

    fn ip(&self, words: &[&str]) -> Result<(), Failure> {
        let output = self.command("ip".as_ref()).args(words).output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("`ip {}`: {}", words.join(" "), said.trim()).into())
    }
}

/// Two containers and what is between them.
pub(super) struct Network {
    old: Namespace,
    young: Namespace,
    between: Namespace,
}

impl Network {
    pub(super) fn new(wire: Wire) -> Result<Self, Failure> {
        let network = Self {
            old: Namespace::new()?,
            young: Namespace::new()?,
            between: Namespace::new()?,
        };
        let sides = match wire {
            Wire::Bridge => &SIDES[..1],
            Wire::Apart => &SIDES[..],
        };
        let between = &network.between;
        for (index, side) in sides.iter().enumerate() {
            let (bridge, address) = (format!("bridge{index}"), format!("{side}/24"));
            between.ip(&["link", "add", &bridge, "type", "bridge"])?;
            between.ip(&["address", "add", &address, "dev", &bridge])?;
            between.ip(&["link", "set", &bridge, "up"])?;
        }
        let last = sides.len() - 1;
        network.container(Place::Old, 0, 2)?;
        network.container(Place::Young, last, 3)?;
        Ok(network)
    }

    /// As a container runtime does it: one interface, and a default route by the bridge.
    fn container(&self, place: Place, side: usize, host: u8) -> Result<(), Failure> {
        let inside = self.namespace(place);
        let gateway = SIDES[side];
        let [first, second, third, _] = gateway.octets();
        let address = format!("{first}.{second}.{third}.{host}/24");
        let (port, bridge) = (format!("port{host}"), format!("bridge{side}"));
        let pid = inside.holder.id().to_string();
        let pair = ["type", "veth", "peer", "name", "eth0", "netns", &pid];
        let between = &self.between;
        between.ip(&[&["link", "add", &port][..], &pair].concat())?;
        between.ip(&["link", "set", &port, "master", &bridge, "up"])?;
        inside.ip(&["link", "set", "lo", "up"])?;
        inside.ip(&["address", "add", &address, "dev", "eth0"])?;
        inside.ip(&["link", "set", "eth0", "up"])?;
        inside.ip(&["route", "add", "default", "via", &gateway.to_string()])
    }

    fn namespace(&self, place: Place) -> &Namespace {
        match place {
            Place::Old => &self.old,
            Place::Young => &self.young,
            Place::Between => &self.between,
        }
    }

    /// A command that runs there; its process becomes the program.
    pub(super) fn command(&self, place: Place, program: &Path) -> Command {
        self.namespace(place).command(program)
    }
}
