//! One line for each step, and who serves after it.

use crate::args::Format;
use crate::clock::unix_ms;
use crate::command::printing::Printing;
use crate::output::Ink;
use crate::view::peer::{Note, Serves, here, json, line};
use handover::container::News;
use serde::Serialize;

/// Tells everybody what happens.
pub(super) struct Voice {
    printing: Option<Printing>,
    ink: Ink,
    serves: Serves,
}

impl Voice {
    pub(super) fn new(print: Option<Format>) -> Self {
        Self {
            printing: print.map(|format| Printing::start(format, here)),
            ink: Ink::stderr(),
            serves: Serves::default(),
        }
    }

    pub(super) const fn printing(&self) -> Option<&Printing> {
        self.printing.as_ref()
    }

    /// Tells news of the library.
    pub(super) fn news(&mut self, news: &News) {
        if let News::Peer(event) = news {
            self.serves = self.serves.after(event);
        }
        self.say(news, &news.to_string(), news.is_warning());
    }

    /// Tells what this command did.
    pub(super) fn note(&mut self, note: &Note) {
        self.say(note, &note.to_string(), note.is_warning());
    }

    /// Tells that something did not work that changes nothing about who serves.
    pub(super) fn doubt(&mut self, reason: impl ToString) {
        let reason = reason.to_string();
        self.note(&Note::Doubtful { reason });
    }

    /// Somebody else serves from here on.
    pub(super) const fn serves(&mut self, who: Serves) {
        self.serves = who;
    }

    fn say(&mut self, what: &impl Serialize, text: &str, is_warning: bool) {
        match is_warning {
            true => tracing::warn!(target: "handover", event = "peer", "{text}"),
            false => tracing::info!(target: "handover", event = "peer", "{text}"),
        }
        let Some(printing) = &mut self.printing else {
            return;
        };
        let unix_ms = unix_ms();
        let json = json(what, text, self.serves, unix_ms);
        printing.say(line(text, is_warning, unix_ms, self.ink), json);
    }

    /// Waits a moment until all is written.
    pub(super) async fn finish(self) {
        if let Some(printing) = self.printing {
            printing.finish(None).await;
        }
    }
}
