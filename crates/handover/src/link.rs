//! The native channel to the coordinator: frames out, frames in, and knocking again after it
//! broke.

pub(crate) mod frames;

use std::future::pending;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use handover_proto::identity::HandoverId;
use handover_proto::message::{FromInstance, ToInstance};
use handover_sys::passing::{self, PassError};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep_until, timeout};

use frames::{Frames, SEEK_FIRST, longer, may_seek, warn_of_stranger};

/// A coordinator that does not accept within this time is stuck; try again.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

/// Bytes read at once: control frames are tens of bytes long.
pub(crate) const READ_AT_ONCE: usize = 4096;

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

/// What comes over the channel, or becomes of it.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    Said(ToInstance),
    /// An `Introduce` and the channel that came with it, if one did.
    Introduced(HandoverId, Option<OwnedFd>),
    Closed,
    Connected,
}

/// The channel.
#[derive(Debug)]
pub(crate) struct Link {
    state: State,
    address: Option<PathBuf>,
    frames: Frames,
}

impl Link {
    pub(crate) const fn absent() -> Self {
        Self {
            state: State::Absent,
            address: None,
            frames: Frames::new(),
        }
    }

    /// A channel over an open socket; `address` is where to knock when it breaks.
    pub(crate) fn open(
        stream: std::os::unix::net::UnixStream,
        address: Option<PathBuf>,
    ) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            state: State::Open(UnixStream::from_std(stream)?),
            address,
            ..Self::absent()
        })
    }

    /// Talks over this socket from here on.
    pub(crate) fn attach(&mut self, stream: std::os::unix::net::UnixStream) -> io::Result<()> {
        *self = Self::open(stream, None)?;
        Ok(())
    }

    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Begins to look for a new coordinator, if we know where it will be.
    pub(crate) fn seek(&mut self) {
        if self.is_open() || !may_seek(self.address.as_deref()) {
            return;
        }
        self.state = State::Seeking {
            at: Instant::now(),
            pause: SEEK_FIRST,
        };
    }

    /// Sends a frame: at once as far as the socket takes it, the rest when [`Link::event`] is
    /// polled. Does nothing without an open channel.
    pub(crate) fn send(&mut self, message: &FromInstance) {
        if !self.is_open() || !self.frames.queue(message) {
            return;
        }
        self.flush();
    }

    /// Not through the reactor: it learns only after a turn that a new socket is writable, and a
    /// process that is ready or retired should say so now.
    fn flush(&mut self) {
        let State::Open(stream) = &self.state else {
            return;
        };
        while !self.frames.to_send().is_empty() {
            match passing::send(stream.as_fd(), self.frames.to_send(), &[]) {
                Ok(sent) => self.frames.sent(sent),
                // Full: `event` waits for room. Broken: `event` finds that too.
                Err(_) => return,
            }
        }
    }

    fn close(&mut self) -> LinkEvent {
        self.state = State::Absent;
        self.frames = Frames::new();
        LinkEvent::Closed
    }

    /// The next thing that happens; never resolves while there is no channel and none is sought.
    ///
    /// # Cancel safety
    /// Cancelling loses nothing; a try to connect begins anew.
    pub(crate) async fn event(&mut self) -> LinkEvent {
        loop {
            let step = match &self.state {
                State::Absent => pending().await,
                State::Open(_) => self.exchange().await,
                State::Seeking { .. } => self.knock().await,
            };
            if let Some(event) = step {
                return event;
            }
        }
    }

    async fn exchange(&mut self) -> Option<LinkEvent> {
        match self.frames.next() {
            Ok(Some(event)) => return Some(event),
            Ok(None) => {}
            Err(_) => return Some(self.close()),
        }
        let State::Open(stream) = &self.state else {
            return None;
        };
        let interest = if self.frames.to_send().is_empty() {
            Interest::READABLE
        } else {
            Interest::READABLE | Interest::WRITABLE
        };
        let Ok(ready) = stream.ready(interest).await else {
            return Some(self.close());
        };
        if ready.is_writable() && !self.frames.to_send().is_empty() {
            // Through the reactor here, so that it forgets a readiness that is not there.
            let sent = stream.try_io(Interest::WRITABLE, || {
                passing::send(stream.as_fd(), self.frames.to_send(), &[]).map_err(into_io)
            });
            match sent {
                Ok(sent) => self.frames.sent(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => self.frames.give_up_sending(),
            }
        }
        if ready.is_readable() || ready.is_read_closed() {
            return self.read();
        }
        None
    }

    fn read(&mut self) -> Option<LinkEvent> {
        let State::Open(stream) = &self.state else {
            return None;
        };
        let mut buffer = [0; READ_AT_ONCE];
        let received = stream.try_io(Interest::READABLE, || {
            passing::receive(stream.as_fd(), &mut buffer, 1).map_err(into_io)
        });
        match received {
            Ok(received) if received.bytes == 0 => Some(self.close()),
            Ok(received) => match self.frames.arrived(received, &buffer) {
                Ok(()) => None,
                Err(_) => Some(self.close()),
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(_) => Some(self.close()),
        }
    }

    async fn knock(&mut self) -> Option<LinkEvent> {
        let State::Seeking { at, pause } = &self.state else {
            return None;
        };
        let (at, pause) = (*at, *pause);
        sleep_until(at).await;
        let address = self.address.clone().unwrap_or_default();
        if let Ok(Ok(stream)) = timeout(CONNECT_WITHIN, UnixStream::connect(&address)).await {
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

/// A coordinator can make us retire: it must be of our own user, or root.
pub(crate) fn is_trusted(stream: impl AsFd) -> bool {
    handover_sys::peer::credentials(stream).is_ok_and(|peer| peer.is_trusted())
}

pub(crate) fn into_io(error: PassError) -> io::Error {
    match error {
        PassError::Io(error) => error,
        other => io::Error::other(other),
    }
}
