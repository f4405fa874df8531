//! Where an incumbent listens: found, or taken when nobody serves.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use handover_proto::takeover::MAX_SERVICE;
use handover_sys::{control, lock};
use rustix::fs::OFlags;

use super::error::{ConnectError, TakeoverError};
use super::exchange::{self, Exchange};
use super::options::Takeover;
use crate::runtime;

/// Name of the socket in a service's directory.
pub(super) const NAME: &str = "takeover.sock";

/// How long others that start at the same moment may hold the lock: as long as one of them may wait
/// to be accepted, and the moment it takes to bind.
const LOCKED_FOR: Duration = Duration::from_secs(8);

/// How often to look whether it is free.
const LOCK_EVERY: Duration = Duration::from_millis(5);

/// What is at the path.
pub(super) enum Found {
    /// Nobody served; we listen there now.
    Nobody(UnixListener),
    /// Somebody does.
    Somebody(Exchange),
}

/// The path, in a directory that is there.
pub(super) fn path_of(options: &Takeover, service: &str) -> Result<PathBuf, TakeoverError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| TakeoverError::Directory { path, source }
    };
    if let Some(path) = &options.socket {
        let directory = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        // One that is there may be shared on purpose, with other containers.
        if let Some(directory) = directory
            && !directory.exists()
        {
            runtime::create_private(directory).map_err(failed(path))?;
        }
        return Ok(path.clone());
    }
    let odd = service.is_empty() || service.starts_with('.') || service.contains(['/', '\0']);
    if odd || service.len() > MAX_SERVICE {
        return Err(TakeoverError::Name {
            service: service.to_owned(),
        });
    }
    let path = runtime::service_dir(service).join(NAME);
    runtime::create_private(&runtime::root()).map_err(failed(&path))?;
    runtime::create_private(&runtime::service_dir(service)).map_err(failed(&path))?;
    Ok(path)
}

/// Connects to whoever listens at `path`, or listens there if nobody does. Processes that start at
/// the same moment are put in order by a lock beside it, so that one of them finds the other.
pub(super) fn find(path: &Path) -> Result<Found, TakeoverError> {
    // What must not be replaced is told before anything is created beside it.
    let _lock = match exchange::connect(path) {
        Ok(exchange) => return Ok(Found::Somebody(exchange)),
        Err(ConnectError::Nobody { .. }) => locked(path)?,
        Err(error) => return Err(error.into()),
    };
    match exchange::connect(path) {
        Ok(exchange) => Ok(Found::Somebody(exchange)),
        Err(ConnectError::Nobody { .. }) => Ok(Found::Nobody(control::bind_private(path)?)),
        Err(error) => Err(error.into()),
    }
}

fn locked(path: &Path) -> Result<File, TakeoverError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let beside = PathBuf::from(name);
    let failed = |source: io::Error| TakeoverError::Directory {
        path: path.to_owned(),
        source,
    };
    let nofollow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags(nofollow)
        .open(&beside)
        .map_err(failed)?;
    let until = Instant::now() + LOCKED_FOR;
    while !lock::try_lock(&file).map_err(failed)? {
        if Instant::now() >= until {
            return Err(TakeoverError::Locked { path: beside });
        }
        std::thread::sleep(LOCK_EVERY);
    }
    Ok(file)
}

/// The queue of the takeover socket: those who wait in it are few.
const QUEUE: i32 = 128;

/// Says to the kernel that this process listens there now: whoever connects sees our credentials
/// instead of those of the process that listened before (unix(7), `SO_PEERCRED`).
pub(super) fn renew(socket: &UnixListener) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    Ok(rustix::net::listen(socket, QUEUE)?)
}

/// Nobody can connect any more, whoever else holds the socket: it is as good as stale.
pub(super) fn shut(socket: &UnixListener) {
    if let Err(error) = rustix::net::shutdown(socket, rustix::net::Shutdown::Both) {
        tracing::warn!(%error, "the takeover socket could not be closed");
    }
}
