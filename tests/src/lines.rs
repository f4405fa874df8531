//! Numbered lines, and the judgement of what became of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Stands at the end of every line, so that one that was cut is seen.
const END: &str = "|";
/// In place of [`END`] in a writer's last line.
const LAST: &str = "|last";

/// One line, of a length of its own; with its line break.
#[must_use]
pub fn line(pid: u32, writer: u64, number: u64, last: bool) -> String {
    let filling = filling(number);
    let end = if last { LAST } else { END };
    format!("{pid} {writer} {number} {filling}{end}\n")
}

/// Now and then longer than what is copied at a time.
fn filling(number: u64) -> String {
    let length = if number.is_multiple_of(997) {
        100_000
    } else {
        number * 7919 % 199
    };
    "x".repeat(usize::try_from(length).unwrap_or(0))
}

/// What one writer wrote into one file: its process and number.
type Writer = (u32, u64);

/// The lines of a log file and of those it was renamed to.
#[derive(Debug, Default)]
pub struct Lines {
    /// Where each line of a writer is, in the order it is read in.
    found: BTreeMap<Writer, Vec<(u64, PathBuf)>>,
    last: Vec<Writer>,
}

impl Lines {
    /// Reads files in this order. Lines of others are left out.
    ///
    /// # Panics
    /// When a line is not whole.
    #[must_use]
    pub fn read(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut lines = Self::default();
        for file in files {
            let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{file:?}: {e}"));
            assert!(text.is_empty() || text.ends_with('\n'), "{file:?}: {text}");
            for line in text.lines() {
                lines.add(&file, line);
            }
        }
        lines
    }

    fn add(&mut self, file: &Path, text: &str) {
        let mut words = text.splitn(4, ' ');
        let mut number = || words.next()?.parse::<u64>().ok();
        let (Some(pid), Some(writer), Some(number)) = (number(), number(), number()) else {
            assert!(!text.contains(END), "{file:?}: {text}");
            return;
        };
        let pid = u32::try_from(pid).expect("a process");
        let last = text.ends_with(LAST);
        let whole = line(pid, writer, number, last);
        assert_eq!(format!("{text}\n"), whole, "{file:?}");
        let writer = (pid, writer);
        let known = self.found.entry(writer).or_default();
        known.push((number, file.to_owned()));
        if last {
            self.last.push(writer);
        }
    }

    /// Every line of every writer is there once, in order, to its last one.
    ///
    /// # Panics
    /// When that is not so.
    pub fn require_all_once(&self, processes: usize) {
        assert_eq!(self.pids().len(), processes, "{:?}", self.pids());
        for (writer, lines) in &self.found {
            assert_eq!(lines.first().map(|line| line.0), Some(1), "{writer:?}");
        }
        self.require_no_gap();
    }

    /// From the first line of each writer that is there, every line is, once and in order, to its
    /// last one.
    ///
    /// # Panics
    /// When that is not so.
    pub fn require_no_gap(&self) {
        for (writer, lines) in &self.found {
            let numbers: Vec<u64> = lines.iter().map(|(number, _)| *number).collect();
            let first = numbers.first().copied().unwrap_or(1);
            let wrong = (first..).zip(&numbers).find(|(due, found)| due != *found);
            assert_eq!(wrong, None, "{writer:?}: due and found");
            assert!(self.last.contains(writer), "{writer:?}: no last line");
        }
    }

    /// The processes that wrote.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        let mut pids: Vec<u32> = self.found.keys().map(|(pid, _)| *pid).collect();
        pids.dedup();
        pids
    }

    /// The files that hold lines of a process.
    #[must_use]
    pub fn files_of(&self, pid: u32) -> Vec<PathBuf> {
        let lines = self.found.iter().filter(|((found, _), _)| *found == pid);
        let mut files: Vec<PathBuf> = lines
            .flat_map(|(_, lines)| lines.iter().map(|(_, file)| file.clone()))
            .collect();
        files.sort();
        files.dedup();
        files
    }

    /// How many lines there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.found.values().map(Vec::len).sum()
    }
}

/// The log file and all that it was renamed to, oldest first.
///
/// # Panics
/// When the directory cannot be read.
#[must_use]
pub fn files(log: &Path) -> Vec<PathBuf> {
    let name = log.file_name().expect("a name").to_owned();
    let directory = log.parent().expect("a directory");
    let entries = fs::read_dir(directory).expect("readable");
    let paths = entries.map(|entry| entry.expect("readable").path());
    let begins = |path: &PathBuf| {
        let found = path.file_name().unwrap_or_default().to_string_lossy();
        found.starts_with(&*name.to_string_lossy()) && *path != log
    };
    let mut renamed: Vec<PathBuf> = paths.filter(begins).collect();
    renamed.sort();
    renamed.extend(log.exists().then(|| log.to_owned()));
    renamed
}
