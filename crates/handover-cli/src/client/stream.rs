//! The stream of events: one JSON value a line, for as long as the supervisor lives.

use super::ClientError;
use handover_proto::event::Event;
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};

/// The longest line: an event with the last words of an instance. A longer one is dropped, and the
/// stream goes on after it.
const MAX_LINE: usize = 1024 * 1024;

/// A line of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EventLine {
    /// As the supervisor wrote it.
    pub(crate) json: String,
    /// What it says; absent if a later version of the supervisor says something unknown here.
    pub(crate) event: Option<Event>,
}

/// Cancel safe: a line that is not returned is kept.
#[derive(Debug)]
pub(crate) struct EventStream {
    raw: RawStream,
    lines: Lines,
}

impl EventStream {
    pub(super) fn new(asked: String, body: Incoming) -> Self {
        Self {
            raw: RawStream::new(asked, body),
            lines: Lines::default(),
        }
    }

    /// The next line; `None` when the supervisor closed the stream.
    ///
    /// # Errors
    /// [`ClientError::HungUp`] when the stream broke in the middle.
    pub(crate) async fn next(&mut self) -> Result<Option<EventLine>, ClientError> {
        loop {
            if let Some(json) = self.lines.pop() {
                let event = serde_json::from_str(&json).ok();
                return Ok(Some(EventLine { json, event }));
            }
            match self.raw.next().await? {
                None => return Ok(None),
                Some(data) => self.lines.push(&data),
            }
        }
    }
}

/// The bytes of an answer as they come. Cancel safe.
#[derive(Debug)]
pub(crate) struct RawStream {
    asked: String,
    body: Incoming,
}

impl RawStream {
    pub(super) fn new(asked: String, body: Incoming) -> Self {
        Self { asked, body }
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// [`ClientError::HungUp`] when the stream broke in the middle.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => {
                    return Err(ClientError::HungUp {
                        asked: self.asked.clone(),
                        reason: error.to_string(),
                    });
                }
            }
        }
    }
}

/// Bytes in, lines out.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    bytes: Vec<u8>,
    /// The rest of a line too long to keep is being dropped.
    dropping: bool,
}

impl Lines {
    pub(crate) fn push(&mut self, data: &[u8]) {
        self.bytes.extend_from_slice(data);
    }

    pub(crate) fn pop(&mut self) -> Option<String> {
        loop {
            let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') else {
                if self.bytes.len() > MAX_LINE {
                    self.bytes.clear();
                    self.dropping = true;
                }
                return None;
            };
            let line: Vec<u8> = self.bytes.drain(..=end).collect();
            let dropped = std::mem::take(&mut self.dropping) || line.len() > MAX_LINE;
            let text = String::from_utf8_lossy(&line).trim().to_owned();
            if !dropped && !text.is_empty() {
                return Some(text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(lines: &mut Lines) -> Vec<String> {
        std::iter::from_fn(|| lines.pop()).collect()
    }

    #[test]
    fn lines_are_put_together_from_pieces() {
        let mut lines = Lines::default();
        lines.push(b"{\"a\"");
        assert!(all(&mut lines).is_empty());
        lines.push(b":1}\n\n{\"b\":2}\r\n{");
        assert_eq!(all(&mut lines), ["{\"a\":1}", "{\"b\":2}"]);
    }

    #[test]
    fn a_line_too_long_to_keep_is_dropped_and_the_next_is_read() {
        let mut lines = Lines::default();
        lines.push(&vec![b'x'; MAX_LINE + 1]);
        assert!(all(&mut lines).is_empty());
        assert!(lines.bytes.is_empty());
        lines.push(b"rest of it\n{}\n");
        assert_eq!(all(&mut lines), ["{}"]);
    }
}
