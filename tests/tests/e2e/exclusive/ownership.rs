//! Who may own the directory, and how it is given back.

use std::fs::File;

use handover_tests::patience::until;
use handover_tests::{Program, http, locks};
use rustix::process::Signal;

use super::{Owner, arguments, builder, directory};
use crate::FIXTURE;

/// I1: a lock that somebody else holds is never broken. Whoever has it is named.
#[test]
fn i1_a_directory_that_is_in_use_is_waited_for_and_its_holder_named() {
    let (program, data) = (Program::new(FIXTURE, &arguments("only", "")), directory());
    let lock = File::create(data.path().join(".handover.lock")).expect("a file");
    lock.lock().expect("locked");
    let flags = ["--restart-pause", "100ms", "--restart-limit", "1000"];
    let service = builder(program.path(), data.path(), &flags).launch();
    let holder = std::process::id().to_string();
    until("the holder is named", || {
        service.stderr().contains(&holder) && service.stderr().contains("in use")
    });
    assert_eq!(
        locks::holders(&data.path().join(".handover.lock")),
        [std::process::id()]
    );
    drop(lock);
    service.until_serving();
    assert_eq!(http::version(service.address()), "only");
}

/// I3: stopped, the owner seals, so that the data is closed as in a handover.
#[test]
fn i3_sigterm_of_the_supervisor_seals() {
    let mut owner = Owner::start("only", "", &[]);
    let writers = owner.writers();
    let judgement = writers.finish();
    judgement.require_unnoticed("before the end");
    owner.signal(Signal::TERM);
    assert_eq!(owner.ended().code(), Some(0));
    owner.until_empty();
    let hooks = owner.hooks();
    assert_eq!(
        hooks.last().map(String::as_str),
        Some("only seal"),
        "{hooks:?}"
    );
    assert!(locks::holders(&owner.data.path().join(".handover.lock")).is_empty());
    // The next owner has a higher epoch, and all there was.
    owner.supervise();
    owner.until_serving();
    let log = handover_tests::writers::read_log(owner.address());
    assert_eq!(log.len(), judgement.acknowledged);
    let writers = owner.writers();
    drop(writers);
}

/// A program that does not say who owns the data cannot be run as if it did.
#[test]
fn a_program_without_the_library_is_refused() {
    let (program, data) = (Program::new(FIXTURE, "--plain --version 1"), directory());
    let mut service = builder(program.path(), data.path(), &["--restart-limit", "1"]).launch();
    let status = service.ended();
    assert_ne!(status.code(), Some(0));
    assert!(service.stderr().contains("native"), "{}", service.stderr());
}
