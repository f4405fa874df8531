//! Stops a program without cutting anybody off who does not have to be.
//!
//! A program that stops gracefully is sent its signal. One that ends at once, whatever it is doing,
//! is held still with SIGSTOP; the kernel is asked whether it holds any connection; if not it is
//! killed on the spot, so that it can accept none in between. Else it goes on for a moment. What
//! arrives while it is held goes to the new version: both listen on one queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use handover_sys::descriptors;
use handover_sys::{Pidfd, Signal, process};

use super::facts::Listening;
use super::look::accepted;
use super::plan::{Plan, Retirement};

/// How long all threads may take to come to a stop; one in an uninterruptible system call may take
/// any time, and clients wait meanwhile.
const STILL_WITHIN: Duration = Duration::from_millis(50);
/// Between two looks whether they have.
const LOOK_EVERY: Duration = Duration::from_micros(200);
/// Between two tries; doubles from the first to the most. A request takes milliseconds; a program
/// that is held too often does not finish any.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const MOST_PAUSE: Duration = Duration::from_millis(50);
/// Rounds in which processes that were begun meanwhile are held too.
const ROUNDS: usize = 4;

/// Processes held still. They go on when this is dropped, whatever happens.
struct Still(Vec<Pidfd>);

impl Drop for Still {
    fn drop(&mut self) {
        // The master last: it might miss workers that do not answer yet.
        for process in self.0.iter().rev() {
            // ESRCH: it was killed.
            let _ = process.signal(Signal::CONT);
        }
    }
}

impl Still {
    /// Holds the program and its workers. `None` if they do not come to a stop in time.
    fn hold(plan: &Plan) -> Option<Self> {
        let mut still = Self(Vec::new());
        for _ in 0..ROUNDS {
            let before = still.0.len();
            for pid in members(plan) {
                let held = still.0.iter().any(|held| held.pid() == pid);
                if let (false, Ok(process)) = (held, Pidfd::open(pid)) {
                    process.signal(Signal::STOP).ok()?;
                    still.0.push(process);
                }
            }
            if !still.has_stopped() {
                return None;
            }
            if still.0.len() == before {
                break;
            }
        }
        Some(still)
    }

    fn has_stopped(&self) -> bool {
        let patience = Instant::now() + STILL_WITHIN;
        loop {
            if self.0.iter().all(|held| process::is_stopped(held.pid())) {
                return true;
            }
            if Instant::now() > patience {
                return false;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// The program, and those of it that hold its sockets now.
fn members(plan: &Plan) -> Vec<u32> {
    let below = process::descendants(plan.pid).unwrap_or_default();
    let others = plan.workers.iter().copied().chain(below);
    let holds = |pid: &u32| {
        let held = descriptors::sockets(*pid).unwrap_or_default();
        let listens = |inode| plan.listeners.iter().any(|one| one.inode == inode);
        held.iter().any(|held| listens(held.inode))
    };
    let mut members = vec![plan.pid];
    for pid in others.filter(holds) {
        if !members.contains(&pid) {
            members.push(pid);
        }
    }
    members
}

/// What one try came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Try {
    /// It was told, or has ended.
    Done,
    /// It has connections.
    Busy,
}

/// One try. Blocks for as long as the program is held still: milliseconds.
fn attempt(master: &Pidfd, plan: &Plan) -> Try {
    if master.has_ended() {
        return Try::Done;
    }
    let Some(still) = Still::hold(plan) else {
        return Try::Busy;
    };
    let pids: Vec<u32> = still.0.iter().map(Pidfd::pid).collect();
    // Not to know is a reason to wait.
    if !accepted(&pids, &listening(plan)).is_ok_and(|open| open == 0) {
        return Try::Busy;
    }
    match &plan.retirement {
        // Not the signal itself: threads that go on before it arrives could accept.
        Retirement::Still { .. } => {
            for process in &still.0 {
                let _ = process.signal(Signal::KILL);
            }
        }
        Retirement::WhenIdle { .. } | Retirement::Graceful { .. } => tell(master, plan),
    }
    Try::Done
}

fn listening(plan: &Plan) -> Vec<Listening> {
    let sockets = plan.listeners.iter();
    sockets
        .map(|one| Listening {
            inode: one.inode,
            kind: one.listener.kind,
            address: one.listener.address.clone(),
            waiting: 0,
        })
        .collect()
}

/// Sends the program its stop signal, whatever it is doing.
pub(super) fn tell(master: &Pidfd, plan: &Plan) {
    let signal = Signal::from_name(plan.retirement.signal()).unwrap_or(Signal::TERM);
    // ESRCH: it is gone already, and its end is on its way to us.
    let _ = master.signal(signal);
}

/// Kills the program and its workers.
pub(super) fn kill(master: &Pidfd, plan: &Plan) {
    let workers = workers(plan);
    let _ = master.signal(Signal::KILL);
    for worker in workers {
        let _ = worker.signal(Signal::KILL);
    }
}

/// Processes of the program, without its master, that hold its sockets.
pub(super) fn workers(plan: &Plan) -> Vec<Pidfd> {
    members(plan)
        .into_iter()
        .filter(|pid| *pid != plan.pid)
        .filter_map(|pid| Pidfd::open(pid).ok())
        .collect()
}

/// Waits for a moment in which the program has no connection, and stops it in that moment; at the
/// end of `grace` in any case.
///
/// Cancel-safe: a try that has begun is carried through, and lets the program go on.
pub(super) async fn when_idle(master: Arc<Pidfd>, plan: Arc<Plan>, grace: Duration) {
    let until = Instant::now() + grace;
    let mut pause = FIRST_PAUSE;
    while Instant::now() < until {
        let (process, what) = (Arc::clone(&master), Arc::clone(&plan));
        let tried = tokio::task::spawn_blocking(move || attempt(&process, &what)).await;
        if !matches!(tried, Ok(Try::Busy)) {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MOST_PAUSE);
    }
    tell(&master, &plan);
}
