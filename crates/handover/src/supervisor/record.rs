//! The journal on disk: the coordinator's last record, with what a new supervisor needs to act on
//! it.
//!
//! Two files take turns, so that a supervisor killed in the middle of writing one leaves the other
//! whole. Not a rename: on ext4 replacing a file by rename starts write-back, and an upgrade would
//! wait for a busy disk.

use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use handover_proto::identity::CoordinatorPid;
use handover_proto::journal::Record;
use handover_proto::manifest::ListenerEntry;
use handover_proto::phase::Mode;
use serde::{Deserialize, Serialize};

use super::candidate::CandidateRecord;
use super::config::ListenerSpec;
use super::runtime;
use super::stranger::StrangerRecord;

/// The format this version writes. Later versions add fields; readers ignore those they do not
/// know.
const FORMAT: u32 = 1;

/// Records take up whole blocks of this size, in bytes: the usual one of filesystems.
const BLOCK: usize = 4096;

/// The journal's content.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Envelope {
    format: u32,
    /// Grows with every record; the highest that can be read is the last one.
    seq: u64,
    /// Process ids mean nothing after a reboot.
    boot_id: String,
    pub(super) supervisor: CoordinatorPid,
    pub(super) record: Record,
    pub(super) candidates: Vec<CandidateRecord>,
    pub(super) listeners: Vec<RecordedListener>,
    /// The program that was adopted, while it is there. Absent in records of earlier versions,
    /// which adopted none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) stranger: Option<StrangerRecord>,
}

/// A listener in the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RecordedListener {
    pub(super) spec: ListenerSpec,
    pub(super) entry: ListenerEntry,
}

/// One of the two files.
#[derive(Debug)]
struct Slot {
    path: PathBuf,
    file: Option<fs::File>,
    length: usize,
}

impl Slot {
    fn write(&mut self, text: Vec<u8>, sync: bool) -> io::Result<()> {
        let written = self.overwrite(text, sync);
        if written.is_err() {
            // What the kernel could not write back it may have forgotten: begin anew.
            self.file = None;
        }
        written
    }

    fn overwrite(&mut self, mut text: Vec<u8>, sync: bool) -> io::Result<()> {
        let opened = self.file.is_none();
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let mut options = fs::File::options();
                options.write(true).create(true).truncate(true).mode(0o600);
                none.insert(options.open(&self.path)?)
            }
        };
        // Blanks over what is left of a longer record: a truncation could be what is left of us.
        // And up to a whole block, so that a record seldom changes more of the file than its data.
        let length = text.len().next_multiple_of(BLOCK).max(self.length);
        text.resize(length, b' ');
        file.write_all_at(&text, 0)?;
        self.length = length;
        if sync {
            // The file's length is synced with its data where it changed, its times need not be.
            file.sync_data()?;
            // The directory changes when a file appears, not when it is written to.
            if let (true, Some(dir)) = (opened, self.path.parent()) {
                fs::File::open(dir)?.sync_all()?;
            }
        }
        Ok(())
    }
}

/// The journal of one service.
#[derive(Debug)]
pub(super) struct Journal {
    slots: [Slot; 2],
    seq: u64,
    boot_id: String,
    pid: CoordinatorPid,
}

impl Journal {
    pub(super) fn in_dir(dir: &Path) -> Self {
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let slot = |name: &str| {
            let path = dir.join(format!("{}-{name}", runtime::JOURNAL));
            Slot {
                path,
                file: None,
                length: 0,
            }
        };
        Self {
            slots: [slot("a"), slot("b")],
            seq: 0,
            boot_id: boot_id.trim().to_owned(),
            pid: CoordinatorPid(std::process::id()),
        }
    }

    /// Makes `record` the last one (I7). Synced to disk, file and directory, in exclusive mode only: in overlap mode
    /// the journal has to outlive the supervisor, not the machine, whose end is every process's.
    ///
    /// # Errors
    /// The previous record is still the last one.
    pub(super) fn write(
        &mut self,
        record: Record,
        candidates: Vec<CandidateRecord>,
        listeners: Vec<RecordedListener>,
        stranger: Option<StrangerRecord>,
    ) -> io::Result<()> {
        let sync = record.mode == Mode::Exclusive;
        let envelope = Envelope {
            format: FORMAT,
            seq: self.seq + 1,
            boot_id: self.boot_id.clone(),
            supervisor: self.pid,
            record,
            candidates,
            listeners,
            stranger,
        };
        let text = serde_json::to_vec(&envelope).map_err(io::Error::other)?;
        let slot = &mut self.slots[(envelope.seq % 2) as usize];
        slot.write(text, sync)?;
        self.seq = envelope.seq;
        Ok(())
    }

    /// The last record of an earlier supervisor. `None` if there is none that means anything: no
    /// file, another boot, or a format of a later version (whose supervisor would still be
    /// running, or has stopped the service).
    pub(super) fn read(&mut self) -> Option<Envelope> {
        let last = self
            .slots
            .iter()
            .filter_map(|slot| self.read_slot(&slot.path));
        let last = last.max_by_key(|envelope| envelope.seq)?;
        self.seq = last.seq;
        Some(last)
    }

    fn read_slot(&self, path: &Path) -> Option<Envelope> {
        let text = fs::read(path).ok()?;
        match serde_json::from_slice::<Envelope>(&text) {
            Ok(envelope) => (envelope.boot_id == self.boot_id).then_some(envelope),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "a record cannot be read");
                None
            }
        }
    }

    /// Forgets everything: the service was stopped.
    pub(super) fn remove(&self) {
        for slot in &self.slots {
            let _ = fs::remove_file(&slot.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use handover_proto::identity::{CandidateId, Generation, InstanceId};
    use handover_proto::phase::Phase;

    fn record(generation: u64) -> Record {
        Record {
            mode: Mode::Overlap,
            phase: Phase::Serving,
            handover: None,
            incumbent: None,
            successor: None,
            leaving: Vec::new(),
            generation: Generation(generation),
            last_instance: InstanceId(generation),
            current: CandidateId(1),
            previous: None,
            undo: false,
        }
    }

    fn last(dir: &Path) -> Option<u64> {
        Journal::in_dir(dir)
            .read()
            .map(|envelope| envelope.record.generation.0)
    }

    #[test]
    fn the_last_record_is_read_and_a_torn_one_leaves_the_one_before() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut journal = Journal::in_dir(dir.path());
        assert_eq!(last(dir.path()), None);
        for generation in 1..=5 {
            journal
                .write(record(generation), Vec::new(), Vec::new(), None)
                .expect("writes");
            assert_eq!(last(dir.path()), Some(generation));
        }
        // I7: record 5 stands in the slot of odd numbers; half of it is worth nothing.
        let torn = &journal.slots[1].path;
        let text = fs::read(torn).expect("reads");
        let record = text.trim_ascii_end().len();
        fs::write(torn, &text[..record / 2]).expect("writes");
        assert_eq!(last(dir.path()), Some(4));
    }

    /// I7: a record that could not be written is not there, and the one before still is.
    #[test]
    fn without_room_the_record_before_stays_and_the_next_one_is_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut journal = Journal::in_dir(dir.path());
        let exclusive = |generation| Record {
            mode: Mode::Exclusive,
            ..record(generation)
        };
        let mut write =
            |generation| journal.write(exclusive(generation), Vec::new(), Vec::new(), None);
        write(1).expect("writes");
        // The kernel's own full device, where the second record would go.
        let second = dir.path().join("journal-a");
        std::os::unix::fs::symlink("/dev/full", &second).expect("a link");
        let error = write(2).expect_err("no room");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        // Before it is read: there is no end to that device.
        fs::remove_file(&second).expect("removes");
        assert_eq!(last(dir.path()), Some(1));
        write(3).expect("writes again");
        assert_eq!(last(dir.path()), Some(3));
    }

    #[test]
    fn a_record_with_fields_of_a_later_version_is_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut journal = Journal::in_dir(dir.path());
        journal
            .write(record(7), Vec::new(), Vec::new(), None)
            .expect("writes");
        let path = &journal.slots[1].path;
        let text = fs::read_to_string(path).expect("reads");
        let later = text.replacen("{\"format\":1", "{\"later\":[1],\"format\":2", 1);
        assert_ne!(text, later);
        fs::write(path, later).expect("writes");
        assert_eq!(last(dir.path()), Some(7));
    }

    #[test]
    fn a_record_of_another_boot_means_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut journal = Journal::in_dir(dir.path());
        journal.boot_id = "another".into();
        journal
            .write(record(1), Vec::new(), Vec::new(), None)
            .expect("writes");
        assert_eq!(last(dir.path()), None);
    }

    #[test]
    fn a_shorter_record_leaves_nothing_of_a_longer_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut journal = Journal::in_dir(dir.path());
        let long = Record {
            generation: Generation(u64::MAX),
            ..record(1)
        };
        for generation in [long, record(2), record(3)] {
            journal
                .write(generation, Vec::new(), Vec::new(), None)
                .expect("writes");
        }
        assert_eq!(last(dir.path()), Some(3));
    }
}
