//! A successor of an incumbent that coordinates itself: dismissed, or left alone by its death. The
//! incumbent's coordinator is played by the test; instances, sockets, memory and locks are real.

mod world;

use handover::{Instance, OwnError, ReadyError, Stage};
use handover_proto::identity::Epoch;
use handover_proto::message::{FromInstance, Role, ToInstance};
use handover_proto::phase::Mode;
use world::coordinator::{ATTEMPT, Coordinator};
use world::side::{Side, items, noise, noted};
use world::store::{Script, waiting};
use world::{instance_of, within};

/// A successor of an incumbent that is played.
async fn successor() -> (Coordinator, Instance) {
    let (mut coordinator, inheritance) = Coordinator::inside(2);
    let instance = instance_of(inheritance).await;
    assert_eq!(coordinator.hello().await, (Role::Successor, None));
    (coordinator, instance)
}

/// The same, with data.
async fn heir(dir: &std::path::Path, script: Script) -> Side {
    let (coordinator, inheritance) = Coordinator::inside(2);
    Side::with(coordinator, inheritance, dir, script).await
}

async fn dismiss(coordinator: &mut Coordinator) {
    let reason = "not ready within 60 s".to_owned();
    coordinator.say(ToInstance::Dismiss { reason }).await;
}

/// The incumbent ends, and its channel with it.
fn die(coordinator: Coordinator) {
    drop(coordinator);
}

#[tokio::test]
async fn i5_a_dismissed_successor_is_told_why() {
    let (mut coordinator, instance) = successor().await;
    coordinator.welcome(Mode::Overlap, true, false).await;
    dismiss(&mut coordinator).await;
    let retired = within("its end", instance.retired()).await;
    assert_eq!(retired.open, 0);
    let error = within("an answer", instance.ready()).await.unwrap_err();
    assert!(
        matches!(&error, ReadyError::Dismissed { reason } if reason == "not ready within 60 s"),
        "{error}"
    );
    assert!(error.to_string().contains("serves on"), "{error}");
}

/// What it reads behind its dismissal is the end of the channel, and too late to mean anything.
#[tokio::test]
async fn i5_a_dismissed_owner_gives_the_data_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut old = Side::of(1, dir.path(), Script::default()).await;
    old.coordinator.start().await;
    let lease = old.owned().await.unwrap();
    let mut new = heir(dir.path(), Script::default()).await;
    old.coordinator.introduce(&mut new.coordinator).await;
    assert_eq!(new.coordinator.hear().await, Some(FromInstance::Warmed));
    dismiss(&mut new.coordinator).await;
    let Side {
        coordinator,
        mut owning,
        log,
        ..
    } = new;
    die(coordinator);
    let error = within("own returns", &mut owning).await.unwrap();
    assert!(matches!(error, Err(OwnError::Dismissed { .. })));
    log.until("dropped").await;
    assert!(lease.try_enter().is_ok(), "the old one serves on");
}

#[tokio::test]
async fn a_dismissal_that_crosses_readiness_drains() {
    let (mut coordinator, instance) = successor().await;
    coordinator.welcome(Mode::Overlap, true, false).await;
    within("ready", instance.ready()).await.unwrap();
    dismiss(&mut coordinator).await;
    within("its end", instance.retired()).await;
}

#[tokio::test]
async fn i11_left_at_any_time_it_serves() {
    for welcomed in [false, true] {
        let (mut coordinator, instance) = successor().await;
        if welcomed {
            coordinator.welcome(Mode::Overlap, true, false).await;
        }
        die(coordinator);
        within("ready", instance.ready()).await.unwrap();
        within("committed", instance.committed()).await;
        assert_eq!(instance.stage(), Stage::Serving);
    }
}

/// Announced or not, nobody introduces it any more.
#[tokio::test]
async fn i11_left_before_an_introduction_it_owns_the_data() {
    for introduced in [None, Some(false), Some(true)] {
        let dir = tempfile::tempdir().unwrap();
        let mut new = heir(dir.path(), Script::default()).await;
        new.coordinator.hello().await;
        if let Some(introduced) = introduced {
            let mode = Mode::Exclusive;
            new.coordinator.welcome(mode, true, introduced).await;
        }
        let Side {
            coordinator,
            mut owning,
            log,
            instance,
        } = new;
        die(coordinator);
        let lease = within("own returns", &mut owning).await.unwrap();
        assert_eq!(lease.unwrap().epoch(), Epoch(1), "{introduced:?}");
        within("committed", instance.committed()).await;
        assert_eq!(log.lines(), ["warm", "activate, sealed false"]);
    }
}

/// An old and a new one, the old one sealed; the new one has not been told.
async fn sealed(dir: &std::path::Path) -> (Side, Side) {
    let script = || Script {
        manifest: items(&["sessions"]),
        items: vec![("sessions", noise(300_000))],
        ..Script::default()
    };
    let mut old = Side::of(1, dir, script()).await;
    old.coordinator.start().await;
    old.owned().await.unwrap();
    let mut new = heir(dir, script()).await;
    old.coordinator.introduce(&mut new.coordinator).await;
    assert_eq!(new.coordinator.hear().await, Some(FromInstance::Warmed));
    old.coordinator.drain().await;
    old.coordinator.seal().await;
    (old, new)
}

/// The gap between seal and activate: what was sealed is not lost.
#[tokio::test]
async fn i11_left_after_the_seal_it_has_what_was_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let (_old, new) = sealed(dir.path()).await;
    let Side {
        coordinator,
        mut owning,
        log,
        ..
    } = new;
    die(coordinator);
    let lease = within("own returns", &mut owning).await.unwrap().unwrap();
    assert_eq!(lease.epoch(), Epoch(2));
    let sessions = noted("sessions", &noise(300_000));
    let expected = ["warm", "activate, sealed true", sessions.as_str()];
    assert_eq!(log.lines(), expected);
}

#[tokio::test]
async fn i11_left_while_it_activates_it_serves() {
    let dir = tempfile::tempdir().unwrap();
    let (script, gate) = waiting("activate");
    let mut old = Side::of(1, dir.path(), Script::default()).await;
    old.coordinator.start().await;
    old.owned().await.unwrap();
    let mut new = heir(dir.path(), script).await;
    old.coordinator.introduce(&mut new.coordinator).await;
    assert_eq!(new.coordinator.hear().await, Some(FromInstance::Warmed));
    old.coordinator.drain().await;
    old.coordinator.seal().await;
    let (id, sealed) = (ATTEMPT, true);
    new.coordinator
        .say(ToInstance::Activate { id, sealed })
        .await;
    new.log.until("activate, sealed true").await;
    let Side {
        coordinator,
        mut owning,
        ..
    } = new;
    die(coordinator);
    gate.add_permits(1);
    let lease = within("own returns", &mut owning).await.unwrap().unwrap();
    assert!(lease.try_enter().is_ok());
}

/// I5: the channel is closed, yet whoever has the data lives.
#[tokio::test]
async fn i5_left_by_an_owner_that_lives_it_names_it_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut old = Side::of(1, dir.path(), Script::default()).await;
    old.coordinator.start().await;
    let lease = old.owned().await.unwrap();
    let new = heir(dir.path(), Script::default()).await;
    let Side {
        coordinator,
        mut owning,
        ..
    } = new;
    die(coordinator);
    let error = within("own returns", &mut owning).await.unwrap();
    let error = error.expect_err("the data has an owner");
    assert!(matches!(error, OwnError::Lease(_)), "{error}");
    assert!(lease.try_enter().is_ok());
}
