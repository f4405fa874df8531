//! A path, an address, and who serves there.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};

use handover_proto::event::EventKind;
use handover_proto::zero::Step;
use handover_tests::patience::{eventually, until};
use handover_tests::{Builder, Program, Service, http, peer};
use tempfile::TempDir;

use crate::FIXTURE;

/// A place for an exchange.
pub(crate) struct World {
    directory: TempDir,
    program: PathBuf,
    pub(crate) address: SocketAddr,
}

impl World {
    /// `None`, said aloud, without the Go peer.
    pub(crate) fn new() -> Option<Self> {
        let program = peer::find("HANDOVER_TEST_ZERO")?;
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        Some(Self {
            directory: tempfile::tempdir().expect("a directory"),
            program,
            address: free.local_addr().expect("an address"),
        })
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("zero.sock")
    }

    fn path_flag(&self) -> String {
        self.path().display().to_string()
    }

    /// Starts a Go server, which takes over if somebody serves.
    pub(crate) fn go(&self, version: &str) -> Go {
        let log = self.directory.path().join(format!("{version}.log"));
        let child = handover_tests::service::clean(&self.program)
            .arg(self.path())
            .args([&self.address.to_string(), version])
            .stdin(Stdio::null())
            .stderr(File::create(&log).expect("a file"))
            .spawn();
        let child = child.expect("the Go server starts");
        Go { child, log }
    }

    /// The same, and waits until it serves and can be taken over from.
    pub(crate) fn serving_go(&self, version: &str) -> Go {
        let go = self.go(version);
        until("the Go server offers its listener", || self.is_offered());
        assert_eq!(http::version(self.address), version);
        go
    }

    pub(crate) fn is_offered(&self) -> bool {
        std::os::unix::net::UnixStream::connect(self.path()).is_ok()
    }

    /// A service of ours that takes over, with these flags, of a fixture that behaves so.
    pub(crate) fn taker(&self, program: &Program) -> Builder {
        Builder::bare(program.path())
            .take()
            .flags(["--zero", &self.path_flag()])
    }

    /// A service of ours that binds the address.
    pub(crate) fn first(&self, program: &Program) -> Builder {
        let listener = format!("http={}", self.address);
        Builder::bare(program.path())
            .flags(["--zero", &self.path_flag()])
            .flags(["-l", &listener])
    }

    /// Waits until whoever serves answers with this version and nobody else does.
    pub(crate) fn until_only(&self, version: &str) {
        until("one version answers", || {
            (0..20).all(|_| {
                let answer = http::get(self.address, "/version");
                answer.is_ok_and(|(_, body)| body == version)
            })
        });
    }
}

/// A fixture that knows nothing of us.
pub(crate) fn fixture(arguments: &str) -> Program {
    Program::new(FIXTURE, &format!("--plain {arguments}"))
}

/// A Go server, gone at the end.
pub(crate) struct Go {
    child: Child,
    log: PathBuf,
}

impl Go {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("waits").is_some()
    }

    pub(crate) fn ended(&mut self) -> ExitStatus {
        eventually("the Go server ends", || {
            self.child.try_wait().expect("waits")
        })
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Go {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the Go server said:\n{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The steps of the exchange that a service has told of, in order.
pub(crate) fn steps(service: &Service) -> Vec<Step> {
    let events = service.events().into_iter();
    let steps = events.filter_map(|event| match event.kind {
        EventKind::Zero { step, .. } => Some(step),
        _ => None,
    });
    steps.collect()
}

/// Waits until a service has told of such a step.
pub(crate) fn until_step(service: &Service, what: &str, wanted: impl Fn(&Step) -> bool) {
    service.event(what, |kind| match kind {
        EventKind::Zero { step, .. } if wanted(step) => Some(()),
        _ => None,
    });
}

/// The mode of a file.
pub(crate) fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    let metadata = std::fs::symlink_metadata(path).expect("it is there");
    metadata.permissions().mode() & 0o777
}
