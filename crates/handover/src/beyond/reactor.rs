//! Waiting for a supervisor in a task.

use std::future::pending;
use std::io;
use std::os::fd::AsFd;

use handover_proto::beyond::Input;
use handover_proto::moment::Moment;
use handover_sys::passing;
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::sleep_until;

use super::{Link, Session, Sockets, State};
use crate::link::{LinkEvent, READ_AT_ONCE, into_io};

/// Sockets in the reactor of the runtime.
#[derive(Debug)]
pub(crate) struct Reactor;

impl Sockets for Reactor {
    type Stream = UnixStream;
    type Listener = UnixListener;

    fn stream(stream: std::os::unix::net::UnixStream) -> io::Result<UnixStream> {
        UnixStream::from_std(stream)
    }

    fn listener(listener: std::os::unix::net::UnixListener) -> io::Result<UnixListener> {
        UnixListener::from_std(listener)
    }
}

enum Step {
    Read(io::Result<usize>),
    Writable,
    Deadline,
    Accepted(io::Result<UnixStream>),
    OutOfPatience,
}

impl Link<Reactor> {
    /// The next thing that happens; never resolves while nobody can come.
    ///
    /// # Cancel safety
    /// Cancelling loses nothing.
    pub(crate) async fn event(&mut self) -> LinkEvent {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            let mut buffer = [0; READ_AT_ONCE];
            match self.step(&mut buffer).await {
                Step::Read(Ok(0) | Err(_)) => self.ended(),
                Step::Read(Ok(read)) => self.take(buffer.get(..read).unwrap_or_default()),
                Step::Writable => {
                    if let State::Open(session) = &mut self.state {
                        session.flush_ready();
                    }
                }
                Step::Deadline => self.put(Input::Tick),
                Step::OutOfPatience => self.give_way(),
                Step::Accepted(Ok(stream)) => self.accepted(stream),
                Step::Accepted(Err(error)) => self.cannot_accept(&error),
            }
        }
    }

    async fn step(&mut self, buffer: &mut [u8]) -> Step {
        match (&mut self.state, &self.listener) {
            (State::Open(session), _) => {
                let deadline = session.next_deadline();
                let deadline = deadline.map(|at| self.origin + at.since(Moment::ZERO));
                let full = !session.outbox.is_empty();
                tokio::select! {
                    read = read(&session.stream, buffer) => Step::Read(read),
                    _ = session.stream.writable(), if full => Step::Writable,
                    () = sleep_until(deadline.unwrap_or(self.origin).into()), if deadline.is_some() => {
                        Step::Deadline
                    }
                }
            }
            (State::Listening, Some(listener)) => {
                if let Some(pause) = self.pause {
                    sleep_until(pause.into()).await;
                    self.pause = None;
                }
                let accepted = listener.accept().await;
                Step::Accepted(accepted.map(|(stream, _)| stream))
            }
            (State::Absent, _) => match self.patience {
                Some(patience) => {
                    sleep_until(patience.into()).await;
                    Step::OutOfPatience
                }
                None => pending().await,
            },
            (State::Listening, None) => pending().await,
        }
    }
}

impl Session<UnixStream> {
    /// Through the reactor, so that it forgets a readiness that is not there.
    fn flush_ready(&mut self) {
        let sent = self.stream.try_io(Interest::WRITABLE, || {
            passing::send(self.stream.as_fd(), &self.outbox, &[]).map_err(into_io)
        });
        match sent {
            Ok(sent) => drop(self.outbox.drain(..sent.min(self.outbox.len()))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.outbox.clear(),
        }
    }
}

async fn read(stream: &UnixStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}
