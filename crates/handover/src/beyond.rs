//! The conversation with a supervisor of beyond-handoff (0.1.4): as its successor on the socket
//! the process was started with, then as its incumbent on a control socket of our own.
//!
//! Their supervisor is there only while it hands over. So the incumbent listens, takes one session
//! at a time, and lets the next wait, as theirs does.
//!
//! What is said is the same for both drivers; how they wait for it is in `reactor.rs` and
//! `polled.rs`.

mod polled;
mod reactor;

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use handover_proto::beyond::{
    AsIncumbent, AsSuccessor, Effect, Input, MAX_FRAME, Message, Reader, encode,
};
use handover_proto::instance::RECLAIM_WITHIN;
use handover_proto::message::{FromInstance, ToInstance};
use handover_proto::moment::{Machine, Moment};
use handover_proto::settings::Ladder;
use handover_sys::control::file_at;
use handover_sys::passing;

use crate::link::{LinkEvent, is_trusted};

pub(crate) use polled::Polled;
pub(crate) use reactor::Reactor;

/// Bytes kept for a supervisor that does not read: far more than all frames of a handover.
const MAX_OUTBOX: usize = MAX_FRAME;

/// After a failure to accept: most likely descriptors are short, and the session waits in the queue.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the greeting names this build by.
const BUILD: &str = concat!("handover ", env!("CARGO_PKG_VERSION"));

/// How an instance takes part in handovers of theirs.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    /// The channel of a successor, if it was started as one.
    pub(crate) successor: Option<UnixStream>,
    /// Where to listen as incumbent.
    pub(crate) control: Option<PathBuf>,
    /// How to retire after a commit.
    pub(crate) ladder: Ladder,
}

/// Sockets as a driver waits for them. They do not block.
pub(crate) trait Sockets {
    type Stream: AsFd + Debug;
    type Listener: Debug;

    fn stream(stream: UnixStream) -> io::Result<Self::Stream>;
    fn listener(listener: UnixListener) -> io::Result<Self::Listener>;
}

#[derive(Debug)]
enum Side {
    Successor(AsSuccessor),
    Incumbent(AsIncumbent),
}

#[derive(Debug)]
struct Session<S> {
    side: Side,
    stream: S,
    reader: Reader,
    outbox: Vec<u8>,
}

#[derive(Debug)]
enum State<S> {
    Absent,
    Open(Box<Session<S>>),
    /// Waits for the next session.
    Listening,
}

/// The conversation.
#[derive(Debug)]
pub(crate) struct Link<N: Sockets> {
    state: State<N::Stream>,
    control: Option<PathBuf>,
    listener: Option<N::Listener>,
    /// Accepting failed; not before then again.
    pause: Option<Instant>,
    ladder: Ladder,
    origin: Instant,
    events: VecDeque<LinkEvent>,
    /// The file behind the path when we bound it.
    place: Option<(u64, u64)>,
    /// Sealed and left alone: whoever has the lease then serves in our place.
    patience: Option<Instant>,
    /// A successor serves in our place: nobody is waited for any more.
    over: bool,
}

impl<N: Sockets> Link<N> {
    /// # Errors
    /// The channel is not a usable socket.
    pub(crate) fn new(terms: Terms) -> io::Result<Self> {
        let mut link = Self {
            state: State::Absent,
            control: terms.control,
            listener: None,
            pause: None,
            ladder: terms.ladder,
            origin: Instant::now(),
            events: VecDeque::new(),
            place: None,
            patience: None,
            over: false,
        };
        if let Some(stream) = terms.successor {
            stream.set_nonblocking(true)?;
            let stream = N::stream(stream)?;
            let machine = AsSuccessor::new(Moment::ZERO, std::process::id(), BUILD.into());
            link.begin(Side::Successor(machine), stream);
        }
        Ok(link)
    }

    fn begin(&mut self, side: Side, stream: N::Stream) {
        self.state = State::Open(Box::new(Session {
            side,
            stream,
            reader: Reader::new(),
            outbox: Vec::new(),
        }));
    }

    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Waits for the next supervisor, on the control socket. Whoever served there before is
    /// displaced: we own the data.
    pub(crate) fn seek(&mut self) {
        if self.is_open() || self.over {
            return;
        }
        let Some(path) = &self.control else {
            tracing::warn!(
                "no path for a control socket was given (Builder::handoff_socket); \
                 beyond-handoff cannot hand this instance over"
            );
            return;
        };
        self.patience = None;
        // A successor may have taken the path, and died.
        if self.listener.is_none() || self.place != file_at(path) {
            match listen(path).and_then(N::listener) {
                Ok(listener) => {
                    self.place = file_at(path);
                    self.listener = Some(listener);
                }
                Err(error) => {
                    tracing::error!(path = %path.display(), %error, "no control socket");
                    return;
                }
            }
        }
        self.state = State::Listening;
    }

    /// Says something, as far as their protocol has words for it.
    pub(crate) fn send(&mut self, message: &FromInstance) {
        self.put(Input::Say(message.clone()));
    }

    fn now(&self) -> Moment {
        Moment::ZERO + self.origin.elapsed()
    }

    fn put(&mut self, input: Input) {
        let now = self.now();
        let State::Open(session) = &mut self.state else {
            return;
        };
        session.handle(now, input);
        while let State::Open(session) = &mut self.state {
            let Some(effect) = session.poll_effect() else {
                return;
            };
            self.execute(effect);
        }
    }

    fn execute(&mut self, effect: Effect) {
        match effect {
            Effect::Send(message) => {
                if let State::Open(session) = &mut self.state {
                    session.send(&message);
                }
            }
            Effect::Tell(message) => {
                if matches!(message, ToInstance::Commit { .. }) && self.listener.is_some() {
                    // The path is the successor's by now.
                    (self.over, self.listener) = (true, None);
                }
                self.events.push_back(LinkEvent::Said(message));
            }
            Effect::Close => self.close(),
            // The next word comes over the control socket.
            Effect::Serve => {
                self.close();
                self.seek();
            }
        }
    }

    fn close(&mut self) {
        let sealed = match &self.state {
            State::Open(session) => session.is_sealed() && !self.over,
            State::Absent | State::Listening => false,
        };
        // No supervisor of theirs looks for a parked instance, so it does not stand by for longer
        // than theirs does: it would take the lease at the next handover.
        self.patience = sealed.then(|| Instant::now() + RECLAIM_WITHIN);
        self.state = State::Absent;
        self.events.push_back(LinkEvent::Closed);
    }

    /// It has not got its lease back.
    fn give_way(&mut self) {
        (self.patience, self.over, self.listener) = (None, true, None);
        let ladder = self.ladder;
        let retire = ToInstance::Retire { ladder };
        self.events.push_back(LinkEvent::Said(retire));
    }

    fn cannot_accept(&mut self, error: &io::Error) {
        tracing::warn!(%error, "the control socket cannot accept for now");
        self.pause = Some(Instant::now() + ACCEPT_PAUSE);
    }

    /// The other side has closed.
    fn ended(&mut self) {
        self.put(Input::Closed);
        self.close();
    }

    /// Anybody who can drain and seal us must be of our own user, or root.
    fn accepted(&mut self, stream: N::Stream) {
        if !is_trusted(&stream) {
            tracing::warn!("another user connected to the control socket; not talking to it");
            return;
        }
        let machine = AsIncumbent::new(self.now(), std::process::id(), BUILD.into(), self.ladder);
        self.begin(Side::Incumbent(machine), stream);
        self.events.push_back(LinkEvent::Connected);
    }

    fn take(&mut self, bytes: &[u8]) {
        let State::Open(session) = &mut self.state else {
            return;
        };
        let mut result = session.reader.push(bytes);
        while let State::Open(session) = &mut self.state
            && result.is_ok()
        {
            match session.reader.next_message() {
                Ok(Some(message)) => self.put(Input::Heard(message)),
                Ok(None) => return,
                Err(error) => result = Err(error),
            }
        }
        if let Err(error) = result {
            tracing::warn!(%error, "the supervisor broke the protocol; its session is closed");
            self.close();
        }
    }
}

impl<S: AsFd> Session<S> {
    fn handle(&mut self, now: Moment, input: Input) {
        match &mut self.side {
            Side::Successor(machine) => machine.handle(now, input),
            Side::Incumbent(machine) => machine.handle(now, input),
        }
    }

    fn is_sealed(&self) -> bool {
        match &self.side {
            Side::Successor(_) => false,
            Side::Incumbent(machine) => machine.is_sealed(),
        }
    }

    fn poll_effect(&mut self) -> Option<Effect> {
        match &mut self.side {
            Side::Successor(machine) => machine.poll_effect(),
            Side::Incumbent(machine) => machine.poll_effect(),
        }
    }

    fn next_deadline(&self) -> Option<Moment> {
        match &self.side {
            Side::Successor(machine) => machine.next_deadline(),
            Side::Incumbent(machine) => machine.next_deadline(),
        }
    }

    /// At once as far as the socket takes it: whoever is ready should be heard now.
    fn send(&mut self, message: &Message) {
        let bytes = encode(message);
        if self.outbox.len() + bytes.len() <= MAX_OUTBOX {
            self.outbox.extend(bytes);
        }
        self.flush();
    }

    fn flush(&mut self) {
        while !self.outbox.is_empty() {
            match passing::send(self.stream.as_fd(), &self.outbox, &[]) {
                Ok(sent) => drop(self.outbox.drain(..sent.min(self.outbox.len()))),
                Err(passing::PassError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return;
                }
                // What they said before they left is still to be read.
                Err(_) => return self.outbox.clear(),
            }
        }
    }
}

/// A control socket of mode 0600 at `path`, in place of whatever is there: bound beside it and
/// renamed, so that at no moment nobody or everybody can connect.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let name = format!(".handoff-{}.tmp", std::process::id());
    let beside = path.with_file_name(name);
    let listener = handover_sys::control::bind_private(&beside).map_err(io::Error::other)?;
    if let Err(error) = std::fs::rename(&beside, path) {
        let _ = std::fs::remove_file(&beside);
        return Err(error);
    }
    listener.set_nonblocking(true)?;
    Ok(listener)
}
