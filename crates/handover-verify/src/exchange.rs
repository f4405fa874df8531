//! One request and its answer over one connection.

use crate::loss::{Loss, LossKind};
use crate::plan::{Expect, Plan};
use crate::stream::{Hold, Watched, Wire};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, Uri, Version};
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// How much of a body is kept to look for [`Expect::body`] in; the rest is
/// read and dropped, so that a huge answer cannot fill the memory.
const MAX_KEPT_BODY: usize = 1024 * 1024;

/// The most bytes of an answer's head; hyper's buffer grows to it. Larger
/// heads are counted as wrong.
const MAX_HEAD: usize = 64 * 1024;

type Driver = http1::Connection<TokioIo<Watched>, Full<Bytes>>;

/// A request to ask over and over, and what a right answer is.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    request: Request<Full<Bytes>>,
    expect: Expect,
    version_header: Option<HeaderName>,
}

/// A right answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) version: Option<HeaderValue>,
    /// The server will close the connection, and said so.
    pub(crate) close: bool,
}

/// Why there is no answer.
pub(crate) enum Failure {
    /// Nothing was sent: the server had closed the idle connection before.
    Unsent,
    Lost(Loss),
}

impl Question {
    /// `GET` of `path`; with `close`, the connection is for this request only.
    pub(crate) fn get(plan: &Plan, path: &str, close: bool) -> Self {
        let mut request = Request::new(Full::new(Bytes::new()));
        // A path that does not parse was refused by `Plan::validate`.
        *request.uri_mut() = path.parse().unwrap_or(Uri::from_static("/"));
        request.headers_mut().insert(HOST, plan.url.host_header());
        if close {
            request
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let version_header = plan
            .version_header
            .as_deref()
            .and_then(|name| name.parse().ok());
        Self {
            request,
            expect: plan.expect.clone(),
            version_header,
        }
    }

    pub(crate) fn post(mut self, body: Bytes) -> Self {
        *self.request.method_mut() = Method::POST;
        *self.request.body_mut() = Full::new(body);
        self
    }

    /// The body text is expected of the main path only.
    pub(crate) fn any_body(mut self) -> Self {
        self.expect.body = None;
        self
    }

    async fn judge(&self, response: Response<Incoming>, wire: &Wire) -> Result<Answer, Failure> {
        let status = response.status();
        let close = will_close(response.version(), response.headers());
        let version = self
            .version_header
            .as_ref()
            .and_then(|n| response.headers().get(n))
            .cloned();
        let body = self
            .read(response.into_body(), wire)
            .await
            .map_err(Failure::Lost)?;
        let wrong = |text| Err(Failure::Lost(Loss::new(LossKind::Wrong, text)));
        if !self.expect.status_is_right(status) {
            return wrong(format!("status {status}"));
        }
        if let Some(text) = &self.expect.body
            && !contains(&body, text.as_bytes())
        {
            return wrong(format!(
                "the body of {} bytes does not contain `{text}`",
                body.len()
            ));
        }
        Ok(Answer { version, close })
    }

    /// Reads to the end; keeps only what is looked at.
    async fn read(&self, mut body: Incoming, wire: &Wire) -> Result<Vec<u8>, Loss> {
        let mut kept = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| on_the_wire(wire, &error))?;
            if let Some(data) = frame.data_ref()
                && self.expect.body.is_some()
            {
                let room = MAX_KEPT_BODY - kept.len();
                kept.extend_from_slice(&data[..data.len().min(room)]);
            }
        }
        Ok(kept)
    }
}

/// A connection to the server with hyper's sender for it.
pub(crate) struct Link {
    sender: http1::SendRequest<Full<Bytes>>,
    wire: Arc<Wire>,
    used: bool,
}

/// Connects. The returned driver must be polled for the link to work.
pub(crate) async fn connect(addr: SocketAddr, hold: Option<Hold>) -> Result<(Link, Driver), Loss> {
    let tcp = TcpStream::connect(addr)
        .await
        .map_err(|error| Loss::connecting(&error))?;
    if is_connected_to_itself(&tcp, addr) {
        // Without a reset its port, the server's, would stay taken for a minute.
        let _ = socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO));
        return Err(Loss::new(
            LossKind::Refused,
            "nobody listened (connected to itself)",
        ));
    }
    // Without it a request written in two parts waits for an acknowledgement.
    tcp.set_nodelay(true)
        .map_err(|error| Loss::connecting(&error))?;
    link(tcp, hold).await
}

/// Speaks HTTP over a connection.
pub(crate) async fn link(tcp: TcpStream, hold: Option<Hold>) -> Result<(Link, Driver), Loss> {
    let (stream, wire) = Watched::new(tcp, hold);
    let (sender, driver) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| Loss::new(LossKind::Other, format!("handshake: {error}")))?;
    Ok((
        Link {
            sender,
            wire,
            used: false,
        },
        driver,
    ))
}

/// When nobody listens on a local port that the kernel also gives to clients, a
/// connection to it may be given that very port, and TCP connects it to
/// itself. A tester that keeps it would take it away from the next server.
fn is_connected_to_itself(tcp: &TcpStream, addr: SocketAddr) -> bool {
    tcp.local_addr().is_ok_and(|local| local == addr)
}

impl Link {
    /// Whether the connection ended while nothing was asked.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Bytes of the answer to the last question so far.
    pub(crate) fn answer_bytes(&self) -> u64 {
        self.wire.read()
    }

    /// Asks and reads the whole answer. Not cancel safe: a cancelled link
    /// must be dropped.
    pub(crate) async fn ask(&mut self, question: &Question) -> Result<Answer, Failure> {
        self.wire.begin(self.used);
        let reused = std::mem::replace(&mut self.used, true);
        let asked = async {
            self.sender.ready().await?;
            self.sender.send_request(question.request.clone()).await
        };
        match asked.await {
            Ok(response) => question.judge(response, &self.wire).await,
            Err(_) if reused && !self.wire.wrote() => Err(Failure::Unsent),
            Err(error) => Err(Failure::Lost(on_the_wire(&self.wire, &error))),
        }
    }
}

/// Drives the connection while `asking` lasts, and gives its result.
pub(crate) async fn drive<T>(driver: &mut Driver, asking: impl Future<Output = T>) -> T {
    let mut asking = pin!(asking);
    let mut driving = true;
    std::future::poll_fn(|cx| {
        if driving && Pin::new(&mut *driver).poll(cx).is_ready() {
            // Its error reaches the one who asks as well.
            driving = false;
        }
        match asking.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(value),
            // Asking may have given the driver work.
            Poll::Pending if driving && Pin::new(&mut *driver).poll(cx).is_ready() => {
                driving = false;
                asking.as_mut().poll(cx)
            }
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// One question over a connection of its own. On success the driver is
/// given back for the closing.
pub(crate) async fn ask_once(
    addr: SocketAddr,
    question: &Question,
    hold: Option<Hold>,
    deadline: Instant,
) -> Result<(Answer, Driver), Loss> {
    let connecting = tokio::time::timeout_at(deadline, connect(addr, hold)).await;
    let (mut link, mut driver) = match connecting {
        Ok(connected) => connected?,
        Err(_) => return Err(Loss::new(LossKind::TimedOut, "while connecting")),
    };
    let asked = tokio::time::timeout_at(deadline, drive(&mut driver, link.ask(question))).await;
    match asked {
        Ok(Ok(answer)) => Ok((answer, driver)),
        Ok(Err(Failure::Lost(loss))) => Err(loss),
        // Only a reused connection can be found closed before anything is sent.
        Ok(Err(Failure::Unsent)) => Err(Loss::new(LossKind::Cut, "closed before the request")),
        Err(_) => Err(timed_out(link.answer_bytes())),
    }
}

pub(crate) fn timed_out(answer_bytes: u64) -> Loss {
    let text = match answer_bytes {
        0 => "connected, but no byte of an answer".to_owned(),
        bytes => format!("after {bytes} bytes of the answer"),
    };
    Loss::new(LossKind::TimedOut, text)
}

/// What was lost, by what happened on the wire; hyper's word only where the
/// wire shows nothing.
fn on_the_wire(wire: &Wire, error: &hyper::Error) -> Loss {
    let bytes = wire.read();
    if bytes > 0 && (wire.closed() || wire.reset()) {
        let how = if wire.reset() { "reset" } else { "closed" };
        return Loss::new(
            LossKind::Truncated,
            format!("{how} after {bytes} bytes of the answer"),
        );
    }
    if wire.reset() {
        return Loss::new(LossKind::Reset, "reset before any byte of the answer");
    }
    if wire.closed() {
        return Loss::new(LossKind::Cut, "closed before any byte of the answer");
    }
    let kind = if bytes > 0 {
        LossKind::Wrong
    } else {
        LossKind::Other
    };
    Loss::new(kind, with_causes(error))
}

fn with_causes(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn will_close(version: Version, headers: &HeaderMap) -> bool {
    let says = |word: &str| {
        headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|token| token.trim().eq_ignore_ascii_case(word))
    };
    says("close") || (version < Version::HTTP_11 && !says("keep-alive"))
}

fn contains(body: &[u8], text: &[u8]) -> bool {
    text.is_empty() || body.windows(text.len()).any(|window| window == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_is_read_from_version_and_header() {
        let headers = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONNECTION, HeaderValue::from_static(value));
            headers
        };
        assert!(!will_close(Version::HTTP_11, &HeaderMap::new()));
        assert!(will_close(Version::HTTP_10, &HeaderMap::new()));
        assert!(will_close(Version::HTTP_11, &headers("Upgrade, Close")));
        assert!(!will_close(Version::HTTP_10, &headers("keep-alive")));
    }

    #[test]
    fn text_is_found_in_bytes() {
        assert!(contains(b"a body", b"bod"));
        assert!(!contains(b"a body", b"nobody here"));
        assert!(contains(b"", b""));
    }

    #[tokio::test]
    async fn a_connection_to_itself_is_told_apart() {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = socket.local_addr().unwrap();
        let tcp = socket.connect(addr).await.unwrap();
        assert!(is_connected_to_itself(&tcp, addr));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let tcp = TcpStream::connect(addr).await.unwrap();
        assert!(!is_connected_to_itself(&tcp, addr));
    }

    /// The close is in the kernel, and the runtime has not been told yet:
    /// the thread is never yielded between the close and the question.
    #[tokio::test]
    async fn nothing_is_sent_on_a_connection_that_was_closed_a_moment_ago() {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (close, closing) = std::sync::mpsc::channel::<()>();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                .unwrap();
            closing.recv().unwrap();
        });
        let plan = Plan::new(&format!("http://{addr}/")).unwrap();
        let question = Question::get(&plan, "/", false);
        let (mut link, mut driver) = connect(addr, None).await.ok().unwrap();
        assert!(drive(&mut driver, link.ask(&question)).await.is_ok());
        close.send(()).unwrap();
        server.join().unwrap();
        let second = drive(&mut driver, link.ask(&question)).await;
        assert!(matches!(second, Err(Failure::Unsent)));
    }
}
