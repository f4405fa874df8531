//! What to know before a program is adopted.

use std::fmt;

use handover_proto::manifest::ListenerKind;
use serde::{Deserialize, Serialize};

use super::facts::{Facts, Listening};

/// Something to know before it is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "note")]
pub enum Note {
    /// Connections cannot be moved.
    Connections {
        /// How many are open.
        open: usize,
    },
    /// A unit of systemd's starts the program again.
    Unit {
        /// Its name.
        unit: String,
    },
    /// A process may start it again.
    KeptBy {
        /// The process.
        pid: u32,
        /// Its name.
        name: String,
    },
    /// It sees other files.
    OtherFiles,
    /// Not every process could be looked into.
    Hidden {
        /// How many.
        processes: usize,
    },
    /// Nobody can see from outside when the new version is ready.
    NoProbe,
    /// A path that the program may remove when it ends.
    Path {
        /// The path.
        path: String,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connections { open } => write!(
                f,
                "connections open now: {open}. They stay with the old program until it or the \
                 client closes them, since nobody can move them. One that idles is closed when the \
                 old program goes; a client that sends a request in that very moment has to send \
                 it again"
            ),
            Self::Unit { unit } => write!(
                f,
                "systemd runs it as {unit} and may start it again, which fails while the address is \
                 in use. To prevent that now: mkdir -p /run/systemd/system/{unit}.d && printf \
                 '[Service]\\nRestart=no\\n' > /run/systemd/system/{unit}.d/adopted.conf && \
                 systemctl daemon-reload; and at the next boot: systemctl disable {unit}"
            ),
            Self::KeptBy { pid, name } => write!(
                f,
                "process {pid} ({name}) started it; if that starts it again, it fails while the \
                 address is in use. Take the program out of {name}'s care"
            ),
            Self::OtherFiles => f.write_str(
                "it sees other files than this command does (a mount namespace of its own); the \
                 new version will see this command's",
            ),
            Self::Hidden { processes } => write!(
                f,
                "processes of other users that could not be looked into: {processes}. Whether one \
                 of them holds the sockets too is not known"
            ),
            Self::NoProbe => f.write_str(
                "without a TCP listener nobody can see that the new version accepts: it has to say \
                 so (the library, READY=1), or name a test with --ready command:CMD",
            ),
            Self::Path { path } => write!(
                f,
                "if the old program removes {path} when it ends, it is put back within \
                 milliseconds; a client that connects in between is refused"
            ),
        }
    }
}

/// Everything to know about this program.
pub(super) fn notes(facts: &Facts) -> Vec<Note> {
    let mut notes = Vec::new();
    if facts.connections > 0 {
        notes.push(Note::Connections {
            open: facts.connections,
        });
    }
    notes.extend(facts.unit.clone().map(|unit| Note::Unit { unit }));
    let keeper = facts.kept_by.clone();
    notes.extend(keeper.map(|(pid, name)| Note::KeptBy { pid, name }));
    if !facts.same_files {
        notes.push(Note::OtherFiles);
    }
    if facts.hidden > 0 {
        notes.push(Note::Hidden {
            processes: facts.hidden,
        });
    }
    let tcp = |socket: &Listening| socket.kind == ListenerKind::Tcp;
    if !facts.listening.iter().any(tcp) {
        notes.push(Note::NoProbe);
    }
    let paths = facts
        .listening
        .iter()
        .filter(|socket| socket.kind == ListenerKind::Unix && socket.address.starts_with('/'));
    notes.extend(paths.map(|socket| Note::Path {
        path: socket.address.clone(),
    }));
    notes
}
