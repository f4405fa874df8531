//! Who may own the directory, and how it is given back.

use std::fs::File;

use handover_proto::event::{Event, EventKind};
use handover_tests::{Program, http, locks};
use rustix::process::Signal;

use super::{Owner, arguments, builder, directory};
use crate::FIXTURE;

/// I1: a lock that somebody else holds is never broken. Whoever has it is named.
#[test]
fn i1_a_directory_that_is_in_use_is_refused_and_its_holder_named() {
    let (program, data) = (Program::new(FIXTURE, &arguments("only", "")), directory());
    let path = data.path().join(".handover.lock");
    let lock = File::create(&path).expect("a file");
    lock.lock().expect("locked");
    let mut service = builder(program.path(), data.path(), &[]).launch();
    assert_eq!(service.ended().code(), Some(13));
    let told = service.events();
    let told = told.iter().find_map(|event| match &event.kind {
        EventKind::HandoverFinished { outcome, .. } => Some(outcome.to_string()),
        _ => None,
    });
    let (told, holder) = (told.expect("an outcome"), std::process::id());
    let named = told.contains("in use") && told.contains(&holder.to_string());
    assert!(named, "{told}");
    locks::until_held(&path, holder);

    drop(lock);
    service.supervise();
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
    assert_eq!(status.code(), Some(13));
    let told = |event: &Event| event.kind.to_string().contains("Instance::own");
    assert!(service.events().iter().any(told), "what to do is said");
}
