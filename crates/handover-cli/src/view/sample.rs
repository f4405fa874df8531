//! Fixed states for snapshot tests of the screens.

use crate::view::outcome::{Ending, Wish};
use handover::supervisor::{CheckReport, Finding};
use handover_proto::event::{DrainReport, Event, EventKind, Readiness};
use handover_proto::identity::{Epoch, Generation, HandoverId, InstanceId, InstancePid};
use handover_proto::manifest::{ListenerEntry, ListenerKind};
use handover_proto::outcome::{Cause, Exit, Outcome, Refusal};
use handover_proto::phase::{Mode, Phase};
use handover_proto::settings::Stop;
use handover_proto::status::{
    HandoverStatus, HistoryEntry, InstanceStatus, LeaseStatus, Progress, Status,
};
use std::time::Duration;

/// When the samples happen: 2026-11-21 07:51:19.024 UTC.
pub(crate) const NOW: u64 = 1_795_247_479_024;

fn instance(number: u64, program: &str) -> InstanceStatus {
    InstanceStatus {
        instance: InstanceId(number),
        pid: Some(InstancePid(4_200 + number as u32)),
        program: program.to_owned(),
        native: true,
        uptime_ms: 11_520_000,
        connections: Some(128),
        text: None,
        rss_bytes: Some(34_100_000),
        descriptors: Some(141),
    }
}

fn listener(name: &str, kind: ListenerKind, address: &str) -> ListenerEntry {
    ListenerEntry {
        name: name.to_owned(),
        kind,
        address: address.to_owned(),
    }
}

pub(crate) fn at_rest() -> Status {
    Status {
        service: "web".to_owned(),
        version: "0.1.0".to_owned(),
        supervisor_pid: 4_100,
        uptime_ms: 187_200_000,
        mode: Mode::Overlap,
        phase: Phase::Serving,
        generation: Generation(4),
        incumbent: Some(instance(4, "./server --port 8080")),
        successor: None,
        why: "since handover 0000002a-4 was committed".to_owned(),
        lease: None,
        candidates: Vec::new(),
        parked: None,
        probation_ms: None,
        leaving: Vec::new(),
        listeners: vec![
            listener("http", ListenerKind::Tcp, "127.0.0.1:8080"),
            listener("dns", ListenerKind::Udp, "[::]:53"),
            listener("admin", ListenerKind::Unix, "/run/web/admin.sock"),
        ],
        handover: None,
        queued: false,
        previous: Some("./server-v3 --port 8080".to_owned()),
        supervisor_rss_bytes: 5_200_000,
        supervisor_descriptors: 19,
    }
}

pub(crate) fn in_handover() -> Status {
    let mut successor = instance(5, "./server-v5 --port 8080");
    successor.uptime_ms = 1_240;
    successor.connections = None;
    successor.text = Some("reading 3 of 12 tables".to_owned());
    let mut leaving = instance(3, "./server-v3 --port 8080");
    leaving.native = false;
    leaving.connections = Some(2);
    leaving.rss_bytes = None;
    Status {
        phase: Phase::Warm,
        successor: Some(successor),
        leaving: vec![leaving],
        handover: Some(HandoverStatus {
            id: HandoverId::new(42, 4),
            elapsed_ms: 1_250,
            dark_us: None,
            seal: None,
        }),
        queued: true,
        ..at_rest()
    }
}

/// Exclusive mode: the old instance seals, nobody writes.
pub(crate) fn sealing() -> Status {
    let mut successor = instance(5, "./kv-v5");
    successor.uptime_ms = 1_240;
    successor.connections = Some(0);
    Status {
        mode: Mode::Exclusive,
        phase: Phase::Seal,
        lease: Some(LeaseStatus {
            instance: InstanceId(4),
            epoch: Epoch(11),
        }),
        successor: Some(successor),
        handover: Some(HandoverStatus {
            id: HandoverId::new(42, 4),
            elapsed_ms: 1_250,
            dark_us: Some(2_310),
            seal: Some(Progress { done: 3, total: 12 }),
        }),
        ..at_rest()
    }
}

/// Exclusive mode: the new instance serves on probation, the old one is parked.
pub(crate) fn on_probation() -> Status {
    Status {
        mode: Mode::Exclusive,
        phase: Phase::Probation,
        lease: Some(LeaseStatus {
            instance: InstanceId(4),
            epoch: Epoch(11),
        }),
        parked: Some(instance(3, "./kv-v3")),
        probation_ms: Some(24_300),
        ..at_rest()
    }
}

/// A supervisor that was just started again does not know yet who holds the lease.
pub(crate) fn recovering() -> Status {
    Status {
        mode: Mode::Exclusive,
        phase: Phase::Resume,
        incumbent: None,
        why:
            "the supervisor was started again and waits for the one that holds the lease to report"
                .to_owned(),
        candidates: vec![instance(4, "./kv-v4"), instance(5, "./kv-v5")],
        ..at_rest()
    }
}

pub(crate) fn vacant() -> Status {
    Status {
        phase: Phase::Vacant,
        incumbent: None,
        why: "instance #4 was killed by signal 11".to_owned(),
        previous: None,
        ..at_rest()
    }
}

pub(crate) fn committed() -> Outcome {
    Outcome::Committed {
        generation: Generation(5),
        instance: InstanceId(5),
    }
}

fn crashed_at_start() -> Outcome {
    Outcome::RolledBack {
        cause: Cause::ExitedBeforeReady {
            exit: Exit::Code(1),
        },
    }
}

fn too_dark() -> Outcome {
    let budget = Duration::from_millis(200);
    let cause = Cause::TooDark { budget };
    Outcome::RolledBack { cause }
}

fn not_native() -> Outcome {
    let cause = Cause::NotNative;
    Outcome::RolledBack { cause }
}

fn never_ready() -> Outcome {
    Outcome::TimedOut {
        cause: Cause::TimedOut {
            phase: Phase::Warm,
            allowed: Duration::from_secs(30),
        },
    }
}

pub(crate) fn outcomes() -> Vec<(Outcome, Ending)> {
    let ending = |took: u64, words: &[&str], status: Option<Status>| Ending {
        wish: Wish::Forward,
        took: Duration::from_millis(took),
        dark: None,
        last_words: words.iter().map(|&word| word.to_owned()).collect(),
        status,
    };
    let dark = Ending {
        dark: Some(Duration::from_micros(3_140)),
        ..ending(1_240, &[], Some(on_probation()))
    };
    let refused = |refusal| Outcome::Refused { refusal };
    let back = |ending| Ending {
        wish: Wish::Back,
        ..ending
    };
    let words = ["config.toml: unknown key `prot`", "giving up"];
    let cause = Cause::Crashed {
        exit: Exit::Signal(11),
    };
    vec![
        (committed(), ending(1_240, &[], Some(at_rest()))),
        (committed(), dark),
        (too_dark(), ending(240, &[], Some(at_rest()))),
        (not_native(), ending(90, &[], Some(at_rest()))),
        (committed(), back(ending(12, &[], Some(at_rest())))),
        (too_dark(), back(ending(240, &[], Some(on_probation())))),
        (
            refused(Refusal::NothingToUndo),
            back(ending(1, &[], Some(at_rest()))),
        ),
        (crashed_at_start(), ending(38, &words, Some(at_rest()))),
        (never_ready(), ending(30_010, &[], Some(at_rest()))),
        (
            refused(Refusal::Busy { phase: Phase::Warm }),
            ending(1, &[], Some(in_handover())),
        ),
        (
            refused(Refusal::Preflight {
                reason: "./server: the file is for aarch64, this machine is x86_64".to_owned(),
            }),
            ending(3, &[], None),
        ),
        (
            Outcome::NobodyServes { cause },
            ending(900, &["out of memory"], Some(vacant())),
        ),
    ]
}

pub(crate) fn history() -> Vec<HistoryEntry> {
    let entry = |number: u32, ago: u64, program: &str, outcome, took_us, dark_us| HistoryEntry {
        unix_ms: NOW - ago * 1_000,
        id: HandoverId::new(42, number),
        program: program.to_owned(),
        outcome,
        took_us,
        dark_us,
        epoch: None,
    };
    vec![
        entry(1, 90_000, "./server", committed(), 4_640, 0),
        entry(2, 7_200, "./server-v2", crashed_at_start(), 38_000, 0),
        entry(3, 60, "./server-v3", never_ready(), 30_010_000, 0),
        HistoryEntry {
            epoch: Some(Epoch(7)),
            ..entry(4, 1, "./server-v4 --fast", committed(), 1_240_000, 870)
        },
    ]
}

fn finding(name: &str, ok: bool, detail: &str) -> Finding {
    Finding {
        name: name.to_owned(),
        ok,
        detail: detail.to_owned(),
    }
}

pub(crate) fn fit() -> CheckReport {
    CheckReport {
        ok: true,
        findings: vec![
            finding("file", true, "/srv/server-v5, 8.1 MB"),
            finding("executable", true, "mode 0755"),
            finding("architecture", true, "x86_64"),
        ],
    }
}

pub(crate) fn unfit() -> CheckReport {
    CheckReport {
        ok: false,
        findings: vec![
            finding("file", true, "/srv/server-v5, 8.1 MB"),
            finding("executable", true, "mode 0755"),
            finding(
                "architecture",
                false,
                "it is for aarch64, this machine is x86_64",
            ),
            finding("listeners", false, "admin is missing; web is new"),
        ],
    }
}

/// The attempt of the samples, and its new instance.
const ATTEMPT: (HandoverId, InstanceId) = (HandoverId::new(42, 4), InstanceId(5));

fn failing_attempt() -> Vec<EventKind> {
    let (id, to) = ATTEMPT;
    vec![
        EventKind::SupervisorStarted {
            service: "web".to_owned(),
            pid: 4_100,
        },
        EventKind::ListenerOpened {
            listener: listener("http", ListenerKind::Tcp, "127.0.0.1:8080"),
        },
        EventKind::Audit {
            uid: 1_000,
            pid: 4_300,
            action: "upgrade".to_owned(),
            allowed: true,
        },
        EventKind::HandoverStarted {
            id,
            from: Some(InstanceId(4)),
            to,
            candidate: "./server-v5 --port 8080".to_owned(),
            mode: Mode::Overlap,
        },
        EventKind::PhaseEntered {
            id,
            phase: Phase::Warm,
        },
        EventKind::InstanceSpawned {
            instance: to,
            pid: InstancePid(4_205),
        },
        EventKind::InstanceExited {
            instance: to,
            exit: Exit::Code(1),
            expected: false,
            last_words: vec!["config.toml: unknown key `prot`".to_owned()],
        },
        EventKind::HandoverFinished {
            id,
            outcome: crashed_at_start(),
            took: Duration::from_millis(38),
            dark: Duration::ZERO,
            last_words: Vec::new(),
        },
    ]
}

fn good_attempt() -> Vec<EventKind> {
    let (id, to) = ATTEMPT;
    vec![
        EventKind::LeaseHeld {
            instance: to,
            epoch: Epoch(7),
        },
        EventKind::InstanceReady {
            instance: to,
            how: Readiness::Notify,
        },
        EventKind::HandoverFinished {
            id,
            outcome: committed(),
            took: Duration::from_millis(1_240),
            dark: Duration::from_micros(870),
            last_words: Vec::new(),
        },
        EventKind::InstanceRetiring {
            instance: InstanceId(4),
        },
        EventKind::InstanceDrained {
            instance: InstanceId(4),
            report: DrainReport {
                finished: 120,
                cut: 1,
                open: 0,
            },
        },
        EventKind::Warning {
            text: "listener admin was not claimed".to_owned(),
        },
        EventKind::LogRenamed {
            path: "/var/log/web.log".to_owned(),
            to: "/var/log/web.log.20261121T075119Z.4711".to_owned(),
        },
        EventKind::LogOpened {
            path: "/var/log/web.log".to_owned(),
        },
        EventKind::Stopping { how: Stop::Drain },
        EventKind::Stopped,
    ]
}

pub(crate) fn events() -> Vec<Event> {
    let kinds = failing_attempt().into_iter().chain(good_attempt());
    let at = |(n, kind): (u64, EventKind)| Event {
        seq: n + 1,
        unix_ms: NOW + n * 7,
        kind,
    };
    (0..).zip(kinds).map(at).collect()
}
