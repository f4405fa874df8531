//! Waiting for a supervisor in a thread that polls.

use std::io::{self, ErrorKind, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Instant;

use handover_proto::beyond::Input;
use handover_proto::moment::Moment;
use rustix::event::{PollFd, PollFlags};

use super::{Link, Sockets, State};
use crate::link::{LinkEvent, READ_AT_ONCE};

/// Plain sockets.
#[derive(Debug)]
pub(crate) struct Polled;

impl Sockets for Polled {
    type Stream = UnixStream;
    type Listener = UnixListener;

    fn stream(stream: UnixStream) -> io::Result<UnixStream> {
        Ok(stream)
    }

    fn listener(listener: UnixListener) -> io::Result<UnixListener> {
        Ok(listener)
    }
}

impl Link<Polled> {
    /// What to poll for, if anybody is there or can come.
    pub(crate) fn interest(&self) -> Option<PollFd<'_>> {
        match (&self.state, &self.listener) {
            (State::Open(session), _) if session.outbox.is_empty() => {
                Some(PollFd::new(&session.stream, PollFlags::IN))
            }
            (State::Open(session), _) => {
                let flags = PollFlags::IN | PollFlags::OUT;
                Some(PollFd::new(&session.stream, flags))
            }
            (State::Listening, Some(listener)) if self.pause.is_none() => {
                Some(PollFd::new(listener, PollFlags::IN))
            }
            (State::Listening | State::Absent, _) => None,
        }
    }

    /// When to ask for events although there is nothing to read.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Open(session) => {
                let deadline = session.next_deadline()?;
                self.origin.checked_add(deadline.since(Moment::ZERO))
            }
            State::Listening => self.pause,
            State::Absent => self.patience,
        }
    }

    /// Sends what waits, as far as the socket takes it.
    pub(crate) fn write(&mut self) {
        if let State::Open(session) = &mut self.state {
            session.flush();
        }
    }

    /// The next thing that has happened, if any. Never waits.
    pub(crate) fn event(&mut self) -> Option<LinkEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if !self.step() {
                return None;
            }
        }
    }

    /// Takes one step; whether there was one to take.
    fn step(&mut self) -> bool {
        let now = self.now();
        let mut buffer = [0; READ_AT_ONCE];
        match (&mut self.state, &self.listener) {
            (State::Open(session), _) if session.next_deadline().is_some_and(|at| at <= now) => {
                self.put(Input::Tick);
            }
            (State::Open(session), _) => match session.stream.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => self.ended(),
                Ok(read) => self.take(buffer.get(..read).unwrap_or_default()),
            },
            (State::Listening, Some(listener)) => {
                if self.pause.is_some_and(|until| until > Instant::now()) {
                    return false;
                }
                self.pause = None;
                match listener.accept().and_then(|(stream, _)| {
                    stream.set_nonblocking(true)?;
                    Ok(stream)
                }) {
                    Ok(stream) => self.accepted(stream),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => self.cannot_accept(&error),
                }
            }
            (State::Absent, _) if self.patience.is_some_and(|until| until <= Instant::now()) => {
                self.give_way();
            }
            (State::Listening | State::Absent, _) => return false,
        }
        true
    }
}
