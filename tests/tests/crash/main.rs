//! The crash matrix: for each role and each effect of an undisturbed upgrade (or undo), the process is killed
//! just before that effect, and everything is looked at from outside. No place is named by hand: a
//! new effect is a new case.
//!
//! | variable | |
//! |---|---|
//! | `HANDOVER_CRASH_REPEAT` | rounds, 1 if not set: each all kills, and a sample of hangs and of pairs, other ones in each round; after 4 and 20 rounds it was all of them |
//! | `HANDOVER_CRASH_ALL` | all hangs and pairs in each round, if set |
//! | `HANDOVER_CRASH_THREADS` | cases at a time |
//! | `HANDOVER_CRASH_ONLY` | the one case to run, as its progress line names it: `supervisor 7 kill + 2 1 kill` |
//!
//! Needs the `handover` program beside it, built together with this test: `cargo xtask test` builds
//! everything first.

mod case;
mod examination;
mod matrix;

use case::Setup;
use matrix::Matrix;

/// The fixture server of this build.
const FIXTURE: &str = env!("CARGO_BIN_EXE_fixture");

/// I5, I7, I9, I12, in overlap mode: nothing is owned, so what is looked at is who serves.
#[test]
fn i12_overlap() {
    Matrix::of(Setup::overlap()).run();
}

/// I1 to I13 with one owner of a directory, which is written to all the time.
#[test]
fn i1_exclusive_with_tokio() {
    Matrix::of(Setup::exclusive("tokio", "--exclusive")).run();
}

/// The same with the driver that blocks.
#[test]
fn i1_exclusive_with_threads() {
    Matrix::of(Setup::exclusive("threads", "--exclusive --blocking")).run();
}

/// The same with an old instance that stays parked for a while.
#[test]
fn i1_exclusive_with_a_probation() {
    Matrix::of(Setup::probation()).run();
}

/// The same while an upgrade in its probation is undone.
#[test]
fn i1_exclusive_with_an_undo() {
    Matrix::of(Setup::undo()).run();
}
