//! A service of a compose file: whether its platform lets two containers hand over.
//!
//! What the labels mean and their defaults are balena's (docs.balena.io, "Controlling the update
//! strategy" and "docker-compose.yml fields"); the rest is the Compose specification's.

use std::collections::BTreeMap;
use std::time::Duration;

use handover_proto::container::settings::Settings;

use super::Finding;
use super::told::Told;

#[cfg(test)]
mod tests;

/// Label: in which order an update stops the old container and starts the new one.
const STRATEGY: &str = "io.balena.update.strategy";
/// Label: milliseconds after which the old container is stopped without the file.
const TIMEOUT: &str = "io.balena.update.handover-timeout";
/// Without the label.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// Between SIGTERM and SIGKILL, without `stop_grace_period`.
const GRACE_DEFAULT: Duration = Duration::from_secs(10);
/// How long a new version may take until it is ready, by default.
const READY: Duration = Duration::from_secs(30);
/// For the file to be seen and the datagrams to be sent.
const SLACK: Duration = Duration::from_secs(5);

/// What a compose file says of one service, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Composed {
    /// The service's name.
    pub name: String,
    /// `restart`.
    pub restart: Option<String>,
    /// `network_mode`.
    pub network_mode: Option<String>,
    /// `stop_grace_period`.
    pub stop_grace_period: Option<String>,
    /// `labels`.
    pub labels: BTreeMap<String, String>,
    /// `environment`; empty text for a variable that is passed through.
    pub environment: BTreeMap<String, String>,
    /// The words of `entrypoint` and `command`; empty if both are left to the image.
    pub command: Vec<String>,
    /// `volumes`.
    pub mounts: Vec<Mount>,
    /// `ports` that take a port of the host, as they are written.
    pub published: Vec<String>,
}

/// A volume in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// A named volume, or a path of the host; none if every container gets one of its own.
    pub source: Option<String>,
    /// Where it is in the container.
    pub target: String,
}

impl Composed {
    fn told(&self) -> Told<'_> {
        Told {
            command: &self.command,
            environment: &self.environment,
        }
    }
}

/// Judges one service.
pub(super) fn examine(service: &Composed) -> Vec<Finding> {
    let mut findings = vec![
        command(service),
        strategy(service),
        timeout(service),
        grace(service),
        restart(service),
        network(service),
        volume(service),
    ];
    findings.extend(ports(service));
    findings
}

/// A value that holds a variable nobody set here is not judged.
fn undecided(check: &str, value: &str) -> Option<Finding> {
    value.contains('$').then(|| {
        Finding::note(
            check,
            format!("{value}: a variable that is not set here decides it"),
            "set the variable as where it is deployed, and look again",
        )
    })
}

fn command(service: &Composed) -> Finding {
    const CHECK: &str = "entrypoint";
    let program = service.command.first().map(String::as_str);
    let is_ours = |word: &str| word.rsplit('/').next() == Some("handover");
    match program {
        None => Finding::ok(CHECK, "as the image has it"),
        Some(program)
            if is_ours(program) && service.command.get(1).is_some_and(|w| w == "peer") =>
        {
            Finding::ok(CHECK, "handover peer")
        }
        Some(program) if is_ours(program) => Finding::bad(
            CHECK,
            format!("{program} without `peer`: it hands over inside of its container only"),
            "entrypoint: [\"/handover\", \"peer\", \"--\", \"/server\"]",
        ),
        // It may be built with the library.
        Some(program) => Finding::ok(CHECK, program),
    }
}

fn strategy(service: &Composed) -> Finding {
    let found = service.labels.get(STRATEGY).map(String::as_str);
    let fix = format!("labels: {{{STRATEGY}: hand-over}}");
    match found {
        Some("hand-over") => Finding::ok(STRATEGY, "hand-over"),
        None => Finding::bad(
            STRATEGY,
            "not given: balena stops the old container before it starts the new one",
            fix,
        ),
        Some(other) => undecided(STRATEGY, other).unwrap_or_else(|| {
            let found = format!("{other}: the two containers never run at the same time");
            Finding::bad(STRATEGY, found, fix)
        }),
    }
}

fn timeout(service: &Composed) -> Finding {
    let label = service.labels.get(TIMEOUT);
    if let Some(finding) = label.and_then(|value| undecided(TIMEOUT, value)) {
        return finding;
    }
    let (time, shown) = match label.map(|value| (value, value.trim().parse::<u64>())) {
        None => (TIMEOUT_DEFAULT, "not given, 60 s".to_owned()),
        Some((_, Ok(millis))) => {
            let time = Duration::from_millis(millis);
            (time, humantime::format_duration(time).to_string())
        }
        Some((value, Err(_))) => {
            let found = format!("{value}: not a number of milliseconds");
            return Finding::bad(TIMEOUT, found, format!("{TIMEOUT}: \"120000\""));
        }
    };
    let ready = service.told().time("--ready-timeout", READY);
    let ladder = service.told().ladder();
    let probation = service
        .told()
        .time("--probation", Settings::default().probation);
    let leaving = ladder.saturating_add(probation).saturating_add(SLACK);
    let all = leaving.saturating_add(ready);
    let shown_time = humantime::format_duration;
    let fix = format!(
        "{TIMEOUT}: \"{}\" or more: --ready-timeout {}, the drain ladder {}, probation {}, and some \
         seconds",
        all.as_millis(),
        shown_time(ready),
        shown_time(ladder),
        shown_time(probation),
    );
    if time < leaving {
        let found = format!("{shown}: the old container is killed while it drains or in probation");
        Finding::bad(TIMEOUT, found, fix)
    } else if time < all {
        let found = format!("{shown}: it begins when the new container does, not when it is ready");
        Finding::note(TIMEOUT, found, fix)
    } else {
        Finding::ok(TIMEOUT, shown)
    }
}

fn grace(service: &Composed) -> Finding {
    const CHECK: &str = "stop_grace_period";
    let given = service.stop_grace_period.as_deref();
    if let Some(finding) = given.and_then(|value| undecided(CHECK, value)) {
        return finding;
    }
    let wanted = service.told().ladder().saturating_add(SLACK);
    let fix = format!(
        "{CHECK}: {}s or more: drain-announce, drain-notify, drain-grace and kill-after together, and \
         some seconds",
        wanted.as_secs()
    );
    let time = match given.map(|text| (text, humantime::parse_duration(text))) {
        None => GRACE_DEFAULT,
        Some((_, Ok(time))) => time,
        Some((text, Err(_))) => {
            return Finding::bad(CHECK, format!("{text}: not a time such as 1m30s"), fix);
        }
    };
    let shown = given.unwrap_or("not given, 10 s");
    if time < wanted {
        // A platform that does not wait for the file has nothing but this.
        let found = format!("{shown}: SIGKILL comes before the ladder of a drain is over");
        return Finding::bad(CHECK, found, fix);
    }
    Finding::ok(CHECK, shown)
}

fn restart(service: &Composed) -> Finding {
    const CHECK: &str = "restart";
    let leaves = service.told().is_on("--exit-when-done");
    let found = service.restart.as_deref();
    if let Some(finding) = found.and_then(|value| undecided(CHECK, value)) {
        return finding;
    }
    // With balena, `always` unless something else is said.
    let shown = found.unwrap_or("not given, always with balena");
    match found.unwrap_or("always") {
        "always" | "unless-stopped" if leaves => Finding::bad(
            CHECK,
            format!("{shown}: with --exit-when-done it revives an instance that has handed over"),
            "leave --exit-when-done out, so that it stays quiet until it is stopped; or restart: \
             on-failure",
        ),
        "no" => Finding::note(
            CHECK,
            "no: when `handover` itself ends or is killed, nobody serves",
            "restart: always (an instance that has handed over stays quiet and does not end)",
        ),
        _ => Finding::ok(CHECK, shown),
    }
}

fn network(service: &Composed) -> Finding {
    const CHECK: &str = "network_mode";
    const VARIABLE: &str = "HANDOVER_NETWORK_MODE";
    let mode = service.network_mode.as_deref();
    let told = service.told().value("--network-mode");
    let mut given = [mode, told].into_iter().flatten();
    if let Some(finding) = given.find_map(|value| undecided(CHECK, value)) {
        return finding;
    }
    let is_host = mode == Some("host");
    match (is_host, told) {
        (true, Some("host")) => Finding::ok(CHECK, "host"),
        (true, _) => Finding::bad(
            CHECK,
            format!(
                "host, and {VARIABLE} says {}: announcements leave the device, and every device of \
                 the network retires the others",
                told.unwrap_or("nothing, which is bridge")
            ),
            format!("environment: {{{VARIABLE}: host}}"),
        ),
        (false, Some("host")) => Finding::bad(
            CHECK,
            format!("{}, and {VARIABLE} says host", mode.unwrap_or("bridge")),
            format!("network_mode: host, or leave {VARIABLE} out: the interface is not there"),
        ),
        (false, _) if mode == Some("none") => Finding::note(
            CHECK,
            "none: there is nothing to send on",
            "--volume with a shared volume; or network_mode: bridge",
        ),
        (false, _) => Finding::ok(CHECK, mode.unwrap_or("bridge")),
    }
}

fn volume(service: &Composed) -> Finding {
    const CHECK: &str = "shared volume";
    let fix = "volumes: [\"handover:/shared\"] with handover: under the top level's volumes:, and \
               --volume /shared";
    let Some(directory) = service.told().value("--volume") else {
        return match service.mounts.iter().find(|mount| mount.source.is_some()) {
            _ if service.command.is_empty() => Finding::ok(CHECK, "as the image has it"),
            Some(mount) => Finding::note(
                CHECK,
                format!("{} is there and not used", mount.target),
                format!(
                    "--volume {}: then instances find each other without multicast, keep their \
                     order across restarts, and share a key",
                    mount.target
                ),
            ),
            None => Finding::note(CHECK, "none: multicast only, without a key", fix),
        };
    };
    let path = std::path::Path::new(directory);
    let below = service.mounts.iter();
    let below = below.filter(|mount| path.starts_with(&mount.target));
    match below.max_by_key(|mount| mount.target.len()) {
        None => Finding::bad(
            CHECK,
            format!("{directory} is in no volume: each container has its own"),
            fix,
        ),
        Some(Mount { source: None, .. }) => Finding::bad(
            CHECK,
            format!("{directory} is in a volume without a name: each container has its own"),
            fix,
        ),
        Some(mount) => Finding::ok(
            CHECK,
            format!("{} at {directory}", mount.source.as_deref().unwrap_or("")),
        ),
    }
}

/// Of the host's: the old container has it, so the new one cannot start.
fn ports(service: &Composed) -> Option<Finding> {
    let is_host = service.network_mode.as_deref() == Some("host");
    let first = service.published.first().filter(|_| !is_host)?;
    Some(Finding::bad(
        "ports",
        format!("{first}: the new container cannot start while the old one has that port"),
        "network_mode: host with -l and --volume, so that the listener crosses; or expose: and a load \
         balancer that follows `handover peer watch`",
    ))
}
