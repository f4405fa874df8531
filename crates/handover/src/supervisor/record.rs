//! The journal on disk: the coordinator's last record, with what a new supervisor needs to act on
//! it. Replaced atomically; a reader sees the old one or the new one.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use handover_proto::identity::CoordinatorPid;
use handover_proto::journal::Record;
use handover_proto::manifest::ListenerEntry;
use handover_proto::phase::Mode;
use serde::{Deserialize, Serialize};

use super::candidate::CandidateRecord;
use super::config::ListenerSpec;
use super::runtime;

/// The format this version writes. Later versions add fields; readers ignore those they do not
/// know.
const FORMAT: u32 = 1;

/// The journal's content.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Envelope {
    format: u32,
    /// Process ids mean nothing after a reboot.
    boot_id: String,
    pub(super) supervisor: CoordinatorPid,
    pub(super) record: Record,
    pub(super) candidates: Vec<CandidateRecord>,
    pub(super) listeners: Vec<RecordedListener>,
}

/// A listener in the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RecordedListener {
    pub(super) spec: ListenerSpec,
    pub(super) entry: ListenerEntry,
}

/// The journal of one service.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    boot_id: String,
    pid: CoordinatorPid,
}

impl Journal {
    pub(super) fn in_dir(dir: &Path) -> Self {
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self {
            path: dir.join(runtime::JOURNAL),
            boot_id: boot_id.trim().to_owned(),
            pid: CoordinatorPid(std::process::id()),
        }
    }

    /// Makes `record` the last one (I7). Synced to disk in exclusive mode only: in overlap mode
    /// the journal has to outlive the supervisor, not the machine, whose end is every process's.
    ///
    /// # Errors
    /// The previous record is still the last one.
    pub(super) fn write(
        &self,
        record: Record,
        candidates: Vec<CandidateRecord>,
        listeners: Vec<RecordedListener>,
    ) -> io::Result<()> {
        let sync = record.mode == Mode::Exclusive;
        let envelope = Envelope {
            format: FORMAT,
            boot_id: self.boot_id.clone(),
            supervisor: self.pid,
            record,
            candidates,
            listeners,
        };
        let text = serde_json::to_vec_pretty(&envelope).map_err(io::Error::other)?;
        let next = self.path.with_extension("next");
        let mut file = fs::File::create(&next)?;
        file.write_all(&text)?;
        if sync {
            file.sync_all()?;
        }
        fs::rename(&next, &self.path)?;
        if sync && let Some(dir) = self.path.parent() {
            fs::File::open(dir)?.sync_all()?;
        }
        Ok(())
    }

    /// The last record of an earlier supervisor. `None` if there is none that means anything: no
    /// file, another boot, or a format of a later version (whose supervisor would still be
    /// running, or has stopped the service).
    pub(super) fn read(&self) -> Option<Envelope> {
        let text = fs::read(&self.path).ok()?;
        match serde_json::from_slice::<Envelope>(&text) {
            Ok(envelope) if envelope.boot_id == self.boot_id => Some(envelope),
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(%error, path = %self.path.display(), "the journal cannot be read");
                None
            }
        }
    }

    /// Forgets everything: the service was stopped.
    pub(super) fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}
