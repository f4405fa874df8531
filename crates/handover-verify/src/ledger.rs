//! The one place where every request of a run is written down.

use crate::clock::{Clock, Micros, micros, millis};
use crate::exchange::Answer;
use crate::latency::Gauge;
use crate::loss::{Loss, LossKind};
use crate::report::{ClientReport, Example, Load};
use crate::series::{Collector, Series};
use crate::window::{Window, Windows};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The longest text kept of an example; it may hold a server's words.
const MAX_EXAMPLE: usize = 300;

/// The most notes waiting for the live display; more are news to nobody.
const MAX_NOTES: usize = 32;

/// Shared by the clients, each in its own thread. One lock, held for well
/// under a microsecond some ten thousand times a second.
#[derive(Debug)]
pub(crate) struct Ledger {
    clock: Clock,
    pages: Mutex<Pages>,
}

#[derive(Debug)]
pub(crate) struct Pages {
    /// The client that shows whether the service answers now.
    witness: Load,
    clients: [Account; Load::ALL.len()],
    pub(crate) windows: Windows,
    series: Collector,
    examples: Vec<Example>,
    /// Latencies since the last look of the live display.
    recent: Vec<u32>,
    notes: Vec<String>,
    timeout: Micros,
}

#[derive(Debug)]
struct Account {
    requests: u64,
    answered: u64,
    failed: [u64; LossKind::ALL.len()],
    connections: u64,
    idle_closed: u64,
    told_to_close: u64,
    max_lag: Micros,
    steady: Gauge,
    during: Gauge,
}

impl Account {
    fn new() -> Self {
        Self {
            requests: 0,
            answered: 0,
            failed: [0; LossKind::ALL.len()],
            connections: 0,
            idle_closed: 0,
            told_to_close: 0,
            max_lag: 0,
            steady: Gauge::new(),
            during: Gauge::new(),
        }
    }
}

/// Counts at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    /// Answered or lost; those under way do not count yet.
    pub(crate) done: u64,
    pub(crate) failed: u64,
}

/// What the live display has not seen yet.
#[derive(Debug, Default)]
pub(crate) struct News {
    pub(crate) totals: Totals,
    pub(crate) latencies: Vec<u32>,
    pub(crate) notes: Vec<String>,
}

impl Ledger {
    pub(crate) fn new(clock: Clock, witness: Load, timeout: Duration) -> Self {
        let pages = Pages {
            witness,
            clients: std::array::from_fn(|_| Account::new()),
            windows: Windows::default(),
            series: Collector::new(timeout),
            examples: Vec::new(),
            recent: Vec::new(),
            notes: Vec::new(),
            timeout: micros(timeout),
        };
        Self {
            clock,
            pages: Mutex::new(pages),
        }
    }

    /// A client that panicked leaves the pages whole: each change is small
    /// and completed before anything can fail.
    pub(crate) fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request is due. Every one ends in [`done`](Self::done).
    pub(crate) fn due(&self, load: Load, due: Micros) {
        let now = self.clock.now();
        let mut pages = self.pages();
        let witness = pages.witness == load;
        let account = &mut pages.clients[load.index()];
        account.requests += 1;
        account.max_lag = account.max_lag.max(now.saturating_sub(due));
        if witness {
            pages.windows.due(due);
        }
    }

    /// A request that was due is answered or lost.
    pub(crate) fn done(&self, load: Load, due: Micros, result: Result<Answer, Loss>) {
        // The clock is read before the lock, so that waiting for it is not latency.
        let now = self.clock.now();
        let mut pages = self.pages();
        match result {
            Ok(answer) => pages.answered(load, due, now, answer),
            Err(loss) => pages.lost(load, due, now, loss),
        }
    }

    pub(crate) fn connected(&self, load: Load) {
        self.pages().clients[load.index()].connections += 1;
    }

    /// The server closed an idle connection without a word; nothing was lost.
    pub(crate) fn idle_closed(&self, load: Load) {
        self.pages().clients[load.index()].idle_closed += 1;
    }

    /// What happened since the last look.
    pub(crate) fn news(&self) -> News {
        let now = self.clock.now();
        let mut pages = self.pages();
        pages.series.pass(now);
        News {
            totals: pages.totals(),
            latencies: std::mem::take(&mut pages.recent),
            notes: std::mem::take(&mut pages.notes),
        }
    }
}

impl Pages {
    fn answered(&mut self, load: Load, due: Micros, now: Micros, answer: Answer) {
        let latency = now.saturating_sub(due);
        let account = &mut self.clients[load.index()];
        account.answered += 1;
        account.told_to_close += u64::from(answer.close && load == Load::KeepAlive);
        self.took(load, due, now, latency);
        if load.is_paced() {
            self.series.answered(due, latency);
            self.recent.push(u32::try_from(latency).unwrap_or(u32::MAX));
        }
        if load == self.witness {
            let seen = self
                .windows
                .list()
                .last()
                .and_then(Window::first_answer_by_new_ms);
            self.windows.answered(now, answer.version);
            self.note_new_version(seen.is_none());
        }
    }

    fn took(&mut self, load: Load, due: Micros, now: Micros, latency: Micros) {
        let account = &mut self.clients[load.index()];
        match self.windows.of(due, now) {
            Some(window) => {
                account.during.record(latency);
                window.requests += 1;
                if load.is_paced() {
                    window.latency.record(latency);
                }
            }
            None => account.steady.record(latency),
        }
    }

    fn lost(&mut self, load: Load, due: Micros, now: Micros, loss: Loss) {
        let kind = loss.kind;
        self.clients[load.index()].failed[kind.index()] += 1;
        if let Some(window) = self.windows.of(due, now) {
            window.failed += 1;
            // One that timed out is counted with its latency below.
            window.requests += u64::from(kind != LossKind::TimedOut);
        }
        if kind == LossKind::TimedOut {
            self.took(load, due, now, self.timeout);
        }
        self.series.failed(due);
        if load == self.witness {
            self.windows.lost();
        }
        if !self.examples.iter().any(|example| example.kind == kind) {
            self.example(load, now, loss);
        }
    }

    fn example(&mut self, load: Load, now: Micros, loss: Loss) {
        let mut text = loss.text;
        if let Some((end, _)) = text.char_indices().nth(MAX_EXAMPLE) {
            text.truncate(end);
            text.push('…');
        }
        self.note(format!(
            "first request lost as {}: {load}: {text}",
            loss.kind.name()
        ));
        self.examples.push(Example {
            kind: loss.kind,
            load,
            at_ms: millis(now),
            text,
        });
    }

    fn note_new_version(&mut self, unseen_before: bool) {
        let Some(window) = self.windows.list().last() else {
            return;
        };
        if let (true, Some(ms), (_, Some(version))) = (
            unseen_before,
            window.first_answer_by_new_ms(),
            window.versions(),
        ) {
            self.note(format!("version {version} answers after {ms:.1} ms"));
        }
    }

    pub(crate) fn note(&mut self, note: String) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(note);
        }
    }

    fn totals(&self) -> Totals {
        let failed = self.clients.iter().flat_map(|account| account.failed).sum();
        let answered: u64 = self.clients.iter().map(|account| account.answered).sum();
        Totals {
            done: answered + failed,
            failed,
        }
    }

    /// Latency of the paced clients together: steady, and during upgrades.
    pub(crate) fn paced(&self) -> (Gauge, Gauge) {
        let (mut steady, mut during) = (Gauge::new(), Gauge::new());
        for load in Load::ALL.into_iter().filter(|load| load.is_paced()) {
            steady.add(&self.clients[load.index()].steady);
            during.add(&self.clients[load.index()].during);
        }
        (steady, during)
    }

    /// One report per client that was at work.
    pub(crate) fn clients(&self, used: &[Load]) -> Vec<ClientReport> {
        used.iter()
            .map(|load| {
                let account = &self.clients[load.index()];
                let failed = LossKind::ALL
                    .into_iter()
                    .map(|kind| (kind, account.failed[kind.index()]))
                    .filter(|(_, count)| *count > 0)
                    .collect();
                ClientReport {
                    load: *load,
                    requests: account.requests,
                    answered: account.answered,
                    failed,
                    connections: account.connections,
                    idle_closed: account.idle_closed,
                    told_to_close: account.told_to_close,
                    max_lag_ms: millis(account.max_lag),
                    steady: account.steady.sum_up(),
                    during: account.during.sum_up(),
                }
            })
            .collect()
    }

    pub(crate) fn examples(&self) -> Vec<Example> {
        let mut examples = self.examples.clone();
        examples.sort_by_key(|example| example.kind);
        examples
    }

    /// Takes the series out; the ledger is done with.
    pub(crate) fn take_series(&mut self) -> Series {
        std::mem::replace(&mut self.series, Collector::new(Duration::ZERO)).finish()
    }
}
