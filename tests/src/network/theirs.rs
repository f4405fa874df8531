//! The real handover-lib 0.0.10 under Node.

use std::path::PathBuf;

use super::{Container, Entrypoint};
use crate::peer;

/// The package, as `cargo xtask test` installed it.
#[derive(Clone, Debug)]
pub struct Theirs {
    node: PathBuf,
    modules: PathBuf,
}

impl Theirs {
    /// `None`, with the reason printed, where it is not installed: the test is then to return.
    ///
    /// # Panics
    /// When it is not, although `CI` is set.
    #[must_use]
    pub fn installed() -> Option<Self> {
        let node = peer::find("HANDOVER_TEST_NODE")?;
        let modules = peer::find("HANDOVER_TEST_HANDOVER_LIB")?;
        Some(Self { node, modules })
    }

    /// Starts a service on it that says `started`, `announced`, `callback` (once for each call),
    /// and `complete`. It started at this time, in milliseconds since the epoch, as it says.
    #[must_use]
    pub fn peer(&self, container: &Container, started_ms: i64, mode: &str) -> Entrypoint {
        self.run(container, mode, &[&started_ms.to_string()])
    }

    /// The same with the time that its own clock shows.
    #[must_use]
    pub fn peer_by_clock(&self, container: &Container, mode: &str) -> Entrypoint {
        self.run(container, mode, &[])
    }

    fn run(&self, container: &Container, mode: &str, arguments: &[&str]) -> Entrypoint {
        let mut command = container.command(&self.node);
        command.arg(script("peer.js")).args(arguments);
        command.env("NODE_PATH", &self.modules);
        command.env("HANDOVER_NETWORK_MODE", mode);
        let peer = container.start(command);
        peer.until("started");
        peer
    }

    /// Starts the reader of status datagrams, which says `status` for each.
    #[must_use]
    pub fn status_reader(&self, container: &Container) -> Entrypoint {
        let mut command = container.command(&self.node);
        command.arg(script("status.js")).arg("read");
        let reader = container.start(command);
        reader.until("reading");
        reader
    }

    /// Starts a sender of status datagrams, which repeats itself until it is dropped.
    #[must_use]
    pub fn status_sender(
        &self,
        container: &Container,
        name: &str,
        started_ms: i64,
        address: &str,
        status: &str,
    ) -> Entrypoint {
        let mut command = container.command(&self.node);
        command.arg(script("status.js"));
        command.args(["send", name, &started_ms.to_string(), address, status]);
        container.start(command)
    }
}

fn script(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "peers/handover-lib", name]
        .iter()
        .collect()
}
