//! The native channel to the coordinator for a thread that polls: frames out, frames in, and
//! knocking again after it broke.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use handover_proto::message::FromInstance;
use handover_sys::passing;
use rustix::event::{PollFd, PollFlags};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::link::frames::{Frames, SEEK_FIRST, longer, may_seek, warn_of_stranger};
use crate::link::{LinkEvent, READ_AT_ONCE, is_trusted};

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
    frames: Frames,
}

impl Link {
    pub(super) const fn absent() -> Self {
        Self {
            state: State::Absent,
            address: None,
            frames: Frames::new(),
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

    /// Talks over this socket from here on.
    pub(super) fn attach(&mut self, stream: UnixStream) -> io::Result<()> {
        *self = Self::open(stream, None)?;
        Ok(())
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Begins to look for a new coordinator, if we know where it will be.
    pub(super) fn seek(&mut self) {
        if self.is_open() || !may_seek(self.address.as_deref()) {
            return;
        }
        self.state = State::Seeking {
            at: Instant::now(),
            pause: SEEK_FIRST,
        };
    }

    /// Sends a frame: as much as the socket takes now, the rest when [`Link::write`] is called.
    /// Does nothing without an open channel.
    pub(super) fn send(&mut self, message: &FromInstance) {
        if !self.is_open() || !self.frames.queue(message) {
            return;
        }
        self.write();
    }

    /// What to poll for; nothing without an open channel.
    pub(super) fn interest(&self) -> Option<PollFd<'_>> {
        let State::Open(stream) = &self.state else {
            return None;
        };
        let flags = if self.frames.to_send().is_empty() {
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
        while !self.frames.to_send().is_empty() {
            match passing::send(stream.as_fd(), self.frames.to_send(), &[]) {
                Ok(sent) => self.frames.sent(sent),
                Err(error) if error.is_would_block() => return,
                Err(_) => self.frames.give_up_sending(),
            }
        }
    }

    fn close(&mut self) -> LinkEvent {
        self.state = State::Absent;
        self.frames = Frames::new();
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
            match self.frames.next() {
                Ok(Some(event)) => return Some(event),
                Ok(None) => match self.read() {
                    Read::Something => {}
                    Read::Nothing => return None,
                    Read::End => return Some(self.close()),
                },
                Err(_) => return Some(self.close()),
            }
        }
    }

    fn read(&mut self) -> Read {
        let State::Open(stream) = &self.state else {
            return Read::Nothing;
        };
        let mut buffer = [0; READ_AT_ONCE];
        match passing::receive(stream.as_fd(), &mut buffer, 1) {
            Ok(received) if received.bytes > 0 => match self.frames.arrived(received, &buffer) {
                Ok(()) => Read::Something,
                Err(_) => Read::End,
            },
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
            warn_of_stranger(&address);
        }
        self.state = State::Seeking {
            at: Instant::now() + pause,
            pause: longer(pause),
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
