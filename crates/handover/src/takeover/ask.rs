//! Taking over from whoever serves.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use handover_proto::identity::{Generation, InstanceId, InstancePid};
use handover_proto::instance::VERSIONS;
use handover_proto::manifest::{ListenerKind, check_name};
use handover_proto::takeover::{Answer, Ask, MAX_LISTENERS, Passed};
use handover_sys::inherited::Inherited;
use handover_sys::socket::{self, Family, Kind, SocketFacts};

use super::error::{ConnectError, TakeoverError};
use super::exchange::{ANSWER_WITHIN, Exchange};
use super::socket::{Found, find};

/// How often an incumbent may end while it is asked, before it is somebody else's business.
const TRIES: u32 = 20;

/// Pause before the next try: the kernel takes a moment to close what a dead process had.
const BEFORE_NEXT: Duration = Duration::from_millis(20);

/// How a process begins.
pub(super) enum Begin {
    /// Nobody served.
    Cold(UnixListener),
    /// Somebody hands over to us.
    Taking(Taken),
}

/// What an incumbent gave.
pub(super) struct Taken {
    pub(super) listeners: Vec<Inherited>,
    /// Names of those that somebody outside the service holds.
    pub(super) held: Vec<String>,
    pub(super) channel: UnixStream,
    pub(super) instance: InstanceId,
    pub(super) generation: Generation,
    /// The takeover socket.
    pub(super) socket: UnixListener,
}

/// Finds out who serves at `path`, and takes over from it. An incumbent that ends before it has
/// given everything is none: the next try decides anew.
pub(super) fn begin(path: &Path, service: &str) -> Result<Begin, TakeoverError> {
    for _ in 0..TRIES {
        let exchange = match find(path)? {
            Found::Nobody(socket) => return Ok(Begin::Cold(socket)),
            Found::Somebody(exchange) => exchange,
        };
        match take(exchange, service) {
            Err(TakeoverError::Connect(ConnectError::Gone { .. })) => {
                tracing::debug!("the incumbent ended while it was asked; looking again");
                std::thread::sleep(BEFORE_NEXT);
            }
            taken => return taken.map(Begin::Taking),
        }
    }
    Err(TakeoverError::Restless {
        path: path.to_owned(),
        tries: TRIES,
    })
}

fn take(mut exchange: Exchange, service: &str) -> Result<Taken, TakeoverError> {
    exchange.ask(&Ask::Take {
        service: service.to_owned(),
        pid: InstancePid(std::process::id()),
        network: socket::network_namespace().map_err(TakeoverError::Resources)?,
        oldest: *VERSIONS.start(),
        newest: *VERSIONS.end(),
    })?;
    let (instance, generation, count) = match exchange.answer(Some(ANSWER_WITHIN))? {
        Answer::Granted {
            instance,
            generation,
            listeners,
        } => (instance, generation, listeners as usize),
        Answer::Refused { cause, reason } => {
            return Err(TakeoverError::Refused { cause, reason });
        }
        _ => return Err(exchange.misled("neither yes nor no").into()),
    };
    let Some(socket) = exchange.descriptor() else {
        return Err(exchange.misled("yes, without its takeover socket").into());
    };
    if count > MAX_LISTENERS {
        return Err(exchange.misled("that it has too many listeners").into());
    }
    let mut listeners = Vec::new();
    let mut held = Vec::new();
    while listeners.len() < count {
        let Answer::Listeners { entries } = exchange.answer(Some(ANSWER_WITHIN))? else {
            return Err(exchange.misled("something else than its listeners").into());
        };
        if entries.is_empty() || listeners.len() + entries.len() > count {
            return Err(exchange.misled("another number of listeners").into());
        }
        for passed in entries {
            let listener = adopt(&mut exchange, &passed)?;
            if passed.held {
                held.push(listener.name.clone());
            }
            listeners.push(listener);
        }
    }
    if exchange.has_strays() {
        return Err(exchange.misled("more than it announced").into());
    }
    Ok(Taken {
        listeners,
        held,
        channel: exchange.into_stream().map_err(TakeoverError::Resources)?,
        instance,
        generation,
        socket: socket.into(),
    })
}

/// Holds what came against what was announced (I8): whatever does not fit is closed.
pub(crate) fn adopt(exchange: &mut Exchange, passed: &Passed) -> Result<Inherited, TakeoverError> {
    let name = passed.listener.name.clone();
    let Some(fd) = exchange.descriptor() else {
        let what = format!("that listener {name:?} comes, and it did not");
        return Err(exchange.misled(&what).into());
    };
    let mut facts = match socket::describe(&fd) {
        Ok(facts) => facts,
        Err(error) => {
            let what = format!("that listener {name:?} comes, and {error}");
            return Err(exchange.misled(&what).into());
        }
    };
    if check_name(&name).is_err() || kind_of(&facts) != Some(passed.listener.kind) {
        let what = format!("that {name:?} is {}, and it is not", passed.listener.kind);
        return Err(exchange.misled(&what).into());
    }
    if facts.family == Family::Unix {
        // The kernel remembers where it was bound, not where it was moved to.
        facts.local = Some(passed.listener.address.clone());
    }
    Ok(Inherited { name, fd, facts })
}

/// What kind of listener a socket is, if it is one that can be announced.
pub(super) fn kind_of(facts: &SocketFacts) -> Option<ListenerKind> {
    let inet = matches!(facts.family, Family::Inet4 | Family::Inet6);
    match facts.kind {
        Kind::Stream if facts.listening && inet => Some(ListenerKind::Tcp),
        Kind::Stream if facts.listening && facts.family == Family::Unix => Some(ListenerKind::Unix),
        Kind::Datagram if inet => Some(ListenerKind::Udp),
        Kind::Stream | Kind::Datagram | Kind::SeqPacket | Kind::Other => None,
    }
}
