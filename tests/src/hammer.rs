//! A node that calls counters all the time, and knows what each call has to answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use handover_hub::Hub;
use handover_hub::process::Process;
use tokio::task::JoinHandle;

/// How long a call may take: as long as a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(50);

/// Callers, each with counters of its own, one call after the other.
#[derive(Debug, Default)]
pub struct Hammer {
    stop: AtomicBool,
    callers: Mutex<Vec<JoinHandle<Tally>>>,
}

/// What came of the calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls that were answered.
    pub answered: u64,
    /// Calls that were not: the first says why.
    pub failed: u64,
    /// Answers that were not one more than the answer before, of the same counter.
    pub wrong: u64,
    /// The longest wait, in milliseconds.
    pub slowest: u64,
}

impl Hammer {
    /// Begins to call the counters `c0` and so on.
    pub fn begin<P>(self: &Arc<Self>, hub: &Hub, counters: usize, callers: usize)
    where
        P: Process<Request = (), Reply = u64>,
    {
        self.stop.store(false, Ordering::Release);
        let begin = |caller: usize| {
            let numbers = (caller..counters).step_by(callers).collect();
            tokio::spawn(call::<P>(Arc::clone(self), hub.clone(), numbers))
        };
        let begun: Vec<_> = (0..callers).map(begin).collect();
        *self.callers.lock().unwrap_or_else(PoisonError::into_inner) = begun;
    }

    /// Ends, and says what came of it.
    ///
    /// # Panics
    /// When a caller did.
    pub async fn end(&self) -> Tally {
        self.stop.store(true, Ordering::Release);
        let callers = {
            let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *callers)
        };
        let mut all = Tally::default();
        for caller in callers {
            let tally = caller.await.expect("it does not panic");
            all.answered += tally.answered;
            all.failed += tally.failed;
            all.wrong += tally.wrong;
            all.slowest = all.slowest.max(tally.slowest);
        }
        all
    }
}

async fn call<P>(hammer: Arc<Hammer>, hub: Hub, numbers: Vec<usize>) -> Tally
where
    P: Process<Request = (), Reply = u64>,
{
    let mut tally = Tally::default();
    let mut last: Vec<Option<u64>> = vec![None; numbers.len()];
    loop {
        for (number, last) in numbers.iter().zip(&mut last) {
            if hammer.stop.load(Ordering::Acquire) {
                return tally;
            }
            let began = Instant::now();
            let id = format!("c{number}");
            match hub.call_within::<P>(&id, (), PATIENCE).await {
                Ok(value) => {
                    tally.answered += 1;
                    let next = last.map(|last| last + 1);
                    if next.is_some_and(|next| next != value) {
                        tally.wrong += 1;
                        eprintln!("c{number}: {next:?} expected, {value} answered");
                    }
                    *last = Some(value);
                }
                Err(error) => {
                    tally.failed += 1;
                    eprintln!("c{number}: {error}");
                }
            }
            let waited = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            tally.slowest = tally.slowest.max(waited);
        }
    }
}
