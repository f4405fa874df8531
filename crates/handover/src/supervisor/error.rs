//! Why a supervisor did not start, or ended.

use std::io;
use std::path::PathBuf;

use super::preflight::PreflightError;

/// Why a supervisor did not start. Each message says who serves.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No program was named.
    #[error("no program to run: give one after --, or `program = [...]` in the configuration")]
    NoProgram,
    /// The service's name cannot be a directory's.
    #[error("service name {found:?}: use letters, digits, '-', '_' and '.', not starting with '.'")]
    BadServiceName {
        /// What was given.
        found: String,
    },
    /// Something that the wire needs is not configured.
    #[error("wire = \"beyond-handoff\" needs {what}; nothing was started")]
    WireNeeds {
        /// What.
        what: &'static str,
    },
    /// The stop signal does not exist.
    #[error("stop signal {found:?} is not a signal's name; expected one such as TERM, QUIT or INT")]
    BadSignal {
        /// What was given.
        found: String,
    },
    /// Two listeners share a name.
    #[error("two listeners are named {name:?}; every listener needs a name of its own")]
    DuplicateListener {
        /// The name.
        name: String,
    },
    /// The runtime directory cannot be used.
    #[error("runtime directory {}: {source}; set HANDOVER_RUNTIME_DIR to one you own", dir.display())]
    RuntimeDir {
        /// Which.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The log file cannot be written.
    #[error("log file {}: {source}; nothing was started", path.display())]
    LogFile {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Two settings contradict each other.
    #[error(
        "log-file needs stderr = \"capture\": an instance that inherits our standard error writes \
         past it; nothing was started"
    )]
    LogFileNeedsCapture,
    /// Another supervisor lives.
    #[error(
        "service {service:?} is already supervised by process {pid}, which serves on; \
         use `handover upgrade --service {service}`, or another --name"
    )]
    AlreadyRunning {
        /// The service.
        service: String,
        /// The supervisor.
        pid: String,
    },
    /// What was passed to this process cannot be taken.
    #[error("{0}; nothing was started")]
    Inherit(#[from] handover_sys::inherited::InheritError),
    /// A listener cannot be opened.
    #[error(transparent)]
    Listener(#[from] ListenError),
    /// The program cannot be run.
    #[error("{0}; nothing was started")]
    Program(#[from] PreflightError),
    /// A socket of the supervisor's own cannot be opened.
    #[error("socket {}: {source}", path.display())]
    Socket {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The exchange of zero-downtime cannot be had.
    #[error(transparent)]
    Zero(#[from] super::ZeroError),
    /// Signals cannot be watched.
    #[error("signals cannot be watched: {0}")]
    Signals(io::Error),
    /// The program to be adopted is not there any more.
    #[error("process {pid} has ended since it was looked at; nothing was started")]
    StrangerGone {
        /// The process.
        pid: u32,
    },
    /// A socket of the program to be adopted cannot be had.
    #[error(
        "{name} ({address}) cannot be taken from process {pid}: {reason}. It serves on; nothing was \
         started"
    )]
    StrangerKeeps {
        /// The process.
        pid: u32,
        /// The listener.
        name: String,
        /// Its address.
        address: String,
        /// Why.
        reason: String,
    },
    /// An instance of the service serves, so there is nothing to adopt another program into.
    #[error(
        "the service has an instance that serves, process {pid}, left by a supervisor that died; \
         take charge of it with `handover run`, or adopt under another --name"
    )]
    ServesAlready {
        /// The instance's process.
        pid: u32,
    },
    /// A dead supervisor's instances serve, and their listeners cannot be had.
    #[error(
        "process {pid} still serves {name} ({address}) for a supervisor that died, and its socket \
         cannot be taken over ({source}); it serves on. Run this as root or with CAP_SYS_PTRACE to \
         adopt it, or stop it first with `kill {pid}`"
    )]
    CannotAdopt {
        /// Who serves.
        pid: u32,
        /// The listener.
        name: String,
        /// Its address.
        address: String,
        /// Why.
        source: io::Error,
    },
}

/// Why a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address does not resolve.
    #[error("listener {name}: address {address:?} does not resolve: {source}")]
    Resolve {
        /// The listener.
        name: String,
        /// As written.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// Somebody else listens there.
    #[error(
        "listener {name}: {address} is in use by another process, which serves on; \
         `ss -ltnp` or `ss -lxp` tells which. Stop it, or choose another address"
    )]
    InUse {
        /// The listener.
        name: String,
        /// The address.
        address: String,
    },
    /// The port is privileged.
    #[error(
        "listener {name}: binding {address} is not permitted; ports below {first_free} need root or \
         CAP_NET_BIND_SERVICE"
    )]
    NotPermitted {
        /// The listener.
        name: String,
        /// The address.
        address: String,
        /// `net.ipv4.ip_unprivileged_port_start`.
        first_free: u16,
    },
    /// The service manager passed something else under its name.
    #[error(
        "listener {name}: {found} was passed under that name, which is no {expected} socket; \
         correct FileDescriptorName= of the socket unit, or -l"
    )]
    WrongKind {
        /// The listener.
        name: String,
        /// What is configured.
        expected: handover_proto::manifest::ListenerKind,
        /// The address of what was passed.
        found: String,
    },
    /// A path that is not a socket.
    #[error("listener {name}: {} exists and is not a socket; remove it or choose another path", path.display())]
    NotASocket {
        /// The listener.
        name: String,
        /// The path.
        path: PathBuf,
    },
    /// Anything else.
    #[error("listener {name}: {address}: {source}")]
    Io {
        /// The listener.
        name: String,
        /// The address.
        address: String,
        /// Why.
        source: io::Error,
    },
}

/// Why a supervisor ended other than by being stopped.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// The control socket failed.
    #[error("control socket: {0}")]
    Control(io::Error),
}
