//! Putting a Unix socket at a path: private from its first moment, never over a live one.

use std::collections::hash_map::RandomState;
use std::fs::{self, DirBuilder};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, RenameFlags, flock, openat, renameat_with};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::control::{BindError, MAX_PATH};
use crate::peer;

/// How long to wait for another process that is placing a socket in the same directory. It takes
/// far below a millisecond; whoever holds the lock longer uses the directory's lock for
/// something else.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// How often to look whether the lock is free.
const LOCK_INTERVAL: Duration = Duration::from_millis(5);

/// What is at a path already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
    Nothing,
    /// A socket file that no process serves any more.
    Stale,
}

/// Calls `bind` with a path inside a new directory that only we can enter, sets the socket's mode
/// to 0600 there, and renames it to `path`. `bind` must leave the socket ready to be connected to.
pub(crate) fn place<T>(
    path: &Path,
    bind: impl FnOnce(&Path) -> io::Result<T>,
) -> Result<T, BindError> {
    let found = path.as_os_str().len();
    if found > MAX_PATH {
        return Err(BindError::TooLong {
            path: path.to_owned(),
            limit: MAX_PATH,
            found,
        });
    }
    let failed = |doing: &'static str| {
        move |source: io::Error| BindError::Io {
            path: path.to_owned(),
            doing,
            source,
        }
    };
    let name = path
        .file_name()
        .ok_or_else(|| failed("reading the path")(io::ErrorKind::InvalidInput.into()))?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let directory = open_directory(path, parent)?;
    // Looking and renaming are two steps: without the lock, two processes that find the same
    // stale socket would both replace it, the second one a live socket.
    lock(path, directory.as_fd())?;
    let existing = examine(path)?;

    let nest = Nest::new(parent, name).map_err(failed("creating a private directory for"))?;
    let bound = nest.bind(bind).map_err(failed("binding"))?;
    fs::set_permissions(nest.socket(), fs::Permissions::from_mode(0o600))
        .map_err(failed("setting the mode of"))?;
    match move_into_place(&nest.socket(), path, existing) {
        Ok(()) => Ok(bound),
        Err(Errno::EXIST) => Err(BindError::InUse {
            path: path.to_owned(),
            pid: None,
        }),
        Err(error) => Err(failed("renaming the socket to")(error.into())),
    }
}

fn open_directory(path: &Path, parent: &Path) -> Result<OwnedFd, BindError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, parent, flags, Mode::empty()).map_err(|error| match error {
        Errno::NOENT | Errno::NOTDIR => BindError::NoDirectory {
            path: path.to_owned(),
            directory: parent.to_owned(),
        },
        other => BindError::Io {
            path: path.to_owned(),
            doing: "opening the directory of",
            source: other.into(),
        },
    })
}

fn lock(path: &Path, directory: impl AsFd) -> Result<(), BindError> {
    let started = Instant::now();
    loop {
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK) if started.elapsed() < LOCK_PATIENCE => {
                thread::sleep(LOCK_INTERVAL);
            }
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(BindError::Busy {
                    path: path.to_owned(),
                });
            }
            Err(error) => {
                return Err(BindError::Io {
                    path: path.to_owned(),
                    doing: "locking the directory of",
                    source: error.into(),
                });
            }
        }
    }
}

fn examine(path: &Path) -> Result<Existing, BindError> {
    let failed = |doing, source| BindError::Io {
        path: path.to_owned(),
        doing,
        source,
    };
    // Not following links: a link is somebody's intention, not ours to replace.
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Existing::Nothing),
        Err(error) => return Err(failed("looking at", error)),
    };
    let kind = metadata.file_type();
    if !kind.is_socket() {
        let found = if kind.is_symlink() {
            "a symbolic link"
        } else if kind.is_dir() {
            "a directory"
        } else if kind.is_fifo() {
            "a named pipe"
        } else if kind.is_file() {
            "a regular file"
        } else {
            "a device"
        };
        return Err(BindError::NotASocket {
            path: path.to_owned(),
            found,
        });
    }
    let in_use = |pid| {
        Err(BindError::InUse {
            path: path.to_owned(),
            pid,
        })
    };
    // Non-blocking: a server that never accepts, with a full queue, must not hold us up.
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let probe = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(|error| failed("opening a socket to probe", error.into()))?;
    let address = SocketAddrUnix::new(path).map_err(|error| failed("probing", error.into()))?;
    match connect(&probe, &address) {
        Ok(()) => {
            let pid = peer::credentials(&probe)
                .ok()
                .map(|peer| peer.pid)
                .filter(|pid| *pid != 0);
            in_use(pid)
        }
        // Its queue is full, or it is served as another kind of socket: somebody is there.
        Err(Errno::AGAIN | Errno::INPROGRESS | Errno::PROTOTYPE) => in_use(None),
        Err(Errno::CONNREFUSED) => Ok(Existing::Stale),
        Err(Errno::NOENT) => Ok(Existing::Nothing),
        Err(error) => Err(failed("probing", error.into())),
    }
}

fn move_into_place(from: &Path, to: &Path, existing: Existing) -> rustix::io::Result<()> {
    if existing == Existing::Stale {
        return rustix::fs::rename(from, to);
    }
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems (overlay mounts over NFS, old FUSE) do not know the flag.
        Err(Errno::INVAL | Errno::NOSYS) => rustix::fs::rename(from, to),
        other => other,
    }
}

/// A directory of mode 0700 beside the final path; dropping it removes it with what is left in it.
struct Nest {
    directory: PathBuf,
}

impl Nest {
    fn new(parent: &Path, name: &std::ffi::OsStr) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
        // A collision of two 64-bit numbers means that somebody plays; three tries are generous.
        for _ in 0..3 {
            // `RandomState` is seeded by the system for each process and counts on.
            let random = RandomState::new().build_hasher().finish();
            let mut file = std::ffi::OsString::from(".");
            file.push(name);
            file.push(format!(".{random:016x}"));
            let directory = parent.join(file);
            match DirBuilder::new().mode(0o700).create(&directory) {
                Ok(()) => return Ok(Self { directory }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("s")
    }

    fn bind<T>(&self, bind: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
        let socket = self.socket();
        if socket.as_os_str().as_bytes().len() <= MAX_PATH {
            return bind(&socket);
        }
        // The final path fits into a socket address, this one does not: go through a descriptor.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(CWD, &self.directory, flags, Mode::empty())?;
        bind(&PathBuf::from(format!(
            "/proc/self/fd/{}/s",
            directory.as_raw_fd()
        )))
    }
}

impl Drop for Nest {
    fn drop(&mut self) {
        // After a success there is no socket left in it; what cannot be removed hurts nobody.
        let _ = fs::remove_file(self.socket());
        let _ = fs::remove_dir(&self.directory);
    }
}
