//! Loads of `handover_verify`, short enough for a test.

use std::net::SocketAddr;
use std::time::Duration;

use handover_proto::outcome::Outcome;
use handover_verify::{Plan, Report, Slow, TriggerReport, Upload};

/// New, keep-alive, slow and half-sent requests on a server, with so many upgrades meanwhile.
///
/// The rate is what two busy cores answer without a queue in a debug build.
#[must_use]
pub fn plan(address: SocketAddr, upgrades: u32) -> Plan {
    let mut plan = Plan::new(&format!("http://{address}/")).expect("an address");
    plan.new_rate = 150.0;
    plan.keep_alive_rate = 150.0;
    plan.connections = 4;
    plan.slow = Some(Slow {
        path: "/slow".into(),
        concurrency: 3,
    });
    plan.upload = Some(Upload {
        path: "/echo".into(),
        concurrency: 2,
        bytes: 4096,
        hold: Duration::from_millis(120),
    });
    plan.warm_up = Duration::from_millis(300);
    plan.interval = Duration::from_millis(200);
    plan.cool_down = Duration::from_millis(500);
    plan.settle = Duration::from_millis(200);
    plan.timeout = Duration::from_secs(30);
    plan.upgrades = upgrades;
    plan
}

/// Runs a plan; each upgrade is `trigger`, on a thread of its own, and must end as `expected`
/// says.
///
/// # Panics
/// When the load could not be made at all.
#[must_use]
pub fn run(
    plan: &Plan,
    trigger: impl FnMut(u32) -> Outcome + Send + 'static,
    expected: fn(&Outcome) -> bool,
) -> Report {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let trigger = std::sync::Arc::new(std::sync::Mutex::new(trigger));
    let upgrade = |n: u32| {
        let trigger = std::sync::Arc::clone(&trigger);
        async move {
            let outcome = tokio::task::spawn_blocking(move || {
                let mut trigger = trigger.lock().expect("no trigger has panicked");
                trigger(n)
            });
            let outcome = outcome.await.expect("the trigger returns");
            Ok(TriggerReport {
                label: format!("upgrade {n}"),
                as_expected: expected(&outcome),
                outcome: outcome.to_string(),
            })
        }
    };
    let report = runtime.block_on(handover_verify::run(plan, upgrade, |_| {}));
    report.expect("the load runs")
}

/// Whether an outcome is a commit.
#[must_use]
pub fn committed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Committed { .. })
}

/// Nothing was lost, and every upgrade ended as it was meant to.
///
/// # Panics
/// With the whole table otherwise.
pub fn require_lossless(report: &Report) {
    let losses: Vec<_> = report.examples.iter().map(|e| format!("{e:?}")).collect();
    assert!(
        report.lossless(),
        "{}\n{}",
        report.table(),
        losses.join("\n")
    );
    assert_eq!(report.unexpected_upgrades(), 0, "{}", report.table());
}
