//! What the demo found.

use super::check::Count;
use super::load::{Calls, quantile};
use crate::args::HubDemoArgs;
use serde::Serialize;
use std::time::Duration;

/// Whether what is guaranteed was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// Nothing was lost but what nobody promised, and nothing was doubled.
    Kept,
    /// Something was lost or doubled, did not answer, or never settled.
    Broken,
}

/// Processes that moved.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Moved {
    pub(super) count: u64,
    /// Moves that did not happen; those processes served where they were.
    pub(super) failed: u64,
    pub(super) p50_ns: u64,
    pub(super) p99_ns: u64,
    pub(super) longest_ns: u64,
}

impl Moved {
    /// From the pauses of those that moved.
    pub(super) fn new(mut pauses: Vec<u64>, failed: u64) -> Self {
        pauses.sort_unstable();
        Self {
            count: pauses.len() as u64,
            failed,
            p50_ns: quantile(&pauses, 50),
            p99_ns: quantile(&pauses, 99),
            longest_ns: pauses.last().copied().unwrap_or(0),
        }
    }
}

/// One thing that happened to the hub, and what became of its processes.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Phase {
    pub(super) what: String,
    /// Until nothing moved any more; absent if that never was.
    pub(super) settled_ms: Option<u64>,
    pub(super) moves: Moved,
    pub(super) moves_per_second: f64,
    pub(super) calls: Calls,
    /// Acknowledged increments that are gone although the guarantees exclude that.
    pub(super) lost: u64,
    /// Acknowledged increments that are gone since their only copy was on a node that was killed.
    pub(super) lost_with_their_node: u64,
    /// Increments that were made twice.
    pub(super) doubled: u64,
    /// Counters that did not answer when all was over.
    pub(super) silent: u64,
    /// Why the first of them did not.
    pub(super) silent_reason: Option<String>,
}

impl Phase {
    pub(super) fn new(
        what: &str,
        settled: Option<Duration>,
        moves: Moved,
        calls: Calls,
        count: &Count,
    ) -> Self {
        let seconds = settled.map_or(0.0, |settled| settled.as_secs_f64());
        let moves_per_second = match seconds > 0.0 {
            true => moves.count as f64 / seconds,
            false => 0.0,
        };
        Self {
            what: what.to_owned(),
            settled_ms: settled.map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX)),
            moves,
            moves_per_second,
            calls,
            lost: count.lost,
            lost_with_their_node: count.excused,
            doubled: count.doubled,
            silent: count.silent,
            silent_reason: count.reason.clone(),
        }
    }

    fn kept(&self) -> bool {
        let Self {
            lost,
            doubled,
            silent,
            ..
        } = self;
        (*lost, *doubled, *silent) == (0, 0, 0) && self.settled_ms.is_some()
    }
}

/// The whole demo.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) processes: u32,
    pub(super) nodes: u32,
    pub(super) replicas: u16,
    pub(super) clients: u32,
    pub(super) started_ms: u64,
    pub(super) took_ms: u64,
    pub(super) phases: Vec<Phase>,
    pub(super) verdict: Verdict,
}

impl Report {
    pub(super) fn new(
        args: &HubDemoArgs,
        started: Duration,
        took: Duration,
        phases: Vec<Phase>,
    ) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let kept = phases.iter().all(Phase::kept);
        Self {
            processes: args.processes,
            nodes: args.nodes,
            replicas: args.replicas,
            clients: args.clients,
            started_ms: millis(started),
            took_ms: millis(took),
            verdict: match kept {
                true => Verdict::Kept,
                false => Verdict::Broken,
            },
            phases,
        }
    }
}
