//! Crash points: each effect of each driver is a place to die at, so that a test can kill a process
//! just before its effect number *k*, for every *k*, and no place has to be named by hand.
//!
//! Compiled with the feature `crash-points` only, which is for this project's own tests. The
//! directory in `HANDOVER_CRASH_DIR` then holds:
//!
//! | file | by | content |
//! |---|---|---|
//! | `plan` | the test | lines `WHO K kill` or `WHO K stop`; effects are counted while it exists |
//! | `trace` | every process | a line `WHO K NAME` for each effect counted |
//! | `fired` | the process that dies | `WHO K NAME`, written just before |
//!
//! WHO is `supervisor`, or the number of the instance; `N.takeover` is the coordinator inside
//! instance N, which counts for itself since it is a thread of its own. K counts from 1 in each process. A line of
//! the plan fires once, so that a supervisor started again does not die at the same place for ever.

/// Called just before a driver carries out the effect of this name.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub(crate) fn before(_effect: &str) {}

/// Called just before the coordinator inside an incumbent carries out the effect of this name.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub(crate) fn coordinating(_effect: &str) {}

#[cfg(feature = "crash-points")]
pub(crate) use armed::{before, coordinating};

#[cfg(feature = "crash-points")]
mod armed {
    use std::fs::{self, File};
    use std::io::Write;
    use std::path::{Path, PathBuf};
    use std::sync::{Mutex, OnceLock, PoisonError};
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};

    /// Where the plan is.
    const DIRECTORY: &str = "HANDOVER_CRASH_DIR";
    /// Who this is, where it is not the supervisor.
    const INSTANCE: &str = "HANDOVER_INSTANCE";
    /// A signal to the whole process may be taken by another of its threads; this one is stopped by
    /// then. (A kill ends all of them before it returns.)
    const UNTIL_STOPPED: Duration = Duration::from_millis(20);

    struct Point {
        directory: PathBuf,
        who: String,
        /// Effects since the plan was first seen. Locked while a line is written, so that the trace
        /// is in the order of the effects.
        passed: Mutex<u64>,
    }

    impl Point {
        fn of(part: &str) -> Option<Self> {
            let directory = PathBuf::from(std::env::var_os(DIRECTORY)?);
            let who = std::env::var(INSTANCE).unwrap_or_else(|_| "supervisor".into());
            Some(Self {
                directory,
                who: format!("{who}{part}"),
                passed: Mutex::new(0),
            })
        }
    }

    /// Called just before a driver carries out the effect of this name.
    pub(crate) fn before(effect: &str) {
        static POINT: OnceLock<Option<Point>> = OnceLock::new();
        if let Some(point) = POINT.get_or_init(|| Point::of("")) {
            point.pass(effect);
        }
    }

    /// Called just before the coordinator inside an incumbent carries out the effect of this name.
    pub(crate) fn coordinating(effect: &str) {
        static POINT: OnceLock<Option<Point>> = OnceLock::new();
        if let Some(point) = POINT.get_or_init(|| Point::of(".takeover")) {
            point.pass(effect);
        }
    }

    impl Point {
        fn pass(&self, effect: &str) {
            let Ok(plan) = fs::read_to_string(self.directory.join("plan")) else {
                return;
            };
            let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
            *passed += 1;
            let place = format!("{} {}", self.who, *passed);
            append(&self.directory.join("trace"), &format!("{place} {effect}"));
            let line = |how: &str| plan.lines().any(|line| line == format!("{place} {how}"));
            let signal = match () {
                () if line("kill") => Signal::KILL,
                () if line("stop") => Signal::STOP,
                () => return,
            };
            let fired = self.directory.join("fired");
            let earlier = fs::read_to_string(&fired).unwrap_or_default();
            let here = format!("{place} ");
            if earlier.lines().any(|line| line.starts_with(&here)) {
                return;
            }
            append(&fired, &format!("{place} {effect}"));
            let _ = kill_process(getpid(), signal);
            std::thread::sleep(UNTIL_STOPPED);
        }
    }

    fn append(path: &Path, line: &str) {
        let file = File::options().create(true).append(true).open(path);
        // One write, so that lines of several processes stay whole.
        let written = file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
        if let Err(error) = written {
            eprintln!("handover: crash points: {}: {error}", path.display());
        }
    }
}
