//! One tool for set-up, test, bench and docs: `cargo xtask <command>`.
//!
//! It depends on nothing but `std`, so that the first command of a fresh clone does not wait for
//! a compiler twice.

#![forbid(unsafe_code)]

mod ci;
mod deny;
mod fuzz;
mod peers;
mod scratch;
mod steps;
mod suite;
mod tables;

use std::process::ExitCode;

use steps::{Failure, Steps};

const HELP: &str = "\
cargo xtask <command>

  test [-- filter]   install what the tests need, build everything once, run every test
  ci                 what must hold before a change lands: format, lints, docs, features,
                     dependencies, state tables, a smoke run of `fuzz`, then `test`
  setup              only install what the tests need, and print where it is
  deny               licences, bans and sources of all dependencies
  tables [--check]   write docs/state-tables.md from the machines; --check only compares
  bench [name ...]   run the benchmarks in release mode
  fuzz [target ...] [--runs N | --seconds S]
                     build the fuzz targets and run them: N inputs each from the seeds, or S
                     seconds each, going on from what was found before

What is installed is listed in tests/peers/. Debian packages are installed only when missing.
";

/// Exit code for a command line that makes no sense, as everywhere in this repository.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut steps = Steps::new();
    let outcome = match words.as_slice() {
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        ["test"] => suite::run(&mut steps, &[]),
        ["test", "--", filter @ ..] => suite::run(&mut steps, filter),
        ["ci"] => ci::run(&mut steps),
        ["setup"] => peers::prepare(&mut steps).map(|peers| peers.print()),
        ["deny"] => deny::run(&mut steps),
        ["tables"] => tables::run(&mut steps, tables::Mode::Write),
        ["tables", "--check"] => tables::run(&mut steps, tables::Mode::Check),
        ["fuzz", words @ ..] => fuzz::run(&mut steps, words),
        ["bench", names @ ..] => bench(&mut steps, names),
        _ => {
            eprint!("xtask: no such command: {}\n\n{HELP}", words.join(" "));
            return ExitCode::from(USAGE);
        }
    };
    if let Err(failure) = outcome {
        steps.record(failure);
    }
    steps.finish()
}

fn bench(steps: &mut Steps, names: &[&str]) -> Result<(), Failure> {
    let arguments = ["run", "--release", "--package", "handover-bench", "--"];
    let peer = match names.first() {
        Some(&"takeover") => Some((peers::ZERO_VARIABLE, peers::zero(steps)?)),
        Some(&"containers") => {
            steps.cargo("command", |cargo| {
                cargo.args(["build", "--release", "--package", "handover-cli"])
            })?;
            let package = peers::handover_lib(steps)?;
            Some((peers::HANDOVER_LIB_VARIABLE, package))
        }
        _ => None,
    };
    steps.cargo("bench", |cargo| {
        cargo.envs(peer);
        cargo.args(arguments).args(names)
    })
}
