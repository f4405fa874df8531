//! Where a service's sockets, journal and history live.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The directory that holds one directory a service: `$HANDOVER_RUNTIME_DIR`, else `/run/handover`
/// for root, else `$XDG_RUNTIME_DIR/handover`, else `/tmp/handover-UID`.
#[must_use]
pub fn root() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let uid = rustix::process::geteuid();
    if let Some(dir) = set("HANDOVER_RUNTIME_DIR") {
        return dir.into();
    }
    if uid.is_root() {
        return "/run/handover".into();
    }
    match set("XDG_RUNTIME_DIR") {
        Some(dir) => PathBuf::from(dir).join("handover"),
        None => PathBuf::from(format!("/tmp/handover-{}", uid.as_raw())),
    }
}

/// The directory of one service under [`root`].
#[must_use]
pub fn service_dir(service: &str) -> PathBuf {
    root().join(service)
}

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

/// Creates a private directory, or checks that the one that is there is ours and private: whoever
/// can write to it could answer in our place.
pub(super) fn create_private(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)?;
    let found = fs::symlink_metadata(dir)?;
    let refuse = |why: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    if !found.is_dir() {
        return refuse(format!("{} is not a directory", dir.display()));
    }
    let uid = rustix::process::geteuid().as_raw();
    if found.uid() != uid {
        return refuse(format!(
            "{} belongs to uid {}, not {uid}",
            dir.display(),
            found.uid()
        ));
    }
    if found.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}
