//! The file that an instance writes to, read line by line.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use handover_proto::identity::InstanceId;

use super::ledger::{Flight, Home, Ledger};
use super::sink::Sink;
use crate::supervisor::stderr::give_back;

/// Read at a time, and at the most written at a time unless a line is longer.
const CHUNK: usize = 64 * 1024;
/// A line that is longer is broken: memory for it is needed as long as it has no end.
const LONGEST_LINE: usize = 1 << 20;
/// What may wait for a log file that cannot be written to. It waits in the runtime directory, which
/// is usually in memory; the oldest lines beyond it are given up, and the log says so.
const MOST_WAITING: u64 = 64 << 20;

/// The lines of one instance.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) instance: InstanceId,
    /// The process, which leads a group of its own; 0 if nobody knows any more.
    pub(super) pid: u32,
    /// The number that it had, which may be another process's by now.
    pub(super) name: u32,
    file: Arc<File>,
    path: PathBuf,
    ledger: Ledger,
    copied: u64,
    punched: u64,
    /// Bytes that were given up since the last append.
    given_up: u64,
    /// The file its lines go to; `None` while they are held back.
    pub(super) sink: Option<u64>,
    /// The process has ended.
    pub(super) gone: bool,
}

/// What a look at a source was good for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Lines were copied.
    Copied,
    /// There is no whole line.
    Idle,
}

impl Source {
    /// The output of an instance that is about to be started.
    pub(super) fn new(instance: InstanceId, pid: u32, file: Arc<File>, path: PathBuf) -> Self {
        let ledger = Ledger::create(ledger_of(&path), pid);
        Self::at(instance, pid, file, path, ledger, 0)
    }

    /// The output of one that an earlier supervisor started, and where it went. `None` if that one
    /// wrote no log file.
    pub(super) fn found(
        instance: InstanceId,
        pid: u32,
        file: Arc<File>,
        path: PathBuf,
    ) -> Option<(Self, Home)> {
        let (ledger, found) = Ledger::open(ledger_of(&path))?;
        let mut source = Self::at(instance, pid, file, path, ledger, found.copied);
        source.name = found.pid;
        Some((source, found.home))
    }

    /// The same, from its end on.
    pub(super) fn from_here(
        instance: InstanceId,
        pid: u32,
        file: Arc<File>,
        path: PathBuf,
    ) -> io::Result<Self> {
        let ledger = Ledger::create(ledger_of(&path), pid);
        let end = file.metadata()?.len();
        ledger.copied(end);
        Ok(Self::at(instance, pid, file, path, ledger, end))
    }

    fn at(
        instance: InstanceId,
        pid: u32,
        file: Arc<File>,
        path: PathBuf,
        ledger: Ledger,
        copied: u64,
    ) -> Self {
        Self {
            instance,
            pid,
            name: pid,
            file,
            path,
            ledger,
            copied,
            punched: 0,
            given_up: 0,
            sink: None,
            gone: false,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// From here on its lines go there.
    pub(super) fn goes_to(&mut self, home: &Home, sink: Option<u64>) {
        self.ledger.home(home);
        self.sink = sink;
    }

    /// Copies the next lines, if there are any; with `all`, the last one without an end too.
    ///
    /// # Errors
    /// The lines cannot be read, or not be written. They wait.
    pub(super) fn copy(&mut self, sink: &mut Sink, all: bool) -> io::Result<Step> {
        let (taken, mut text) = self.next(all)?;
        if taken == 0 {
            return Ok(Step::Idle);
        }
        if self.given_up > 0 {
            let (instance, bytes) = (self.instance, self.given_up);
            let reason = sink
                .trouble
                .as_deref()
                .unwrap_or("more waited than is kept");
            let note = format!(
                "handover: {bytes} bytes of instance {instance} are missing here: {reason}\n"
            );
            text.splice(..0, note.into_bytes());
        }
        let (ledger, copied) = (&self.ledger, self.copied);
        sink.append(&text, |place| {
            let flight = Flight {
                taken,
                written: text.len() as u64,
                place,
            };
            ledger.begin(copied, flight);
        })?;
        self.given_up = 0;
        self.pass(taken);
        Ok(Step::Copied)
    }

    /// Gives up the oldest lines if too many wait. How many bytes that were.
    pub(super) fn relieve(&mut self) -> u64 {
        let end = self.file.metadata().map_or(0, |found| found.len());
        if end.saturating_sub(self.copied) <= MOST_WAITING {
            return 0;
        }
        let before = self.copied;
        // Half of it, so that this is not done again for every line.
        let middle = end - MOST_WAITING / 2;
        self.pass(self.begin_of_line(middle) - before);
        let given_up = self.copied - before;
        self.given_up += given_up;
        given_up
    }

    /// Where the first line after `at` begins; `at` itself if that is too far.
    fn begin_of_line(&self, at: u64) -> u64 {
        let mut bytes = vec![0; CHUNK];
        let read = self.file.read_at(&mut bytes, at).unwrap_or(0);
        let end = bytes[..read].iter().position(|byte| *byte == b'\n');
        end.map_or(at, |end| at + end as u64 + 1)
    }

    fn pass(&mut self, bytes: u64) {
        self.copied += bytes;
        self.ledger.copied(self.copied);
        self.punched = give_back(&self.file, self.punched, self.copied);
    }

    /// The next whole lines: how many bytes they take, and the bytes to write.
    fn next(&self, all: bool) -> io::Result<(u64, Vec<u8>)> {
        let mut bytes = Vec::new();
        loop {
            let from = bytes.len();
            bytes.resize(from + CHUNK, 0);
            let at = self.copied + from as u64;
            let read = self.file.read_at(&mut bytes[from..], at)?;
            bytes.truncate(from + read);
            if let Some(end) = bytes[from..].iter().rposition(|byte| *byte == b'\n') {
                bytes.truncate(from + end + 1);
                return Ok((bytes.len() as u64, bytes));
            }
            let broken = bytes.len() >= LONGEST_LINE;
            if broken || (read == 0 && all && !bytes.is_empty()) {
                bytes.truncate(LONGEST_LINE);
                let taken = bytes.len() as u64;
                bytes.push(b'\n');
                return Ok((taken, bytes));
            }
            if read == 0 {
                return Ok((0, Vec::new()));
            }
        }
    }

    /// Nothing is left of it: everything was copied, and nobody writes to it any more.
    pub(super) fn remove(&self) {
        self.ledger.remove();
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Where the record of a capture is.
pub(super) fn ledger_of(capture: &Path) -> PathBuf {
    let mut name = capture.as_os_str().to_owned();
    name.push(".copied");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::super::ledger::Place;
    use super::*;

    struct Stage {
        dir: tempfile::TempDir,
        source: Source,
        sink: Sink,
    }

    impl Stage {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            let path = dir.path().join("stderr-1");
            let mut options = File::options();
            let file = options.read(true).append(true).create(true).open(&path);
            let file = Arc::new(file.expect("a file"));
            let source = Source::new(InstanceId(1), 0, file, path);
            let sink = Sink::new(dir.path().join("app.log"));
            Self { dir, source, sink }
        }

        fn say(&self, text: &[u8]) {
            io::Write::write_all(&mut &*self.source.file, text).expect("written");
        }

        fn copy(&mut self, all: bool) -> String {
            while self.source.copy(&mut self.sink, all).expect("copied") == Step::Copied {}
            std::fs::read_to_string(self.dir.path().join("app.log")).unwrap_or_default()
        }
    }

    #[test]
    fn only_whole_lines_are_copied() {
        let mut stage = Stage::new();
        stage.say(b"one\ntwo\nthr");
        assert_eq!(stage.copy(false), "one\ntwo\n");
        stage.say(b"ee\nfour");
        assert_eq!(stage.copy(false), "one\ntwo\nthree\n");
        assert_eq!(stage.copy(true), "one\ntwo\nthree\nfour\n");
        assert_eq!(stage.copy(true), "one\ntwo\nthree\nfour\n");
    }

    #[test]
    fn a_line_may_be_long_but_not_endless() {
        let mut stage = Stage::new();
        let long = "x".repeat(LONGEST_LINE - 1);
        stage.say(format!("{long}\n").as_bytes());
        assert_eq!(stage.copy(false), format!("{long}\n"));
        stage.say(&vec![b'y'; LONGEST_LINE + 5]);
        let lines = stage.copy(false);
        let lengths: Vec<usize> = lines.lines().map(str::len).collect();
        assert_eq!(lengths, [LONGEST_LINE - 1, LONGEST_LINE]);
        stage.say(b"\n");
        assert_eq!(stage.copy(false).lines().last(), Some("yyyyy"));
    }

    #[test]
    fn what_waits_is_bounded_and_the_log_says_so() {
        let mut stage = Stage::new();
        let line = format!("{}\n", "z".repeat(1023));
        let mebibyte = line.repeat(1024);
        for _ in 0..MOST_WAITING >> 20 {
            stage.say(mebibyte.as_bytes());
        }
        assert_eq!(stage.source.relieve(), 0);
        stage.say(b"the last\n");
        let given_up = stage.source.relieve();
        assert!(given_up >= MOST_WAITING / 2, "{given_up}");
        stage.sink.trouble = Some("no space".into());
        let log = stage.copy(false);
        let mut lines = log.lines();
        let first = lines.next().expect("a line");
        let told = first.contains(&given_up.to_string()) && first.ends_with("no space");
        assert!(told, "{first}");
        assert_eq!(lines.next().map(str::len), Some(1023));
        assert_eq!(log.lines().last(), Some("the last"));
        assert_eq!(log.matches("missing").count(), 1);
    }

    /// Killed between any two system calls of an append: what is on disk then, and the record.
    #[test]
    fn the_next_supervisor_repeats_nothing_and_loses_nothing() {
        for reached in 0..=6 {
            let mut stage = Stage::new();
            stage.say(b"one\n");
            stage.copy(false);
            stage.say(b"two\n\n");
            let (source, log) = (&stage.source, stage.dir.path().join("app.log"));
            let append = File::options().append(true).open(&log).expect("there");
            let flight = Flight {
                taken: 5,
                written: 5,
                place: Place::of(&append).expect("a file"),
            };
            source.ledger.begin(4, flight);
            let written = &b"two\n\n"[..reached.min(5)];
            io::Write::write_all(&mut &append, written).expect("written");
            if reached == 6 {
                source.ledger.copied(9);
            }
            // It makes no difference that somebody has rotated it since.
            let rotated = stage.dir.path().join("app.log.1");
            std::fs::rename(&log, &rotated).expect("renamed");
            super::super::settle(stage.dir.path(), &log);
            std::fs::rename(&rotated, &log).expect("renamed");
            let (file, path) = (Arc::clone(&source.file), source.path.clone());
            let found = Source::found(InstanceId(1), 0, file, path);
            stage.source = found.expect("a record").0;
            stage.say(b"three\n");
            assert_eq!(stage.copy(false), "one\ntwo\n\nthree\n", "{reached}");
        }
    }
}
