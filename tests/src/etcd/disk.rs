//! A small disk.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::patience::until;
use crate::service::clean;

/// etcd sets 64 MB aside for its log, and as much for the next one, when it starts.
const SIZE: &str = "size=140m";

/// A small disk in memory. Only programs that are started by its `command` see it;
/// it is gone with this, and with this process.
#[derive(Debug)]
pub struct Disk {
    /// Has the mount namespace; waits for the end of its standard input.
    holder: Child,
    place: TempDir,
}

impl Disk {
    /// An empty one.
    ///
    /// # Panics
    /// When the kernel refuses; root may have one.
    #[must_use]
    pub fn new() -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let script =
            format!("mount -t tmpfs -o {SIZE} tmpfs \"$0\" && touch \"$0/mounted\" && exec cat");
        let holder = Command::new("unshare")
            .args(["--mount", "sh", "-c", &script])
            .arg(place.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("unshare is there");
        let mut disk = Self { holder, place };
        until("the disk is mounted", || {
            let ended = disk.holder.try_wait().expect("it is our child");
            assert!(ended.is_none(), "unshare --mount: {ended:?}");
            disk.file("mounted").exists()
        });
        disk
    }

    /// Where it is, for those who see it.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// A file on it, as this process reaches it.
    fn file(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        let place = self.path().strip_prefix("/").unwrap_or(self.path());
        root.join(place).join(name)
    }

    /// A command that sees it, and does not outlive the thread that starts it.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = clean("setpriv");
        command.args(["--pdeathsig", "KILL", "nsenter"]);
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id()));
        command.arg(program);
        command
    }

    /// Leaves no byte of it free.
    ///
    /// # Panics
    /// When it is written to for another reason in vain.
    pub fn fill(&self) {
        let mut file = File::create(self.file("filler")).expect("created");
        let block = vec![0; 64 * 1024];
        let full = loop {
            if let Err(error) = file.write_all(&block) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull);
    }

    /// Frees what [`fill`](Self::fill) took.
    ///
    /// # Panics
    /// When it was not filled.
    pub fn make_room(&self) {
        fs::remove_file(self.file("filler")).expect("it was filled");
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
