//! One case: a service, an upgrade, a death, and what is left.

use std::fmt;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use handover_proto::outcome::Outcome;
use handover_proto::status::Status;
use handover_tests::crash::{Crashes, How, Point, Trace};
use handover_tests::patience::{LONG, until};
use handover_tests::writers::{Habit, Writers};
use handover_tests::{Builder, Program, Service, process};
use rustix::process::Signal;

use crate::FIXTURE;
use crate::examination;

/// How long a supervisor hangs before somebody kills it, as a watchdog would.
const PATIENCE: Duration = Duration::from_millis(300);

/// Between two looks. Each has the supervisor read much of `/proc`.
const PAUSE: Duration = Duration::from_millis(20);

/// Between two writes of a client. There are many services at once, and what is looked for is a lost
/// write, not load.
const PACE: Duration = Duration::from_millis(8);

const HABITS: [Habit; 2] = [Habit::Fresh, Habit::Kept];

/// How long after everything has come to rest a point may still strike: an instance hears of a
/// commit after the supervisor has reported it.
const LATE: Duration = Duration::from_secs(2);

/// What is disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// An upgrade: instance 1 gives up what it has, 2 takes it.
    Upgrade,
    /// The undoing of one: 2 gives it back to 1, which is parked.
    Undo,
}

impl Act {
    const fn path(self) -> &'static str {
        match self {
            Self::Upgrade => "/v1/upgrade",
            Self::Undo => "/v1/undo",
        }
    }

    /// Numbers of who gives up and who takes; instances are numbered in the order of their start.
    pub(crate) const fn instances(self) -> [&'static str; 2] {
        match self {
            Self::Upgrade => ["1", "2"],
            Self::Undo => ["2", "1"],
        }
    }
}

/// A kind of service.
pub(crate) struct Setup {
    pub(crate) name: &'static str,
    pub(crate) act: Act,
    program: Program,
    flags: Vec<&'static str>,
    /// More flags, where somebody hangs, so that it is noticed soon. A loaded machine must not be
    /// taken for one that hangs where nobody does.
    hang: Vec<&'static str>,
    /// Whether it owns a directory, and is written to.
    pub(crate) owns: bool,
}

impl Setup {
    /// Old and new side by side.
    pub(crate) fn overlap() -> Self {
        Self {
            name: "overlap",
            act: Act::Upgrade,
            program: Program::new(FIXTURE, ""),
            flags: Vec::new(),
            hang: vec!["--ready-timeout", "3s"],
            owns: false,
        }
    }

    /// One owner of a directory, with this driver.
    pub(crate) fn exclusive(name: &'static str, driver: &str) -> Self {
        let timeouts = [
            ["--ready-timeout", "3s"],
            ["--drain-timeout", "3s"],
            ["--seal-timeout", "3s"],
            ["--activate-timeout", "3s"],
            ["--resume-timeout", "3s"],
        ];
        Self {
            name,
            act: Act::Upgrade,
            program: Program::new(FIXTURE, &format!("--version any {driver}")),
            flags: vec!["--exclusive"],
            hang: timeouts.concat(),
            owns: true,
        }
    }

    /// The old one stays parked for a while, and the new one dies in it or does not.
    pub(crate) fn probation() -> Self {
        let mut setup = Self::exclusive("probation", "--exclusive");
        setup.flags.extend(["--probation", "300ms"]);
        setup
    }

    /// The new one is sent back before it has proven itself.
    pub(crate) fn undo() -> Self {
        let mut setup = Self::exclusive("undo", "--exclusive");
        // Long enough to be asked in, and short: an undo that fails leaves both until its end.
        setup.flags.extend(["--probation", "1500ms"]);
        setup.act = Act::Undo;
        setup
    }
}

/// A running service, its clients, and where it is told when to die.
pub(crate) struct Stage {
    pub(crate) service: Service,
    pub(crate) crashes: Crashes,
    pub(crate) writers: Option<Writers>,
    pub(crate) data: PathBuf,
    watchdog: Watchdog,
    _data: tempfile::TempDir,
}

impl Stage {
    fn set(setup: &Setup, points: &[Point]) -> Self {
        let hang = points.iter().any(|point| point.how == How::Stop);
        let hang = if hang { &*setup.hang } else { &[] };
        let crashes = Crashes::new();
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let directory = directory.expect("a directory");
        let data = directory.path().to_owned();
        let service = Builder::bare(setup.program.path())
            .flags(["--listen", &format!("http=127.0.0.1:{}", port())])
            .flags(["--drain-grace", "1s", "--kill-after", "1s"])
            .flags(setup.flags.iter().chain(hang).copied())
            .env("HANDOVER_CRASH_DIR", crashes.path())
            .env("FIXTURE_DATA", &data)
            .start();
        let writers = setup
            .owns
            .then(|| Writers::paced(service.address(), &HABITS, PACE));
        if let Some(writers) = &writers {
            writers.go_on();
        }
        if setup.act == Act::Undo {
            let outcome = service.upgrade_in_place();
            assert!(committed(&outcome), "{outcome}");
        }
        Self {
            watchdog: Watchdog::start(service.supervisor()),
            service,
            crashes,
            writers,
            data,
            _data: directory,
        }
    }

    /// An upgrade or its undoing under this plan, until everything has come to rest again.
    fn act(&mut self, act: Act, points: &[Point]) {
        let leaver = self.service.incumbent();
        self.crashes.plan(points);
        let control = self.service.control();
        // Nobody answers if the supervisor dies over it.
        let asking = std::thread::spawn(move || control.request("POST", act.path(), ""));
        let patience = Instant::now() + LONG;
        loop {
            self.revive();
            let at_rest = asking.is_finished()
                && self
                    .service
                    .try_status()
                    .is_some_and(|status| is_at_rest(&status))
                && self.service.processes().len() == 1;
            if at_rest && !self.hangs(points) {
                break;
            }
            assert!(Instant::now() < patience, "it has not come to rest");
            std::thread::sleep(PAUSE);
        }
        drop(asking.join().expect("no panic"));
        let late = Instant::now() + LATE;
        let due = |point: &Point| {
            let alive = point.who != act.instances()[0] || process::is_alive(leaver);
            let trace = self.crashes.trace();
            let passed = trace.get(&point.who).map_or(0, Vec::len);
            alive && passed < point.k
        };
        // What has passed its point, or is gone, will not strike any more.
        while points.iter().all(due) && !points.is_empty() && Instant::now() < late {
            std::thread::sleep(PAUSE);
        }
    }

    /// Whether whoever serves hangs. Nobody of ours asks a serving instance whether it is well
    /// (a probe would, from outside); so the one who asks kills it, and it is started again.
    fn hangs(&self, points: &[Point]) -> bool {
        if points.iter().all(|point| point.how != How::Stop) {
            return false;
        }
        let serving = self
            .service
            .try_status()
            .and_then(|status| status.incumbent?.pid);
        let hanging = serving.filter(|pid| process::state(pid.0) == Some('T'));
        if let Some(pid) = hanging {
            process::signal(pid.0, Signal::KILL);
        }
        hanging.is_some()
    }

    /// Does what an init does.
    fn revive(&mut self) {
        self.service.revive();
        self.watchdog.watch(self.service.supervisor());
    }

    /// Waits until it is at rest; the supervisor may have been killed late.
    pub(crate) fn rest(&mut self, points: &[Point]) -> Status {
        let patience = Instant::now() + LONG;
        loop {
            self.revive();
            let status = self.service.try_status().filter(is_at_rest);
            if let Some(status) = status.filter(|_| !self.hangs(points)) {
                return status;
            }
            assert!(Instant::now() < patience, "it has not come to rest");
            std::thread::sleep(PAUSE);
        }
    }
}

/// A port of its own: when supervisor and instance have died, nobody has the listener any more, and
/// the next supervisor binds it again. Below those that the kernel gives to clients.
fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let process = std::process::id();
    loop {
        let next = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 15_000 + (process * 97 + next) % 15_000;
        let port = u16::try_from(port).expect("below 30,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Kills a supervisor that hangs. On a thread of its own, because whoever asks a process that hangs
/// hangs too.
struct Watchdog {
    /// The supervisor; 0 at the end.
    watched: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    fn start(supervisor: u32) -> Self {
        let watched = Arc::new(AtomicU32::new(supervisor));
        let pid = Arc::clone(&watched);
        let thread = std::thread::spawn(move || {
            let mut since = None;
            loop {
                let pid = pid.load(Ordering::Relaxed);
                if pid == 0 {
                    return;
                }
                if process::state(pid) != Some('T') {
                    since = None;
                } else if since.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                    process::signal(pid, Signal::KILL);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self {
            watched,
            thread: Some(thread),
        }
    }

    fn watch(&self, supervisor: u32) {
        self.watched.store(supervisor, Ordering::Relaxed);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.watch(0);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn is_at_rest(status: &Status) -> bool {
    status
        .incumbent
        .as_ref()
        .is_some_and(|incumbent| incumbent.pid.is_some())
        && status.handover.is_none()
        && status.successor.is_none()
        && status.parked.is_none()
        && status.leaving.is_empty()
}

/// How a case ended, for the progress line.
#[derive(Default)]
pub(crate) struct Ending {
    /// The effects before which somebody died.
    pub(crate) fired: Vec<String>,
    pub(crate) failed: usize,
    pub(crate) took: Duration,
}

impl fmt::Display for Ending {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = self.fired.join(", ");
        let (failed, took) = (self.failed, self.took.as_millis());
        write!(out, "before {before}; {failed} requests failed; {took} ms")
    }
}

/// What is done when nobody dies.
pub(crate) fn undisturbed(setup: &Setup) -> Trace {
    let mut stage = Stage::set(setup, &[]);
    stage.act(setup.act, &[]);
    let trace = stage.crashes.trace();
    stage.crashes.over();
    let ending = examination::examine(setup, stage, &[], &[]);
    assert_eq!(ending.failed, 0, "nobody died, yet requests failed");
    trace
}

/// Runs one case.
///
/// # Panics
/// When something is wrong.
pub(crate) fn run(setup: &Setup, points: &[Point]) -> Ending {
    let begun = Instant::now();
    let mut stage = Stage::set(setup, points);
    stage.act(setup.act, points);
    stage.crashes.over();
    let fired = points.iter().filter_map(|point| stage.crashes.fired(point));
    let fired: Vec<String> = fired.collect();
    let ending = examination::examine(setup, stage, points, &fired);
    Ending {
        fired,
        took: begun.elapsed(),
        ..ending
    }
}

/// Whether this outcome is a commit.
pub(crate) fn committed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Committed { .. })
}

/// Waits until the only process of the service is the one that serves.
pub(crate) fn until_alone(service: &Service) {
    until("no process is left over", || {
        let incumbent = service
            .try_status()
            .and_then(|status| status.incumbent?.pid);
        incumbent.is_some_and(|pid| service.processes() == [pid.0])
    });
}
