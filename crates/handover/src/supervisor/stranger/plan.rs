//! What to do with a program, decided from what is known about it and what is wished, and from
//! nothing else.

use std::collections::BTreeMap;

use handover_sys::Signal;
use handover_sys::inherited::MAX_INHERITED;
use serde::{Deserialize, Serialize};

use super::facts::{Access, Facts, Holder, Listening, Relation};
use super::naming::named;
use super::note::{Note, notes};
use super::programs::{self, Manner};
use super::refusal::Refusal;
use crate::supervisor::config::ListenerSpec;

/// What the user wants, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Names of listeners, by address.
    pub listeners: Vec<ListenerSpec>,
    /// The signal that stops the program gracefully, if it was given.
    pub stop_signal: Option<String>,
    /// Whether only one version may own the data.
    pub exclusive: bool,
}

/// How the program is stopped once the new version serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "how")]
pub enum Retirement {
    /// By this signal, on which it finishes what it has.
    Graceful {
        /// Its name.
        signal: String,
    },
    /// By this signal, which may end it at once: in a moment in which it has no connection.
    WhenIdle {
        /// Its name.
        signal: String,
    },
    /// It has no handler for this signal, which ends it at once: it is held still until it has no
    /// connection, and killed then.
    Still {
        /// Its name.
        signal: String,
    },
}

impl Retirement {
    /// The signal's name.
    #[must_use]
    pub fn signal(&self) -> &str {
        match self {
            Self::Graceful { signal } | Self::WhenIdle { signal } | Self::Still { signal } => {
                signal
            }
        }
    }
}

/// A listening socket as it will be passed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedListener {
    /// Name, kind and address: what a supervisor is configured with.
    pub listener: ListenerSpec,
    /// Its inode.
    pub inode: u64,
    /// Connections in its queue when it was looked at. They go to whoever accepts them.
    pub waiting: u32,
}

/// What will be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The program's process; of several, their master.
    pub pid: u32,
    /// See [`Facts::start_time`].
    pub start_time: u64,
    /// Its name.
    pub name: String,
    /// Its command line.
    pub command: Vec<String>,
    /// Its other processes that hold the sockets: workers.
    pub workers: Vec<u32>,
    /// What it listens on, in the order in which the new version gets it.
    pub listeners: Vec<PlannedListener>,
    /// How it is stopped.
    pub retirement: Retirement,
    /// What to know before.
    pub notes: Vec<Note>,
}

/// Decides. The same facts and wishes always give the same plan.
///
/// # Errors
/// Every reason not to, never an empty list. Nothing was changed.
pub fn plan(facts: &Facts, wish: &Wish) -> Result<Plan, Vec<Refusal>> {
    let mut refusals = Vec::new();
    let may_look = itself(facts, wish, &mut refusals);
    let mut listeners = Vec::new();
    if may_look {
        sockets(facts, &mut refusals);
        listeners = named(facts, wish, &mut refusals);
    }
    let retirement = retirement(facts, wish).map_err(|refusal| refusals.push(refusal));
    match retirement {
        Ok(retirement) if refusals.is_empty() => Ok(Plan {
            pid: facts.pid,
            start_time: facts.start_time,
            name: facts.name.clone(),
            command: facts.command.clone(),
            workers: facts.holders.iter().map(|holder| holder.pid).collect(),
            listeners,
            retirement,
            notes: notes(facts),
        }),
        _ => Err(refusals),
    }
}

/// Whether the process itself may be adopted. False if its sockets are not ours to look at.
fn itself(facts: &Facts, wish: &Wish, refusals: &mut Vec<Refusal>) -> bool {
    let pid = facts.pid;
    if facts.ourselves {
        refusals.push(Refusal::Ourselves { pid });
    }
    if wish.exclusive {
        refusals.push(Refusal::Exclusive);
    }
    let mut may_look = true;
    if let Some(directory) = facts.supervised_in.clone() {
        may_look = false;
        refusals.push(Refusal::Supervised { pid, directory });
    }
    if is_supervisor(&facts.name) {
        may_look = false;
        refusals.push(Refusal::Supervisor { supervisor: pid });
    }
    if facts.uid != facts.own_uid && facts.own_uid != 0 {
        may_look = false;
        refusals.push(Refusal::AnotherUser {
            pid,
            found: facts.uid,
            own: facts.own_uid,
        });
    }
    if !facts.same_network {
        may_look = false;
        refusals.push(Refusal::AnotherNetwork { pid });
    }
    if !facts.same_processes {
        refusals.push(Refusal::AnotherProcessNamespace { pid });
    }
    may_look
}

/// By the name that our command, and the keeper that it starts, has.
fn is_supervisor(name: &str) -> bool {
    matches!(name, "handover" | "handover-keeper")
}

/// Whether its sockets may be taken.
fn sockets(facts: &Facts, refusals: &mut Vec<Refusal>) {
    let pid = facts.pid;
    if facts.listening.is_empty() {
        refusals.push(Refusal::NotListening {
            pid,
            name: facts.name.clone(),
            child: facts.listening_child,
        });
        return;
    }
    if facts.listening.len() > MAX_INHERITED {
        refusals.push(Refusal::TooMany {
            found: facts.listening.len(),
            limit: MAX_INHERITED,
        });
    }
    refusals.extend(match &facts.access {
        Access::Granted => None,
        Access::Unsupported => Some(Refusal::NoSuchCall),
        Access::Forbidden => Some(Refusal::NotPermitted { pid }),
        Access::Failed(reason) => Some(Refusal::CannotTake {
            pid,
            reason: reason.clone(),
        }),
    });
    let others = facts.holders.iter();
    refusals.extend(others.filter_map(|holder| in_the_way(facts, holder)));
    let mut by_address: BTreeMap<&str, usize> = BTreeMap::new();
    for socket in &facts.listening {
        *by_address.entry(&socket.address).or_default() += 1;
    }
    let several = by_address.into_iter().filter(|(_, count)| *count > 1);
    refusals.extend(several.map(|(address, count)| Refusal::ReusePort {
        address: address.to_owned(),
        count,
    }));
}

/// Why a process that holds the sockets too stands in the way, if it does.
fn in_the_way(facts: &Facts, holder: &Holder) -> Option<Refusal> {
    let pid = facts.pid;
    let of_it = |socket: &&Listening| holder.inodes.contains(&socket.inode);
    let addresses: Vec<String> = facts
        .listening
        .iter()
        .filter(of_it)
        .map(|socket| socket.address.clone())
        .collect();
    match holder.relation {
        Relation::Descendant | Relation::Group => None,
        Relation::Ancestor if holder.name == "systemd" => {
            Some(Refusal::SocketUnit { pid, addresses })
        }
        // An instance whose environment does not tell: nginx writes its title over it.
        Relation::Ancestor if is_supervisor(&holder.name) => Some(Refusal::Supervisor {
            supervisor: holder.pid,
        }),
        Relation::Ancestor => Some(Refusal::Worker {
            pid,
            master: holder.pid,
            name: holder.name.clone(),
            addresses,
        }),
        Relation::Unrelated => Some(Refusal::Shared {
            pid,
            other: holder.pid,
            name: holder.name.clone(),
            addresses,
        }),
    }
}

fn retirement(facts: &Facts, wish: &Wish) -> Result<Retirement, Refusal> {
    let known = programs::find(&facts.executable, &facts.name, &facts.command);
    let signal = match &wish.stop_signal {
        Some(name) => Signal::from_name(name)
            .filter(|signal| ![Signal::STOP, Signal::CONT].contains(signal))
            .ok_or_else(|| Refusal::BadSignal {
                found: name.clone(),
            })?,
        None => known.map_or(Signal::TERM, |known| known.signal),
    };
    let name = signal.to_string();
    let caught = facts.caught.contains(&signal.number());
    // Without a handler these do nothing (signal(7)).
    let harmless = [Signal::WINCH, Signal::CHILD].contains(&signal) && !caught;
    if facts.ignored.contains(&signal.number()) || harmless {
        let pid = facts.pid;
        return Err(Refusal::SignalIgnored { pid, signal: name });
    }
    if !caught {
        return Ok(Retirement::Still { signal: name });
    }
    let abrupt = known.is_some_and(|known| known.manner == Manner::Abrupt)
        || programs::catches_everything(|signal| facts.caught.contains(&signal));
    Ok(match abrupt {
        true => Retirement::WhenIdle { signal: name },
        false => Retirement::Graceful { signal: name },
    })
}

#[cfg(test)]
mod tests;
