//! One conversation on a takeover socket, as whoever connects has it. Blocking, with an end to
//! every wait for an answer that should come at once.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use handover_proto::frame::Decoded;
use handover_proto::takeover::{Answer, Ask, Reader, encode_ask};
use handover_sys::passing::{self, MAX_DESCRIPTORS, PassError};
use handover_sys::peer;
use socket2::{Domain, SockAddr, Socket, Type};

use super::error::ConnectError;

/// How long an incumbent may take to answer: its thread has nothing else to do.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Bytes read at once.
const READ_AT_ONCE: usize = 16 * 1024;

/// A conversation.
#[derive(Debug)]
pub(crate) struct Exchange {
    path: PathBuf,
    stream: UnixStream,
    reader: Reader,
    /// What arrived and whose frame has not been read.
    descriptors: VecDeque<OwnedFd>,
}

/// Whoever listens at `path`.
///
/// # Errors
/// See [`ConnectError`]; [`ConnectError::Nobody`] if nobody does, whatever the reason.
pub(crate) fn connect(path: &Path) -> Result<Exchange, ConnectError> {
    let failed = |source: io::Error| ConnectError::Io {
        path: path.to_owned(),
        source,
    };
    look_at(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
    // A queue that is full stays so only if nobody accepts.
    socket
        .set_write_timeout(Some(ANSWER_WITHIN))
        .map_err(failed)?;
    let address = SockAddr::unix(path).map_err(failed)?;
    match socket.connect(&address) {
        Ok(()) => {}
        Err(error) => {
            return Err(match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    ConnectError::Nobody {
                        path: path.to_owned(),
                    }
                }
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ConnectError::NoAnswer {
                    path: path.to_owned(),
                    within: ANSWER_WITHIN,
                    pid: None,
                },
                _ => failed(error),
            });
        }
    }
    let stream = UnixStream::from(OwnedFd::from(socket));
    let found = peer::credentials(&stream).map_err(failed)?;
    if !found.is_trusted() {
        return Err(ConnectError::Stranger {
            path: path.to_owned(),
            expected: rustix::process::geteuid().as_raw(),
            found: found.uid,
        });
    }
    Ok(Exchange {
        path: path.to_owned(),
        stream,
        reader: Reader::new(),
        descriptors: VecDeque::new(),
    })
}

/// What is at the path: a link is somebody's intention, and nothing but a socket is ours to
/// connect to or to replace.
fn look_at(path: &Path) -> Result<(), ConnectError> {
    use std::os::unix::fs::FileTypeExt;
    let kind = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ConnectError::Nobody {
                path: path.to_owned(),
            });
        }
        Err(source) => {
            return Err(ConnectError::Io {
                path: path.to_owned(),
                source,
            });
        }
    };
    let found = match () {
        () if kind.is_socket() => return Ok(()),
        () if kind.is_dir() => "a directory",
        () if kind.is_symlink() => match std::fs::metadata(path) {
            Ok(_) => "a symbolic link",
            Err(_) => "a dangling symbolic link",
        },
        () if kind.is_file() => "a regular file",
        () => "something else",
    };
    Err(ConnectError::NotASocket {
        path: path.to_owned(),
        found,
    })
}

/// The other side has closed, perhaps with something of ours unread.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

impl Exchange {
    /// Says what is wanted.
    pub(crate) fn ask(&mut self, ask: &Ask) -> Result<(), ConnectError> {
        let sent = passing::send_all(self.stream.as_fd(), &encode_ask(ask), &[]);
        sent.map_err(|error| match error {
            PassError::Io(error) if is_gone(&error) => self.gone(),
            error => self.broken(&error),
        })
    }

    /// The next answer, waiting as long as `within`; without it for ever.
    ///
    /// # Errors
    /// [`ConnectError::Gone`] when the other side has closed, [`ConnectError::NoAnswer`],
    /// [`ConnectError::Foreign`], [`ConnectError::Broken`].
    pub(crate) fn answer(&mut self, within: Option<Duration>) -> Result<Answer, ConnectError> {
        let until = within.map(|within| (within, Instant::now() + within));
        loop {
            match self.reader.next_answer() {
                Ok(Some(Decoded::Message(answer))) => return Ok(answer),
                Ok(Some(Decoded::Unknown { kind })) => {
                    tracing::debug!(kind, "skipped a frame of a newer incumbent");
                    continue;
                }
                Ok(None) => {}
                Err(error) => return Err(self.foreign(&error)),
            }
            self.read(until)?;
        }
    }

    fn read(&mut self, until: Option<(Duration, Instant)>) -> Result<(), ConnectError> {
        let left = match until {
            Some((within, until)) => match until.saturating_duration_since(Instant::now()) {
                Duration::ZERO => return Err(self.silent(within)),
                left => Some(left),
            },
            None => None,
        };
        let io = |error: io::Error| ConnectError::Io {
            path: self.path.clone(),
            source: error,
        };
        self.stream.set_read_timeout(left).map_err(io)?;
        let mut buffer = [0; READ_AT_ONCE];
        match passing::receive(self.stream.as_fd(), &mut buffer, MAX_DESCRIPTORS) {
            Ok(received) if received.bytes == 0 => Err(self.gone()),
            Ok(received) => {
                self.descriptors.extend(received.descriptors);
                let bytes = buffer.get(..received.bytes).unwrap_or_default();
                let pushed = self.reader.push(bytes);
                pushed.map_err(|error| self.foreign(&error))
            }
            // The time is looked at above.
            Err(error) if error.is_would_block() => Ok(()),
            Err(PassError::Io(error)) if is_gone(&error) => Err(self.gone()),
            Err(error) => Err(self.broken(&error)),
        }
    }

    /// The next descriptor that came, for the frame that was read last.
    pub(crate) fn descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptors.pop_front()
    }

    /// Descriptors and bytes that no frame has asked for.
    pub(crate) fn has_strays(&self) -> bool {
        !self.descriptors.is_empty() || self.reader.buffered() > 0
    }

    /// The process that listens, as the kernel knows it.
    pub(crate) fn peer(&self) -> Option<u32> {
        let found = peer::credentials(&self.stream).ok()?;
        Some(found.pid).filter(|pid| *pid != 0)
    }

    /// The connection itself, without time-outs.
    pub(crate) fn into_stream(self) -> io::Result<UnixStream> {
        self.stream.set_read_timeout(None)?;
        self.stream.set_write_timeout(None)?;
        Ok(self.stream)
    }

    /// The other side said something that has no place here.
    pub(crate) fn misled(&self, found: &str) -> ConnectError {
        ConnectError::Broken {
            path: self.path.clone(),
            reason: format!("it said {found}"),
        }
    }

    fn silent(&self, within: Duration) -> ConnectError {
        ConnectError::NoAnswer {
            path: self.path.clone(),
            within,
            pid: self.peer(),
        }
    }

    fn gone(&self) -> ConnectError {
        ConnectError::Gone {
            path: self.path.clone(),
        }
    }

    fn foreign(&self, error: &handover_proto::takeover::StreamError) -> ConnectError {
        ConnectError::Foreign {
            path: self.path.clone(),
            reason: error.to_string(),
        }
    }

    fn broken(&self, error: &PassError) -> ConnectError {
        ConnectError::Broken {
            path: self.path.clone(),
            reason: error.to_string(),
        }
    }
}
