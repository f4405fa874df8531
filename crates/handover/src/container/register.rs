//! Who is younger, by a number that a shared volume gives each instance once.
//!
//! The clock since boot is stamped under the same lock, so that both orders agree, also with an
//! instance that does not have the volume.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use handover_proto::container::order::{Entry, Order};
use handover_proto::container::{BootId, RegisterId};
use handover_sys::lock;
use rustix::fs::OFlags;
use rustix::time::{ClockId, clock_gettime};

use super::random;

const NAME: &str = "register";
const BESIDE: &str = "register.new";
const BROKEN: &str = "register.broken";
const LOCK: &str = "lock";

/// First line of a register; another one is of another version.
const HEAD: &str = "handover register 1";

/// More than any register has.
const MAX_BYTES: u64 = 4096;

/// Others hold the lock for a few writes to the disk.
const LOCKED_FOR: Duration = Duration::from_secs(8);

/// How often to look whether it is free.
const LOCK_EVERY: Duration = Duration::from_millis(5);

/// Why an instance has no place among the others. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// Another process holds the lock.
    #[error(
        "{} is locked by another process for more than {LOCKED_FOR:?}; who served before serves on, \
         try again",
        path.display()
    )]
    Locked {
        /// The lock.
        path: PathBuf,
    },
    /// The numbers are used up, or the file was tampered with.
    #[error("{} gave out its last number; remove it", path.display())]
    Full {
        /// The register.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("{doing} {} failed: {source}; who served before serves on", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The kernel does not say which boot this is.
    #[error("/proc/sys/kernel/random/boot_id cannot be read ({0}); mount /proc in the container")]
    Boot(String),
    /// The kernel has no random numbers for us.
    #[error("no random numbers: {0}")]
    Random(#[source] io::Error),
}

/// A place among the instances of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) order: Order,
    pub(super) legacy_ms: i64,
    /// There was a register that could not be read; it lies beside the new one.
    pub(super) broken: Option<String>,
}

/// A place without a volume.
pub(super) fn stamp(legacy_ms: i64) -> Result<Place, RegisterError> {
    Ok(Place {
        order: Order {
            boot: boot()?,
            started_ns: since_boot(),
            entry: None,
        },
        legacy_ms,
        broken: None,
    })
}

/// The next place in the register of a directory. Blocks for the lock and the disk.
pub(super) fn draw(directory: &Path, legacy_ms: i64) -> Result<Place, RegisterError> {
    let lock = locked(directory)?;
    let place = draw_locked(directory, legacy_ms);
    drop(lock);
    place
}

fn draw_locked(directory: &Path, legacy_ms: i64) -> Result<Place, RegisterError> {
    let path = directory.join(NAME);
    let failed = |doing: &'static str| {
        let path = path.clone();
        move |source| RegisterError::Io {
            doing,
            path: path.clone(),
            source,
        }
    };
    let boot = boot()?;
    let (last, broken) = match read(&path).map_err(failed("reading"))? {
        Some(Ok(page)) => (Some(page), None),
        None => (None, None),
        Some(Err(reason)) => {
            // Kept for whoever wants to know; another register's numbers are not compared with it.
            fs::rename(&path, directory.join(BROKEN)).map_err(failed("moving"))?;
            (None, Some(reason))
        }
    };
    let page = match last {
        None => Page {
            id: RegisterId(random::bytes().map_err(RegisterError::Random)?),
            epoch: 1,
            boot,
            started_ns: since_boot(),
            legacy_ms,
        },
        Some(last) => {
            let epoch = last.epoch.checked_add(1);
            let after = if last.boot == boot {
                last.started_ns
            } else {
                0
            };
            Page {
                id: last.id,
                epoch: epoch.ok_or_else(|| RegisterError::Full { path: path.clone() })?,
                boot,
                started_ns: since_boot().max(after.saturating_add(1)),
                legacy_ms: legacy_ms.max(last.legacy_ms.saturating_add(1)),
            }
        }
    };
    write(directory, &page).map_err(failed("writing"))?;
    Ok(Place {
        order: Order {
            boot,
            started_ns: page.started_ns,
            entry: Some(Entry {
                register: page.id,
                epoch: page.epoch,
            }),
        },
        legacy_ms: page.legacy_ms,
        broken,
    })
}

/// Takes the lock of a directory, which also orders whoever makes its key. Ends when dropped.
pub(super) fn locked(directory: &Path) -> Result<File, RegisterError> {
    let path = directory.join(LOCK);
    let failed = |source| RegisterError::Io {
        doing: "locking",
        path: path.clone(),
        source,
    };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags(nofollow())
        .open(&path)
        .map_err(failed)?;
    let until = Instant::now() + LOCKED_FOR;
    while !lock::try_lock(&file).map_err(failed)? {
        if Instant::now() >= until {
            return Err(RegisterError::Locked { path });
        }
        std::thread::sleep(LOCK_EVERY);
    }
    Ok(file)
}

fn nofollow() -> i32 {
    i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default()
}

/// What the register holds: the last place that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Page {
    id: RegisterId,
    epoch: u64,
    boot: BootId,
    started_ns: u64,
    legacy_ms: i64,
}

impl Page {
    fn text(&self) -> String {
        let Self {
            id,
            epoch,
            boot,
            started_ns,
            legacy_ms,
        } = self;
        format!(
            "{HEAD}\nid {id}\nepoch {epoch}\nboot {boot}\nstarted_ns {started_ns}\n\
             legacy_ms {legacy_ms}\n"
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(HEAD)?.strip_prefix('\n')?;
        // A later version may add lines; a line is whole when it has its end.
        let field = |name: &str| {
            rest.split_inclusive('\n').find_map(|line| {
                let line = line.strip_suffix('\n')?;
                line.strip_prefix(name)?.strip_prefix(' ')
            })
        };
        Some(Self {
            id: field("id")?.parse().ok()?,
            epoch: field("epoch")?.parse().ok()?,
            boot: field("boot")?.parse().ok()?,
            started_ns: field("started_ns")?.parse().ok()?,
            legacy_ms: field("legacy_ms")?.parse().ok()?,
        })
    }
}

/// `None` without one; the reason if it is none.
fn read(path: &Path) -> io::Result<Option<Result<Page, String>>> {
    let mut options = OpenOptions::new();
    let file = match options.read(true).custom_flags(nofollow()).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let page = Page::parse(&text);
    Ok(Some(page.ok_or_else(|| {
        let begin: String = text.chars().take(40).collect();
        format!("{} begins with {begin:?}", path.display())
    })))
}

/// Whole or not at all, also across a loss of power.
fn write(directory: &Path, page: &Page) -> io::Result<()> {
    let beside = directory.join(BESIDE);
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(nofollow())
        .open(&beside)?;
    file.write_all(page.text().as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, directory.join(NAME))?;
    File::open(directory)?.sync_all()
}

fn boot() -> Result<BootId, RegisterError> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let text = text.map_err(|error| RegisterError::Boot(error.to_string()))?;
    let id = text.trim().parse::<BootId>();
    id.map_err(|error| RegisterError::Boot(error.to_string()))
}

/// `CLOCK_BOOTTIME`: goes on while the machine sleeps, is never stepped, and is the same in every
/// container that has no time namespace of its own.
fn since_boot() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(now.tv_nsec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// Milliseconds since the Unix epoch; negative before it.
pub(super) fn wall_ms(at: SystemTime) -> i64 {
    match at.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => {
            i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |before| -before)
        }
    }
}

#[cfg(test)]
mod tests;
