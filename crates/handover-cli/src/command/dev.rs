//! `handover dev`: a supervisor at a terminal, which hands over to a new build when a file changes.

use super::{block_on, config};
use crate::args::DevArgs;
use crate::configuration::{self, BY_PROGRAM, Effective, Origin};
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::output::{Ink, say};
use crate::project::{Project, Watcher};
use crate::view::development::{self, Story};
use handover::supervisor::keeper::KeeperPolicy;
use handover::supervisor::{
    Config, ListenerSpec, Requests, StderrPolicy, Subscription, Supervisor,
};
use handover_proto::event::{Event, EventKind};
use handover_proto::manifest::ListenerKind;
use handover_proto::phase::Phase;
use handover_proto::settings::WhenBusy;
use handover_proto::status::UpgradeRequest;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// From the start of a build until its server is ready. Whoever waits in vain changes a file, and
/// that begins anew; a cold build may take this long.
const READY: Duration = Duration::from_secs(3600);

/// The ladder of the old version, of which at most one user has a request in flight.
const NOTIFY: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(5);

/// How long a program that was asked to end may take.
const KILL_AFTER: Duration = Duration::from_secs(2);

/// How long the end of a server is kept to ourselves: it may be Ctrl-C, which reaches it and us.
const PERHAPS_INTERRUPTED: Duration = Duration::from_millis(100);

/// How long the last lines may take to be written after the supervisor has ended.
const FLUSH: Duration = Duration::from_secs(1);

/// Files that a build writes by itself among those of the project: they are no change while one is
/// under way.
const WRITTEN_BY_BUILDS: &[&str] = &["Cargo.lock"];

/// Where `make` names the descriptors of its job server: numbers that are those of listeners below
/// us. Emptied, so that a build does not take a listener for it.
const JOB_SERVERS: &[&str] = &["CARGO_MAKEFLAGS", "MAKEFLAGS", "MFLAGS"];

pub(super) fn dispatch(runtime_dir: Option<&Path>, args: DevArgs) -> Result<ExitCode, CliError> {
    let effective = config::load(runtime_dir, &args.service)?;
    let config = configuration::config(&effective)?;
    let here = std::env::current_dir().unwrap_or_default();
    let config = developing(config, &effective, &here, args.no_listen_pid);
    let roots = match args.watch.is_empty() {
        true => vec![PathBuf::from(".")],
        false => args.watch,
    };
    let project = Project::open(&roots, &args.ignore)?;
    block_on(develop(config, project, args.poll))
}

/// The same service with the defaults of development, and what only `dev` does.
fn developing(config: Config, effective: &Effective, here: &Path, any_listen_pid: bool) -> Config {
    let mut env = config.env.clone();
    for name in JOB_SERVERS {
        if std::env::var_os(name).is_some() {
            env.entry((*name).to_owned()).or_default();
        }
    }
    let given = |key| effective.get(key).is_some();
    let or = |key, value, default| if given(key) { value } else { default };
    let named = effective.get("service");
    let named = named.is_some_and(|name| name.origin != Origin::Flag(BY_PROGRAM));
    let listeners = match config.listeners.is_empty() {
        true => vec![listener()],
        false => config.listeners.clone(),
    };
    Config {
        service: match named {
            true => config.service.clone(),
            false => service_name(here),
        },
        listeners,
        ready_timeout: or("ready-timeout", config.ready_timeout, READY),
        drain_notify: or("drain-notify", config.drain_notify, NOTIFY),
        drain_grace: or("drain-grace", config.drain_grace, GRACE),
        kill_after: or("kill-after", config.kill_after, KILL_AFTER),
        // Straight to the terminal, so that compilers know it is one.
        stderr: match given("stderr") {
            true => config.stderr,
            false => StderrPolicy::Inherit,
        },
        keeper: KeeperPolicy::Never,
        env,
        attended: true,
        any_listen_pid,
        ..config
    }
}

/// What is held where nothing is given.
fn listener() -> ListenerSpec {
    ListenerSpec {
        name: "http".to_owned(),
        kind: ListenerKind::Tcp,
        address: "127.0.0.1:8080".to_owned(),
    }
}

/// A service is called as its project is; not as `cargo` is, which many have.
fn service_name(here: &Path) -> String {
    let name = here.file_name().unwrap_or_default().to_string_lossy();
    let plain = |c: char| match c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') {
        true => c,
        false => '-',
    };
    let name: String = name.chars().map(plain).collect();
    format!("{}-dev", name.trim_start_matches('.'))
}

async fn develop(config: Config, project: Project, poll: bool) -> Result<ExitCode, CliError> {
    let ink = Ink::stderr();
    // Before the first build, which reads what is watched.
    let watcher = Watcher::begin(project, poll);
    let supervisor = Supervisor::new(config).await?;
    let telling = tokio::spawn(tell(supervisor.events(), ink));
    let rebuilding = tokio::spawn(rebuild(supervisor.requests(), watcher, ink));
    let ended = supervisor.run().await;
    rebuilding.abort();
    // The stream of events ends with the supervisor.
    let _ = timeout(FLUSH, telling).await;
    Ok(ExitCode::of_service(ended?.exit_code()))
}

/// Asks for a new version after each change.
async fn rebuild(requests: Requests, mut watcher: Watcher, ink: Ink) {
    let here = std::env::current_dir().unwrap_or_default();
    if phase(&requests).await == Some(Phase::Serving) {
        // From an earlier run, and files may have changed since.
        ask(&requests);
    }
    loop {
        let changes;
        (watcher, changes) = watcher.changed().await;
        let by_build = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| WRITTEN_BY_BUILDS.contains(&name))
        };
        if changes.iter().all(by_build) && phase(&requests).await == Some(Phase::Warm) {
            continue;
        }
        say(&development::changed(&changes, &here, ink));
        ask(&requests);
    }
}

async fn phase(requests: &Requests) -> Option<Phase> {
    Some(requests.status().await?.phase)
}

/// The newest change counts: a build of an older one is given up.
fn ask(requests: &Requests) {
    let requests = requests.clone();
    let request = UpgradeRequest {
        when_busy: WhenBusy::Supersede,
        ..UpgradeRequest::default()
    };
    // How it ends is heard of as an event.
    tokio::spawn(async move { requests.upgrade(request).await });
}

/// Says what happens.
async fn tell(mut events: Subscription, ink: Ink) {
    let mut story = Story::default();
    let mut next = events.next().await;
    while let Some(event) = next.take() {
        let mut waiting = vec![event];
        // Whether it was Ctrl-C is known once its own signal was heard.
        while development::may_be_the_end(last(&waiting)) {
            match timeout(PERHAPS_INTERRUPTED, events.next()).await {
                Ok(Some(event)) => waiting.push(event),
                Ok(None) | Err(_) => break,
            }
        }
        if waiting.iter().any(|event| is_stop(&event.kind)) {
            story.stops();
        }
        for event in waiting {
            if let Some(line) = story.line(&event.kind, ink) {
                say(&line);
            }
        }
        next = events.next().await;
    }
}

fn last(events: &[Arc<Event>]) -> &EventKind {
    &events[events.len() - 1].kind
}

fn is_stop(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Stopping { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_called_as_its_directory_is() {
        for (directory, name) in [
            ("/src/web", "web-dev"),
            ("/src/my app (2)", "my-app--2--dev"),
            ("/src/.config", "config-dev"),
            ("/", "-dev"),
        ] {
            assert_eq!(service_name(Path::new(directory)), name);
        }
    }
}
