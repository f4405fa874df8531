//! A node's admin socket as a client sees it.

use super::HubError;
use crate::client::{Client, Lines, RawStream};
use handover_hub::admin::view::{
    AbortRequest, Complaint, EvacuateRequest, EventView, MoveList, MoveRequest, NodeView, Outcome,
    PinRequest, ProcessView, Status,
};
use hyper::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::PathBuf;

/// A node's admin socket. Each request makes a connection of its own.
#[derive(Clone, Debug)]
pub(crate) struct HubClient {
    client: Client,
}

/// Which processes are listed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) prefix: Option<String>,
    pub(crate) node: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) limit: Option<u32>,
}

impl HubClient {
    pub(crate) fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            client: Client::new(socket),
        }
    }

    pub(crate) async fn status(&self) -> Result<Status, HubError> {
        self.get("/v1/status").await
    }

    /// By name.
    pub(crate) async fn nodes(&self) -> Result<Vec<NodeView>, HubError> {
        self.get("/v1/nodes").await
    }

    /// Of the whole hub, the longest first.
    pub(crate) async fn moves(&self) -> Result<MoveList, HubError> {
        self.get("/v1/moves").await
    }

    pub(crate) async fn process(&self, id: &str) -> Result<ProcessView, HubError> {
        let mut path = "/v1/process".to_owned();
        add(&mut path, "id", Some(id));
        self.get(&path).await
    }

    /// One a line, by shard.
    pub(crate) async fn processes(&self, wanted: &Wanted) -> Result<Stream<ProcessView>, HubError> {
        let mut path = "/v1/processes".to_owned();
        add(&mut path, "prefix", wanted.prefix.as_deref());
        add(&mut path, "node", wanted.node.as_deref());
        add(&mut path, "kind", wanted.kind.as_deref());
        add(&mut path, "tag", wanted.tag.as_deref());
        let limit = wanted.limit.map(|limit| limit.to_string());
        add(&mut path, "limit", limit.as_deref());
        self.stream(&path).await
    }

    /// What happened after event `since`, then what happens.
    pub(crate) async fn events(
        &self,
        since: u64,
        all: bool,
    ) -> Result<Stream<EventView>, HubError> {
        self.stream(&format!("/v1/events?since={since}&all={all}"))
            .await
    }

    /// Returns when it is over; if dropped, the move goes on.
    pub(crate) async fn move_child(&self, request: &MoveRequest) -> Result<Outcome, HubError> {
        self.post("/v1/move", request).await
    }

    pub(crate) async fn pin(&self, request: &PinRequest) -> Result<Outcome, HubError> {
        self.post("/v1/pin", request).await
    }

    /// Returns when it is over; if dropped, the evacuation goes on.
    pub(crate) async fn evacuate(&self, request: &EvacuateRequest) -> Result<Outcome, HubError> {
        self.post("/v1/evacuate", request).await
    }

    pub(crate) async fn abort(&self, request: &AbortRequest) -> Result<Outcome, HubError> {
        self.post("/v1/abort", request).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, HubError> {
        self.ask(Method::GET, path, None).await
    }

    async fn post<T: Serialize>(&self, path: &str, request: &T) -> Result<Outcome, HubError> {
        // Fails only for maps with keys that are no strings; requests have none.
        let body = serde_json::to_value(request).unwrap_or_default();
        self.ask(Method::POST, path, Some(&body)).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<T, HubError> {
        let asked = format!("{method} {path}");
        let (status, body) = self.client.exchange(method, path, body).await?;
        if !status.is_success() {
            return Err(match serde_json::from_slice::<Complaint>(&body) {
                Ok(complaint) => HubError::Complaint(complaint),
                Err(error) => not_understood(asked, &error, &body),
            });
        }
        serde_json::from_slice(&body).map_err(|error| not_understood(asked, &error, &body))
    }

    async fn stream<T>(&self, path: &str) -> Result<Stream<T>, HubError> {
        let asked = format!("GET {path}");
        match self.client.open(path).await? {
            Ok(raw) => Ok(Stream {
                raw,
                lines: Lines::default(),
                kind: std::marker::PhantomData,
            }),
            Err(body) => Err(match serde_json::from_slice::<Complaint>(&body) {
                Ok(complaint) => HubError::Complaint(complaint),
                Err(error) => not_understood(asked, &error, &body),
            }),
        }
    }
}

/// A value, and how it was written.
#[derive(Clone, Debug)]
pub(crate) struct Line<T> {
    pub(crate) json: String,
    /// Absent if a later version of the node says something unknown here.
    pub(crate) value: Option<T>,
}

/// Values, one a line. Cancel safe: a line that is not returned is kept.
#[derive(Debug)]
pub(crate) struct Stream<T> {
    raw: RawStream,
    lines: Lines,
    kind: std::marker::PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Stream<T> {
    /// The next value; none when the node ended the stream.
    ///
    /// # Errors
    /// [`HubError::HungUp`] when it broke in the middle.
    pub(crate) async fn next(&mut self) -> Result<Option<Line<T>>, HubError> {
        loop {
            if let Some(json) = self.lines.pop() {
                let value = serde_json::from_str(&json).ok();
                return Ok(Some(Line { json, value }));
            }
            match self.raw.next().await? {
                Some(data) => self.lines.push(&data),
                None => return Ok(None),
            }
        }
    }
}

fn not_understood(asked: String, error: &serde_json::Error, body: &[u8]) -> HubError {
    let quoted = body.get(..QUOTED).unwrap_or(body);
    HubError::NotUnderstood {
        asked,
        reason: error.to_string(),
        quoted: String::from_utf8_lossy(quoted).replace(['\n', '\r'], " "),
    }
}

/// How many bytes of an answer that is not understood are quoted: a line.
const QUOTED: usize = 200;

/// Adds a parameter if it has a value.
fn add(path: &mut String, name: &str, value: Option<&str>) {
    let Some(value) = value else {
        return;
    };
    path.push(if path.contains('?') { '&' } else { '?' });
    path.push_str(name);
    path.push('=');
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                path.push(char::from(byte));
            }
            other => path.push_str(&format!("%{other:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_parameters_are_escaped() {
        let mut path = "/v1/process".to_owned();
        add(&mut path, "id", Some("a b/ü&x=1"));
        add(&mut path, "tag", None);
        add(&mut path, "kind", Some("k"));
        assert_eq!(path, "/v1/process?id=a%20b%2F%C3%BC%26x%3D1&kind=k");
    }
}
