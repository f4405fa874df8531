//! The shortest possible client: one blocking request a connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Longer than any answer here may take; a stuck run ends instead of hanging.
const PATIENCE: Duration = Duration::from_secs(30);

/// The `x-version` of an answer.
pub(crate) fn version(address: SocketAddr) -> io::Result<String> {
    version_of(begin(address, "/")?)
}

/// The `x-version` of the answer to a request that was sent.
pub(crate) fn version_of(stream: TcpStream) -> io::Result<String> {
    let answer = finish(stream)?;
    let head = answer
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("x-version"))
        .map(|(_, version)| version);
    head.map(str::to_owned)
        .ok_or_else(|| io::Error::other(format!("no version in {answer:?}")))
}

/// One `GET`, the whole answer.
pub(crate) fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    finish(begin(address, path)?)
}

/// Sends a `GET`.
pub(crate) fn begin(address: SocketAddr, path: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    Ok(stream)
}

/// Reads the whole answer.
pub(crate) fn finish(mut stream: TcpStream) -> io::Result<String> {
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A connection to a control socket with a request on its way; the answer is read later.
pub(crate) struct Order(UnixStream);

impl Order {
    pub(crate) fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(stream))
    }

    pub(crate) fn send(&mut self, method: &str, path: &str) -> io::Result<()> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: bench\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        self.0.write_all(request.as_bytes())
    }

    /// The body of the answer.
    pub(crate) fn answer(mut self) -> io::Result<serde_json::Value> {
        let mut answer = String::new();
        self.0.read_to_string(&mut answer)?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).map_err(|error| io::Error::other(format!("{error}: {answer}")))
    }
}

/// A request to a control socket.
pub(crate) fn order(socket: &Path, method: &str, path: &str) -> io::Result<serde_json::Value> {
    let mut order = Order::connect(socket)?;
    order.send(method, path)?;
    order.answer()
}
