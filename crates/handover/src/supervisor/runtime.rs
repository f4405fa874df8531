//! Where a service's sockets, journal and history live.

use std::fs;

pub(super) use crate::runtime::create_private;
pub use crate::runtime::{root, service_dir};

/// The services that have a directory under [`root`], whether or not they run.
#[must_use]
pub fn services() -> Vec<String> {
    let entries = fs::read_dir(root()).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().join(CONTROL_SOCKET).exists())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// Name of the control socket in a service's directory.
pub const CONTROL_SOCKET: &str = "control.sock";
/// Name of the socket that native instances reconnect to.
pub(super) const NATIVE_SOCKET: &str = "native.sock";
/// Name of the `NOTIFY_SOCKET` of the instances.
pub(super) const NOTIFY_SOCKET: &str = "notify.sock";
/// Name of the file whose lock says that a supervisor lives.
pub(super) const LOCK: &str = "supervisor.lock";
/// What the names of the journal's two files begin with.
pub(super) const JOURNAL: &str = "journal";
/// Name of the history.
pub(super) const HISTORY: &str = "history.jsonl";
