//! The notify protocol of systemd (sd_notify(3)), both ends.

mod sender;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::sockopt::set_socket_passcred;

use crate::ancillary::{self, control_space};
use crate::control::BindError;
use crate::passing::MAX_DESCRIPTORS;
use crate::peer::Credentials;
use crate::placement;

pub use sender::{barrier, monotonic_usec, notify, notify_with, try_notify};

/// The longest message that is read: `NOTIFY_BUFFER_MAX` of systemd, one page.
pub const MAX_MESSAGE: usize = 4096;

/// One assignment of a notify message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notification {
    /// `READY=1`: start-up or reload is finished.
    Ready,
    /// `RELOADING=1`, with `MONOTONIC_USEC=` of the same message.
    Reloading {
        /// `CLOCK_MONOTONIC` in microseconds, where the sender gave it.
        monotonic_usec: Option<u64>,
    },
    /// `STOPPING=1`: shutdown has begun.
    Stopping,
    /// `STATUS=`: one line for people.
    Status(String),
    /// `MAINPID=`: the service is that process from now on. A claim: check who sent it.
    MainPid(u32),
    /// `WATCHDOG=1`: still alive.
    Watchdog,
    /// `EXTEND_TIMEOUT_USEC=`: start-up (or stop) takes at least this much longer, from now.
    ExtendTimeout(Duration),
    /// Any other assignment, such as `FDSTORE=1`, `BARRIER=1`, `ERRNO=2`.
    Other(String, String),
    /// A line or a whole message that cannot be read, with the reason.
    Malformed(String),
}

/// Reads a message: assignments separated by newlines. Never fails; what cannot be read becomes
/// [`Notification::Malformed`], so that one bad line does not hide the others.
pub fn parse(message: &[u8]) -> Vec<Notification> {
    if message.len() > MAX_MESSAGE {
        let reason = format!(
            "a message of {} bytes, at most {MAX_MESSAGE} are read",
            message.len()
        );
        return vec![Notification::Malformed(reason)];
    }
    let mut found = Vec::new();
    let mut monotonic = None;
    for line in message
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        match std::str::from_utf8(line)
            .ok()
            .and_then(|line| line.split_once('='))
        {
            Some(("MONOTONIC_USEC", value)) if value.parse::<u64>().is_ok() => {
                monotonic = value.parse().ok();
            }
            Some((key, value)) => found.push(assignment(key, value)),
            None => {
                let line = String::from_utf8_lossy(line);
                found.push(Notification::Malformed(format!(
                    "not an assignment: {line:?}"
                )));
            }
        }
    }
    for notification in &mut found {
        if let Notification::Reloading { monotonic_usec } = notification {
            *monotonic_usec = monotonic;
        }
    }
    found
}

fn assignment(key: &str, value: &str) -> Notification {
    let malformed = || Notification::Malformed(format!("{key} must be a number, found {value:?}"));
    match (key, value) {
        ("READY", "1") => Notification::Ready,
        ("RELOADING", "1") => Notification::Reloading {
            monotonic_usec: None,
        },
        ("STOPPING", "1") => Notification::Stopping,
        ("WATCHDOG", "1") => Notification::Watchdog,
        ("STATUS", text) => Notification::Status(text.to_owned()),
        ("MAINPID", text) => match text.parse::<u32>() {
            // A pid is a positive 32-bit signed number in the kernel.
            Ok(pid) if pid != 0 && i32::try_from(pid).is_ok() => Notification::MainPid(pid),
            _ => malformed(),
        },
        ("EXTEND_TIMEOUT_USEC", text) => match text.parse::<u64>() {
            Ok(usec) => Notification::ExtendTimeout(Duration::from_micros(usec)),
            Err(_) => malformed(),
        },
        ("MONOTONIC_USEC", _) => malformed(),
        (key, value) => Notification::Other(key.to_owned(), value.to_owned()),
    }
}

/// A message: who sent it, as the kernel vouches, what it says, and the descriptors in it.
pub type Heard = (Credentials, Vec<Notification>, Vec<OwnedFd>);

/// The receiving end: the socket whose path a supervisor puts into `NOTIFY_SOCKET`.
///
/// Non-blocking and close-on-exec; it becomes readable when a message waits. Dropping it removes
/// the socket file, unless something else is there by then.
#[derive(Debug)]
pub struct NotifySocket {
    socket: UnixDatagram,
    path: PathBuf,
    identity: (u64, u64),
}

impl NotifySocket {
    /// Binds the socket with mode 0600: only processes of the same user (and root) can send.
    /// A stale socket is replaced, as with [`bind_private`](crate::control::bind_private).
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind(path: impl AsRef<Path>) -> Result<Self, BindError> {
        let path = path.as_ref();
        let socket = placement::place(path, |place| {
            let socket = UnixDatagram::bind(place)?;
            socket.set_nonblocking(true)?;
            // The sender cannot choose what the kernel says about it.
            set_socket_passcred(&socket, true)?;
            Ok(socket)
        })?;
        let identity = std::fs::symlink_metadata(path)
            .map(|metadata| (metadata.dev(), metadata.ino()))
            .map_err(|source| BindError::Io {
                path: path.to_owned(),
                doing: "looking at",
                source,
            })?;
        Ok(Self {
            socket,
            path: path.to_owned(),
            identity,
        })
    }

    /// The path to put into `NOTIFY_SOCKET`; as given to [`NotifySocket::bind`], so make it
    /// absolute there.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Receives one message: who sent it, as the kernel vouches, and what it says. `None` when
    /// none waits. Never blocks.
    ///
    /// Descriptors that came with it are closed: there is no descriptor store here, and closing
    /// its pipe is what the sender of `BARRIER=1` waits for.
    ///
    /// # Errors
    /// The kernel's, when the socket is broken. A bad message is no error: see
    /// [`Notification::Malformed`].
    pub fn receive(&self) -> io::Result<Option<(Credentials, Vec<Notification>)>> {
        let received = self.receive_all()?;
        Ok(received.map(|(sender, notifications, _)| (sender, notifications)))
    }

    /// [`NotifySocket::receive`] with the descriptors that came: what `FDSTORE=1` is to keep, the
    /// pipe of a `BARRIER=1`. Whoever drops them has closed them.
    ///
    /// # Errors
    /// As [`NotifySocket::receive`].
    pub fn receive_all(&self) -> io::Result<Option<Heard>> {
        let mut buffer = [0; MAX_MESSAGE];
        let mut control = control_space(MAX_DESCRIPTORS);
        let message = match ancillary::receive(self.socket.as_fd(), &mut buffer, &mut control, 0) {
            Ok(message) => message,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        // With SO_PASSCRED the kernel adds them to every message; without, nobody vouches.
        let nobody = Credentials {
            pid: 0,
            uid: u32::MAX,
            gid: u32::MAX,
        };
        let sender = message.credentials.unwrap_or(nobody);
        let notifications = if message.data_truncated {
            let reason = format!("a message of more than {MAX_MESSAGE} bytes");
            vec![Notification::Malformed(reason)]
        } else {
            parse(buffer.get(..message.bytes).unwrap_or_default())
        };
        Ok(Some((sender, notifications, message.descriptors)))
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.identity);
        if ours {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for NotifySocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_assignments_of_sd_notify_are_known() {
        let message = b"READY=1\nSTATUS=a = b\nMAINPID=42\nWATCHDOG=1\nSTOPPING=1\n\
                        EXTEND_TIMEOUT_USEC=1500000\nFDSTORE=1\n";
        assert_eq!(
            parse(message),
            [
                Notification::Ready,
                Notification::Status("a = b".into()),
                Notification::MainPid(42),
                Notification::Watchdog,
                Notification::Stopping,
                Notification::ExtendTimeout(Duration::from_millis(1500)),
                Notification::Other("FDSTORE".into(), "1".into()),
            ]
        );
    }

    #[test]
    fn the_clock_belongs_to_the_reload_in_either_order() {
        let expected = [Notification::Reloading {
            monotonic_usec: Some(5),
        }];
        assert_eq!(parse(b"RELOADING=1\nMONOTONIC_USEC=5"), expected);
        assert_eq!(parse(b"MONOTONIC_USEC=5\nRELOADING=1"), expected);
        assert_eq!(
            parse(b"RELOADING=1"),
            [Notification::Reloading {
                monotonic_usec: None
            }]
        );
    }

    #[test]
    fn bad_lines_do_not_hide_good_ones() {
        let found = parse(
            b"nonsense\n\xff=1\nMAINPID=-3\nMAINPID=0\nMAINPID=4294967295\n\
                            EXTEND_TIMEOUT_USEC=soon\nMONOTONIC_USEC=x\n=\nREADY=1",
        );
        let malformed = found
            .iter()
            .filter(|n| matches!(n, Notification::Malformed(_)))
            .count();
        assert_eq!(malformed, 7, "{found:?}");
        assert!(found.contains(&Notification::Other(String::new(), String::new())));
        assert_eq!(found.last(), Some(&Notification::Ready));
    }

    #[test]
    fn a_message_beyond_the_limit_is_refused_whole() {
        assert!(matches!(
            parse(&[b'\n'; MAX_MESSAGE + 1])[..],
            [Notification::Malformed(_)]
        ));
        assert_eq!(parse(&[b'\n'; MAX_MESSAGE]), []);
        assert_eq!(parse(b""), []);
    }

    /// Every byte string of up to three of the bytes that mean something.
    #[test]
    fn no_short_message_panics() {
        let alphabet = [0u8, b'\n', b'=', b'1', b'R', 0xff, 0xc3];
        for a in alphabet {
            for b in alphabet {
                for c in alphabet {
                    parse(&[a]);
                    parse(&[a, b]);
                    parse(&[a, b, c]);
                }
            }
        }
    }
}
