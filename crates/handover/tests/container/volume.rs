//! Instances that share a volume.

use rustix::process::Signal;

use crate::world::World;

#[test]
fn the_old_one_drains_and_lets_go_when_the_young_one_holds() {
    let mut world = World::with_volume();
    world.set("ACTOR_RESUMES", "yes");
    world.set("ACTOR_PROBATION_MS", 200);
    let old = world.serving("old");
    assert!(!world.is_complete("old"));
    let young = world.serving("young");
    old.says("event younger_heard");
    old.says("drains");
    old.says("event probation");
    old.says("event committed");
    let path = old.says("wrote ");
    assert_eq!(path, world.path("old").display().to_string());
    assert!(world.is_complete("old"));
    young.says("event older_committed");
    assert!(!young.has_said("drains"));
    assert!(!world.is_complete("young"));
}

#[test]
fn each_of_three_in_a_row_is_drained_once_by_the_next() {
    let mut world = World::with_volume();
    world.set("ACTOR_PROBATION_MS", 50);
    let first = world.serving("1");
    let second = world.serving("2");
    first.says("wrote ");
    let third = world.serving("3");
    second.says("drains");
    second.says("wrote ");
    assert_eq!(first.times("drains"), 1);
    assert!(!third.has_said("drains"));
}

#[test]
fn three_at_the_same_moment_leave_one() {
    let mut world = World::with_volume();
    world.set("ACTOR_PROBATION_MS", 50);
    let hold = world.path("hold");
    std::fs::write(&hold, "").expect("writes");
    world.set("ACTOR_HOLD", hold.display());
    let first = world.serving("1");
    let second = world.serving("2");
    first.says("drains");
    let third = world.serving("3");
    second.says("drains");
    std::fs::remove_file(hold).expect("removes");
    first.says("wrote ");
    second.says("wrote ");
    assert!(!third.has_said("drains"));
    assert!(!world.is_complete("3"));
}

#[test]
fn another_key_is_refused_and_the_same_key_is_obeyed() {
    let mut world = World::with_volume();
    world.set("ACTOR_PROBATION_MS", 0);
    world.set("ACTOR_KEY", world.key("ours").display());
    let old = world.serving("old");
    world.set("ACTOR_KEY", world.key("theirs").display());
    let forger = world.serving("forger");
    let refused = old.says("event refused");
    assert!(refused.contains("key"), "{refused}");
    // The same set-up with the right key retires it, so it was the key that kept it serving.
    world.set("ACTOR_KEY", world.key("ours").display());
    let young = world.serving("young");
    old.says("drains");
    old.says("wrote ");
    assert!(!forger.has_said("drains") && !young.has_said("drains"));
}

#[test]
fn a_volume_makes_one_key_for_all() {
    let mut world = World::with_volume();
    world.set("ACTOR_PROBATION_MS", 0);
    let old = world.serving("old");
    let path = world.path("volume/api/key");
    let key = std::fs::read_to_string(&path).expect("a key");
    assert_eq!(key.trim().len(), 64);
    let mode = std::os::unix::fs::MetadataExt::mode(&path.metadata().expect("a file"));
    assert_eq!(mode & 0o777, 0o600);
    let _young = world.serving("young");
    old.says("wrote ");
    assert_eq!(std::fs::read_to_string(&path).expect("a key"), key);
}

#[test]
fn two_services_in_one_volume_leave_each_other_alone() {
    let mut world = World::with_volume();
    world.set("ACTOR_PROBATION_MS", 0);
    let api = world.serving("api");
    world.set("ACTOR_SERVICE", "web");
    let web = world.serving("web");
    let young = world.serving("young");
    web.says("wrote ");
    assert!(!api.has_said("drains") && !young.has_said("drains"));
}

#[test]
fn the_old_one_takes_back_when_the_young_one_is_killed_in_probation() {
    let mut world = World::with_volume();
    world.set("ACTOR_RESUMES", "yes");
    world.set("ACTOR_SILENCE_MS", 3000);
    world.set("ACTOR_PROBATION_MS", 600_000);
    let old = world.serving("old");
    let mut young = world.serving("young");
    old.says("event probation");
    young.kill();
    old.says("event taking_back");
    old.says("serves again");
    old.says("event serving");
    assert!(!world.is_complete("old"));
    // It is one of them again: the next one retires it.
    old.says("drains");
    let _next = world.serving("next");
    old.says("drains");
}

#[test]
fn without_a_way_to_serve_again_there_is_no_probation() {
    let mut world = World::with_volume();
    world.set("ACTOR_PROBATION_MS", 600_000);
    let old = world.serving("old");
    let _young = world.serving("young");
    old.says("wrote ");
}

#[test]
fn without_a_way_to_serve_again_it_says_that_nobody_serves() {
    let mut world = World::with_volume();
    world.set("ACTOR_SILENCE_MS", 3000);
    let hold = world.path("hold");
    std::fs::write(&hold, "").expect("writes");
    world.set("ACTOR_HOLD", hold.display());
    let old = world.serving("old");
    let mut young = world.serving("young");
    old.says("drains");
    young.kill();
    old.says("event successor_lost");
    std::fs::remove_file(hold).expect("removes");
    old.says("event nobody_serves");
    assert!(!world.is_complete("old"));
    // Whoever is started then lets it go.
    let _next = world.serving("next");
    old.says("wrote ");
}

#[test]
fn one_that_was_only_stopped_for_a_while_goes_when_it_wakes() {
    let mut world = World::with_volume();
    world.set("ACTOR_RESUMES", "yes");
    world.set("ACTOR_SILENCE_MS", 3000);
    world.set("ACTOR_PROBATION_MS", 3000);
    let old = world.serving("old");
    let young = world.serving("young");
    old.says("event probation");
    young.signal(Signal::STOP);
    old.says("serves again");
    young.signal(Signal::CONT);
    // The one that took back is the youngest now.
    young.says("drains");
    young.says("wrote ");
    assert_eq!(old.times("drains"), 1);
    assert!(!world.is_complete("old"));
}

/// What came meanwhile is heard before the time that passed counts as silence.
#[test]
fn an_old_one_that_was_suspended_does_not_take_that_for_silence() {
    let mut world = World::with_volume();
    world.set("ACTOR_RESUMES", "yes");
    world.set("ACTOR_SILENCE_MS", 3000);
    world.set("ACTOR_PROBATION_MS", 3000);
    let old = world.serving("old");
    let young = world.serving("young");
    old.says("event probation");
    old.signal(Signal::STOP);
    std::thread::sleep(std::time::Duration::from_secs(4));
    old.signal(Signal::CONT);
    old.says("wrote ");
    assert!(!old.has_said("taking_back") && !young.has_said("drains"));
}

#[test]
fn told_to_finish_it_drains_and_writes_the_file_without_a_successor() {
    let world = World::with_volume();
    let mut only = world.serving("only");
    only.tell("finish");
    only.says("drains");
    only.says("wrote ");
    only.says("finished");
    assert!(world.is_complete("only"));
    only.tell("announce");
    only.says("not announced");
}

#[test]
fn told_to_finish_before_it_was_ready_it_writes_nothing() {
    let world = World::with_volume();
    let mut only = world.start("only");
    only.says("began ");
    only.tell("finish");
    only.says("finished");
    assert!(!world.is_complete("only"));
}

#[test]
fn a_young_one_that_leaves_gives_back() {
    let mut world = World::with_volume();
    world.set("ACTOR_RESUMES", "yes");
    world.set("ACTOR_PROBATION_MS", 600_000);
    let old = world.serving("old");
    let mut young = world.serving("young");
    old.says("event probation");
    young.tell("finish");
    old.says("serves again");
}

#[test]
fn a_socket_that_somebody_removed_is_bound_again() {
    let mut world = World::with_volume();
    world.set("ACTOR_PROBATION_MS", 0);
    let old = world.serving("old");
    let directory = world.path("volume/api");
    let sockets = || {
        let entries = std::fs::read_dir(&directory).expect("reads");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        paths
            .filter(|path| path.extension().is_some_and(|end| end == "sock"))
            .collect::<Vec<_>>()
    };
    // What a process that was killed leaves behind is removed by whoever sends to it.
    let mut killed = world.start("killed");
    killed.says("began ");
    assert_eq!(sockets().len(), 2);
    killed.kill();
    let young = world.serving("young");
    old.says("wrote ");
    assert_eq!(sockets().len(), 2, "those of old and young");
    drop(young);
}

#[test]
fn a_volume_that_is_not_there_is_an_error_and_not_made() {
    let mut world = World::with_volume();
    let missing = world.path("missing");
    world.set("ACTOR_VOLUME", missing.display());
    let actor = world.start("lost");
    let error = actor.says("error: ");
    assert!(error.contains("mount one"), "{error}");
    assert!(!missing.exists());
}
