//! Passing descriptors over a Unix socket (`SCM_RIGHTS`, unix(7)).
//!
//! Every descriptor that arrives is owned at once; a message that is refused closes all of its
//! descriptors (I8).

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use thiserror::Error;

use crate::ancillary::{self, control_space};

/// The most descriptors one message can carry: `SCM_MAX_FD` of the kernel (`net/scm.h`).
pub const MAX_DESCRIPTORS: usize = 253;

/// Why descriptors did not cross.
#[derive(Debug, Error)]
pub enum PassError {
    /// More descriptors than the sender may put into, or the receiver expects in, one message.
    #[error(
        "a message may carry {expected} descriptors here, but it has {found}; \
         send them in several messages"
    )]
    TooMany {
        /// The limit that applied.
        expected: usize,
        /// How many there were.
        found: usize,
    },
    /// Descriptors without a byte to carry them: on a stream socket the kernel would drop them.
    #[error("{found} descriptors but no bytes; add at least one byte to carry them")]
    NoBytes {
        /// How many descriptors there were.
        found: usize,
    },
    /// Descriptors were lost on the way in (`MSG_CTRUNC`). All that did arrive are closed.
    #[error(
        "descriptors were lost on arrival ({arrived} of them came through and are closed again); \
         raise the limit of open files (ulimit -n) and let the sender try again"
    )]
    Truncated {
        /// How many had arrived.
        arrived: usize,
    },
    /// A datagram or seqpacket message was longer than the buffer. Its descriptors are closed.
    #[error("a message is longer than the {room} bytes expected here and was refused")]
    MessageTruncated {
        /// The length of the buffer.
        room: usize,
    },
    /// The kernel refused; `WouldBlock` on a non-blocking socket means "later".
    #[error("passing descriptors failed: {0}")]
    Io(#[from] io::Error),
}

impl PassError {
    /// Whether the socket was merely not ready.
    pub fn is_would_block(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// What one message brought.
#[derive(Debug)]
pub struct Received {
    /// How many bytes of the buffer were filled; 0 with a stream means that the peer has closed.
    pub bytes: usize,
    /// The descriptors that came with them, close-on-exec, in the order of the sender.
    pub descriptors: Vec<OwnedFd>,
}

/// Sends `bytes` and `descriptors` in one message and returns how many bytes went out.
///
/// On a stream socket that may be fewer than given; the descriptors travel with the first byte,
/// so send the rest without them. The caller keeps its descriptors. A vanished peer gives
/// `EPIPE`, never a `SIGPIPE`.
///
/// # Errors
/// [`PassError::TooMany`] above [`MAX_DESCRIPTORS`], [`PassError::NoBytes`], or the kernel's
/// error. Nothing was sent.
pub fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<usize, PassError> {
    if descriptors.len() > MAX_DESCRIPTORS {
        return Err(PassError::TooMany {
            expected: MAX_DESCRIPTORS,
            found: descriptors.len(),
        });
    }
    if bytes.is_empty() && !descriptors.is_empty() {
        return Err(PassError::NoBytes {
            found: descriptors.len(),
        });
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        // Cannot happen with the space above, but a lost descriptor must never be silent.
        return Err(PassError::TooMany {
            expected: MAX_DESCRIPTORS,
            found: descriptors.len(),
        });
    }
    loop {
        match sendmsg(
            socket,
            &[IoSlice::new(bytes)],
            &mut control,
            SendFlags::NOSIGNAL,
        ) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other.map_err(io::Error::from)?),
        }
    }
}

/// Sends a whole frame: all of `bytes`, and `descriptors` with the first of them. For blocking
/// sockets; the caller keeps its descriptors.
///
/// # Errors
/// As [`send`]. If the socket has a time-out (`SO_SNDTIMEO`) or does not block, `WouldBlock` can
/// come after a part was sent: the stream is then of no use any more.
pub fn send_all(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), PassError> {
    let mut sent = send(socket, bytes, descriptors)?;
    while sent < bytes.len() {
        match send(socket, &bytes[sent..], &[])? {
            0 => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
            more => sent += more,
        }
    }
    Ok(())
}

/// Receives one message into `buffer`, with at most `max_descriptors` descriptors.
///
/// Blocks only if the socket does. On a stream socket one call never joins two messages that both
/// carry descriptors. But it may join bytes of earlier messages without descriptors with the first
/// of one that has some: keep what arrives in order, and let each frame that announces a
/// descriptor take the next one.
///
/// # Errors
/// [`PassError::TooMany`], [`PassError::Truncated`], [`PassError::MessageTruncated`]: the message
/// is consumed and every descriptor that came with it is closed. [`PassError::Io`]: nothing was
/// consumed.
pub fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    max_descriptors: usize,
) -> Result<Received, PassError> {
    // Always room for the most the kernel can send: so that an excess can be counted.
    receive_into(
        socket,
        buffer,
        max_descriptors,
        &mut control_space(MAX_DESCRIPTORS),
    )
}

fn receive_into(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    max_descriptors: usize,
    control: &mut [MaybeUninit<u64>],
) -> Result<Received, PassError> {
    let message = ancillary::receive(socket, buffer, control, 0)?;
    let found = message.descriptors.len();
    // Returning early drops `message`, which closes all of them.
    if message.control_truncated {
        return Err(PassError::Truncated { arrived: found });
    }
    if found > max_descriptors {
        return Err(PassError::TooMany {
            expected: max_descriptors,
            found,
        });
    }
    if message.data_truncated {
        return Err(PassError::MessageTruncated { room: buffer.len() });
    }
    Ok(Received {
        bytes: message.bytes,
        descriptors: message.descriptors,
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// The other cause of truncation, a control buffer that is too small, cannot be provoked
    /// through the public function.
    #[test]
    fn a_control_buffer_that_is_too_small_is_truncation() {
        let (a, b) = UnixStream::pair().unwrap();
        send(a.as_fd(), b"x", &[a.as_fd(); 8]).unwrap();
        // Credentials are not switched on, so their room is room for a few descriptors.
        let mut control = vec![MaybeUninit::uninit(); 4];
        let error = receive_into(b.as_fd(), &mut [0; 4], 8, &mut control).unwrap_err();
        assert!(
            matches!(error, PassError::Truncated { arrived: 1..8 }),
            "{error:?}"
        );
    }
}
