//! The crate's own supervisor over daemons of both libraries.

use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::process::{Child, Stdio};
use std::time::Duration;

use handoff::{HandoffOutcome, SpawnSpec, Supervisor};
use handover_tests::patience::{eventually, until};
use handover_tests::service::clean;
use handover_tests::{Program, http, process};

use crate::world::{BOTH, Library, Library::Ours, Library::Theirs, World, Writer, who};

/// A supervisor as the crate's README has it: it holds the listener and starts the first daemon.
pub(crate) struct Deployment {
    pub(crate) world: World,
    listener: TcpListener,
    supervisor: Supervisor,
    children: Vec<Child>,
}

impl Deployment {
    pub(crate) fn start(library: Library) -> Self {
        let world = World::of_theirs();
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let supervisor = Supervisor::new(&world.socket()).expect("a supervisor");
        let supervisor = supervisor.with_listener("http", listener.as_raw_fd());
        let program = world.program(library, "v1", "");
        let mut deployment = Self {
            world,
            listener,
            supervisor,
            children: Vec::new(),
        };
        let first = deployment.spawn(&program, None);
        deployment.children.push(first);
        until("it serves", || deployment.world.socket().exists());
        deployment
    }

    /// A process that inherits the listener as `http`.
    pub(crate) fn spawn(&self, program: &Program, crash_at: Option<&str>) -> Child {
        let mut command = clean(program.path());
        command
            .stdin(Stdio::null())
            .envs(crash_at.map(|at| ("HANDOFF_CRASH_AT", at)));
        // So that its descendants are known.
        command.env("HANDOFF_TEST_WORLD", self.world.data());
        let listeners = [("http".to_owned(), self.listener.as_raw_fd())];
        handoff::pass_listener_fds_on_spawn(&mut command, &listeners, None);
        command.spawn().expect("started")
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.listener.local_addr().expect("an address")
    }

    pub(crate) fn hand_over(
        &mut self,
        library: Library,
        version: &str,
        more: &str,
    ) -> HandoffOutcome {
        let program = self.world.program(library, version, more);
        let mut spec = SpawnSpec::new(program.path());
        spec.deadline = Duration::from_secs(8);
        let mut outcome = self.supervisor.perform_handoff(spec).expect("an outcome");
        self.children.extend(outcome.child.take());
        outcome
    }

    /// Forgets who has ended.
    pub(crate) fn reap(&mut self) {
        self.children
            .retain_mut(|child| child.try_wait().expect("waits").is_none());
    }

    /// The one that served before the last has gone.
    fn until_alone(&mut self) {
        let old = self.children.len() - 2;
        let status = eventually("the old one ends", || {
            self.children[old].try_wait().expect("waits")
        });
        assert!(status.success(), "{status}");
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        // And what a supervisor that died has left behind.
        for pid in process::with_in_environment(&self.world.data()) {
            process::signal(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Ours to ours, to theirs, and back; no write is refused or lost.
#[test]
fn i1_their_supervisor_hands_over_between_both_libraries() {
    for first in BOTH {
        let mut deployment = Deployment::start(first);
        let writer = Writer::begin(deployment.address());
        let mut expected = vec!["v1".to_owned()];
        let order = [Ours, Ours, Theirs, Theirs, Ours];
        for (n, library) in order.into_iter().enumerate() {
            until("it writes", || {
                deployment.world.writers().last() == expected.last()
            });
            let version = format!("v{}", n + 2);
            let outcome = deployment.hand_over(library, &version, "");
            assert!(outcome.committed, "{first:?}, {version}: {outcome:?}");
            assert_eq!(who(deployment.address()), version);
            deployment.until_alone();
            assert!(deployment.world.is_locked());
            expected.push(version);
        }
        until("the last one writes", || {
            deployment.world.writers().last() == expected.last()
        });
        writer.end(&deployment.world, 0);
        assert_eq!(deployment.world.writers(), expected);
    }
}

/// I5, I9: what fails before it is ready leaves ours serving, with a supervisor of theirs too.
#[test]
fn i5_a_successor_that_fails_leaves_ours_serving() {
    let mut deployment = Deployment::start(Ours);
    for (library, more) in [
        (Ours, "--exit-before-ready"),
        (Ours, "--never-ready"),
        (Theirs, "--exit-before-ready"),
        (Theirs, "--never-ready"),
    ] {
        let outcome = deployment.hand_over(library, "bad", more);
        assert!(!outcome.committed, "{library:?} {more}: {outcome:?}");
        until("it serves again", || {
            http::get(deployment.address(), "/write").is_ok_and(|(status, _)| status == 200)
        });
        assert_eq!(who(deployment.address()), "v1");
    }
    deployment.world.fail_next_seal();
    let outcome = deployment.hand_over(Ours, "v2", "");
    assert!(!outcome.committed);
    let reason = outcome.abort_reason.expect("a reason");
    assert!(reason.contains("the test wants no seal"), "{reason}");
    assert_eq!(who(deployment.address()), "v1");
    let outcome = deployment.hand_over(Ours, "v2", "");
    assert!(outcome.committed, "{outcome:?}");
    assert_eq!(who(deployment.address()), "v2");
}

/// Their supervisor makes the incumbent drain as soon as the successor has greeted. Ours greets
/// when it is warm.
#[test]
fn ours_warms_before_their_supervisor_makes_the_incumbent_drain() {
    let mut deployment = Deployment::start(Ours);
    let address = deployment.address();
    let writes = Writer::begin(address);
    let program = deployment.world.arguments(Ours, "v2", "--warm 1500");
    assert!(program.contains("--warm"));
    let outcome = deployment.hand_over(Ours, "v2", "--warm 1500");
    assert!(outcome.committed, "{outcome:?}");
    until("the new one writes", || {
        deployment
            .world
            .writers()
            .last()
            .is_some_and(|last| last == "v2")
    });
    // It wrote all the time that the new one warmed, not only before.
    let before = deployment.world.written();
    writes.end(&deployment.world, 0);
    assert!(before > 100, "{before} writes in a second and a half");
}
