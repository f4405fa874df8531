//! A request passed on to the instance that owns the data now.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::linux::net::SocketAddrExt;

use ::axum::body::Body;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode, Uri, Version};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::address::Address;

/// Headers of one connection, not of a message (RFC 9110, section 7.6.1).
const OF_CONNECTION: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The same, without a constant of their own.
const OF_CONNECTION_TOO: [&str; 2] = ["keep-alive", "proxy-connection"];

/// Why it was not answered by the new owner.
enum Failure {
    /// It never got there.
    Unreachable(String),
    /// It may have got there.
    BrokenOff(hyper::Error),
}

/// The new owner's answer, or one that says why there is none.
pub(super) async fn forward(target: Option<Address>, parts: Parts, bytes: Bytes) -> Response<Body> {
    let version = parts.version;
    let answer = match target {
        Some(target) => send(&target, parts, bytes).await,
        None => Err(Failure::Unreachable("this instance has no listener".into())),
    };
    let mut response = answer.unwrap_or_else(|failure| failure.into_response());
    // The client's next request should find the new owner by itself. Later versions of HTTP forbid
    // the header (RFC 9113, section 8.2.2).
    if version <= Version::HTTP_11 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

async fn send(target: &Address, parts: Parts, bytes: Bytes) -> Result<Response<Body>, Failure> {
    let unreachable = |error: io::Error| Failure::Unreachable(format!("{target}: {error}"));
    match target {
        Address::Inet(address) => {
            let address = reachable(*address);
            let stream = TcpStream::connect(address).await.map_err(unreachable)?;
            exchange(stream, parts, bytes).await
        }
        Address::Unix(Some(name)) => {
            let stream = connect_unix(name).map_err(unreachable)?;
            exchange(stream, parts, bytes).await
        }
        Address::Unix(None) => Err(Failure::Unreachable("an unnamed Unix socket".into())),
    }
}

/// Connecting to a Unix listener needs no waiting: its queue has room or it has not.
fn connect_unix(name: &str) -> io::Result<UnixStream> {
    use std::os::unix::net::{SocketAddr, UnixStream as StdStream};
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let stream = StdStream::connect_addr(&address)?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// An address to connect to instead of "any".
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    parts: Parts,
    bytes: Bytes,
) -> Result<Response<Body>, Failure> {
    let shaken = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(Failure::BrokenOff)?;
    // Carries the answer's body, and ends with it.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a forwarded request's connection");
        }
    });
    let request = rewritten(parts, bytes);
    let response = sender.send_request(request).await;
    let (mut head, body) = response.map_err(Failure::BrokenOff)?.into_parts();
    strip(&mut head.headers);
    head.version = Version::HTTP_11;
    Ok(Response::from_parts(head, Body::new(body)))
}

/// The same request on a connection of its own.
fn rewritten(parts: Parts, bytes: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(bytes));
    *request.method_mut() = parts.method;
    let mut headers = parts.headers;
    strip(&mut headers);
    // It is sent with the length that it has.
    headers.remove(header::CONTENT_LENGTH);
    if !headers.contains_key(header::HOST)
        && let Some(authority) = parts.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        headers.insert(header::HOST, host);
    }
    let path = parts.uri.path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    *request.headers_mut() = headers;
    let close = HeaderValue::from_static("close");
    request.headers_mut().insert(header::CONNECTION, close);
    request
}

/// Removes what concerns one connection, and what that names.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&OF_CONNECTION) {
        headers.remove(name);
    }
    for name in OF_CONNECTION_TOO {
        headers.remove(name);
    }
}

impl Failure {
    fn into_response(self) -> Response<Body> {
        let (status, text) = match self {
            Self::Unreachable(reason) => {
                let text = format!("the new owner cannot be reached: {reason}; try again\n");
                (StatusCode::SERVICE_UNAVAILABLE, text)
            }
            Self::BrokenOff(error) => {
                let text = format!("the new owner broke off: {error}\n");
                (StatusCode::BAD_GATEWAY, text)
            }
        };
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = status;
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let soon = HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, soon);
        }
        response
    }
}
