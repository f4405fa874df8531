//! The file, and when it may be written.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use handover::blocking::Service;
use handover::{ItemSpec, Lease, ServiceError, State, StateWriter};

/// How many lines there are: what a successor would otherwise have to read the file for.
const LINES: &str = "lines";

/// An append-only file, open for writing only in the process that owns its directory.
pub struct Journal {
    path: PathBuf,
    open: Mutex<Option<Open>>,
}

struct Open {
    file: File,
    lines: u64,
}

impl Journal {
    /// Opens nothing yet.
    pub fn in_directory(directory: impl AsRef<Path>) -> Self {
        Self {
            path: directory.as_ref().join("journal"),
            open: Mutex::default(),
        }
    }

    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a line and says which it is, from 1. Ask for a permit first.
    pub fn append(&self, line: &[u8]) -> io::Result<u64> {
        let mut open = self.open();
        let open = open.as_mut().ok_or_else(|| io::Error::other("closed"))?;
        open.file.write_all(line)?;
        open.lines += 1;
        Ok(open.lines)
    }

    /// Opens it for writing; `lines` if known.
    fn begin(&self, lines: Option<u64>) -> io::Result<()> {
        let mut options = File::options();
        let file = options.create(true).append(true).open(&self.path)?;
        let lines = match lines {
            Some(lines) => lines,
            None => self.count()?,
        };
        *self.open() = Some(Open { file, lines });
        Ok(())
    }

    fn count(&self) -> io::Result<u64> {
        let mut reader = BufReader::new(File::open(&self.path)?);
        let mut lines = 0;
        while reader.skip_until(b'\n')? > 0 {
            lines += 1;
        }
        Ok(lines)
    }

    /// Closes it and says how many lines it has. On an error it is still open.
    fn end(&self) -> io::Result<u64> {
        let mut open = self.open();
        let Some(Open { file, lines }) = open.as_ref() else {
            return Err(io::Error::other("closed already"));
        };
        file.sync_data()?;
        let lines = *lines;
        *open = None;
        Ok(lines)
    }
}

/// The hooks of a handover.
pub struct Keeper(Arc<Journal>);

impl Keeper {
    /// Of this journal.
    pub fn of(journal: &Arc<Journal>) -> Self {
        Self(Arc::clone(journal))
    }
}

impl Service for Keeper {
    fn manifest(&self) -> Vec<ItemSpec> {
        vec![ItemSpec::best_effort(LINES).versions(1..=1)]
    }

    fn activate(&mut self, _lease: Lease, mut state: State) -> Result<(), ServiceError> {
        let lines = state.take(LINES).map(|item| item.value()).transpose()?;
        Ok(self.0.begin(lines)?)
    }

    fn seal(&mut self, state: &mut StateWriter) -> Result<(), ServiceError> {
        let lines = self.0.end()?;
        if state.version(LINES).is_some() {
            state.put_value(LINES, &lines)?;
        }
        Ok(())
    }

    fn resume(&mut self, _lease: Lease) -> Result<(), ServiceError> {
        // Somebody else may have written: count.
        Ok(self.0.begin(None)?)
    }
}
