//! Owners whose coordinator goes away: who serves then.

mod world;

use handover::OwnError;
use handover_proto::message::{Role, ToInstance};
use tokio::net::UnixListener;
use world::coordinator::{ATTEMPT, Coordinator};
use world::side::Side;
use world::store::{Script, waiting};
use world::within;

const ID: handover_proto::identity::HandoverId = ATTEMPT;

/// A coordinator that is lost before anything was given up: it serves on at once.
#[tokio::test]
async fn a_coordinator_lost_before_the_seal_is_a_resumption() {
    for drained in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("native.sock");
        let (coordinator, inheritance) = Coordinator::with(1, Some(path.clone()));
        let (mut script, _gate) = waiting("drain");
        if drained {
            script.gates.clear();
        }
        let mut old = Side::with(coordinator, inheritance, dir.path(), script).await;
        let epoch = old.coordinator.start().await;
        let lease = old.owned().await.unwrap();
        if drained {
            old.coordinator.drain().await;
        } else {
            let within_ms = 60_000;
            old.coordinator
                .say(ToInstance::Drain { id: ID, within_ms })
                .await;
            old.log.until("drain").await;
        }
        let knocked = UnixListener::bind(&path).unwrap();
        drop(old.coordinator);
        let permit = within("it serves on", lease.enter()).await.unwrap();
        assert_eq!(permit.epoch(), epoch);
        let (stream, _) = within("knock", knocked.accept()).await.unwrap();
        let mut next = Coordinator::over(stream);
        assert_eq!(next.hello().await, (Role::Incumbent, Some(epoch)));
    }
}

/// Lost after the seal: the lease decides, and nobody else has it.
#[tokio::test]
async fn a_coordinator_lost_after_the_seal_leaves_the_lease_to_be_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let (mut old, lease) = Side::first(dir.path(), Script::default()).await;
    let epoch = lease.epoch();
    let new = old.next(dir.path(), Script::default()).await;
    old.coordinator.drain().await;
    old.coordinator.seal().await;
    drop(old.coordinator);
    let permit = within("taken back", lease.enter()).await.unwrap();
    assert_eq!(permit.epoch(), epoch.next());
    drop(new);
}

/// I5, I11: before it was told to activate, the other serves; afterwards the lease decides.
#[tokio::test]
async fn a_successor_without_a_coordinator_goes_or_serves() {
    let dir = tempfile::tempdir().unwrap();
    let (mut old, _lease) = Side::first(dir.path(), Script::default()).await;
    let mut new = old.next(dir.path(), Script::default()).await;
    drop(new.coordinator);
    let error = within("own returns", &mut new.owning)
        .await
        .unwrap()
        .unwrap_err();
    assert!(matches!(error, OwnError::CoordinatorGone), "{error}");

    let mut new = old.next(dir.path(), waiting("activate").0).await;
    old.coordinator.drain().await;
    old.coordinator.seal().await;
    let gate = new.log.clone();
    let (id, sealed) = (ID, true);
    new.coordinator
        .say(ToInstance::Activate { id, sealed })
        .await;
    gate.until("activate, sealed true").await;
    drop(new.coordinator);
    // It holds the lease: nobody takes it away.
    let resumed = old.coordinator.say(ToInstance::Resume { id });
    resumed.await;
    assert!(!old.log.lines().contains(&"resume".to_owned()));
}
