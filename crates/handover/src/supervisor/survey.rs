//! Who serves, and why: the status.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::time::Duration;

use handover_proto::coordinator::Member;
use handover_proto::manifest::ListenerKind;
use handover_proto::phase::Phase;
use handover_proto::status::{HandoverStatus, InstanceStatus, LeaseStatus, Status};
use handover_sys::descriptors::each_socket;

use super::driver::Driver;
use super::zero;

/// `st` of an established connection in `/proc/net/tcp` (include/net/tcp_states.h).
const ESTABLISHED: &str = "01";

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Driver {
    /// The status now.
    pub(super) fn status(&self) -> Status {
        let machine = &self.machine;
        let open: Vec<_> = self
            .listeners()
            .iter()
            .map(|open| open.entry.clone())
            .collect();
        let of = |member: Member| self.instance(member);
        let own = handover_sys::usage(std::process::id()).ok();
        let previous = machine.previous().and_then(|id| self.candidates.get(&id));
        let incumbent = machine.incumbent();
        let parked = machine.parked();
        let mut leaving = machine.leaving();
        leaving.retain(|member| parked.is_none_or(|parked| parked.instance != member.instance));
        let others: Vec<_> = leaving.iter().chain(&parked).map(|m| m.instance).collect();
        let candidates: Vec<Member> = match (incumbent, machine.phase()) {
            (None, Phase::Resume) => machine
                .known()
                .filter(|member| !others.contains(&member.instance))
                .collect(),
            _ => Vec::new(),
        };
        Status {
            service: self.service.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            supervisor_pid: std::process::id(),
            uptime_ms: millis(self.origin.elapsed()),
            mode: self.config.mode,
            phase: machine.phase(),
            generation: machine.generation(),
            incumbent: incumbent.map(of),
            successor: machine.successor().map(of),
            why: self.why(&candidates),
            lease: self.lease(),
            candidates: candidates.into_iter().map(of).collect(),
            probation_ms: parked.and_then(|_| self.account.probation_left().map(millis)),
            parked: parked.map(of),
            leaving: leaving.into_iter().map(of).collect(),
            listeners: open,
            handover: self.handover(),
            queued: machine.queued(),
            previous: previous.map(|candidate| candidate.label()),
            supervisor_rss_bytes: own.map_or(0, |own| own.rss_bytes),
            supervisor_descriptors: own.map_or(0, |own| own.descriptors),
        }
    }

    fn handover(&self) -> Option<HandoverStatus> {
        let (id, began) = self.machine.attempt()?;
        let micros = |dark: Duration| u64::try_from(dark.as_micros()).unwrap_or(u64::MAX);
        Some(HandoverStatus {
            id,
            elapsed_ms: millis(self.now().since(began)),
            dark_us: self.account.dark().map(micros),
            seal: self.account.seal(),
        })
    }

    fn why(&self, candidates: &[Member]) -> String {
        if !candidates.is_empty() {
            return "the supervisor was started again and waits for the one that holds the lease \
                    to report"
                .into();
        }
        let phase = self.machine.phase();
        match (self.machine.incumbent(), self.machine.successor()) {
            (None, Some(successor)) if phase == Phase::Warm => {
                let starting = format!("instance {} is being started", successor.instance);
                match self.account.why() {
                    before if before.is_empty() => starting,
                    before => format!("{before}; {starting}"),
                }
            }
            _ => self.account.why(),
        }
    }

    /// Whoever said last that it holds the lease.
    pub(super) fn lease(&self) -> Option<LeaseStatus> {
        let holders = self.processes.iter().filter_map(|(&instance, process)| {
            let epoch = process.lease?;
            Some(LeaseStatus { instance, epoch })
        });
        holders.max_by_key(|holder| holder.epoch)
    }

    fn instance(&self, member: Member) -> InstanceStatus {
        let process = self.processes.get(&member.instance);
        let usage = process.and_then(|process| handover_sys::usage(process.pid).ok());
        let native = self.machine.is_native(member.instance);
        // It speaks up once the number is no longer zero. The others are counted outside the loop.
        let counted = process
            .filter(|_| native)
            .map(|process| process.connections.unwrap_or(0));
        let candidate = self.candidates.get(&member.candidate);
        InstanceStatus {
            instance: member.instance,
            pid: member.pid,
            program: match process.filter(|process| process.stranger) {
                Some(process) => zero::command_line(process.pid),
                None => candidate
                    .map(|candidate| candidate.label())
                    .unwrap_or_default(),
            },
            native,
            uptime_ms: process.map_or(0, |process| millis(process.started.elapsed())),
            connections: counted,
            text: process.and_then(|process| process.text.clone()),
            rss_bytes: usage.map(|usage| usage.rss_bytes),
            descriptors: usage.map(|usage| usage.descriptors),
        }
    }
}

/// Counts the connections of the instances that do not count them themselves. Reads the kernel's
/// whole table, which may take long on a busy host: not for the driver's loop.
pub(super) fn count_connections(status: &mut Status) {
    let ports: HashSet<u16> = status
        .listeners
        .iter()
        .filter(|entry| entry.kind == ListenerKind::Tcp)
        .filter_map(|entry| entry.address.parse::<SocketAddr>().ok())
        .map(|address| address.port())
        .collect();
    let instances = status.incumbent.iter_mut().chain(&mut status.successor);
    let foreign = instances
        .chain(&mut status.parked)
        .chain(&mut status.candidates)
        .chain(&mut status.leaving)
        .filter(|instance| !instance.native);
    let mut table = None;
    for instance in foreign {
        let inodes = table.get_or_insert_with(|| established(&ports));
        instance.connections = instance.pid.and_then(|pid| held(pid.0, inodes));
    }
}

/// Inodes of the established TCP sockets on these local ports.
fn established(ports: &HashSet<u16>) -> HashSet<u64> {
    let mut inodes = HashSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let Ok(file) = fs::File::open(table) else {
            continue;
        };
        // Line by line: the whole may be megabytes.
        let lines = BufReader::new(file).lines().map_while(Result::ok);
        for line in lines.skip(1) {
            // sl local rem st tx:rx tr:tm retrnsmt uid timeout inode
            let mut fields = line.split_whitespace().skip(1);
            let port = fields.next().and_then(|local| local.rsplit(':').next());
            let port = port.and_then(|port| u16::from_str_radix(port, 16).ok());
            let state = fields.nth(1);
            let inode = fields.nth(5).and_then(|inode| inode.parse().ok());
            if let (Some(port), Some(ESTABLISHED), Some(inode)) = (port, state, inode)
                && ports.contains(&port)
            {
                inodes.insert(inode);
            }
        }
    }
    inodes
}

/// How many of these sockets a process and its group hold. `None` if it cannot be looked into.
fn held(leader: u32, inodes: &HashSet<u64>) -> Option<u64> {
    let members = handover_sys::process::process_group_members(leader).ok()?;
    // One that was started elsewhere need not lead a group.
    let below = handover_sys::process::descendants(leader).ok()?;
    let all: HashSet<u32> = members.into_iter().chain(below).chain([leader]).collect();
    let mut held = HashSet::new();
    for pid in all {
        let sockets = each_socket(pid).into_iter().flatten();
        let theirs = sockets.map(|socket| socket.inode);
        held.extend(theirs.filter(|inode| inodes.contains(inode)));
    }
    Some(held.len() as u64)
}
