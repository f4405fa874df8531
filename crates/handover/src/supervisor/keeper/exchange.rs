//! What supervisor and keeper say to each other: one request a connection.
//!
//! ```text
//! request  'H' 'K' version operation   then, of Keep, the descriptors
//! answer   'k'                         then, to Get, the descriptors
//!
//! descriptors, in parts of at most 253: a byte with their number, which carries them, and a byte
//! that says whether there are more parts
//! ```

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use handover_sys::passing::{MAX_DESCRIPTORS, PassError, receive, send_all};

/// Of this exchange. A keeper of another version does not answer, and is then done without.
const VERSION: u8 = 1;

/// How long the other side may take for each step. Both answer at once; the supervisor must not
/// wait longer for a keeper that was stopped.
pub(super) const STEP: Duration = Duration::from_secs(1);

/// Parts of descriptors that are taken at most: more than any program can have listeners.
const MAX_PARTS: usize = 16;

/// What a supervisor wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Hold exactly these.
    Keep,
    /// Give copies of what you hold.
    Get,
    /// I am the supervisor for as long as this connection is open.
    Own,
    /// The service was stopped.
    End,
}

impl Request {
    const ALL: [(u8, Self); 4] = [
        (b'K', Self::Keep),
        (b'G', Self::Get),
        (b'O', Self::Own),
        (b'E', Self::End),
    ];

    fn header(self) -> [u8; 4] {
        let letter = Self::ALL.iter().find(|(_, request)| *request == self);
        [b'H', b'K', VERSION, letter.map_or(0, |(letter, _)| *letter)]
    }

    fn parse(header: [u8; 4]) -> io::Result<Self> {
        let [b'H', b'K', VERSION, letter] = header else {
            return Err(invalid("not a request to a keeper of this version"));
        };
        let known = Self::ALL.iter().find(|(known, _)| *known == letter);
        let known = known.map(|(_, request)| *request);
        known.ok_or_else(|| invalid("an operation that this keeper does not know"))
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn passing(error: PassError) -> io::Error {
    match error {
        PassError::Io(error) => error,
        other => invalid(&other.to_string()),
    }
}

/// The supervisor's side of one request. Gives the connection, and what came with the answer.
///
/// # Errors
/// There is no keeper (`NotFound`, `ConnectionRefused`), or it does not answer in time.
pub(super) fn ask(
    socket: &Path,
    request: Request,
    descriptors: &[BorrowedFd<'_>],
    within: Duration,
) -> io::Result<(UnixStream, Vec<OwnedFd>)> {
    let mut stream = UnixStream::connect(socket)?;
    limit(&stream, within)?;
    stream.write_all(&request.header())?;
    if request == Request::Keep {
        send_descriptors(&stream, descriptors)?;
    }
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    if answer != *b"k" {
        return Err(invalid("not a keeper's answer"));
    }
    let received = match request {
        Request::Get => receive_descriptors(&stream)?,
        Request::Keep | Request::Own | Request::End => Vec::new(),
    };
    Ok((stream, received))
}

/// The keeper's side: reads a request, with the descriptors that are to be kept.
///
/// # Errors
/// It is none, or did not arrive in time; what came with it is closed.
pub(super) fn accept(stream: &mut UnixStream) -> io::Result<(Request, Vec<OwnedFd>)> {
    stream.set_nonblocking(false)?;
    limit(stream, STEP)?;
    let mut header = [0; 4];
    stream.read_exact(&mut header)?;
    let request = Request::parse(header)?;
    let received = match request {
        Request::Keep => receive_descriptors(stream)?,
        Request::Get | Request::Own | Request::End => Vec::new(),
    };
    Ok((request, received))
}

/// The keeper's answer.
///
/// # Errors
/// Whoever asked has gone.
pub(super) fn answer(
    stream: &mut UnixStream,
    request: Request,
    kept: &[OwnedFd],
) -> io::Result<()> {
    stream.write_all(b"k")?;
    if request == Request::Get {
        let kept: Vec<BorrowedFd<'_>> = kept.iter().map(AsFd::as_fd).collect();
        send_descriptors(stream, &kept)?;
    }
    Ok(())
}

fn limit(stream: &UnixStream, within: Duration) -> io::Result<()> {
    stream.set_read_timeout(Some(within))?;
    stream.set_write_timeout(Some(within))
}

fn send_descriptors(stream: &UnixStream, all: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut parts = all.chunks(MAX_DESCRIPTORS).peekable();
    loop {
        let part = parts.next().unwrap_or_default();
        let more = parts.peek().is_some();
        // 253 at most.
        let header = [part.len() as u8, u8::from(more)];
        send_all(stream.as_fd(), &header, part).map_err(passing)?;
        if !more {
            return Ok(());
        }
    }
}

fn receive_descriptors(stream: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    let mut all = Vec::new();
    for _ in 0..MAX_PARTS {
        let mut header = [0; 2];
        let mut read = 0;
        let before = all.len();
        while read < header.len() {
            // Never more than the header, so that what comes with the next one stays there.
            let room = &mut header[read..];
            let part = receive(stream.as_fd(), room, MAX_DESCRIPTORS).map_err(passing)?;
            if part.bytes == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            read += part.bytes;
            all.extend(part.descriptors);
        }
        let [number, more] = header;
        if all.len() - before != usize::from(number) {
            return Err(invalid("another number of descriptors than was announced"));
        }
        if more == 0 {
            return Ok(all);
        }
    }
    Err(invalid("more descriptors than a service has listeners"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn requests_are_what_they_were() {
        for (_, request) in Request::ALL {
            assert_eq!(Request::parse(request.header()).expect("one"), request);
        }
        for bad in [*b"HK\x02G", *b"HK\x01X", *b"GET ", [0; 4]] {
            assert!(Request::parse(bad).is_err(), "{bad:?}");
        }
    }

    /// More than fit into one message, there and back.
    #[test]
    fn i8_many_descriptors_cross_in_parts() {
        let (one, two) = UnixStream::pair().expect("a pair");
        for count in [0, 1, MAX_DESCRIPTORS, MAX_DESCRIPTORS + 1, 600] {
            let descriptors = vec![one.as_fd(); count];
            std::thread::scope(|scope| {
                scope.spawn(|| send_descriptors(&one, &descriptors).expect("sends"));
                assert_eq!(receive_descriptors(&two).expect("receives").len(), count);
            });
        }
    }

    #[test]
    fn i8_a_number_that_is_not_true_is_refused() {
        let (one, two) = UnixStream::pair().expect("a pair");
        send_all(one.as_fd(), &[2, 0], &[one.as_fd()]).expect("sends");
        assert!(receive_descriptors(&two).is_err());
    }

    #[test]
    fn one_that_does_not_answer_is_not_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        let _listener = UnixListener::bind(&path).expect("binds");
        let moment = Duration::from_millis(1);
        let error = ask(&path, Request::Get, &[], moment).expect_err("nobody answers");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
