//! What is read from disk: the supervisor's journal and what a new supervisor makes of it, and the
//! lease of a data directory.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use handover::lease::{Attempt, LOCK_FILE, LeaseFile, Options};
use handover_proto::identity::{InstanceId, InstancePid};
use handover_proto::journal::{Observation, Record, Recovery, Stance, recover};

/// A file of the journal, as it is read from disk.
pub fn journal(data: &[u8]) {
    handover::supervisor::fuzzing::journal(data);
}

/// Whatever a record says and whoever of it is alive: no living process is forgotten (I12). The
/// first byte says who is alive, the rest is the record.
pub fn recovery(data: &[u8]) {
    let Some((&alive, text)) = data.split_first() else {
        return;
    };
    let Ok(record) = serde_json::from_slice::<Record>(text) else {
        return;
    };
    let text = serde_json::to_vec(&record).expect("a record has a JSON form");
    let again: Record = serde_json::from_slice(&text).expect("reads what was written");
    assert_eq!(again, record);
    let members = record.members().enumerate();
    let mut observed = Observation::default();
    for (place, member) in members {
        let known = observed.pid(member.instance).is_some();
        if alive >> (place % 7) & 1 == 1 && !known {
            let pid = InstancePid(place as u32 + 1);
            observed.alive.push((member.instance, pid));
        }
    }
    // One that no record names.
    if alive >> 7 == 1 {
        let stray = InstanceId(record.last_instance.0.wrapping_add(1));
        if observed.pid(stray).is_none() {
            observed.alive.push((stray, InstancePid(u32::MAX)));
        }
    }
    let recovery = recover(&record, &observed);
    for (instance, _) in &observed.alive {
        assert!(
            accounts_for(&recovery, *instance),
            "{instance:?} is forgotten"
        );
    }
}

fn accounts_for(recovery: &Recovery, instance: InstanceId) -> bool {
    let serving: &[_] = match &recovery.stance {
        Stance::Serve(one) | Stance::Replace(one) => std::slice::from_ref(one),
        Stance::Await(several) => several,
        Stance::Start => &[],
    };
    let rest = recovery.retire.iter().chain(&recovery.kill);
    let mut all = serving.iter().chain(rest);
    all.any(|recorded| recorded.instance == instance)
}

/// The lock file of a data directory, whatever is in it: a new owner's epoch is above every one that
/// can be read there (I2), and the one after it is above that.
///
/// The first byte says whether the rest is the file, or its two records, to be given right checksums
/// where a bit says so: no search finds those.
pub fn lease(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else {
        return;
    };
    let content = if kind & RECORDS == 0 {
        rest.to_vec()
    } else {
        let mut content = vec![0; BLOCK + RECORD];
        for (number, at) in [(0, 0), (1, BLOCK)] {
            let place = &mut content[at..at + RECORD];
            let record = rest.chunks(RECORD).nth(number).unwrap_or_default();
            place[..record.len()].copy_from_slice(record);
            if kind >> number & 1 == 1 {
                let (covered, sum) = place.split_at_mut(RECORD - 4);
                sum.copy_from_slice(&crc32(covered).to_le_bytes());
            }
        }
        content
    };
    let directory = directory();
    std::fs::write(directory.join(LOCK_FILE), content).expect("writes the lock file");
    let mut file = LeaseFile::open(directory, Options::default()).expect("a lock file");
    let Ok(last) = file.last_epoch() else {
        return;
    };
    let mut before = last;
    for _ in 0..2 {
        let Ok(attempt) = file.try_acquire() else {
            // Nothing is above the last one.
            return;
        };
        let Attempt::Acquired(epoch) = attempt else {
            panic!("nobody else has it");
        };
        assert!(
            before.is_none_or(|before| epoch > before),
            "{epoch:?} again"
        );
        assert_eq!(file.last_epoch().expect("it was written"), Some(epoch));
        file.release().expect("releases");
        before = Some(epoch);
    }
}

/// Bytes of one record, and where the second begins.
const RECORD: usize = 256;
const BLOCK: usize = 4096;
/// In the first byte: records follow, not a file.
const RECORDS: u8 = 0x80;

/// CRC-32 (IEEE 802.3), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 * (sum & 1))
        })
    })
}

/// A data directory, in memory where there is some.
fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let within = if memory.is_dir() {
            memory
        } else {
            Path::new("/tmp")
        };
        // Of one name for each process, so that runs of the same number do not add up.
        let directory = within.join(format!("handover-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        directory
    })
}

pub(crate) mod seeds {
    use super::{Attempt, BLOCK, LOCK_FILE, LeaseFile, Options, RECORD, RECORDS};

    /// What three owners in a row leave behind.
    pub(crate) fn lease() -> Vec<Vec<u8>> {
        let directory = tempfile::tempdir().expect("a directory");
        let mut seeds = vec![Vec::new()];
        for _ in 0..3 {
            let options = Options::default().name("kv #3");
            let mut file = LeaseFile::open(&directory, options).expect("a lock file");
            let attempt = file.try_acquire().expect("the lock");
            assert!(matches!(attempt, Attempt::Acquired(_)));
            file.release().expect("releases");
            let content = std::fs::read(directory.path().join(LOCK_FILE)).expect("reads");
            let records = [&content[..RECORD], &content[BLOCK..]].concat();
            seeds.push([&[0][..], &content].concat());
            seeds.push([&[RECORDS | 3][..], &records].concat());
        }
        seeds
    }

    const MEMBER: &str = r#"{"instance":4,"candidate":2,"pid":77}"#;

    pub(crate) fn recovery() -> Vec<Vec<u8>> {
        let records = records();
        let seeds = records.iter().enumerate();
        let bytes =
            |(at, record): (usize, &String)| [&[(37 * at) as u8][..], record.as_bytes()].concat();
        seeds.map(bytes).collect()
    }

    /// Of every phase in both modes.
    fn records() -> Vec<String> {
        let phases = [
            "serving",
            "warm",
            "drain",
            "seal",
            "activate",
            "probation",
            "abort",
            "resume",
            "vacant",
            "stop",
        ];
        let mut records = Vec::new();
        for mode in ["overlap", "exclusive"] {
            for phase in phases {
                records.push(
                    format!(
                        r#"{{"mode":"{mode}","phase":"{phase}","handover":3,"incumbent":{MEMBER},"#
                    ) + r#""successor":{"instance":5,"candidate":2,"pid":null},"#
                        + r#""leaving":[{"instance":3,"candidate":1,"pid":70}],"generation":4,"#
                        + r#""last_instance":5,"current":2,"previous":1}"#,
                );
            }
        }
        records
    }

    pub(crate) fn journal() -> Vec<Vec<u8>> {
        let envelope = |record: &String| {
            let head = r#"{"format":1,"seq":9,"boot_id":"5f9d","supervisor":12,"record":"#;
            let tail = r#","candidates":[],"listeners":[{"spec":"http=127.0.0.1:0","entry":"#;
            let entry = r#"{"name":"http","kind":"tcp","address":"127.0.0.1:8080"}}]}   "#;
            format!("{head}{record}{tail}{entry}").into_bytes()
        };
        records().iter().map(envelope).collect()
    }
}
