//! A file that lines are appended to.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::ledger::Place;
use crate::log_file::{cut, resemble};

/// One file, and what is wrong with it.
#[derive(Debug)]
pub(super) struct Sink {
    path: PathBuf,
    file: Option<File>,
    /// The file is to be opened anew, and that has not succeeded yet.
    stale: bool,
    /// Why it could not be opened or written to, once that has been told.
    pub(super) trouble: Option<String>,
}

impl Sink {
    /// A file that is opened when something is to be written.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            stale: false,
            trouble: None,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file was given this name; whoever writes to it goes on.
    pub(super) fn renamed(&mut self, to: PathBuf) {
        self.path = to;
        self.stale = false;
    }

    /// The file at this path is to be written to from here on, whichever it is now.
    pub(super) fn reopen(&mut self) {
        self.stale = true;
    }

    pub(super) fn is_stale(&self) -> bool {
        self.stale
    }

    /// Opens the file if that has to be; whether it was.
    ///
    /// # Errors
    /// It cannot be opened. One that is open already is written to further if it still has a name.
    pub(super) fn open(&mut self) -> io::Result<bool> {
        if self.is_usable() && !self.stale {
            return Ok(false);
        }
        self.file = Some(open(&self.path)?);
        self.stale = false;
        Ok(true)
    }

    /// Whether an open file has a name.
    pub(super) fn is_usable(&self) -> bool {
        self.file.as_ref().is_some_and(|file| !is_nameless(file))
    }

    /// Creates the file with owner and mode of the one in whose place it comes.
    pub(super) fn open_like(&mut self, other: &Self) {
        let (Ok(_), Some(new), Some(old)) = (self.open(), &self.file, &other.file) else {
            return;
        };
        resemble(new, old);
    }

    /// Appends, all or nothing where the file can be cut. `begin` is told where, before.
    ///
    /// # Errors
    /// What the kernel says; nothing was written.
    pub(super) fn append(&mut self, bytes: &[u8], begin: impl FnOnce(Place)) -> io::Result<()> {
        let opened = self.open();
        let Some(file) = self.file.as_mut().filter(|file| !is_nameless(file)) else {
            return Err(opened
                .err()
                .unwrap_or_else(|| io::ErrorKind::NotFound.into()));
        };
        let place = Place::of(file)?;
        begin(place);
        let written = file.write_all(bytes);
        if written.is_err() && file.metadata()?.is_file() {
            // A part of a line would be glued to another writer's.
            cut(file, place.length, place.length + bytes.len() as u64)?;
        }
        written
    }
}

/// Removed, with its directory or by itself: what is written there nobody can read.
fn is_nameless(file: &File) -> bool {
    file.metadata().is_ok_and(|found| found.nlink() == 0)
}

fn open(path: &Path) -> io::Result<File> {
    // Not waiting for the reader of a named pipe.
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let mut options = File::options();
    options.append(true).create(true).custom_flags(flags);
    options.open(path)
}
