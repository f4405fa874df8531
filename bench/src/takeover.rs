//! What a takeover costs: from the start of a successor by whomever, and from its request, until its
//! first answer; ours against the plain exchange of the Go peer, in turn.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use handover::Takeover;
use handover::supervisor::{Config, StderrPolicy, Supervisor};

use crate::table::{Row, Table, median, millis};
use crate::{Failure, client, server, table};

/// Runs of each kind; the medians are compared.
const RUNS: usize = 31;
/// How long anything may take before the benchmark is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Questions at once. Old and new wait on one listener, and the kernel wakes the one that has waited
/// longer first: a single question would go to the old one nearly always.
const AT_ONCE: usize = 8;
/// Pause between two rounds of questions, so that asking does not take a core from whoever is to answer.
const ASK_EVERY: Duration = Duration::from_micros(100);

/// `takeover`, or one of its processes.
pub(crate) async fn run(words: &[&str]) -> Result<(), Failure> {
    match words {
        [] => compare(false),
        ["--write"] => compare(true),
        ["taker", path, dir] => take(Path::new(path), Path::new(dir)).await,
        ["program", address, socket] => {
            let takeover = Takeover::new().socket(*socket);
            eprintln!("{ASKED}{}", since_epoch().as_nanos());
            let instance = handover::Instance::builder("bench").takeover(takeover);
            server::serve(instance.start().await?, address).await
        }
        other => Err(format!("unknown part of the benchmark: {other:?}").into()),
    }
}

/// What a successor says on standard error when it is about to ask, followed by the time.
const ASKED: &str = "asked at ";

/// The clock that all processes share; for times between them.
fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// What `handover take` does.
async fn take(path: &Path, dir: &Path) -> Result<(), Failure> {
    let own = std::env::current_exe()?.display().to_string();
    let config = Config {
        service: "bench".into(),
        zero: Some(path.into()),
        take: true,
        program: vec![own, "server".into(), "127.0.0.1:0".into()],
        runtime_dir: Some(dir.into()),
        stderr: StderrPolicy::Inherit,
        ..Config::default()
    };
    Supervisor::new(config).await?.run().await?;
    Ok(())
}

/// How the successor takes over, and from whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Go from Go, by the exchange.
    Go,
    /// Ours from Go, by the exchange: a supervisor and the server under it.
    Take,
    /// A program with the library from itself, without a supervisor.
    Library,
}

/// A place in memory for one takeover, and everything that runs in it.
struct Place {
    dir: tempfile::TempDir,
    go: PathBuf,
    address: SocketAddr,
    running: Vec<Child>,
}

impl Drop for Place {
    fn drop(&mut self) {
        // The supervisor's instances first: it would start them again.
        for child in self.running.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let dir = self.dir.path().join("bench");
        let wanted = format!("HANDOVER_SERVICE_DIR={}", dir.display());
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            let mut variables = environ.split(|byte| *byte == 0);
            let pid = entry.file_name().to_str().and_then(|pid| pid.parse().ok());
            let ours = variables.any(|variable| variable == wanted.as_bytes());
            if let (Some(pid), true) = (pid.and_then(rustix::process::Pid::from_raw), ours) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

impl Place {
    fn new(go: &Path) -> Result<Self, Failure> {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        Ok(Self {
            dir,
            go: go.into(),
            address,
            running: Vec::new(),
        })
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// Starts a process that serves, or takes over.
    fn start(&mut self, kind: Kind, version: &str) -> Result<(), Failure> {
        let mut command = match kind {
            Kind::Go => {
                let mut command = Command::new(&self.go);
                command.arg(self.path());
                command.args([&self.address.to_string(), version]);
                command
            }
            Kind::Take => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["takeover", "taker"]).arg(self.path());
                command.arg(self.dir.path());
                command
            }
            Kind::Library => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["takeover", "program", &self.address.to_string()]);
                command.arg(self.path());
                command
            }
        };
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        self.running.push(command.spawn()?);
        Ok(())
    }

    /// When the process started last asked for its listener, if it says so.
    fn asked(&mut self) -> Option<Duration> {
        let words = self.running.last_mut()?.stderr.take()?;
        let line = BufReader::new(words).lines().next()?.ok()?;
        let nanos = line.strip_prefix(ASKED)?.parse().ok()?;
        Some(Duration::from_nanos(nanos))
    }

    /// Waits until somebody serves and can be taken over from.
    fn ready(&self) -> Result<String, Failure> {
        let since = Instant::now();
        loop {
            let version = client::version(self.address);
            let offered = std::os::unix::net::UnixStream::connect(self.path()).is_ok();
            match version {
                Ok(version) if offered => return Ok(version),
                _ if since.elapsed() > PATIENCE => return Err("nobody serves".into()),
                _ => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

/// Whether somebody else than `old` answers one of several questions.
fn is_answered(address: SocketAddr, old: &str) -> Result<bool, Failure> {
    let asked: Vec<_> = (0..AT_ONCE)
        .map(|_| client::begin(address, "/"))
        .collect::<Result<_, _>>()?;
    let mut answered = false;
    for stream in asked {
        answered |= client::version_of(stream)? != old;
    }
    Ok(answered)
}

/// One takeover until the first answer of the successor.
#[derive(Clone, Copy, Debug)]
struct Taken {
    /// Since its process was started.
    since_start: Duration,
    /// Since it asked for the listener. A taker that asks only when its server is ready does not say.
    since_request: Option<Duration>,
}

/// Whoever served before accepts on, as theirs does.
fn once(go: &Path, kind: Kind) -> Result<Taken, Failure> {
    let mut place = Place::new(go)?;
    let before = match kind {
        Kind::Go | Kind::Take => Kind::Go,
        Kind::Library => Kind::Library,
    };
    place.start(before, "before")?;
    let old = place.ready()?;
    let began = Instant::now();
    place.start(kind, "after")?;
    while !is_answered(place.address, &old)? {
        if began.elapsed() > PATIENCE {
            return Err(format!("{kind:?}: the successor does not answer").into());
        }
        std::thread::sleep(ASK_EVERY);
    }
    let (since_start, now) = (began.elapsed(), since_epoch());
    let since_request = match kind {
        Kind::Take => None,
        Kind::Go | Kind::Library => place.asked().map(|asked| now.saturating_sub(asked)),
    };
    Ok(Taken {
        since_start,
        since_request,
    })
}

/// Runs of each kind, in turn.
fn compare(write: bool) -> Result<(), Failure> {
    let go = std::env::var_os("HANDOVER_TEST_ZERO")
        .ok_or("HANDOVER_TEST_ZERO is not set; `cargo xtask bench takeover` builds the Go peer")?;
    let go = PathBuf::from(go);
    let kinds = [Kind::Go, Kind::Take, Kind::Library];
    let mut taken: [Vec<Taken>; 3] = Default::default();
    eprintln!("{RUNS} takeovers of each kind …");
    for _ in 0..RUNS {
        for (kind, taken) in kinds.iter().zip(&mut taken) {
            taken.push(once(&go, *kind)?);
        }
    }
    let started = taken
        .each_ref()
        .map(|taken| median(taken.iter().map(|one| one.since_start).collect()));
    let asked = |taken: &[Taken]| {
        let all: Option<Vec<_>> = taken.iter().map(|one| one.since_request).collect();
        all.map(median)
            .ok_or("a successor did not say when it asked")
    };
    let [go_taken, _, library_taken] = &taken;
    let (go_asked, library_asked) = (asked(go_taken)?, asked(library_taken)?);
    let [theirs, take, library] = started;
    let row = |what: &str, from: &str, ours: Duration, theirs: Duration| {
        let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
        Row {
            figure: format!("{what} ÷ Go from Go: {from} → first answer"),
            measured: format!("{ratio:.2}"),
            detail: format!("{} ÷ {}, medians of {RUNS}", millis(ours), millis(theirs)),
            wanted: "≤ 1".into(),
            met: ratio <= 1.0,
        }
    };
    let mut table = Table::default();
    table.push(row("library", "request", library_asked, go_asked));
    table.push(row("library", "start of the process", library, theirs));
    table.push(row(
        "`handover take --zero`, a supervisor and the server",
        "start of the process",
        take,
        theirs,
    ));
    println!("{table}");
    if write {
        table::write("takeover", &table)?;
    }
    Ok(())
}
