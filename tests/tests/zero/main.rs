//! The ZERO exchange with a Go program, both ways, in peace and in trouble. The Go side is
//! `tests/peers/zero`, which behaves as `zero-downtime` does on Go's own net package.

mod giving;
mod migration;
mod refusals;
mod swaps;
mod taking;
mod world;

/// The fixture of this build.
pub(crate) const FIXTURE: &str = env!("CARGO_BIN_EXE_fixture");
