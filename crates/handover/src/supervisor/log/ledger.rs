//! How far an instance's lines were copied, on record: a supervisor that is killed between two
//! system calls must neither lose a line nor write one twice.
//!
//! Before an append the record says which bytes go where and how long that file is; after it, that
//! they are there. What the next supervisor finds in between it can tell from the file's length. The
//! record describes processes and needs no sync: it is as gone as they are after a power loss.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What a record begins with; the last byte is its version.
const MAGIC: &[u8; 8] = b"hologs\0\x01";
/// Six numbers after the magic.
const NUMBERS: usize = 8;
/// The process, after the numbers. Records of earlier versions have none, which is 0.
const PROCESS: usize = 56;
/// Where lines go, after that.
const HOME: usize = 64;
/// So that all is in one page, which is written whole or not at all.
const LONGEST_HOME: usize = 4096 - HOME - 2;

/// Where the lines of an instance go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Home {
    /// Into the log file.
    #[default]
    Log,
    /// Nowhere yet: it does not serve.
    Held,
    /// Into the file of this name, which was the log file.
    Renamed(PathBuf),
}

/// An append that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flight {
    /// Bytes of the capture.
    pub(super) taken: u64,
    /// Bytes of the file, with what was added.
    pub(super) written: u64,
    /// The file.
    pub(super) place: Place,
}

/// A file, and how long it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) length: u64,
}

impl Place {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let found = file.metadata()?;
        Ok(Self {
            device: found.dev(),
            inode: found.ino(),
            length: found.len(),
        })
    }
}

/// The record of one capture.
#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    file: Option<File>,
}

/// What it said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) copied: u64,
    pub(super) flight: Option<Flight>,
    pub(super) home: Home,
    /// The process that wrote, by a number that may be another one's by now; 0 if it is not known.
    pub(super) pid: u32,
}

impl Ledger {
    /// A new record. One that cannot be kept costs the promise above, and nothing else.
    pub(super) fn create(path: PathBuf, pid: u32) -> Self {
        let file = open(&path, true);
        if let Err(error) = &file {
            let path = path.display();
            tracing::warn!(%error, %path, "how far a log was copied is not recorded");
        }
        let file = file.ok();
        let ledger = Self { path, file };
        ledger.copied(0);
        ledger.write(PROCESS, &u64::from(pid).to_le_bytes());
        ledger.write(0, MAGIC);
        ledger
    }

    /// The record of an instance that outlived its supervisor; `None` if there is none.
    pub(super) fn open(path: PathBuf) -> Option<(Self, Found)> {
        let file = open(&path, false).ok()?;
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut (&file), &mut bytes).ok()?;
        let found = parse(&bytes)?;
        let file = Some(file);
        Some((Self { path, file }, found))
    }

    /// An append is about to begin.
    pub(super) fn begin(&self, copied: u64, flight: Flight) {
        self.numbers(copied, Some(flight));
    }

    /// So much is where it belongs.
    pub(super) fn copied(&self, copied: u64) {
        self.numbers(copied, None);
    }

    /// From here on the lines go there.
    pub(super) fn home(&self, home: &Home) {
        let name = match home {
            Home::Log => &[][..],
            Home::Held => &[0][..],
            Home::Renamed(path) => path.as_os_str().as_bytes(),
        };
        // Longer than any path the kernel takes, less a little.
        let name = name.get(..name.len().min(LONGEST_HOME)).unwrap_or_default();
        let length = u16::try_from(name.len()).unwrap_or(0).to_le_bytes();
        self.write(HOME, &[&length[..], name].concat());
    }

    pub(super) fn remove(&self) {
        let _ = std::fs::remove_file(&self.path);
    }

    fn numbers(&self, copied: u64, flight: Option<Flight>) {
        let of = |flight: Flight| {
            let Place {
                device,
                inode,
                length,
            } = flight.place;
            [flight.taken, flight.written, device, inode, length]
        };
        let [taken, written, device, inode, length] = flight.map_or([0; 5], of);
        let numbers = [copied, taken, written, device, inode, length];
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        self.write(NUMBERS, &bytes);
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        if let Some(file) = &self.file
            && let Err(error) = file.write_all_at(bytes, at as u64)
        {
            tracing::debug!(%error, path = %self.path.display(), "record");
        }
    }
}

fn open(path: &Path, fresh: bool) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(fresh)
        .truncate(fresh)
        .mode(0o600)
        .open(path)
}

fn parse(bytes: &[u8]) -> Option<Found> {
    let number = |n: usize| {
        let at = NUMBERS + 8 * n;
        let eight = bytes.get(at..at + 8)?;
        Some(u64::from_le_bytes(eight.try_into().ok()?))
    };
    if !bytes.starts_with(MAGIC) {
        return None;
    }
    let flight = Flight {
        taken: number(1)?,
        written: number(2)?,
        place: Place {
            device: number(3)?,
            inode: number(4)?,
            length: number(5)?,
        },
    };
    Some(Found {
        copied: number(0)?,
        flight: (flight.written > 0).then_some(flight),
        home: home(bytes.get(HOME..).unwrap_or_default()),
        pid: number((PROCESS - NUMBERS) / 8)
            .and_then(|pid| u32::try_from(pid).ok())
            .unwrap_or(0),
    })
}

fn home(bytes: &[u8]) -> Home {
    let Some((length, rest)) = bytes.split_at_checked(2) else {
        return Home::Log;
    };
    let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
    match rest.get(..length) {
        None | Some([]) => Home::Log,
        Some([0]) => Home::Held,
        Some(path) => Home::Renamed(OsStr::from_bytes(path).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recorded_is_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("stderr-1.copied");
        let ledger = Ledger::create(path.clone(), 77);
        let place = Place {
            device: 1,
            inode: 2,
            length: 3,
        };
        let flight = Flight {
            taken: 10,
            written: 11,
            place,
        };
        let again = || Ledger::open(path.clone()).expect("there").1;
        let fresh = Found {
            pid: 77,
            ..Found::default()
        };
        assert_eq!(again(), fresh);
        ledger.begin(5, flight);
        ledger.home(&Home::Held);
        assert_eq!((again().copied, again().flight), (5, Some(flight)));
        assert_eq!(again().home, Home::Held);
        ledger.copied(15);
        let renamed = Home::Renamed("/var/log/app.log.1".into());
        ledger.home(&renamed);
        assert_eq!((again().copied, again().flight), (15, None));
        assert_eq!(again().home, renamed);
        ledger.home(&Home::Log);
        assert_eq!(again().home, Home::Log);
    }

    #[test]
    fn what_is_no_record_is_none() {
        let dir = tempfile::tempdir().expect("a directory");
        for bytes in [&b""[..], b"hologs", b"another file of this name", MAGIC] {
            let path = dir.path().join("stderr-1.copied");
            std::fs::write(&path, bytes).expect("written");
            assert!(Ledger::open(path).is_none(), "{bytes:?}");
        }
    }
}
