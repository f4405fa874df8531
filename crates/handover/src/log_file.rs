//! A log file that several processes of a service write to, one after the other and for a moment at
//! once: whole lines, and at a handover a file for each.

pub(crate) mod aside;

use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use signal_hook::SigId;
use signal_hook::consts::SIGUSR1;
use tokio::sync::watch;

use crate::ledger::lock;
use crate::stage::{Stage, Standing};

/// A line that is longer is broken: memory for it is needed as long as it has no end.
const LONGEST_LINE: usize = 1 << 20;
/// Times that somebody else may create the file between our two renames: each needs a signal or a
/// rotation in that very moment.
const TRIES: u32 = 8;

/// A file that lines are appended to: each whole, in one write(2), whatever pieces it is written in,
/// so that clones and other processes may write to it at the same time.
///
/// From [`LogFile::open`] it is any program's; SIGUSR1 makes it open the file at its path anew before
/// the next line, as logrotate's `postrotate` asks for, and a file that was removed is created
/// again. From [`Instance::log_file`](crate::Instance::log_file) it also follows the rule of a
/// handover.
///
/// A clone is another writer of the same file, with a begun line of its own. So it makes a writer
/// for `tracing`:
///
/// ```ignore
/// let log = instance.log_file("/var/log/web.log")?;
/// tracing_subscriber::fmt().with_writer(move || log.clone()).init();
/// ```
#[derive(Debug)]
pub struct LogFile {
    shared: Arc<Shared>,
    /// A line without an end.
    begun: Vec<u8>,
}

/// What writers of one file share.
#[derive(Debug)]
pub(crate) struct Shared {
    path: PathBuf,
    open: Mutex<Open>,
    reopen: Arc<AtomicBool>,
    signal: SigId,
    /// How far the instance is that it belongs to, if to any.
    standing: Option<watch::Receiver<Standing>>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// What the file is called until this process serves.
    coming: Option<PathBuf>,
}

impl LogFile {
    /// Opens a file to append to it, and creates it if it is not there. From here on SIGUSR1 no
    /// longer ends the process.
    ///
    /// # Errors
    /// The kernel's: the file cannot be opened, the signal cannot be handled.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = absolute(path.into());
        let file = append(&path)?;
        Self::new(path, file, None, None)
    }

    /// The log file of an instance. See [`Instance::log_file`](crate::Instance::log_file).
    pub(crate) fn of(path: PathBuf, standing: watch::Receiver<Standing>) -> io::Result<Self> {
        let path = absolute(path);
        let file = append(&path)?;
        if !is_written(&file) {
            return Self::new(path, file, None, Some(standing));
        }
        let mut coming = path.clone().into_os_string();
        coming.push(format!(".{}.coming", std::process::id()));
        let coming = PathBuf::from(coming);
        let own = append(&coming)?;
        own.try_lock_shared().ok();
        resemble(&own, &file);
        Self::new(path, own, Some(coming), Some(standing))
    }

    fn new(
        path: PathBuf,
        file: File,
        coming: Option<PathBuf>,
        standing: Option<watch::Receiver<Standing>>,
    ) -> io::Result<Self> {
        // Says to a successor that this file has a writer.
        file.try_lock_shared().ok();
        let reopen = Arc::new(AtomicBool::new(false));
        let signal = signal_hook::flag::register(SIGUSR1, Arc::clone(&reopen))?;
        Ok(Self {
            shared: Arc::new(Shared {
                path,
                open: Mutex::new(Open { file, coming }),
                reopen,
                signal,
                standing,
            }),
            begun: Vec::new(),
        })
    }

    /// What the instance tells when it serves.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Clone for LogFile {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            begun: Vec::new(),
        }
    }
}

impl Write for LogFile {
    /// Writes the lines that end in `bytes`; what follows the last line break waits for its own.
    ///
    /// # Errors
    /// The kernel's. Nothing of `bytes` was written.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let end = bytes.iter().rposition(|byte| *byte == b'\n');
        let whole = end.map_or(0, |end| end + 1);
        let (lines, rest) = bytes.split_at(whole);
        if self.begun.is_empty() && !lines.is_empty() {
            self.shared.append(lines)?;
        } else if !lines.is_empty() {
            self.shared.append(&[&self.begun, lines].concat())?;
            self.begun.clear();
        }
        self.begun.extend_from_slice(rest);
        if self.begun.len() >= LONGEST_LINE {
            let begun = std::mem::take(&mut self.begun);
            self.shared.append(&[&begun, &b"\n"[..]].concat())?;
        }
        Ok(bytes.len())
    }

    /// Does nothing: lines are written at once, and a part of one is not.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogFile {
    /// A line that was begun ends here.
    fn drop(&mut self) {
        if !self.begun.is_empty() {
            self.begun.push(b'\n');
            let _ = self.shared.append(&self.begun);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        signal_hook::low_level::unregister(self.signal);
    }
}

impl Shared {
    fn append(&self, lines: &[u8]) -> io::Result<()> {
        let mut open = lock(&self.open);
        let before = self.refresh(&mut open)?;
        let written = open.file.write_all(lines);
        if written.is_err() && before.is_file() {
            // A part of a line would be glued to the next one.
            cut(&open.file, before.len(), before.len() + lines.len() as u64)?;
        }
        written
    }

    /// Opens the file at the path anew, if that was asked for or ours has no name any more. What
    /// there is to know of the file that is open then.
    fn refresh(&self, open: &mut Open) -> io::Result<Metadata> {
        let found = open.file.metadata()?;
        let nameless = found.nlink() == 0;
        let asked = self.reopen.swap(false, Ordering::AcqRel);
        if !nameless && (!asked || open.coming.is_some() || self.leaves()) {
            return Ok(found);
        }
        let path = open.coming.as_deref().unwrap_or(&self.path);
        match append(path) {
            Ok(file) => {
                file.try_lock_shared().ok();
                open.file = file;
                open.file.metadata()
            }
            Err(error) if nameless => Err(error),
            // The one that is open is as good until it can be had.
            Err(_) => {
                self.reopen.store(true, Ordering::Release);
                Ok(found)
            }
        }
    }

    /// Whether the file at the path is another instance's by now.
    fn leaves(&self) -> bool {
        let standing = self.standing.as_ref().map(|standing| *standing.borrow());
        standing.is_some_and(|standing| standing.stage > Stage::Serving)
    }

    /// This process serves: the file at the path is its own from here on, and the one that was there
    /// is renamed. Its writers write on to it.
    ///
    /// # Errors
    /// One of the renames is not possible. Lines go on to the file of our own.
    pub(crate) fn serve(&self) -> io::Result<()> {
        let mut open = lock(&self.open);
        let Some(coming) = &open.coming else {
            return Ok(());
        };
        for _ in 0..TRIES {
            let real = aside::behind_links(&self.path);
            match real.and_then(|real| aside::put(&real, None, |_| {})) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            match aside::rename(coming, &self.path) {
                Ok(()) => {
                    open.coming = None;
                    return Ok(());
                }
                // Somebody has opened it anew in between.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

/// Whether another process writes to it. Where nobody can tell, none does: it is appended to.
fn is_written(file: &File) -> bool {
    let held = matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock));
    let regular = file.metadata().is_ok_and(|found| found.is_file());
    held && regular
}

/// Takes back what of an append has reached the file, if it was all that was added to it since.
pub(crate) fn cut(file: &File, before: u64, whole: u64) -> io::Result<()> {
    let length = file.metadata()?.len();
    if before < length && length < whole {
        file.set_len(before)?;
    }
    Ok(())
}

/// Gives a file the owner and mode of the one in whose place it will come.
pub(crate) fn resemble(new: &File, old: &File) {
    if let Ok(old) = old.metadata() {
        // Both fail for one who may not: then it is as any new file is.
        let _ = std::os::unix::fs::fchown(new, Some(old.uid()), Some(old.gid()));
        let mode = std::fs::Permissions::from_mode(old.mode() & 0o777);
        let _ = new.set_permissions(mode);
    }
}

fn append(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).open(path)
}

/// The program may change its directory.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Stage {
        dir: tempfile::TempDir,
        standing: watch::Sender<Standing>,
    }

    impl Stage {
        fn new() -> Self {
            Self {
                dir: tempfile::tempdir().expect("a directory"),
                standing: watch::Sender::default(),
            }
        }

        fn path(&self) -> PathBuf {
            self.dir.path().join("app.log")
        }

        fn open(&self) -> LogFile {
            LogFile::of(self.path(), self.standing.subscribe()).expect("opened")
        }

        fn text(&self) -> String {
            std::fs::read_to_string(self.path()).expect("there")
        }

        fn others(&self) -> Vec<String> {
            let entries = std::fs::read_dir(self.dir.path()).expect("readable");
            let paths = entries.map(|entry| entry.expect("readable").path());
            let others = paths.filter(|path| *path != self.path());
            let read = |path| std::fs::read_to_string(path).expect("text");
            others.map(read).collect()
        }
    }

    #[test]
    fn lines_are_whole_in_whatever_pieces_they_come() {
        let stage = Stage::new();
        let mut one = stage.open();
        let mut two = one.clone();
        write!(one, "a").expect("kept");
        write!(two, "b").expect("kept");
        write!(one, "a\nc").expect("written");
        one.flush().expect("flushed");
        assert_eq!(stage.text(), "aa\n");
        writeln!(two, "b").expect("written");
        drop(one);
        assert_eq!(stage.text(), "aa\nbb\nc\n");
    }

    #[test]
    fn a_successors_lines_come_first_in_its_own_file() {
        let stage = Stage::new();
        let mut old = stage.open();
        writeln!(old, "old").expect("written");
        let mode = std::fs::Permissions::from_mode(0o640);
        std::fs::set_permissions(stage.path(), mode).expect("mode set");
        let mut new = stage.open();
        writeln!(new, "new, warming").expect("written");
        assert_eq!(stage.text(), "old\n");
        new.shared().serve().expect("renamed");
        writeln!(old, "old, late").expect("written");
        writeln!(new, "new").expect("written");
        assert_eq!(stage.text(), "new, warming\nnew\n");
        assert_eq!(stage.others(), ["old\nold, late\n"]);
        let found = std::fs::metadata(stage.path()).expect("there");
        assert_eq!(found.mode() & 0o777, 0o640);
        // Once is enough.
        new.shared().serve().expect("nothing to do");
        assert_eq!(stage.others().len(), 1);
    }

    #[test]
    fn nobody_writes_to_it_so_it_is_appended_to() {
        let stage = Stage::new();
        writeln!(stage.open(), "old").expect("written");
        let mut new = stage.open();
        new.shared().serve().expect("nothing to do");
        writeln!(new, "new").expect("written");
        assert_eq!(stage.text(), "old\nnew\n");
    }

    #[test]
    fn a_file_that_was_rotated_or_removed_is_opened_anew() {
        let stage = Stage::new();
        let mut log = stage.open();
        writeln!(log, "one").expect("written");
        let rotated = stage.dir.path().join("app.log.1");
        std::fs::rename(stage.path(), &rotated).expect("renamed");
        log.shared().reopen.store(true, Ordering::Release);
        writeln!(log, "two").expect("written");
        assert_eq!(stage.text(), "two\n");
        std::fs::remove_file(stage.path()).expect("removed");
        writeln!(log, "three").expect("written");
        assert_eq!(stage.text(), "three\n");
        // One that leaves has no business at the path any more.
        stage
            .standing
            .send_modify(|s| s.stage = crate::stage::Stage::Announced);
        std::fs::rename(stage.path(), &rotated).expect("renamed");
        log.shared().reopen.store(true, Ordering::Release);
        writeln!(log, "four").expect("written");
        assert!(!stage.path().exists());
    }
}
