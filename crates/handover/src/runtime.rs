//! Where services have their directories, and how they are kept private.

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

/// Creates a private directory, or checks that the one that is there is ours and private: whoever
/// can write to it could answer in our place.
///
/// # Errors
///
/// Why it cannot be made, or is not ours: a symbolic link, another user's.
pub fn create_private(dir: &Path) -> io::Result<()> {
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
