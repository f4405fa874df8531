//! Text from people and from servers.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use handover::supervisor::{ListenerSpec, ReadinessSpec};
use handover_proto::status::UpgradeRequest;
use handover_verify::Target;

/// What a user writes as a listener, a readiness or a URL: what is accepted prints as something
/// that means the same.
pub fn specs(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    prints_as_it_reads::<ListenerSpec>(text);
    prints_as_it_reads::<ReadinessSpec>(text);
    let _ = text.parse::<Target>();
}

fn prints_as_it_reads<T: FromStr<Err: Debug> + Display + Debug + PartialEq>(text: &str) {
    if let Ok(read) = text.parse::<T>() {
        let printed = read.to_string();
        let again = printed.parse::<T>();
        assert_eq!(again.expect("reads what it printed"), read, "{printed:?}");
    }
}

/// The body of a request to the control socket.
pub fn control(data: &[u8]) {
    let Ok(request) = serde_json::from_slice::<UpgradeRequest>(data) else {
        return;
    };
    let text = serde_json::to_vec(&request).expect("a request has a JSON form");
    let again: UpgradeRequest = serde_json::from_slice(&text).expect("reads what was written");
    assert_eq!(again, request);
    for listener in request.listeners.iter().flatten() {
        prints_as_it_reads::<ListenerSpec>(listener);
    }
}

/// What a server under test answers over HTTP.
pub fn answer(data: &[u8]) {
    handover_verify::fuzzing::answer(data);
}

pub(crate) mod seeds {
    fn bytes<const N: usize>(texts: [&str; N]) -> Vec<Vec<u8>> {
        texts.map(|text| text.as_bytes().to_vec()).to_vec()
    }

    pub(crate) fn specs() -> Vec<Vec<u8>> {
        bytes([
            "http=127.0.0.1:8080",
            "web=[::]:80",
            "dns=udp:0.0.0.0:53",
            "local=unix:/run/x.sock",
            "auto",
            "accepts",
            "http:/healthz",
            "http://127.0.0.1:9000/ok?x=1",
            "tcp:127.0.0.1:9000",
            "command:curl -f localhost",
        ])
    }

    pub(crate) fn control() -> Vec<Vec<u8>> {
        bytes([
            "{}",
            r#"{"binary":"/bin/web","args":["-v"],"listeners":["http=:::80"],"when_busy":"queue"}"#,
        ])
    }

    pub(crate) fn answer() -> Vec<Vec<u8>> {
        bytes([
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-version: 3\r\n\r\nok",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "HTTP/1.0 503 Busy\r\nconnection: close\r\n\r\nlater",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        ])
    }
}
