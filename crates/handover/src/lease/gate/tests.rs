use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::lease::ownership::ReleaseError;
use crate::lease::{Attempt, LeaseFile, Options, Ownership};

/// Long enough for the slowest machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

fn at(epoch: u64) -> Arc<Gate> {
    let gate = Gate::new();
    gate.open(Epoch(epoch));
    gate
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().build().expect("a runtime");
    let within = async { tokio::time::timeout(PATIENCE, future).await };
    runtime.block_on(within).expect("in time")
}

#[test]
fn i2_writers_wait_while_it_is_frozen_and_go_on_after_a_resume() {
    let gate = at(3);
    let early = gate.try_enter().expect("open");
    gate.freeze();
    assert_eq!(gate.try_enter().expect_err("frozen"), LeaseError::Frozen);
    assert_eq!(gate.close(), Err(StillWriting { permits: 1 }));
    let task = run(async {
        let waiting = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.enter().await.map(|permit| permit.epoch()) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(early);
        gate.emptied().await;
        gate.close().expect("nobody writes");
        assert_eq!(gate.standing(), Standing::Closed);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        gate.open(Epoch(4));
        waiting.await.expect("ends")
    });
    assert_eq!(task, Ok(Epoch(4)));
    assert_eq!(gate.latest(), Epoch(4));
}

#[test]
fn who_waits_is_sent_away_when_it_is_handed_over() {
    let gate = at(1);
    gate.freeze();
    let thread = std::thread::spawn({
        let gate = Arc::clone(&gate);
        move || gate.enter_blocking().map(|permit| permit.epoch())
    });
    run(async {
        let mut task = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.enter().await.map(|permit| permit.epoch()) }
        });
        let early = tokio::time::timeout(Duration::ZERO, &mut task).await;
        assert!(early.is_err(), "it waits");
        gate.close().expect("nobody writes");
        gate.hand_over();
        let answer = task.await.expect("ends");
        assert_eq!(answer, Err(LeaseError::HandedOver));
    });
    assert_eq!(thread.join().expect("ends"), Err(LeaseError::HandedOver));
    assert_eq!(gate.try_enter().expect_err("gone"), LeaseError::HandedOver);
    // A take-back opens it again, with a higher epoch.
    gate.open(Epoch(3));
    assert_eq!(gate.try_enter().expect("open").epoch(), Epoch(3));
}

#[test]
fn a_waiter_that_gives_up_leaves_no_trace() {
    let gate = at(1);
    gate.freeze();
    run(async {
        for _ in 0..100 {
            let waited = tokio::time::timeout(Duration::ZERO, gate.enter()).await;
            assert!(waited.is_err());
        }
    });
    assert_eq!(gate.permits(), 0);
    gate.close().expect("nobody writes");
}

#[test]
fn i2_a_lower_epoch_is_not_opened() {
    let gate = at(5);
    gate.freeze();
    gate.close().expect("nobody writes");
    gate.open(Epoch(4));
    assert_eq!(gate.standing(), Standing::Closed);
}

#[test]
fn a_wait_for_the_last_writer_ends_with_it() {
    let gate = at(1);
    let permit = gate.try_enter().expect("open");
    gate.freeze();
    let early = run(async { tokio::time::timeout(Duration::ZERO, gate.emptied()).await });
    assert!(early.is_err(), "it writes");
    let writer = std::thread::spawn(move || drop(permit));
    run(gate.emptied());
    writer.join().expect("ends");
}

/// What the writers of the next test see.
#[derive(Debug, Default)]
struct Outside {
    /// What a lock would say: the epoch that is held, 0 while nobody holds it.
    held: AtomicU64,
    writes: AtomicU64,
}

impl Outside {
    fn write(&self, permit: &Permit) {
        for _ in 0..50 {
            assert_eq!(self.held.load(Ordering::SeqCst), permit.epoch().0);
        }
        self.writes.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits until somebody has written.
    fn written(&self) {
        let (before, began) = (self.writes.load(Ordering::SeqCst), Instant::now());
        while self.writes.load(Ordering::SeqCst) == before {
            assert!(began.elapsed() < PATIENCE, "nobody writes");
            std::thread::yield_now();
        }
    }
}

/// Writers on threads and tasks, handovers between them: a write never happens outside of the
/// epoch that is open.
#[test]
fn i2_no_write_outside_of_the_epoch_that_is_held() {
    let gate = Gate::new();
    let outside = Arc::new(Outside::default());
    let mut writers = Vec::new();
    for _ in 0..4 {
        let (gate, outside) = (Arc::clone(&gate), Arc::clone(&outside));
        writers.push(std::thread::spawn(move || {
            while let Ok(permit) = gate.enter_blocking() {
                outside.write(&permit);
            }
        }));
    }
    let (theirs, seen) = (Arc::clone(&gate), Arc::clone(&outside));
    writers.push(std::thread::spawn(move || {
        run(async {
            while let Ok(permit) = theirs.enter().await {
                seen.write(&permit);
                drop(permit);
                tokio::task::yield_now().await;
            }
        });
    }));
    for epoch in 1..60 {
        outside.held.store(epoch, Ordering::SeqCst);
        gate.open(Epoch(epoch));
        outside.written();
        gate.freeze();
        run(gate.emptied());
        gate.close().expect("it was frozen and is empty");
        outside.held.store(0, Ordering::SeqCst);
    }
    gate.hand_over();
    for writer in writers {
        writer.join().expect("no write was outside");
    }
}

#[test]
fn i3_the_lock_is_released_only_when_nobody_writes() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = || LeaseFile::open(dir.path(), Options::default()).expect("opens");
    let mut ours = Ownership::new(file());
    let lease = ours.lease();
    ours.open();
    assert!(!lease.is_held(), "not without the lock");
    let Ok(Attempt::Acquired(epoch)) = ours.try_acquire() else {
        panic!("it is free");
    };
    assert!(!lease.is_held(), "not before it is said");
    ours.hold();
    assert_eq!((lease.is_held(), lease.epoch()), (true, epoch));
    assert_eq!(lease.try_enter().expect_err("held"), LeaseError::Frozen);
    ours.open();
    assert_eq!((lease.is_held(), lease.epoch()), (true, epoch));

    let mut other = file();
    let busy = |other: &mut LeaseFile| {
        let attempt = other.try_acquire().expect("tries");
        attempt == Attempt::Busy
    };
    let permit = lease.try_enter().expect("open");
    let error = ours.release().expect_err("a write is under way");
    assert!(matches!(error, ReleaseError::StillWriting(left) if left.permits == 1));
    assert!(lease.is_held() && busy(&mut other));
    // An abort: the same epoch goes on.
    ours.open();
    drop(permit);
    assert_eq!(lease.try_enter().expect("open").epoch(), epoch);
    ours.release().expect("nobody writes");
    assert!(!lease.is_held() && !busy(&mut other));
    other.release().expect("releases");

    // A value that is dropped while somebody writes keeps the lock until the process ends.
    ours.try_acquire().expect("free");
    ours.open();
    let permit = lease.try_enter().expect("open");
    assert_eq!(permit.epoch(), Epoch(epoch.0 + 2));
    drop(ours);
    assert_eq!(lease.try_enter().expect_err("gone"), LeaseError::HandedOver);
    assert!(busy(&mut other));
    drop(permit);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Enter,
    /// Drops the permit at this place, counted round.
    Leave(usize),
    Open,
    /// With the epoch before.
    OpenLower,
    /// The lock is held, and not yet opened.
    Hold,
    Freeze,
    Close,
    HandOver,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Enter),
        4 => any::<usize>().prop_map(Step::Leave),
        2 => Just(Step::Open),
        1 => Just(Step::OpenLower),
        1 => Just(Step::Hold),
        2 => Just(Step::Freeze),
        2 => Just(Step::Close),
        1 => Just(Step::HandOver),
    ];
    proptest::collection::vec(step, 0..60)
}

/// What the gate should be, told in the simplest way.
struct Model {
    standing: Standing,
    permits: Vec<Permit>,
    epoch: u64,
}

impl Model {
    fn step(&mut self, gate: &Arc<Gate>, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Enter => match (gate.try_enter(), self.standing) {
                (Ok(permit), Standing::Open(epoch)) => {
                    prop_assert_eq!(permit.epoch(), epoch);
                    self.permits.push(permit);
                }
                (Err(LeaseError::HandedOver), Standing::HandedOver)
                | (Err(LeaseError::Frozen), Standing::Closed | Standing::Frozen(_)) => {}
                (answer, standing) => prop_assert!(false, "{answer:?} while {standing:?}"),
            },
            Step::Leave(at) => {
                if !self.permits.is_empty() {
                    let at = at % self.permits.len();
                    drop(self.permits.swap_remove(at));
                }
            }
            Step::Open => {
                self.epoch += 1;
                gate.open(Epoch(self.epoch));
                self.standing = Standing::Open(Epoch(self.epoch));
            }
            Step::OpenLower => {
                if self.epoch > 0 {
                    gate.open(Epoch(self.epoch - 1));
                }
            }
            Step::Hold => {
                self.epoch += 1;
                gate.hold(Epoch(self.epoch));
                self.standing = Standing::Frozen(Epoch(self.epoch));
            }
            Step::Freeze => {
                gate.freeze();
                if let Standing::Open(epoch) = self.standing {
                    self.standing = Standing::Frozen(epoch);
                }
            }
            Step::Close => {
                let quiet = self.permits.is_empty();
                prop_assert_eq!(gate.close().is_ok(), quiet);
                self.standing = match self.standing {
                    Standing::Open(_) | Standing::Frozen(_) if quiet => Standing::Closed,
                    Standing::Open(epoch) => Standing::Frozen(epoch),
                    same => same,
                };
            }
            Step::HandOver => {
                gate.hand_over();
                self.standing = Standing::HandedOver;
            }
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn i2_it_is_what_the_model_is(steps in steps()) {
        let gate = Gate::new();
        let mut model = Model { standing: Standing::Closed, permits: Vec::new(), epoch: 0 };
        for step in steps {
            model.step(&gate, step)?;
            prop_assert_eq!(gate.standing(), model.standing);
            prop_assert_eq!(gate.permits(), model.permits.len());
            prop_assert_eq!(gate.latest(), Epoch(model.epoch));
            prop_assert_eq!(gate.is_open(), matches!(model.standing, Standing::Open(_)));
            // Nobody writes who is not counted, and none of them while the lock may be free.
            if gate.standing() == Standing::Closed {
                prop_assert!(model.permits.is_empty());
            }
        }
    }
}
