//! Asking an incumbent for something.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use handover_proto::identity::{Generation, InstanceId};
use handover_proto::manifest::ListenerEntry;
use handover_proto::phase::{Mode, Phase};
use handover_proto::takeover::{Answer, Ask, RefusedFor};
use handover_sys::descriptors::each_socket;
use handover_sys::diag::unix_sockets_of;

use super::error::ConnectError;
use super::exchange::{self, ANSWER_WITHIN, Exchange};

/// What an incumbent can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Start the program again, from its path, and hand over to it.
    Upgrade,
    /// In probation: the old process is to take back.
    Undo,
    /// Who serves?
    Status,
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Something happened; more follows.
    Progress(String),
    /// The attempt is over; nothing follows.
    Finished(Finished),
    /// Who serves; nothing follows.
    Serving(Serving),
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The exit code of a command that waited for it: 0 committed, 10 rolled back, 11 refused,
    /// 12 timed out with the old process serving, 13 nobody serves.
    pub code: u8,
    /// One word for tables: `committed`, `rolled back`, `refused`, `timed out`, `nobody serves`.
    pub word: String,
    /// How, for people.
    pub text: String,
}

/// Who serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serving {
    /// The service.
    pub service: String,
    /// The process that answers: the incumbent; in probation the parked one.
    pub pid: u32,
    /// Its number.
    pub instance: InstanceId,
    /// How many instances have been committed.
    pub generation: Generation,
    /// Where the running attempt stands.
    pub phase: Phase,
    /// Whether the service has one owner of data.
    pub mode: Mode,
    /// What the process runs: program and arguments.
    pub program: String,
    /// For how long it has been the incumbent.
    pub uptime: Duration,
    /// Its listeners.
    pub listeners: Vec<ListenerEntry>,
    /// The process that takes over, if an attempt runs; the new one, in probation.
    pub successor: Option<u32>,
}

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Nobody could be talked to, or the conversation broke.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The incumbent said no; it serves on.
    #[error("refused: {reason}")]
    Refused {
        /// Why, for programs.
        cause: RefusedFor,
        /// Its words.
        reason: String,
    },
    /// There is no such process.
    #[error("there is no process {pid}")]
    NoProcess {
        /// The process id.
        pid: u32,
    },
    /// Its descriptors cannot be looked at.
    #[error("process {pid} belongs to somebody else; ask as its user or as root")]
    Denied {
        /// The process id.
        pid: u32,
    },
    /// It has no takeover socket.
    #[error(
        "process {pid} has no takeover socket: it does not serve yet, or it was built without \
         Builder::takeover, or a supervisor decides for it (then use the service's name)"
    )]
    NoTakeover {
        /// The process id.
        pid: u32,
    },
}

/// The answers to a request, until one of them is the last. Each waits for its answer: the first
/// at most 5 s, the following ones as long as the attempt takes.
#[derive(Debug)]
pub struct Replies {
    exchange: Exchange,
    begun: bool,
    over: bool,
}

/// Asks the incumbent that listens at `path`. Blocks for up to 5 s if it does not accept.
///
/// An upgrade goes on when whoever asked goes away.
///
/// ```no_run
/// use handover::takeover::{Reply, Request, request, socket_path};
///
/// for reply in request(socket_path("web"), Request::Upgrade)? {
///     match reply? {
///         Reply::Progress(text) => eprintln!("{text}"),
///         Reply::Finished(outcome) => std::process::exit(outcome.code.into()),
///         Reply::Serving(_) => {} // the answer to `Request::Status`
///     }
/// }
/// # Ok::<(), handover::takeover::RequestError>(())
/// ```
///
/// # Errors
/// [`RequestError::Connect`]. Nothing was asked.
pub fn request(path: impl AsRef<Path>, request: Request) -> Result<Replies, RequestError> {
    let mut exchange = exchange::connect(path.as_ref())?;
    exchange.ask(&match request {
        Request::Upgrade => Ask::Upgrade,
        Request::Undo => Ask::Undo,
        Request::Status => Ask::Status,
    })?;
    Ok(Replies {
        exchange,
        begun: false,
        over: false,
    })
}

impl Replies {
    /// The process that listens at the socket, where the kernel says so.
    #[must_use]
    pub fn peer(&self) -> Option<u32> {
        self.exchange.peer()
    }

    fn reply(&mut self) -> Result<Reply, RequestError> {
        let within = (!self.begun).then_some(ANSWER_WITHIN);
        let answer = self.exchange.answer(within)?;
        self.begun = true;
        Ok(match answer {
            Answer::Progress { text } => Reply::Progress(text),
            Answer::Finished { code, word, text } => Reply::Finished(Finished { code, word, text }),
            Answer::Refused { cause, reason } => {
                return Err(RequestError::Refused { cause, reason });
            }
            Answer::Serving {
                service,
                pid,
                instance,
                generation,
                phase,
                mode,
                program,
                uptime_ms,
                listeners,
                successor,
            } => Reply::Serving(Serving {
                service,
                pid: pid.0,
                instance,
                generation,
                phase,
                mode,
                program,
                uptime: Duration::from_millis(uptime_ms),
                listeners,
                successor: successor.map(|pid| pid.0),
            }),
            Answer::Granted { .. } | Answer::Listeners { .. } => {
                return Err(self
                    .exchange
                    .misled("an answer to a question nobody asked")
                    .into());
            }
        })
    }
}

impl Iterator for Replies {
    type Item = Result<Reply, RequestError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let reply = self.reply();
        self.over = !matches!(reply, Ok(Reply::Progress(_)));
        Some(reply)
    }
}

/// Where the incumbent of a service listens, unless its program chose another path.
#[must_use]
pub fn socket_path(service: &str) -> PathBuf {
    crate::runtime::service_dir(service).join(super::socket::NAME)
}

/// The takeover socket of a process: one that it listens on, and at which the kernel says that it
/// is the one who does. Waits up to a second for one that takes over at this moment.
///
/// # Errors
/// [`RequestError::NoProcess`], [`RequestError::Denied`], [`RequestError::NoTakeover`].
pub fn socket_of(pid: u32) -> Result<PathBuf, RequestError> {
    let held = each_socket(pid).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => RequestError::Denied { pid },
        _ => RequestError::NoProcess { pid },
    })?;
    let held: BTreeSet<u64> = held.map(|socket| socket.inode).collect();
    let listed = unix_sockets_of(pid).unwrap_or_default().into_iter();
    let ours = listed.filter(|socket| held.contains(&socket.inode));
    let paths: BTreeSet<PathBuf> = ours.filter_map(|socket| placed(&socket.address)).collect();
    let serves = |path: &&PathBuf| {
        exchange::connect(path).is_ok_and(|exchange| exchange.peer() == Some(pid))
    };
    let until = Instant::now() + LISTENS_WITHIN;
    loop {
        if let Some(path) = paths.iter().find(serves) {
            return Ok(path.clone());
        }
        if paths.is_empty() || Instant::now() >= until {
            return Err(RequestError::NoTakeover { pid });
        }
        std::thread::sleep(LISTENS_EVERY);
    }
}

/// How long a process that was just committed may take until it is the one that listens: it has to
/// start a thread.
const LISTENS_WITHIN: Duration = Duration::from_secs(1);

/// How often to look whether it is.
const LISTENS_EVERY: Duration = Duration::from_millis(20);

/// Where a socket is that was bound under this name: a private one is bound in a directory
/// `.NAME.RANDOM` of its own and moved beside it ([`handover_sys::control::bind_private`]).
fn placed(bound: &str) -> Option<PathBuf> {
    let nest = Path::new(bound).parent()?;
    let name = nest.file_name()?.to_str()?.strip_prefix('.')?;
    let (name, _) = name.rsplit_once('.')?;
    Some(nest.with_file_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_found_where_it_was_moved_to() {
        let bound = "/run/handover/web/.takeover.sock.00ff00ff00ff00ff/s";
        let moved = PathBuf::from("/run/handover/web/takeover.sock");
        assert_eq!(placed(bound), Some(moved));
        for other in ["/run/web.sock", "@abstract", "s", "/.x/s"] {
            assert_eq!(placed(other), None, "{other}");
        }
    }
}
