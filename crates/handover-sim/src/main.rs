//! `handover-sim explore`, `arms`, `tables`, `cluster`: see the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Instant;

use handover_sim::cluster::fault::Fault;
use handover_sim::cluster::plan::Plan;
use handover_sim::cluster::{Campaign, figures, play};
use handover_sim::scenario::{self, Depth};
use handover_sim::seen::Seen;
use handover_sim::{arms, explorer, tables, trace};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (verb, filter) = (arguments.next(), arguments.next().unwrap_or_default());
    let done = match verb.as_deref() {
        Some("explore") => explore(Depth::Full, &filter),
        Some("once") => explore(Depth::One, &filter),
        Some("arms") => deprive(),
        Some("tables") => print_tables(),
        Some("cluster") => clusters(&filter),
        Some("seed") => one_cluster(&filter),
        Some("figures") => figures(&filter),
        _ => {
            eprintln!(
                "usage: handover-sim explore|once [PART OF A NAME] | arms | tables | cluster SEEDS | seed N | figures NODESxPROCESSES"
            );
            return ExitCode::from(2);
        }
    };
    if done {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn explore(depth: Depth, filter: &str) -> bool {
    let begun = Instant::now();
    let mut scenarios = scenario::all(depth);
    scenarios.retain(|scenario| scenario.name.contains(filter));
    let results = explorer::explore_all(&scenarios);
    let (mut states, mut steps, mut good) = (0, 0, true);
    let mut seen = Seen::default();
    for (scenario, result) in scenarios.iter().zip(results) {
        match result {
            Ok(report) => {
                println!(
                    "{:>9} states {:>9} steps {:>6} at rest  {}",
                    report.states, report.steps, report.quiescent, scenario.name
                );
                states += report.states;
                steps += report.steps;
                seen.merge(report.seen);
            }
            Err(failure) => {
                good = false;
                println!("{}", trace::tell(scenario, &failure));
            }
        }
    }
    let arms = seen.active.len();
    let took = begun.elapsed();
    println!("{states:>9} states {steps:>9} steps, {arms} arms, {took:.1?}");
    good
}

/// As many seeds, and from which on: `1000` or `5000+1000`.
fn clusters(seeds: &str) -> bool {
    let (first, count) = seeds.split_once('+').unwrap_or(("0", seeds));
    let number = |text: &str| text.parse::<u64>().ok();
    let (Some(first), Some(count)) = (number(first), number(count)) else {
        eprintln!("how many seeds? 1000, or 5000+1000 for those from 5000 on");
        return false;
    };
    let begun = Instant::now();
    let seeds: Vec<u64> = (first..first + count).collect();
    let found = Campaign::of(&seeds);
    for (plan, failure) in &found.failures {
        let violation = &failure.violation;
        println!(
            "seed {} {} {:?}: {}: {}",
            plan.seed, plan.exclusive, plan.profile, violation.rule, violation.words
        );
    }
    let failed = found.failures.len();
    println!("{:?}", found.counts);
    println!("{count} seeds, {failed} failed, {:.1?}", begun.elapsed());
    failed == 0
}

/// Nodes and processes, as `200x20000`.
fn figures(size: &str) -> bool {
    let size = size.split_once('x').map(|(n, p)| (n.parse(), p.parse()));
    let Some((Ok(nodes), Ok(processes))) = size else {
        eprintln!("how many nodes and processes? 200x20000");
        return false;
    };
    let begun = Instant::now();
    let found = match figures::measure(nodes, processes) {
        Ok(found) => found,
        Err(broken) => {
            println!("{}: {}", broken.rule, broken.words);
            return false;
        }
    };
    println!("{nodes} nodes, {processes} processes, 1024 shards");
    for part in found {
        let each = part.messages as f64 / part.seconds / nodes as f64;
        println!(
            "{:<24} {:>6} transactions {:>6} shards {:>9} messages {:>10} items {:>6} moved, \
             {each:.2} messages a second and node",
            part.what, part.changes, part.shards, part.messages, part.items, part.moved
        );
    }
    println!("{:.1?}", begun.elapsed());
    true
}

fn one_cluster(seed: &str) -> bool {
    let Ok(seed) = seed.parse() else {
        eprintln!("which seed?");
        return false;
    };
    let plan = Plan::drawn(seed);
    println!("{plan:?}");
    match play(&plan, Fault::No) {
        Ok(counts) => println!("{counts:?}"),
        Err(failure) => {
            println!("{}", failure.tell(&plan));
            return false;
        }
    }
    true
}

fn deprive() -> bool {
    let begun = Instant::now();
    let found = match arms::deprive() {
        Ok(found) => found,
        Err(words) => {
            println!("{words}");
            return false;
        }
    };
    for (arm, how) in &found.noticed {
        println!("{arm}: {how}");
    }
    for arm in &found.unnoticed {
        println!("NOT NOTICED {arm}");
    }
    let (noticed, unnoticed) = (found.noticed.len(), found.unnoticed.len());
    println!(
        "{noticed} arms noticed, {unnoticed} not, {:.1?}",
        begun.elapsed()
    );
    unnoticed == 0
}

fn print_tables() -> bool {
    match tables::markdown() {
        Ok(markdown) => {
            print!("{markdown}");
            true
        }
        Err(words) => {
            eprintln!("{words}");
            false
        }
    }
}
