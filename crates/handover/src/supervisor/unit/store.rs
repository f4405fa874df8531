//! Listeners left with the service manager (`FDSTORE=1`), and a note, in memory that is left there
//! too, of which they are. With them even the end of every process of the service keeps the
//! sockets open and their queues waiting (I4).

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Weak};

use handover_proto::manifest::ListenerKind;
use handover_sys::inherited::InheritedFile;
use rustix::fs::{MemfdFlags, fstat, memfd_create};
use serde::{Deserialize, Serialize};

use super::herald::Herald;
use crate::supervisor::config::ListenerSpec;
use crate::supervisor::sockets::OpenListener;

/// Under which name the note is stored.
const NOTE: &str = "handover-note";

/// Version of the note's format. A later one is not read: then the listeners are taken as if a
/// socket unit had opened them.
const FORMAT: u32 = 1;

/// Longest note that is read: a thousand listeners with the longest names and paths.
const MAX_NOTE: u64 = 1 << 20;

/// A listener that was left.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Noted {
    /// Identifies the socket, whatever name it comes back under.
    inode: u64,
    /// As it was configured.
    pub(super) spec: ListenerSpec,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Note {
    format: u32,
    listeners: Vec<Noted>,
}

/// What an earlier supervisor left.
#[derive(Debug, Default)]
pub(super) struct Found {
    note: Note,
    file: Option<File>,
}

impl Found {
    /// Finds the note among what was passed; what else is there is closed.
    pub(super) fn among(files: Vec<InheritedFile>) -> Self {
        let note = files.into_iter().find(|file| file.name == NOTE);
        let Some(mut file) = note.map(|note| File::from(note.fd)) else {
            return Self::default();
        };
        let note = read(&mut file).unwrap_or_default();
        Self {
            note,
            file: Some(file),
        }
    }

    /// What is known of this socket, if it was left by a supervisor of this service.
    pub(super) fn noted(&self, socket: BorrowedFd<'_>) -> Option<&Noted> {
        let inode = inode(socket)?;
        self.note.listeners.iter().find(|left| left.inode == inode)
    }
}

fn read(file: &mut File) -> Option<Note> {
    let mut text = Vec::new();
    file.rewind().ok()?;
    file.take(MAX_NOTE).read_to_end(&mut text).ok()?;
    let note: Note = serde_json::from_slice(&text).ok()?;
    (note.format == FORMAT).then_some(note)
}

fn inode(socket: BorrowedFd<'_>) -> Option<u64> {
    fstat(socket).ok().map(|found| found.st_ino)
}

/// What is left with the service manager.
#[derive(Default)]
pub(super) struct Store {
    /// Changed in place, so that what the service manager has is always the last.
    note: Option<File>,
    kept: Vec<Weak<OpenListener>>,
    /// Names and sockets that are there.
    stored: Vec<(String, u64)>,
}

impl Store {
    pub(super) fn new(found: Found) -> Self {
        let left = found.note.listeners.iter();
        Self {
            stored: left
                .map(|left| (left.spec.name.clone(), left.inode))
                .collect(),
            note: found.file,
            kept: Vec::new(),
        }
    }

    /// Leaves these there, and no others. What a socket unit opened is there by itself.
    pub(super) fn keep(&mut self, listeners: &[&Arc<OpenListener>], herald: &Herald) {
        let same = self.kept.len() == listeners.len()
            && self
                .kept
                .iter()
                .zip(listeners)
                .all(|(kept, open)| kept.as_ptr() == Arc::as_ptr(open));
        if same {
            return;
        }
        self.kept = listeners.iter().map(|open| Arc::downgrade(open)).collect();
        let ours = listeners.iter().filter(|open| !open.is_units());
        let ours: Vec<&Arc<OpenListener>> = ours.copied().collect();
        if let Err(error) = self.write(&ours, herald) {
            tracing::warn!(%error, "the service manager gets no note of its listeners");
        }
        let pair =
            |open: &&Arc<OpenListener>| Some((open.entry.name.clone(), inode(open.as_fd())?));
        let wanted: Vec<_> = ours.iter().filter_map(pair).collect();
        let before = std::mem::replace(&mut self.stored, wanted);
        let gone = |stored: &&(String, u64)| !self.stored.contains(stored);
        let mut removed = false;
        for (name, _) in before.iter().filter(gone) {
            // By its name only, so it may take one with it that is to stay.
            herald.unstore(name);
            removed = true;
        }
        for (open, stored) in ours.iter().zip(&self.stored) {
            if !removed && before.contains(stored) {
                continue;
            }
            match open.as_fd().try_clone_to_owned() {
                Ok(descriptor) => herald.store(&open.entry.name, descriptor),
                Err(error) => tracing::warn!(%error, "a listener is not left with the manager"),
            }
        }
    }

    /// Notes them before they are left: a note of one that did not arrive does no harm.
    fn write(&mut self, listeners: &[&Arc<OpenListener>], herald: &Herald) -> io::Result<()> {
        let noted = |open: &&Arc<OpenListener>| {
            Some(Noted {
                inode: inode(open.as_fd())?,
                spec: open.spec.clone(),
            })
        };
        let note = Note {
            format: FORMAT,
            listeners: listeners.iter().filter_map(noted).collect(),
        };
        let text = serde_json::to_vec(&note)?;
        let new = self.note.is_none();
        let file = match &mut self.note {
            Some(file) => file,
            None if listeners.is_empty() => return Ok(()),
            none => none.insert(memfd_create(NOTE, MemfdFlags::CLOEXEC)?.into()),
        };
        file.write_all_at(&text, 0)?;
        file.set_len(text.len() as u64)?;
        if new {
            herald.store(NOTE, OwnedFd::from(file.try_clone()?));
        }
        Ok(())
    }

    /// The service was stopped, and with that the paths of its Unix sockets are gone: nobody could
    /// reach them any more.
    pub(super) fn forget_paths(&mut self, herald: &Herald) {
        let open = self.kept.iter().filter_map(Weak::upgrade);
        for open in open.filter(|open| open.entry.kind == ListenerKind::Unix && !open.is_units()) {
            herald.unstore(&open.entry.name);
        }
    }
}
