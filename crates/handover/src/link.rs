//! The native channel to the coordinator: frames out, frames in, and knocking again after it
//! broke.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use handover_proto::frame::{Decoded, MAX_FRAME, Reader, VERSION_OLDEST, encode_from};
use handover_proto::identity::HandoverId;
use handover_proto::message::{FromInstance, ToInstance};
use handover_sys::passing::{self, PassError};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep_until, timeout};

/// First pause between two tries to find a new coordinator: it binds its socket within
/// milliseconds of its start.
pub(crate) const SEEK_FIRST: Duration = Duration::from_millis(20);

/// Longest pause: an instance that serves alone for days still finds a coordinator within a
/// second, at the cost of one failing system call.
pub(crate) const SEEK_MOST: Duration = Duration::from_secs(1);

/// A coordinator that does not accept within this time is stuck; try again.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

/// Bytes kept for a coordinator that does not read. Beyond it, words for people are dropped;
/// frames of the protocol are few and always kept.
pub(crate) const MAX_OUTBOX: usize = 2 * MAX_FRAME;

/// Bytes read at once: control frames are tens of bytes long.
pub(crate) const READ_AT_ONCE: usize = 4096;

/// Descriptors that may wait for their frames: each introduction brings one, and a coordinator has
/// one attempt at a time. More is nonsense, and is not hoarded.
pub(crate) const MAX_DESCRIPTORS: usize = 4;

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
    outbox: Vec<u8>,
    reader: Reader,
    /// Descriptors whose frames have not been read yet.
    descriptors: VecDeque<OwnedFd>,
    version: u16,
}

impl Link {
    pub(crate) const fn absent() -> Self {
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

    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Begins to look for a new coordinator, if we know where it will be.
    pub(crate) fn seek(&mut self) {
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

    /// Sends a frame: at once as far as the socket takes it, the rest when [`Link::event`] is
    /// polled. Does nothing without an open channel.
    pub(crate) fn send(&mut self, message: &FromInstance) {
        let for_people = matches!(
            message,
            FromInstance::Status { .. } | FromInstance::Connections { .. }
        );
        if !self.is_open() || (for_people && self.outbox.len() > MAX_OUTBOX) {
            return;
        }
        self.outbox.extend(encode_from(message, self.version));
        self.flush();
    }

    /// Not through the reactor: it learns only after a turn that a new socket is writable, and a
    /// process that is ready or retired should say so now.
    fn flush(&mut self) {
        let State::Open(stream) = &self.state else {
            return;
        };
        while !self.outbox.is_empty() {
            match passing::send(stream.as_fd(), &self.outbox, &[]) {
                Ok(sent) => drop(self.outbox.drain(..sent.min(self.outbox.len()))),
                // Full: `event` waits for room. Broken: `event` finds that too.
                Err(_) => return,
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
        match self.reader.next_to() {
            Ok(Some(Decoded::Message(message))) => {
                if let ToInstance::Welcome { version, .. } = message {
                    self.version = version;
                }
                return Some(self.said(message));
            }
            Ok(Some(Decoded::Unknown { kind })) => {
                tracing::debug!(kind, "skipped a frame of a newer coordinator");
                return None;
            }
            Ok(None) => self.drop_strays(),
            Err(error) => {
                tracing::warn!(%error, "the coordinator broke the protocol; closing its channel");
                return Some(self.close());
            }
        }
        let State::Open(stream) = &self.state else {
            return None;
        };
        let interest = if self.outbox.is_empty() {
            Interest::READABLE
        } else {
            Interest::READABLE | Interest::WRITABLE
        };
        let Ok(ready) = stream.ready(interest).await else {
            return Some(self.close());
        };
        if ready.is_writable() && !self.outbox.is_empty() {
            // Through the reactor here, so that it forgets a readiness that is not there.
            let sent = stream.try_io(Interest::WRITABLE, || {
                passing::send(stream.as_fd(), &self.outbox, &[]).map_err(into_io)
            });
            match sent {
                Ok(sent) => drop(self.outbox.drain(..sent.min(self.outbox.len()))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // What the coordinator said before it left is still to be read.
                Err(_) => self.outbox.clear(),
            }
        }
        if ready.is_readable() || ready.is_read_closed() {
            return self.read();
        }
        None
    }

    fn said(&mut self, message: ToInstance) -> LinkEvent {
        match message {
            ToInstance::Introduce { id } => LinkEvent::Introduced(id, self.descriptors.pop_front()),
            other => LinkEvent::Said(other),
        }
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
            Ok(received) => {
                self.descriptors.extend(received.descriptors);
                let bytes = buffer.get(..received.bytes).unwrap_or_default();
                // All frames were read before, so there is room.
                let pushed = self.reader.push(bytes);
                if pushed.is_err() || self.descriptors.len() > MAX_DESCRIPTORS {
                    return Some(self.close());
                }
                None
            }
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

/// A coordinator can make us retire: it must be of our own user, or root.
pub(crate) fn is_trusted(stream: impl AsFd) -> bool {
    let own = rustix::process::geteuid().as_raw();
    handover_sys::peer::credentials(stream).is_ok_and(|peer| peer.uid == own || peer.uid == 0)
}

pub(crate) fn into_io(error: PassError) -> io::Error {
    match error {
        PassError::Io(error) => error,
        other => io::Error::other(other),
    }
}
