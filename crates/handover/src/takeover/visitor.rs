//! Those who have connected to the takeover socket and are not, or not yet, instances.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use handover_proto::frame::Decoded;
use handover_proto::identity::RequestId;
use handover_proto::takeover::{Answer, Ask, Reader, RefusedFor, encode_answer};
use handover_sys::peer::{self, Credentials};

use super::exchange::ANSWER_WITHIN;
use super::post::{Post, Read};

/// What a visitor waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has not said what it wants.
    Asking { until: Instant },
    /// How an attempt ends.
    Waiting(RequestId),
    /// Its last answer has to be sent.
    Leaving { until: Instant },
}

/// One of them.
#[derive(Debug)]
pub(super) struct Visitor {
    pub(super) post: Post,
    pub(super) stage: Stage,
    pub(super) peer: Option<Credentials>,
    reader: Reader,
    answered: bool,
}

/// What a visitor does.
pub(super) enum Word {
    Asked(Ask),
    Nothing,
    /// It is gone, or broke the rules.
    Gone,
}

impl Visitor {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        Ok(Self {
            peer: peer::credentials(&stream).ok(),
            post: Post::new(stream)?,
            stage: Stage::Asking {
                until: Instant::now() + ANSWER_WITHIN,
            },
            reader: Reader::new(),
            answered: false,
        })
    }

    /// Whether it may ask for anything: it is of our own user, or root.
    pub(super) fn is_trusted(&self) -> bool {
        self.peer.is_some_and(|peer| peer.is_trusted())
    }

    /// Answers; more may follow.
    pub(super) fn answer(&mut self, answer: &Answer) {
        let first = !std::mem::replace(&mut self.answered, true);
        let bytes = encode_answer(answer, first);
        if !self.post.queue(bytes, Vec::new()) {
            self.leave();
        }
        self.post.flush();
    }

    /// Answers for the last time.
    pub(super) fn dismiss(&mut self, answer: &Answer) {
        self.answer(answer);
        self.leave();
    }

    pub(super) fn refuse(&mut self, cause: RefusedFor, reason: impl Into<String>) {
        let reason = reason.into();
        tracing::info!(?cause, reason, "refused a request on the takeover socket");
        self.dismiss(&Answer::Refused { cause, reason });
    }

    fn leave(&mut self) {
        self.stage = Stage::Leaving {
            until: Instant::now() + ANSWER_WITHIN,
        };
    }

    /// Reads what it says.
    pub(super) fn listen(&mut self) -> Word {
        loop {
            match self.post.read() {
                Read::Nothing => return Word::Nothing,
                Read::End => return Word::Gone,
                // Whoever waits or leaves has nothing more to say.
                Read::Bytes(_) if !matches!(self.stage, Stage::Asking { .. }) => {}
                Read::Bytes(bytes) => match self.read(&bytes) {
                    Ok(Some(ask)) => return Word::Asked(ask),
                    Ok(None) => {}
                    Err(reason) => return self.violated(&reason),
                },
                Read::Fault(reason) => return self.violated(&reason),
            }
        }
    }

    fn violated(&mut self, reason: &str) -> Word {
        tracing::debug!(
            reason,
            "somebody at the takeover socket speaks another language"
        );
        self.refuse(RefusedFor::Violation, reason);
        Word::Nothing
    }

    fn read(&mut self, bytes: &[u8]) -> Result<Option<Ask>, String> {
        self.reader.push(bytes).map_err(|error| error.to_string())?;
        match self.reader.next_ask() {
            Ok(Some(Decoded::Message(ask))) => {
                if self.reader.buffered() > 0 {
                    return Err("one question at a time".into());
                }
                Ok(Some(ask))
            }
            Ok(Some(Decoded::Unknown { kind })) => Err(format!(
                "this process does not know requests of kind {kind:#06x}; it is of an older version"
            )),
            Ok(None) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// When it is sent away, if it says nothing.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Asking { until } | Stage::Leaving { until } => Some(until),
            Stage::Waiting(_) => None,
        }
    }

    /// Whether nothing is left to do for it.
    pub(super) fn is_done(&self) -> bool {
        let late = self.deadline().is_some_and(|until| until <= Instant::now());
        late || (matches!(self.stage, Stage::Leaving { .. }) && self.post.is_flushed())
    }
}
