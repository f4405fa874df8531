//! Why a program is not adopted. Nothing was begun in any case: it serves on.

use handover_proto::manifest::NameError;
use serde::Serialize;
use serde::ser::SerializeStruct;

fn shown(addresses: &[String]) -> String {
    addresses.join(", ")
}

fn hint(child: Option<u32>) -> String {
    child.map_or_else(String::new, |pid| {
        format!("; process {pid} below it does: use --pid {pid}")
    })
}

/// Why a program is not adopted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is this process, or one that started it.
    #[error("process {pid} is this command itself, or started it")]
    Ourselves {
        /// The process.
        pid: u32,
    },
    /// A supervisor of ours started it.
    #[error(
        "process {pid} is under handover already (its runtime directory is {directory}); \
         use `handover upgrade`, or `handover run` if its supervisor has died"
    )]
    Supervised {
        /// The process.
        pid: u32,
        /// The runtime directory in its environment.
        directory: String,
    },
    /// It is a supervisor of ours, or is found to belong to one by its parent.
    #[error(
        "process {supervisor} is a supervisor of handover, so its service is under handover already; \
         use `handover upgrade`"
    )]
    Supervisor {
        /// The supervisor.
        supervisor: u32,
    },
    /// It runs as somebody else.
    #[error(
        "process {pid} runs as user {found} and this command as user {own}; run it as user {found}, \
         or as root"
    )]
    AnotherUser {
        /// The process.
        pid: u32,
        /// Its user.
        found: u32,
        /// Ours.
        own: u32,
    },
    /// It is in another network namespace.
    #[error(
        "process {pid} is in another network namespace (a container's, most likely), where its port \
         is not the one of the same number here. Run handover in there: \
         `nsenter --target {pid} --all handover adopt …`"
    )]
    AnotherNetwork {
        /// The process.
        pid: u32,
    },
    /// It is in another namespace of process ids.
    #[error(
        "process {pid} is in another namespace of process ids (a container's, most likely), which \
         ends with its first process: the new version has to be in there. Run handover in there: \
         `nsenter --target {pid} --all handover adopt …`"
    )]
    AnotherProcessNamespace {
        /// The process.
        pid: u32,
    },
    /// It listens on nothing.
    #[error("process {pid} ({name}) listens on no TCP or Unix stream socket{}", hint(*child))]
    NotListening {
        /// The process.
        pid: u32,
        /// Its name.
        name: String,
        /// A process below it that does.
        child: Option<u32>,
    },
    /// The kernel is too old.
    #[error("this kernel cannot duplicate descriptors of other processes (pidfd_getfd, Linux 5.6)")]
    NoSuchCall,
    /// The kernel does not allow it.
    #[error(
        "taking the sockets of process {pid} is not permitted (pidfd_getfd). It needs the same user \
         and a process that may be traced, or CAP_SYS_PTRACE: see \
         /proc/sys/kernel/yama/ptrace_scope, and in a container its seccomp profile and \
         --cap-add SYS_PTRACE"
    )]
    NotPermitted {
        /// The process.
        pid: u32,
    },
    /// It failed for another reason.
    #[error("the sockets of process {pid} cannot be taken: {reason}")]
    CannotTake {
        /// The process.
        pid: u32,
        /// The kernel's words.
        reason: String,
    },
    /// A worker was named, not its master.
    #[error(
        "process {pid} is a worker: {master} ({name}), which started it, holds {} too and would \
         start another one; use --pid {master}",
        shown(addresses)
    )]
    Worker {
        /// The process.
        pid: u32,
        /// Its master.
        master: u32,
        /// The master's name.
        name: String,
        /// What both hold.
        addresses: Vec<String>,
    },
    /// systemd holds the socket and starts the program on demand.
    #[error(
        "systemd holds {} of process {pid} too: a .socket unit, which starts the program again as \
         soon as it is gone. Write `handover run` into the service instead: it takes the sockets \
         from systemd",
        shown(addresses)
    )]
    SocketUnit {
        /// The process.
        pid: u32,
        /// What both hold.
        addresses: Vec<String>,
    },
    /// Somebody else holds a socket.
    #[error(
        "process {other} ({name}) holds {} too and is no worker of process {pid}: both accept from \
         one queue, and only one of them would be replaced. Stop that one first if it need not serve",
        shown(addresses)
    )]
    Shared {
        /// The process.
        pid: u32,
        /// The other one.
        other: u32,
        /// Its name.
        name: String,
        /// What both hold.
        addresses: Vec<String>,
    },
    /// Several sockets share an address.
    #[error(
        "{count} sockets share {address} (SO_REUSEPORT), each with a queue of its own: what waits in \
         one of them is lost with whoever does not accept from it. Start the program once with a \
         single socket (nginx: without `reuseport`), or use its own way to upgrade"
    )]
    ReusePort {
        /// The address.
        address: String,
        /// How many there are.
        count: usize,
    },
    /// `--listen` names an address that the program does not listen on.
    #[error(
        "--listen {name}={address}: the program does not listen there, but on {}",
        shown(found)
    )]
    NotThere {
        /// The name.
        name: String,
        /// The address.
        address: String,
        /// What it listens on.
        found: Vec<String>,
    },
    /// Two listeners would have the same name.
    #[error("two listeners would be named {name:?}; name them with --listen NAME=ADDR")]
    SameName {
        /// The name.
        name: String,
    },
    /// A name that cannot be one.
    #[error(transparent)]
    BadName(#[from] NameError),
    /// More than can be passed.
    #[error("it listens on {found} sockets; at most {limit} can be passed on")]
    TooMany {
        /// How many there are.
        found: usize,
        /// How many may be.
        limit: usize,
    },
    /// The stop signal does not exist or cannot stop.
    #[error(
        "stop signal {found:?} is no signal that stops a program; expected one such as TERM, QUIT \
         or INT"
    )]
    BadSignal {
        /// What was given.
        found: String,
    },
    /// The program would not react.
    #[error(
        "process {pid} ignores {signal}, so it would never go; name the signal that stops it \
         gracefully: --stop-signal SIG"
    )]
    SignalIgnored {
        /// The process.
        pid: u32,
        /// The signal.
        signal: String,
    },
    /// One owner of data cannot be had from a program without the library.
    #[error(
        "--exclusive needs the library in both versions: a program that was started plainly cannot \
         give up its data. Adopt without it if both versions may run at once, or restart the \
         program once under `handover run --exclusive`"
    )]
    Exclusive,
}

impl Refusal {
    /// One word for programs.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Ourselves { .. } => "ourselves",
            Self::Supervised { .. } | Self::Supervisor { .. } => "supervised",
            Self::AnotherUser { .. } => "another_user",
            Self::AnotherNetwork { .. } => "another_network",
            Self::AnotherProcessNamespace { .. } => "another_process_namespace",
            Self::NotListening { .. } => "not_listening",
            Self::NoSuchCall => "no_such_call",
            Self::NotPermitted { .. } => "not_permitted",
            Self::CannotTake { .. } => "cannot_take",
            Self::Worker { .. } => "worker",
            Self::SocketUnit { .. } => "socket_unit",
            Self::Shared { .. } => "shared",
            Self::ReusePort { .. } => "reuse_port",
            Self::NotThere { .. } => "not_there",
            Self::SameName { .. } => "same_name",
            Self::BadName(_) => "bad_name",
            Self::TooMany { .. } => "too_many",
            Self::BadSignal { .. } => "bad_signal",
            Self::SignalIgnored { .. } => "signal_ignored",
            Self::Exclusive => "exclusive",
        }
    }
}

impl Serialize for Refusal {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut refusal = to.serialize_struct("Refusal", 2)?;
        refusal.serialize_field("refusal", self.word())?;
        refusal.serialize_field("reason", &self.to_string())?;
        refusal.end()
    }
}
