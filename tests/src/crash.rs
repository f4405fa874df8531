//! Processes that die just before a given effect. The other side is `handover`'s feature
//! `crash-points`, which this package switches on for everything that is built together with it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

/// How a process meets its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// `SIGKILL`.
    Kill,
    /// `SIGSTOP`: it hangs.
    Stop,
}

/// Who, just before which of their effects, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// `supervisor`, or the number of an instance.
    pub who: String,
    /// Effects are counted from 1 on, in each process, from the moment there is a plan.
    pub k: usize,
    /// How.
    pub how: How,
}

impl fmt::Display for Point {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.how {
            How::Kill => "kill",
            How::Stop => "stop",
        };
        write!(out, "{} {} {how}", self.who, self.k)
    }
}

/// What a process did, in order: the names of its effects.
pub type Trace = BTreeMap<String, Vec<String>>;

/// A directory that processes look into before each effect.
#[derive(Debug)]
pub struct Crashes(TempDir);

impl Default for Crashes {
    fn default() -> Self {
        Self::new()
    }
}

impl Crashes {
    /// An empty one: nobody counts yet.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let memory = tempfile::tempdir_in("/dev/shm");
        Self(
            memory
                .or_else(|_| tempfile::tempdir())
                .expect("a directory"),
        )
    }

    /// For `HANDOVER_CRASH_DIR`.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// From now on effects are counted, and these points are deadly.
    ///
    /// # Panics
    /// When the plan cannot be written.
    pub fn plan(&self, points: &[Point]) {
        let lines: String = points.iter().map(|point| format!("{point}\n")).collect();
        let beside = self.path().join("plan.new");
        fs::write(&beside, lines).expect("written");
        fs::rename(beside, self.path().join("plan")).expect("renamed");
    }

    /// Nobody dies or counts from now on.
    pub fn over(&self) {
        let _ = fs::remove_file(self.path().join("plan"));
    }

    fn lines(&self, file: &str) -> Vec<(String, String, String)> {
        let text = fs::read_to_string(self.path().join(file)).unwrap_or_default();
        let fields = |line: &str| {
            let mut fields = line.splitn(3, ' ').map(str::to_owned);
            Some((fields.next()?, fields.next()?, fields.next()?))
        };
        text.lines().filter_map(fields).collect()
    }

    /// The effects counted.
    #[must_use]
    pub fn trace(&self) -> Trace {
        let mut trace = Trace::new();
        for (who, _, name) in self.lines("trace") {
            trace.entry(who).or_default().push(name);
        }
        trace
    }

    /// The name of the effect before which this point has struck, if it has.
    #[must_use]
    pub fn fired(&self, point: &Point) -> Option<String> {
        let fired = self.lines("fired").into_iter();
        let mut fired = fired.filter(|(who, k, _)| *who == point.who && *k == point.k.to_string());
        fired.next().map(|(.., name)| name)
    }
}
