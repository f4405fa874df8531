//! A service without a supervisor replaces itself, or is taken over from by whoever is started next,
//! with real processes, sockets and signals.

mod crashes;
mod faults;
mod under_load;
mod world;

/// The fixture server of this build.
const FIXTURE: &str = env!("CARGO_BIN_EXE_fixture");
