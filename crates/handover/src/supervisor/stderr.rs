//! An instance's standard error: a file it writes to and the supervisor copies from.
//!
//! Not a pipe: a pipe's writers die of SIGPIPE, or stop when it is full, once the supervisor is
//! gone; a file lets them serve on. What was copied is given back to the filesystem, so the file
//! takes no more room than what is not copied yet. With a log file it is [`super::log`] that copies.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use handover_proto::identity::InstanceId;
use rustix::fs::{FallocateFlags, inotify};
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;

use super::log::{Logs, Orders};
use crate::readable::readable;

/// What the files are called, before the instance's number.
pub(super) const PREFIX: &str = "stderr-";

/// Lines shown of an instance that failed.
const LAST_LINES: usize = 10;
/// Bytes read for them.
const LAST_BYTES: u64 = 4096;
/// Copied bytes after which their room is given back. A power of two, for filesystem blocks.
const PUNCH_EVERY: u64 = 1 << 20;
/// Read at a time.
const CHUNK: usize = 16 * 1024;

/// A file that an instance writes its standard error to.
#[derive(Debug)]
pub(super) struct Capture {
    path: PathBuf,
    file: Arc<File>,
    done: Arc<Notify>,
    /// Whom to tell that the instance is gone, if its lines go to a log file.
    followed: Option<(Orders, InstanceId)>,
}

impl Capture {
    pub(super) fn create(dir: &Path, instance: InstanceId) -> io::Result<Self> {
        let path = file_of(dir, instance);
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)?;
        file.set_len(0)?;
        Ok(Self {
            path,
            file: Arc::new(file),
            done: Arc::default(),
            followed: None,
        })
    }

    /// The file of an instance that outlived its supervisor.
    pub(super) fn found(
        dir: &Path,
        instance: InstanceId,
        pid: u32,
        logs: Option<&Logs>,
    ) -> io::Result<Self> {
        let path = file_of(dir, instance);
        let file = OpenOptions::new().read(true).append(true).open(&path)?;
        let mut capture = Self {
            path,
            file: Arc::new(file),
            done: Arc::default(),
            followed: None,
        };
        match logs {
            Some(logs) => {
                let orders = logs.go_on(instance, pid, &capture.file, &capture.path)?;
                capture.followed = Some((orders, instance));
            }
            None => capture.mirror(capture.file.metadata()?.len()),
        }
        Ok(capture)
    }

    /// The descriptor the instance writes to.
    pub(super) fn writer(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Begins to copy; the instance runs.
    pub(super) fn started(mut self, instance: InstanceId, pid: u32, logs: Option<&Logs>) -> Self {
        match logs {
            Some(logs) => {
                let orders = logs.follow(instance, pid, &self.file, &self.path);
                self.followed = Some((orders, instance));
            }
            None => self.mirror(0),
        }
        self
    }

    fn mirror(&self, from: u64) {
        let (file, path, done) = (self.file.clone(), self.path.clone(), self.done.clone());
        tokio::spawn(async move {
            if let Err(error) = copy(&file, &path, from, &done).await {
                tracing::warn!(%error, path = %path.display(), "standard error is not copied");
            }
        });
    }

    /// The last lines the instance wrote.
    pub(super) fn last_words(&self) -> Vec<String> {
        let Ok(found) = self.file.metadata() else {
            return Vec::new();
        };
        let from = found.len().saturating_sub(LAST_BYTES);
        let mut tail = vec![0; (found.len() - from) as usize];
        let Ok(read) = self.file.read_at(&mut tail, from) else {
            return Vec::new();
        };
        tail.truncate(read);
        // Room that was given back reads as NUL.
        tail.retain(|byte| *byte != 0);
        let text = String::from_utf8_lossy(&tail);
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].to_vec()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if let Some((orders, instance)) = &self.followed {
            return orders.gone(*instance);
        }
        self.done.notify_one();
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Where the capture of an instance is.
pub(super) fn file_of(dir: &Path, instance: InstanceId) -> PathBuf {
    dir.join(format!("{PREFIX}{}", instance.0))
}

/// Gives the room of what was copied back to the filesystem, once it is worth it. Up to where.
pub(super) fn give_back(file: &File, punched: u64, copied: u64) -> u64 {
    if copied.saturating_sub(punched) < PUNCH_EVERY {
        return punched;
    }
    let until = copied / PUNCH_EVERY * PUNCH_EVERY;
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    // Filesystems without holes keep the bytes; nothing is lost.
    let _ = rustix::fs::fallocate(file, flags, punched, until - punched);
    until
}

/// Copies what is written, until the instance is gone and everything is copied.
async fn copy(file: &File, path: &Path, from: u64, done: &Notify) -> io::Result<()> {
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    inotify::add_watch(&watch, path, inotify::WatchFlags::MODIFY)?;
    let watch = readable(watch)?;
    let mut out = tokio::io::stderr();
    let (mut at, mut punched) = (from, from / PUNCH_EVERY * PUNCH_EVERY);
    let mut chunk = vec![0; CHUNK];
    let mut last_round = false;
    loop {
        loop {
            let read = file.read_at(&mut chunk, at)?;
            if read == 0 {
                break;
            }
            // A supervisor without a standard error still has to give the room back.
            let _ = out.write_all(&chunk[..read]).await;
            at += read as u64;
        }
        punched = give_back(file, punched, at);
        let _ = out.flush().await;
        if last_round {
            return Ok(());
        }
        tokio::select! {
            ready = watch.readable() => {
                let mut ready = ready?;
                let mut events = [0; 1024];
                while rustix::io::read(watch.get_ref(), &mut events).is_ok_and(|n| n > 0) {}
                ready.clear_ready();
            }
            () = done.notified() => last_round = true,
        }
    }
}
