//! The crate's supervisor as a process, for one handover: it can be killed.

use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::time::Duration;

use handoff::{Role, SpawnSpec, Supervisor, detect_role};

use super::Behaviour;

/// Hands over to the program in `--binary`, with the inherited listener `http`. The crate dies at
/// the point that `HANDOFF_CRASH_AT` names.
pub(super) fn hand_over(behaviour: &Behaviour) -> io::Result<()> {
    let Role::ColdStart { mut inherited } = detect_role().map_err(io::Error::other)? else {
        return Err(io::Error::other("a supervisor is no successor"));
    };
    let listener: TcpListener = inherited
        .take("http")
        .ok_or_else(|| io::Error::other("no listener"))?;
    let supervisor = Supervisor::new(&behaviour.socket).map_err(io::Error::other)?;
    let supervisor = supervisor.with_listener("http", listener.as_raw_fd());
    let mut spec = SpawnSpec::new(&behaviour.binary);
    spec.deadline = Duration::from_secs(30);
    let outcome = supervisor.perform_handoff(spec).map_err(io::Error::other)?;
    match outcome.abort_reason {
        None => Ok(()),
        Some(reason) => Err(io::Error::other(reason)),
    }
}
