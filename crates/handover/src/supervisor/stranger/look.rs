//! Asks the kernel what there is to know about a program. Changes nothing; what it duplicates to
//! see whether it may is closed at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use handover_proto::manifest::ListenerKind;
use handover_sys::descriptors::{self, DuplicateError};
use handover_sys::{Pidfd, Signal, diag, process};

use super::facts::{Access, Facts, Holder, Listening, Relation};
use crate::supervisor::process::DIRECTORY_VARIABLE;

/// Parents that are nobody's keeper: who starts programs by hand, and who takes in orphans.
const SHELLS: &[&str] = &[
    "sh",
    "bash",
    "dash",
    "zsh",
    "fish",
    "ksh",
    "ash",
    "busybox",
    "login",
    "sshd",
    "tmux: server",
    "screen",
    "sudo",
    "su",
    "systemd",
    "init",
];

/// The most parents that are followed upwards; a chain that long is a loop of reused numbers.
const MOST_PARENTS: usize = 64;

/// Why a program could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// There is none.
    #[error("there is no process {pid}; nothing was changed")]
    NoSuchProcess {
        /// What was asked for.
        pid: u32,
    },
    /// It may not be seen.
    #[error(
        "process {pid} may not be looked into ({source}); run this as its user or as root. It \
         serves on"
    )]
    Hidden {
        /// The process.
        pid: u32,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The kernel does not list sockets.
    #[error("the kernel does not list sockets ({0}); nothing was changed")]
    Sockets(#[source] io::Error),
}

/// Looks at the process `pid`. It may change or end at any time after that, which is why whoever
/// acts on the answer holds it against [`Facts::start_time`] once more.
///
/// # Errors
/// [`LookError`]; nothing was changed.
pub fn look(pid: u32) -> Result<Facts, LookError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => LookError::NoSuchProcess { pid },
        _ => LookError::Hidden { pid, source: error },
    };
    let start_time = process::start_time(pid).map_err(failed)?;
    if process::liveness(pid, start_time) != process::Liveness::Alive {
        return Err(LookError::NoSuchProcess { pid });
    }
    let status = process::status(pid).map_err(failed)?;
    let own_uid = rustix::process::geteuid().as_raw();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let command = fs::read(format!("/proc/{pid}/cmdline")).map_err(failed)?;
    let command = command.split(|byte| *byte == 0).filter(|w| !w.is_empty());
    let executable = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let above = parents(std::process::id());
    let sockets = Sockets::list(pid, own_uid, status.uid)?;
    let signals = |set: process::SignalSet| {
        let all = (1..=64).filter_map(Signal::from_number);
        all.filter(|signal| set.contains(*signal))
            .map(Signal::number)
            .collect()
    };
    Ok(Facts {
        pid,
        start_time,
        executable: executable.to_string_lossy().into_owned(),
        command: command.map(text).collect(),
        uid: status.uid,
        own_uid,
        ourselves: pid == std::process::id() || above.contains(&pid),
        supervised_in: supervised_in(pid),
        same_network: same_namespace(pid, "net"),
        same_processes: same_namespace(pid, "pid"),
        same_files: same_namespace(pid, "mnt"),
        unit: unit(pid),
        kept_by: kept_by(status.parent),
        access: access(pid, &sockets.listening),
        listening_child: sockets.listening_child,
        listening: sockets.listening,
        holders: sockets.holders,
        hidden: sockets.hidden,
        connections: sockets.connections,
        caught: signals(status.caught),
        ignored: signals(status.ignored),
        name: status.name,
    })
}

/// What the program listens on, and who takes part in that.
#[derive(Default)]
struct Sockets {
    listening: Vec<Listening>,
    listening_child: Option<u32>,
    holders: Vec<Holder>,
    hidden: usize,
    connections: usize,
}

impl Sockets {
    fn list(pid: u32, own_uid: u32, uid: u32) -> Result<Self, LookError> {
        let held = match descriptors::sockets(pid) {
            Ok(held) => held,
            // The plan says that another user's is refused.
            Err(_) if own_uid != uid => return Ok(Self::default()),
            Err(source) => return Err(LookError::Hidden { pid, source }),
        };
        let held: BTreeSet<u64> = held.into_iter().map(|held| held.inode).collect();
        let all = all_listening().map_err(LookError::Sockets)?;
        let below = process::descendants(pid).unwrap_or_default();
        let below: BTreeSet<u32> = below.into_iter().collect();
        let listening: Vec<Listening> = all
            .iter()
            .filter(|(inode, _)| held.contains(inode))
            .map(|(_, socket)| socket.clone())
            .collect();
        if listening.is_empty() {
            let listens = |pid: &&u32| {
                let held = descriptors::sockets(**pid).unwrap_or_default();
                held.iter().any(|held| all.contains_key(&held.inode))
            };
            return Ok(Self {
                listening_child: below.iter().find(listens).copied(),
                ..Self::default()
            });
        }
        let inodes = listening.iter().map(|socket| socket.inode).collect();
        let found = descriptors::holders(&inodes).map_err(LookError::Sockets)?;
        let holders = holders(pid, &below, found.holding);
        let members = holders
            .iter()
            .filter(|holder| matches!(holder.relation, Relation::Descendant | Relation::Group))
            .map(|holder| holder.pid);
        let members: Vec<u32> = std::iter::once(pid).chain(members).collect();
        let connections = accepted(&members, &listening).map_err(LookError::Sockets)?;
        Ok(Self {
            listening,
            listening_child: None,
            holders,
            hidden: found.hidden.len(),
            connections,
        })
    }
}

/// Every listening TCP and Unix stream socket of this network namespace, by inode.
fn all_listening() -> io::Result<BTreeMap<u64, Listening>> {
    let mut all = BTreeMap::new();
    for socket in diag::tcp_listeners()? {
        let listening = Listening {
            inode: socket.inode,
            kind: ListenerKind::Tcp,
            address: socket.local.to_string(),
            waiting: socket.waiting,
        };
        all.insert(socket.inode, listening);
    }
    let unix = diag::unix_sockets()?;
    for socket in unix.into_iter().filter(|socket| socket.listening) {
        let listening = Listening {
            inode: socket.inode,
            kind: ListenerKind::Unix,
            address: socket.address,
            waiting: 0,
        };
        all.insert(socket.inode, listening);
    }
    Ok(all)
}

/// How many connections that came in through these sockets are held by these processes.
pub(super) fn accepted(members: &[u32], listening: &[Listening]) -> io::Result<usize> {
    let mut held = BTreeSet::new();
    for pid in members {
        // One that has ended holds nothing.
        let sockets = descriptors::sockets(*pid).unwrap_or_default();
        held.extend(sockets.into_iter().map(|held| held.inode));
    }
    let ports: BTreeSet<u16> = listening
        .iter()
        .filter(|socket| socket.kind == ListenerKind::Tcp)
        .filter_map(|socket| socket.address.parse::<std::net::SocketAddr>().ok())
        .map(|address| address.port())
        .collect();
    let mut count = 0;
    if !ports.is_empty() {
        let connections = diag::tcp_connections()?.into_iter();
        count += connections
            .filter(|one| ports.contains(&one.local.port()) && held.contains(&one.inode))
            .count();
    }
    let paths: BTreeSet<&str> = listening
        .iter()
        .filter(|socket| socket.kind == ListenerKind::Unix)
        .map(|socket| socket.address.as_str())
        .collect();
    if !paths.is_empty() {
        let connections = diag::unix_sockets()?.into_iter();
        count += connections
            .filter(|one| !one.listening && paths.contains(one.address.as_str()))
            .filter(|one| held.contains(&one.inode))
            .count();
    }
    Ok(count)
}

fn holders(pid: u32, below: &BTreeSet<u32>, holding: BTreeMap<u32, BTreeSet<u64>>) -> Vec<Holder> {
    let above = parents(pid);
    let group = process::process_group(pid).ok();
    let relation = |other: u32| {
        if below.contains(&other) {
            Relation::Descendant
        } else if above.contains(&other) {
            Relation::Ancestor
        } else if group.is_some() && process::process_group(other).ok() == group {
            Relation::Group
        } else {
            Relation::Unrelated
        }
    };
    let others = holding.into_iter().filter(|(other, _)| *other != pid);
    others
        .map(|(other, inodes)| Holder {
            pid: other,
            name: name(other),
            relation: relation(other),
            inodes,
        })
        .collect()
}

fn name(pid: u32) -> String {
    process::status(pid)
        .map(|status| status.name)
        .unwrap_or_default()
}

/// Everything above a process, nearest first.
fn parents(pid: u32) -> Vec<u32> {
    let mut above = Vec::new();
    let mut at = pid;
    while let Ok(status) = process::status(at) {
        if status.parent == 0 || above.len() == MOST_PARENTS {
            break;
        }
        above.push(status.parent);
        at = status.parent;
    }
    above
}

fn kept_by(parent: u32) -> Option<(u32, String)> {
    if parent <= 1 {
        return None;
    }
    let name = name(parent);
    let keeper = !name.is_empty() && !SHELLS.contains(&name.as_str());
    keeper.then_some((parent, name))
}

/// Whether a process is in the same namespace as this one: it is the same file then. `None` if that
/// cannot be seen.
pub(in crate::supervisor) fn shares_namespace(pid: u32, which: &str) -> Option<bool> {
    let of = |process: &str| {
        let file = fs::metadata(format!("/proc/{process}/ns/{which}")).ok()?;
        Some((file.dev(), file.ino()))
    };
    Some(of(&pid.to_string())? == of("self")?)
}

/// One that cannot be seen is taken for ours: what it would be refused for is refused by the kernel
/// later.
fn same_namespace(pid: u32, which: &str) -> bool {
    shares_namespace(pid, which).unwrap_or(true)
}

fn supervised_in(pid: u32) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut entries = environment.split(|byte| *byte == 0);
    let directory = entries.find_map(|entry| {
        let value = entry.strip_prefix(DIRECTORY_VARIABLE.as_bytes())?;
        value.strip_prefix(b"=")
    })?;
    let directory = std::ffi::OsStr::from_bytes(directory);
    Some(directory.to_string_lossy().into_owned())
}

/// The service unit in whose control group a process is (`/proc/<pid>/cgroup`, cgroups(7)). That of
/// a user's whole session is no program's.
fn unit(pid: u32) -> Option<String> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    groups.lines().find_map(unit_of)
}

fn unit_of(line: &str) -> Option<String> {
    let mut fields = line.splitn(3, ':');
    let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    if !matches!(controllers, "" | "name=systemd") {
        return None;
    }
    let mut parts = path.rsplit('/');
    let unit = parts.find(|part| part.ends_with(".service"))?;
    (!unit.starts_with("user@")).then(|| unit.to_owned())
}

fn access(pid: u32, listening: &[Listening]) -> Access {
    let Some(first) = listening.first() else {
        return Access::Granted;
    };
    let tried = match Pidfd::open(pid) {
        Ok(pidfd) => descriptors::duplicate_socket(&pidfd, first.inode),
        Err(error) => return Access::Failed(error.to_string()),
    };
    match tried {
        Ok(_) => Access::Granted,
        Err(DuplicateError::Unsupported) => Access::Unsupported,
        Err(DuplicateError::NotPermitted { .. }) => Access::Forbidden,
        Err(error) => Access::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_services_and_not_sessions() {
        let unit = |line| unit_of(line);
        assert_eq!(
            unit("0::/system.slice/nginx.service").as_deref(),
            Some("nginx.service")
        );
        let own = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/web.service";
        assert_eq!(unit(own).as_deref(), Some("web.service"));
        for none in [
            "0::/user.slice/user-1000.slice/session-3.scope",
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope",
            "4:memory:/system.slice/nginx.service",
            "",
        ] {
            assert_eq!(unit(none), None, "{none}");
        }
    }

    #[test]
    fn this_process_is_seen_as_it_is() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        let address = listener.local_addr().expect("bound").to_string();
        let facts = look(std::process::id()).expect("looks");
        assert!(facts.ourselves && facts.same_network && facts.same_processes);
        assert!(
            facts
                .listening
                .iter()
                .any(|socket| socket.address == address)
        );
        assert!(matches!(
            look(u32::MAX / 2),
            Err(LookError::NoSuchProcess { .. })
        ));
    }
}
