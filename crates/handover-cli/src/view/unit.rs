//! Units of systemd for a service, as text.

use crate::systemd::{Version, quoted};
use handover::supervisor::{Config, ListenerSpec};
use handover_proto::manifest::ListenerKind;
use std::fmt::Write;
use std::time::Duration;

/// What systemd waits for a start that says nothing (`DefaultTimeoutStartSec`).
const START: Duration = Duration::from_secs(90);

/// Beyond what a start or a stop takes: the supervisor asks for more itself, this is for when it
/// cannot.
const SLACK: Duration = Duration::from_secs(15);

/// How long the supervisor may be silent: a swap is told of within milliseconds, a machine that
/// swaps may take seconds.
const WATCHDOG: u32 = 30;

/// Descriptors in the store at least: each listener, during an upgrade that changes them twice, and
/// a note.
const STORE: usize = 16;

/// Open files: two versions at once, each with a descriptor for every connection.
const FILES: u32 = 65_536;

/// What a unit is made of.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) config: &'a Config,
    pub(crate) version: Version,
    /// The `handover` command, absolute.
    pub(crate) handover: String,
    /// What stands after `handover run`.
    pub(crate) words: Vec<String>,
    pub(crate) user: Option<String>,
    pub(crate) socket: bool,
}

/// A unit file.
#[derive(Debug)]
pub(crate) struct UnitFile {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// The service first, then a socket unit for each listener if they were asked for.
pub(crate) fn render(plan: &Plan<'_>) -> Vec<UnitFile> {
    let mut files = vec![UnitFile {
        name: format!("{}.service", plan.config.service_name()),
        text: service(plan),
    }];
    if plan.socket {
        let listeners = plan.config.listeners.iter();
        files.extend(listeners.map(|listener| socket(plan, listener)));
    }
    files
}

fn socket_name(plan: &Plan<'_>, listener: &ListenerSpec) -> String {
    let service = plan.config.service_name();
    match plan.config.listeners.len() {
        1 => format!("{service}.socket"),
        _ => format!("{service}-{}.socket", listener.name),
    }
}

fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

fn service(plan: &Plan<'_>) -> String {
    let config = plan.config;
    let name = config.service_name();
    let mut text = format!("[Unit]\nDescription={}\n", name.replace('%', "%%"));
    text.push_str("Wants=network-online.target\nAfter=network-online.target\n\n[Service]\n");
    let mut line = |key: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{key}={value}");
    };
    let notify_reload = plan.version >= Version::NOTIFY_RELOAD;
    line(
        "Type",
        if notify_reload {
            "notify-reload"
        } else {
            "notify"
        },
    );
    line("NotifyAccess", "main");
    if let Some(user) = &plan.user {
        line("User", user);
        // Without it /run is root's alone. It outlives a crash: by it instances are found again.
        let directory = format!("handover-{name}");
        line("RuntimeDirectory", &directory);
        line("RuntimeDirectoryMode", "0700");
        line("RuntimeDirectoryPreserve", "restart");
        line(
            "Environment",
            &format!("HANDOVER_RUNTIME_DIR=%t/{directory}"),
        );
        if binds_privileged(plan) {
            line("AmbientCapabilities", "CAP_NET_BIND_SERVICE");
        }
    }
    let words: Vec<String> = plan.words.iter().map(|word| quoted(word)).collect();
    let handover = quoted(&plan.handover);
    line("ExecStart", &format!("{handover} run {}", words.join(" ")));
    if !notify_reload {
        // Waits for the end, and fails if the new version does not serve.
        line(
            "ExecReload",
            &format!("{handover} upgrade --service {name}"),
        );
    }
    line("KillMode", "process");
    let start = START.max(config.ready_timeout + SLACK);
    line("TimeoutStartSec", &seconds(start).to_string());
    let ladder = config.drain_announce + config.drain_notify + config.drain_grace;
    let stop = ladder + config.kill_after + SLACK;
    line("TimeoutStopSec", &seconds(stop).to_string());
    line("WatchdogSec", &WATCHDOG.to_string());
    line("Restart", "on-failure");
    line("RestartPreventExitStatus", "2");
    let store = STORE.max(config.listeners.len() * 3 + 1);
    line("FileDescriptorStoreMax", &store.to_string());
    if plan.version >= Version::STORE_PRESERVE {
        line("FileDescriptorStorePreserve", "restart");
    }
    line("LimitNOFILE", &FILES.to_string());
    if plan.socket {
        let sockets = config.listeners.iter();
        let sockets: Vec<_> = sockets
            .map(|listener| socket_name(plan, listener))
            .collect();
        line("Sockets", &sockets.join(" "));
    }
    text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    text
}

/// Whether the service itself binds a port that only root may, by the default limit.
fn binds_privileged(plan: &Plan<'_>) -> bool {
    let port = |listener: &ListenerSpec| match listener.kind {
        ListenerKind::Unix => None,
        ListenerKind::Tcp | ListenerKind::Udp => {
            let port = listener.address.rsplit_once(':')?.1;
            port.parse::<u16>().ok()
        }
    };
    let mut ports = plan.config.listeners.iter().filter_map(port);
    !plan.socket && ports.any(|port| (1..1024).contains(&port))
}

fn socket(plan: &Plan<'_>, listener: &ListenerSpec) -> UnitFile {
    let service = plan.config.service_name();
    let (key, rest) = match listener.kind {
        ListenerKind::Tcp => ("ListenStream", "Backlog=4096\n"),
        ListenerKind::Udp => ("ListenDatagram", ""),
        ListenerKind::Unix => ("ListenStream", "Backlog=4096\nRemoveOnStop=yes\n"),
    };
    let address = listener.address.replace('%', "%%");
    let name = &listener.name;
    let shown = service.replace('%', "%%");
    let text = format!(
        "[Unit]\nDescription={shown}: {name}\n\n[Socket]\n{key}={address}\n\
         FileDescriptorName={name}\nService={service}.service\n{rest}\n[Install]\n\
         WantedBy=sockets.target\n"
    );
    UnitFile {
        name: socket_name(plan, listener),
        text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(listeners: &[&str]) -> Config {
        Config {
            service: "app".into(),
            program: vec!["/srv/app/server".into()],
            listeners: listeners.iter().map(|text| text.parse().unwrap()).collect(),
            ..Config::default()
        }
    }

    fn text(plan: &Plan<'_>) -> String {
        let files = render(plan);
        let shown = files
            .iter()
            .map(|file| format!("# {}\n{}", file.name, file.text));
        shown.collect::<Vec<_>>().join("\n")
    }

    fn plan(config: &Config, version: u32) -> Plan<'_> {
        let words = ["--name", "app", "--", "/srv/app/server", "100% of $X"];
        Plan {
            config,
            version: Version(version),
            handover: "/usr/local/bin/handover".into(),
            words: words.map(str::to_owned).to_vec(),
            user: None,
            socket: false,
        }
    }

    #[test]
    fn a_service_for_an_older_systemd() {
        let config = config(&["http=0.0.0.0:8080"]);
        insta::assert_snapshot!(text(&plan(&config, 252)));
    }

    #[test]
    fn a_service_of_a_user_with_sockets_for_a_newer_systemd() {
        let config = config(&[
            "http=0.0.0.0:80",
            "admin=unix:/run/app.sock",
            "dns=udp:[::]:53",
        ]);
        let plan = Plan {
            user: Some("web".into()),
            socket: true,
            ..plan(&config, 254)
        };
        insta::assert_snapshot!(text(&plan));
    }

    #[test]
    fn a_user_that_binds_a_privileged_port_is_permitted_to() {
        let config = config(&["http=0.0.0.0:80"]);
        let plan = Plan {
            user: Some("web".into()),
            ..plan(&config, 253)
        };
        assert!(text(&plan).contains("AmbientCapabilities=CAP_NET_BIND_SERVICE\n"));
    }
}
