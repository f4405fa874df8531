//! A supervisor in a process of its own, and what it says.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use handover::supervisor::{Config, Supervisor};
use handover_proto::event::Event;
use handover_proto::outcome::Outcome;
use handover_proto::phase::Mode;
use handover_proto::status::{HistoryEntry, Status, UpgradeRequest};

use crate::actor::LIE;

/// More than any test machine needs; only a hang gets there.
pub const PATIENCE: Duration = Duration::from_secs(60);

const CONFIG: &str = "STAGE_CONFIG";

/// The service's name, and its directory's.
const SERVICE: &str = "owner";

/// The process of a supervisor.
pub fn supervise() {
    let config = std::env::var(CONFIG).expect("a configuration");
    let config: Config = serde_json::from_str(&config).expect("a configuration");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let ended = runtime.block_on(async {
        match Supervisor::new(config).await {
            Ok(supervisor) => {
                let mut events = supervisor.events();
                let log = tokio::spawn(async move {
                    while let Some(event) = events.next().await {
                        // There may be no room for it.
                        let _ = writeln!(std::io::stderr(), "{}", event.kind);
                    }
                });
                let ended = supervisor.run().await.expect("it runs");
                log.await.expect("it logs");
                ended.exit_code()
            }
            Err(error) => {
                eprintln!("{error}");
                1
            }
        }
    });
    std::process::exit(ended.into());
}

/// This program in another role.
fn role(name: &str, lie: Option<&str>) -> Vec<String> {
    let own = std::env::current_exe().expect("a path");
    let own = own.to_str().expect("text").to_owned();
    let mut line = vec![own, "--ignored".into(), "--exact".into()];
    line.extend(["--nocapture".to_owned(), name.to_owned()]);
    line.extend(lie.map(|lie| format!("{LIE}{lie}")));
    line
}

/// The body of a request for an actor.
fn upgrade(lie: Option<&str>, more: &[String]) -> String {
    let args = role("instance", lie).into_iter().skip(1);
    let request = UpgradeRequest {
        args: Some(args.chain(more.iter().cloned()).collect()),
        ..UpgradeRequest::default()
    };
    serde_json::to_string(&request).expect("JSON")
}

/// A supervised service whose instances are actors.
pub struct Stage {
    /// Gone with the test, which ends the actors.
    pub dir: tempfile::TempDir,
    config: Config,
    supervisor: Option<Child>,
}

impl Stage {
    /// Starts a service and waits until it serves.
    pub fn start(set: impl FnOnce(&mut Config)) -> Self {
        let mut stage = Self::prepared(set);
        stage.supervise();
        stage.until("it serves", |status| status.incumbent.is_some());
        stage
    }

    /// Everything but the supervisor.
    pub fn prepared(set: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("run");
        let mut config = Config {
            service: SERVICE.into(),
            program: role("instance", None),
            ready_timeout: PATIENCE,
            mode: Mode::Exclusive,
            runtime_dir: Some(root),
            kill_after: Duration::from_millis(200),
            ..Config::default()
        };
        let actors = dir.path().to_str().expect("text").to_owned();
        config.env.insert("ACTOR_DIR".into(), actors);
        set(&mut config);
        Self {
            dir,
            config,
            supervisor: None,
        }
    }

    /// Waits until the supervisor ends: its exit code.
    pub fn ended(&mut self) -> Option<i32> {
        let mut supervisor = self.supervisor.take().expect("started");
        supervisor.wait().expect("ours").code()
    }

    /// Starts the supervisor, again if it was there before.
    pub fn supervise(&mut self) {
        let line = role("supervisor", None);
        let config = serde_json::to_string(&self.config).expect("JSON");
        let mut command = Command::new(&line[0]);
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"HANDOVER_") {
                command.env_remove(name);
            }
        }
        let mut log = std::fs::File::options();
        let log = log
            .create(true)
            .append(true)
            .open(self.dir.path().join("log"));
        let log = log.expect("a log");
        let child = command
            .args(&line[1..])
            .env(CONFIG, config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn();
        self.supervisor = Some(child.expect("it starts"));
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill_supervisor(&mut self) {
        if let Some(mut supervisor) = self.supervisor.take() {
            supervisor.kill().expect("ours");
            supervisor.wait().expect("ours");
        }
    }

    /// SIGKILL, while somebody talks to it; see [`reap_supervisor`](Self::reap_supervisor).
    pub fn kill_by_pid(&self) {
        let supervisor = self.supervisor.as_ref().expect("started");
        let process = handover_sys::Pidfd::open(supervisor.id()).expect("it lives");
        process.signal(handover_sys::Signal::KILL).expect("ours");
    }

    /// Waits until it is gone.
    pub fn reap_supervisor(&mut self) {
        self.kill_supervisor();
    }

    fn socket(&self) -> PathBuf {
        self.service_dir().join("control.sock")
    }

    /// Where journal and sockets are.
    pub fn service_dir(&self) -> PathBuf {
        self.dir.path().join("run").join(SERVICE)
    }

    /// Status and body of the answer, if somebody answers.
    pub fn request(&self, line: &str, body: &str) -> Option<(u16, String)> {
        let mut stream = UnixStream::connect(self.socket()).ok()?;
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let code = head.split(' ').nth(1)?.parse().ok()?;
        Some((code, body.to_owned()))
    }

    pub fn try_status(&self) -> Option<Status> {
        let (_, body) = self.request("GET /v1/status", "")?;
        serde_json::from_str(&body).ok()
    }

    pub fn status(&self) -> Status {
        self.try_status().expect("a supervisor that answers")
    }

    /// Waits until the status is as it should be.
    #[track_caller]
    pub fn until(&self, what: &str, holds: impl Fn(&Status) -> bool) -> Status {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.try_status();
            if let Some(status) = status.clone().filter(&holds) {
                return status;
            }
            assert!(Instant::now() < deadline, "never: {what}: {status:#?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[track_caller]
    fn outcome(&self, line: &str, body: &str) -> Outcome {
        let (_, body) = self.request(line, body).expect("an answer");
        serde_json::from_str(&body).expect(&body)
    }

    /// Upgrades to an actor, one that lies if told so.
    #[track_caller]
    pub fn upgrade(&self, lie: Option<&str>) -> Outcome {
        self.upgrade_with(lie, &[])
    }

    /// Upgrades to the program that is named so.
    #[track_caller]
    pub fn upgrade_to(&self, program: &str) -> Outcome {
        self.upgrade_with(None, &[program.to_owned()])
    }

    /// The same, and the answer may be cut off.
    pub fn request_upgrade(&self, program: &str) -> Option<(u16, String)> {
        self.request("POST /v1/upgrade", &upgrade(None, &[program.to_owned()]))
    }

    /// The same with more arguments, which mean nothing.
    #[track_caller]
    pub fn upgrade_with(&self, lie: Option<&str>, more: &[String]) -> Outcome {
        self.outcome("POST /v1/upgrade", &upgrade(lie, more))
    }

    #[track_caller]
    pub fn undo(&self) -> Outcome {
        self.outcome("POST /v1/undo", "")
    }

    pub fn history(&self) -> Vec<HistoryEntry> {
        let (_, body) = self.request("GET /v1/history", "").expect("an answer");
        serde_json::from_str(&body).expect(&body)
    }

    /// What the supervisor wrote to its standard error.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).expect("a log")
    }

    /// The events kept until now, as lines.
    pub fn told(&self) -> Vec<String> {
        let mut stream = UnixStream::connect(self.socket()).expect("a supervisor");
        let request = "GET /v1/events?since=0 HTTP/1.0\r\nHost: x\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("writes");
        let quiet = Some(Duration::from_millis(200));
        stream.set_read_timeout(quiet).expect("sets");
        let mut text = Vec::new();
        let mut chunk = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut chunk) {
            text.extend_from_slice(&chunk[..read]);
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines = text.lines();
        let events = lines.filter_map(|line| serde_json::from_str(line).ok());
        events.map(|event: Event| event.kind.to_string()).collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.kill_supervisor();
    }
}
