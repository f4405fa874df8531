//! States on their way from host to host, in chunks, with a digest.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use handover_hub_proto::identity::{Epoch, MoveId, NodeId, ProcessId};
use sha2::{Digest, Sha256};

use crate::crash;
use crate::transport::frame::{Part, State};
use crate::transport::{Frame, SendError, Transport};

/// Bytes of one chunk: small beside a queue, so that several states share a connection fairly.
const CHUNK: usize = 256 << 10;

/// Bytes that are set aside for a state before any of it came: its size is a claim until then.
const AHEAD: usize = 1 << 20;

/// Where a state goes.
pub(crate) struct Destination {
    pub(crate) process: ProcessId,
    pub(crate) attempt: MoveId,
    pub(crate) epoch: Epoch,
}

impl Destination {
    fn frame(&self, part: Part) -> Frame {
        Frame::State(State {
            attempt: self.attempt,
            process: self.process.clone(),
            epoch: self.epoch,
            part,
        })
    }
}

/// Sends a frame, waiting for room.
///
/// # Errors
///
/// A broken connection, or a frame that is too large.
pub(crate) async fn deliver(
    transport: &Arc<dyn Transport>,
    to: NodeId,
    frame: Frame,
) -> Result<(), SendError> {
    let class = frame.class();
    loop {
        match transport.send(to, frame.clone()) {
            Err(SendError::Full(_)) => transport.room(to, class).await,
            sent => return sent,
        }
    }
}

/// Sends frames that belong together as far as there is room for them at once. Returns those that
/// are left, for [`deliver`].
///
/// # Errors
///
/// As [`deliver`]: what is left is of no use.
pub(crate) fn deliver_now(
    transport: &Arc<dyn Transport>,
    to: NodeId,
    mut frames: VecDeque<Frame>,
) -> Result<VecDeque<Frame>, SendError> {
    while let Some(frame) = frames.pop_front() {
        crash::sending(&frame);
        match transport.send(to, frame.clone()) {
            Ok(()) => {}
            Err(SendError::Full(_)) => {
                frames.push_front(frame);
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(frames)
}

/// Sends what [`deliver_now`] had no room for.
///
/// # Errors
///
/// As [`deliver`].
pub(crate) async fn deliver_all(
    transport: &Arc<dyn Transport>,
    to: NodeId,
    frames: VecDeque<Frame>,
) -> Result<(), SendError> {
    for (index, frame) in frames.into_iter().enumerate() {
        // The first one was as good as sent before.
        if index > 0 {
            crash::sending(&frame);
        }
        deliver(transport, to, frame).await?;
    }
    Ok(())
}

/// The frames of a whole state. It has arrived only when the target says so.
pub(crate) fn frames(destination: &Destination, state: &Bytes) -> VecDeque<Frame> {
    let digest = Sha256::digest(state).into();
    let size = state.len() as u64;
    let mut parts = vec![Part::Open { size }];
    let mut offset = 0;
    while offset < state.len() {
        let end = state.len().min(offset + CHUNK);
        parts.push(Part::Chunk {
            offset: offset as u64,
            bytes: state.slice(offset..end),
        });
        offset = end;
    }
    parts.push(Part::Close { digest });
    parts
        .into_iter()
        .map(|part| destination.frame(part))
        .collect()
}

/// A state that is arriving.
pub(crate) struct Assembly {
    size: u64,
    bytes: Vec<u8>,
    digest: Sha256,
}

/// Why a state that arrives is dropped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Spoilt {
    #[error("it has {found} bytes, this node takes {limit}")]
    TooLarge { limit: u64, found: u64 },
    #[error("a chunk at {found} came where {expected} was due")]
    Gap { expected: u64, found: u64 },
    #[error("it should have {expected} bytes, {found} came")]
    Length { expected: u64, found: u64 },
    #[error("its digest is wrong")]
    Digest,
    #[error("its source gave up")]
    Abandoned,
    #[error("a part of it came before its beginning")]
    NotOpen,
}

impl Assembly {
    /// Takes the next part; returns the whole state with its last one. Whatever is wrong ends it.
    pub(crate) fn take(
        slot: &mut Option<Self>,
        part: Part,
        limit: u64,
    ) -> Result<Option<Bytes>, Spoilt> {
        let (assembly, part) = match (slot.take(), part) {
            (_, Part::Open { size }) if size > limit => {
                return Err(Spoilt::TooLarge { limit, found: size });
            }
            (_, Part::Open { size }) => {
                let ahead = usize::try_from(size).unwrap_or(AHEAD).min(AHEAD);
                *slot = Some(Self {
                    size,
                    bytes: Vec::with_capacity(ahead),
                    digest: Sha256::new(),
                });
                return Ok(None);
            }
            (_, Part::Abandon) => return Err(Spoilt::Abandoned),
            (None, Part::Chunk { .. } | Part::Close { .. }) => return Err(Spoilt::NotOpen),
            (Some(assembly), part) => (assembly, part),
        };
        match part {
            Part::Chunk { offset, bytes } => {
                *slot = Some(assembly.append(offset, &bytes)?);
                Ok(None)
            }
            Part::Close { digest } => assembly.close(digest).map(Some),
            Part::Open { .. } | Part::Abandon => Ok(None),
        }
    }

    fn append(mut self, offset: u64, bytes: &[u8]) -> Result<Self, Spoilt> {
        let expected = self.bytes.len() as u64;
        if offset != expected {
            let found = offset;
            return Err(Spoilt::Gap { expected, found });
        }
        let found = expected + bytes.len() as u64;
        if found > self.size {
            let expected = self.size;
            return Err(Spoilt::Length { expected, found });
        }
        self.bytes.extend_from_slice(bytes);
        self.digest.update(bytes);
        Ok(self)
    }

    fn close(self, digest: [u8; 32]) -> Result<Bytes, Spoilt> {
        let found = self.bytes.len() as u64;
        if found != self.size {
            let expected = self.size;
            return Err(Spoilt::Length { expected, found });
        }
        if <[u8; 32]>::from(self.digest.finalize()) != digest {
            return Err(Spoilt::Digest);
        }
        Ok(self.bytes.into())
    }
}
