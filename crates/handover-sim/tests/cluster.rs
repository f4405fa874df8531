//! Whole clusters from seeds: H1 to H12 as far as a cluster can show them.
//!
//! `HANDOVER_SIM_SEED=n` repeats one seed, `HANDOVER_SIM_SEEDS=n` tries as many at random.

use handover_sim::cluster::fault::Fault;
use handover_sim::cluster::plan::Plan;
use handover_sim::cluster::{Campaign, play};

/// Seeds that are tried each time.
const FIXED: u64 = 60;

/// Seeds that are tried once.
const AT_RANDOM: u64 = 10;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
    )
}

#[test]
#[ignore = "the machine does not move processes yet"]
fn clusters_keep_what_they_promise_and_settle() {
    if let Some(seed) = number("HANDOVER_SIM_SEED") {
        let plan = Plan::drawn(seed);
        println!("{plan:?}");
        match play(&plan, Fault::No) {
            Ok(counts) => println!("{counts:?}"),
            Err(failure) => panic!("{}", failure.tell(&plan)),
        }
        return;
    }
    let some = std::time::SystemTime::UNIX_EPOCH.elapsed();
    let some = some.map_or(0, |time| u64::from(time.subsec_nanos()) << 8);
    let count = number("HANDOVER_SIM_SEEDS").unwrap_or(AT_RANDOM);
    let seeds: Vec<u64> = (0..FIXED).chain(some..some + count).collect();
    let found = Campaign::of(&seeds);
    println!("{:?}", found.counts);
    let failures: Vec<_> = found
        .failures
        .iter()
        .take(3)
        .map(|(plan, f)| f.tell(plan))
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {} seeds fail\n{}",
        found.failures.len(),
        seeds.len(),
        failures.join("\n")
    );
}
