//! Taking over from a supervisor that died: who is alive, and the listeners they hold.
//!
//! Instances are found by their environment, not by recorded process ids alone: one may have been
//! started between the record and its process id. Listeners come back by `pidfd_getfd` (Linux 5.6;
//! the same user and permission to trace, or root).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::ToSocketAddrs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use handover_proto::identity::{InstanceId, InstancePid};
use handover_proto::journal::Observation;
use handover_proto::manifest::{ListenerEntry, ListenerKind};
use handover_sys::Pidfd;
use handover_sys::descriptors::each_socket;
use handover_sys::socket::{Kind, describe};

use super::config::ListenerSpec;
use super::error::StartError;
use super::process::{DIRECTORY_VARIABLE, INSTANCE_VARIABLE};
use super::record::RecordedListener;
use super::sockets::{Listeners, OpenListener};

/// Instances of the service in `dir` that are alive.
pub(super) fn observe(dir: &Path) -> Observation {
    let mut found: BTreeMap<InstanceId, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if let Some(instance) = instance_of(pid, dir) {
            found.entry(instance).or_default().push(pid);
        }
    }
    // Workers inherit the environment; the instance is the one that leads the process group.
    let leader = |pids: &Vec<u32>| {
        let leads = |pid: &&u32| process_group(**pid) == Some(**pid);
        pids.iter().find(leads).or_else(|| pids.first()).copied()
    };
    let alive = found
        .iter()
        .filter_map(|(instance, pids)| Some((*instance, InstancePid(leader(pids)?))))
        .collect();
    Observation { alive }
}

/// The instance of the service in `dir` that a process belongs to, by its environment. None for a
/// zombie.
pub(super) fn instance_of(pid: u32, dir: &Path) -> Option<InstanceId> {
    if fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()?
        .rsplit(')')
        .next()?
        .starts_with(" Z")
    {
        return None;
    }
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = |name: &str| {
        environment
            .split(|byte| *byte == 0)
            .find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    };
    if value(DIRECTORY_VARIABLE)? != dir.as_os_str().as_bytes() {
        return None;
    }
    std::str::from_utf8(value(INSTANCE_VARIABLE)?)
        .ok()?
        .parse()
        .ok()
        .map(InstanceId)
}

pub(super) fn process_group(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name in parentheses: state, parent, process group.
    stat.rsplit(')')
        .next()?
        .split_whitespace()
        .nth(2)?
        .parse()
        .ok()
}

/// Takes the recorded listeners from what a keeper has `kept`, else out of the processes that hold
/// them.
///
/// # Errors
/// A listener that somebody alive holds and that cannot be had.
pub(super) fn take_listeners(
    wanted: &[RecordedListener],
    observed: &Observation,
    kept: &mut Vec<OwnedFd>,
) -> Result<Listeners, StartError> {
    let mut taken = Vec::new();
    for listener in wanted {
        if let Some(fd) = take_matching(&listener.entry, kept) {
            let (spec, entry) = (listener.spec.clone(), listener.entry.clone());
            taken.push(Arc::new(OpenListener::adopted(spec, entry, fd)));
            continue;
        }
        let mut refused = None;
        let mut holders = observed.alive.iter().map(|(_, pid)| pid.0);
        let found = holders.find_map(|leader| {
            let members = handover_sys::process::process_group_members(leader).unwrap_or_default();
            std::iter::once(leader)
                .chain(members)
                .find_map(|pid| match find_in(pid, listener) {
                    Ok(found) => found,
                    Err(error) => {
                        refused.get_or_insert((pid, error));
                        None
                    }
                })
        });
        match (found, refused) {
            (Some(fd), _) => {
                let (spec, entry) = (listener.spec.clone(), listener.entry.clone());
                taken.push(Arc::new(OpenListener::adopted(spec, entry, fd)));
            }
            (None, Some((pid, source))) => {
                return Err(StartError::CannotAdopt {
                    pid,
                    name: listener.entry.name.clone(),
                    address: listener.entry.address.clone(),
                    source,
                });
            }
            // Nobody holds it any more: it is bound anew.
            (None, None) => {}
        }
    }
    Ok(taken)
}

fn find_in(pid: u32, wanted: &RecordedListener) -> io::Result<Option<OwnedFd>> {
    let pidfd = match Pidfd::open(pid) {
        Ok(pidfd) => pidfd,
        Err(_) => return Ok(None),
    };
    for held in each_socket(pid)? {
        let duplicate = match pidfd.duplicate(held.number) {
            Ok(duplicate) => duplicate,
            // It was closed in the meantime.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::BADF.raw_os_error()) => {
                continue;
            }
            Err(error) => return Err(error),
        };
        if is_listener(&duplicate, &wanted.entry) {
            return Ok(Some(duplicate));
        }
    }
    Ok(None)
}

/// Whether a socket is this listener, by what the kernel says of it.
fn is_listener(socket: &OwnedFd, wanted: &ListenerEntry) -> bool {
    let Ok(facts) = describe(socket) else {
        return false;
    };
    let right_kind = match wanted.kind {
        ListenerKind::Tcp | ListenerKind::Unix => facts.listening,
        ListenerKind::Udp => facts.kind == Kind::Datagram,
    };
    right_kind && facts.local.as_deref() == Some(&wanted.address)
}

fn take_matching(wanted: &ListenerEntry, kept: &mut Vec<OwnedFd>) -> Option<OwnedFd> {
    let at = kept.iter().position(|fd| is_listener(fd, wanted))?;
    Some(kept.swap_remove(at))
}

/// Takes what is configured from what a keeper has kept although no record names it: the earlier
/// supervisor died before it wrote one, or after the service was stopped.
pub(super) fn take_kept(specs: &[ListenerSpec], kept: &mut Vec<OwnedFd>) -> Listeners {
    let take = |spec: &ListenerSpec| {
        let address = match spec.kind {
            ListenerKind::Unix => spec.address.clone(),
            ListenerKind::Tcp | ListenerKind::Udp => {
                spec.address.to_socket_addrs().ok()?.next()?.to_string()
            }
        };
        let entry = ListenerEntry {
            name: spec.name.clone(),
            kind: spec.kind,
            address,
        };
        let fd = take_matching(&entry, kept)?;
        Some(Arc::new(OpenListener::adopted(spec.clone(), entry, fd)))
    };
    specs.iter().filter_map(take).collect()
}
