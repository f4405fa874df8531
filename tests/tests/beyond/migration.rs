//! From their library to ours and back, by upgrades like any other.

use handover_proto::outcome::Outcome;
use handover_tests::patience::until;
use handover_tests::{Service, http};

use crate::world::{Library, Library::Ours, Library::Theirs, World, Writer, who};

fn upgrade(world: &World, service: &Service, library: Library, version: &str) {
    let program = world.program(library, version, "");
    let outcome = service.upgrade_to(program.path());
    assert!(
        matches!(outcome, Outcome::Committed { .. }),
        "{version}: {outcome}"
    );
    assert_eq!(who(service.address()), version);
    let seen = world.written();
    until("the new one writes", || world.written() > seen + 3);
    service.until_alone();
    assert!(world.is_locked());
}

/// One directory, one owner at a time, whoever wrote the library; no write is refused or lost.
#[test]
fn i1_both_libraries_take_turns_on_one_directory() {
    let world = World::new();
    let first = world.program(Theirs, "t1", "");
    let service = world.supervise(&first, &[]);
    let writer = Writer::begin(service.address());
    until("it writes", || world.written() > 3);
    upgrade(&world, &service, Ours, "o1");
    upgrade(&world, &service, Ours, "o2");
    upgrade(&world, &service, Theirs, "t2");
    upgrade(&world, &service, Ours, "o3");
    writer.end(&world, 0);
    assert_eq!(world.writers(), ["t1", "o1", "o2", "t2", "o3"]);
}

/// Ours warms while theirs serves: what it takes is not part of the pause.
#[test]
fn ours_warms_before_theirs_is_asked_to_drain() {
    let world = World::new();
    let first = world.program(Theirs, "t1", "");
    let service = world.supervise(&first, &[]);
    let warm = world.program(Ours, "o1", "--warm 1500");
    let control = service.control();
    let path = warm.path().to_owned();
    let upgrade = std::thread::spawn(move || control.upgrade_to(&path));
    service.until("it warms", |status| status.handover.is_some());
    assert_eq!(
        http::get(service.address(), "/write").expect("an answer").0,
        200
    );
    assert_eq!(world.hooks("t1"), Vec::<String>::new());
    let outcome = upgrade.join().expect("an outcome");
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome}");
    let history = service.history();
    let last = history.last().expect("an attempt");
    assert!(last.dark_us < last.took_us, "{last:?}");
}

/// I5, I9: a version of ours that fails leaves theirs serving, its blocking listener untouched.
#[test]
fn i5_a_version_of_ours_that_fails_leaves_theirs_serving() {
    let world = World::new();
    let first = world.program(Theirs, "t1", "");
    let service = world.supervise(&first, &["--activate-timeout", "2s"]);
    for more in ["--exit-before-ready", "--never-ready"] {
        let bad = world.program(Ours, "bad", more);
        let outcome = service.upgrade_to(bad.path());
        assert!(
            matches!(
                outcome,
                Outcome::RolledBack { .. } | Outcome::TimedOut { .. }
            ),
            "{more}: {outcome}"
        );
        assert_eq!(who(service.address()), "t1");
    }
    world.fail_next_seal();
    let good = world.program(Ours, "o1", "");
    let outcome = service.upgrade_to(good.path());
    assert!(matches!(outcome, Outcome::RolledBack { .. }), "{outcome}");
    assert_eq!(who(service.address()), "t1");
    let outcome = service.upgrade_to(good.path());
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome}");
}

/// I5: and the other way round, as a rollback to a version of theirs that fails.
#[test]
fn i5_a_version_of_theirs_that_fails_leaves_ours_serving() {
    let world = World::of_theirs();
    let first = world.program(Ours, "o1", "");
    let service = world.supervise(&first, &["--activate-timeout", "2s"]);
    for more in [
        "--exit-before-greeting",
        "--exit-before-ready",
        "--unhealthy",
    ] {
        let bad = world.program(Theirs, "bad", more);
        let outcome = service.upgrade_to(bad.path());
        assert!(
            matches!(outcome, Outcome::RolledBack { .. }),
            "{more}: {outcome}"
        );
        assert_eq!(who(service.address()), "o1", "{more}");
        let written = http::get(service.address(), "/write").expect("an answer");
        assert_eq!(written.0, 200, "{more}");
    }
    let back = world.program(Theirs, "t1", "");
    let outcome = service.upgrade_to(back.path());
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome}");
    assert_eq!(who(service.address()), "t1");
}

/// What the wire needs is asked for before anything starts.
#[test]
fn the_wire_says_what_it_needs() {
    let program = World::new().program(Theirs, "t1", "");
    for (flags, needed) in [
        (vec!["--wire", "beyond-handoff"], "--exclusive"),
        (
            vec!["--wire", "beyond-handoff", "--exclusive"],
            "--handoff-socket",
        ),
    ] {
        let builder = handover_tests::Builder::new(program.path()).flags(flags);
        let mut service = builder.launch();
        assert_eq!(service.ended().code(), Some(1));
        assert!(service.stderr().contains(needed), "{}", service.stderr());
    }
}
