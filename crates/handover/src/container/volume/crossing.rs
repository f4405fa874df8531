//! Listeners cross the volume, from the instance that serves to one that has not started its
//! program yet: in the words of a takeover socket ([`handover_proto::takeover`]), on a socket of
//! each instance's own.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use handover_proto::container::PeerId;
use handover_proto::frame::Decoded;
use handover_proto::identity::{Generation, InstanceId, InstancePid};
use handover_proto::instance::VERSIONS;
use handover_proto::manifest::{ListenerEntry, ListenerKind};
use handover_proto::takeover::{
    Answer, Ask, LISTENERS_AT_ONCE, MAX_LISTENERS, Passed, Reader, RefusedFor, encode_answer,
};
use handover_sys::passing::{self, PassError};
use handover_sys::{peer, socket};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use super::{LISTENERS, Place};
use crate::takeover::ask::adopt;
use crate::takeover::exchange::{ANSWER_WITHIN, Exchange, connect};
use crate::takeover::{ConnectError, TakeoverError};

/// A listener that crosses from container to container, or that may.
#[derive(Debug)]
pub struct Crossed {
    /// Its name, and what it is.
    pub entry: ListenerEntry,
    /// The socket, close-on-exec.
    pub fd: OwnedFd,
}

impl AsFd for Crossed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Why no listeners came. Bind new ones; whoever serves keeps its own and serves on.
#[derive(Debug, thiserror::Error)]
pub enum CrossingError {
    /// There is no volume.
    #[error("there is no volume to ask for listeners in; name one that both containers mount")]
    NoVolume,
    /// Nobody is there, or none that serves.
    #[error("nobody serves who could give its listeners")]
    Nobody,
    /// Whoever serves said no.
    #[error("the serving instance keeps its listeners: {reason}")]
    Refused {
        /// Its words.
        reason: String,
    },
    /// The conversation with whoever serves broke.
    #[error("the listeners of the serving instance did not come: {0}")]
    Broken(#[from] Box<TakeoverError>),
    /// The directory cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

/// What an instance has to give, shared by its driver and whoever answers.
#[derive(Clone, Debug, Default)]
pub(in crate::container) struct Shelf(Arc<Mutex<Offer>>);

#[derive(Debug, Default)]
struct Offer {
    serves: bool,
    /// Somebody got some of what is or was offered.
    given: bool,
    listeners: Vec<Crossed>,
}

impl Shelf {
    fn with<T>(&self, look: impl FnOnce(&mut Offer) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces what is offered.
    pub(in crate::container) fn put(&self, listeners: Vec<Crossed>) {
        self.with(|offer| offer.listeners = listeners);
    }

    /// Whether this instance serves.
    pub(in crate::container) fn set_serves(&self, serves: bool) {
        self.with(|offer| offer.serves = serves);
    }

    /// Whether somebody was given listeners.
    pub(in crate::container) fn was_given(&self) -> bool {
        self.with(|offer| offer.given)
    }

    /// Gives nothing any more, and lets go of everything.
    pub(in crate::container) fn clear(&self) {
        self.with(|offer| *offer = Offer::default());
    }

    /// Duplicates of all, or why there are none.
    fn copy(&self) -> Result<Vec<Crossed>, (RefusedFor, String)> {
        self.with(|offer| {
            if !offer.serves {
                let reason = "it does not serve itself".to_owned();
                return Err((RefusedFor::Stopping, reason));
            }
            if offer.listeners.is_empty() {
                return Err((RefusedFor::Nothing, "it has none to give".to_owned()));
            }
            let copies = offer.listeners.iter().take(MAX_LISTENERS).map(|one| {
                let fd = one.fd.try_clone()?;
                let entry = one.entry.clone();
                Ok(Crossed { entry, fd })
            });
            let copies: io::Result<Vec<_>> = copies.collect();
            offer.given |= copies.is_ok();
            copies.map_err(|error| {
                let reason = format!("they could not be copied: {error}");
                (RefusedFor::Fault, reason)
            })
        })
    }
}

/// Answers those who ask this instance for its listeners, until it is dropped.
#[derive(Debug)]
pub(in crate::container) struct Counter {
    place: Place,
    name: String,
    task: JoinHandle<()>,
}

impl Counter {
    /// Listens in the directory; call it inside a runtime.
    pub(in crate::container) fn open(
        directory: PathBuf,
        peer: PeerId,
        service: String,
        shelf: Shelf,
    ) -> io::Result<Self> {
        let place = Place::open(directory)?;
        let name = format!("{peer}{LISTENERS}");
        let listener = UnixListener::bind(place.socket(&name))?;
        let task = tokio::spawn(answer_all(listener, service, shelf));
        Ok(Self { place, name, task })
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.task.abort();
        self.place.remove(&self.name);
    }
}

/// One after the other: few ask, and none for long.
async fn answer_all(listener: UnixListener, service: String, shelf: Shelf) {
    loop {
        let stream = match listener.accept().await.and_then(|(one, _)| one.into_std()) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "nobody can ask for listeners for a moment");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let (service, shelf) = (service.clone(), shelf.clone());
        let answered = tokio::task::spawn_blocking(move || answer(&stream, &service, &shelf)).await;
        match answered {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "an instance was not given listeners"),
            Err(error) => tracing::warn!(%error, "an instance was not given listeners"),
        }
    }
}

fn answer(stream: &UnixStream, service: &str, shelf: &Shelf) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(ANSWER_WITHIN))?;
    let given = judge(stream, service, shelf);
    let send = |bytes: &[u8], descriptors: &[BorrowedFd<'_>]| {
        passing::send_all(stream.as_fd(), bytes, descriptors).map_err(|error| match error {
            PassError::Io(error) => error,
            other => io::Error::other(other),
        })
    };
    let listeners = match given {
        Ok(listeners) => listeners,
        Err((cause, reason)) => {
            tracing::info!(?cause, reason, "an instance asked for listeners in vain");
            return send(
                &encode_answer(&Answer::Refused { cause, reason }, true),
                &[],
            );
        }
    };
    let granted = Answer::Granted {
        instance: InstanceId::default(),
        generation: Generation::default(),
        listeners: u32::try_from(listeners.len()).unwrap_or(u32::MAX),
    };
    send(&encode_answer(&granted, true), &[])?;
    for some in listeners.chunks(LISTENERS_AT_ONCE) {
        let passed = some.iter().map(|one| Passed {
            listener: one.entry.clone(),
            held: false,
        });
        let entries = passed.collect();
        let descriptors: Vec<BorrowedFd<'_>> = some.iter().map(AsFd::as_fd).collect();
        let bytes = encode_answer(&Answer::Listeners { entries }, false);
        send(&bytes, &descriptors)?;
    }
    tracing::info!(
        count = listeners.len(),
        "gave listeners to a younger instance"
    );
    Ok(())
}

/// What whoever connected gets.
fn judge(
    stream: &UnixStream,
    service: &str,
    shelf: &Shelf,
) -> Result<Vec<Crossed>, (RefusedFor, String)> {
    let trusted = peer::credentials(stream).is_ok_and(|peer| peer.is_trusted());
    if !trusted {
        return Err((RefusedFor::Uid, "it runs as another user".to_owned()));
    }
    let ask = read_ask(stream).map_err(|reason| (RefusedFor::Violation, reason))?;
    let Ask::Take {
        service: wanted,
        network,
        ..
    } = ask
    else {
        let reason = "this socket gives listeners and nothing else".to_owned();
        return Err((RefusedFor::Violation, reason));
    };
    if wanted != service {
        let reason = format!("this is the service {service:?}, not {wanted:?}");
        return Err((RefusedFor::Service, reason));
    }
    let listeners = shelf.copy()?;
    let inet = listeners
        .iter()
        .any(|one| matches!(one.entry.kind, ListenerKind::Tcp | ListenerKind::Udp));
    let ours = socket::network_namespace().ok().flatten();
    if let (Some(ours), Some(theirs)) = (ours, network)
        && ours != theirs
        && inet
    {
        let reason = "the other container has a network of its own, where nobody could connect to \
                      these listeners; give both the host's network (network_mode: host) if they \
                      are to cross"
            .to_owned();
        return Err((RefusedFor::Network, reason));
    }
    Ok(listeners)
}

fn read_ask(stream: &UnixStream) -> Result<Ask, String> {
    let until = Instant::now() + ANSWER_WITHIN;
    let mut reader = Reader::new();
    let mut buffer = [0; 4096];
    loop {
        match reader.next_ask().map_err(|error| error.to_string())? {
            Some(Decoded::Message(ask)) => return Ok(ask),
            Some(Decoded::Unknown { kind }) => return Err(format!("request {kind:#06x}")),
            None => {}
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(format!("it said nothing for {ANSWER_WITHIN:?}"));
        }
        let set = stream.set_read_timeout(Some(left));
        set.map_err(|error| error.to_string())?;
        // Descriptors have no place here; any that come are closed.
        match passing::receive(stream.as_fd(), &mut buffer, 0) {
            Ok(received) if received.bytes == 0 => return Err("it is gone".to_owned()),
            Ok(received) => {
                let bytes = buffer.get(..received.bytes).unwrap_or_default();
                reader.push(bytes).map_err(|error| error.to_string())?;
            }
            Err(error) if error.is_would_block() => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Asks everybody else in the directory for listeners; those of the first one that gives any.
/// Blocks.
pub(in crate::container) fn ask(
    directory: PathBuf,
    service: &str,
    own: PeerId,
) -> Result<Vec<Crossed>, CrossingError> {
    let failed = |source| CrossingError::Directory {
        path: directory.clone(),
        source,
    };
    let place = Place::open(directory.clone()).map_err(failed)?;
    let mut result = Err(CrossingError::Nobody);
    let own = format!("{own}{LISTENERS}");
    let names = place.named(LISTENERS).map_err(failed)?;
    for name in names.into_iter().filter(|name| *name != own) {
        match ask_one(&place, &name, service) {
            Ok(listeners) => return Ok(listeners),
            Err(TakeoverError::Connect(ConnectError::Nobody { .. })) => place.remove(&name),
            Err(TakeoverError::Refused {
                cause: RefusedFor::Stopping,
                ..
            }) => {}
            Err(TakeoverError::Refused { reason, .. }) => {
                result = Err(CrossingError::Refused { reason });
            }
            Err(error) => result = Err(Box::new(error).into()),
        }
    }
    result
}

fn ask_one(place: &Place, name: &str, service: &str) -> Result<Vec<Crossed>, TakeoverError> {
    let mut exchange = connect(&place.socket(name))?;
    exchange.ask(&Ask::Take {
        service: service.to_owned(),
        pid: InstancePid(std::process::id()),
        network: socket::network_namespace().ok().flatten(),
        oldest: *VERSIONS.start(),
        newest: *VERSIONS.end(),
    })?;
    let count = match exchange.answer(Some(ANSWER_WITHIN))? {
        Answer::Granted { listeners, .. } => usize::try_from(listeners).unwrap_or(usize::MAX),
        Answer::Refused { cause, reason } => return Err(TakeoverError::Refused { cause, reason }),
        _ => return Err(exchange.misled("neither yes nor no").into()),
    };
    receive(&mut exchange, count)
}

fn receive(exchange: &mut Exchange, count: usize) -> Result<Vec<Crossed>, TakeoverError> {
    if count > MAX_LISTENERS {
        return Err(exchange.misled("that it has too many listeners").into());
    }
    let mut listeners = Vec::new();
    while listeners.len() < count {
        let Answer::Listeners { entries } = exchange.answer(Some(ANSWER_WITHIN))? else {
            return Err(exchange.misled("something else than its listeners").into());
        };
        if entries.is_empty() || listeners.len() + entries.len() > count {
            return Err(exchange.misled("another number of listeners").into());
        }
        for passed in entries {
            let fd = adopt(exchange, &passed)?.fd;
            let entry = passed.listener;
            listeners.push(Crossed { entry, fd });
        }
    }
    if exchange.has_strays() {
        return Err(exchange.misled("more than it announced").into());
    }
    Ok(listeners)
}
