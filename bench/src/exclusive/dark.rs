//! The dark window as clients see it: from the last write that the old instance acknowledges to the
//! first that the new one does.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use handover_proto::phase::Mode;
use tempfile::TempDir;

use super::load::{Load, Trace};
use super::store::Store;
use super::{Place, Toy, scratch, theirs};
use crate::table::{Row, Table, median, millis};
use crate::{Failure, client, rig};

/// Handovers of each kind, one of each in turn, so that a busy moment hits all alike.
const RUNS: usize = 15;
/// Load before the handover, which is the steady state, and after it.
const BEFORE: Duration = Duration::from_millis(400);
const AFTER: Duration = Duration::from_millis(300);
/// Start-up delays.
const DELAYS: [u64; 3] = [0, 200, 2000];
/// Slow requests in flight, where there are any.
const SLOW: usize = 8;

/// A service that is handed over.
enum System {
    Ours(Box<rig::Rig>),
    Theirs(Box<theirs::Rig>),
}

impl System {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Ours(rig) => rig.address,
            Self::Theirs(rig) => rig.address,
        }
    }

    fn hand_over(&mut self) -> Result<(), Failure> {
        match self {
            Self::Ours(rig) => {
                let outcome = client::order(rig.socket(), "POST", "/v1/upgrade")?;
                let committed = outcome["outcome"] == "committed";
                committed
                    .then_some(())
                    .ok_or_else(|| outcome.to_string().into())
            }
            Self::Theirs(rig) => rig.hand_over(),
        }
    }

    fn settle(&mut self) -> Result<(), Failure> {
        match self {
            Self::Ours(rig) => rig.settle().map(drop),
            Self::Theirs(rig) => rig.settle(),
        }
    }
}

/// A system with one delay and one load, and what was seen of it.
pub(crate) struct Case {
    name: &'static str,
    delay: u64,
    slow: usize,
    system: System,
    data: PathBuf,
    dark: Vec<Duration>,
    longest: Vec<Duration>,
    /// Time between two acknowledgements in the steady state.
    step: Vec<Duration>,
    writes: usize,
    lost: Vec<String>,
    directory: TempDir,
}

const OURS: &str = "ours";
const THEIRS: &str = "theirs";
const THEIRS_EARLY: &str = "theirs, delay before its greeting";

impl Case {
    /// Ours, with so many MiB of state that cross before the seal.
    pub(crate) fn with_base(mib: usize) -> Result<Self, Failure> {
        Self::begin(OURS, 0, 0, mib)
    }

    fn start(name: &'static str, delay: u64, slow: usize) -> Result<Self, Failure> {
        Self::begin(name, delay, slow, 0)
    }

    fn begin(name: &'static str, delay: u64, slow: usize, base: usize) -> Result<Self, Failure> {
        let directory = scratch()?;
        let toy = Toy {
            directory: directory.path().to_owned(),
            delay: Duration::from_millis(delay),
            place: if name == THEIRS {
                Place::Open
            } else {
                Place::Warm
            },
            base,
        };
        let data = directory.path().join("data");
        std::fs::create_dir_all(&data)?;
        let system = if name == OURS {
            let arguments = toy.args("our-daemon");
            let rig = rig::Rig::of(Mode::Exclusive, directory.path(), &arguments)?;
            System::Ours(Box::new(rig))
        } else {
            System::Theirs(Box::new(theirs::Rig::start(&toy)?))
        };
        Ok(Self {
            name,
            delay,
            slow,
            system,
            data,
            dark: Vec::new(),
            longest: Vec::new(),
            step: Vec::new(),
            writes: 0,
            lost: Vec::new(),
            directory,
        })
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The dark window, by the median.
    pub(crate) fn dark(&self) -> Duration {
        median(self.dark.clone())
    }

    /// One handover without load.
    pub(crate) fn hand_over(&mut self) -> Result<(), Failure> {
        self.system.hand_over()?;
        self.system.settle()
    }

    /// What the supervisor says, if it is ours.
    pub(crate) fn status(&self) -> Result<serde_json::Value, Failure> {
        match &self.system {
            System::Ours(rig) => rig.settle(),
            System::Theirs(_) => Err("their supervisor has no status".into()),
        }
    }

    /// One handover under load.
    pub(crate) fn run(&mut self) -> Result<(), Failure> {
        let load = Load::start(self.system.address(), self.slow);
        sleep(BEFORE);
        let done = self.system.hand_over();
        sleep(AFTER);
        let trace = load.finish()?;
        done?;
        self.system.settle()?;
        self.keep(trace)
    }

    fn keep(&mut self, mut trace: Trace) -> Result<(), Failure> {
        self.lost.append(&mut trace.lost);
        let mut writes = trace.writes;
        writes.sort_by_key(|write| write.at);
        // Written once each, and none is missing.
        let kept: HashSet<u64> = Store::numbers(&self.data)?.into_iter().collect();
        let numbers: HashSet<u64> = writes.iter().map(|write| write.number).collect();
        if numbers.len() != writes.len() || !numbers.is_subset(&kept) {
            return Err(format!("{}: acknowledged writes are not in the file", self.name).into());
        }
        self.writes += writes.len();
        let old = writes.first().ok_or("no write was acknowledged")?.by;
        let last = writes.iter().rfind(|write| write.by == old);
        let first = writes.iter().find(|write| write.by != old);
        let (Some(last), Some(first)) = (last, first) else {
            let (writes, lost) = (writes.len(), self.lost.last());
            return Err(format!(
                "{}: {writes} writes, all by one instance; {lost:?}",
                self.name
            )
            .into());
        };
        let gaps: Vec<Duration> = writes.windows(2).map(|two| two[1].at - two[0].at).collect();
        let step = median(gaps.clone());
        let dark = first.at.saturating_duration_since(last.at);
        self.dark.push(dark.saturating_sub(step));
        self.longest.extend(gaps.into_iter().max());
        self.step.push(step);
        Ok(())
    }
}

/// Adds the rows.
pub(crate) fn measure(table: &mut Table) -> Result<(), Failure> {
    let mut cases = Vec::new();
    for delay in DELAYS {
        for name in [OURS, THEIRS, THEIRS_EARLY] {
            if delay > 0 || name != THEIRS_EARLY {
                cases.push(Case::start(name, delay, 0)?);
            }
        }
    }
    for name in [OURS, THEIRS] {
        cases.push(Case::start(name, 0, SLOW)?);
    }
    for run in 1..=RUNS {
        eprintln!("handovers under load, round {run} of {RUNS} …");
        for case in &mut cases {
            case.run()?;
        }
    }
    rows(table, &cases);
    Ok(())
}

fn rows(table: &mut Table, cases: &[Case]) {
    let case = |name: &str, delay, slow| {
        let fits = |case: &&Case| (case.name, case.delay, case.slow) == (name, delay, slow);
        cases.iter().find(fits)
    };
    let dark = |name, delay, slow| {
        case(name, delay, slow).map_or(Duration::MAX, |case: &Case| median(case.dark.clone()))
    };
    let ratio = |one: Duration, other: Duration| one.as_secs_f64() / other.as_secs_f64();
    for case in cases {
        let load = if case.slow > 0 {
            format!(", {} slow requests in flight", case.slow)
        } else {
            String::new()
        };
        let slowest = case.dark.iter().max().copied().unwrap_or_default();
        let bounded = case.name == OURS && case.slow > 0;
        let measured = median(case.dark.clone());
        table.push(Row {
            figure: format!(
                "dark window, {}, start-up {} ms{load}",
                case.name, case.delay
            ),
            measured: millis(measured),
            detail: format!(
                "median of {}, worst {}; longest gap between two acknowledgements {}",
                case.dark.len(),
                millis(slowest),
                millis(median(case.longest.clone())),
            ),
            wanted: if bounded { "≤ 10 ms" } else { "–" }.into(),
            met: !bounded || measured <= Duration::from_millis(10),
        });
    }
    let grown = ratio(dark(OURS, 2000, 0), dark(OURS, 0, 0));
    table.push(Row {
        figure: "ours at 2,000 ms ÷ ours at 0 ms".into(),
        measured: format!("{grown:.2}"),
        detail: format!(
            "theirs: {:.0}",
            ratio(dark(THEIRS, 2000, 0), dark(THEIRS, 0, 0))
        ),
        wanted: "≤ 2".into(),
        met: grown <= 2.0,
    });
    let beside = ratio(dark(OURS, 0, 0), dark(THEIRS, 0, 0));
    table.push(Row {
        figure: "ours at 0 ms ÷ theirs at 0 ms".into(),
        measured: format!("{beside:.2}"),
        detail: "as above".into(),
        wanted: "≤ 1".into(),
        met: beside <= 1.0,
    });
    loss(table, cases);
}

fn loss(table: &mut Table, cases: &[Case]) {
    let of = |name: &str| {
        let cases = cases.iter().filter(|case| case.name.starts_with(name));
        cases.fold((0, 0), |(lost, writes), case| {
            (lost + case.lost.len(), writes + case.writes)
        })
    };
    for case in cases {
        if let Some(first) = case.lost.first() {
            eprintln!(
                "{} at {} ms: {} lost: {first}",
                case.name,
                case.delay,
                case.lost.len()
            );
        }
    }
    let (ours, theirs) = (of(OURS), of(THEIRS));
    table.push(Row {
        figure: "failed requests".into(),
        measured: ours.0.to_string(),
        detail: format!(
            "besides {} acknowledged writes, each found in the file once; theirs: {} besides {}",
            ours.1, theirs.0, theirs.1
        ),
        wanted: "0".into(),
        met: ours.0 == 0,
    });
}
