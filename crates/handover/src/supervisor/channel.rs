//! A native channel: frames of an instance become commands to the driver, messages become frames.
//!
//! Whoever is at the other end may be faulty, so nothing here grows with what it sends: frames are
//! read only as fast as the driver takes them, messages it does not read are few, and a channel
//! that breaks the rules is closed with the reason.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use handover_proto::frame::{self, Decoded, Reader};
use handover_proto::identity::InstanceId;
use handover_proto::message::{FromInstance, ToInstance};
use handover_sys::passing;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::driver::Command;
use crate::link::into_io;

/// Read at a time; a frame rarely has more than a hundred bytes.
const CHUNK: usize = 4096;
/// Messages of one channel that may wait for the driver; then the channel is not read. A handover
/// has about ten.
pub(super) const WAITING: usize = 64;
/// Messages to an instance that may wait for it to read them. A handover has about eight, so an
/// instance this far behind has not read for several.
const UNREAD: usize = 64;
/// Frames in a second that are no fault: progress of a seal, connections opened and closed. More
/// would crowd everything else out of the events that are kept.
const MOST_A_SECOND: u32 = 4096;

/// Longest text of an instance that is kept, in bytes: a screenful. A thousand events are kept, and
/// each may have one.
const MOST_WORDS: usize = 2048;

/// Tells one channel of an instance from the next: the end of an old one may be heard of after a
/// new one is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChannelId(u64);

static LAST: AtomicU64 = AtomicU64::new(0);

/// A place in the driver's queue, given back when the command has been handled.
pub(super) type Place = OwnedSemaphorePermit;

/// A message and the descriptor that travels with its first byte.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) message: ToInstance,
    descriptor: Option<OwnedFd>,
}

/// The coordinator's end. Dropping it closes the channel.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) id: ChannelId,
    messages: mpsc::Sender<Outgoing>,
    /// Ends with it; absent where somebody else sees to that.
    reader: Option<AbortHandle>,
}

impl Sender {
    /// One whose messages are taken by whoever has the receiver.
    pub(super) fn detached() -> (Self, mpsc::Receiver<Outgoing>) {
        let id = ChannelId(LAST.fetch_add(1, Ordering::Relaxed));
        let (messages, receiver) = mpsc::channel(UNREAD);
        let sender = Self {
            id,
            messages,
            reader: None,
        };
        (sender, receiver)
    }

    /// Sends after all that was sent before. False if the instance has not read its messages for
    /// so long that the channel has to be given up.
    pub(super) fn send(&self, message: ToInstance, descriptor: Option<OwnedFd>) -> bool {
        let sent = self.messages.try_send(Outgoing {
            message,
            descriptor,
        });
        // A broken channel is reported by its reader.
        !matches!(sent, Err(mpsc::error::TrySendError::Full(_)))
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if let Some(reader) = &self.reader {
            reader.abort();
        }
    }
}

/// Serves a channel until either side closes it.
pub(super) fn open(
    instance: InstanceId,
    stream: UnixStream,
    to: UnboundedSender<Command>,
) -> Sender {
    let (reader, writer) = stream.into_split();
    let id = ChannelId(LAST.fetch_add(1, Ordering::Relaxed));
    let (sender, messages) = mpsc::channel(UNREAD);
    tokio::spawn(write(writer, messages));
    let reader = tokio::spawn(async move {
        let fault = read(instance, id, reader, &to).await.err();
        let fault = fault.map(|error| error.to_string());
        let _ = to.send(Command::Closed {
            instance,
            id,
            fault,
        });
    });
    Sender {
        id,
        messages: sender,
        reader: Some(reader.abort_handle()),
    }
}

/// Serves a channel whose instance is known only by the process id in its greeting's credentials.
pub(super) fn accepted(stream: UnixStream, to: &UnboundedSender<Command>) {
    match stream.peer_cred().map(|peer| peer.pid()) {
        Ok(Some(pid)) => {
            let _ = to.send(Command::Attached {
                pid: pid.unsigned_abs(),
                stream,
            });
        }
        Ok(None) | Err(_) => tracing::warn!("a native connection without credentials is closed"),
    }
}

async fn write(mut to: OwnedWriteHalf, mut messages: mpsc::Receiver<Outgoing>) {
    while let Some(Outgoing {
        message,
        descriptor,
    }) = messages.recv().await
    {
        let bytes = frame::encode_to(&message, frame::VERSION_NEWEST);
        let begun = match descriptor {
            Some(descriptor) => pass(to.as_ref(), &bytes, &descriptor).await,
            None => Ok(0),
        };
        let Ok(sent) = begun else { return };
        if to.write_all(&bytes[sent..]).await.is_err() {
            return;
        }
    }
}

/// Sends the begin of `bytes` with a descriptor on its first byte; returns how much went out.
pub(super) async fn pass(
    stream: &UnixStream,
    bytes: &[u8],
    descriptor: &OwnedFd,
) -> io::Result<usize> {
    let send = || passing::send(stream.as_fd(), bytes, &[descriptor.as_fd()]).map_err(into_io);
    loop {
        stream.writable().await?;
        match stream.try_io(Interest::WRITABLE, send) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            sent => return sent,
        }
    }
}

/// Why a channel is not read any further.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Frame(#[from] frame::FrameError),
    #[error("more than {MOST_A_SECOND} frames in a second; report progress less often")]
    Flood,
    #[error("it could not be read: {0}")]
    Io(#[from] io::Error),
}

async fn read(
    instance: InstanceId,
    id: ChannelId,
    mut from: OwnedReadHalf,
    to: &UnboundedSender<Command>,
) -> Result<(), Fault> {
    let mut reader = Reader::new();
    let mut chunk = [0; CHUNK];
    let places = Arc::new(Semaphore::new(WAITING));
    let mut pace = Pace::begin();
    loop {
        let read = match from.read(&mut chunk).await {
            Ok(read) => read,
            // The instance died with frames of ours unread.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(error.into()),
        };
        if read == 0 {
            // One that dies in the middle of a frame has not broken a rule.
            return Ok(());
        }
        reader.push(&chunk[..read])?;
        while let Some(decoded) = reader.next_from()? {
            pace.count()?;
            let mut message: FromInstance = match decoded {
                Decoded::Message(message) => message,
                Decoded::Unknown { .. } => continue,
            };
            shorten(&mut message);
            // Never closed; so there is always a place in the end.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return Ok(());
            };
            let said = Command::Said {
                instance,
                from: id,
                message,
                place,
            };
            if to.send(said).is_err() {
                return Ok(());
            }
        }
    }
}

/// Cuts what an instance says for people to what is kept.
pub(super) fn shorten(message: &mut FromInstance) {
    let (FromInstance::Status { text: words }
    | FromInstance::Failed { reason: words }
    | FromInstance::SealFailed { reason: words, .. }) = message
    else {
        return;
    };
    if words.len() > MOST_WORDS {
        *words = words[..words.floor_char_boundary(MOST_WORDS)].to_owned();
    }
}

/// Counts frames, second by second.
pub(super) struct Pace {
    since: Instant,
    frames: u32,
}

impl Pace {
    pub(super) fn begin() -> Self {
        Self {
            since: Instant::now(),
            frames: 0,
        }
    }

    pub(super) fn count(&mut self) -> Result<(), Fault> {
        if self.since.elapsed() >= Duration::from_secs(1) {
            *self = Self::begin();
        }
        self.frames += 1;
        if self.frames > MOST_A_SECOND {
            return Err(Fault::Flood);
        }
        Ok(())
    }
}
