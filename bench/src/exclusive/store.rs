//! The data that both toy daemons own: a file to which every write appends its number.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A number takes so many bytes.
const RECORD: u64 = 8;
const FILE: &str = "writes";

/// The open file.
pub(crate) struct Store {
    file: File,
    written: u64,
}

impl Store {
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(directory.join(FILE))?;
        let written = file.metadata()?.len() / RECORD;
        Ok(Self { file, written })
    }

    /// Appends the next number and returns it.
    pub(crate) fn write(&mut self) -> io::Result<u64> {
        let number = self.written + 1;
        let at = self.written * RECORD;
        self.file.write_all_at(&number.to_le_bytes(), at)?;
        self.written = number;
        Ok(number)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// All numbers, by the file.
    pub(crate) fn numbers(directory: &Path) -> io::Result<Vec<u64>> {
        let bytes = std::fs::read(directory.join(FILE))?;
        let (records, _) = bytes.as_chunks::<8>();
        Ok(records
            .iter()
            .map(|record| u64::from_le_bytes(*record))
            .collect())
    }
}
