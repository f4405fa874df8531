//! What the kernel says about a program that is to be adopted. Data only: [`super::look()`] fills it
//! in, [`super::plan()`] decides from it.

use std::collections::BTreeSet;

use handover_proto::manifest::ListenerKind;
use serde::Serialize;

/// A listening socket of the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listening {
    /// Its inode, which is what names it.
    pub inode: u64,
    /// What it is.
    pub kind: ListenerKind,
    /// Its address as people write it: `127.0.0.1:80`, `[::]:80`, a path, `@name`.
    pub address: String,
    /// Connections in its queue.
    pub waiting: u32,
}

/// How another process is related to the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// A child, or a child's child: a worker.
    Descendant,
    /// Of the same process group although not a descendant: a worker whose parent has ended.
    Group,
    /// Its parent, or a parent's parent.
    Ancestor,
    /// None of these.
    Unrelated,
}

/// Another process that holds listening sockets of the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its command's name.
    pub name: String,
    /// How it is related to the program.
    pub relation: Relation,
    /// Which of the sockets, by inode.
    pub inodes: BTreeSet<u64>,
}

/// Whether its sockets can be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// One was duplicated and closed again.
    Granted,
    /// The kernel has no pidfd_getfd(2).
    Unsupported,
    /// The kernel, a filter or a security module forbids it.
    Forbidden,
    /// Anything else, in the kernel's words.
    Failed(String),
}

/// What the kernel says about a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// Its process id.
    pub pid: u32,
    /// When it started, in ticks since boot: with the process id it names one process.
    pub start_time: u64,
    /// Its command's name.
    pub name: String,
    /// Its executable; empty when it may not be seen.
    pub executable: String,
    /// Its command line.
    pub command: Vec<String>,
    /// Its effective user.
    pub uid: u32,
    /// Ours.
    pub own_uid: u32,
    /// It is this process, or a parent of it.
    pub ourselves: bool,
    /// The runtime directory of the supervisor that started it, if one did.
    pub supervised_in: Option<String>,
    /// Whether it shares our network namespace.
    pub same_network: bool,
    /// Whether it shares our namespace of process ids.
    pub same_processes: bool,
    /// Whether it sees the same files.
    pub same_files: bool,
    /// The systemd unit it runs in.
    pub unit: Option<String>,
    /// Its parent's process id and name, when that is neither init nor a shell.
    pub kept_by: Option<(u32, String)>,
    /// What it listens on.
    pub listening: Vec<Listening>,
    /// A process below it that listens although it does not.
    pub listening_child: Option<u32>,
    /// Who else holds these sockets.
    pub holders: Vec<Holder>,
    /// Processes that may not be looked into, and might hold them too.
    pub hidden: usize,
    /// Connections it and its workers have accepted.
    pub connections: usize,
    /// Numbers of the signals it has a handler for.
    pub caught: BTreeSet<i32>,
    /// Numbers of the signals it ignores.
    pub ignored: BTreeSet<i32>,
    /// Whether its sockets can be had.
    pub access: Access,
}
