//! The supervisor is killed in each phase of an exclusive handover, with the library at both ends:
//! a new one finds who holds the lease, whatever became of the attempt (I12), and can hand over
//! again (I9).

use std::fs;
use std::time::Instant;

use handover_proto::outcome::Outcome;
use handover_proto::phase::Phase;
use handover_proto::status::Status;

use crate::committed;
use crate::owner::{OWNER, at, hold};
use crate::stage::{PATIENCE, Stage};

fn stage(probation: bool) -> Stage {
    Stage::start(|config| {
        config.program.push(OWNER.into());
        if probation {
            config.probation = PATIENCE * 10;
        }
    })
}

fn arrives(stage: &Stage, hook: &str) {
    let path = at(stage.dir.path(), hook);
    let deadline = Instant::now() + PATIENCE;
    while !path.exists() {
        assert!(Instant::now() < deadline, "never in {hook}");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

/// One instance serves and holds the lease, and nobody else is there.
fn settled(stage: &Stage) -> Status {
    stage.until("one serves, alone", |status| {
        let serves = status.incumbent.as_ref().map(|serving| serving.instance);
        let holds = status.lease.map(|lease| lease.instance);
        status.phase == Phase::Serving
            && serves.is_some()
            && serves == holds
            && status.leaving.is_empty()
            && status.parked.is_none()
    })
}

/// Kills the supervisor while `hook` of an upgrade runs; the hook ends before the new supervisor
/// starts, or after.
fn killed_in(hook: &str, ends_before: bool) {
    let mut stage = stage(false);
    for made in ["warm", "activate"] {
        fs::remove_file(at(stage.dir.path(), made)).expect("the first one passed");
    }
    let held = hold(stage.dir.path(), hook);
    fs::write(&held, "").expect("writes");
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| stage.request_upgrade(OWNER));
        arrives(&stage, hook);
        stage.kill_by_pid();
        // Its answer was cut off.
        assert!(asked.join().expect("no panic").is_none());
    });
    stage.reap_supervisor();
    if ends_before {
        fs::remove_file(&held).expect("removes");
    }
    stage.supervise();
    if !ends_before {
        // Who serves is told even while nobody knows.
        let status = stage.until("it answers", |_| true);
        assert!(!status.why.is_empty(), "{status:#?}");
        assert!(
            status.incumbent.is_some() || !status.candidates.is_empty(),
            "{status:#?}"
        );
        fs::remove_file(&held).expect("removes");
    }
    let status = settled(&stage);
    let epoch = status.lease.expect("held").epoch;
    let outcome = stage.upgrade_to(OWNER);
    committed(&outcome);
    let status = settled(&stage);
    assert!(status.lease.expect("held").epoch > epoch);
}

#[test]
fn i12_killed_while_the_successor_warms() {
    killed_in("warm", true);
    killed_in("warm", false);
}

#[test]
fn i12_killed_while_the_incumbent_drains() {
    killed_in("drain", true);
    killed_in("drain", false);
}

#[test]
fn i12_killed_while_the_incumbent_seals() {
    killed_in("seal", true);
    killed_in("seal", false);
}

#[test]
fn i12_killed_while_the_successor_activates() {
    killed_in("activate", true);
    killed_in("activate", false);
}

/// A probation ends with the supervisor that watched it: the new version serves.
#[test]
fn i12_killed_in_probation() {
    let mut stage = stage(true);
    committed(&stage.upgrade_to(OWNER));
    let before = stage.status();
    assert!(before.parked.is_some());
    stage.kill_supervisor();
    stage.supervise();
    let status = settled(&stage);
    assert_eq!(status.lease, before.lease);
    let outcome = stage.undo();
    assert!(matches!(outcome, Outcome::Refused { .. }), "{outcome}");
    committed(&stage.upgrade_to(OWNER));
}

#[test]
fn i12_killed_while_an_undo_seals() {
    let mut stage = stage(true);
    committed(&stage.upgrade_to(OWNER));
    let held = hold(stage.dir.path(), "seal");
    fs::remove_file(at(stage.dir.path(), "seal")).expect("the first one sealed");
    fs::write(&held, "").expect("writes");
    std::thread::scope(|scope| {
        scope.spawn(|| stage.request("POST /v1/undo", ""));
        arrives(&stage, "seal");
        stage.kill_by_pid();
    });
    stage.reap_supervisor();
    fs::remove_file(&held).expect("removes");
    stage.supervise();
    settled(&stage);
    committed(&stage.upgrade_to(OWNER));
}

/// The whole of it once with nobody killed: forward, back on request, back by a crash.
#[test]
fn the_library_goes_forward_and_back() {
    let stage = stage(true);
    committed(&stage.upgrade_to(OWNER));
    committed(&stage.undo());
    let status = settled(&stage);
    assert_eq!(status.lease.expect("held").epoch.0, 3);
    committed(&stage.upgrade_to(OWNER));
    crate::kill(stage.status().incumbent.expect("who serves").pid);
    let status = stage.until("it takes back", |status| {
        status.phase == Phase::Serving && status.lease.is_some()
    });
    assert_eq!(status.lease.expect("held").epoch.0, 5);
    assert!(status.why.starts_with("it took back"), "{}", status.why);
    committed(&stage.upgrade_to(OWNER));
}
