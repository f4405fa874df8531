//! The one event type: screen, JSON lines, log, metrics and history are views of it.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;
use serde::{Deserialize, Serialize};

use crate::identity::{Epoch, HandoverId, InstanceId, InstancePid};
use crate::manifest::ListenerEntry;
use crate::outcome::{Cause, Exit, Outcome};
use crate::phase::{Mode, Phase};
use crate::settings::Stop;

/// An event as it is published: what happened, when, and its place in the order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Event {
    /// Grows by one; a gap means that a slow reader missed some.
    pub seq: u64,
    /// Wall clock, milliseconds since the Unix epoch. For people; nothing is decided by it.
    pub unix_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// How an instance was found to be ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    /// It said so on its native channel.
    Native,
    /// It sent `READY=1`.
    Notify,
    /// A probe was answered, and the kernel confirms that this instance answered it.
    Probe,
    /// A probe was answered; who answered could not be told apart.
    SharedProbe,
    /// A probe command exited with 0.
    Command,
    /// It accepted a connection.
    Accepts,
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native protocol",
            Self::Notify => "READY=1",
            Self::Probe => "probe, answered by it",
            Self::SharedProbe => "probe on the shared port; who answered is unknown",
            Self::Command => "probe command",
            Self::Accepts => "accepts connections",
        })
    }
}

/// What a drain achieved, in connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DrainReport {
    /// Ended by themselves.
    pub finished: u64,
    /// Cut by us when the ladder ended.
    pub cut: u64,
    /// Still open.
    pub open: u64,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// A supervisor began its work.
    SupervisorStarted {
        /// The service's name.
        service: String,
        /// Its process id.
        pid: u32,
    },
    /// A listener is bound, or was taken over.
    ListenerOpened {
        /// Which.
        #[serde(flatten)]
        listener: ListenerEntry,
    },
    /// A listener no generation uses any more was closed.
    ListenerClosed {
        /// Its name.
        name: String,
    },
    /// A native instance was given a listener that it never asked for.
    ListenerUnclaimed {
        /// Its name.
        name: String,
        /// By whom.
        instance: InstanceId,
    },
    /// An attempt began.
    HandoverStarted {
        /// The attempt.
        id: HandoverId,
        /// The instance that serves, if any.
        from: Option<InstanceId>,
        /// The instance that will.
        to: InstanceId,
        /// Its program, for people; empty until the driver fills it in.
        candidate: String,
        /// The mode.
        mode: Mode,
    },
    /// An attempt entered a phase.
    PhaseEntered {
        /// The attempt.
        id: HandoverId,
        /// The phase.
        phase: Phase,
    },
    /// An attempt ended.
    HandoverFinished {
        /// The attempt.
        id: HandoverId,
        /// How.
        #[serde(flatten)]
        outcome: Outcome,
        /// From its begin.
        took: Duration,
        /// Time in which nobody could serve, as far as the protocol knows. Zero in overlap mode.
        dark: Duration,
        /// The candidate's last lines on standard error, if it did not commit and still runs
        /// (one that ended has them in its own event); filled in by the driver.
        #[serde(default)]
        last_words: Vec<String>,
    },
    /// A request was refused before it became an attempt.
    RequestRefused {
        /// Why.
        #[serde(flatten)]
        outcome: Outcome,
    },
    /// A request waits for the running attempt to end.
    RequestQueued,
    /// A process was started.
    InstanceSpawned {
        /// Which.
        instance: InstanceId,
        /// Its process id.
        pid: InstancePid,
    },
    /// An instance is ready.
    InstanceReady {
        /// Which.
        instance: InstanceId,
        /// How it was found out.
        how: Readiness,
    },
    /// An instance said something for people.
    InstanceStatus {
        /// Which.
        instance: InstanceId,
        /// Its words.
        text: String,
    },
    /// An instance was told to go.
    InstanceRetiring {
        /// Which.
        instance: InstanceId,
    },
    /// An instance did not go in time and is killed.
    InstanceKilled {
        /// Which.
        instance: InstanceId,
    },
    /// An instance told what its drain achieved.
    InstanceDrained {
        /// Which.
        instance: InstanceId,
        /// What.
        #[serde(flatten)]
        report: DrainReport,
    },
    /// An instance seals: progress.
    SealProgress {
        /// Which.
        instance: InstanceId,
        /// Bytes or items done.
        done: u64,
        /// Of so many; zero if unknown.
        total: u64,
    },
    /// A process ended.
    InstanceExited {
        /// Which.
        instance: InstanceId,
        /// How.
        exit: Exit,
        /// Whether it was meant to.
        expected: bool,
        /// Its last lines on standard error; filled in by the driver.
        last_words: Vec<String>,
    },
    /// Exclusive: an instance says that it holds the lease.
    LeaseHeld {
        /// Which.
        instance: InstanceId,
        /// The lease's number; grows with each owner.
        epoch: Epoch,
    },
    /// A native instance's channel opened again, after its coordinator was replaced.
    InstanceReconnected {
        /// Which.
        instance: InstanceId,
    },
    /// A restarted supervisor found an instance serving and took charge of it.
    InstanceAdopted {
        /// Which.
        instance: InstanceId,
        /// Its process id.
        pid: InstancePid,
    },
    /// The old instance took back from a new one that failed in probation.
    TakenBack {
        /// Who serves.
        instance: InstanceId,
        /// Why.
        cause: Cause,
    },
    /// Nobody serves; a start is due.
    RestartScheduled {
        /// After this pause.
        after: Duration,
        /// Crashes in the window so far.
        crashes: u32,
        /// Whether the previous version will be started rather than the one that crashed.
        previous_version: bool,
    },
    /// The coordinator stopped trying.
    GaveUp {
        /// Crashes in the window.
        crashes: u32,
        /// The last reason.
        #[serde(flatten)]
        cause: Cause,
    },
    /// Somebody changed something through the control socket.
    Audit {
        /// User id of the caller.
        uid: u32,
        /// Process id of the caller.
        pid: u32,
        /// What was asked for.
        action: String,
        /// Whether it was allowed.
        allowed: bool,
    },
    /// A step of the exchange with which zero-downtime hands a listener over.
    Zero {
        /// Where.
        path: String,
        /// What.
        #[serde(flatten)]
        step: crate::zero::Step,
    },
    /// The log file was opened again: it was asked for, or it can be written to again.
    LogOpened {
        /// Which.
        path: String,
    },
    /// A handover gave the log file another name, for the late lines of the old instance.
    LogRenamed {
        /// The log file.
        path: String,
        /// What the old one is called now.
        to: String,
    },
    /// The service is being stopped.
    Stopping {
        /// How.
        how: Stop,
    },
    /// The service is stopped.
    Stopped,
    /// Something the operator should know.
    Warning {
        /// What, and what to do about it.
        text: String,
    },
}

impl EventKind {
    /// The event's name as it stands in JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::SupervisorStarted { .. } => "supervisor_started",
            Self::ListenerOpened { .. } => "listener_opened",
            Self::ListenerClosed { .. } => "listener_closed",
            Self::ListenerUnclaimed { .. } => "listener_unclaimed",
            Self::HandoverStarted { .. } => "handover_started",
            Self::PhaseEntered { .. } => "phase_entered",
            Self::HandoverFinished { .. } => "handover_finished",
            Self::RequestRefused { .. } => "request_refused",
            Self::RequestQueued => "request_queued",
            Self::InstanceSpawned { .. } => "instance_spawned",
            Self::InstanceReady { .. } => "instance_ready",
            Self::InstanceStatus { .. } => "instance_status",
            Self::InstanceRetiring { .. } => "instance_retiring",
            Self::InstanceKilled { .. } => "instance_killed",
            Self::InstanceDrained { .. } => "instance_drained",
            Self::SealProgress { .. } => "seal_progress",
            Self::InstanceExited { .. } => "instance_exited",
            Self::LeaseHeld { .. } => "lease_held",
            Self::InstanceReconnected { .. } => "instance_reconnected",
            Self::InstanceAdopted { .. } => "instance_adopted",
            Self::TakenBack { .. } => "taken_back",
            Self::RestartScheduled { .. } => "restart_scheduled",
            Self::GaveUp { .. } => "gave_up",
            Self::Audit { .. } => "audit",
            Self::Zero { .. } => "zero",
            Self::LogOpened { .. } => "log_opened",
            Self::LogRenamed { .. } => "log_renamed",
            Self::Stopping { .. } => "stopping",
            Self::Stopped => "stopped",
            Self::Warning { .. } => "warning",
        }
    }
}

impl fmt::Display for EventKind {
    /// One line for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SupervisorStarted { service, pid } => {
                write!(f, "supervisor of {service:?} started (pid {pid})")
            }
            Self::ListenerOpened { listener } => {
                write!(
                    f,
                    "listener {}: {} {}",
                    listener.name, listener.kind, listener.address
                )
            }
            Self::ListenerClosed { name } => write!(f, "listener {name} closed"),
            Self::ListenerUnclaimed { name, instance } => {
                write!(f, "listener {name} was not claimed by instance {instance}")
            }
            Self::HandoverStarted {
                id,
                from,
                to,
                candidate,
                mode,
            } => match from {
                Some(from) => write!(f, "handover {id}: {from} → {to} ({candidate}), {mode}"),
                None => write!(f, "start {id}: {to} ({candidate})"),
            },
            Self::PhaseEntered { id, phase } => write!(f, "handover {id}: {phase}"),
            Self::HandoverFinished {
                id,
                outcome,
                took,
                dark,
                last_words,
            } => {
                write!(f, "handover {id} {outcome} [{took:.1?}")?;
                if !dark.is_zero() {
                    write!(f, ", dark for {dark:.1?}")?;
                }
                f.write_str("]")?;
                quote(f, last_words)
            }
            Self::RequestRefused { outcome } => write!(f, "request {outcome}"),
            Self::RequestQueued => f.write_str("request queued behind the running handover"),
            Self::InstanceSpawned { instance, pid } => {
                write!(f, "instance {instance} started (pid {pid})")
            }
            Self::InstanceReady { instance, how } => {
                write!(f, "instance {instance} is ready ({how})")
            }
            Self::InstanceStatus { instance, text } => write!(f, "instance {instance}: {text}"),
            Self::InstanceRetiring { instance } => write!(f, "instance {instance} drains"),
            Self::InstanceKilled { instance } => {
                write!(f, "instance {instance} did not go in time and is killed")
            }
            Self::InstanceDrained { instance, report } => write!(
                f,
                "instance {instance} drained: {} finished, {} cut, {} open",
                report.finished, report.cut, report.open
            ),
            Self::SealProgress {
                instance,
                done,
                total,
            } => {
                write!(f, "instance {instance} seals: {done} of {total}")
            }
            Self::InstanceExited {
                instance,
                exit,
                expected,
                last_words,
            } => {
                write!(f, "instance {instance} {exit}")?;
                if !expected {
                    f.write_str(" unexpectedly")?;
                }
                quote(f, last_words)
            }
            Self::LeaseHeld { instance, epoch } => {
                write!(f, "instance {instance} holds the lease, {epoch}")
            }
            Self::InstanceReconnected { instance } => write!(f, "instance {instance} reconnected"),
            Self::InstanceAdopted { instance, pid } => {
                write!(
                    f,
                    "instance {instance} (pid {pid}) was found serving and adopted"
                )
            }
            Self::TakenBack { instance, cause } => {
                write!(f, "instance {instance} took back: {cause}")
            }
            Self::RestartScheduled {
                after,
                crashes,
                previous_version,
            } => {
                let what = if *previous_version {
                    "the previous version"
                } else {
                    "it"
                };
                if after.is_zero() {
                    return write!(f, "starting {what} again (crash {crashes})");
                }
                write!(f, "starting {what} again in {after:.1?} (crash {crashes})")
            }
            Self::GaveUp { crashes, cause } => {
                write!(
                    f,
                    "giving up after {crashes} crashes; nobody serves: {cause}"
                )
            }
            Self::Audit {
                uid,
                pid,
                action,
                allowed,
            } => write!(
                f,
                "{action} by uid {uid} (pid {pid}): {}",
                if *allowed { "allowed" } else { "denied" }
            ),
            Self::Zero { path, step } => write!(f, "{path}: {step}"),
            Self::LogOpened { path } => write!(f, "log file {path} was opened"),
            Self::LogRenamed { path, to } => {
                write!(f, "log file {path} is a new one; the one before is {to}")
            }
            Self::Stopping { how } => write!(f, "stopping: {}", hurry(*how)),
            Self::Stopped => f.write_str("stopped"),
            Self::Warning { text } => write!(f, "warning: {text}"),
        }
    }
}

const fn hurry(how: Stop) -> &'static str {
    match how {
        Stop::Drain => "draining",
        Stop::Fast => "fast",
        Stop::Now => "now",
    }
}

fn quote(f: &mut fmt::Formatter<'_>, lines: &[String]) -> fmt::Result {
    lines.iter().try_for_each(|line| write!(f, "\n    {line}"))
}
