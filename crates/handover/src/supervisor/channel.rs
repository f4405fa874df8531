//! A native channel: frames of an instance become commands to the driver, messages become frames.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use handover_proto::frame::{self, Decoded, Reader};
use handover_proto::identity::InstanceId;
use handover_proto::message::{FromInstance, ToInstance};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::driver::Command;

/// Read at a time; a frame rarely has more than a hundred bytes.
const CHUNK: usize = 4096;

/// Tells one channel of an instance from the next: the end of an old one may be heard of after a
/// new one is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChannelId(u64);

static LAST: AtomicU64 = AtomicU64::new(0);

/// The coordinator's end. Dropping it closes the channel.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    pub(super) id: ChannelId,
    messages: UnboundedSender<ToInstance>,
}

impl Sender {
    pub(super) fn send(&self, message: ToInstance) {
        // A broken channel is reported by its reader.
        let _ = self.messages.send(message);
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
    let (sender, messages) = mpsc::unbounded_channel();
    tokio::spawn(write(writer, messages));
    tokio::spawn(async move {
        if let Err(error) = read(instance, reader, &to).await {
            tracing::warn!(%instance, %error, "native channel");
        }
        let _ = to.send(Command::Closed { instance, id });
    });
    Sender {
        id,
        messages: sender,
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

async fn write(mut to: OwnedWriteHalf, mut messages: UnboundedReceiver<ToInstance>) {
    while let Some(message) = messages.recv().await {
        let bytes = frame::encode_to(&message, frame::VERSION_NEWEST);
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn read(
    instance: InstanceId,
    mut from: OwnedReadHalf,
    to: &UnboundedSender<Command>,
) -> io::Result<()> {
    let mut reader = Reader::new();
    let mut chunk = [0; CHUNK];
    loop {
        let read = match from.read(&mut chunk).await {
            Ok(read) => read,
            // The instance died with frames of ours unread.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(error),
        };
        if read == 0 {
            return reader.finish().map_err(io::Error::other);
        }
        reader.push(&chunk[..read]).map_err(io::Error::other)?;
        while let Some(decoded) = reader.next_from().map_err(io::Error::other)? {
            let message: FromInstance = match decoded {
                Decoded::Message(message) => message,
                Decoded::Unknown { .. } => continue,
            };
            if to.send(Command::Said { instance, message }).is_err() {
                return Ok(());
            }
        }
    }
}
