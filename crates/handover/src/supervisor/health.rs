//! The probe during probation: a new version that was ready and then stops answering is undone.
//!
//! What is asked is what `ready` names; without an address to ask, only a crash ends a probation.

use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::config::ReadinessSpec;
use super::driver::Command;
use super::readiness::{Health, Target, examine};

/// Pause between two probes.
const EVERY: Duration = Duration::from_secs(1);
/// Failures in a row that end a probation: one may be a moment of load.
const FAILURES: u32 = 3;

/// A probe that goes on until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    task: JoinHandle<()>,
}

impl Watch {
    /// Begins to ask; `None` if `spec` names nothing that could be asked.
    pub(super) fn begin(
        spec: &ReadinessSpec,
        target: Target,
        to: UnboundedSender<Command>,
    ) -> Option<Self> {
        let asks = match spec {
            ReadinessSpec::Auto | ReadinessSpec::Native | ReadinessSpec::Notify => false,
            ReadinessSpec::Accepts | ReadinessSpec::HttpPath(_) => !target.tcp.is_empty(),
            ReadinessSpec::HttpUrl { .. } | ReadinessSpec::Tcp(_) | ReadinessSpec::Command(_) => {
                true
            }
        };
        let watch = watch(spec.clone(), target, to);
        asks.then(|| Self {
            task: tokio::spawn(watch),
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(spec: ReadinessSpec, target: Target, to: UnboundedSender<Command>) {
    let mut failures = 0;
    loop {
        sleep(EVERY).await;
        match examine(&spec, &target).await {
            Health::Good => failures = 0,
            Health::Unknown => {}
            Health::Bad(_) if failures + 1 < FAILURES => failures += 1,
            Health::Bad(reason) => {
                let instance = target.instance;
                let _ = to.send(Command::Unhealthy { instance, reason });
                return;
            }
        }
    }
}
