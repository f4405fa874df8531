//! Programs that say they speak beyond-handoff and break its rules, under our supervisor: each is
//! refused by its own name, and who served serves on (I5, I9).

use std::io::Write;

use handover_proto::outcome::{Cause, Outcome};
use handover_tests::{Program, http};

use crate::DAEMON;
use crate::world::{Library::Theirs, World, who};

/// A successor that lies in this way.
fn liar(world: &World, lie: &str) -> Program {
    let socket = world.socket().display().to_string();
    Program::new(DAEMON, &format!("--library {lie} --socket {socket}"))
}

#[test]
fn i5_a_successor_that_breaks_the_protocol_is_refused() {
    let world = World::new();
    let first = world.program(Theirs, "v1", "");
    let service = world.supervise(&first, &[]);
    for (lie, word) in [
        ("wrong-pid", "process"),
        ("wrong-version", "version"),
        ("oversized", "bytes is announced"),
        ("endless", "bytes is announced"),
        ("unknown-message", "unknown"),
        ("out-of-turn", "out of turn"),
        ("wrong-attempt", "is for handoff"),
    ] {
        let outcome = service.upgrade_to(liar(&world, lie).path());
        let Outcome::RolledBack { cause } = &outcome else {
            panic!("{lie}: {outcome}");
        };
        assert!(cause.to_string().contains(word), "{lie}: {cause}");
        assert_eq!(who(service.address()), "v1", "{lie}");
        let written = http::get(service.address(), "/write").expect("an answer");
        assert_eq!(written.0, 200, "{lie}");
        assert!(world.is_locked(), "{lie}");
    }
    let next = world.program(Theirs, "v2", "");
    let outcome = service.upgrade_to(next.path());
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome}");
}

#[test]
fn a_successor_that_does_not_greet_in_time_is_refused() {
    let world = World::new();
    let first = world.program(Theirs, "v1", "");
    let service = world.supervise(&first, &[]);
    let outcome = service.upgrade_to(liar(&world, "silent").path());
    let Outcome::RolledBack {
        cause: Cause::SuccessorFailed { reason },
    } = &outcome
    else {
        panic!("{outcome}");
    };
    assert!(reason.contains("5s"), "{reason}");
    // Nothing was begun.
    assert_eq!(world.hooks("v1"), Vec::<String>::new());
}

/// Somebody keeps their one session busy: our supervisor waits for it, and says so.
#[test]
fn an_incumbent_that_talks_to_somebody_else_is_not_handed_over() {
    let world = World::new();
    let first = world.program(Theirs, "v1", "");
    let mut service = world.supervise(&first, &[]);
    service.kill_supervisor();
    // Their own supervisor, for instance.
    let mut other = world.connect();
    other.write_all(&[]).expect("connected");
    let (_, hello) = handoff::frame::read_message(&mut other).expect("greeted");
    assert!(matches!(hello, handoff::protocol::Message::Hello { .. }));
    service.supervise();
    drop(other);
    service.until_serving();
    let next = world.program(Theirs, "v2", "");
    let outcome = service.upgrade_to(next.path());
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome}");
}
