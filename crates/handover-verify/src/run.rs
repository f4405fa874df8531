//! One run from the first probe to the report.

use crate::client::{Crew, Scene, loads};
use crate::clock::{Clock, Micros, micros, millis};
use crate::error::{TriggerError, VerifyError};
use crate::exchange::{Question, ask_once};
use crate::latency::Recent;
use crate::ledger::{Ledger, News, Totals};
use crate::plan::Plan;
use crate::progress::{Phase, Progress};
use crate::report::{FORMAT, Load, Report, Tester, Upgrade};
use crate::trigger::{Trigger, TriggerReport, upgrade_within};
use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// How often progress is told: smooth to the eye, and no load.
const TICK: Duration = Duration::from_millis(100);

/// How many ticks the rate and the latencies of [`Progress`] cover: a second.
const TICKS_SHOWN: usize = 10;

/// Descriptors left to everything else in this process.
const SPARE_DESCRIPTORS: u64 = 64;

/// The least descriptors beside the spare ones for a load worth the name.
const LEAST_DESCRIPTORS: u64 = 64;

/// How long the clients get to start their threads before the first request is due.
const HEAD_START: Duration = Duration::from_millis(20);

/// Puts load on the service, upgrades it through `trigger` meanwhile, and
/// reports what was lost. The load stops when this returns.
///
/// Before the load begins, one request must be answered as expected; and the
/// soft limit on open descriptors is raised to the hard one, for the process
/// and what it spawns. `observe` is called about ten times a second and at
/// each change of phase; it must not block.
///
/// Needs a tokio runtime with time and I/O; the load itself runs in threads
/// of its own, so that the caller's work does not delay it. Cancel safe:
/// dropped, the clients stop at once and a running
/// [`CommandTrigger`](crate::CommandTrigger) is killed; the service stays in
/// whatever version it has.
///
/// # Errors
/// [`VerifyError`] when the run could not be made. Loss is not an error: see
/// [`Report::lossless`].
pub async fn run<T: Trigger>(
    plan: &Plan,
    trigger: T,
    observe: impl FnMut(Progress) + Send,
) -> Result<Report, VerifyError> {
    plan.validate()?;
    let descriptors = raise_descriptor_limit();
    let max_in_flight = room(plan, descriptors)?;
    let addr = probe(plan).await?;
    let clock = Clock::starting_at(Instant::now() + HEAD_START);
    let witness = if plan.new_rate > 0.0 {
        Load::New
    } else {
        Load::KeepAlive
    };
    let scene = Arc::new(Scene {
        plan: plan.clone(),
        addr,
        clock,
        ledger: Ledger::new(clock, witness, plan.timeout),
        max_in_flight,
    });
    let crew = Crew::start(&scene)?;
    let mut director = Director::new(&scene, observe);
    let upgrades = director.play(trigger).await;
    director.pass(Phase::Cooling, crew.finish()).await?;
    // The last answers and words came after the last tick.
    director.count();
    director.tell();
    let tester = Tester {
        max_in_flight: max_in_flight as u64,
        max_descriptors: descriptors,
    };
    Ok(report(&scene, upgrades, tester))
}

/// The soft limit after raising it to the hard one, as far as allowed.
fn raise_descriptor_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if limit.current != limit.maximum && setrlimit(Resource::Nofile, wanted).is_err() {
        return limit.current.unwrap_or(u64::MAX);
    }
    limit.maximum.unwrap_or(u64::MAX)
}

/// How many requests of one client may be in flight with so many descriptors.
fn room(plan: &Plan, descriptors: u64) -> Result<usize, VerifyError> {
    let patient = plan.slow.as_ref().map_or(0, |slow| slow.concurrency)
        + plan.upload.as_ref().map_or(0, |upload| upload.concurrency);
    let kept = if plan.keep_alive_rate > 0.0 {
        plan.connections
    } else {
        0
    };
    let needed = (patient + kept) as u64 + SPARE_DESCRIPTORS;
    let left = descriptors.saturating_sub(needed);
    if left < LEAST_DESCRIPTORS {
        let needed = needed + LEAST_DESCRIPTORS;
        return Err(VerifyError::Descriptors {
            found: descriptors,
            needed,
        });
    }
    // An answered connection lingers until the server closes it: half the
    // descriptors are for those.
    let room = usize::try_from(left / 2).unwrap_or(usize::MAX);
    Ok(plan.max_in_flight.min(room))
}

/// Asks once at each address until one answers as expected.
async fn probe(plan: &Plan) -> Result<SocketAddr, VerifyError> {
    let question = Question::get(plan, plan.url.path(), true);
    let mut loss = String::new();
    for addr in plan.url.resolve().await? {
        let deadline = tokio::time::Instant::now() + plan.timeout;
        match ask_once(addr, &question, None, deadline).await {
            Ok(_) => return Ok(addr),
            Err(found) => loss = format!("{} ({})", found.kind.name(), found.text),
        }
    }
    Err(VerifyError::NotServing {
        url: plan.url.to_string(),
        loss,
    })
}

/// Leads through the phases and tells progress.
struct Director<'a, O> {
    scene: &'a Scene,
    observe: O,
    phase: Phase,
    note: Option<String>,
    /// The last second's news, each with when it was taken.
    recent: VecDeque<(Micros, News)>,
    /// When the oldest of `recent` began, and the totals then.
    before: (Micros, Totals),
}

impl<'a, O: FnMut(Progress) + Send> Director<'a, O> {
    fn new(scene: &'a Scene, observe: O) -> Self {
        Self {
            scene,
            observe,
            phase: Phase::Warming,
            note: None,
            recent: VecDeque::new(),
            before: (0, Totals::default()),
        }
    }

    async fn play<T: Trigger>(&mut self, mut trigger: T) -> Vec<Outcome> {
        let plan = &self.scene.plan;
        let head_start = HEAD_START;
        self.pass(
            Phase::Warming,
            tokio::time::sleep(head_start + plan.warm_up),
        )
        .await;
        let mut outcomes = Vec::new();
        for n in 1..=plan.upgrades {
            outcomes.push(self.upgrade(&mut trigger, n).await);
            if n < plan.upgrades {
                self.pass(Phase::Between, tokio::time::sleep(plan.interval))
                    .await;
            }
        }
        self.pass(Phase::Cooling, tokio::time::sleep(plan.cool_down))
            .await;
        outcomes
    }

    async fn upgrade<T: Trigger>(&mut self, trigger: &mut T, n: u32) -> Outcome {
        let label = trigger.label(n);
        let ledger = &self.scene.ledger;
        let start = self.scene.clock.now();
        ledger.pages().windows.open(start);
        let limit = self.scene.plan.upgrade_timeout;
        let phase = Phase::Upgrading {
            n,
            label: label.clone(),
        };
        let result = self.pass(phase, upgrade_within(trigger, n, limit)).await;
        let end = self.scene.clock.now();
        let settled = end.saturating_add(micros(self.scene.plan.settle));
        ledger.pages().windows.close_at(settled);
        let outcome = Outcome::new(n, label, start, end, result);
        let meant = if outcome.report.as_expected {
            ""
        } else {
            " (not as expected)"
        };
        let TriggerReport {
            label,
            outcome: how,
            ..
        } = &outcome.report;
        let took = millis(end - start);
        ledger
            .pages()
            .note(format!("{label}: {how} after {took:.0} ms{meant}"));
        outcome
    }

    /// Waits for `doing` in a phase, telling progress meanwhile.
    async fn pass<F: Future>(&mut self, phase: Phase, doing: F) -> F::Output {
        self.phase = phase;
        self.tell();
        let mut doing = pin!(doing);
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + TICK, TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                output = &mut doing => return output,
                _ = ticks.tick() => {
                    self.count();
                    self.tell();
                }
            }
        }
    }

    /// Takes what happened since the last tick.
    fn count(&mut self) {
        let mut news = self.scene.ledger.news();
        let notes = std::mem::take(&mut news.notes);
        if !notes.is_empty() {
            self.note = Some(notes.join("; "));
        }
        self.recent.push_back((self.scene.clock.now(), news));
        if self.recent.len() > TICKS_SHOWN
            && let Some((at, oldest)) = self.recent.pop_front()
        {
            self.before = (at, oldest.totals);
        }
    }

    fn tell(&mut self) {
        let (before_at, before) = self.before;
        let (at, totals) = self
            .recent
            .back()
            .map_or(self.before, |(at, news)| (*at, news.totals));
        let seconds = at.saturating_sub(before_at).max(1) as f64 / 1e6;
        let latencies = self
            .recent
            .iter()
            .flat_map(|(_, news)| news.latencies.iter().copied());
        let latency = Recent::of(latencies.collect());
        let progress = Progress {
            elapsed: Duration::from_micros(self.scene.clock.now()),
            requests: totals.done,
            failed: totals.failed,
            rate: (totals.done - before.done) as f64 / seconds,
            p50: latency.p50,
            p99: latency.p99,
            max: latency.max,
            phase: self.phase.clone(),
            note: self.note.take(),
        };
        (self.observe)(progress);
    }
}

/// How the trigger ended, and when.
struct Outcome {
    n: u32,
    start: Micros,
    end: Micros,
    report: TriggerReport,
}

impl Outcome {
    fn new(
        n: u32,
        label: String,
        start: Micros,
        end: Micros,
        result: Result<TriggerReport, TriggerError>,
    ) -> Self {
        let report = result.unwrap_or_else(|error| TriggerReport {
            label,
            outcome: format!("failed: {error}"),
            as_expected: false,
        });
        Self {
            n,
            start,
            end,
            report,
        }
    }
}

fn report(scene: &Scene, outcomes: Vec<Outcome>, tester: Tester) -> Report {
    let now = scene.clock.now();
    let mut pages = scene.ledger.pages();
    pages.windows.finish(now);
    let upgrades = outcomes
        .into_iter()
        .zip(pages.windows.list())
        .map(|(outcome, window)| {
            let (version_before, version_after) = window.versions();
            Upgrade {
                n: outcome.n,
                label: outcome.report.label,
                outcome: outcome.report.outcome,
                as_expected: outcome.report.as_expected,
                start_ms: millis(outcome.start),
                duration_ms: millis(outcome.end - outcome.start),
                requests: window.requests,
                failed: window.failed,
                dark_window_ms: window.dark_ms(),
                first_answer_by_new_ms: window.first_answer_by_new_ms(),
                last_answer_by_old_ms: window.last_answer_by_old_ms(),
                version_before,
                version_after,
                latency: window.latency.sum_up(),
            }
        })
        .collect();
    let (steady, during) = pages.paced();
    let clients = pages.clients(&loads(&scene.plan));
    Report {
        format: FORMAT,
        target: scene.plan.url.to_string(),
        duration_ms: millis(now),
        requests: clients.iter().map(|client| client.requests).sum(),
        answered: clients.iter().map(|client| client.answered).sum(),
        failed: clients.iter().map(|client| client.failed_total()).sum(),
        steady: steady.sum_up(),
        during: during.sum_up(),
        steady_dark_ms: pages.windows.steady_dark_ms(),
        settle_ms: millis(micros(scene.plan.settle)),
        clients,
        upgrades,
        examples: pages.examples(),
        tester,
        series: pages.take_series(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trigger::CommandTrigger;
    use crate::{Slow, Upload};

    /// Callers spawn it.
    #[test]
    fn a_run_can_move_between_threads() {
        fn assert_send<T: Send>(_: T) {}
        let plan = Plan::new("http://127.0.0.1:1/").unwrap();
        assert_send(run(&plan, CommandTrigger::new(""), |_| {}));
    }

    #[test]
    fn descriptors_bound_the_requests_in_flight() {
        let mut plan = Plan::new("http://127.0.0.1:1/").unwrap();
        assert_eq!(room(&plan, 1_000_000).unwrap(), plan.max_in_flight);
        assert_eq!(room(&plan, 1_024).unwrap(), (1_024 - 64 - 4) / 2);
        plan.slow = Some(Slow {
            path: "/".into(),
            concurrency: 600,
        });
        let hold = Duration::ZERO;
        plan.upload = Some(Upload {
            path: "/".into(),
            concurrency: 300,
            bytes: 0,
            hold,
        });
        let error = room(&plan, 1_024).unwrap_err();
        assert!(matches!(
            error,
            VerifyError::Descriptors {
                found: 1_024,
                needed: 1_032
            }
        ));
    }
}
