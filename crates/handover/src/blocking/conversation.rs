//! With whom an instance talks about handovers, for a thread that polls.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use handover_proto::message::FromInstance;
use rustix::event::PollFd;

use super::link::Link;
use crate::beyond::{self, Polled};
use crate::conversation::Counterpart;
use crate::link::LinkEvent;

/// Either channel; the driver does not care which.
#[derive(Debug)]
pub(super) enum Conversation {
    Native(Link),
    Beyond(beyond::Link<Polled>),
}

impl Conversation {
    /// # Errors
    /// The channel is not a usable socket.
    pub(super) fn with(counterpart: Counterpart) -> io::Result<Self> {
        Ok(match counterpart {
            Counterpart::Native(native) => {
                Self::Native(Link::open(native.stream, native.reconnect)?)
            }
            Counterpart::Beyond(terms) => Self::Beyond(beyond::Link::new(terms)?),
            Counterpart::Nobody => Self::Native(Link::absent()),
        })
    }

    pub(super) const fn is_open(&self) -> bool {
        match self {
            Self::Native(link) => link.is_open(),
            Self::Beyond(link) => link.is_open(),
        }
    }

    /// Whether somebody can come although nobody was there at the start.
    pub(super) const fn is_beyond(&self) -> bool {
        matches!(self, Self::Beyond(_))
    }

    /// See [`Link::seek`], [`beyond::Link::seek`].
    pub(super) fn seek(&mut self) {
        match self {
            Self::Native(link) => link.seek(),
            Self::Beyond(link) => link.seek(),
        }
    }

    /// See [`Link::attach`].
    pub(super) fn attach(&mut self, channel: UnixStream) -> io::Result<()> {
        match self {
            Self::Native(link) => link.attach(channel),
            // Nobody takes over by the takeover socket beside it.
            Self::Beyond(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// See [`Link::send`], [`beyond::Link::send`].
    pub(super) fn send(&mut self, message: &FromInstance) {
        match self {
            Self::Native(link) => link.send(message),
            Self::Beyond(link) => link.send(message),
        }
    }

    /// What to poll for, if anything.
    pub(super) fn interest(&self) -> Option<PollFd<'_>> {
        match self {
            Self::Native(link) => link.interest(),
            Self::Beyond(link) => link.interest(),
        }
    }

    /// When to ask for events although there is nothing to read.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Native(link) => link.deadline(),
            Self::Beyond(link) => link.deadline(),
        }
    }

    /// Sends what waits, as far as the socket takes it.
    pub(super) fn write(&mut self) {
        match self {
            Self::Native(link) => link.write(),
            Self::Beyond(link) => link.write(),
        }
    }

    /// The next thing that has happened, if any. Never waits.
    pub(super) fn event(&mut self) -> Option<LinkEvent> {
        match self {
            Self::Native(link) => link.event(),
            Self::Beyond(link) => link.event(),
        }
    }
}
