//! Prints what happens while a service runs, on a thread of its own, because a full pipe blocks. A
//! reader that left is no reason to stop serving, and neither is a full disk: the service is what
//! matters here.

use crate::args::Format;
use crate::output::{Ink, Output, say};
use crate::view;
use handover::supervisor::Subscription;
use handover_proto::event::Event;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Lines that may wait to be written. A reader that is slower misses some and is told how many; the
/// supervisor never waits for it.
const WAITING: usize = 4_096;

/// How long the last lines may take to be written after the service has ended.
const FLUSH: Duration = Duration::from_secs(1);

/// A line to be written, or how many were left out before the next.
enum Line {
    Event(Arc<Event>),
    Said { text: String, json: String },
    LeftOut(u64),
}

/// The thread that writes.
pub(super) struct Printing {
    lines: Lines,
    written: Receiver<()>,
}

#[derive(Clone)]
struct Lines {
    to: SyncSender<Line>,
    left_out: u64,
}

impl Lines {
    /// False when nobody writes any more.
    fn send(&mut self, line: Line) -> bool {
        if self.left_out > 0 && self.to.try_send(Line::LeftOut(self.left_out)).is_ok() {
            self.left_out = 0;
        }
        match self.to.try_send(line) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.left_out += 1;
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }
}

impl Printing {
    /// With `shown` in place of what an event's line says.
    pub(super) fn start(format: Format, shown: fn(&str) -> String) -> Self {
        let (to, lines) = sync_channel(WAITING);
        let (end, written) = sync_channel(1);
        std::thread::spawn(move || {
            write(&lines, format, shown);
            // Nobody waits any more: then nobody has to be told.
            let _ = end.send(());
        });
        let lines = Lines { to, left_out: 0 };
        Self { lines, written }
    }

    /// Writes the events of a supervisor until it has ended.
    pub(super) fn follow(&self, mut events: Subscription) -> JoinHandle<()> {
        let mut lines = self.lines.clone();
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                if !lines.send(Line::Event(event)) {
                    return;
                }
            }
        })
    }

    /// Writes `text` for people, or `json` for programs.
    pub(super) fn say(&mut self, text: String, json: String) {
        self.lines.send(Line::Said { text, json });
    }

    /// Waits a moment until all is written, also what `following` still has.
    pub(super) async fn finish(self, following: Option<JoinHandle<()>>) {
        if let Some(following) = following {
            // The stream of events ends with the supervisor.
            let _ = tokio::time::timeout(FLUSH, following).await;
        }
        drop(self.lines);
        let _ = self.written.recv_timeout(FLUSH);
    }
}

fn write(lines: &Receiver<Line>, format: Format, shown: fn(&str) -> String) {
    let mut output = Output::stdout();
    let ink = Ink::stderr();
    for line in lines {
        match (line, format) {
            // Its last words stand just above, where it wrote them.
            (Line::Event(event), Format::Text) => say(&shown(&view::event::headline(&event, ink))),
            (Line::Event(event), Format::Json) => {
                let json = serde_json::to_string(&*event).unwrap_or_default();
                let _ = output.line(&json);
            }
            (Line::Said { text, .. }, Format::Text) => say(&text),
            (Line::Said { json, .. }, Format::Json) => {
                let _ = output.line(&json);
            }
            (Line::LeftOut(count), _) => say(&format!("{count} events were left out here")),
        }
    }
}
