//! Who serves at the path, and how their listener is had.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use handover_proto::manifest::ListenerKind;
use handover_sys::Pidfd;
use handover_sys::control::MAX_PATH;
use handover_sys::descriptors::{DuplicateError, duplicate_socket, sockets};
use handover_sys::peer::credentials;
use handover_sys::socket::{Kind, describe, same_network_namespace};
use tokio::net::UnixStream;
use tokio::sync::mpsc::unbounded_channel;

use super::error::ZeroError;
use super::taking::{Line, News, Word};
use crate::supervisor::config::ListenerSpec;

/// `st` of a listening socket in `/proc/net/tcp` (include/net/tcp_states.h).
const LISTEN: &str = "0A";

/// Who was found at a path.
#[derive(Debug)]
pub(super) enum Arrival {
    /// Nobody; a socket that nobody listens on may stand there.
    Vacant { stale: bool },
    /// A process that serves and was not asked for anything yet.
    Serving(Box<Serving>),
    /// A process that gave its listener and goes.
    Given(Had),
}

/// A listener, and whose it was.
#[derive(Debug)]
pub(super) struct Had {
    pub(super) pid: u32,
    pub(super) fd: OwnedFd,
    pub(super) address: SocketAddr,
}

/// A process that serves.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) had: Had,
    pub(super) stream: UnixStream,
}

/// Looks who serves at `path`, and takes a duplicate of their listener, or the listener itself where
/// that is not permitted. `wanted` is the listener as it is configured, if it is.
pub(super) async fn arrive(
    path: &Path,
    wanted: Option<&ListenerSpec>,
) -> Result<Arrival, ZeroError> {
    if !examine(path)? {
        return Ok(Arrival::Vacant { stale: false });
    }
    let stream = match UnixStream::connect(path).await {
        Ok(stream) => stream,
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => return Ok(Arrival::Vacant { stale: true }),
            io::ErrorKind::NotFound => return Ok(Arrival::Vacant { stale: false }),
            _ => return Err(unreachable(path, error)),
        },
    };
    let who = credentials(&stream).map_err(|error| unreachable(path, error))?;
    if !who.is_trusted() {
        return Err(ZeroError::AnotherUser {
            path: path.into(),
            pid: who.pid,
            uid: who.uid,
            expected: rustix::process::geteuid().as_raw(),
        });
    }
    match duplicate(path, who.pid, wanted)? {
        Some(had) => Ok(Arrival::Serving(Box::new(Serving { had, stream }))),
        None => ask(path, who.pid, stream).await,
    }
}

/// Whether a socket is there.
fn examine(path: &Path) -> Result<bool, ZeroError> {
    let found = path.as_os_str().len();
    if found > MAX_PATH {
        return Err(ZeroError::TooLong {
            path: path.into(),
            found,
            limit: MAX_PATH,
        });
    }
    // A link is not followed: one that takes over removes the path, and that would be the link.
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = path
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            return match parent.is_none_or(Path::is_dir) {
                true => Ok(false),
                false => Err(ZeroError::NoDirectory { path: path.into() }),
            };
        }
        Err(error) => return Err(unreachable(path, error)),
    };
    let kind = metadata.file_type();
    if kind.is_socket() {
        return Ok(true);
    }
    let found = match () {
        () if kind.is_dir() => "a directory".into(),
        () if kind.is_symlink() => {
            let target = fs::read_link(path).unwrap_or_default();
            let dangling = if path.exists() {
                ""
            } else {
                ", which does not exist"
            };
            format!("a link to {}{dangling}", target.display())
        }
        () if kind.is_file() => "a file".into(),
        () => "a device or a pipe".into(),
    };
    Err(ZeroError::NotASocket {
        path: path.into(),
        found,
    })
}

fn unreachable(path: &Path, source: io::Error) -> ZeroError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::PermissionDenied => ZeroError::NotPermitted {
            owner: fs::symlink_metadata(&path).map_or(0, |found| found.uid()),
            path,
            source,
        },
        _ => ZeroError::Unreachable { path, source },
    }
}

/// A duplicate of the one TCP listener of a process that could be meant. `None` where duplicates are
/// not permitted, or it has several and none is named by its address.
fn duplicate(
    path: &Path,
    pid: u32,
    wanted: Option<&ListenerSpec>,
) -> Result<Option<Had>, ZeroError> {
    let Ok(process) = Pidfd::open(pid) else {
        return Ok(None);
    };
    let (Ok(held), Ok(listening)) = (sockets(pid), listening(pid)) else {
        return Ok(None);
    };
    let inodes: BTreeSet<u64> = held.iter().map(|held| held.inode).collect();
    let mut found: Vec<Had> = Vec::new();
    for inode in inodes.intersection(&listening) {
        let fd = match duplicate_socket(&process, *inode) {
            Ok(fd) => fd,
            Err(DuplicateError::NotHeld { .. }) => continue,
            Err(_) => return Ok(None),
        };
        if let Some(address) = tcp_listener(&fd) {
            found.push(Had { pid, fd, address });
        }
    }
    if found.is_empty() {
        return Err(ZeroError::AnotherProgram {
            path: path.into(),
            pid,
            program: command_line(pid),
        });
    }
    if found.len() > 1 {
        // The descriptor that comes could be any of them.
        found.retain(|had| wanted.is_some_and(|wanted| is_at(wanted, had.address)));
        if found.len() != 1 {
            return Ok(None);
        }
    }
    let Some(had) = found.pop() else {
        return Ok(None);
    };
    if let Some(wanted) = wanted.filter(|wanted| !is_at(wanted, had.address)) {
        return Err(ZeroError::AnotherAddress {
            pid,
            name: wanted.name.clone(),
            wanted: wanted.address.clone(),
            found: had.address,
        });
    }
    match same_network_namespace(&had.fd) {
        Ok(Some(false)) => Err(ZeroError::AnotherNamespace { pid }),
        _ => Ok(Some(had)),
    }
}

/// Inodes of the listening TCP sockets in a process's network. They come first in the tables, however
/// many connections there are.
fn listening(pid: u32) -> io::Result<BTreeSet<u64>> {
    let mut inodes = BTreeSet::new();
    for table in ["tcp", "tcp6"] {
        let Ok(file) = File::open(format!("/proc/{pid}/net/{table}")) else {
            // No IPv6.
            continue;
        };
        for line in BufReader::new(file).lines().skip(1) {
            let line = line?;
            // sl local rem st tx:rx tr:tm retrnsmt uid timeout inode
            let mut fields = line.split_ascii_whitespace().skip(3);
            if fields.next() != Some(LISTEN) {
                break;
            }
            inodes.extend(fields.nth(5).and_then(|inode| inode.parse::<u64>().ok()));
        }
    }
    Ok(inodes)
}

/// Where a socket listens, if it is a TCP listener.
fn tcp_listener(fd: &OwnedFd) -> Option<SocketAddr> {
    let facts = describe(fd).ok()?;
    let address = facts.inet?;
    (facts.listening && facts.kind == Kind::Stream).then_some(address)
}

/// Whether a listener, as it is written, can be the one at this address.
fn is_at(wanted: &ListenerSpec, found: SocketAddr) -> bool {
    if wanted.kind != ListenerKind::Tcp {
        return false;
    }
    let mut resolved = wanted.address.to_socket_addrs().into_iter().flatten();
    resolved.any(|wanted| {
        let everywhere = wanted.ip().is_unspecified() && found.ip().is_unspecified();
        let ip = wanted.ip() == found.ip() || everywhere;
        (ip && wanted.port() == found.port()) || (wanted.port() == 0)
    })
}

/// Longest command line that is shown: a line of a terminal.
const MOST_WORDS: usize = 100;

/// As it was started, for people.
pub(in crate::supervisor) fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = bytes
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(String::from_utf8_lossy)
        .collect();
    match words.is_empty() {
        true => "its command line is not to be seen".into(),
        false => {
            let shown = words.join(" ").replace(char::is_control, " ");
            shown.chars().take(MOST_WORDS).collect()
        }
    }
}

/// The plain exchange: from the request on the other goes.
async fn ask(path: &Path, pid: u32, stream: UnixStream) -> Result<Arrival, ZeroError> {
    let (to, mut news) = unbounded_channel();
    let line = Line::open(stream, path.to_owned(), to);
    line.say(Word::Relieve);
    let not_a_giver = |found| ZeroError::NotAGiver {
        path: path.into(),
        pid,
        found,
    };
    while let Some(news) = news.recv().await {
        match news {
            News::Taken(Ok(fd)) => {
                let Some(address) = tcp_listener(&fd) else {
                    return Err(not_a_giver("a descriptor that is no TCP listener".into()));
                };
                return Ok(Arrival::Given(Had { pid, fd, address }));
            }
            News::Taken(Err(source)) => return Err(ZeroError::NotReceived { pid, source }),
            News::NotAnAnswer(found) => return Err(not_a_giver(found)),
            News::Slow => tracing::warn!(
                "process {pid} at {} does not answer; it serves on. Still waiting: another silent \
                 connection may be before ours. Ctrl-C gives up",
                path.display()
            ),
            News::Lost => return Err(ZeroError::AnotherTaker { pid }),
            News::TurnedAway | News::Alone => break,
        }
    }
    Err(not_a_giver("the end of the connection".into()))
}

/// Whether two descriptors are one socket.
pub(super) fn is_same_socket(one: impl AsFd, other: impl AsFd) -> bool {
    let inode = |fd: std::os::fd::BorrowedFd<'_>| {
        let stat = rustix::fs::fstat(fd).ok()?;
        Some((stat.st_dev, stat.st_ino))
    };
    let (one, other) = (inode(one.as_fd()), inode(other.as_fd()));
    one.is_some() && one == other
}
