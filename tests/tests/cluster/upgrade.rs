//! The program of a node is replaced on its host, under `handover run`: its processes stay.

#[cfg(feature = "etcd")]
mod etcd;
mod gossip;
mod rolling;

use std::net::SocketAddr;

use handover_tests::address::own_address;
use handover_tests::crash::Crashes;
use handover_tests::etcd::mortal;
use handover_tests::hammer::Tally;
use handover_tests::hub::{Node, Place, Record};
use handover_tests::{Builder, Program, Service};
use tempfile::TempDir;

const UPGRADE_NODE: &str = env!("CARGO_BIN_EXE_upgrade-node");

/// Where nodes meet.
struct World {
    record: Record,
    addresses: [SocketAddr; 4],
    engine: String,
    lease: Option<u32>,
}

impl World {
    fn gossip() -> Self {
        let addresses = [(); 4].map(|()| own_address());
        let seeds = addresses.map(|address| address.to_string());
        Self {
            record: Record::new(),
            addresses,
            engine: format!("gossip:{}", seeds.join(",")),
            lease: None,
        }
    }

    /// The place of the node with this name: `a` to `d`.
    fn place<'a>(&'a self, name: &'a str) -> Place<'a> {
        let number = name.bytes().next().map_or(0, |byte| byte - b'a');
        Place {
            name,
            address: self.addresses[usize::from(number)].to_string(),
            record: self.record.path(),
            engine: self.engine.clone(),
            lease: self.lease,
        }
    }

    fn node(&self, name: &str, flags: &[&str]) -> Node {
        let mut command = mortal(UPGRADE_NODE.as_ref());
        command.args(flags);
        Node::start(command, &self.place(name))
    }

    /// One that runs nothing itself.
    fn client(&self, name: &str) -> Node {
        self.node(name, &["--weight", "0"])
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
