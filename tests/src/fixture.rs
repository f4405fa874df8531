//! A server that behaves as it is told: with the library, or without it as somebody else's would.
//!
//! | argument | behaviour |
//! |---|---|
//! | `--version N` | said in `x-version`, at `/` and at `/version` |
//! | `--plain` | no library: takes `LISTEN_FDS`, says nothing, drains on SIGTERM |
//! | `--notify` | the same, and sends `READY=1` |
//! | `--start-delay MS` | takes so long until it serves |
//! | `--crash-at-start CODE` | ends with this code, its last words on standard error |
//! | `--never-ready` | runs, and never serves |
//! | `--exit-after-ready MS` | ends with code 9 so long after it became ready |
//! | `--ignore-term` | does not hear SIGTERM |
//! | `--hold MIB` | keeps so much memory resident |
//! | `--healthy-when FILE` | `/healthz` answers 503 until the file exists, and leaves `FILE.asked` |
//! | `--orphan` | leaves a grandchild behind, for process 1 to reap |
//! | `--bind ADDRESS` | where to listen without a supervisor |
//! | `--listeners A,B` | their names, all served; `http` alone if not given |
//! | `--exclusive` | owns the directory `FIXTURE_DATA`; see `owned` |
//! | `--blocking` | with threads instead of tokio |
//! | `--takeover` | without a supervisor: replaces itself, and is taken over from |
//! | `--pid-file PATH`, `--probation MS`, `--ready-within MS` | of its takeover |
//! | `--state-budget BYTES` | most state it passes on |
//! | `--chatter WRITERS` | so many threads write numbered lines, see `crate::lines` |
//! | `--log-file PATH` | with the library: they write to this file of its own instead |
//! | `--item NAME:NEED:VERSIONS:BYTES:HOW` | a state item it keeps, see `owned/items.rs` |
//!
//! Paths: `/`, `/version`, `/pid`, `/slow` (300 ms), `/healthz`, and `/echo`, which answers what
//! was posted.

mod chatter;
mod native;
mod owned;
mod plain;
mod threads;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How long `/slow` takes: longer than an upgrade, so that some are under way in each.
const SLOW: Duration = Duration::from_millis(300);

#[derive(Clone, Debug, Default)]
struct Behaviour {
    version: String,
    plain: bool,
    notify: bool,
    start_delay: Duration,
    crash_at_start: Option<u8>,
    never_ready: bool,
    exit_after_ready: Option<Duration>,
    ignore_term: bool,
    hold_mib: usize,
    healthy_when: Option<PathBuf>,
    orphan: bool,
    bind: String,
    listeners: Vec<String>,
    exclusive: bool,
    blocking: bool,
    takeover: Option<handover::Takeover>,
    items: Vec<owned::Kept>,
    state_budget: Option<u64>,
    chatter: u64,
    log_file: Option<PathBuf>,
}

impl Behaviour {
    fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut found = Self {
            version: "0".into(),
            bind: "127.0.0.1:0".into(),
            listeners: vec!["http".into()],
            ..Self::default()
        };
        let mut arguments = arguments.into_iter();
        while let Some(flag) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{flag} needs a value"));
            let number = |text: String| {
                text.parse::<u64>()
                    .map_err(|error| format!("{text}: {error}"))
            };
            match flag.as_str() {
                "--version" => found.version = value()?,
                "--plain" => found.plain = true,
                "--notify" => found.notify = true,
                "--start-delay" => found.start_delay = Duration::from_millis(number(value()?)?),
                "--crash-at-start" => {
                    let code = number(value()?)?;
                    found.crash_at_start = Some(u8::try_from(code).map_err(|e| e.to_string())?);
                }
                "--never-ready" => found.never_ready = true,
                "--exit-after-ready" => {
                    found.exit_after_ready = Some(Duration::from_millis(number(value()?)?));
                }
                "--ignore-term" => found.ignore_term = true,
                "--hold" => {
                    found.hold_mib = usize::try_from(number(value()?)?).unwrap_or(usize::MAX);
                }
                "--healthy-when" => found.healthy_when = Some(value()?.into()),
                "--orphan" => found.orphan = true,
                "--bind" => found.bind = value()?,
                "--listeners" => {
                    found.listeners = value()?.split(',').map(str::to_owned).collect();
                }
                "--exclusive" => found.exclusive = true,
                "--blocking" => found.blocking = true,
                "--takeover" => found.takeover = Some(handover::Takeover::new()),
                "--pid-file" => {
                    let path = value()?;
                    found.takeover = found.takeover.map(|it| it.pid_file(path));
                }
                "--probation" => {
                    let long = Duration::from_millis(number(value()?)?);
                    found.takeover = found.takeover.map(|it| it.probation(long));
                }
                "--ready-within" => {
                    let long = Duration::from_millis(number(value()?)?);
                    found.takeover = found.takeover.map(|it| it.ready_within(long));
                }
                "--state-budget" => found.state_budget = Some(number(value()?)?),
                "--log-file" => found.log_file = Some(value()?.into()),
                "--chatter" => found.chatter = number(value()?)?,
                "--item" => found.items.push(owned::Kept::parse(&value()?)?),
                other => return Err(format!("{other}: the fixture knows no such flag")),
            }
        }
        Ok(found)
    }

    /// How long one that is replaced without a supervisor waits for its clients.
    const fn ladder(&self) -> Option<handover::Ladder> {
        if self.takeover.is_none() {
            return None;
        }
        Some(handover::Ladder {
            announce: Duration::ZERO,
            notify: Duration::from_secs(2),
            grace: Duration::from_secs(30),
        })
    }

    fn is_healthy(&self) -> bool {
        let Some(file) = &self.healthy_when else {
            return true;
        };
        let healthy = file.exists();
        if !healthy {
            let _ = std::fs::write(file.with_extension("asked"), "");
        }
        healthy
    }
}

/// The fixture, to its end.
#[must_use]
pub fn main() -> ExitCode {
    let behaviour = match Behaviour::parse(crate::program::own_arguments()) {
        Ok(behaviour) => behaviour,
        Err(error) => {
            eprintln!("fixture: {error}");
            return ExitCode::from(2);
        }
    };
    if let Some(code) = behaviour.crash_at_start {
        eprintln!("fixture: reading the configuration");
        eprintln!("fixture: no column email in table users");
        return ExitCode::from(code);
    }
    if behaviour.orphan {
        // The shell ends at once; its child outlives it and belongs to process 1.
        let shell = std::process::Command::new("sh")
            .args(["-c", "sleep 1000 & exit 0"])
            .status();
        drop(shell);
    }
    let printing = match behaviour.log_file {
        Some(_) => 0,
        None => behaviour.chatter,
    };
    let chatter = chatter::Chatter::start(printing);
    let held = vec![1_u8; behaviour.hold_mib << 20];
    std::thread::sleep(behaviour.start_delay);
    let served = serve(behaviour);
    drop((held, chatter));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fixture: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(behaviour: Behaviour) -> std::io::Result<()> {
    match (behaviour.blocking, behaviour.exclusive) {
        (true, true) => return owned::serve_blocking(behaviour),
        (true, false) => return threads::serve(behaviour),
        (false, _) => {}
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match () {
            () if behaviour.exclusive => owned::serve(behaviour).await,
            () if behaviour.plain || behaviour.notify => plain::serve(behaviour).await,
            () => native::serve(behaviour).await,
        }
    })
}

fn exit_after(pause: Option<Duration>) {
    if let Some(pause) = pause {
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            eprintln!("fixture: the cache is corrupt");
            std::process::exit(9);
        });
    }
}
