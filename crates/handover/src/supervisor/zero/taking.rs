//! The connection to whoever serves, from the first moment to the descriptor: [`Taker`] decides.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Instant;

use handover_proto::moment::{Machine, Moment};
use handover_proto::zero::{READS, Taker, TakerEffect, TakerInput};
use handover_sys::passing::{self, PassError};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::supervisor::deadline::reached;

/// What the driver has to say.
#[derive(Clone, Copy, Debug)]
pub(super) enum Word {
    Relieve,
    LetGo,
    Gone,
}

/// What became of it.
#[derive(Debug)]
pub(in crate::supervisor) enum News {
    /// It gave its listener. An error: the descriptor was lost on its way, and it goes all the same.
    Taken(Result<OwnedFd, PassError>),
    /// See [`TakerEffect::TurnedAway`].
    TurnedAway,
    /// See [`TakerEffect::Slow`].
    Slow,
    /// See [`TakerEffect::NotAnAnswer`]: what came.
    NotAnAnswer(String),
    /// See [`TakerEffect::Lost`].
    Lost,
    /// See [`TakerEffect::Alone`].
    Alone,
}

/// The driver's end. Dropping it lets the other go.
#[derive(Debug)]
pub(super) struct Line {
    words: UnboundedSender<Word>,
}

impl Line {
    /// Attends to a connection until it is over.
    pub(super) fn open(stream: UnixStream, path: PathBuf, news: UnboundedSender<News>) -> Self {
        let (words, heard) = unbounded_channel();
        let conversation = Conversation {
            path,
            stream: Some(stream),
            taker: Taker::new(),
            origin: Instant::now(),
            answer: None,
            news,
        };
        tokio::spawn(conversation.hold(heard));
        Self { words }
    }

    /// The task may be over; then there is nothing to be said any more.
    pub(super) fn say(&self, word: Word) {
        let _ = self.words.send(word);
    }
}

/// One message, or why it could not be had.
type Message = Result<passing::Received, PassError>;

struct Conversation {
    path: PathBuf,
    stream: Option<UnixStream>,
    taker: Taker,
    origin: Instant,
    answer: Option<Message>,
    news: UnboundedSender<News>,
}

impl Conversation {
    fn now(&self) -> Moment {
        Moment::ZERO + self.origin.elapsed()
    }

    fn tell(&mut self, input: TakerInput) {
        let now = self.now();
        self.taker.handle(now, input);
    }

    /// What has happened is not wanted any more once the driver has gone.
    fn report(&self, news: News) {
        let _ = self.news.send(news);
    }

    async fn hold(mut self, mut words: UnboundedReceiver<Word>) {
        let mut attended = true;
        loop {
            while let Some(effect) = self.taker.poll_effect() {
                self.execute(effect).await;
            }
            if self.taker.is_over() {
                return;
            }
            let deadline = self.taker.next_deadline();
            let wake = reached(self.origin, deadline);
            tokio::select! {
                word = words.recv(), if attended => {
                    attended = word.is_some();
                    self.tell(match word {
                        Some(Word::Relieve) => TakerInput::Relieve,
                        Some(Word::Gone) => TakerInput::Gone,
                        Some(Word::LetGo) | None => TakerInput::LetGo,
                    });
                }
                message = message(self.stream.as_ref()) => self.heard(message),
                () = wake => self.tell(TakerInput::Tick),
            }
        }
    }

    fn heard(&mut self, message: Message) {
        let input = match &message {
            Ok(received) => match (received.bytes, received.descriptors.len()) {
                (0, 0) => TakerInput::Closed,
                (bytes, descriptors) => TakerInput::Answered { bytes, descriptors },
            },
            // It gave one all the same.
            Err(PassError::Truncated { .. }) => TakerInput::Answered {
                bytes: 1,
                descriptors: 1,
            },
            Err(PassError::TooMany { found, .. }) => TakerInput::Answered {
                bytes: 1,
                descriptors: *found,
            },
            Err(_) => TakerInput::Closed,
        };
        self.answer = Some(message);
        self.tell(input);
    }

    async fn execute(&mut self, effect: TakerEffect) {
        match effect {
            TakerEffect::Say { bytes } => {
                if self.say(&bytes).await.is_err() {
                    self.tell(TakerInput::Closed);
                }
            }
            TakerEffect::HangUp => self.stream = None,
            TakerEffect::Keep => {
                let taken = match self.answer.take() {
                    Some(Ok(mut received)) => received.descriptors.pop().ok_or(lost()),
                    Some(Err(error)) => Err(error),
                    None => Err(lost()),
                };
                self.report(News::Taken(taken));
            }
            TakerEffect::TurnedAway => self.report(News::TurnedAway),
            TakerEffect::Slow => self.report(News::Slow),
            TakerEffect::NotAnAnswer { bytes, descriptors } => {
                self.answer = None;
                let found = format!("{bytes} bytes and {descriptors} descriptors");
                self.report(News::NotAnAnswer(found));
            }
            TakerEffect::Look => {
                let served = UnixStream::connect(&self.path).await.is_ok();
                self.tell(TakerInput::Looked { served });
            }
            TakerEffect::Lost => self.report(News::Lost),
            TakerEffect::Alone => self.report(News::Alone),
        }
    }

    /// In one write: a giver reads once.
    async fn say(&self, bytes: &[u8]) -> io::Result<()> {
        let stream = self.stream.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        loop {
            stream.writable().await?;
            match stream.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(written) if written == bytes.len() => return Ok(()),
                Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
                Err(error) => return Err(error),
            }
        }
    }
}

fn lost() -> PassError {
    PassError::Io(io::ErrorKind::NotFound.into())
}

/// The next message; never, without a connection. Cancel-safe.
async fn message(stream: Option<&UnixStream>) -> Message {
    let Some(stream) = stream else {
        return std::future::pending().await;
    };
    loop {
        stream.ready(Interest::READABLE).await?;
        let mut buffer = [0; READS];
        let mut received = None;
        let tried = stream.try_io(Interest::READABLE, || {
            match passing::receive(stream.as_fd(), &mut buffer, 1) {
                Err(error) if error.is_would_block() => Err(io::ErrorKind::WouldBlock.into()),
                other => {
                    received = Some(other);
                    Ok(())
                }
            }
        });
        match (tried, received) {
            (_, Some(received)) => return received,
            (Err(error), None) if error.kind() != io::ErrorKind::WouldBlock => {
                return Err(error.into());
            }
            (_, None) => {}
        }
    }
}
