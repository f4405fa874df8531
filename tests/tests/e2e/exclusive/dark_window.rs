//! What the pause does not depend on. Figures are the benchmark's; here lengths of one run are
//! compared with one another, with room for a busy machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use handover_tests::{http, load};

use super::Owner;

/// Upgrades of which the middle one counts.
const UPGRADES: usize = 5;

/// Dark windows of some upgrades, the middle one; and how long the middle one took as a whole.
fn middle(owner: &Owner) -> (Duration, Duration) {
    let mut seen = Vec::new();
    for _ in 0..UPGRADES {
        let outcome = owner.upgrade_in_place();
        assert!(load::committed(&outcome), "{outcome}");
        let last = owner.history().pop().expect("an entry");
        assert!(last.dark_us > 0, "it is measured: {last:?}");
        seen.push((last.dark_us, last.took_us));
        owner.until_alone();
    }
    seen.sort_unstable();
    let (dark, took) = seen[UPGRADES / 2];
    (Duration::from_micros(dark), Duration::from_micros(took))
}

/// The successor warms while the incumbent writes on.
#[test]
fn a_slow_start_is_not_in_the_dark_window() {
    let owner = Owner::start("slow", "", &[]);
    let writers = owner.writers();
    owner.wish("warm", "delay", "2000");
    let (dark, took) = middle(&owner);
    assert!(dark * 4 < took, "dark for {dark:?} of {took:?}");
    writers.finish().require_unnoticed("slow starts");
}

/// Eight requests that take long and write nothing are in flight all the time.
#[test]
fn slow_requests_are_not_in_the_dark_window() {
    let owner = Owner::start("any", "", &[]);
    let address = owner.address();
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let mut shortest = Duration::MAX;
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    let (status, body) = http::get(address, "/slow").expect("an answer");
                    assert_eq!((status, body.as_str()), (200, "slow\n"));
                    shortest = shortest.min(begun.elapsed());
                }
                shortest
            })
        })
        .collect();
    let (dark, _) = middle(&owner);
    stop.store(true, Ordering::Relaxed);
    let shortest = clients
        .into_iter()
        .map(|client| client.join().expect("all are answered"));
    let shortest = shortest.min().expect("eight clients");
    assert!(
        dark * 2 < shortest,
        "dark for {dark:?}, requests of {shortest:?}"
    );
}
