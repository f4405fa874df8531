//! What a channel holds and decides, however its driver waits: frames on their way out, frames and
//! descriptors that arrived, and when to knock again.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use handover_proto::frame::{Decoded, MAX_FRAME, Reader, VERSION_OLDEST, encode_from};
use handover_proto::message::{FromInstance, ToInstance};
use handover_sys::passing::Received;

use super::LinkEvent;

/// First pause between two tries to find a new coordinator: it binds its socket within
/// milliseconds of its start.
pub(crate) const SEEK_FIRST: Duration = Duration::from_millis(20);

/// Longest pause: an instance that serves alone for days still finds a coordinator within a
/// second, at the cost of one failing system call.
const SEEK_MOST: Duration = Duration::from_secs(1);

/// Bytes kept for a coordinator that does not read. Beyond it, words for people are dropped;
/// frames of the protocol are few and always kept.
const MAX_OUTBOX: usize = 2 * MAX_FRAME;

/// Descriptors that may wait for their frames: each introduction brings one, and a coordinator has
/// one attempt at a time. More is nonsense, and is not hoarded.
const MAX_DESCRIPTORS: usize = 4;

/// The channel cannot be understood any more.
#[derive(Debug)]
pub(crate) struct Broken;

/// Both directions of one channel.
#[derive(Debug)]
pub(crate) struct Frames {
    outbox: Vec<u8>,
    reader: Reader,
    /// Descriptors whose frames have not been read yet.
    descriptors: VecDeque<OwnedFd>,
    version: u16,
}

impl Frames {
    pub(crate) const fn new() -> Self {
        Self {
            outbox: Vec::new(),
            reader: Reader::new(),
            descriptors: VecDeque::new(),
            version: VERSION_OLDEST,
        }
    }

    /// Appends a frame to what is to be sent; `false`: it was dropped, since it has words for people
    /// and too much waits already.
    #[must_use]
    pub(crate) fn queue(&mut self, message: &FromInstance) -> bool {
        let for_people = matches!(
            message,
            FromInstance::Status { .. } | FromInstance::Connections { .. }
        );
        if for_people && self.outbox.len() > MAX_OUTBOX {
            return false;
        }
        self.outbox.extend(encode_from(message, self.version));
        true
    }

    /// What is to be sent.
    pub(crate) fn to_send(&self) -> &[u8] {
        &self.outbox
    }

    /// So much of it was sent.
    pub(crate) fn sent(&mut self, bytes: usize) {
        drop(self.outbox.drain(..bytes.min(self.outbox.len())));
    }

    /// Sends no more of it; what the coordinator said before it left is still to be read.
    pub(crate) fn give_up_sending(&mut self) {
        self.outbox.clear();
    }

    /// Takes what arrived. Call it when [`Frames::next`] has nothing left, so that there is room.
    pub(crate) fn arrived(&mut self, received: Received, buffer: &[u8]) -> Result<(), Broken> {
        self.descriptors.extend(received.descriptors);
        let bytes = buffer.get(..received.bytes).unwrap_or_default();
        let pushed = self.reader.push(bytes);
        if pushed.is_err() || self.descriptors.len() > MAX_DESCRIPTORS {
            return Err(Broken);
        }
        Ok(())
    }

    /// The next frame that has arrived whole.
    pub(crate) fn next(&mut self) -> Result<Option<LinkEvent>, Broken> {
        loop {
            match self.reader.next_to() {
                Ok(Some(Decoded::Message(message))) => return Ok(Some(self.said(message))),
                Ok(Some(Decoded::Unknown { kind })) => {
                    tracing::debug!(kind, "skipped a frame of a newer coordinator");
                }
                Ok(None) => {
                    self.drop_strays();
                    return Ok(None);
                }
                Err(error) => {
                    tracing::warn!(
                        %error,
                        "the coordinator broke the protocol; closing its channel"
                    );
                    return Err(Broken);
                }
            }
        }
    }

    fn said(&mut self, message: ToInstance) -> LinkEvent {
        match message {
            ToInstance::Introduce { id } => {
                return LinkEvent::Introduced(id, self.descriptors.pop_front());
            }
            ToInstance::Welcome { version, .. } => self.version = version,
            _ => {}
        }
        LinkEvent::Said(message)
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
}

/// Whether there is a place to look for a new coordinator; says what follows from it.
pub(crate) fn may_seek(address: Option<&Path>) -> bool {
    if address.is_none() {
        tracing::warn!(
            "the coordinator is gone and HANDOVER_NATIVE_SOCKET does not say where its \
             successor will be; this instance serves on alone"
        );
        return false;
    }
    tracing::info!("the coordinator is gone; serving on, and looking for its successor");
    true
}

/// Says that whoever answered at `address` is not to be talked to.
pub(crate) fn warn_of_stranger(address: &Path) {
    tracing::warn!(
        path = %address.display(),
        "whoever listens for us is another user; not talking to it"
    );
}

/// The pause that follows a pause.
pub(crate) fn longer(pause: Duration) -> Duration {
    (pause * 2).min(SEEK_MOST)
}
