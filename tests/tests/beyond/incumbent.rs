//! A supervisor of theirs, played frame by frame as in the tests of the crate, against a daemon of
//! theirs and one of ours: the outcomes must be the same.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use handoff::frame::{read_message, write_message};
use handoff::protocol::{HandoffId, Message, PROTO_MAX, Side};
use handover_tests::patience::{LONG, eventually, until};
use handover_tests::service::clean;
use handover_tests::{Program, process};

use crate::world::{BOTH, Library, World};

/// A daemon started by hand, serving.
struct Daemon {
    child: Child,
    world: World,
    _program: Program,
}

impl Daemon {
    fn start(library: Library, more: &str) -> Self {
        let world = World::of_theirs();
        let program = world.program(library, "v1", more);
        let child = command(&program).spawn().expect("started");
        until("it serves", || world.socket().exists());
        Self {
            child,
            world,
            _program: program,
        }
    }

    /// A session, past the greetings.
    fn session(&self) -> Session {
        let mut session = Session(self.world.connect());
        session.0.set_read_timeout(Some(LONG)).expect("set");
        let Some(Message::Hello { role, pid, .. }) = session.read() else {
            panic!("no greeting");
        };
        assert_eq!(role, Side::Incumbent);
        assert_eq!(pid, self.child.id());
        session.write(&Message::HelloAck {
            proto_version_chosen: PROTO_MAX,
            handoff_id: HandoffId::new(),
        });
        session
    }

    fn hooks(&self) -> Vec<String> {
        self.world.hooks("v1")
    }

    fn until_hooks(&self, expected: &[&str]) {
        let what = format!("{expected:?} are called");
        until(&what, || self.hooks() == expected);
    }

    fn ends_well(&mut self) {
        let status = eventually("it ends", || self.child.try_wait().expect("waits"));
        assert!(status.success(), "{status}");
    }

    /// It serves, owns its data, and can be handed over.
    fn must_be_well(mut self) {
        until("it owns its data", || self.world.is_locked());
        let mut session = self.session();
        let id = session.sealed();
        assert!(!self.world.is_locked());
        session.write(&Message::Commit { handoff_id: id });
        self.ends_well();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(program: &Program) -> Command {
    let mut command = clean(program.path());
    command.stdin(Stdio::null());
    command
}

struct Session(UnixStream);

impl Session {
    fn write(&mut self, message: &Message) {
        write_message(&mut self.0, PROTO_MAX, message).expect("written");
    }

    /// The next message that is no heartbeat; `None` when the session was closed.
    fn read(&mut self) -> Option<Message> {
        loop {
            match read_message(&mut self.0) {
                Ok((_, Message::Heartbeat { .. })) => {}
                Ok((_, message)) => return Some(message),
                Err(_) => return None,
            }
        }
    }

    fn prepare(&mut self, id: HandoffId) {
        self.write(&Message::PrepareHandoff {
            handoff_id: id,
            successor_pid: 9999,
            deadline_ms: 60_000,
            drain_grace_ms: 30_000,
        });
    }

    fn drained(&mut self) -> HandoffId {
        let id = HandoffId::new();
        self.prepare(id);
        let drained = self.read();
        assert!(
            matches!(
                drained,
                Some(Message::Drained {
                    accept_closed: true,
                    ..
                })
            ),
            "{drained:?}"
        );
        id
    }

    fn sealed(&mut self) -> HandoffId {
        let id = self.drained();
        self.write(&Message::SealRequest { handoff_id: id });
        let sealed = self.read();
        assert!(
            matches!(sealed, Some(Message::SealComplete { handoff_id, .. }) if handoff_id == id),
            "{sealed:?}"
        );
        id
    }

    fn must_be_closed(mut self) {
        let read = self.read();
        assert!(read.is_none(), "{read:?}");
    }
}

#[test]
fn happy_path() {
    for library in BOTH {
        let mut daemon = Daemon::start(library, "");
        assert!(daemon.world.is_locked());
        let mut session = daemon.session();
        let id = session.sealed();
        assert!(!daemon.world.is_locked(), "I3: released after the seal");
        session.write(&Message::Commit { handoff_id: id });
        daemon.ends_well();
        assert_eq!(daemon.hooks(), ["drain", "seal"], "{library:?}");
    }
}

#[test]
fn abort_before_ready_resumes_and_the_next_attempt_begins_in_the_same_session() {
    for library in BOTH {
        let daemon = Daemon::start(library, "");
        let mut session = daemon.session();
        let id = session.sealed();
        session.write(&Message::ResumeAfterAbort { handoff_id: id });
        // Theirs has no answer to it; the next attempt comes after it.
        let id = session.drained();
        assert_eq!(daemon.hooks(), ["drain", "seal", "resume", "drain"]);
        assert!(daemon.world.is_locked(), "{library:?} took its lock back");
        let reason = "the test has changed its mind".to_owned();
        session.write(&Message::Abort {
            handoff_id: id,
            reason,
        });
        daemon.until_hooks(&["drain", "seal", "resume", "drain", "resume"]);
        drop(session);
        daemon.must_be_well();
    }
}

#[test]
fn a_seal_that_fails_resumes_unasked() {
    for library in BOTH {
        let daemon = Daemon::start(library, "");
        daemon.world.fail_next_seal();
        let mut session = daemon.session();
        let id = session.drained();
        session.write(&Message::SealRequest { handoff_id: id });
        let Some(Message::SealFailed {
            handoff_id, error, ..
        }) = session.read()
        else {
            panic!("{library:?}: the seal did not fail");
        };
        assert_eq!(handoff_id, id);
        assert!(error.contains("the test wants no seal"), "{error}");
        daemon.until_hooks(&["drain", "seal", "resume"]);
        assert!(daemon.world.is_locked());
        // The session goes on.
        session.drained();
        drop(session);
        daemon.must_be_well();
    }
}

#[test]
fn a_second_attempt_beside_the_first_closes_the_session() {
    for library in BOTH {
        let daemon = Daemon::start(library, "");
        let mut session = daemon.session();
        session.drained();
        session.prepare(HandoffId::new());
        session.must_be_closed();
        daemon.until_hooks(&["drain", "resume"]);
        daemon.must_be_well();
    }
}

/// A second supervisor waits until the first has gone.
#[test]
fn a_second_session_waits_for_the_first() {
    for library in BOTH {
        let daemon = Daemon::start(library, "");
        let mut first = daemon.session();
        first.drained();
        let mut second = Session(daemon.world.connect());
        let at_once = Some(std::time::Duration::from_millis(200));
        second.0.set_read_timeout(at_once).expect("set");
        assert!(second.read().is_none(), "nobody greets it");
        second.0.set_read_timeout(Some(LONG)).expect("set");
        drop(first);
        assert!(matches!(second.read(), Some(Message::Hello { .. })));
        daemon.until_hooks(&["drain", "resume"]);
    }
}

/// Whoever drained resumes at once, whoever sealed within the two seconds it tries for its lock.
#[test]
fn i12_a_supervisor_that_dies_leaves_it_serving() {
    for library in BOTH {
        let daemon = Daemon::start(library, "");
        drop(daemon.session());
        let mut session = daemon.session();
        session.prepare(HandoffId::new());
        drop(session);
        // Ours need not even have begun with its hook.
        let last_is_resume = || daemon.hooks().last().is_some_and(|last| last == "resume");
        until("it resumes while it drains", last_is_resume);
        std::fs::remove_file(daemon.world.data().join("hooks")).expect("removed");
        let mut session = daemon.session();
        session.drained();
        drop(session);
        daemon.until_hooks(&["drain", "resume"]);
        let mut session = daemon.session();
        session.sealed();
        drop(session);
        daemon.until_hooks(&["drain", "resume", "drain", "seal", "resume"]);
        daemon.must_be_well();
    }
}

/// I1: somebody else has the lock, so it is a successor's.
#[test]
fn i1_a_sealed_one_that_does_not_get_its_lock_back_goes() {
    for library in BOTH {
        let mut daemon = Daemon::start(library, "");
        let mut session = daemon.session();
        session.sealed();
        let lock = std::fs::File::open(daemon.world.data().join(".handoff.lock"));
        let lock = lock.expect("the lock file");
        lock.try_lock().expect("free after the seal");
        drop(session);
        let status = eventually("it ends", || daemon.child.try_wait().expect("waits"));
        assert!(status.code().is_some(), "{library:?}: {status}");
        assert_eq!(daemon.hooks(), ["drain", "seal"], "{library:?}");
    }
}

fn illegal() -> Vec<Message> {
    let handoff_id = HandoffId::new();
    vec![
        Message::Hello {
            role: Side::Successor,
            pid: 1,
            build_id: Vec::new(),
            proto_min: PROTO_MAX,
            proto_max: PROTO_MAX,
            capabilities: Default::default(),
        },
        Message::HelloAck {
            proto_version_chosen: PROTO_MAX,
            handoff_id,
        },
        Message::Drained {
            open_conns_remaining: 0,
            accept_closed: true,
        },
        Message::SealRequest { handoff_id },
        Message::SealComplete {
            handoff_id,
            last_revision_per_shard: vec![1],
            data_dir_fingerprint: [0; 32],
        },
        Message::SealFailed {
            handoff_id,
            error: "x".into(),
            partial_state: String::new(),
        },
        Message::SealProgress {
            shards_sealed: 1,
            shards_total: 2,
            last_revision: 0,
        },
        Message::Begin { handoff_id },
        Message::Ready {
            handoff_id,
            listening_on: vec!["tcp".into()],
            healthz_ok: true,
            advertised_revision_per_shard: vec![1],
        },
        Message::Commit { handoff_id },
        Message::ResumeAfterAbort { handoff_id },
    ]
}

#[test]
fn frames_out_of_turn_close_the_session_and_nothing_else() {
    for library in BOTH {
        let daemon = Daemon::start(library, "");
        for message in illegal() {
            let mut session = daemon.session();
            session.write(&message);
            session.must_be_closed();
        }
        assert_eq!(daemon.hooks(), Vec::<String>::new());
        // Before a seal, and of another attempt after it.
        let mut session = daemon.session();
        let id = session.drained();
        session.write(&Message::Commit { handoff_id: id });
        session.must_be_closed();
        let mut session = daemon.session();
        session.sealed();
        session.write(&Message::Commit {
            handoff_id: HandoffId::new(),
        });
        session.must_be_closed();
        until("it took its lock back", || daemon.world.is_locked());
        daemon.must_be_well();
    }
}

#[test]
fn what_is_no_frame_closes_the_session_and_nothing_else() {
    let oversized = ((1u32 << 20) + 1).to_le_bytes().to_vec();
    let endless = u32::MAX.to_le_bytes().to_vec();
    let without_version = vec![1, 0, 0, 0, 0];
    let unknown = vec![3, 0, 0, 0, 1, 0, 14];
    for library in BOTH {
        let daemon = Daemon::start(library, "");
        for bytes in [&oversized, &endless, &without_version, &unknown] {
            let mut session = daemon.session();
            session.0.write_all(bytes).expect("written");
            session.must_be_closed();
            // And as the very first bytes, in place of the answer to its greeting.
            let mut stream = daemon.world.connect();
            stream.set_read_timeout(Some(LONG)).expect("set");
            stream.write_all(bytes).expect("written");
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
        }
        daemon.must_be_well();
    }
}

#[test]
fn a_version_nobody_speaks_closes_the_session() {
    for library in BOTH {
        let daemon = Daemon::start(library, "");
        let mut session = Session(daemon.world.connect());
        session.0.set_read_timeout(Some(LONG)).expect("set");
        assert!(matches!(session.read(), Some(Message::Hello { .. })));
        session.write(&Message::HelloAck {
            proto_version_chosen: 2,
            handoff_id: HandoffId::new(),
        });
        session.must_be_closed();
        daemon.must_be_well();
    }
}

#[test]
fn a_heartbeat_is_answered_in_any_state() {
    for library in BOTH {
        let daemon = Daemon::start(library, "");
        let mut session = daemon.session();
        let beat = |session: &mut Session| {
            session.write(&Message::Heartbeat { ts_ms: 0 });
            let (_, echo) = read_message(&mut session.0).expect("an echo");
            assert!(matches!(echo, Message::Heartbeat { .. }), "{library:?}");
        };
        beat(&mut session);
        session.drained();
        beat(&mut session);
    }
}

/// While a hook runs, heartbeats say that it lives.
#[test]
fn a_long_hook_heartbeats() {
    for library in BOTH {
        let daemon = Daemon::start(library, "--hook-delay 2500");
        let mut session = daemon.session();
        session.prepare(HandoffId::new());
        let (_, first) = read_message(&mut session.0).expect("a message");
        assert!(matches!(first, Message::Heartbeat { .. }), "{library:?}");
        assert!(matches!(session.read(), Some(Message::Drained { .. })));
    }
}

#[test]
fn the_control_socket_is_the_owners_alone() {
    for library in BOTH {
        let daemon = Daemon::start(library, "");
        let metadata = std::fs::metadata(daemon.world.socket()).expect("there");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{library:?}");
    }
}

/// Even where the file's mode lets others in, the kernel's word on who connects counts.
#[test]
fn another_user_is_not_talked_to() {
    if !rustix::process::geteuid().is_root() {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI runs this as root, or it proves nothing"
        );
        eprintln!("skipped: only root can start a program as another user");
        return;
    }
    for library in BOTH {
        let daemon = Daemon::start(library, "");
        let open = std::fs::Permissions::from_mode(0o777);
        for path in [daemon.world.socket(), daemon.world.data()] {
            let parent = path.parent().expect("a parent").to_owned();
            std::fs::set_permissions(&parent, open.clone()).expect("mode set");
        }
        std::fs::set_permissions(daemon.world.socket(), open.clone()).expect("mode set");
        let socket = daemon.world.socket().display().to_string();
        let program = Program::new(
            crate::DAEMON,
            &format!("--library nobody --socket {socket}"),
        );
        let parent = program.path().parent().expect("a parent");
        std::fs::set_permissions(parent, open).expect("mode set");
        let refused = Command::new("setpriv")
            .args(["--reuid", "65534", "--clear-groups"])
            .arg(program.path())
            .status()
            .expect("setpriv is there");
        assert!(refused.success(), "{library:?}: {refused}");
        assert!(process::is_alive(daemon.child.id()));
        daemon.must_be_well();
    }
}
