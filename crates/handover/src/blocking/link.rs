//! The native channel to the coordinator for a thread that polls: frames out, frames in, and
//! knocking again after it broke.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use handover_proto::frame::{Decoded, Reader, VERSION_OLDEST, encode_from};
use handover_proto::message::{FromInstance, ToInstance};
use handover_sys::passing;
use rustix::event::{PollFd, PollFlags};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::link::{
    LinkEvent, MAX_DESCRIPTORS, MAX_OUTBOX, READ_AT_ONCE, SEEK_FIRST, SEEK_MOST, is_trusted,
};

#[derive(Debug)]
enum State {
    /// There is none, or nowhere to knock.
    Absent,
    Open(UnixStream),
    Seeking {
        at: Instant,
        pause: Duration,
    },
}

/// What came of reading once.
enum Read {
    Something,
    Nothing,
    /// The other end is closed, or cannot be understood any more.
    End,
}

/// The channel.
#[derive(Debug)]
pub(super) struct Link {
    state: State,
    address: Option<PathBuf>,
    outbox: Vec<u8>,
    reader: Reader,
    /// Descriptors whose frames have not been read yet.
    descriptors: VecDeque<OwnedFd>,
    version: u16,
}

impl Link {
    pub(super) const fn absent() -> Self {
        Self {
            state: State::Absent,
            address: None,
            outbox: Vec::new(),
            reader: Reader::new(),
            descriptors: VecDeque::new(),
            version: VERSION_OLDEST,
        }
    }

    /// A channel over an open socket; `address` is where to knock when it breaks.
    pub(super) fn open(stream: UnixStream, address: Option<PathBuf>) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            state: State::Open(stream),
            address,
            ..Self::absent()
        })
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Begins to look for a new coordinator, if we know where it will be.
    pub(super) fn seek(&mut self) {
        if self.is_open() {
            return;
        }
        if self.address.is_none() {
            tracing::warn!(
                "the coordinator is gone and HANDOVER_NATIVE_SOCKET does not say where its \
                 successor will be; this instance serves on alone"
            );
            return;
        }
        tracing::info!("the coordinator is gone; serving on, and looking for its successor");
        self.state = State::Seeking {
            at: Instant::now(),
            pause: SEEK_FIRST,
        };
    }

    /// Sends a frame: as much as the socket takes now, the rest when [`Link::write`] is called.
    /// Does nothing without an open channel.
    pub(super) fn send(&mut self, message: &FromInstance) {
        let for_people = matches!(
            message,
            FromInstance::Status { .. } | FromInstance::Connections { .. }
        );
        if !self.is_open() || (for_people && self.outbox.len() > MAX_OUTBOX) {
            return;
        }
        self.outbox.extend(encode_from(message, self.version));
        self.write();
    }

    /// What to poll for; nothing without an open channel.
    pub(super) fn interest(&self) -> Option<PollFd<'_>> {
        let State::Open(stream) = &self.state else {
            return None;
        };
        let flags = if self.outbox.is_empty() {
            PollFlags::IN
        } else {
            PollFlags::IN | PollFlags::OUT
        };
        Some(PollFd::new(stream, flags))
    }

    /// When to knock next.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Seeking { at, .. } => Some(at),
            State::Absent | State::Open(_) => None,
        }
    }

    /// Sends what waits, as far as the socket takes it.
    pub(super) fn write(&mut self) {
        let State::Open(stream) = &self.state else {
            return;
        };
        while !self.outbox.is_empty() {
            match passing::send(stream.as_fd(), &self.outbox, &[]) {
                Ok(sent) => drop(self.outbox.drain(..sent.min(self.outbox.len()))),
                Err(error) if error.is_would_block() => return,
                // What the coordinator said before it left is still to be read.
                Err(_) => self.outbox.clear(),
            }
        }
    }

    fn close(&mut self) -> LinkEvent {
        self.state = State::Absent;
        self.outbox.clear();
        self.reader = Reader::new();
        self.descriptors.clear();
        self.version = VERSION_OLDEST;
        LinkEvent::Closed
    }

    /// The next thing that has happened, if any. Never waits.
    pub(super) fn event(&mut self) -> Option<LinkEvent> {
        match &self.state {
            State::Absent => None,
            State::Open(_) => self.next_frame(),
            State::Seeking { at, .. } if *at > Instant::now() => None,
            State::Seeking { .. } => self.knock(),
        }
    }

    fn next_frame(&mut self) -> Option<LinkEvent> {
        loop {
            match self.reader.next_to() {
                Ok(Some(Decoded::Message(message))) => return Some(self.said(message)),
                Ok(Some(Decoded::Unknown { kind })) => {
                    tracing::debug!(kind, "skipped a frame of a newer coordinator");
                }
                Ok(None) => {
                    self.drop_strays();
                    match self.read() {
                        Read::Something => {}
                        Read::Nothing => return None,
                        Read::End => return Some(self.close()),
                    }
                }
                Err(error) => {
                    tracing::warn!(
                        %error,
                        "the coordinator broke the protocol; closing its channel"
                    );
                    return Some(self.close());
                }
            }
        }
    }

    fn said(&mut self, message: ToInstance) -> LinkEvent {
        match message {
            ToInstance::Introduce { id } => {
                return LinkEvent::Introduced(id, self.descriptors.pop_front());
            }
            ToInstance::Welcome { version, .. } => self.version = version,
            _ => {}
        }
        LinkEvent::Said(message)
    }

    /// Closes what came with frames that bring no descriptor (I8).
    fn drop_strays(&mut self) {
        if self.reader.buffered() == 0 && !self.descriptors.is_empty() {
            let found = self.descriptors.len();
            tracing::warn!(
                found,
                "the coordinator sent descriptors nobody expects; closed"
            );
            self.descriptors.clear();
        }
    }

    fn read(&mut self) -> Read {
        let State::Open(stream) = &self.state else {
            return Read::Nothing;
        };
        let mut buffer = [0; READ_AT_ONCE];
        match passing::receive(stream.as_fd(), &mut buffer, 1) {
            Ok(received) if received.bytes > 0 => {
                self.descriptors.extend(received.descriptors);
                let bytes = buffer.get(..received.bytes).unwrap_or_default();
                // All frames were read before, so there is room.
                let pushed = self.reader.push(bytes);
                if pushed.is_err() || self.descriptors.len() > MAX_DESCRIPTORS {
                    return Read::End;
                }
                Read::Something
            }
            Err(error) if error.is_would_block() => Read::Nothing,
            Ok(_) | Err(_) => Read::End,
        }
    }

    fn knock(&mut self) -> Option<LinkEvent> {
        let State::Seeking { pause, .. } = self.state else {
            return None;
        };
        let address = self.address.clone().unwrap_or_default();
        if let Ok(stream) = connect(&address) {
            if is_trusted(&stream) {
                self.state = State::Open(stream);
                return Some(LinkEvent::Connected);
            }
            tracing::warn!(
                path = %address.display(),
                "whoever listens for us is another user; not talking to it"
            );
        }
        self.state = State::Seeking {
            at: Instant::now() + pause,
            pause: (pause * 2).min(SEEK_MOST),
        };
        None
    }
}

/// Connects without waiting: a coordinator whose queue is full is asked again later.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(UnixStream::from(OwnedFd::from(socket)))
}
