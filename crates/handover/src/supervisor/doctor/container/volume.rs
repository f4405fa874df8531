//! What the containers of a service share: a directory, and in it a key.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use handover_sys::filesystem;
use rustix::fs::{FlockOperation, flock};

use super::super::Finding;
use crate::container::read_key;

#[cfg(test)]
mod tests;

/// Directories of services in a volume that are looked into.
const SERVICES: usize = 64;
/// Name of the key that a volume makes for its services.
const KEY: &str = "key";

/// Whether datagrams, locks and the register can be in it.
pub(super) fn examine(volume: &Path) -> Finding {
    const CHECK: &str = "volume";
    let shown = volume.display();
    let mount = "mount a volume there that old and new container share, on a local filesystem";
    let kind = match File::open(volume).and_then(|open| {
        let is_directory = open.metadata()?.is_dir();
        match is_directory {
            true => filesystem::of(&open),
            false => Err(io::ErrorKind::NotADirectory.into()),
        }
    }) {
        Ok(kind) => kind,
        Err(error) => return Finding::bad(CHECK, format!("{shown}: {error}"), mount),
    };
    if !kind.locks_exclude() {
        let found = format!("{shown} is on {kind}, whose locks may not keep two instances apart");
        return Finding::bad(CHECK, found, mount);
    }
    if kind.to_string() == "overlayfs" {
        let found = format!("{shown} is in the container's own layer, which no other one sees");
        return Finding::bad(CHECK, found, mount);
    }
    let probe = Probe::new(volume);
    if let Err(error) = probe.locks() {
        let fix = "mount it for writing, and let it belong to the service's user";
        return Finding::bad(CHECK, format!("{shown}: {error}"), fix);
    }
    if let Err(error) = probe.receives() {
        let found = format!("{shown} on {kind}: no socket can be used there: {error}");
        return Finding::bad(CHECK, found, mount);
    }
    Finding::ok(CHECK, format!("{shown} on {kind}"))
}

/// Two files, gone when dropped.
struct Probe {
    file: PathBuf,
    socket: PathBuf,
}

impl Probe {
    fn new(volume: &Path) -> Self {
        // Hidden, so that it is taken for no service's.
        let name = format!(".doctor-{}", std::process::id());
        Self {
            file: volume.join(&name),
            socket: volume.join(name + ".sock"),
        }
    }

    /// A second lock must be refused.
    fn locks(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let (first, second) = (options.open(&self.file)?, options.open(&self.file)?);
        flock(&first, FlockOperation::NonBlockingLockExclusive)?;
        match flock(&second, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(()) => Err(io::Error::other("a file is locked twice at once")),
        }
    }

    fn receives(&self) -> io::Result<()> {
        let receiver = UnixDatagram::bind(&self.socket)?;
        UnixDatagram::unbound()?.send_to(b"?", &self.socket)?;
        receiver.set_nonblocking(true)?;
        receiver.recv(&mut [0]).map(drop)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
        let _ = fs::remove_file(&self.socket);
    }
}

/// The key that is given, else those that the volume has made for its services.
pub(super) fn keys(volume: Option<&Path>, given: Option<&Path>) -> Vec<Finding> {
    if let Some(path) = given {
        return vec![key(path)];
    }
    let Some(volume) = volume else {
        return vec![Finding::note(
            "key",
            "none: whoever is on the network can retire this service",
            "--key-file, or --volume with a shared volume, which makes one",
        )];
    };
    let services = fs::read_dir(volume).into_iter().flatten().flatten();
    let keys = services.take(SERVICES).map(|entry| entry.path().join(KEY));
    let made: Vec<_> = keys.filter(|path| path.exists()).collect();
    match made.as_slice() {
        [] => vec![Finding::ok(
            "key",
            "the first instance makes one in the volume",
        )],
        made => made.iter().map(|path| key(path)).collect(),
    }
}

fn key(path: &Path) -> Finding {
    const CHECK: &str = "key";
    let shown = path.display();
    if let Err(error) = read_key(path) {
        let fix =
            "a file of the service's user with at least 16 bytes, the same in both containers";
        return Finding::bad(CHECK, error.to_string(), fix);
    }
    let Ok(status) = fs::metadata(path) else {
        return Finding::ok(CHECK, format!("{shown}, whose mode is not known"));
    };
    let mode = status.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Finding::bad(
            CHECK,
            format!("{shown} has mode {mode:03o}: other users of this machine can use it"),
            format!("chmod 600 {shown}, and another key if they may have read it"),
        );
    }
    Finding::ok(CHECK, format!("{shown}, of user {}", status.uid()))
}
