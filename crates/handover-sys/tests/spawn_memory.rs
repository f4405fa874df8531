//! The cost of a start does not grow with the memory of the parent.

mod world;

use std::time::{Duration, Instant};

use handover_sys::Exit;
use handover_sys::spawn::Spawn;

/// How much the parent holds for the second measurement. `fork` of it takes tens of milliseconds.
const BALLAST: usize = 512 << 20;

/// The quickest of many starts: what the machine does besides only ever adds.
fn quickest() -> Duration {
    let one = || {
        let started = Instant::now();
        let child = Spawn::path("/bin/true").spawn().unwrap();
        let took = started.elapsed();
        assert_eq!(child.pidfd.wait(None).unwrap(), Some(Exit::Code(0)));
        took
    };
    (0..60).map(|_| one()).min().unwrap()
}

#[test]
fn a_large_parent_starts_programs_as_fast_as_a_small_one() {
    let small = quickest();
    let ballast = vec![1u8; BALLAST];
    let own = handover_sys::usage(std::process::id()).unwrap();
    assert!(
        own.rss_bytes > BALLAST as u64 / 2,
        "the ballast must be resident: {own:?}"
    );
    let large = quickest();
    std::hint::black_box(&ballast);
    eprintln!("quickest start: {small:?} small, {large:?} with 512 MiB");
    assert!(
        large < small * 4,
        "{small:?} when small, {large:?} with 512 MiB"
    );
}
