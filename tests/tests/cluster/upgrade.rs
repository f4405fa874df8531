//! The program of a node is replaced on its host, under `handover run`: its processes stay.

mod deaths;
#[cfg(feature = "etcd")]
mod etcd;
mod gossip;
mod rolling;

use handover_tests::crash::Crashes;
use handover_tests::etcd::mortal;
use handover_tests::hammer::Tally;
use handover_tests::hub::{Node, Place};
use handover_tests::{Builder, Program, Service};
use tempfile::TempDir;

use crate::world::World;

const UPGRADE_NODE: &str = env!("CARGO_BIN_EXE_upgrade-node");

impl World {
    fn versioned(&self, name: &str, flags: &[&str]) -> Node {
        let mut command = mortal(UPGRADE_NODE.as_ref());
        command.args(flags);
        self.start(command, name)
    }

    /// One that runs nothing itself.
    fn client(&self, name: &str) -> Node {
        self.versioned(name, &["--weight", "0"])
    }
}

/// Ends the calls of a node.
fn tally(node: &Node) -> Tally {
    let answer = node.ask("rest");
    let numbers: Vec<u64> = answer
        .split(' ')
        .map(|word| word.parse().expect("a number"))
        .collect();
    let [answered, failed, wrong, slowest] = numbers.as_slice() else {
        panic!("{answer}");
    };
    Tally {
        answered: *answered,
        failed: *failed,
        wrong: *wrong,
        slowest: *slowest,
    }
}

/// A node that is an instance of a service.
struct Owned {
    service: Service,
    program: Program,
    arguments: String,
    _directory: TempDir,
}

impl Owned {
    fn start(flags: &str, place: &Place<'_>, crashes: Option<&Crashes>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let lease = place.lease.map(|seconds| seconds.to_string());
        let arguments = format!(
            "--own {} {} {} {} {} {}",
            directory.path().display(),
            place.name,
            place.address,
            place.record.display(),
            place.engine,
            lease.unwrap_or_default(),
        );
        let program = Program::new(UPGRADE_NODE, &format!("{flags} {arguments}"));
        let listener = format!("hub={}", place.address);
        let mut builder = Builder::bare(program.path())
            .flags(["--exclusive", "--listen", &listener])
            .flags(["--drain-grace", "1s", "--kill-after", "1s"]);
        if let Some(crashes) = crashes {
            builder = builder.env("HANDOVER_CRASH_DIR", crashes.path());
        }
        let service = builder.start();
        Self {
            service,
            program,
            arguments,
            _directory: directory,
        }
    }

    /// Puts another version in the program's place.
    fn deploy(&self, flags: &str) {
        let arguments = format!("{flags} {}", self.arguments);
        self.program.replace(UPGRADE_NODE, &arguments);
    }
}
