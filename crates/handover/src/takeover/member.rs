//! The processes of an attempt, as the coordinator inside the incumbent has them: a channel, and
//! the process itself where it can be held.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use handover_proto::frame::{Decoded, Reader, VERSION_NEWEST, encode_to};
use handover_proto::message::{FromInstance, ToInstance};
use handover_proto::outcome::Exit;
use handover_sys::Pidfd;

use super::post::{Post, Read};

/// How long after its channel a process that is ending ends, at the most; how it ended says more
/// than that its channel closed.
const UNTIL_GONE: Duration = Duration::from_millis(100);

/// Where a process comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is this one.
    Local,
    /// We started it.
    Child,
    /// It came by itself.
    Taker,
}

/// A process.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) kind: Kind,
    pub(super) post: Post,
    /// It said that it serves.
    pub(super) ready: bool,
    process: Option<Pidfd>,
    reader: Reader,
    words: VecDeque<Word>,
    open: bool,
    /// It closed its channel, not we.
    left: bool,
    /// Its channel has closed; when to say so if it has not ended.
    lost: Option<Instant>,
}

/// What a process does.
#[derive(Debug)]
pub(super) enum Word {
    Said(Decoded<FromInstance>),
    /// Its channel has closed. Whether it has ended too, is said soon.
    Closed,
    /// Its channel has closed and it goes on.
    Lost,
    Exited(Exit),
}

impl Member {
    /// `process`: the process, where it can be held. One that cannot ends with its channel.
    pub(super) fn new(kind: Kind, stream: UnixStream, process: Option<Pidfd>) -> io::Result<Self> {
        Ok(Self::over(kind, Post::new(stream)?, process))
    }

    pub(super) const fn over(kind: Kind, post: Post, process: Option<Pidfd>) -> Self {
        Self {
            kind,
            post,
            ready: false,
            process,
            reader: Reader::new(),
            words: VecDeque::new(),
            open: true,
            left: false,
            lost: None,
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        self.open
    }

    /// What to poll for its end.
    pub(super) const fn watched(&self) -> Option<&Pidfd> {
        self.process.as_ref()
    }

    /// Says something; it goes out with the next flush.
    pub(super) fn say(&mut self, message: &ToInstance, descriptor: Option<OwnedFd>) {
        if !self.open {
            return;
        }
        let bytes = encode_to(message, VERSION_NEWEST);
        if !self.post.queue(bytes, descriptor.into_iter().collect()) {
            tracing::warn!("an instance does not read what it is told; its channel is closed");
            self.close();
        }
    }

    /// Asks the process to end, if it can be held. Whether it could.
    pub(super) fn signal(&self, signal: handover_sys::Signal) -> bool {
        let sent = self.process.as_ref().map(|process| process.signal(signal));
        match sent {
            Some(Err(error)) => {
                tracing::warn!(%error, %signal, "a process could not be signalled");
                false
            }
            Some(Ok(())) => true,
            None => false,
        }
    }

    /// Tells it to go, and why, before anything else happens to it.
    pub(super) fn dismiss(&mut self, reason: &str) {
        let reason = reason.to_owned();
        self.say(&ToInstance::Dismiss { reason }, None);
        self.post.flush();
        match (self.kind, &self.process) {
            // What it is served with by now ends by its ladder.
            (Kind::Child, _) if !self.ready => drop(self.signal(handover_sys::Signal::TERM)),
            // Nothing else can be said to it.
            (Kind::Taker, None) => self.post.end(),
            (Kind::Child | Kind::Taker | Kind::Local, _) => {}
        }
    }

    /// Gives its channel up.
    pub(super) fn close(&mut self) {
        if std::mem::take(&mut self.open) {
            self.lost = Some(Instant::now() + UNTIL_GONE);
            self.words.push_back(Word::Closed);
        }
    }

    /// Gives it up altogether: it cannot be held, and is none of ours any more.
    pub(super) fn forget(&mut self) {
        self.close();
        self.process = None;
    }

    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.lost
    }

    /// The next thing that has happened, if any. Never waits.
    pub(super) fn next(&mut self) -> Option<Word> {
        while self.words.is_empty() && self.open {
            match self.post.read() {
                Read::Nothing => break,
                Read::Bytes(bytes) => self.decode(&bytes),
                Read::End => {
                    self.left = true;
                    self.close();
                }
                Read::Fault(reason) => self.violated(&reason),
            }
        }
        if let Some(word) = self.words.pop_front() {
            return Some(word);
        }
        if let Some(exit) = self.exit() {
            return Some(Word::Exited(exit));
        }
        self.lost.take_if(|at| *at <= Instant::now())?;
        if self.kind == Kind::Taker && self.left {
            // It gave up and goes on as something else, which is none of our business.
            self.process = None;
            return Some(Word::Exited(Exit::Unknown));
        }
        Some(Word::Lost)
    }

    /// How it ended, once it has and said its last.
    fn exit(&mut self) -> Option<Exit> {
        let Some(process) = &self.process else {
            return (!self.open).then_some(Exit::Unknown);
        };
        match process.try_wait() {
            Ok(exit) => exit.map(|exit| match exit {
                handover_sys::Exit::Code(code) => Exit::Code(code),
                handover_sys::Exit::Signal(signal) => Exit::Signal(signal),
                handover_sys::Exit::Unknown => Exit::Unknown,
            }),
            Err(error) => {
                tracing::warn!(%error, "the end of a process cannot be waited for");
                self.process = None;
                None
            }
        }
    }

    fn decode(&mut self, bytes: &[u8]) {
        if let Err(error) = self.reader.push(bytes) {
            return self.violated(&error.to_string());
        }
        loop {
            match self.reader.next_from() {
                Ok(Some(decoded)) => self.words.push_back(Word::Said(decoded)),
                Ok(None) => return,
                Err(error) => return self.violated(&error.to_string()),
            }
        }
    }

    fn violated(&mut self, reason: &str) {
        tracing::warn!(
            reason,
            "an instance broke the protocol; its channel is closed"
        );
        self.close();
    }
}
