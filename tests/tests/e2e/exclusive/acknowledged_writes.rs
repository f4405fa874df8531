//! A real store is upgraded again and again while clients write to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use handover_tests::service::command_path;
use handover_tests::writers::{Habit, Writers};
use handover_tests::{Builder, load, locks};

use super::directory;

/// Enough for a write to fall into each moment of one.
const UPGRADES: usize = 100;

/// Looks at the kernel's table of locks while the test runs (I1).
struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Watch {
    fn over(lock: std::path::PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen = 0;
            while !over.load(Ordering::Relaxed) {
                let holders = locks::holders(&lock);
                // One look may see the old owner on one page of the table and the new one on the
                // next; two owners would be there at the second look, too.
                let two = holders.len() > 1 && locks::holders(&lock) == holders;
                assert!(!two, "two owners: {holders:?}");
                seen += holders.len();
                std::thread::sleep(Duration::from_millis(1));
            }
            seen
        });
        Self { stop, thread }
    }

    fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.thread.join().expect("never two owners");
        assert!(seen > UPGRADES, "the lock was hardly ever seen held");
    }
}

/// I1: never two owners. I2: epochs never go down in the log. I4, I10: every upgrade commits and no
/// request fails: those that come in between wait, and are answered by the new owner.
#[test]
fn i2_no_acknowledged_write_is_lost_in_a_hundred_upgrades() {
    let (program, data) = (command_path().with_file_name("example-kv"), directory());
    let service = Builder::new(&program)
        .args([data.path().to_str().expect("text")])
        .flags(["--exclusive"])
        .start();
    let watch = Watch::over(data.path().join(".handover.lock"));
    let habits = [Habit::Fresh, Habit::Fresh, Habit::Kept, Habit::Kept];
    let writers = Writers::start(service.address(), &habits);
    writers.go_on();
    for n in 1..=UPGRADES {
        let outcome = service.upgrade_in_place();
        assert!(load::committed(&outcome), "upgrade {n}: {outcome}");
        writers.go_on();
    }
    watch.finish();
    let judgement = writers.finish();
    judgement.require_unnoticed("a hundred upgrades");
    assert_eq!(
        judgement.epochs.len(),
        UPGRADES + 1,
        "each owner has written"
    );
    assert!(judgement.acknowledged > UPGRADES);
    eprintln!(
        "{} writes, {:?}",
        judgement.acknowledged,
        judgement.epochs.last()
    );
    service.until_alone();
    assert_eq!(service.processes(), [service.incumbent()]);
}
