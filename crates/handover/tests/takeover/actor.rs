//! The program of every child: this very test, started again. Answers every connection with its
//! version and its process id, and says on standard output what becomes of it.
//!
//! | variable | |
//! |---|---|
//! | `ACTOR` | `tokio` or `blocking` |
//! | `ACTOR_SERVICE` | the name of the service |
//! | `ACTOR_VERSION` | a file: its version, and what it does at the start: `fail`, `hang`, or `wait` for that file with `.go` |
//! | `ACTOR_SOCKET`, `ACTOR_PID_FILE`, `ACTOR_PROBATION_MS`, `ACTOR_READY_MS` | of `Takeover` |
//! | `ACTOR_LISTENERS` | how many, the first is `http`; by default one |
//! | `ACTOR_UNIX` | the path of one more, a Unix socket |
//! | `ACTOR_DATA` | a directory to own; the state is a counter of starts |

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use handover::{
    Instance, ItemSpec, Lease, ServiceError, StartError, State, StateWriter, Takeover, blocking,
};

fn set(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn number(name: &str) -> Option<u64> {
    set(name)?.parse().ok()
}

fn say(text: impl std::fmt::Display) {
    println!(">{} {text}", std::process::id());
}

/// What it is built as: read once, so that the file says what the next one will be.
fn version() -> (String, String) {
    let file = set("ACTOR_VERSION").expect("a version");
    let text = std::fs::read_to_string(file).expect("the version file");
    let (version, conduct) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    (version.to_owned(), conduct.to_owned())
}

fn takeover() -> Takeover {
    let mut takeover = Takeover::new();
    if let Some(path) = set("ACTOR_SOCKET") {
        takeover = takeover.socket(path);
    }
    if let Some(path) = set("ACTOR_PID_FILE") {
        takeover = takeover.pid_file(path);
    }
    if let Some(ms) = number("ACTOR_PROBATION_MS") {
        takeover = takeover.probation(Duration::from_millis(ms));
    }
    if let Some(ms) = number("ACTOR_READY_MS") {
        takeover = takeover.ready_within(Duration::from_millis(ms));
    }
    takeover
}

fn service() -> String {
    set("ACTOR_SERVICE").unwrap_or_else(|| "web".into())
}

fn unready(conduct: &str) {
    match conduct {
        "fail" => std::process::exit(3),
        "hang" => std::thread::sleep(Duration::from_secs(3600)),
        "wait" => {
            let go = set("ACTOR_VERSION").unwrap_or_default() + ".go";
            while !std::path::Path::new(&go).exists() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        _ => {}
    }
}

/// The name of listener `index`.
fn name(index: u64) -> String {
    match index {
        0 => "http".into(),
        index => format!("http-{index}"),
    }
}

#[derive(Debug, Default)]
struct Counter(u64);

impl Counter {
    fn items() -> Vec<ItemSpec> {
        vec![ItemSpec::required("starts").versions(1..=1)]
    }

    fn begin(&mut self, lease: &Lease, mut state: State) -> Result<(), ServiceError> {
        if let Some(starts) = state.take("starts") {
            self.0 = starts.value()?;
        }
        self.0 += 1;
        say(format_args!("owns {} {:?}", self.0, lease.epoch()));
        Ok(())
    }
}

impl handover::Service for Counter {
    fn manifest(&self) -> Vec<ItemSpec> {
        Self::items()
    }
    async fn activate(&mut self, lease: Lease, state: State) -> Result<(), ServiceError> {
        self.begin(&lease, state)
    }
    async fn seal(&mut self, state: &mut StateWriter) -> Result<(), ServiceError> {
        Ok(state.put_value("starts", &self.0)?)
    }
    async fn resume(&mut self, _: Lease) -> Result<(), ServiceError> {
        say("resumes");
        Ok(())
    }
}

impl blocking::Service for Counter {
    fn manifest(&self) -> Vec<ItemSpec> {
        Self::items()
    }
    fn activate(&mut self, lease: Lease, state: State) -> Result<(), ServiceError> {
        self.begin(&lease, state)
    }
    fn seal(&mut self, state: &mut StateWriter) -> Result<(), ServiceError> {
        Ok(state.put_value("starts", &self.0)?)
    }
    fn resume(&mut self, _: Lease) -> Result<(), ServiceError> {
        say("resumes");
        Ok(())
    }
}

/// The program of every child.
#[test]
#[ignore = "what other tests start"]
fn role() {
    let done = match set("ACTOR").as_deref() {
        Some("tokio") => tokio::runtime::Runtime::new()
            .expect("a runtime")
            .block_on(on_tasks()),
        Some("blocking") => on_threads(),
        _ => return,
    };
    // Not the test harness's own code, which would be 101.
    if let Err(error) = done {
        say(format_args!("refused: {error}"));
        std::process::exit(1);
    }
    say("ends");
    let _ = std::io::stdout().flush();
    std::process::exit(0);
}

type Failure = Box<dyn std::error::Error>;

fn started<T>(result: Result<T, StartError>) -> Result<T, Failure> {
    result.map_err(|error| format!("start: {error}").into())
}

async fn on_tasks() -> Result<(), Failure> {
    use tokio::io::AsyncWriteExt;
    let (version, conduct) = version();
    let builder = Instance::builder(service()).takeover(takeover());
    let instance = started(builder.start().await)?;
    let mut listeners = Vec::new();
    for index in 0..number("ACTOR_LISTENERS").unwrap_or(1) {
        listeners.push(instance.tcp(&name(index), "127.0.0.1:0").await?);
    }
    if let Some(path) = set("ACTOR_UNIX") {
        listeners.push(instance.unix("unix", PathBuf::from(path)).await?);
    }
    say(format_args!("at {}", listeners[0].local_addr()));
    unready(&conduct);
    let draining = instance.draining();
    match set("ACTOR_DATA") {
        Some(data) => drop(instance.own(data, Counter::default()).await?),
        None => instance.ready().await?,
    }
    say(format_args!("ready {version}"));
    for mut listener in listeners {
        let version = version.clone();
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let answer = format!("{version} {}", std::process::id());
                let _ = connection.write_all(answer.as_bytes()).await;
            }
        });
    }
    let committed = instance.committed();
    tokio::spawn(async move {
        committed.await;
        say("committed");
    });
    draining.await;
    instance.retired().await;
    Ok(())
}

fn on_threads() -> Result<(), Failure> {
    let (version, conduct) = version();
    let builder = blocking::Instance::builder(service()).takeover(takeover());
    let instance = started(builder.start())?;
    let mut listeners = Vec::new();
    for index in 0..number("ACTOR_LISTENERS").unwrap_or(1) {
        listeners.push(instance.tcp(&name(index), "127.0.0.1:0")?);
    }
    say(format_args!("at {}", listeners[0].local_addr()));
    unready(&conduct);
    // From here on a signal drains it.
    instance.draining_within(Duration::ZERO);
    match set("ACTOR_DATA") {
        Some(data) => drop(instance.own(data, Counter::default())?),
        None => instance.ready()?,
    }
    say(format_args!("ready {version}"));
    for listener in listeners {
        let version = version.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let Ok(connection) = connection else { return };
                let answer = format!("{version} {}", std::process::id());
                let _ = (&connection).write_all(answer.as_bytes());
            }
        });
    }
    let committed = instance.clone();
    std::thread::spawn(move || {
        committed.committed();
        say("committed");
    });
    instance.retired();
    Ok(())
}
