//! One HTTP request at a time.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::patience::{LONG, until};

/// Status and body of an answer that was read to its end; chunks are joined.
#[must_use]
pub fn split(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked {
        join(body)?
    } else {
        body.to_owned()
    };
    Some((status, body))
}

fn join(mut chunks: &str) -> Option<String> {
    let mut whole = String::new();
    loop {
        let (length, rest) = chunks.split_once("\r\n")?;
        let length = usize::from_str_radix(length.trim(), 16).ok()?;
        if length == 0 {
            return Some(whole);
        }
        whole.push_str(rest.get(..length)?);
        chunks = rest.get(length + 2..)?;
    }
}

/// `GET path` on a connection of its own: status and body.
///
/// # Errors
/// Nobody listens, or they left in the middle.
pub fn get(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let mut stream = connect(address)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    finish(stream)
}

/// A connection that gives up only when nothing will ever come.
///
/// # Errors
/// Nobody listens.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LONG))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads the answer to the end of the connection.
///
/// # Errors
/// The connection broke, or what came is no answer.
pub fn finish(mut stream: TcpStream) -> io::Result<(u16, String)> {
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    split(&answer).ok_or_else(|| io::Error::other(format!("no answer: {answer:?}")))
}

/// What the fixture at `address` says its version is.
///
/// # Panics
/// When it does not answer with 200.
#[must_use]
pub fn version(address: SocketAddr) -> String {
    let (status, body) = get(address, "/version").expect("an answer");
    assert_eq!(status, 200, "{body}");
    body
}

/// Waits until this version answers at `address`. After a commit old and new share the listener
/// until the old one has been scheduled and heard that it is over.
///
/// # Panics
/// When another version goes on answering.
pub fn until_version(address: SocketAddr, expected: &str) {
    until(&format!("version {expected} answers"), || {
        version(address) == expected
    });
}

/// The process that answers at `address`.
///
/// # Panics
/// When it does not answer with its number.
#[must_use]
pub fn pid(address: SocketAddr) -> u32 {
    let (_, body) = get(address, "/pid").expect("an answer");
    body.parse().expect("a process id")
}

/// A client that keeps its connection while the server does, and never tries twice.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    keep: bool,
    stream: Option<BufReader<TcpStream>>,
}

impl Connection {
    /// A client of the server at `address`; with `keep` false it connects for each request.
    #[must_use]
    pub fn new(address: SocketAddr, keep: bool) -> Self {
        Self {
            address,
            keep,
            stream: None,
        }
    }

    /// Status and body of the answer to one request.
    ///
    /// # Errors
    /// Nobody listens, or they left in the middle; the next request connects again.
    pub fn request(&mut self, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => BufReader::new(connect(self.address)?),
        };
        let connection = if self.keep { "keep-alive" } else { "close" };
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: {connection}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        stream.get_mut().write_all(request.as_bytes())?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head)? == 0 {
                return Err(io::Error::other(format!("cut after {head:?}")));
            }
        }
        let fields = head.to_lowercase();
        let length = fields.split("content-length: ").nth(1);
        let length = length.and_then(|rest| rest.split("\r\n").next()?.parse().ok());
        let closes = !self.keep || fields.contains("connection: close");
        let Some(length) = length else {
            // Chunked, or to the end of the connection.
            let mut rest = head;
            stream.read_to_string(&mut rest)?;
            return split(&rest).ok_or_else(|| io::Error::other(format!("no answer: {rest:?}")));
        };
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        if !closes {
            self.stream = Some(stream);
        }
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no answer: {head:?}")))?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}
