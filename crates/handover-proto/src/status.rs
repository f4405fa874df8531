//! Who serves, and why: the answer of `GET /v1/status`. Times in milliseconds, memory in bytes.

use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::identity::{Epoch, Generation, HandoverId, InstanceId, InstancePid};
use crate::manifest::ListenerEntry;
use crate::phase::{Mode, Phase};
use crate::settings::WhenBusy;

/// A service as its supervisor sees it. Fields are only ever added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The service's name.
    pub service: String,
    /// Version of the supervisor.
    pub version: String,
    /// Its process id.
    pub supervisor_pid: u32,
    /// How long it has run.
    pub uptime_ms: u64,
    /// Overlap or exclusive.
    pub mode: Mode,
    /// The phase of the running attempt, or `serving`, `vacant`, `stop`.
    pub phase: Phase,
    /// How many instances have been committed.
    pub generation: Generation,
    /// Who serves.
    pub incumbent: Option<InstanceStatus>,
    /// Who will, if an attempt runs.
    pub successor: Option<InstanceStatus>,
    /// Why who serves does, or why nobody does: completes "#4 serves: …", "nobody serves: …".
    #[serde(default)]
    pub why: String,
    /// Exclusive: who may write, if anybody does now.
    #[serde(default)]
    pub lease: Option<LeaseStatus>,
    /// One of these serves, and the one that holds the lease will say so: a supervisor that was
    /// just started again. Empty otherwise.
    #[serde(default)]
    pub candidates: Vec<InstanceStatus>,
    /// The old instance, kept able to take back while the new one is on probation.
    #[serde(default)]
    pub parked: Option<InstanceStatus>,
    /// What is left of the probation.
    #[serde(default)]
    pub probation_ms: Option<u64>,
    /// Who is on its way out, oldest first.
    pub leaving: Vec<InstanceStatus>,
    /// The listeners.
    pub listeners: Vec<ListenerEntry>,
    /// The running attempt.
    pub handover: Option<HandoverStatus>,
    /// Whether a request waits.
    pub queued: bool,
    /// Program of the version before this one, if `rollback` is possible.
    pub previous: Option<String>,
    /// Resident memory of the supervisor.
    pub supervisor_rss_bytes: u64,
    /// Open descriptors of the supervisor.
    pub supervisor_descriptors: u64,
}

/// The right to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseStatus {
    /// Who holds it.
    pub instance: InstanceId,
    /// Its number; grows with each owner.
    pub epoch: Epoch,
}

/// How far a seal is, in what the program counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// So much is done.
    pub done: u64,
    /// Of so much; zero if unknown.
    pub total: u64,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// Its number.
    pub instance: InstanceId,
    /// Its process id, once spawned.
    pub pid: Option<InstancePid>,
    /// Its program and arguments.
    pub program: String,
    /// Whether it speaks the native protocol.
    pub native: bool,
    /// How long it has run.
    pub uptime_ms: u64,
    /// Open connections: counted by itself if native, else by the kernel's table; absent if unknown.
    pub connections: Option<u64>,
    /// Its last `STATUS=`.
    pub text: Option<String>,
    /// Resident memory.
    pub rss_bytes: Option<u64>,
    /// Open descriptors.
    pub descriptors: Option<u64>,
}

/// The running attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoverStatus {
    /// Which.
    pub id: HandoverId,
    /// Since its begin.
    pub elapsed_ms: u64,
    /// Exclusive: how long nobody may write already, in microseconds; absent before that begins.
    #[serde(default)]
    pub dark_us: Option<u64>,
    /// Exclusive: how far the seal is, if the program tells.
    #[serde(default)]
    pub seal: Option<Progress>,
}

/// Body of `POST /v1/upgrade`. All fields optional; an empty object runs the configured program again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpgradeRequest {
    /// Another program.
    pub binary: Option<String>,
    /// Other arguments.
    pub args: Option<Vec<String>>,
    /// Listeners of the new version as `name=address`, if they change.
    pub listeners: Option<Vec<String>>,
    /// What to do if an attempt runs.
    pub when_busy: WhenBusy,
}

/// A line of `GET /v1/history` and its file: a finished attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// When it ended, wall clock, milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// Which.
    pub id: HandoverId,
    /// Its program.
    pub program: String,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: crate::outcome::Outcome,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// Dark window, in microseconds.
    pub dark_us: u64,
    /// Exclusive: the number of the lease of whoever held it at the end, if anybody did.
    #[serde(default)]
    pub epoch: Option<Epoch>,
}
