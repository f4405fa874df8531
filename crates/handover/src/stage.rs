//! How far an instance is on its way out, and who waits for which step.

use std::future::pending;

use handover_proto::event::DrainReport;
use tokio::sync::watch;

/// How far the drain of an instance has come. Only ever grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// No drain: it takes new work.
    #[default]
    Serving,
    /// It will stop soon but still accepts, so that load balancers can look away.
    Announced,
    /// It accepts no more and asks clients to reconnect.
    Notified,
    /// Requests in flight finish, idle connections are closed.
    Grace,
    /// What was left is being cut.
    Forced,
    /// Nothing more will happen; the process may end.
    Over,
}

/// Everything that waiters look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) stage: Stage,
    /// Takes no new work for now, but may again (an exclusive handover can still be aborted).
    pub(crate) paused: bool,
    pub(crate) committed: bool,
    pub(crate) report: DrainReport,
}

impl Standing {
    pub(crate) fn accepts(&self) -> bool {
        !self.paused && self.stage < Stage::Notified
    }
}

/// Resolves once `reached` holds. Needs no handle to stay alive; never resolves when the instance
/// is torn down (the runtime ends) without getting there.
pub(crate) async fn wait(
    mut standing: watch::Receiver<Standing>,
    reached: impl Fn(&Standing) -> bool + Send + Sync + 'static,
) -> Standing {
    let found = standing.wait_for(|standing| reached(standing)).await;
    match found.map(|standing| *standing) {
        Ok(standing) => standing,
        Err(_) => pending().await,
    }
}
